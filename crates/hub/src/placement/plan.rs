//! Where a binding's replicas go. Pure: it asks the scheduler and keeps the moves.

mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hanse_api::{
    BindingDecision, ClusterOrdinals, ClusterReplicas, ClusterSelection, DecisionNote,
    FailoverMode, Move, MoveReason, MoveState, Ordinals, Placement, Rejection, ReplicaMode,
    ResourceBinding, ResourceBindingSpec, Shortfall, conditions::reason,
};
use hanse_render::Kind;
use hanse_scheduler::{
    Assignment, Cause, Decision, Fleet, Mode, Note, Others, Planner, PodNeeds, Report, Request,
    Rules, Shortfall as Short, Spare, Unplaceable,
    checker::{self, Violation},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use super::{
    convert::{Compiled, Parts},
    jobs,
    moves::{self, Members},
    ordinals,
};
use crate::{Evacuation, Evacuations, Policy, Template, Tenancy, room::quantities};

/// What placement has seen of one binding.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The binding.
    pub binding: Arc<ResourceBinding>,
    /// Its template; absent while it is not known.
    pub template: Option<Arc<Template>>,
    /// The policy that decides; absent when it is gone.
    pub policy: Option<Arc<Policy>>,
    /// What one replica needs.
    pub needs: Arc<PodNeeds>,
    /// All members.
    pub fleet: Fleet,
    /// Members that are to be left.
    pub evacuations: Arc<Evacuations>,
    /// What moves look at.
    pub members: Members,
    /// Where the workloads are that the policy wants it near to, or away from.
    pub others: Option<Arc<Others>>,
    /// Room that is left when a domain is lost, where the policy asks for it.
    pub spare: Option<Arc<Spare>>,
    /// Decisions of the bindings that this one follows.
    pub followed: BTreeMap<String, Vec<ClusterReplicas>>,
    /// What the namespace may have of the members.
    pub tenancy: Tenancy,
    /// Members that leave the federation.
    pub leaving: Vec<String>,
    /// Replicas that have waited for a node for too long, by member.
    pub stuck: BTreeMap<String, Stuck>,
    /// When the next ones will have waited for too long.
    pub stuck_in: Option<Duration>,
    /// The time, for new moves.
    pub now: Timestamp,
}

/// Pods of a workload in one member that have waited for a node for too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stuck {
    /// How many.
    pub pods: u32,
    /// How many others stand on nodes.
    pub bound: u32,
    /// What is too long there.
    pub limit: Duration,
}

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The decision.
    pub clusters: Vec<ClusterReplicas>,
    /// Pod numbers by cluster, where several share a StatefulSet.
    pub ordinals: Vec<ClusterOrdinals>,
    /// The moves.
    pub moves: Vec<Move>,
    /// The reasons; its time and what came of it are set when it is written.
    pub decision: BindingDecision,
    /// How it went.
    pub outcome: Outcome,
    /// Whether an old copy waits for its turn to be removed.
    pub waits_for_turn: bool,
    /// Whether the loss of a domain is survived as the policy wants.
    pub survival: Survival,
    /// Nothing was decided anew: the reasons that are known are still those.
    pub unchanged: bool,
    /// What was asked of the scheduler, if it was.
    pub asked: Option<Arc<Request>>,
    /// The rules, if members that it is not in may matter to it although it has its place.
    pub roams: Option<Arc<Rules>>,
    /// Promises of the scheduler that its decision breaks: there are none unless it has a fault.
    pub violations: Vec<Violation>,
}

/// Equal when the same would be written: what was asked on the way there does not count.
impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        self.clusters == other.clusters
            && self.ordinals == other.ordinals
            && self.moves == other.moves
            && self.decision == other.decision
            && self.outcome == other.outcome
            && self.waits_for_turn == other.waits_for_turn
            && self.survival == other.survival
            && self.violations == other.violations
    }
}

/// Whether the loss of a domain is survived.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Survival {
    /// The policy does not ask for it, or nothing runs.
    #[default]
    NotAsked,
    /// It is.
    Survives,
    /// It is not; in words.
    WouldNot(String),
}

