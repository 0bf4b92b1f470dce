//! Division of replicas by weight: Webster's method (Sainte-Laguë) with lower and upper bounds.
//!
//! Seats are handed out one at a time to the share with the highest quotient `weight / (2s + 1)`.
//! That makes it house monotone (one replica more never takes one away) and population monotone
//! (a higher weight never loses). Large houses jump to the seats that a common price buys first,
//! which is the same sequence, read further on.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, binary_heap::PeekMut},
};

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
    divide_with(replicas, shares, &Memory::default())
}

/// Memory that one division leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    bids: Pool<Bid>,
    quotients: Pool<u64>,
}

/// As [`divide`], with memory.
pub(crate) fn divide_with(replicas: u32, shares: &[Share], memory: &Memory) -> Vec<u32> {
    let mut seats: Vec<u32> = Vec::with_capacity(shares.len());
    let (mut held, mut open, mut weights) = (0, 0, 0);
    for share in shares {
        seats.push(share.lower);
        held += u64::from(share.lower);
        open += u64::from(share.weight > 0);
        weights |= share.weight;
    }
    let mut left = u64::from(replicas).saturating_sub(held);
    if open > 0 && left > 64 && left > open {
        buy(replicas, shares, &mut seats);
        held = total(&seats);
        left = u64::from(replicas).saturating_sub(held);
    }
    if left == 0 {
        return seats;
    }
    let mut queue = BinaryHeap::from(bids(left, shares, &seats, weights, held == 0, memory));
    while left > 0 {
        let Some(mut bid) = queue.peek_mut() else {
            break;
        };
        let at = bid.at;
        seats[at] += 1;
        left -= 1;
        if seats[at] < shares[at].upper {
            *bid = Bid::new(at, &shares[at], seats[at]);
        } else {
            PeekMut::pop(bid);
        }
    }
    memory.bids.put_back(queue.into_vec());
    seats
}

/// The bids for the next seats, those that cannot win left out: a share whose first bid is beaten
/// by as many as there are seats left wins none of them. `weights` has the bits of all weights,
/// and `fresh` says that nobody holds a seat.
fn bids(
    left: u64,
    shares: &[Share],
    seats: &[u32],
    weights: u64,
    fresh: bool,
    memory: &Memory,
) -> Vec<Bid> {
    let mut bids = memory.bids.take();
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    let mut least = 0;
    // Rounded quotients are quick to compare, and never in another order than the exact ones.
    let few = left < shares.len() && weights >> (64 - FRACTION) == 0;
    if few {
        let mut quotients = memory.quotients.take();
        let open = shares.iter().zip(seats).filter(|(share, seats)| **seats < share.upper);
        if fresh {
            quotients.extend(open.map(|(share, _)| share.weight << FRACTION));
        } else {
            quotients.extend(open.map(|(share, seats)| quotient(share, *seats)));
        }
        if left < quotients.len() {
            let (_, last, _) = quotients.select_nth_unstable_by(left - 1, |a, b| b.cmp(a));
            least = *last;
        }
        memory.quotients.put_back(quotients);
    }
    for (at, (share, seats)) in shares.iter().zip(seats).enumerate() {
        let beaten = few
            && if fresh {
                share.weight << FRACTION < least
            } else {
                quotient(share, *seats) < least
            };
        if !beaten && share.weight > 0 && *seats < share.upper {
            bids.push(Bid::new(at, share, *seats));
        }
    }
    if left < bids.len() {
        bids.select_nth_unstable_by(left - 1, |a, b| b.cmp(a));
        bids.truncate(left);
    }
    bids
}

/// Binary digits of a rounded quotient behind the point.
const FRACTION: u32 = 28;

/// What a share would pay for its next seat, rounded down.
fn quotient(share: &Share, seats: u32) -> u64 {
    (share.weight << FRACTION) / (2 * u64::from(seats) + 1)
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
