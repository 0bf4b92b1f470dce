//! Whether work goes on when a domain is lost: for one decision, and for a whole fleet with a
//! ledger, so that the same spare room is not promised to many.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    Assignment, Cause, Decision, Enforce, Fleet, Note, PodNeeds, Request, Shortfall, Spare,
    Standby, Survive, Topology, Unplaceable,
    candidate::Candidate,
    losses::{Asked, Replacer},
    share::{Counts, Try},
};

/// Replicas that have to run when a domain is lost, where this share of them has to.
pub(crate) fn needed(min_percent: u32, replicas: u32) -> u32 {
    let share = u64::from(replicas) * u64::from(min_percent.min(100));
    u32::try_from(share.div_ceil(100)).unwrap_or(u32::MAX)
}

/// Replicas by domain. A member in no domain is one by itself.
fn by_domain(
    fleet: &Fleet,
    candidates: &[Candidate],
    key: &Topology,
    counts: &[u32],
) -> BTreeMap<Arc<str>, u32> {
    let mut sums: BTreeMap<Arc<str>, u32> = BTreeMap::new();
    for (candidate, count) in candidates.iter().zip(counts).filter(|(_, count)| **count > 0) {
        *sums.entry(domain_of(fleet, key, candidate.at as usize)).or_default() += count;
    }
    sums
}

pub(crate) fn domain_of(fleet: &Fleet, key: &Topology, at: usize) -> Arc<str> {
    let member = fleet.at(at);
    match key.of(member) {
        "" => Arc::clone(&member.name),
        domain => domain.into(),
    }
}

/// With Running, no domain may hold more than what can be spared: what is above goes to members
/// in other domains. Absent where these do not take all of it. With steady, what runs is moved
/// only where the policy requires that the loss is survived.
pub(crate) fn keep_running(
    fleet: &Fleet,
    survive: &Survive,
    tried: &Try<'_>,
    counts: &Counts,
) -> Option<Counts> {
    let spare = tried.replicas.saturating_sub(needed(survive.min_percent, tried.replicas));
    let keeps = tried.steady && survive.enforce == Enforce::Warn;
    let kept = |(candidate, count): (&Candidate, &u32)| {
        if keeps { candidate.previous.min(*count) } else { 0 }
    };
    let mut narrowed = tried.candidates.to_vec();
    let mut current = counts.clone();
    // Each turn closes a domain for good, so that there are no more turns than domains.
    for _ in 0..=tried.candidates.len() {
        let floors: Vec<u32> = narrowed.iter().zip(&current.each).map(kept).collect();
        let floors_of = by_domain(fleet, &narrowed, &survive.domain, &floors);
        let floor_of = |domain: &Arc<str>| floors_of.get(domain).copied().unwrap_or(0);
        let sums = by_domain(fleet, &narrowed, &survive.domain, &current.each);
        let over = |(domain, count): &(&Arc<str>, &u32)| **count > spare.max(floor_of(domain));
        let Some((domain, _)) = sums.iter().find(over) else {
            return Some(current);
        };
        let mut left = spare.saturating_sub(floor_of(domain));
        for ((candidate, count), floor) in narrowed.iter_mut().zip(&current.each).zip(floors) {
            if domain_of(fleet, &survive.domain, candidate.at as usize) == *domain {
                candidate.max = floor + (count - floor).min(left);
                if candidate.max < candidate.min && !(tried.steady && candidate.holds) {
                    // Fewer than its bounds ask for are none.
                    candidate.max = 0;
                }
                left -= candidate.max.saturating_sub(floor);
            }
        }
        current = Try { candidates: &narrowed, ..*tried }.run();
        if current.placed < counts.placed {
            return None;
        }
    }
    None
}

/// The domain whose loss would leave too few, and how many would be missing; the worst one.
pub(crate) fn broken(
    fleet: &Fleet,
    candidates: &[Candidate],
    request: &Request,
    counts: &Counts,
    (replacer, id): (&mut Replacer, u64),
) -> Option<(Arc<str>, u32)> {
    let survive = request.rules.survive.as_ref()?;
    let total: u32 = counts.each.iter().sum();
    let need = needed(survive.min_percent, request.replicas);
    let pairs = candidates.iter().zip(&counts.each).filter(|(_, count)| **count > 0);
    let placed = pairs.map(|(c, count)| (Arc::clone(&fleet.at(c.at as usize).name), *count));
    let placed = Assignment::from_sorted(placed.collect());
    let sums = by_domain(fleet, candidates, &survive.domain, &counts.each);
    let missing = |(domain, lost): (Arc<str>, u32)| {
        let lack = need.saturating_sub(total - lost);
        let missing = match (survive.standby, request.spare.as_deref()) {
            (Standby::Running, _) => lack,
            (Standby::Spare, _) if lack == 0 => 0,
            (Standby::Spare, spare) => match spare.and_then(|spare| spare.promised(&domain)) {
                Some((without, own)) => {
                    let (mut left, mut own) = (without.clone(), own.cloned().unwrap_or_default());
                    // What the decision adds takes room that the fleet still shows as free.
                    for (name, count) in placed.iter() {
                        let more = count.saturating_sub(request.previous.of(name));
                        take(&mut left, &mut own, name, &request.needs, more);
                    }
                    let (key, placed) = (&survive.domain, &placed);
                    let asked = Asked { key, domain: &domain, request, placed };
                    replacer.place(fleet, &mut left, &asked, &own, id).0
                }
                None => replacer.missing(fleet, (&survive.domain, &domain), request, &placed, id),
            },
        };
        (missing > 0).then_some((domain, missing))
    };
    sums.into_iter().filter_map(missing).max_by_key(|(_, missing)| *missing)
}

