//! Which members to use when the simple choice fails: every combination of counts, by dynamic
//! programming over domains and members, for at most one key beside the cluster.
//!
//! A state is (domains used, members used) and the sums that are reachable with it, kept as
//! ranges: a member that is used holds anything from its least to its most. Ranges that touch are
//! one, so that ordinary fleets keep a handful of them.

/// One member that may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    /// Number of its domain; equal numbers stand together.
    pub(crate) domain: u32,
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
    let grid = Grid { deep, wide, loose_domains, loose_members };
    if grid.states().saturating_mul(options.len() + 1) > BUDGET {
        return Answer::GivenUp;
    }
    let mut layers: Vec<Vec<Ranges>> = Vec::with_capacity(options.len() + 1);
    let mut first = vec![Ranges::new(); grid.states()];
    first[grid.at(0, false, 0)] = vec![(0, 0)];
    layers.push(first);
    for (number, option) in options.iter().enumerate() {
        let opens = number == 0 || options[number - 1].domain != option.domain;
        let next = grid.step(&layers[number], option, opens, u64::from(replicas));
        layers.push(next);
    }
    grid.walk_back(options, &layers, u64::from(replicas), limits)
}

#[derive(Clone, Copy, Debug)]
struct Grid {
    deep: usize,
    wide: usize,
    /// There is no upper limit of domains, so that the last column stands for "or more".
    loose_domains: bool,
    loose_members: bool,
}

impl Grid {
    const fn states(&self) -> usize {
        (self.deep + 1) * 2 * (self.wide + 1)
    }

    /// Place of a state: domains used before this one, whether this one is used, members used.
    const fn at(&self, domains: usize, here: bool, members: usize) -> usize {
        (domains * 2 + here as usize) * (self.wide + 1) + members
    }

    fn up(used: usize, cap: usize, loose: bool) -> Option<usize> {
        if used < cap { Some(used + 1) } else { loose.then_some(cap) }
    }

    fn step(&self, from: &[Ranges], option: &Choice, opens: bool, replicas: u64) -> Vec<Ranges> {
        let mut to = vec![Ranges::new(); self.states()];
        for domains in 0..=self.deep {
            for here in [false, true] {
                for members in 0..=self.wide {
                    let ranges = &from[self.at(domains, here, members)];
                    if ranges.is_empty() {
                        continue;
                    }
                    let here = here && !opens;
                    if !option.must {
                        merge(&mut to[self.at(domains, here, members)], ranges, 0, 0, replicas);
                    }
                    let domains = if here {
                        Some(domains)
                    } else {
                        Self::up(domains, self.deep, self.loose_domains)
                    };
                    let members = Self::up(members, self.wide, self.loose_members);
                    if let (Some(domains), Some(members)) = (domains, members) {
                        let into = &mut to[self.at(domains, true, members)];
                        let (low, high) = (u64::from(option.low), u64::from(option.high));
                        merge(into, ranges, low, high, replicas);
                    }
                }
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
        let goal = (0..=self.deep)
            .flat_map(|d| [false, true].map(|here| (d, here)))
            .flat_map(|(d, here)| (0..=self.wide).map(move |m| (d, here, m)))
            .find(|(d, here, m)| {
                *d >= limits.domains.0 as usize
                    && *m >= limits.members.0 as usize
                    && contains(&layers[last][self.at(*d, *here, *m)], replicas)
            });
        let Some(mut state) = goal else {
            return Answer::Nothing;
        };
        let mut sum = replicas;
        let mut used = Vec::new();
        for number in (0..last).rev() {
            let (before, taken, rest) = self.back(options, layers, number, state, sum);
            if taken {
                used.push(number);
            }
            (state, sum) = (before, rest);
        }
        used.reverse();
        Answer::Use(used)
    }

    /// The state before option `number`, whether it was used, and the sum that was left.
    fn back(
        &self,
        options: &[Choice],
        layers: &[Vec<Ranges>],
        number: usize,
        (domains, here, members): (usize, bool, usize),
        sum: u64,
    ) -> ((usize, bool, usize), bool, u64) {
        let option = &options[number];
        let opens = number == 0 || options[number - 1].domain != option.domain;
        let from = &layers[number];
        let heres: &[bool] = if opens { &[false, true] } else { &[here] };
        if !(option.must || opens && here) {
            for was in heres {
                let state = (domains, *was, members);
                if contains(&from[self.at(state.0, state.1, state.2)], sum) {
                    return (state, false, sum);
                }
            }
        }
        // It was used: any state that one more member leads from here to there.
        for was in [false, true] {
            let stays = was && !opens;
            for d in 0..=self.deep {
                let reaches =
                    if stays { Some(d) } else { Self::up(d, self.deep, self.loose_domains) };
                for m in 0..=self.wide {
                    if reaches != Some(domains)
                        || Self::up(m, self.wide, self.loose_members) != Some(members)
                    {
                        continue;
                    }
                    let ranges = &from[self.at(d, was, m)];
                    let (low, high) = (u64::from(option.low), u64::from(option.high));
                    // The most that leaves a sum that was reachable.
                    for (start, end) in ranges.iter().rev() {
                        let rest = sum.saturating_sub(high).max(*start);
                        if rest <= *end && rest + low <= sum && sum - rest <= high {
                            return ((d, was, m), true, rest);
                        }
                    }
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
        Choice { domain, low, high, must: false }
    }

    const FREE: Limits = Limits { domains: (0, None), members: (0, None) };

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
        let two = Limits { domains: (2, Some(2)), members: (0, Some(3)) };
        let Answer::Use(used) = search(&options, 22, two) else { panic!("two domains hold 22") };
        assert_eq!(used.len(), 3);
        assert_eq!(search(&options, 23, two), Answer::Nothing);
        let three = Limits { domains: (3, None), members: (0, Some(3)) };
        assert_eq!(search(&options, 15, three), Answer::Nothing);
        assert!(matches!(search(&options, 14, three), Answer::Use(used) if used.len() == 3));
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
