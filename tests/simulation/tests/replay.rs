//! The full stack replays: the same seed gives the same trace in two processes, in two orders.

use std::process::Command;

/// Drawn once; each shows another order of the faults.
const SEEDS: [u64; 3] = [1, 7, 23];

fn simulate(seed: u64, scenario: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_hanse-simulate"))
        .args([&seed.to_string(), scenario])
        .output()
        .expect("the simulation starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn replays(scenario: &str) -> String {
    let first: Vec<String> = SEEDS.iter().map(|seed| simulate(*seed, scenario)).collect();
    let mut second: Vec<String> =
        SEEDS.iter().rev().map(|seed| simulate(*seed, scenario)).collect();
    second.reverse();
    assert_eq!(first, second);
    first.concat()
}

#[test]
fn a_cut_and_a_killed_hub_replay_bit_for_bit_and_the_federation_settles() {
    println!("{}", replays("loss"));
}

#[test]
fn a_hub_away_for_a_minute_while_all_pods_are_replaced_is_not_noticed_and_moves_nothing() {
    println!("{}", replays("outage"));
}