/// Takes room for replicas that a workload adds; what is not free comes out of what was promised
/// to it.
fn take(fleet: &mut Fleet, own: &mut Assignment, member: &str, needs: &PodNeeds, more: u32) {
    let fits = fleet.get(member).and_then(|member| member.fits(needs));
    let free = fits.map_or(u32::MAX, |fits| fits.more);
    fleet.reserve(member, needs, more);
    if more > free && own.contains(member) {
        own.set(member, own.of(member).saturating_sub(more - free));
    }
}

/// A decision that would not survive, by what the policy says of it.
pub(crate) fn answer(
    mut decision: Decision,
    request: &Request,
    domain: Arc<str>,
    missing: u32,
    shortfall: Shortfall,
) -> Result<Decision, Unplaceable> {
    let enforce = request.rules.survive.as_ref().map_or(Enforce::Warn, |survive| survive.enforce);
    match enforce {
        Enforce::Warn => {
            decision.notes.push(Note::WouldNotSurvive(domain, missing));
            Ok(decision)
        }
        Enforce::Require => Err(Unplaceable {
            why: Cause::WouldNotSurvive { domain, missing },
            report: decision.report,
            shortfall,
        }),
    }
}

/// Room for the loss of each domain of one kind. Losses are entered one workload after the other,
/// the most important first, and each takes its room from what those before it left.
#[derive(Debug)]
pub struct Ledger {
    key: Topology,
    /// The fleet without each domain, less what was promised already.
    without: BTreeMap<Arc<str>, Fleet>,
    /// What is promised to each workload, by the key that it was entered with.
    promised: BTreeMap<u64, BTreeMap<Arc<str>, Assignment>>,
    replacer: Replacer,
}

impl Ledger {
    /// A ledger for the loss of domains of this kind.
    pub fn new(key: Topology) -> Self {
        let (without, promised) = (BTreeMap::new(), BTreeMap::new());
        Self { key, without, promised, replacer: Replacer::default() }
    }

    /// Adds what is left for a workload to what else may be lost.
    pub fn fill(&self, spare: &mut Spare) {
        spare.own = self.promised.get(&spare.turn.id()).cloned().unwrap_or_default();
        spare.without.clone_from(&self.without);
    }

    /// Takes room for replicas that the workload of this key adds in a member.
    pub fn reserve(&mut self, member: &str, needs: &PodNeeds, replicas: u32, key: u64) {
        let mut none = BTreeMap::new();
        let promised = self.promised.get_mut(&key).unwrap_or(&mut none);
        for (domain, fleet) in &mut self.without {
            let mut nothing = Assignment::default();
            let own = promised.get_mut(domain).unwrap_or(&mut nothing);
            take(fleet, own, member, needs, replicas);
        }
    }

    /// Enters what a workload loses with each domain that it stands in, beside what it was
    /// promised before under the same key, and gives how many replicas find no place in the worst
    /// case.
    pub fn promise(
        &mut self,
        fleet: &Fleet,
        request: &Request,
        placed: &Assignment,
        key: u64,
    ) -> u32 {
        let held = placed.iter().filter(|(_, count)| *count > 0);
        let places = held.filter_map(|(name, _)| fleet.place(name));
        let domains: BTreeSet<Arc<str>> =
            places.map(|at| domain_of(fleet, &self.key, at)).collect();
        let mut before = self.promised.remove(&key).unwrap_or_default();
        let mut worst = 0;
        for domain in domains {
            let own = before.remove(&domain).unwrap_or_default();
            let (missing, own) = self.enter(fleet, &domain, request, placed, &own, key);
            self.promised.entry(key).or_default().insert(domain, own);
            worst = worst.max(missing);
        }
        worst
    }

    /// Enters what a workload loses with a domain, and gives how many replicas find no place.
    /// `fleet` is the room beside everything that is placed; it counts at the first loss of each
    /// domain only. `placed` is where the workload stands.
    pub fn lose(
        &mut self,
        fleet: &Fleet,
        domain: &str,
        request: &Request,
        placed: &Assignment,
        key: u64,
    ) -> u32 {
        self.enter(fleet, domain, request, placed, &Assignment::default(), key).0
    }

    /// As [`Self::lose`]; `own` is what is promised to the workload already. Gives also what is
    /// promised to it then.
    fn enter(
        &mut self,
        fleet: &Fleet,
        domain: &str,
        request: &Request,
        placed: &Assignment,
        own: &Assignment,
        key: u64,
    ) -> (u32, Assignment) {
        let asked = Asked { key: &self.key, domain, request, placed };
        let without = self.without.entry(domain.into());
        let left = without.or_insert_with(|| fleet.without_domain(&self.key, domain));
        self.replacer.place(fleet, left, &asked, own, key)
    }
}
