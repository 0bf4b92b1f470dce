//! The engine's promises on random fleets. `HANSE_FLEETS=100000` sets how many (10,000 unless
//! told otherwise); a failure names its seed, and `HANSE_SEED=N` runs that one alone.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cases;
mod promises;
mod solver;

use cases::case;

/// Runs a check over all seeds, in as many threads as there are cores.
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
fn no_fresh_request_that_has_a_solution_is_refused() {
    for_each_fleet(|seed| promises::solvable(&case(seed)));
}
