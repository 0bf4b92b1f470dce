//! kubectl as a user runs it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// kubectl with the kubeconfig of a federation.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// kubectl 1.37 of the test peers, else whatever kubectl is installed.
    pub fn new(kubeconfig: &Path) -> Self {
        let peers = std::env::var_os("HANSE_PEERS").map(PathBuf::from);
        let program = peers
            .map(|folder| folder.join("kubectl-1.37"))
            .filter(|program| program.exists())
            .unwrap_or_else(|| PathBuf::from("kubectl"));
        Self { program, kubeconfig: kubeconfig.to_owned() }
    }

    /// Runs it off the runtime's thread and returns what it printed.
    ///
    /// # Errors
    /// When it ends with another code than 0: its words are in the error.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::from(self.command(arguments));
        let output = command.output().await.context("kubectl cannot be started")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("kubectl {}: {text}{error}", arguments.join(" "));
        }
        Ok(text)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", self.kubeconfig.with_file_name("kubectl-cache"))
            .stdin(Stdio::null());
        command
    }
}
