//! Division of replicas by weight: Webster's method (Sainte-Laguë) with lower and upper bounds.
//!
//! Seats are handed out one at a time to the share with the highest quotient `weight / (2s + 1)`.
//! That makes it house monotone (one replica more never takes one away) and population monotone
//! (a higher weight never loses). Large houses jump to the seats that a common price buys first,
//! which is the same sequence, read further on.

use std::{cmp::Ordering, collections::BinaryHeap};

use crate::scratch::Pool;

/// One taker of replicas.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Share {
    /// Its weight; 0 takes no more than `lower`.
    pub weight: u64,
    /// What it holds from the start.
    pub lower: u32,
    /// What it may hold at most.
    pub upper: u32,
    /// Decides between equal quotients: the higher one first.
    pub tie: u64,
}

/// Divides `replicas`. Every share holds at least `lower` even where that is more than there is;
/// the rest goes by weight up to `upper`. The result is shorter than `replicas` in sum exactly
/// when the shares with a weight are full.
pub fn divide(replicas: u32, shares: &[Share]) -> Vec<u32> {
    divide_with(replicas, shares, &Pool::default())
}

/// As [`divide`], with memory for the bids.
pub(crate) fn divide_with(replicas: u32, shares: &[Share], memory: &Pool<Bid>) -> Vec<u32> {
    let mut seats: Vec<u32> = shares.iter().map(|share| share.lower).collect();
    let held = total(&seats);
    let mut left = u64::from(replicas).saturating_sub(held);
    let open = shares.iter().filter(|share| share.weight > 0).count() as u64;
    if open > 0 && left > 64 && left > open {
        buy(replicas, shares, &mut seats);
        left = u64::from(replicas).saturating_sub(total(&seats));
    }
    let mut bids = memory.take();
    bids.extend(
        shares
            .iter()
            .enumerate()
            .filter(|(at, share)| share.weight > 0 && seats[*at] < share.upper)
            .map(|(at, share)| Bid::new(at, share, seats[at])),
    );
    // A share whose first bid is beaten by as many as there are seats left wins none of them.
    if let Ok(left) = usize::try_from(left)
        && left > 0
        && left < bids.len()
    {
        bids.select_nth_unstable_by(left - 1, |a, b| b.cmp(a));
        bids.truncate(left);
    }
    let mut queue = BinaryHeap::from(bids);
    while left > 0 {
        let Some(bid) = queue.pop() else {
            break;
        };
        seats[bid.at] += 1;
        left -= 1;
        if seats[bid.at] < shares[bid.at].upper {
            queue.push(Bid::new(bid.at, &shares[bid.at], seats[bid.at]));
        }
    }
    memory.put_back(queue.into_vec());
    seats
}

fn total(seats: &[u32]) -> u64 {
    seats.iter().map(|seats| u64::from(*seats)).sum()
}

/// Gives every share the seats that are worth a common price, for the lowest price at which there
/// are enough for all who would pay it.
fn buy(replicas: u32, shares: &[Share], seats: &mut [u32]) {
    let weights: u128 = shares.iter().map(|share| u128::from(share.weight)).sum();
    let at_price = |scale: u128| -> Vec<u32> {
        shares.iter().map(|share| bought(share, scale, weights)).collect()
    };
    let affordable = |scale: u128| total(&at_price(scale)) <= u64::from(replicas);
    let (mut low, mut high) = (0_u128, u128::from(replicas));
    while affordable(high) && high < u128::from(u64::MAX) {
        low = high;
        high = high.saturating_mul(2);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if affordable(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    if affordable(low) {
        seats.copy_from_slice(&at_price(low));
    }
}

/// The seats with `weight / (s + 1/2) >= weights / scale`, within the share's bounds.
fn bought(share: &Share, scale: u128, weights: u128) -> u32 {
    let twice = u128::from(share.weight).saturating_mul(scale).saturating_mul(2);
    let seats = twice.saturating_add(weights) / weights.saturating_mul(2).max(1);
    let seats = if share.weight == 0 { 0 } else { u32::try_from(seats).unwrap_or(u32::MAX) };
    seats.min(share.upper).max(share.lower)
}

/// The next seat of one share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Bid {
    weight: u64,
    divisor: u64,
    tie: u64,
    at: usize,
}

impl Bid {
    fn new(at: usize, share: &Share, seats: u32) -> Self {
        Self { weight: share.weight, divisor: 2 * u64::from(seats) + 1, tie: share.tie, at }
    }
}

impl Ord for Bid {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.divisor == other.divisor {
            let (mine, theirs) = (self.weight, other.weight);
            return mine.cmp(&theirs).then(self.tie.cmp(&other.tie)).then(other.at.cmp(&self.at));
        }
        let mine = u128::from(self.weight) * u128::from(other.divisor);
        let theirs = u128::from(other.weight) * u128::from(self.divisor);
        mine.cmp(&theirs).then(self.tie.cmp(&other.tie)).then(other.at.cmp(&self.at))
    }
}

impl PartialOrd for Bid {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests;
