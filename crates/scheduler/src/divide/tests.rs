//! Worked divisions, and the properties that make the rule worth having.

use proptest::prelude::*;

use super::*;

fn shares(weights: &[u64]) -> Vec<Share> {
    let count = weights.len() as u64;
    weights
        .iter()
        .enumerate()
        .map(|(at, weight)| Share {
            weight: *weight,
            lower: 0,
            upper: u32::MAX,
            tie: count - at as u64,
        })
        .collect()
}

/// Hands out one seat at a time, by the definition.
fn one_by_one(replicas: u32, shares: &[Share]) -> Vec<u32> {
    let mut seats: Vec<u32> = shares.iter().map(|share| share.lower).collect();
    while total(&seats) < u64::from(replicas) {
        let best = (0..shares.len())
            .filter(|at| shares[*at].weight > 0 && seats[*at] < shares[*at].upper)
            .max_by_key(|at| Bid::new(*at, &shares[*at], seats[*at]));
        let Some(best) = best else { break };
        seats[best] += 1;
    }
    seats
}

#[test]
fn the_worked_cases_of_the_method_come_out() {
    for (replicas, weights, expected) in [
        (1, &[1, 1][..], &[1, 0][..]),
        (5, &[1, 1, 1, 1], &[2, 1, 1, 1]),
        (7, &[2, 1, 1, 1], &[3, 2, 1, 1]),
        (8, &[2, 1, 1, 1], &[3, 2, 2, 1]),
        (9, &[1, 3], &[2, 7]),
        (12, &[6, 6, 2], &[5, 5, 2]),
        (10, &[97, 1, 1, 1], &[10, 0, 0, 0]),
        (12, &[20, 12, 6], &[6, 4, 2]),
        (13, &[3, 2, 1], &[7, 4, 2]),
        (50, &[1, 1, 1], &[17, 17, 16]),
        (100, &[5, 3, 1], &[56, 33, 11]),
    ] {
        assert_eq!(divide(replicas, &shares(weights)), expected, "{replicas} by {weights:?}");
    }
}

#[test]
fn a_full_share_leaves_the_rest_to_the_others() {
    let mut list = shares(&[10, 1, 1]);
    list[0].upper = 2;
    assert_eq!(divide(10, &list), [2, 4, 4]);
    list[1].upper = 0;
    list[2].upper = 0;
    assert_eq!(divide(10, &list), [2, 0, 0]);
}

#[test]
fn a_million_replicas_and_the_largest_weights_do_not_overflow() {
    let largest = u64::from(u32::MAX >> 1);
    let list = shares(&[largest, largest, 1]);
    assert_eq!(divide(1_000_000, &list), [500_000, 500_000, 0]);
    let mut tight = shares(&[largest, 1]);
    tight[0].upper = 10;
    assert_eq!(divide(1_000_000, &tight), [10, 999_990]);
}

fn any_shares() -> impl Strategy<Value = Vec<Share>> {
    let share = (0_u64..40, 0_u32..6, 0_u32..60, any::<u64>())
        .prop_map(|(weight, lower, more, tie)| Share { weight, lower, upper: lower + more, tie });
    prop::collection::vec(share, 1..12)
}

proptest! {
    #[test]
    fn the_jump_gives_what_one_seat_at_a_time_gives(list in any_shares(), replicas in 0_u32..400) {
        prop_assert_eq!(divide(replicas, &list), one_by_one(replicas, &list));
    }

    #[test]
    fn bounds_hold_and_the_sum_falls_short_only_when_all_are_full(
        list in any_shares(), replicas in 0_u32..400,
    ) {
        let seats = divide(replicas, &list);
        for (seats, share) in seats.iter().zip(&list) {
            prop_assert!(*seats >= share.lower && *seats <= share.upper);
        }
        let sum = total(&seats);
        let floor: u64 = list.iter().map(|share| u64::from(share.lower)).sum();
        let full = seats.iter().zip(&list).all(|(s, share)| share.weight == 0 || *s == share.upper);
        prop_assert!(sum == u64::from(replicas).max(floor) || (full && sum < u64::from(replicas)));
    }

    #[test]
    fn one_replica_more_never_takes_one_away(list in any_shares(), replicas in 0_u32..300) {
        let (fewer, more) = (divide(replicas, &list), divide(replicas + 1, &list));
        prop_assert!(fewer.iter().zip(&more).all(|(a, b)| a <= b));
    }

    #[test]
    fn a_higher_weight_never_lowers_the_share(
        list in any_shares(), replicas in 0_u32..300, at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(list.len());
        let mut heavier = list.clone();
        heavier[at].weight += 1;
        prop_assert!(divide(replicas, &heavier)[at] >= divide(replicas, &list)[at]);
    }
}
