//! Counts for each candidate: tiers, history and division, over the members that were chosen.
//!
//! With `steady`, what a member holds is its floor: scaling up only adds, scaling down only
//! removes, and what a lost member held is all that moves. A spread or a bound that the history
//! breaks wins over it, and what it displaces is told.

use std::{cmp::Reverse, collections::BinaryHeap, ops::RangeInclusive};

use crate::{
    Cause, DivideBy, Request, TierMode,
    candidate::Candidate,
    choose::{Exact, Item, Want, choose, choose_exactly, preference},
    divide::{Share, divide_with},
    scratch::Scratch,
};

/// One way to look at a request: which candidates, how much of history, which room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Try<'a> {
    pub(crate) request: &'a Request,
    pub(crate) strategy: &'a DivideBy,
    pub(crate) candidates: &'a [Candidate],
    pub(crate) want: &'a Want,
    pub(crate) replicas: u32,
    pub(crate) steady: bool,
    pub(crate) elastic: bool,
    pub(crate) scratch: &'a Scratch,
}

/// Counts of one try, one for each candidate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) each: Vec<u32>,
    pub(crate) placed: u64,
    /// The tier that holds everything, with Fallback.
    pub(crate) tier: Option<u16>,
    /// Not every combination was tried.
    pub(crate) bounded: bool,
    /// Why there is not more.
    pub(crate) cause: Option<Cause>,
}

