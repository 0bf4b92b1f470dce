//! Which members to use when the simple choice fails: every combination of counts, by dynamic
//! programming over domains and members, for at most two keys beside the cluster.
//!
//! A state is (domains used, members used) and the sums that are reachable with it, kept as
//! ranges: a member that is used holds anything from its least to its most. Ranges that touch are
//! one, so that ordinary fleets keep a handful of them. Of a second key a state knows which
//! domains are used: that is affordable for a few providers, and given up for many zones.

/// One member that may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    /// Number of its domain; equal numbers stand together.
    pub(crate) domain: u32,
    /// Its domain under the second key, counted from 0; 0 where there is none.
    pub(crate) beside: u32,
    /// Fewest replicas when it is used, 1 or more.
    pub(crate) low: u32,
    /// Most replicas.
    pub(crate) high: u32,
    /// It has to be used.
    pub(crate) must: bool,
}

/// How many domains and members may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) domains: (u32, Option<u32>),
    pub(crate) members: (u32, Option<u32>),
    /// Those of the second key, where there is one.
    pub(crate) beside: Option<(u32, Option<u32>)>,
}

/// What the search says.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    /// Use these, in order of their numbers.
    Use(Vec<usize>),
    /// Nothing adds up.
    Nothing,
    /// The search was given up: too many states.
    GivenUp,
}

/// States times members that are looked at before the search gives up.
const BUDGET: usize = 400_000;

/// Domains of the second key of which every set is looked at.
const MOST_BESIDE: usize = 10;

type Ranges = Vec<(u64, u64)>;

/// Finds members whose counts can add up to `replicas`. Options stand grouped by domain.
pub(crate) fn search(options: &[Choice], replicas: u32, limits: Limits) -> Answer {
    let domains = 1 + options.windows(2).filter(|two| two[0].domain != two[1].domain).count();
    let width = |(min, max): (u32, Option<u32>), have: usize| {
        // Beyond the smallest number that matters, states are one.
        let cap = max.map_or(min as usize, |max| (max as usize).min(have)).min(have);
        (cap, max.is_none_or(|max| max as usize >= have))
    };
    let (deep, loose_domains) = width(limits.domains, domains);
    let (wide, loose_members) = width(limits.members, options.len());
    if limits.domains.0 as usize > domains || limits.members.0 as usize > options.len() {
        return Answer::Nothing;
    }
    let beside = limits
        .beside
        .map_or(0, |_| options.iter().map(|option| option.beside as usize + 1).max().unwrap_or(0));
    if beside > MOST_BESIDE {
        return Answer::GivenUp;
    }
    let grid = Grid { deep, wide, sets: 1 << beside, loose_domains, loose_members };
    if grid.states().saturating_mul(options.len() + 1) > BUDGET {
        return Answer::GivenUp;
    }
    let mut layers: Vec<Vec<Ranges>> = Vec::with_capacity(options.len() + 1);
    let mut first = vec![Ranges::new(); grid.states()];
    first[grid.at(Place { domains: 0, here: false, members: 0, set: 0 })] = vec![(0, 0)];
    layers.push(first);
    for (number, option) in options.iter().enumerate() {
        let opens = number == 0 || options[number - 1].domain != option.domain;
        let next = grid.step(&layers[number], option, opens, u64::from(replicas));
        layers.push(next);
    }
    grid.walk_back(options, &layers, u64::from(replicas), limits)
}

/// Which domains and members are used, up to some option.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Domains used before the one of this option.
    domains: usize,
    /// Whether that one is used.
    here: bool,
    members: usize,
    /// Domains of the second key, a bit each.
    set: usize,
}

#[derive(Clone, Copy, Debug)]
struct Grid {
    deep: usize,
    wide: usize,
    /// Sets of domains of the second key; one where there is no such key.
    sets: usize,
    /// There is no upper limit of domains, so that the last column stands for "or more".
    loose_domains: bool,
    loose_members: bool,
}