/// How a decision went.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// All replicas have a place.
    Scheduled,
    /// Some have none, and the policy wants what fits.
    Partial(String),
    /// Some have none.
    Short(&'static str, String),
    /// The policy is gone; the placement stays.
    PolicyGone,
}

impl Outcome {
    /// The reason in conditions and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Scheduled => reason::SCHEDULED,
            Self::Partial(_) => reason::PARTIAL,
            Self::Short(reason, _) => reason,
            Self::PolicyGone => reason::POLICY_GONE,
        }
    }

    /// Whether nothing is left to place.
    pub const fn is_complete(&self) -> bool {
        matches!(self, Self::Scheduled | Self::PolicyGone)
    }
}

/// Where the replicas go. `turn` says whether the removal of an old copy may begin now.
pub fn plan(seen: &Seen, planner: &mut Planner, turn: impl FnMut() -> bool) -> Placed {
    let spec = &seen.binding.spec;
    let keep = |outcome| Placed {
        clusters: staying(seen),
        ordinals: spec.ordinals.clone(),
        moves: known_moves(&seen.binding),
        decision: known_decision(&seen.binding),
        outcome,
        waits_for_turn: false,
        survival: Survival::default(),
        unchanged: false,
        asked: None,
        roams: None,
        violations: Vec::new(),
    };
    if !spec.follows.is_empty() {
        return Placed { clusters: union(seen), ..keep(Outcome::Scheduled) };
    }
    if let Tenancy::Refused(why, words) = &seen.tenancy {
        return keep(Outcome::Short(why, words.clone()));
    }
    if let Some(fault) = seen.template.as_ref().and_then(|template| template.fault.as_ref()) {
        return keep(Outcome::Short(reason::INTERPRETER_FAILED, fault.to_string()));
    }
    if !spec.finished.is_empty() || seen.template.is_none() {
        return keep(Outcome::Scheduled);
    }
    if seen.policy.is_none() && spec.clusters.is_empty() {
        return keep(Outcome::PolicyGone);
    }
    if let Some(words) = jobs::refusal(seen) {
        return keep(Outcome::Short(reason::CANNOT_BE_DIVIDED, words));
    }
    if jobs::is_divided(&seen.binding) {
        return keep(Outcome::Scheduled);
    }
    Work::new(seen).run(planner, turn)
}

/// The decision as it stands, without members that leave: they keep what they have, and nobody
/// may hold them back by still naming them.
fn staying(seen: &Seen) -> Vec<ClusterReplicas> {
    let clusters = seen.binding.spec.clusters.iter();
    clusters.filter(|cluster| !seen.leaving.contains(&cluster.name)).cloned().collect()
}

fn known_moves(binding: &ResourceBinding) -> Vec<Move> {
    binding.spec.moves.clone()
}

fn known_decision(binding: &ResourceBinding) -> BindingDecision {
    binding.spec.decision.clone().unwrap_or_default()
}

/// A companion goes wherever one of its workloads is, or still is.
fn union(seen: &Seen) -> Vec<ClusterReplicas> {
    let clusters = seen.followed.values().flatten();
    let mut names: Vec<String> = clusters
        .map(|cluster| cluster.name.clone())
        .filter(|name| !seen.leaving.contains(name))
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        // Its workloads have no decision yet; what stands, stands.
        return staying(seen);
    }
    names.into_iter().map(|name| ClusterReplicas { name, replicas: 0 }).collect()
}

type Counts = BTreeMap<String, u32>;

/// What the scheduler would be asked now; absent where there is nothing to ask.
pub(crate) fn request(seen: &Seen) -> Option<Request> {
    let spec = &seen.binding.spec;
    let homeless = seen.policy.is_none() && spec.clusters.is_empty();
    let refused = matches!(seen.tenancy, Tenancy::Refused(..));
    let template = seen.template.as_ref()?;
    if homeless || refused || template.fault.is_some() {
        return None;
    }
    let mut work = Work::new(seen);
    // No old copy is removed on paper.
    work.prepare(|| false);
    Some(work.request)
}

/// What stands before a decision.
struct Before {
    settled: Counts,
    /// What has to leave its member.
    left: Counts,
    /// Whether the policy wants what fits, whatever the loss asks for.
    asked_partial: bool,
    /// What stood, when a loss has to be placed and more than stood is wanted.
    grows_from: Option<u32>,
    /// Whether an old copy waits for its turn to be removed.
    waits: bool,
}

