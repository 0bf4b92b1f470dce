//! Benchmarks by name. Each is a program of its own, built in release mode together with what it
//! measures, so that both are of one build.

use anyhow::{Result, bail};

use crate::{peers, shell};

/// Names, and the package and program that holds each.
const BENCHES: [(&str, &str); 1] = [("federation", "hanse-bench-federation")];

/// Builds and runs one benchmark; further words are its own.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let names: Vec<_> = BENCHES.iter().map(|(name, _)| *name).collect();
    let Some((name, rest)) = words.split_first() else {
        bail!("which one? there is: {}", names.join(", "));
    };
    let Some((_, package)) = BENCHES.iter().find(|(known, _)| known == name) else {
        bail!("unknown benchmark `{name}`; there is: {}", names.join(", "));
    };
    let peers = peers::clients()?;
    let build = ["build", "--release", "--locked", "--package", "hanse-cli", "--package", package];
    shell::run(&mut shell::command("cargo", &build))?;
    let program = shell::target()?.join("release").join(package);
    let program = program.to_string_lossy();
    shell::run(shell::command(&program, rest).env("HANSE_PEERS", peers))
}