impl Try<'_> {
    /// The best counts over the request's tiers.
    pub(crate) fn run(&self) -> Counts {
        let tiers = u16::try_from(self.request.rules.tiers.len().max(1)).unwrap_or(u16::MAX);
        let all = u64::from(self.replicas);
        let mut best: Option<Counts> = None;
        let mut consider = |counts: Counts| {
            let full = counts.placed == all;
            if best.as_ref().is_none_or(|best| counts.placed > best.placed) {
                best = Some(counts);
            }
            full
        };
        match self.request.rules.tier_mode {
            TierMode::Fallback => {
                for tier in 0..tiers {
                    let mut counts = self.over(tier..=tier, true);
                    counts.tier = Some(tier);
                    if consider(counts) {
                        return best.unwrap_or_default();
                    }
                }
                if self.request.partial && tiers > 1 {
                    // No tier holds everything, and a part is welcome: take what all hold.
                    consider(self.over(0..=u16::MAX, true));
                }
            }
            TierMode::Overflow => {
                if self.want.is_empty() && consider(self.over(0..=u16::MAX, tiers == 1)) {
                    return best.unwrap_or_default();
                }
                // With a spread, or with bounds that are hard to meet, as few tiers as will do.
                for last in 0..tiers {
                    if consider(self.over(0..=last, true)) {
                        break;
                    }
                }
            }
        }
        best.unwrap_or_default()
    }

    /// The best counts over the tiers that are open.
    fn over(&self, open: RangeInclusive<u16>, exactly: bool) -> Counts {
        let items = self.items(&open);
        let room: u64 = items.iter().map(|item| u64::from(item.upper)).sum();
        let none = |cause| Counts {
            each: vec![0; self.candidates.len()],
            cause: Some(cause),
            ..Counts::default()
        };
        let chosen = match choose(self.candidates, items, self.want, self.replicas, self.steady) {
            Ok(chosen) => chosen,
            Err(cause) => return none(cause),
        };
        let mut counts = self.share(&chosen.items);
        counts.bounded = chosen.bounded;
        let wanted = u64::from(self.replicas);
        if counts.placed == wanted
            && let Some(better) = self.without_idle(&chosen.items, &counts, &open)
        {
            counts = Counts { bounded: counts.bounded, ..better };
        }
        self.scratch.items.put_back(chosen.items);
        if exactly && !chosen.searched && counts.placed < wanted && room >= wanted {
            let items = self.items(&open);
            match choose_exactly(self.candidates, &items, self.want, self.replicas, self.steady) {
                Exact::Use(items) => counts = self.share(&items),
                Exact::Nothing => {}
                Exact::GivenUp => counts.bounded = true,
            }
            self.scratch.items.put_back(items);
        }
        if counts.placed < wanted {
            counts.cause = Some(if room < wanted {
                Cause::NoRoom
            } else if self.want.is_empty() {
                Cause::BoundsUnsatisfiable
            } else {
                Cause::SpreadUnsatisfiable
            });
        }
        counts
    }

    /// Where the number of members is limited, one that was chosen and got nothing kept a place
    /// from another. The choice without such members, if more are used then.
    fn without_idle(
        &self,
        chosen: &[Item],
        counts: &Counts,
        open: &RangeInclusive<u16>,
    ) -> Option<Counts> {
        let most = self.want.most_members()?;
        let idle = |item: &Item| counts.each[item.of] == 0;
        if chosen.len() < most || !chosen.iter().any(|item| idle(item) && item.base == 0) {
            return None;
        }
        let left_out = |item: &Item| {
            idle(item) && chosen.binary_search_by_key(&item.of, |chosen| chosen.of).is_ok()
        };
        let items = self.items(open).into_iter().filter(|item| !left_out(item)).collect();
        let again = choose(self.candidates, items, self.want, self.replicas, self.steady).ok()?;
        let better = self.share(&again.items);
        let used = |counts: &Counts| counts.each.iter().filter(|count| **count > 0).count();
        (better.placed == counts.placed && used(&better) > used(counts)).then_some(better)
    }

    fn items(&self, open: &RangeInclusive<u16>) -> Vec<Item> {
        let mut items = self.scratch.items.take();
        items.reserve(self.candidates.len());
        let (first, last) = (*open.start(), *open.end());
        for (of, candidate) in self.candidates.iter().enumerate() {
            let held = candidate.previous.min(candidate.max);
            let base = if self.steady || candidate.frozen { held } else { 0 };
            let takes = first <= candidate.tier && candidate.tier <= last;
            let upper = if takes { candidate.upper(self.elastic) } else { held };
            let low = candidate.min.max(1);
            if !takes && base == 0 && !candidate.closed {
                continue;
            }
            if upper == 0 || (base == 0 && upper < low) {
                continue;
            }
            items.push(Item { of, base, low, upper: upper.max(base), hard: 0 });
        }
        items
    }

    /// Counts over chosen items.
    fn share(&self, items: &[Item]) -> Counts {
        let (mut least, mut floors) = (0, 0);
        for item in items {
            least += u64::from(item.hard);
            floors += u64::from(item.floor());
        }
        if least > u64::from(self.replicas) {
            // What the domains need at least is more than there is.
            return Counts { each: vec![0; self.candidates.len()], ..Counts::default() };
        }
        let parts = if floors >= u64::from(self.replicas) {
            self.take_away(items, floors)
        } else {
            self.add(items)
        };
        let placed = parts.iter().map(|part| u64::from(*part)).sum();
        // Items stand in order, so that as many as there are candidates are all of them.
        let each = if parts.len() == self.candidates.len() {
            parts
        } else {
            let mut each = vec![0; self.candidates.len()];
            for (item, part) in items.iter().zip(&parts) {
                each[item.of] = *part;
            }
            each
        };
        Counts { each, placed, ..Counts::default() }
    }

    fn tier(&self, item: &Item) -> u16 {
        match self.request.rules.tier_mode {
            TierMode::Fallback => 0,
            TierMode::Overflow => self.candidates[item.of].tier,
        }
    }

    /// Numbers of the items by tier, the first tier first.
    fn by_tier(&self, items: &[Item]) -> Vec<Vec<usize>> {
        if self.request.rules.tier_mode == TierMode::Fallback {
            return vec![(0..items.len()).collect()];
        }
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|at| self.tier(&items[*at]));
        order
            .chunk_by(|a, b| self.tier(&items[*a]) == self.tier(&items[*b]))
            .map(<[_]>::to_vec)
            .collect()
    }

    /// Adds what is missing above the floors, tier after tier.
    fn add(&self, items: &[Item]) -> Vec<u32> {
        if self.request.rules.tier_mode == TierMode::Fallback {
            return self.add_to(self.replicas, items);
        }
        let mut counts: Vec<u32> = items.iter().map(Item::floor).collect();
        let floors: u64 = counts.iter().map(|count| u64::from(*count)).sum();
        let mut left = u32::try_from(u64::from(self.replicas) - floors).unwrap_or(u32::MAX);
        for tier in self.by_tier(items) {
            if left == 0 {
                break;
            }
            let list: Vec<Item> = tier.iter().map(|at| items[*at]).collect();
            let before: u32 = tier.iter().map(|at| counts[*at]).sum();
            let parts = self.add_to(before.saturating_add(left), &list);
            for (at, part) in tier.iter().zip(parts) {
                left = left.saturating_sub(part.saturating_sub(counts[*at]));
                counts[*at] = part;
            }
        }
        counts
    }

    /// Adds up to a total over items of one tier.
    fn add_to(&self, total: u32, list: &[Item]) -> Vec<u32> {
        if matches!(self.strategy, DivideBy::Pack) {
            return self.fill(total, list);
        }
        if list.iter().any(|item| item.low > 1 && item.floor() < item.low) {
            let floors: u32 = list.iter().map(Item::floor).sum();
            let mut raised = list.to_vec();
            self.raise_to_minimum(total.saturating_sub(floors), &mut raised);
            return self.divided(total, &raised);
        }
        self.divided(total, list)
    }

    fn divided(&self, total: u32, list: &[Item]) -> Vec<u32> {
        let share = |item: &Item| Share {
            weight: self.weight(item),
            lower: item.floor(),
            upper: item.upper,
            tie: self.candidates[item.of].tie,
        };
        if !(self.steady && matches!(self.strategy, DivideBy::Capacity)) {
            return self.divide(total, list.iter().map(share));
        }
        // What is missing goes by free room, whatever each one has already.
        let held: u32 = list.iter().map(|item| item.base).sum();
        let shares = list.iter().map(|item| {
            let lower = item.hard.saturating_sub(item.base);
            Share { lower, upper: item.upper.saturating_sub(item.base).max(lower), ..share(item) }
        });
        let mut counts = self.divide(total.saturating_sub(held), shares);
        for (count, item) in counts.iter_mut().zip(list) {
            *count += item.base;
        }
        counts
    }

    fn divide(&self, replicas: u32, shares: impl Iterator<Item = Share>) -> Vec<u32> {
        let mut list = self.scratch.shares.take();
        list.extend(shares);
        let counts = divide_with(replicas, &list, &self.scratch.bids);
        self.scratch.shares.put_back(list);
        counts
    }

    /// The weight of an item: given, or its room. What it runs already counts as its room where
    /// history does not count.
    fn weight(&self, item: &Item) -> u64 {
        let candidate = &self.candidates[item.of];
        match self.strategy {
            DivideBy::Weighted(_) => u64::from(candidate.weight),
            DivideBy::Capacity | DivideBy::Pack => {
                let own = if self.steady { 0 } else { u64::from(candidate.previous) };
                let more = if self.elastic { candidate.fits.elastic } else { 0 };
                u64::from(candidate.fits.more) + u64::from(more) + own
            }
        }
    }

    /// One member after the other to the brim, in order of preference. The last one takes what
    /// its minimum asks from those that were filled before it.
    fn fill(&self, total: u32, list: &[Item]) -> Vec<u32> {
        let mut counts: Vec<u32> = list.iter().map(Item::floor).collect();
        let mut left = total.saturating_sub(counts.iter().sum());
        // Most of the time a few members are enough: they come off a heap as they are needed.
        let mut ranks = self.scratch.ranks.take();
        let keyed = (0..).zip(list);
        ranks.extend(keyed.map(|(at, item)| Reverse((preference(self.candidates, item), at))));
        let mut queue = BinaryHeap::from(ranks);
        let mut order: Vec<usize> = Vec::new();
        while left > 0 {
            let Some(Reverse((_, at))) = queue.pop() else {
                break;
            };
            let turn = order.len();
            let at = at as usize;
            order.push(at);
            let at = &at;
            let item = &list[*at];
            let more = left.min(item.upper - counts[*at]);
            let lacks = if more > 0 { item.low.saturating_sub(counts[*at] + more) } else { 0 };
            if lacks > 0 {
                let spare = |other: &usize| {
                    counts[*other] - counts[*other].min(list[*other].floor().max(list[*other].low))
                };
                let spares: u64 = order[..turn].iter().map(|other| u64::from(spare(other))).sum();
                if spares < u64::from(lacks) || item.upper < item.low {
                    continue;
                }
                let mut need = lacks;
                for other in order[..turn].iter().rev() {
                    let keep = list[*other].floor().max(list[*other].low);
                    let give = counts[*other].saturating_sub(keep).min(need);
                    counts[*other] -= give;
                    need -= give;
                }
                left += lacks;
            }
            let more = left.min(item.upper - counts[*at]);
            counts[*at] += more;
            left -= more;
        }
        self.scratch.ranks.put_back(queue.into_vec());
        counts
    }

    /// Gives members that are new what their bounds ask for, while there are enough replicas: the
    /// ones with the most room first. One for which they do not suffice takes nothing.
    fn raise_to_minimum(&self, replicas: u32, list: &mut [Item]) {
        let has_minimum = |item: &Item| item.low > 1 && item.floor() < item.low;
        let mut left = u64::from(replicas);
        let mut order: Vec<usize> = (0..list.len()).filter(|at| has_minimum(&list[*at])).collect();
        order.sort_by_cached_key(|at| preference(self.candidates, &list[*at]));
        for at in order {
            let item = &mut list[at];
            let lack = u64::from(item.low - item.floor());
            if item.low <= item.upper && lack <= left {
                item.hard = item.low;
                left -= lack;
            } else {
                item.upper = item.floor();
            }
        }
    }

    /// Takes replicas away: from the last tier first, then by weight or in proportion to what
    /// each has. Members out of reach keep theirs while the others have any, because nothing can
    /// be taken there now.
    fn take_away(&self, items: &[Item], floors: u64) -> Vec<u32> {
        let mut counts: Vec<u32> = items.iter().map(Item::floor).collect();
        let mut excess = floors.saturating_sub(u64::from(self.replicas));
        for gentle in [true, false] {
            for tier in self.by_tier(items).into_iter().rev() {
                if excess == 0 {
                    return counts;
                }
                let list: Vec<Item> = tier.iter().map(|at| items[*at]).collect();
                let held: u64 = tier.iter().map(|at| u64::from(counts[*at])).sum();
                let least: u64 = list.iter().map(|item| u64::from(self.least(item, gentle))).sum();
                let taken = excess.min(held.saturating_sub(least));
                let total = u32::try_from(held - taken).unwrap_or(u32::MAX);
                for (at, part) in tier.iter().zip(self.reduced(total, &list, gentle)) {
                    counts[*at] = part;
                }
                excess -= taken;
            }
        }
        if excess > 0 {
            // Even what is out of reach must shrink once it can: the others hold nothing then.
            let shares = items.iter().map(|item| {
                let frozen = self.candidates[item.of].frozen;
                let upper = if frozen { item.floor() } else { item.hard };
                let tie = self.candidates[item.of].tie;
                Share { weight: u64::from(item.floor()), lower: item.hard.min(upper), upper, tie }
            });
            return self.divide(self.replicas, shares);
        }
        counts
    }

    /// What an item keeps at least when replicas are taken away.
    fn least(&self, item: &Item, gentle: bool) -> u32 {
        let candidate = &self.candidates[item.of];
        if candidate.frozen {
            item.floor()
        } else if gentle {
            item.hard.max(candidate.min.min(item.floor()))
        } else {
            item.hard
        }
    }

    fn reduced(&self, total: u32, list: &[Item], gentle: bool) -> Vec<u32> {
        if matches!(self.strategy, DivideBy::Pack) {
            return self.emptied(total, list, gentle);
        }
        let has_weight = |item: &Item| self.weight(item) > 0;
        let lightest = list.iter().filter(|item| !has_weight(item));
        let can_go: u32 = match self.strategy {
            DivideBy::Weighted(_) => {
                lightest.map(|item| item.floor() - self.least(item, gentle).min(item.floor())).sum()
            }
            _ => 0,
        };
        if can_go == 0 {
            return self.lowered(total, list, gentle);
        }
        // What has no weight goes first.
        let (heavy, light): (Vec<usize>, Vec<usize>) =
            (0..list.len()).partition(|at| has_weight(&list[*at]));
        let pick = |part: &[usize]| -> Vec<Item> { part.iter().map(|at| list[*at]).collect() };
        let held: u32 = list.iter().map(Item::floor).sum();
        let left = pick(&light).iter().map(Item::floor).sum::<u32>() - can_go.min(held - total);
        let mut counts = vec![0; list.len()];
        let parts = [(heavy, total - left), (light, left)];
        for (part, total) in parts {
            for (at, count) in part.iter().zip(self.lowered(total, &pick(&part), gentle)) {
                counts[*at] = count;
            }
        }
        counts
    }

    /// Fewer replicas, by weight or in proportion to what each has.
    fn lowered(&self, total: u32, list: &[Item], gentle: bool) -> Vec<u32> {
        let shares = list.iter().map(|item| Share {
            weight: match self.strategy {
                DivideBy::Weighted(_) => self.weight(item).max(1),
                _ => u64::from(item.floor()),
            },
            lower: self.least(item, gentle),
            upper: item.floor(),
            tie: self.candidates[item.of].tie,
        });
        self.divide(total, shares)
    }

    /// Empties the member that holds least first, those that the spread stands on last.
    fn emptied(&self, total: u32, list: &[Item], gentle: bool) -> Vec<u32> {
        let mut counts: Vec<u32> = list.iter().map(Item::floor).collect();
        let mut excess = counts.iter().sum::<u32>().saturating_sub(total);
        let mut order: Vec<usize> = (0..list.len()).collect();
        order.sort_by_cached_key(|at| {
            let item = &list[*at];
            (item.hard > 0, counts[*at], self.candidates[item.of].tie)
        });
        for at in order {
            let taken = excess.min(counts[at] - self.least(&list[at], gentle).min(counts[at]));
            counts[at] -= taken;
            excess -= taken;
        }
        counts
    }
}