/// Why a workload does not get the replicas it was scaled up by while it leaves a member.
struct Growth {
    wanted: u32,
    refusal: Unplaceable,
    words: String,
}

/// One decision under way.
struct Work<'a> {
    seen: &'a Seen,
    request: Request,
    parts: Parts,
    moves: Vec<Move>,
    /// What the decision names, old copies included.
    held: Counts,
}

impl<'a> Work<'a> {
    fn new(seen: &'a Seen) -> Self {
        let spec = &seen.binding.spec;
        let kind = seen.template.as_ref().map_or(Kind::Other, |template| template.handed_out_as());
        let own;
        let (rules, compiled) = if let Some(policy) = &seen.policy {
            (&policy.placement, &policy.compiled)
        } else {
            let placement = where_it_is(spec, &known_decision(&seen.binding));
            own = (Compiled::new(&placement), placement);
            (&own.1, &own.0)
        };
        let parts = parts(seen, rules);
        let lease = seen.tenancy.lease().filter(|_| seen.policy.is_some());
        let request = Request {
            rules: compiled.within(lease, parts),
            quota: seen.tenancy.lease().and_then(|lease| lease.replicas),
            needs: Arc::clone(&seen.needs),
            kind: format!("{}/{}", spec.template.api_version, spec.template.kind).into(),
            replicas: count(spec.replicas),
            mode: compiled.mode(rules, kind, parts),
            partial: rules.replicas.partial,
            others: seen.others.clone(),
            spare: seen.spare.clone(),
            ..Request::default()
        };
        let clusters = spec.clusters.iter().filter(|c| !seen.leaving.contains(&c.name));
        let held = clusters.map(|c| (c.name.clone(), count(c.replicas))).collect();
        let mut moves = known_moves(&seen.binding);
        for item in moves.iter_mut().filter(|item| seen.leaving.contains(&item.from)) {
            if !item.state.is_final() {
                item.state = MoveState::Done;
            }
        }
        Self { seen, request, parts, moves, held }
    }

    fn run(mut self, planner: &mut Planner, turn: impl FnMut() -> bool) -> Placed {
        let before = self.prepare(turn);
        let key = key(&self.seen.binding);
        let mut answer = planner.schedule(&self.seen.fleet, &self.request, key);
        let mut growth = None;
        if let (Some(stood), Err(refusal)) = (before.grows_from, &answer) {
            // All or nothing is said of the growth; what was lost goes where there is room.
            let words = self.refusal_words(refusal);
            growth =
                Some(Growth { wanted: self.request.replicas, refusal: refusal.clone(), words });
            self.request.replicas = stood;
            self.request.partial = true;
            answer = planner.schedule(&self.seen.fleet, &self.request, key);
        }
        match answer {
            // The scheduler counts what is divided; the rest is known only when it is placed.
            Ok(decision) if self.exceeds_quota(&decision) => {
                let report = decision.report.clone();
                let left = self.request.quota.unwrap_or(0);
                let replicas = self.request.replicas.saturating_sub(left).max(1);
                let shortfall = Short { replicas, ..Short::default() };
                let why = Cause::TenantQuota(left);
                self.refuse(&Unplaceable { why, report, shortfall }, before.waits)
            }
            Ok(decision) => self.accept(&decision, &before, growth.as_ref()),
            Err(refusal) => {
                let refusal = match growth {
                    Some(growth) => {
                        self.request.replicas = growth.wanted;
                        growth.refusal
                    }
                    None => refusal,
                };
                self.refuse(&refusal, before.waits)
            }
        }
    }

