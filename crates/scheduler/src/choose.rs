//! Which members to use: spread over domains together with bounds and room.
//!
//! The simple choice comes first: the best domains, one member in each, then the best members.
//! Where it cannot hold the replicas the exact search decides. Where that would take too long, with
//! two keys one pass of exchanges repairs what it can, and the decision says so.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::{
    Cause, Spread, Topology,
    candidate::{Candidate, Rank},
    exact::{Answer, Choice, Limits, search},
};

/// A candidate in one try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    /// Its number among the candidates.
    pub(crate) of: usize,
    /// What it holds and keeps if it can.
    pub(crate) base: u32,
    /// Fewest replicas when it is used, 1 or more.
    pub(crate) low: u32,
    /// Most replicas.
    pub(crate) upper: u32,
    /// Fewest replicas that the choice needs it to have.
    pub(crate) hard: u32,
}

impl Item {
    /// What it holds before anything is added.
    pub(crate) fn floor(&self) -> u32 {
        self.base.max(self.hard)
    }
}

/// What was chosen.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) items: Vec<Item>,
    /// Not every combination was tried.
    pub(crate) bounded: bool,
    /// The exact search has had its say.
    pub(crate) searched: bool,
}

/// The spread of a request, keys and cluster apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Want {
    /// Fewest and most domains under each of at most two keys.
    keys: Vec<(String, u32, Option<u32>)>,
    members: (u32, Option<u32>),
    /// Members were given weights, so that those decide before room does.
    by_weight: bool,
}

impl Want {
    /// With few replicas the fewest domains are as many as there are replicas.
    pub(crate) fn new(spread: &[Spread], replicas: Option<u32>, by_weight: bool) -> Self {
        let mut want = Self { by_weight, ..Self::default() };
        for entry in spread {
            let min = entry.min.min(replicas.unwrap_or(u32::MAX));
            if entry.key == Topology::Cluster {
                want.members = (min, entry.max);
            } else {
                want.keys.push((entry.key.as_str().to_owned(), min, entry.max));
            }
        }
        want
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.members == (0, None)
    }

    /// Most members that may be used, where there is a limit.
    pub(crate) fn most_members(&self) -> Option<usize> {
        self.members.1.map(|most| most as usize)
    }

    fn has_two_keys(&self) -> bool {
        self.keys.len() > 1
    }
}

/// The members to use, each of which may then hold any count from its `hard` to its `upper`.
pub(crate) fn choose(
    candidates: &[Candidate],
    items: Vec<Item>,
    want: &Want,
    replicas: u32,
    steady: bool,
) -> Result<Chosen, Cause> {
    if want.is_empty() {
        return Ok(Chosen { items, bounded: false, searched: false });
    }
    let domains = |items: &[Item], key: usize| count_domains(candidates, items, key);
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    for (key, (name, min, _)) in want.keys.iter().enumerate() {
        let have = number(domains(&items, key));
        if have < *min {
            return Err(Cause::TooFewDomains { key: name.clone(), need: *min, have });
        }
    }
    if number(items.len()) < want.members.0 {
        let (need, have) = (want.members.0, number(items.len()));
        return Err(Cause::TooFewDomains { key: "cluster".to_owned(), need, have });
    }
    let ordered = ordered(candidates, &items, want);
    let mut chosen = greedy(candidates, &ordered, want);
    let (mut bounded, mut searched) = (false, false);
    let holds = |items: &[Item]| {
        satisfies(candidates, items, want)
            && items.iter().map(|item| u64::from(item.upper)).sum::<u64>() >= u64::from(replicas)
    };
    if !holds(&chosen) {
        searched = true;
        match choose_exactly(candidates, &items, want, replicas, steady) {
            Exact::Use(items) => return Ok(Chosen { items, bounded, searched }),
            Exact::Nothing => {}
            Exact::GivenUp => {
                bounded = true;
                if want.has_two_keys() {
                    repair(candidates, &ordered, want, replicas, &mut chosen);
                }
            }
        }
        if !satisfies(candidates, &chosen, want) {
            return Err(Cause::SpreadUnsatisfiable);
        }
    }
    anchor(candidates, &mut chosen, want);
    Ok(Chosen { items: in_order(chosen), bounded, searched })
}

