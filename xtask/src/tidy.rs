//! House rules that a tool can check. Each message says what to do about it.

mod layers;
mod lengths;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::shell;

/// Lines that ARCHITECTURE.md may have: a page that is read, not searched.
const ARCHITECTURE_LINES: usize = 300;
/// File stems that say nothing about what is inside.
const EMPTY_NAMES: [&str; 5] = ["utils", "util", "common", "helpers", "misc"];
/// Written so that this file does not find itself.
const SELECTS: [&str; 2] = [concat!("tokio::sel", "ect!"), concat!("futures::sel", "ect!")];

/// Checks everything, reports all findings at once.
#[expect(clippy::print_stderr, reason = "reports to the person who runs it")]
pub(crate) fn run() -> Result<()> {
    let mut findings = Vec::new();
    for path in tracked("*.rs")? {
        let text = std::fs::read_to_string(shell::root().join(&path))?;
        source(&path, &text, &mut findings);
        lengths::check(&path, &text, &mut findings);
    }
    lengths::unused(&mut findings);
    for path in tracked("Cargo.toml")?.into_iter().chain(tracked("*/Cargo.toml")?) {
        manifest(&path, &mut findings)?;
    }
    layers::check(&mut findings)?;
    architecture(&mut findings);
    if findings.is_empty() {
        eprintln!("tidy: nothing to mend");
        return Ok(());
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    bail!("tidy: {} to mend", findings.len());
}

/// Files that git tracks or would track, by pattern, in order.
fn tracked(pattern: &str) -> Result<Vec<PathBuf>> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard", "--", pattern];
    let mut paths: Vec<PathBuf> = shell::read(&mut shell::command("git", &list))?
        .lines()
        .map(PathBuf::from)
        .filter(|path| shell::root().join(path).exists())
        .collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn source(path: &Path, text: &str, findings: &mut Vec<String>) {
    let shown = path.display();
    let header = text.lines().find(|line| !line.is_empty() && !line.starts_with("#!["));
    if !header.is_some_and(|line| line.starts_with("//!")) {
        findings.push(format!("{shown}: open with `//!`: what the file is for"));
    }
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    if stem.as_deref().is_some_and(|stem| EMPTY_NAMES.contains(&stem)) {
        findings.push(format!("{shown}: name the file by what it holds"));
    }
    let in_rt = path.starts_with("crates/rt");
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        let code = line.split("//").next().unwrap_or_default();
        if !in_rt && SELECTS.iter().any(|select| code.contains(select)) {
            findings.push(format!("{shown}:{number}: use `hanse_rt::select!`, which is biased"));
        }
        if line.contains(concat!("TO", "DO")) || line.contains(concat!("FIX", "ME")) {
            findings.push(format!("{shown}:{number}: do it, or file it and name it in the text"));
        }
    }
}

fn manifest(path: &Path, findings: &mut Vec<String>) -> Result<()> {
    let text = std::fs::read_to_string(shell::root().join(path))?;
    let manifest: toml::Table = text.parse()?;
    if manifest.contains_key("workspace") {
        return Ok(());
    }
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    if lints != Some(&toml::Value::Boolean(true)) {
        findings.push(format!("{}: add `[lints]` with `workspace = true`", path.display()));
    }
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(table) = manifest.get(section).and_then(toml::Value::as_table) else {
            continue;
        };
        for (name, value) in table {
            if value.get("workspace") != Some(&toml::Value::Boolean(true)) {
                findings.push(format!(
                    "{}: take `{name}` from [workspace.dependencies]",
                    path.display()
                ));
            }
        }
    }
    Ok(())
}

fn architecture(findings: &mut Vec<String>) {
    match std::fs::read_to_string(shell::root().join("ARCHITECTURE.md")) {
        Ok(text) if text.lines().count() > ARCHITECTURE_LINES => {
            findings.push(format!("ARCHITECTURE.md: keep it within {ARCHITECTURE_LINES} lines"));
        }
        Ok(_) => {}
        Err(error) => findings.push(format!("ARCHITECTURE.md: {error}")),
    }
}
