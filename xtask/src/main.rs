//! The project's own commands, run as `cargo xtask NAME`: what continuous integration runs is what
//! a person runs. Must not hold product code.

mod bench;
mod codegen;
mod peers;
mod shell;
mod suites;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND
  ci             format, clippy, tidy, deny, docs, then all tests: the gate
  test [SUITE]   all tests, or one suite; says what it needs and fetches it
  tidy           house rules that a tool can check
  codegen        writes the generated files again
  peers          builds and fetches the programs that tests talk to
  cases FILE     judges recorded decisions of another scheduler; 1 when one is wrong
  bench NAME     runs a benchmark; --json FILE keeps the figures";

#[expect(clippy::print_stderr, reason = "a command line speaks to people on standard error")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["ci"] => suites::ci(),
        ["test", rest @ ..] => suites::test(rest),
        ["tidy"] => tidy::run(),
        ["codegen"] => codegen::run(),
        ["peers"] => peers::all().map(drop),
        ["cases", file] => cases(file),
        ["bench", rest @ ..] => bench::run(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Judges recorded cases; the program that does it says which are wrong.
fn cases(file: &str) -> anyhow::Result<()> {
    let path = std::path::absolute(file)?;
    let path = path.to_str().ok_or_else(|| anyhow::anyhow!("{file} is no text"))?;
    let run = ["run", "--quiet", "--locked", "--package", "hanse-tests-cases", "--", path];
    shell::run(&mut shell::command("cargo", &run))
}