/// What the exact search says, in items.
#[derive(Debug)]
pub(crate) enum Exact {
    /// Use these; each holds its least count at least.
    Use(Vec<Item>),
    /// Nothing adds up.
    Nothing,
    /// There are too many states.
    GivenUp,
}

/// The exact choice among all items, for when the simple one does not add up.
pub(crate) fn choose_exactly(
    candidates: &[Candidate],
    items: &[Item],
    want: &Want,
    replicas: u32,
    steady: bool,
) -> Exact {
    let held: u64 = items.iter().map(|item| u64::from(item.base)).sum();
    if steady && held > u64::from(replicas) {
        // Where there are to be fewer replicas, members may be left, and none need be added.
        let holders: Vec<Item> = items.iter().filter(|item| item.base > 0).copied().collect();
        let lowered = |item: &Item| {
            let frozen = candidates[item.of].frozen;
            let low = if frozen { item.base } else { item.base.min(item.low) };
            (low, item.base, frozen)
        };
        // A choice that keeps what all of them hold cannot add up to less.
        return look(candidates, &holders, want, replicas, lowered);
    }
    look(candidates, items, want, replicas, |item| {
        // Below its minimum a member may stay, and does not grow.
        let small = item.base > 0 && item.base < item.low;
        // Of whole copies none is counted.
        let counts = item.low > 0;
        (
            if item.base > 0 && counts { item.base } else { item.low },
            if small { item.base } else { item.upper },
            item.base > 0 && (steady || candidates[item.of].frozen),
        )
    })
}

/// The exact search over items, each with its least and most replicas and whether it must be used.
fn look(
    candidates: &[Candidate],
    items: &[Item],
    want: &Want,
    replicas: u32,
    limits: impl Fn(&Item) -> (u32, u32, bool),
) -> Exact {
    // Of two keys the one with fewer domains is the second.
    let number = |key: usize| count_domains(candidates, items, key);
    let (key, second) = match want.keys.as_slice() {
        [_, _] if number(1) > number(0) => (1, Some(0)),
        [_, _] => (0, Some(1)),
        _ => (0, None),
    };
    let mut ordered = items.to_vec();
    ordered.sort_by_cached_key(|item| {
        (candidates[item.of].domains[key], preference(candidates, item))
    });
    let mut numbers: Vec<u32> = Vec::new();
    let options: Vec<Choice> = ordered
        .iter()
        .map(|item| {
            let (low, high, must) = limits(item);
            let domains = &candidates[item.of].domains;
            let domain = if want.keys.is_empty() { 0 } else { domains[key] };
            let beside = second.map_or(0, |second| place_of(domains[second], &mut numbers));
            Choice { domain, beside, low, high, must }
        })
        .collect();
    let of = |key: usize| want.keys.get(key).map(|(_, min, max)| (*min, *max));
    let limits = Limits {
        domains: of(key).unwrap_or((0, None)),
        members: want.members,
        beside: second.and_then(of),
    };
    match search(&options, replicas, limits) {
        Answer::Use(used) => {
            let mut chosen: Vec<Item> = Vec::with_capacity(used.len());
            let mut counted = Used::new(want);
            for at in &used {
                let Choice { low, high, .. } = options[*at];
                chosen.push(Item { hard: low, upper: high, ..ordered[*at] });
                counted.add(&candidates[ordered[*at].of]);
            }
            // The others may take their share too, where the spread admits one more.
            let most = want.members.1.map_or(usize::MAX, |max| max as usize);
            for (at, item) in ordered.iter().enumerate() {
                let candidate = &candidates[item.of];
                let free = used.binary_search(&at).is_err() && chosen.len() < most;
                if free && counted.admits(candidate, want) {
                    chosen.push(*item);
                    counted.add(candidate);
                }
            }
            Exact::Use(in_order(chosen))
        }
        Answer::Nothing => Exact::Nothing,
        Answer::GivenUp => Exact::GivenUp,
    }
}

