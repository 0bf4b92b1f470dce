//! The full stack replays: the same seed gives the same trace in two processes, in two orders.

use std::process::Command;

/// Drawn once; each shows another order of the faults.
const SEEDS: [u64; 3] = [1, 7, 23];

fn simulate(seed: u64) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_hanse-simulate"))
        .arg(seed.to_string())
        .output()
        .expect("the simulation starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_cut_and_a_killed_hub_replay_bit_for_bit_and_the_federation_settles() {
    let first: Vec<String> = SEEDS.iter().map(|seed| simulate(*seed)).collect();
    let mut second: Vec<String> = SEEDS.iter().rev().map(|seed| simulate(*seed)).collect();
    second.reverse();
    assert_eq!(first, second);
    println!("{}", first.concat());
}