    /// Takes the moves as far as they can go, and completes the request by what stands then.
    fn prepare(&mut self, turn: impl FnMut() -> bool) -> Before {
        let ordered = |member: &str| self.seen.evacuations.contains_key(member);
        moves::withdraw(&mut self.moves, &mut self.held, &self.seen.members, ordered);
        let settled = self.settled();
        let remove_old =
            self.seen.policy.as_ref().map(|policy| policy.failover.remove_old).unwrap_or_default();
        let waits = moves::advance(
            &mut self.moves,
            &mut self.held,
            &settled,
            &self.seen.members,
            remove_old,
            turn,
        );
        let settled = self.settled();
        let mut left: Counts = settled
            .iter()
            .filter(|(member, count)| **count > 0 && self.is_evacuated(member))
            .map(|(member, count)| (member.clone(), *count))
            .collect();
        self.request.leaving = self.leaving(&left, &settled);
        left.extend(self.stuck(&settled, &left));
        let stays = |(member, count): (&String, &u32)| {
            let stays = count - left.get(member).copied().unwrap_or(0);
            (stays > 0 || !left.contains_key(member)).then(|| entry((member, &stays)))
        };
        self.request.previous = settled.iter().filter_map(stays).collect();
        let evacuates = !left.is_empty() || !moves::outgoing(&self.moves).is_empty();
        let asked_partial = self.request.partial;
        let stood = settled.values().sum();
        let counted = matches!(self.request.mode, Mode::Divide(_) | Mode::Whole);
        let grows = counted && evacuates && !asked_partial && self.request.replicas > stood;
        // A loss is placed as far as room goes, even where the policy wants all or nothing.
        self.request.partial |= evacuates && !grows;
        Before { settled, left, asked_partial, grows_from: grows.then_some(stood), waits }
    }

    /// Whether a decision takes more than the tenant has left, and more than there is now.
    fn exceeds_quota(&self, decision: &Decision) -> bool {
        let placed = decision.assignment.total();
        self.request.quota.is_some_and(|quota| placed > u64::from(quota))
            && placed > self.request.previous.total()
    }

    /// What each member holds and shall keep.
    fn settled(&self) -> Counts {
        let outgoing = moves::outgoing(&self.moves);
        let mut settled = Counts::new();
        for (member, held) in &self.held {
            let gives = outgoing.get(member).copied().unwrap_or(0);
            if gives == 0 || *held > gives {
                settled.insert(member.clone(), held.saturating_sub(gives));
            }
        }
        settled
    }

    /// Whether the workload's replicas shall leave a member.
    fn is_evacuated(&self, member: &str) -> bool {
        let Some(order) = self.seen.evacuations.get(member) else {
            return false;
        };
        if !matches!(self.request.mode, Mode::Divide(_) | Mode::Whole) {
            return false;
        }
        let tolerates = |taint| {
            self.request.rules.tolerations.iter().any(|toleration| toleration.tolerates(taint))
        };
        if !order.tolerable.is_empty() && order.tolerable.iter().all(tolerates) {
            return false;
        }
        match failover_mode(self.seen) {
            FailoverMode::Automatic => true,
            FailoverMode::Manual => order.manual_too,
            FailoverMode::Never => false,
        }
    }

    /// Replicas that cannot run where they are, and may move: those without a node beyond what
    /// shall stand there by what moves already.
    fn stuck(&self, settled: &Counts, evacuated: &Counts) -> Counts {
        if self.seen.policy.is_none() || failover_mode(self.seen) != FailoverMode::Automatic {
            return Counts::new();
        }
        let mut all = Counts::new();
        for (member, stuck) in &self.seen.stuck {
            let held = settled.get(member).copied().unwrap_or(0);
            let count = stuck.pods.min(held.saturating_sub(stuck.bound));
            let may = match self.request.mode {
                Mode::Divide(_) => true,
                // What is not divided moves whole, so that nothing of it may run yet.
                Mode::Whole => count == held,
                Mode::Duplicate | Mode::Everywhere => false,
            };
            if may && count > 0 && !evacuated.contains_key(member) {
                all.insert(member.clone(), count);
            }
        }
        all
    }

    /// Members that must not take anything: those being left, and those that are still giving
    /// something up.
    fn leaving(&self, left: &Counts, settled: &Counts) -> Vec<Arc<str>> {
        let open = self.moves.iter().filter(|item| !item.state.is_final());
        let mut names: Vec<String> = open
            .map(|item| item.from.clone())
            .filter(|name| !settled.contains_key(name))
            .chain(left.keys().cloned())
            .chain(self.seen.leaving.iter().cloned())
            .collect();
        names.sort();
        names.dedup();
        names.into_iter().map(Into::into).collect()
    }

