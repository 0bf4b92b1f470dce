//! The gate and the test suites.

use anyhow::{Result, bail};

use crate::{peers, shell, tidy};

/// `cargo deny` of this version; it is built once into the cache.
const CARGO_DENY: &str = "0.20.2";

/// Format, clippy, tidy, deny, docs, then all tests.
pub(crate) fn ci() -> Result<()> {
    shell::run(&mut shell::command("cargo", &["fmt", "--all", "--check"]))?;
    tidy::run()?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    shell::run(&mut shell::command("cargo", &clippy))?;
    let docs = ["doc", "--workspace", "--no-deps", "--locked"];
    shell::run(shell::command("cargo", &docs).env("RUSTDOCFLAGS", "-D warnings"))?;
    deny()?;
    test(&[])
}

/// All tests, or one suite.
pub(crate) fn test(words: &[&str]) -> Result<()> {
    match words {
        [] => everything(),
        ["unit"] => unit(),
        ["api"] => suite("hanse-tests-api"),
        _ => bail!("unknown suite `{}`; there is: unit, api", words.join(" ")),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "says what the tests need before they fetch it"
)]
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

fn unit() -> Result<()> {
    shell::run(&mut shell::command(
        "cargo",
        &["test", "--workspace", "--locked", "--lib"],
    ))
}

fn suite(package: &str) -> Result<()> {
    let peers = peers::all()?;
    let cargo = ["test", "--locked", "--package", package];
    shell::run(shell::command("cargo", &cargo).env("HANSE_PEERS", peers))
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
