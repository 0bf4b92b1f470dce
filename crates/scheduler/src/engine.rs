//! The decision: filter, room, tiers, division, history.
//!
//! A call costs in proportion to its candidates. With `steady`, members that hold replicas stay
//! candidates whatever tier they are in: scaling up only adds, scaling down only removes, and what
//! a member loses is all that moves.

use std::collections::BTreeMap;

use crate::{
    Decision, DivideBy, Fleet, Health, Member, Mode, Refusal, Report, Request, Selection,
    Shortfall, TierMode, Unplaceable, Weight,
    divide::{Share, divide},
};

/// Places one workload. `key` decides between equal members; give each workload its own, so that
/// every member wins its fair share.
///
/// # Errors
/// [`Unplaceable`] with the reasons: no member is possible, or they cannot hold all replicas and
/// the request wants all or nothing. What was placed before stays as it was.
pub fn schedule(fleet: &Fleet, request: &Request, key: u64) -> Result<Decision, Unplaceable> {
    let mut report = Report { considered: fleet.len(), rejected: Vec::new() };
    let candidates = filter(fleet, request, key, &mut report);
    if candidates.is_empty() {
        return Err(Unplaceable::NoClusterFits(report));
    }
    match &request.mode {
        Mode::Everywhere => Ok(Decision {
            assignment: candidates.iter().map(|c| (c.member.name.clone(), 0)).collect(),
            report,
            shortfall: None,
        }),
        Mode::Duplicate => duplicate(request, &candidates, report),
        Mode::Whole => whole(request, &candidates, report),
        Mode::Divide(_) if request.replicas == 0 => {
            Ok(scaled_to_zero(request, &candidates, report))
        }
        Mode::Divide(strategy) => shared_out(request, strategy, &candidates, report),
    }
}

/// A member that may hold replicas.
#[derive(Debug)]
struct Candidate<'a> {
    member: &'a Member,
    /// First tier that admits it; absent for one that only holds replicas from before.
    tier: Option<usize>,
    previous: u32,
    /// How many more fit; absent when unknown.
    fits: Option<u64>,
    /// Why it takes nothing new, where that is so.
    closed: Option<Refusal>,
    weight: u32,
    min: u32,
    max: u32,
    tie: u64,
}

impl Candidate<'_> {
    /// Most replicas that it may hold: its bound, and what fits beside what it has.
    fn upper(&self) -> u32 {
        if self.closed.is_some() || self.tier.is_none() {
            return self.previous.min(self.max);
        }
        let fits = self.fits.map_or(u32::MAX, |fits| u32::try_from(fits).unwrap_or(u32::MAX));
        self.previous.saturating_add(fits).min(self.max)
    }

    /// Whether replicas there cannot be taken away now.
    fn is_frozen(&self) -> bool {
        self.member.health.is_out_of_reach() && self.previous > 0
    }
}

fn filter<'a>(
    fleet: &'a Fleet,
    request: &Request,
    key: u64,
    report: &mut Report,
) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for member in fleet.iter() {
        let previous = request.previous.get(&member.name).copied();
        let tier = tier_of(&request.tiers, member);
        if request.leaving.contains(&member.name) {
            report.reject(Refusal::MovingAway, &member.name);
            continue;
        }
        let weight = match &request.mode {
            Mode::Divide(DivideBy::Weighted(weights)) => Weight::of(member, weights),
            _ => 1,
        };
        let fits = member.fits(&request.needs);
        let refusal = if tier.is_none() {
            Some(Refusal::NotSelected)
        } else {
            refusal(member, request, weight, fits)
        };
        // A holder stays a candidate whatever closes it for new work: the drain takes it out.
        let stays = previous.is_some() && (request.steady || refusal != Some(Refusal::NotSelected));
        if let Some(refusal) = refusal {
            report.reject(refusal, &member.name);
            if !stays {
                continue;
            }
        }
        let (min, max) = request.bounds_of(member);
        candidates.push(Candidate {
            member,
            tier,
            previous: previous.unwrap_or(0),
            fits,
            closed: refusal,
            weight,
            min,
            max,
            tie: tie(key, &member.name),
        });
    }
    candidates
}

fn tier_of(tiers: &[Selection], member: &Member) -> Option<usize> {
    if tiers.is_empty() {
        return Some(0);
    }
    tiers.iter().position(|tier| tier.admits(member))
}