    fn accept(mut self, decision: &Decision, before: &Before, growth: Option<&Growth>) -> Placed {
        self.carry_out(&decision.assignment, &before.settled, &before.left);
        let refused = growth.map(|growth| &growth.refusal.shortfall);
        let shortfall = refused.or(decision.shortfall.as_ref());
        let outcome = match (shortfall, growth) {
            (_, Some(growth)) => Outcome::Short(growth.refusal.why.as_str(), growth.words.clone()),
            (None, _) if self.seen.policy.is_none() => Outcome::PolicyGone,
            (None, _) => Outcome::Scheduled,
            (Some(short), _) if before.asked_partial => {
                Outcome::Partial(self.short_words(short, &decision.report))
            }
            (Some(short), _) => {
                Outcome::Short(reason::NO_ROOM, self.short_words(short, &decision.report))
            }
        };
        // The reasons are those of when it was decided: looking again changes nothing.
        let unchanged = growth.is_none() && decision.notes.contains(&Note::Unchanged);
        let known = known_decision(&self.seen.binding);
        let known = unchanged.then_some(known).filter(|known| known.clusters_considered > 0);
        let notes = decision.notes.iter().filter(|note| **note != Note::Unchanged).map(note);
        let lost = decision.notes.iter().find(|note| matches!(note, Note::WouldNotSurvive(..)));
        let survival = match lost {
            Some(note) => Survival::WouldNot(note.in_words()),
            None if self.asks_to_survive() && self.is_divided() => Survival::Survives,
            None if self.asks_to_survive() => Survival::WouldNot(words::WHOLE.to_owned()),
            None => Survival::NotAsked,
        };
        let violations = checker::check(&self.seen.fleet, &self.request, decision);
        if let Some(growth) = growth {
            // What it waits for is all that it wants.
            self.request.replicas = growth.wanted;
        }
        let seen = self.seen;
        let placed = self.finish(&decision.report, shortfall, outcome, before.waits);
        let mut decision = match known {
            Some(known) => BindingDecision { at: None, shortfall: None, ..known },
            None => BindingDecision { notes: notes.collect(), ..placed.decision },
        };
        words::note_data(seen, &placed.clusters, &mut decision.notes);
        Placed { decision, survival, unchanged, violations, ..placed }
    }

    /// Begins the moves that the new counts ask for, and keeps old copies until these are done.
    fn carry_out(&mut self, placed: &Assignment, settled: &Counts, left: &Counts) {
        let mut pairs = self.losses_and_gains(placed, left);
        // What is too much at once stays where it is, and is asked for again as moves end.
        let later = pairs.split_off(pairs.len().min(moves::room_for(&self.moves)));
        let moved: Counts = pairs.iter().fold(Counts::new(), |mut sum, (from, _, count)| {
            *sum.entry(from.clone()).or_default() += count;
            sum
        });
        for (from, to, replicas) in pairs {
            self.begin(&from, to, replicas);
        }
        let mut held: Counts =
            placed.iter().map(|(name, count)| (name.to_string(), count)).collect();
        for (member, count) in moves::outgoing(&self.moves) {
            *held.entry(member).or_default() += count;
        }
        for (from, to, count) in later {
            *held.entry(from).or_default() += count;
            if let Some(held) = held.get_mut(&to) {
                *held -= count;
            }
        }
        held.retain(|member, count| *count > 0 || placed.of(member) == 0);
        // What has no room elsewhere stays where it was, for the member may come back.
        let sum = u32::try_from(placed.total()).unwrap_or(u32::MAX);
        let mut without_place = self.request.replicas.saturating_sub(sum);
        for (member, lost) in left {
            let stays = (lost - moved.get(member).copied().unwrap_or(0)).min(without_place);
            if stays > 0 {
                *held.entry(member.clone()).or_default() += stays;
                without_place -= stays;
            }
        }
        if held.is_empty() {
            held.extend(settled.iter().map(clone));
        }
        self.held = held;
    }