/// The place of a domain among those that were seen, this one included from now on.
fn place_of(domain: u32, seen: &mut Vec<u32>) -> u32 {
    let place = seen.iter().position(|known| *known == domain).unwrap_or_else(|| {
        seen.push(domain);
        seen.len() - 1
    });
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// How early an item is taken: the lower the better.
pub(crate) fn preference(candidates: &[Candidate], item: &Item) -> Rank {
    Rank::new(&candidates[item.of], item.base > 0, item.upper)
}

/// Items in order of preference. With a limit of members no more of one domain than that can be
/// used, so that only the best of each have to be put in order.
fn ordered(candidates: &[Candidate], items: &[Item], want: &Want) -> Vec<Item> {
    let few = match want.members.1 {
        Some(most) if !want.has_two_keys() => best(candidates, items, want, most as usize),
        _ => None,
    };
    let all = || (0..).zip(items).map(|(at, item)| (preference(candidates, item), at)).collect();
    let mut keyed: Vec<(Rank, u32)> = few.unwrap_or_else(all);
    keyed.sort_unstable();
    keyed.iter().map(|(_, at)| items[*at as usize]).collect()
}

/// The best `most` items of each domain; absent where that leaves nobody out.
fn best(
    candidates: &[Candidate],
    items: &[Item],
    want: &Want,
    most: usize,
) -> Option<Vec<(Rank, u32)>> {
    let one = want.keys.is_empty();
    let domain = |item: &Item| if one { 0 } else { candidates[item.of].domains[0] as usize };
    let domains = items.iter().map(domain).max().unwrap_or(0) + 1;
    if most == 0 || domains.saturating_mul(most) >= items.len() {
        return None;
    }
    // A row of places for each domain, the best first.
    let mut best: Vec<(Rank, u32)> = vec![(Rank::LAST, 0); domains * most];
    for (at, item) in (0..).zip(items) {
        let rank = preference(candidates, item);
        let first = domain(item) * most;
        let row = &mut best[first..first + most];
        if row[most - 1].0 > rank {
            let place = row.partition_point(|kept| kept.0 < rank);
            row[place..].rotate_right(1);
            row[place] = (rank, at);
        }
    }
    best.retain(|entry| entry.0 != Rank::LAST);
    Some(best)
}

fn in_order(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_unstable_by_key(|item| item.of);
    items
}

fn count_domains(candidates: &[Candidate], items: &[Item], key: usize) -> usize {
    let numbers = || items.iter().map(|item| candidates[item.of].domains[key] as usize);
    let mut seen = vec![false; numbers().max().map_or(0, |last| last + 1)];
    numbers().filter(|number| !std::mem::replace(&mut seen[*number], true)).count()
}

fn satisfies(candidates: &[Candidate], items: &[Item], want: &Want) -> bool {
    let within = |count: usize, min: u32, max: Option<u32>| {
        count >= min as usize && max.is_none_or(|max| count <= max as usize)
    };
    within(items.len(), want.members.0, want.members.1)
        && want
            .keys
            .iter()
            .enumerate()
            .all(|(key, (_, min, max))| within(count_domains(candidates, items, key), *min, *max))
}

/// How many items each domain has, under each key.
#[derive(Debug, Default)]
struct Used(Vec<BTreeMap<u32, u32>>);

impl Used {
    fn new(want: &Want) -> Self {
        Self(vec![BTreeMap::new(); want.keys.len()])
    }

    fn add(&mut self, candidate: &Candidate) {
        for (key, counts) in self.0.iter_mut().enumerate() {
            *counts.entry(candidate.domains[key]).or_default() += 1;
        }
    }

    fn remove(&mut self, candidate: &Candidate) {
        for (key, counts) in self.0.iter_mut().enumerate() {
            if let Some(count) = counts.get_mut(&candidate.domains[key]) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&candidate.domains[key]);
                }
            }
        }
    }

    /// Whether the member stays within the most domains of every key.
    fn admits(&self, candidate: &Candidate, want: &Want) -> bool {
        self.0.iter().zip(&want.keys).enumerate().all(|(key, (counts, (_, _, max)))| {
            counts.contains_key(&candidate.domains[key])
                || max.is_none_or(|max| counts.len() < max as usize)
        })
    }

    /// How many keys that still want domains the member helps.
    fn helps(&self, candidate: &Candidate, want: &Want) -> usize {
        let pairs = self.0.iter().zip(&want.keys).enumerate();
        pairs
            .filter(|(key, (counts, (_, min, _)))| {
                counts.len() < *min as usize && !counts.contains_key(&candidate.domains[*key])
            })
            .count()
    }
}