fn refusal(member: &Member, request: &Request, weight: u32, fits: Option<u64>) -> Option<Refusal> {
    let health = match member.health {
        Health::Good => None,
        Health::NotJoined => Some(Refusal::NotJoined),
        Health::ControlLost => Some(Refusal::ControlLost),
        Health::DataLost => Some(Refusal::DataLost),
        Health::Lost => Some(Refusal::Lost),
        Health::Recovering => Some(Refusal::Recovering),
    };
    if health.is_some() {
        return health;
    }
    if member.cordoned {
        return Some(Refusal::Cordoned);
    }
    let tolerated = |taint| request.tolerations.iter().any(|t| t.tolerates(taint));
    if !member.taints.iter().all(tolerated) {
        return Some(Refusal::Tainted);
    }
    let served = |kinds: &std::collections::BTreeSet<String>| kinds.contains(&request.kind);
    if member.kinds.as_ref().is_some_and(|kinds| !served(kinds)) {
        return Some(Refusal::KindNotServed);
    }
    if weight == 0 {
        return Some(Refusal::NoWeight);
    }
    match (&request.mode, fits) {
        (Mode::Everywhere, _) => None,
        (Mode::Divide(DivideBy::Capacity), None) => Some(Refusal::RoomUnknown),
        (_, Some(0)) if request.replicas > 0 => Some(Refusal::NoRoom),
        _ => None,
    }
}