    /// What members lose, each with the member that gains it.
    fn losses_and_gains(&self, placed: &Assignment, left: &Counts) -> Vec<(String, String, u32)> {
        let before = &self.request.previous;
        let mut gains: Counts = placed
            .iter()
            .map(|(member, count)| (member.to_string(), count.saturating_sub(before.of(member))))
            .collect();
        // What the rules displace is added elsewhere before it goes, as what is lost is.
        let mut losses = left.clone();
        for (member, lost) in &mut losses {
            // Where it is still the best place nothing moves.
            if let Some(gain) = gains.get_mut(member) {
                let same = (*gain).min(*lost);
                *gain -= same;
                *lost -= same;
            }
        }
        if matches!(self.request.mode, Mode::Divide(_) | Mode::Whole) {
            let displaced = before.iter().map(|(member, count)| {
                (member.to_string(), count.saturating_sub(placed.of(member)))
            });
            for (member, count) in displaced.filter(|(_, count)| *count > 0) {
                *losses.entry(member).or_default() += count;
            }
        }
        moves::pair(&losses, &gains)
    }

    fn asks_to_survive(&self) -> bool {
        self.request.rules.survive.is_some()
            && self.request.replicas > 0
            && matches!(self.request.mode, Mode::Divide(_) | Mode::Whole)
    }

    const fn is_divided(&self) -> bool {
        matches!(self.request.mode, Mode::Divide(_))
    }

    fn refuse(self, refusal: &Unplaceable, waits: bool) -> Placed {
        let words = self.refusal_words(refusal);
        let survival = match &refusal.why {
            why @ Cause::WouldNotSurvive { .. } => Survival::WouldNot(why.to_string()),
            _ => Survival::NotAsked,
        };
        let outcome = if self.seen.policy.is_none() {
            Outcome::PolicyGone
        } else {
            Outcome::Short(refusal.why.as_str(), words)
        };
        let placed = self.finish(&refusal.report, Some(&refusal.shortfall), outcome, waits);
        Placed { survival, ..placed }
    }

    fn begin(&mut self, from: &str, to: String, replicas: u32) {
        let own;
        let order = if let Some(order) = self.seen.evacuations.get(from) {
            order
        } else if let Some(stuck) = self.seen.stuck.get(from) {
            own = Evacuation {
                id: format!("cannot-run-{}", self.seen.now.as_second()),
                reason: MoveReason::CannotRun,
                evidence: format!("{} pods found no node in {:?}", stuck.pods, stuck.limit),
                manual_too: false,
                tolerable: Vec::new(),
            };
            &own
        } else {
            let policy = self.seen.binding.spec.policy.as_ref();
            let hash = policy.map_or("", |policy| policy.hash.as_str());
            own = Evacuation {
                id: format!("policy-{}", hash.chars().take(8).collect::<String>()),
                reason: MoveReason::PolicyChanged,
                evidence: "the policy's placement no longer admits these replicas there".to_owned(),
                manual_too: false,
                tolerable: Vec::new(),
            };
            &own
        };
        self.moves.push(Move {
            id: moves::fresh_id(&self.moves, &order.id, from, &to),
            from: from.to_owned(),
            to,
            replicas: i32::try_from(replicas).unwrap_or(i32::MAX),
            reason: order.reason,
            evidence: order.evidence.chars().take(512).collect(),
            state: MoveState::Adding,
            started_at: Time(self.seen.now),
        });
    }

    fn finish(
        mut self,
        report: &Report,
        shortfall: Option<&Short>,
        outcome: Outcome,
        waits_for_turn: bool,
    ) -> Placed {
        moves::trim(&mut self.moves);
        let rules = &self.request.rules;
        let everywhere = matches!(self.request.mode, Mode::Everywhere | Mode::Duplicate);
        let roams = everywhere || !rules.steady || rules.survive.is_some();
        let roams = roams.then(|| Arc::clone(rules));
        let clusters = self.held.into_iter().map(|(name, replicas)| ClusterReplicas {
            name,
            replicas: i32::try_from(replicas).unwrap_or(i32::MAX),
        });
        let clusters: Vec<ClusterReplicas> = clusters.collect();
        Placed {
            ordinals: blocks(self.seen, &clusters, self.parts == Parts::Numbered),
            clusters,
            moves: self.moves,
            decision: decision_of(report, shortfall, self.request.mode == Mode::Duplicate),
            outcome,
            waits_for_turn,
            survival: Survival::default(),
            unchanged: false,
            asked: Some(Arc::new(self.request)),
            roams,
            violations: Vec::new(),
        }
    }
}

