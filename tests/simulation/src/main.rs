//! `hanse-simulate SEED`: one run of the full stack under virtual time; prints the trace's hash
//! and what the checkers saw. The same seed prints the same, in any process on any machine with
//! the same lock file.

mod chance;
mod checkers;
mod gateways;
mod scenario;
mod trace;

use std::process::ExitCode;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks to people")]
fn main() -> ExitCode {
    let seed = std::env::args().nth(1).and_then(|seed| seed.parse::<u64>().ok());
    let Some(seed) = seed else {
        eprintln!("usage: hanse-simulate SEED");
        return ExitCode::from(2);
    };
    match chance::run(seed, scenario::run) {
        Ok(outcome) => {
            println!("{outcome}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("seed {seed}: {error:#}\nreplay: hanse-simulate {seed}");
            ExitCode::FAILURE
        }
    }
}
