//! The gate and the test suites.

use anyhow::{Result, bail};

use crate::{peers, shell, tidy};

/// `cargo deny` of this version; it is built once into the cache.
const CARGO_DENY: &str = "0.20.2";

/// Format, clippy, tidy, deny, docs, then all tests.
pub(crate) fn ci() -> Result<()> {
    shell::run(&mut shell::command("cargo", &["fmt", "--all", "--check"]))?;
    tidy::run()?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    shell::run(&mut shell::command("cargo", &clippy))?;
    let docs = ["doc", "--workspace", "--no-deps", "--locked"];
    shell::run(shell::command("cargo", &docs).env("RUSTDOCFLAGS", "-D warnings"))?;
    deny()?;
    test(&[])
}

/// Suites by name, and what Cargo has to run for each.
const SUITES: [(&str, &[&str]); 6] = [
    ("unit", &["--workspace", "--lib", "--bins"]),
    ("api", &["--package", "hanse-tests-api"]),
    ("federation", &["--package", "hanse-cli", "--test", "federation"]),
    ("kubernetes", &["--package", "hanse-cli", "--test", "kubernetes"]),
    ("traffic", &["--package", "hanse-tests-traffic"]),
    ("simulation", &["--package", "hanse-tests-simulation"]),
];

/// All tests, or one suite.
pub(crate) fn test(words: &[&str]) -> Result<()> {
    let name = match words {
        [] => return everything(),
        [name] => name,
        _ => bail!("one suite at a time"),
    };
    let Some((_, arguments)) = SUITES.iter().find(|(known, _)| known == name) else {
        let names: Vec<_> = SUITES.iter().map(|(name, _)| *name).collect();
        bail!("unknown suite `{name}`; there is: {}", names.join(", "));
    };
    let peers = peers::all()?;
    let mut cargo = vec!["test", "--locked"];
    cargo.extend(*arguments);
    shell::run(shell::command("cargo", &cargo).env("HANSE_PEERS", peers))
}

#[expect(clippy::print_stderr, reason = "says what the tests need before they fetch it")]
fn everything() -> Result<()> {
    eprintln!(
        "all tests: needs Go and Python once, to build and fetch the programs that tests talk to\n\
         (kube-apiserver, etcd, kube-controller-manager, kubectl) into {}",
        shell::cache().display()
    );
    let peers = peers::all()?;
    shell::run(
        shell::command("cargo", &["test", "--workspace", "--locked"]).env("HANSE_PEERS", peers),
    )
}

fn deny() -> Result<()> {
    let tools = shell::cache().join("tools");
    let binary = tools.join("bin/cargo-deny");
    let binary = binary.to_string_lossy();
    if !shell::exists(&binary, "--version") {
        let root = tools.to_string_lossy();
        let install = [
            "install",
            "--locked",
            "--debug",
            "--root",
            &root,
            "--version",
            CARGO_DENY,
            "cargo-deny",
        ];
        let build = shell::cache().join("tools-target");
        shell::run(shell::command("cargo", &install).env("CARGO_TARGET_DIR", &build))?;
        std::fs::remove_dir_all(build)?;
    }
    // The advisory database lies outside the package registries; licences, bans and sources do not.
    let check = ["--offline", "check", "licenses", "bans", "sources"];
    shell::run(&mut shell::command(&binary, &check))
}