/// The best domains, a member in each, then the best members. Items come in order of preference.
fn greedy(candidates: &[Candidate], ordered: &[Item], want: &Want) -> Vec<Item> {
    let most = want.members.1.map_or(usize::MAX, |max| max as usize);
    let allowed = allowed_domains(candidates, ordered, want, most);
    let open = |item: &Item| {
        allowed
            .as_ref()
            .is_none_or(|set| set.binary_search(&candidates[item.of].domains[0]).is_ok())
    };
    let mut taken = vec![false; ordered.len()];
    let mut used = Used::new(want);
    let mut chosen: Vec<Item> = Vec::new();
    let take = |at: usize, taken: &mut Vec<bool>, used: &mut Used, chosen: &mut Vec<Item>| {
        taken[at] = true;
        used.add(&candidates[ordered[at].of]);
        chosen.push(ordered[at]);
    };
    // What runs already stays first.
    for at in 0..ordered.len() {
        let candidate = &candidates[ordered[at].of];
        if ordered[at].base == 0 || chosen.len() >= most {
            break;
        }
        if open(&ordered[at]) && used.admits(candidate, want) {
            take(at, &mut taken, &mut used, &mut chosen);
        }
    }
    // Then a member for each domain that is wanted.
    while chosen.len() < most {
        let next = (0..ordered.len())
            .filter(|at| !taken[*at] && open(&ordered[*at]))
            .filter(|at| used.admits(&candidates[ordered[*at].of], want))
            .map(|at| (used.helps(&candidates[ordered[at].of], want), Reverse(at)))
            .max();
        match next {
            Some((helps, Reverse(at))) if helps > 0 => {
                take(at, &mut taken, &mut used, &mut chosen);
            }
            _ => break,
        }
    }
    // With one key every domain that may be used is, while members may be added.
    if let Some(allowed) = &allowed {
        for domain in allowed {
            let has = used.0[0].contains_key(domain);
            let best = (0..ordered.len())
                .find(|at| !taken[*at] && candidates[ordered[*at].of].domains[0] == *domain);
            if let (false, Some(at), true) = (has, best, chosen.len() < most) {
                take(at, &mut taken, &mut used, &mut chosen);
            }
        }
    }
    for at in 0..ordered.len() {
        if chosen.len() >= most {
            break;
        }
        let candidate = &candidates[ordered[at].of];
        if !taken[at] && open(&ordered[at]) && used.admits(candidate, want) {
            take(at, &mut taken, &mut used, &mut chosen);
        }
    }
    chosen
}