impl Grid {
    const fn states(&self) -> usize {
        (self.deep + 1) * 2 * (self.wide + 1) * self.sets
    }

    const fn at(&self, place: Place) -> usize {
        let Place { domains, here, members, set } = place;
        ((domains * 2 + here as usize) * (self.wide + 1) + members) * self.sets + set
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        let (deep, wide, sets) = (self.deep, self.wide, self.sets);
        (0..=deep)
            .flat_map(|domains| [false, true].map(|here| (domains, here)))
            .flat_map(move |(domains, here)| (0..=wide).map(move |m| (domains, here, m)))
            .flat_map(move |(domains, here, members)| {
                (0..sets).map(move |set| Place { domains, here, members, set })
            })
    }

    fn up(used: usize, cap: usize, loose: bool) -> Option<usize> {
        if used < cap { Some(used + 1) } else { loose.then_some(cap) }
    }

    /// Where a member leads that is used; none where the limits do not admit it.
    fn with(&self, from: Place, option: &Choice, opens: bool) -> Option<Place> {
        let stays = from.here && !opens;
        let domains = if stays {
            Some(from.domains)
        } else {
            Self::up(from.domains, self.deep, self.loose_domains)
        };
        let set = if self.sets > 1 { from.set | 1 << option.beside } else { 0 };
        let members = Self::up(from.members, self.wide, self.loose_members)?;
        Some(Place { domains: domains?, here: true, members, set })
    }

    fn step(&self, from: &[Ranges], option: &Choice, opens: bool, replicas: u64) -> Vec<Ranges> {
        let mut to = vec![Ranges::new(); self.states()];
        for place in self.places() {
            let ranges = &from[self.at(place)];
            if ranges.is_empty() {
                continue;
            }
            if !option.must {
                let without = Place { here: place.here && !opens, ..place };
                merge(&mut to[self.at(without)], ranges, 0, 0, replicas);
            }
            if let Some(with) = self.with(place, option, opens) {
                let (low, high) = (u64::from(option.low), u64::from(option.high));
                merge(&mut to[self.at(with)], ranges, low, high, replicas);
            }
        }
        to
    }

    /// From a good last state back to the members that led there, using as few as will do.
    fn walk_back(
        &self,
        options: &[Choice],
        layers: &[Vec<Ranges>],
        replicas: u64,
        limits: Limits,
    ) -> Answer {
        let last = options.len();
        let goal = self.places().find(|place| {
            let used = place.set.count_ones();
            place.domains >= limits.domains.0 as usize
                && place.members >= limits.members.0 as usize
                && limits
                    .beside
                    .is_none_or(|(min, max)| used >= min && max.is_none_or(|max| used <= max))
                && contains(&layers[last][self.at(*place)], replicas)
        });
        let Some(mut place) = goal else {
            return Answer::Nothing;
        };
        let mut sum = replicas;
        let mut used = Vec::new();
        for number in (0..last).rev() {
            let (before, taken, rest) = self.back(options, &layers[number], number, place, sum);
            if taken {
                used.push(number);
            }
            (place, sum) = (before, rest);
        }
        used.reverse();
        Answer::Use(used)
    }

    /// The state before option `number`, whether it was used, and the sum that was left.
    fn back(
        &self,
        options: &[Choice],
        from: &[Ranges],
        number: usize,
        place: Place,
        sum: u64,
    ) -> (Place, bool, u64) {
        let option = &options[number];
        let opens = number == 0 || options[number - 1].domain != option.domain;
        let heres: &[bool] = if opens { &[false, true] } else { &[place.here] };
        if !(option.must || opens && place.here) {
            for here in heres {
                let before = Place { here: *here, ..place };
                if contains(&from[self.at(before)], sum) {
                    return (before, false, sum);
                }
            }
        }
        // It was used: any state that one more member leads from here to there.
        let (low, high) = (u64::from(option.low), u64::from(option.high));
        for before in self.places() {
            let there = self.with(before, option, opens);
            if there.is_none_or(|there| self.at(there) != self.at(place)) {
                continue;
            }
            // The most that leaves a sum that was reachable.
            for (start, end) in from[self.at(before)].iter().rev() {
                let rest = sum.saturating_sub(high).max(*start);
                if rest <= *end && rest + low <= sum && sum - rest <= high {
                    return (before, true, rest);
                }
            }
        }
        unreachable!("every state but the first was reached from one before it")
    }
}

