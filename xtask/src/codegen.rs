//! Files that are made from code. Tests beside the code fail when they are stale.

use anyhow::Result;

use crate::shell;

/// Writes the generated files again.
pub(crate) fn run() -> Result<()> {
    let cargo = ["run", "--package", "hanse-api", "--example", "crds", "--", "manifests/crds"];
    shell::run(&mut shell::command("cargo", &cargo))
}