/// With one key: the domains to use, in order of number. Those that hold replicas come first,
/// then lower tiers, then the ones with most weight, where weights are given, or that can hold
/// most, with the members they may use, then those near to other replicas.
fn allowed_domains(
    candidates: &[Candidate],
    ordered: &[Item],
    want: &Want,
    most: usize,
) -> Option<Vec<u32>> {
    let [(_, _, max)] = want.keys.as_slice() else {
        return None;
    };
    let most_domains = max.map_or(usize::MAX, |max| max as usize);
    let rows = ordered.iter().map(|item| {
        let candidate = &candidates[item.of];
        (candidate.domains[0], Reverse(candidate.known(item.upper)), item.base, candidate)
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_unstable_by_key(|(domain, upper, ..)| (*domain, *upper));
    let domains = 1 + rows.windows(2).filter(|two| two[0].0 != two[1].0).count();
    if domains <= most_domains && most == usize::MAX {
        return None;
    }
    let count = domains.min(most_domains).min(most);
    // Each other domain takes a member at least.
    let each = most.saturating_sub(count.saturating_sub(1)).max(1);
    let mut ranked: Vec<_> = Vec::with_capacity(domains);
    for rows in rows.chunk_by(|a, b| a.0 == b.0) {
        let held: u64 = rows.iter().map(|row| u64::from(row.2)).sum();
        let tier = rows.iter().map(|row| row.3.tier).min();
        let weight = if want.by_weight { heaviest(rows.iter().map(|row| row.3), each) } else { 0 };
        let room: u64 = rows.iter().take(each).map(|row| u64::from(row.1.0)).sum();
        let far = rows.iter().map(|row| row.3.far).min();
        let tie = rows.iter().map(|row| row.3.tie).max();
        ranked.push((
            Reverse(held),
            tier,
            Reverse(weight),
            Reverse(room),
            far,
            Reverse(tie),
            rows[0].0,
        ));
    }
    ranked.sort_unstable();
    ranked.truncate(count);
    let mut allowed: Vec<u32> = ranked.into_iter().map(|entry| entry.6).collect();
    allowed.sort_unstable();
    Some(allowed)
}

/// What the heaviest `most` of some members weigh together.
fn heaviest<'a>(members: impl Iterator<Item = &'a Candidate>, most: usize) -> u64 {
    let mut weights: Vec<u32> = members.map(|member| member.weight).collect();
    weights.sort_unstable_by_key(|weight| Reverse(*weight));
    weights.iter().take(most).map(|weight| u64::from(*weight)).sum()
}

/// One pass of exchanges: a member with more room for one with less, while the spread holds.
fn repair(
    candidates: &[Candidate],
    ordered: &[Item],
    want: &Want,
    replicas: u32,
    chosen: &mut [Item],
) {
    let mut used = Used::new(want);
    for item in chosen.iter() {
        used.add(&candidates[item.of]);
    }
    let mut sum: u64 = chosen.iter().map(|item| u64::from(item.upper)).sum();
    let mut spare: Vec<Item> = ordered
        .iter()
        .filter(|item| !chosen.iter().any(|taken| taken.of == item.of))
        .copied()
        .collect();
    spare.sort_by_key(|item| Reverse(item.upper));
    for item in spare {
        if sum >= u64::from(replicas) {
            return;
        }
        let mut weaker: Vec<usize> = (0..chosen.len())
            .filter(|at| chosen[*at].upper < item.upper && chosen[*at].base == 0)
            .collect();
        weaker.sort_by_key(|at| chosen[*at].upper);
        for at in weaker {
            let old = chosen[at];
            used.remove(&candidates[old.of]);
            let helps = used.admits(&candidates[item.of], want);
            if helps {
                chosen[at] = item;
                used.add(&candidates[item.of]);
                if satisfies(candidates, chosen, want) {
                    sum = sum + u64::from(item.upper) - u64::from(old.upper);
                    break;
                }
                used.remove(&candidates[item.of]);
                chosen[at] = old;
            }
            used.add(&candidates[old.of]);
        }
    }
}

/// Gives the members that carry the fewest domains and members their least count: those that hold
/// most first, because what is taken away leaves them last. Items come in order of preference.
fn anchor(candidates: &[Candidate], chosen: &mut [Item], want: &Want) {
    chosen.sort_by_key(|item| Reverse(item.base));
    let mut used = Used::new(want);
    let mut anchors: u32 = 0;
    for item in chosen.iter_mut() {
        let candidate = &candidates[item.of];
        if used.helps(candidate, want) > 0 {
            used.add(candidate);
            item.hard = least(item);
            anchors += 1;
        }
    }
    for item in chosen.iter_mut().filter(|item| item.hard == 0) {
        if anchors >= want.members.0 {
            break;
        }
        item.hard = least(item);
        anchors += 1;
    }
}

const fn least(item: &Item) -> u32 {
    // What is below its minimum already may stay so.
    if item.base > 0 && item.base < item.low { item.base } else { item.low }
}
