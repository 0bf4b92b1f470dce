//! What the pages tell a reader to type, typed: in a shell, against a running federation.

use std::{path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use hanse_tests_bodies::{Fleet, pages};
use tokio::process::Command;

use crate::{
    endpoint,
    up::{HANSE, Up},
};

/// Pages that can be followed on one machine, in the order of reading. The others need clusters of
/// the reader's own.
const PAGES: [&str; 5] = [
    "README.md",
    "docs/get-started.md",
    "docs/place-a-workload.md",
    "docs/global-endpoint.md",
    "docs/failover-and-drills.md",
];
/// What the test has done itself, or what needs clusters of the reader's own.
const ELSEWHERE: [&str; 8] = [
    "cargo ",
    "export ",
    "hanse up",
    "hanse hub",
    "hanse join",
    "hanse agent",
    "hanse gateway",
    "kubectl apply --server-side",
];

/// The address of the shop's frontend as pages write it; its port is another in each federation.
const ADDRESS: &str = "127.64.254.1:20935";

/// Whether a line has a name that the reader puts in.
fn has_placeholder(line: &str) -> bool {
    let typed = line.split(" #").next().unwrap_or_default();
    let words = typed.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.into_iter().any(|word| ["NAME", "KIND", "CLUSTER"].contains(&word))
}

async fn run(up: &Up, line: &str) -> Result<String> {
    let folder = Path::new(HANSE).parent().context("the program lies in a folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", line])
        .current_dir(pages::ROOT)
        .env("PATH", format!("{}:{path}", folder.display()))
        .env("KUBECONFIG", up.kubeconfig())
        .env("KUBECACHEDIR", up.data().join("kubectl-cache"))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    // A drill's bounds are those of a release build on a machine of its own: that it ran counts.
    let drill = line.contains("drill run") && text.starts_with("# Drill");
    let ended = output.status.success() || (drill && output.status.code() == Some(1));
    ensure!(ended, "{line}\n{}: {text}{error}", output.status);
    Ok(text)
}

/// A line as a reader would type it some time after the one before: with the address that the
/// service has here.
async fn ready(fleet: &Fleet, line: String) -> Result<String> {
    if line.starts_with("curl") || line.contains(" get gs ") {
        let addresses = fleet.addresses("shop", "frontend", fleet.members.len()).await?;
        let at = addresses.first().context("an address")?;
        let here = format!("{}:{}", at.address, at.port);
        endpoint::answered_by(here.parse()?, |_| true).await?;
        return Ok(line.replace(ADDRESS, &here).replace("127.64.254.1:PORT", &here));
    }
    // Drills of a reader are longer, and nothing is broken when they begin.
    if let Some(rest) = line.strip_prefix("hanse drill run ") {
        fleet.healthy().await?;
        if !rest.contains("Simulate") {
            let rest = rest.replace("--duration 30s", "");
            return Ok(format!("hanse drill run {rest} --duration 5s"));
        }
    }
    Ok(line)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_pages_does_what_it_says() -> Result<()> {
    let (up, fleet) = Up::start().await?;
    let (mut typed, mut left_out) = (Vec::new(), Vec::new());
    for name in PAGES {
        let text = std::fs::read_to_string(Path::new(pages::ROOT).join(name))?;
        for line in pages::typed(&text) {
            let foreign = ELSEWHERE.iter().any(|start| line.starts_with(start));
            let missing = line.contains("jq") && run(&up, "jq --version").await.is_err();
            if foreign || missing || has_placeholder(&line) {
                left_out.push(line);
                continue;
            }
            let line = ready(&fleet, line).await?;
            if !typed.contains(&line) {
                let said = run(&up, &line).await;
                said.with_context(|| format!("{name}\n{}", up.words()))?;
                typed.push(line);
            }
        }
    }
    let (count, left) = (typed.len(), left_out.len());
    ensure!(count > 20 && left < count, "typed {typed:#?}, left out {left_out:#?}");
    Ok(())
}
