//! Benchmarks by name. Each is a program of its own, built in release mode together with what it
//! measures, so that both are of one build.

use anyhow::{Result, bail};

use crate::{peers, shell};

/// Names, the package and program that holds each, and whether it runs `hanse` itself.
const BENCHES: [(&str, &str, bool); 2] =
    [("federation", "hanse-bench-federation", true), ("scheduler", "hanse-bench-scheduler", false)];

/// Builds and runs one benchmark; further words are its own.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let names: Vec<_> = BENCHES.iter().map(|(name, ..)| *name).collect();
    let Some((name, rest)) = words.split_first() else {
        bail!("which one? there is: {}", names.join(", "));
    };
    let Some((_, package, runs)) = BENCHES.iter().find(|(known, ..)| known == name) else {
        bail!("unknown benchmark `{name}`; there is: {}", names.join(", "));
    };
    let mut build = vec!["build", "--release", "--locked", "--package", package];
    if *runs {
        build.extend(["--package", "hanse-cli"]);
    }
    shell::run(&mut shell::command("cargo", &build))?;
    let program = shell::target()?.join("release").join(package);
    let program = program.to_string_lossy();
    let mut command = shell::command(&program, rest);
    if *runs {
        command.env("HANSE_PEERS", peers::clients()?);
    }
    shell::run(&mut command)
}