/// Whether a workload is divided although its kind goes whole.
fn parts(seen: &Seen, rules: &Placement) -> Parts {
    let kind = seen.template.as_ref().map_or(Kind::Other, |template| template.kind);
    match rules.replicas.ordinals {
        Some(Ordinals::Partition) if kind == Kind::StatefulSet => Parts::Numbered,
        _ if jobs::divides(seen) => Parts::Divided,
        _ => Parts::Usual,
    }
}

/// Pod numbers for the clusters of a decision.
fn blocks(seen: &Seen, clusters: &[ClusterReplicas], numbered: bool) -> Vec<ClusterOrdinals> {
    let spec = &seen.binding.spec;
    let held: BTreeSet<&str> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    let stood: BTreeSet<&str> = spec.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    let is_gone = |name: &str| {
        let known = seen.fleet.get(name).is_some() && !seen.leaving.iter().any(|left| left == name);
        !known || seen.members.absent.iter().any(|absent| absent == name)
    };
    ordinals::blocks(&spec.ordinals, &held, &stood, is_gone, numbered)
}

fn note(note: &Note) -> DecisionNote {
    DecisionNote { reason: note.as_str().to_owned(), message: note.in_words() }
}

/// Who decides that a workload moves. Work that holds data, and Jobs that may not start again,
/// wait for an operator unless the policy says otherwise.
fn failover_mode(seen: &Seen) -> FailoverMode {
    let rules = seen.policy.as_ref().map(|policy| &policy.failover);
    let template = seen.template.as_ref();
    let runs_once = template.is_some_and(|t| matches!(t.kind, Kind::Job | Kind::CronJob));
    let restartable = rules.is_some_and(|rules| rules.restartable);
    let careful = template.is_some_and(|t| t.holds_data) || (runs_once && !restartable);
    let default = if careful { FailoverMode::Manual } else { FailoverMode::Automatic };
    rules.and_then(|rules| rules.mode).unwrap_or(default)
}

/// Rules that keep a workload where it is, divided or duplicated as it was.
fn where_it_is(spec: &ResourceBindingSpec, decision: &BindingDecision) -> Placement {
    let names = spec.clusters.iter().map(|cluster| cluster.name.clone()).collect();
    let mut placement = Placement {
        clusters: vec![ClusterSelection { names, ..ClusterSelection::default() }],
        ..Placement::default()
    };
    placement.replicas.mode = decision.duplicated.then_some(ReplicaMode::Duplicate);
    placement.replicas.ordinals = (!spec.ordinals.is_empty()).then_some(Ordinals::Partition);
    placement
}

fn decision_of(report: &Report, shortfall: Option<&Short>, duplicated: bool) -> BindingDecision {
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    BindingDecision {
        at: None,
        duplicated,
        clusters_considered: number(report.considered),
        rejected: report
            .rejected
            .iter()
            .map(|entry| Rejection {
                reason: entry.reason.as_str().to_owned(),
                count: number(entry.count),
                examples: entry.examples.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        shortfall: shortfall.map(|shortfall| Shortfall {
            replicas: i32::try_from(shortfall.replicas).unwrap_or(i32::MAX),
            missing: quantities(&shortfall.missing),
        }),
        notes: Vec::new(),
        ..BindingDecision::default()
    }
}

/// Decides between equal members: the same for one binding on any machine (FNV-1a).
pub(crate) fn key(binding: &ResourceBinding) -> u64 {
    let name = format!("{}/{}", binding.namespace().unwrap_or_default(), binding.name_any());
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn entry((member, count): (&String, &u32)) -> (Arc<str>, u32) {
    (member.as_str().into(), *count)
}

fn clone((member, count): (&String, &u32)) -> (String, u32) {
    (member.clone(), *count)
}

fn count(replicas: i32) -> u32 {
    u32::try_from(replicas).unwrap_or(0)
}

#[cfg(test)]
mod tests;