/// Each member gets the full count; one without room for it is left out and counted.
fn duplicate(
    request: &Request,
    candidates: &[Candidate<'_>],
    mut report: Report,
) -> Result<Decision, Unplaceable> {
    let mut assignment = BTreeMap::new();
    let mut short: u32 = 0;
    for candidate in candidates {
        let held = request.previous.contains_key(&candidate.member.name);
        let name = candidate.member.name.clone();
        if candidate.upper() >= request.replicas {
            assignment.insert(name, request.replicas);
        } else if candidate.closed.is_some_and(|why| why != Refusal::NoRoom) {
            // What is there stays as it is; nothing new goes there.
            assignment.insert(name, candidate.previous);
        } else {
            if candidate.closed.is_none() {
                report.reject(Refusal::NoRoom, &name);
            }
            short = short.saturating_add(request.replicas - candidate.upper());
            if held {
                assignment.insert(name, candidate.upper());
            }
        }
    }
    let shortfall = (short > 0).then(|| shortfall(request, short));
    match shortfall {
        Some(shortfall) if assignment.is_empty() => Err(Unplaceable::NoRoom(report, shortfall)),
        shortfall => Ok(Decision { assignment, report, shortfall }),
    }
}

/// One member gets everything.
fn whole(
    request: &Request,
    candidates: &[Candidate<'_>],
    report: Report,
) -> Result<Decision, Unplaceable> {
    let room = |c: &Candidate<'_>| c.upper().max(if c.is_frozen() { c.previous } else { 0 });
    let held = |c: &Candidate<'_>| request.previous.contains_key(&c.member.name);
    let best = candidates
        .iter()
        .filter(|c| room(c) >= request.replicas || (c.is_frozen() && held(c)))
        .min_by_key(|c| {
            let fits = std::cmp::Reverse(c.fits.unwrap_or(0));
            (!held(c), c.tier.unwrap_or(usize::MAX), fits, std::cmp::Reverse(c.tie))
        });
    let holder = candidates.iter().find(|c| held(c));
    let most = candidates.iter().map(room).max().unwrap_or(0);
    let short = shortfall(request, request.replicas.saturating_sub(most));
    match (best, holder) {
        (Some(best), Some(holder)) if request.steady && best.member.name != holder.member.name => {
            let short = shortfall(request, request.replicas.saturating_sub(room(holder)));
            Err(Unplaceable::FitsOnlyByMoving(report, short))
        }
        (Some(best), _) => Ok(Decision {
            assignment: BTreeMap::from([(best.member.name.clone(), request.replicas)]),
            report,
            shortfall: None,
        }),
        (None, _) => Err(Unplaceable::NoRoom(report, short)),
    }
}

/// Nothing runs, but the object stays where it is, or goes where its replicas will.
fn scaled_to_zero(request: &Request, candidates: &[Candidate<'_>], report: Report) -> Decision {
    let holders: Vec<&Candidate<'_>> =
        candidates.iter().filter(|c| request.previous.contains_key(&c.member.name)).collect();
    let first = candidates.iter().filter_map(|c| c.tier).min();
    let chosen: Vec<&Candidate<'_>> = if holders.is_empty() {
        candidates.iter().filter(|c| c.tier == first).collect()
    } else {
        holders
    };
    Decision {
        assignment: chosen.iter().map(|c| (c.member.name.clone(), 0)).collect(),
        report,
        shortfall: None,
    }
}

fn shared_out(
    request: &Request,
    strategy: &DivideBy,
    candidates: &[Candidate<'_>],
    report: Report,
) -> Result<Decision, Unplaceable> {
    let counts = tiered(request, strategy, candidates, request.steady);
    let placed = sum(&counts);
    if placed == u64::from(request.replicas) {
        return Ok(decision(candidates, &counts, report, None));
    }
    let missing = u64::from(request.replicas).saturating_sub(placed);
    let short = shortfall(request, u32::try_from(missing).unwrap_or(u32::MAX));
    if request.partial && placed > 0 {
        return Ok(decision(candidates, &counts, report, Some(short)));
    }
    if request.steady && sum(&tiered(request, strategy, candidates, false)) > placed {
        return Err(Unplaceable::FitsOnlyByMoving(report, short));
    }
    Err(Unplaceable::NoRoom(report, short))
}

fn decision(
    candidates: &[Candidate<'_>],
    counts: &[u32],
    report: Report,
    shortfall: Option<Shortfall>,
) -> Decision {
    let assignment = candidates
        .iter()
        .zip(counts)
        .filter(|(_, count)| **count > 0)
        .map(|(candidate, count)| (candidate.member.name.clone(), *count))
        .collect();
    Decision { assignment, report, shortfall }
}

/// Counts over all candidates, by the request's use of tiers.
fn tiered(
    request: &Request,
    strategy: &DivideBy,
    candidates: &[Candidate<'_>],
    steady: bool,
) -> Vec<u32> {
    let tiers = request.tiers.len().max(1);
    match request.tier_mode {
        TierMode::Fallback => {
            let mut best = vec![0; candidates.len()];
            for tier in 0..tiers {
                let open = |c: &Candidate<'_>| c.tier == Some(tier);
                let counts = divided(request.replicas, strategy, candidates, steady, &open);
                if sum(&counts) > sum(&best) {
                    best = counts;
                }
                if sum(&best) == u64::from(request.replicas) {
                    return best;
                }
            }
            if request.partial {
                // No tier holds everything, and a part is welcome: take what all of them hold.
                return overflow(request, strategy, candidates, steady, tiers);
            }
            best
        }
        TierMode::Overflow => overflow(request, strategy, candidates, steady, tiers),
    }
}

/// Fills tier after tier; with steady, what later tiers hold already counts first, and is the
/// first to go.
fn overflow(
    request: &Request,
    strategy: &DivideBy,
    candidates: &[Candidate<'_>],
    steady: bool,
    tiers: usize,
) -> Vec<u32> {
    let mut counts = vec![0; candidates.len()];
    let mut left = request.replicas;
    let rank = |c: &Candidate<'_>| c.tier.unwrap_or(tiers);
    for tier in 0..=tiers {
        let later: u32 = if steady {
            candidates.iter().filter(|c| rank(c) > tier).map(|c| c.previous.min(c.max)).sum()
        } else {
            0
        };
        let here: Vec<usize> =
            (0..candidates.len()).filter(|at| rank(&candidates[*at]) == tier).collect();
        let held: u32 =
            here.iter().map(|at| candidates[*at].previous.min(candidates[*at].max)).sum();
        let wanted = if steady { left.saturating_sub(later).max(held.min(left)) } else { left };
        let open = |c: &Candidate<'_>| rank(c) == tier;
        let part = part(wanted, strategy, candidates, &here, steady, &open);
        for (at, count) in here.iter().zip(part) {
            counts[*at] = count;
            left = left.saturating_sub(count);
        }
    }
    counts
}

/// Divides over all candidates; only those that are `open` take more than they have.
fn divided(
    replicas: u32,
    strategy: &DivideBy,
    candidates: &[Candidate<'_>],
    steady: bool,
    open: &dyn Fn(&Candidate<'_>) -> bool,
) -> Vec<u32> {
    let all: Vec<usize> = (0..candidates.len())
        .filter(|at| open(&candidates[*at]) || (steady && candidates[*at].previous > 0))
        .collect();
    let part = part(replicas, strategy, candidates, &all, steady, open);
    let mut counts = vec![0; candidates.len()];
    for (at, count) in all.iter().zip(part) {
        counts[*at] = count;
    }
    counts
}

/// Divides over some of the candidates.
fn part(
    replicas: u32,
    strategy: &DivideBy,
    candidates: &[Candidate<'_>],
    chosen: &[usize],
    steady: bool,
    open: &dyn Fn(&Candidate<'_>) -> bool,
) -> Vec<u32> {
    let list: Vec<&Candidate<'_>> = chosen.iter().map(|at| &candidates[*at]).collect();
    let upper = |c: &Candidate<'_>| {
        if open(c) { c.upper() } else { c.previous.min(c.max) }
    };
    let held: u64 = list.iter().map(|c| u64::from(c.previous.min(c.max))).sum();
    if steady && held >= u64::from(replicas) {
        return removed(replicas, strategy, &list);
    }
    let mut shares: Vec<Share> = list
        .iter()
        .map(|c| Share {
            weight: weight(strategy, c, steady),
            lower: if steady || c.is_frozen() { c.previous.min(c.max) } else { 0 },
            upper: upper(c),
            tie: c.tie,
        })
        .collect();
    if shares.iter().map(|share| u64::from(share.lower)).sum::<u64>() > u64::from(replicas) {
        return removed(replicas, strategy, &list);
    }
    raise_to_minimum(replicas, &list, &mut shares);
    if steady && matches!(strategy, DivideBy::Capacity) {
        return added(replicas, &shares);
    }
    divide(replicas, &shares)
}

/// The weight of a candidate: given, or its room. What it runs already counts as its room where
/// history does not count.
fn weight(strategy: &DivideBy, candidate: &Candidate<'_>, steady: bool) -> u64 {
    match strategy {
        DivideBy::Weighted(_) => u64::from(candidate.weight),
        DivideBy::Capacity => {
            let own = if steady { 0 } else { u64::from(candidate.previous) };
            candidate.fits.unwrap_or(0).saturating_add(own).min(1 << 40)
        }
    }
}

/// Adds the replicas that are missing by free room, whatever each one has already.
fn added(replicas: u32, shares: &[Share]) -> Vec<u32> {
    let held: u32 = shares.iter().map(|share| share.lower).sum();
    let rest: Vec<Share> = shares
        .iter()
        .map(|share| Share { lower: 0, upper: share.upper.saturating_sub(share.lower), ..*share })
        .collect();
    let more = divide(replicas.saturating_sub(held), &rest);
    shares.iter().zip(more).map(|(share, more)| share.lower + more).collect()
}

/// Takes replicas away: by given weight, or in proportion to what each has. Members out of reach
/// keep theirs while the others have any, because nothing can be taken there now.
fn removed(replicas: u32, strategy: &DivideBy, list: &[&Candidate<'_>]) -> Vec<u32> {
    let mut shares: Vec<Share> = list
        .iter()
        .map(|c| {
            let held = c.previous.min(c.max);
            Share {
                weight: match strategy {
                    DivideBy::Weighted(_) => u64::from(c.weight.max(1)),
                    DivideBy::Capacity => u64::from(held),
                },
                lower: if c.is_frozen() { held } else { c.min.min(held) },
                upper: held,
                tie: c.tie,
            }
        })
        .collect();
    let fits = |shares: &[Share]| {
        shares.iter().map(|share| u64::from(share.lower)).sum::<u64>() <= u64::from(replicas)
    };
    if !fits(&shares) {
        for (share, _) in shares.iter_mut().zip(list).filter(|(_, c)| !c.is_frozen()) {
            share.lower = 0;
        }
    }
    if !fits(&shares) {
        // Even what is out of reach must shrink, once it can: the others hold nothing then.
        for (share, candidate) in shares.iter_mut().zip(list) {
            share.lower = 0;
            if !candidate.is_frozen() {
                share.upper = 0;
            }
        }
    }
    divide(replicas, &shares)
}

/// Gives the fewest replicas that the bounds ask for, while there are enough: members that hold
/// some first, then the ones with the most room. A member for which they do not suffice takes
/// nothing new.
fn raise_to_minimum(replicas: u32, list: &[&Candidate<'_>], shares: &mut [Share]) {
    let mut left =
        u64::from(replicas).saturating_sub(shares.iter().map(|share| u64::from(share.lower)).sum());
    let mut order: Vec<usize> = (0..list.len()).filter(|at| list[*at].min > 0).collect();
    order.sort_by_key(|at| {
        let c = list[*at];
        (c.previous == 0, std::cmp::Reverse(c.fits.unwrap_or(0)), std::cmp::Reverse(c.tie))
    });
    for at in order {
        let (candidate, share) = (list[at], &mut shares[at]);
        let lack = u64::from(candidate.min.saturating_sub(share.lower));
        if candidate.min <= share.upper && lack <= left && share.weight > 0 {
            share.lower = share.lower.max(candidate.min);
            left -= lack;
        } else if share.lower == 0 {
            share.upper = 0;
        }
    }
}

fn shortfall(request: &Request, replicas: u32) -> Shortfall {
    let none = crate::Resources::default();
    Shortfall { replicas, missing: none.plus(&request.needs.request, u64::from(replicas)) }
}

fn sum(counts: &[u32]) -> u64 {
    counts.iter().map(|count| u64::from(*count)).sum()
}

/// A number that is the same for one key and member on any machine, and evenly spread over keys
/// (FNV-1a, finished by SplitMix64).
fn tie(key: u64, member: &str) -> u64 {
    let mut hash = key ^ 0xcbf2_9ce4_8422_2325;
    for byte in member.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests;
