//! Benchmarks by name. Each is a program of its own, built in release mode together with what it
//! measures, so that both are of one build.

use anyhow::{Result, bail};

use crate::{peers, shell};

/// What a benchmark runs beside itself.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Needs {
    Nothing,
    /// `hanse` and kubectl.
    Hanse,
    /// These, and real control planes.
    ControlPlanes,
}

/// Names, and the program of each.
const BENCHES: [(&str, &str, Needs); 5] = [
    ("api", "hanse-bench-api", Needs::Nothing),
    ("federation", "hanse-bench-federation", Needs::Hanse),
    ("scheduler", "hanse-bench-scheduler", Needs::Nothing),
    ("placement", "hanse-bench-placement", Needs::Nothing),
    ("endtoend", "hanse-bench-endtoend", Needs::ControlPlanes),
];

/// Builds and runs one benchmark; further words are its own.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let names: Vec<_> = BENCHES.iter().map(|(name, ..)| *name).collect();
    let Some((name, rest)) = words.split_first() else {
        bail!("which one? there is: {}", names.join(", "));
    };
    let Some((_, program, needs)) = BENCHES.iter().find(|(known, ..)| known == name) else {
        bail!("unknown benchmark `{name}`; there is: {}", names.join(", "));
    };
    let mut build = vec!["build", "--release", "--locked", "--workspace", "--bin", program];
    if *needs != Needs::Nothing {
        build.extend(["--bin", "hanse"]);
    }
    shell::run(&mut shell::command("cargo", &build))?;
    let program = shell::target()?.join("release").join(program);
    let program = program.to_string_lossy();
    let mut command = shell::command(&program, rest);
    match needs {
        Needs::Nothing => {}
        Needs::Hanse => drop(command.env("HANSE_PEERS", peers::clients()?)),
        Needs::ControlPlanes => drop(command.env("HANSE_PEERS", peers::all()?)),
    }
    shell::run(&mut command)
}
