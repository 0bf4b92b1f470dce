//! The engine's promises on random fleets. `HANSE_FLEETS=100000` sets how many (10,000 unless
//! told otherwise); a failure names its seed, and `HANSE_SEED=N` runs that one alone.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cases;
mod fair;
mod huge;
mod losses;
mod promises;
mod solver;

use std::sync::Mutex;

use cases::case;

/// Runs a check over all seeds.
fn for_each_fleet(check: impl Fn(u64) + Sync) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("HANSE_SEED") {
        return check(seed);
    }
    for seed in 0..number("HANSE_FLEETS").unwrap_or(10_000) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(seed)));
        assert!(
            outcome.is_ok(),
            "failed; replay: HANSE_SEED={seed} cargo test -p hanse-scheduler --test fleets"
        );
    }
}

#[test]
fn every_decision_keeps_every_promise() {
    for_each_fleet(|seed| promises::all(&case(seed), seed));
}

#[test]
fn equal_members_get_the_odd_replica_equally_often() {
    let all = Mutex::new(fair::Unevenness::default());
    for_each_fleet(|seed| all.lock().unwrap().add(fair::check(seed)));
    let off = all.into_inner().unwrap().deviations();
    assert!(off.abs() < 6.0, "over all fleets it is {off:.1} standard deviations from chance");
}

#[test]
fn the_loss_of_a_domain_is_survived_exactly_when_everything_finds_a_place_again() {
    for_each_fleet(losses::check);
}

#[test]
fn huge_weights_and_counts_add_up() {
    for_each_fleet(|seed| huge::check(&case(seed), seed));
}

#[test]
fn no_fresh_request_that_has_a_solution_is_refused() {
    for_each_fleet(|seed| promises::solvable(&case(seed)));
}
