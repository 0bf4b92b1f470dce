//! Benchmarks by name.

use anyhow::{Result, bail};

use crate::shell;

/// Names and the package and target that holds each.
const BENCHES: [(&str, &str); 0] = [];

/// Runs one benchmark in release mode.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let names: Vec<_> = BENCHES.iter().map(|(name, _)| *name).collect();
    let Some((name, rest)) = words.split_first() else {
        bail!("which one? there is: {}", names.join(", "));
    };
    let Some((_, package)) = BENCHES.iter().find(|(known, _)| known == name) else {
        bail!("unknown benchmark `{name}`; there is: {}", names.join(", "));
    };
    let mut cargo = vec!["bench", "--package", package, "--bench", name, "--"];
    cargo.extend(rest);
    shell::run(&mut shell::command("cargo", &cargo))
}