fn contains(ranges: &Ranges, sum: u64) -> bool {
    ranges.iter().any(|(start, end)| (*start..=*end).contains(&sum))
}

/// Adds the ranges, moved by `low` at the start and `high` at the end, and cut at `most`.
fn merge(into: &mut Ranges, ranges: &Ranges, low: u64, high: u64, most: u64) {
    for (start, end) in ranges {
        let (start, end) = (start + low, (end + high).min(most));
        if start <= end {
            into.push((start, end));
        }
    }
    if into.len() > 1 {
        into.sort_unstable();
        let mut kept: Ranges = Vec::with_capacity(into.len());
        for (start, end) in into.iter().copied() {
            match kept.last_mut() {
                Some(last) if start <= last.1 + 1 => last.1 = last.1.max(end),
                _ => kept.push((start, end)),
            }
        }
        *into = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(domain: u32, low: u32, high: u32) -> Choice {
        Choice { domain, beside: 0, low, high, must: false }
    }

    const FREE: Limits = Limits { domains: (0, None), members: (0, None), beside: None };

    #[test]
    fn counts_that_only_one_combination_reaches_are_found() {
        let options = [option(0, 7, 7), option(0, 5, 5), option(1, 3, 3)];
        assert_eq!(search(&options, 8, FREE), Answer::Use(vec![1, 2]));
        assert_eq!(search(&options, 9, FREE), Answer::Nothing);
        assert_eq!(search(&options, 15, FREE), Answer::Use(vec![0, 1, 2]));
    }

    #[test]
    fn limits_of_domains_and_members_hold() {
        let options = [option(0, 1, 10), option(0, 1, 10), option(1, 1, 2), option(2, 1, 2)];
        let two = Limits { domains: (2, Some(2)), members: (0, Some(3)), beside: None };
        let Answer::Use(used) = search(&options, 22, two) else { panic!("two domains hold 22") };
        assert_eq!(used.len(), 3);
        assert_eq!(search(&options, 23, two), Answer::Nothing);
        let three = Limits { domains: (3, None), members: (0, Some(3)), beside: None };
        assert_eq!(search(&options, 15, three), Answer::Nothing);
        assert!(matches!(search(&options, 14, three), Answer::Use(used) if used.len() == 3));
    }

    #[test]
    fn two_keys_hold_together() {
        let at = |domain, beside, high| Choice { beside, ..option(domain, 1, high) };
        // The two with most room share a domain of each key with the third only.
        let options = [at(0, 0, 9), at(0, 1, 2), at(1, 1, 9), at(2, 0, 3), at(2, 1, 3)];
        let limits = |beside| Limits { domains: (2, Some(2)), members: (0, None), beside };
        let one = Some((1, Some(1)));
        assert_eq!(search(&options, 12, limits(one)), Answer::Use(vec![0, 3]));
        assert_eq!(search(&options, 13, limits(one)), Answer::Nothing);
        assert_eq!(search(&options, 20, limits(Some((2, None)))), Answer::Use(vec![0, 1, 2]));
        assert_eq!(search(&options, 12, limits(Some((3, None)))), Answer::Nothing);
    }

    #[test]
    fn what_must_be_used_is() {
        let mut options = [option(0, 4, 4), option(0, 1, 9)];
        options[0].must = true;
        assert_eq!(search(&options, 3, FREE), Answer::Nothing);
        assert_eq!(search(&options, 4, FREE), Answer::Use(vec![0]));
        assert_eq!(search(&options, 6, FREE), Answer::Use(vec![0, 1]));
    }
}
