//! Arrows between crates: `cargo metadata` must agree with `xtask/layers.toml`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::shell;

#[derive(Deserialize)]
struct Table {
    layers: BTreeMap<String, u8>,
    arrows: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// Reports arrows that are not allowed, point up, or are allowed and not used.
pub(super) fn check(findings: &mut Vec<String>) -> Result<()> {
    let path = shell::root().join("xtask/layers.toml");
    let table: Table = toml::from_str(&std::fs::read_to_string(&path)?)
        .with_context(|| format!("{} does not parse", path.display()))?;
    let arguments = ["metadata", "--format-version", "1", "--no-deps"];
    let metadata: Metadata =
        serde_json::from_str(&shell::read(&mut shell::command("cargo", &arguments))?)?;
    let mut seen = BTreeSet::new();
    for package in &metadata.packages {
        let Some(name) = package.name.strip_prefix("hanse-") else {
            continue;
        };
        if !package.manifest_path.contains("/crates/") {
            continue;
        }
        seen.insert(name);
        package.check(name, &table, findings);
    }
    for name in table.arrows.keys().filter(|name| !seen.contains(name.as_str())) {
        findings.push(format!("xtask/layers.toml: there is no crate `{name}`; take it out"));
    }
    Ok(())
}

impl Package {
    fn check(&self, name: &str, table: &Table, findings: &mut Vec<String>) {
        if !self.manifest_path.ends_with(&format!("/crates/{name}/Cargo.toml")) {
            findings.push(format!("{}: lies in another folder than its name", self.name));
        }
        let (Some(layer), Some(allowed)) = (table.layers.get(name), table.arrows.get(name)) else {
            findings.push(format!("xtask/layers.toml: give `{name}` a layer and its arrows"));
            return;
        };
        let used: BTreeSet<_> = self
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind.as_deref() != Some("dev"))
            .filter_map(|dependency| dependency.name.strip_prefix("hanse-"))
            .collect();
        for to in &used {
            if !allowed.contains(*to) {
                findings.push(format!("{name} -> {to}: not in xtask/layers.toml"));
            }
            if table.layers.get(*to).is_some_and(|below| below > layer) {
                findings.push(format!("{name} -> {to}: points up"));
            }
        }
        for to in allowed.iter().filter(|to| !used.contains(to.as_str())) {
            findings.push(format!("{name} -> {to}: allowed in xtask/layers.toml, not used"));
        }
    }
}
