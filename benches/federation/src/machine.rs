//! What was measured on which machine: a figure without it says nothing.

use std::path::Path;

use hanse_tests_bodies::Kubectl;
use serde::Serialize;
use tokio::process::Command;

/// Machine and versions.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory: String,
    kernel: String,
    /// Load averages of 1, 5 and 15 minutes before the run: above 0 the figures are those of a
    /// shared machine.
    load: String,
    hanse: String,
    commit: String,
    kubectl: String,
}

impl Machine {
    /// Looks.
    pub(crate) async fn look(program: &Path) -> Self {
        let field = |path: &str, name: &str| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim_start_matches([':', ' ', '\t']).to_owned()
        };
        let first = |path: &str| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.trim().to_owned()
        };
        let load = first("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ");
        Self {
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            memory: field("/proc/meminfo", "MemTotal"),
            kernel: first("/proc/sys/kernel/osrelease"),
            load,
            hanse: said(Command::new(program).arg("--version")).await,
            commit: said(Command::new("git").args(["describe", "--always", "--dirty"])).await,
            kubectl: kubectl().await,
        }
    }

    /// In words.
    pub(crate) fn text(&self) -> String {
        format!(
            "machine: {} x {}, {}, Linux {}, load {}\nversions: {}, commit {}, kubectl {}",
            self.cores,
            self.processor,
            self.memory,
            self.kernel,
            self.load,
            self.hanse,
            self.commit,
            self.kubectl
        )
    }
}

/// The version of the kubectl that the cases use.
async fn kubectl() -> String {
    let version = Kubectl::new(Path::new("")).run(&["version", "--client"]).await;
    let text = version.unwrap_or_default();
    let line = text.lines().next().and_then(|line| line.strip_prefix("Client Version: "));
    line.unwrap_or("unknown").to_owned()
}

/// The first line that a program prints; `unknown` when it cannot be asked.
async fn said(command: &mut Command) -> String {
    let output = command.output().await.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    text.lines().next().map_or_else(|| "unknown".to_owned(), |line| line.trim().to_owned())
}
