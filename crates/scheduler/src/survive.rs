//! Whether work goes on when a domain is lost: for one decision, and for a whole fleet with a
//! ledger, so that the same spare room is not promised to many.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Assignment, Cause, Decision, Enforce, Fleet, Note, Planner, Request, Rules, Shortfall, Standby,
    Survive, Topology, Unplaceable,
    candidate::Candidate,
    share::{Counts, Try},
};

/// Replicas that have to run when a domain is lost.
fn needed(survive: &Survive, replicas: u32) -> u32 {
    let share = u64::from(replicas) * u64::from(survive.min_percent.min(100));
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

fn domain_of(fleet: &Fleet, key: &Topology, at: usize) -> Arc<str> {
    let member = fleet.at(at);
    match key.of(member) {
        "" => Arc::clone(&member.name),
        domain => domain.into(),
    }
}

/// With Running, no domain may hold more than what can be spared: what is above goes to members
/// in other domains, as far as these take it. Counts stay as they are where not all find a place.
pub(crate) fn keep_running(fleet: &Fleet, tried: &Try<'_>, counts: &mut Counts) {
    let Some(survive) = &tried.request.rules.survive else {
        return;
    };
    if survive.standby != Standby::Running {
        return;
    }
    let spare = tried.replicas.saturating_sub(needed(survive, tried.replicas));
    let mut narrowed = tried.candidates.to_vec();
    let mut current = counts.clone();
    // Each turn closes a domain for good, so that there are no more turns than domains.
    for _ in 0..=tried.candidates.len() {
        let sums = by_domain(fleet, &narrowed, &survive.domain, &current.each);
        let Some((domain, _)) = sums.iter().find(|(_, count)| **count > spare) else {
            *counts = current;
            return;
        };
        let mut left = spare;
        for (candidate, count) in narrowed.iter_mut().zip(&current.each) {
            if domain_of(fleet, &survive.domain, candidate.at as usize) == *domain {
                candidate.max = (*count).min(left);
                candidate.min = candidate.min.min(candidate.max);
                left -= candidate.max;
            }
        }
        current = Try { candidates: &narrowed, ..*tried }.run();
        if current.placed < counts.placed {
            return;
        }
    }
}

/// The domain whose loss would leave too few, and how many would be missing; the worst one.
pub(crate) fn broken(
    fleet: &Fleet,
    candidates: &[Candidate],
    request: &Request,
    counts: &Counts,
) -> Option<(Arc<str>, u32)> {
    let survive = request.rules.survive.as_ref()?;
    let total: u32 = counts.each.iter().sum();
    let need = needed(survive, request.replicas);
    let sums = by_domain(fleet, candidates, &survive.domain, &counts.each);
    let missing = |(domain, lost): (Arc<str>, u32)| {
        let runs = total - lost;
        let lack = need.saturating_sub(runs);
        let missing = match survive.standby {
            Standby::Running => lack,
            Standby::Spare if lack == 0 => 0,
            Standby::Spare => {
                let placed = Assignment::from_sorted(
                    candidates
                        .iter()
                        .zip(&counts.each)
                        .map(|(c, count)| (Arc::clone(&fleet.at(c.at as usize).name), *count))
                        .filter(|(_, count)| *count > 0)
                        .collect(),
                );
                let mut ledger = Ledger::new(survive.domain.clone());
                // What the decision adds takes room that the fleet still shows as free.
                let mut taken = fleet.clone();
                for (name, count) in placed.iter() {
                    let more = count.saturating_sub(request.previous.of(name));
                    taken.reserve(name, &request.needs, more);
                }
                ledger.lose(&taken, &domain, request, &placed, 0)
            }
        };
        (missing > 0).then_some((domain, missing))
    };
    sums.into_iter().filter_map(missing).max_by_key(|(_, missing)| *missing)
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
    planner: Planner,
}

impl Ledger {
    /// A ledger for the loss of domains of this kind.
    pub fn new(key: Topology) -> Self {
        Self { key, without: BTreeMap::new(), planner: Planner::default() }
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
        let key_of = &self.key;
        let outside: Assignment = placed
            .iter()
            .filter(|(name, count)| {
                *count > 0
                    && fleet.place(name).is_some_and(|at| *domain_of(fleet, key_of, at) != *domain)
            })
            .map(|(name, count)| (Arc::clone(name), count))
            .collect();
        let percent = request.rules.survive.as_ref().map_or(100, |survive| survive.min_percent);
        let survive = Survive {
            domain: self.key.clone(),
            min_percent: percent,
            standby: Standby::Spare,
            enforce: Enforce::Warn,
        };
        let runs = u32::try_from(outside.total()).unwrap_or(u32::MAX);
        let need = needed(&survive, request.replicas);
        if runs >= need || outside.total() == placed.total() {
            return 0;
        }
        let without = self.without.entry(domain.into()).or_insert_with(|| {
            fleet.without(|member| {
                let own = match key_of.of(member) {
                    "" => &member.name,
                    other => other,
                };
                own == domain
            })
        });
        let again = Request {
            rules: Arc::new(Rules { survive: None, steady: true, ..Rules::clone(&request.rules) }),
            replicas: need,
            partial: true,
            previous: outside.clone(),
            ..request.clone()
        };
        let found = match self.planner.schedule(without, &again, key) {
            Ok(decision) => decision.assignment,
            Err(_) => outside.clone(),
        };
        for (name, count) in found.iter() {
            without.reserve(name, &request.needs, count.saturating_sub(outside.of(name)));
        }
        need.saturating_sub(u32::try_from(found.total()).unwrap_or(u32::MAX))
    }
}
