//! `hanse-simulate SEED [loss|outage]`: one run of the full stack under virtual time; prints the
//! trace's hash and what the checkers saw. The same seed prints the same, in any process on any
//! machine with the same lock file.

mod case;
mod chance;
mod checkers;
mod gateways;
mod loss;
mod outage;
mod trace;
mod traffic;

use std::{fmt, process::ExitCode, time::Duration};

/// What one run came to.
struct Outcome {
    seed: u64,
    hash: u64,
    records: u64,
    simulated: Duration,
    /// What the scenario counts.
    seen: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {} hash {:016x} records {} simulated {} s {}",
            self.seed,
            self.hash,
            self.records,
            self.simulated.as_secs(),
            self.seen
        )
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks to people")]
fn main() -> ExitCode {
    let seed = std::env::args().nth(1).and_then(|seed| seed.parse::<u64>().ok());
    let scenario = std::env::args().nth(2).unwrap_or_else(|| "loss".to_owned());
    let outcome = match (seed, scenario.as_str()) {
        (Some(seed), "loss") => chance::run(seed, loss::run),
        (Some(seed), "outage") => chance::run(seed, outage::run),
        _ => {
            eprintln!("usage: hanse-simulate SEED [loss|outage]");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(outcome) => {
            println!("{outcome}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let seed = seed.unwrap_or_default();
            eprintln!("seed {seed}: {error:#}\nreplay: hanse-simulate {seed} {scenario}");
            ExitCode::FAILURE
        }
    }
}
