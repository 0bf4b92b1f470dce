//! kubectl against a server, as a user types it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

/// One kubectl with a kubeconfig and a namespace.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
}

/// The versions that are there: those of the test peers, else the one that is installed.
///
/// # Errors
/// When there is none and tests run in continuous integration.
pub fn programs() -> Result<Vec<PathBuf>> {
    let peers = std::env::var_os("HANSE_PEERS").map(PathBuf::from);
    let mut found: Vec<PathBuf> = ["kubectl-1.32", "kubectl-1.37"]
        .iter()
        .filter_map(|name| peers.as_ref().map(|folder| folder.join(name)))
        .filter(|program| program.exists())
        .collect();
    if found.is_empty() {
        let installed = PathBuf::from("kubectl");
        let runs = Command::new(&installed)
            .args(["version", "--client"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if runs.is_ok_and(|status| status.success()) {
            found.push(installed);
        }
    }
    if found.is_empty() && std::env::var_os("CI").is_some() {
        bail!("no kubectl: run the tests by `cargo xtask test`");
    }
    Ok(found)
}

impl Kubectl {
    /// For one server and namespace.
    pub fn new(program: &Path, kubeconfig: &Path, namespace: &str) -> Self {
        Self {
            program: program.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            namespace: namespace.to_owned(),
        }
    }

    /// Runs a command line and returns what it printed.
    ///
    /// # Errors
    /// When it ends with another code than 0.
    pub fn run(&self, line: &str, input: &str) -> Result<String> {
        let (ok, text) = self.output(line, input)?;
        ensure!(ok, "kubectl {line}: {text}");
        Ok(text)
    }

    /// Runs a command line that must succeed and print these words.
    ///
    /// # Errors
    /// When it does not.
    pub fn says(&self, line: &str, input: &str, words: &str) -> Result<()> {
        let text = self.run(line, input)?;
        ensure!(text.contains(words), "kubectl {line} did not say {words:?}:\n{text}");
        Ok(())
    }

    /// Runs a command line that must fail with these words.
    ///
    /// # Errors
    /// When it does not.
    pub fn fails(&self, line: &str, input: &str, words: &str) -> Result<()> {
        let (ok, text) = self.output(line, input)?;
        ensure!(!ok, "kubectl {line} succeeded:\n{text}");
        ensure!(text.contains(words), "kubectl {line} did not say {words:?}:\n{text}");
        Ok(())
    }

    /// Words are split at blanks; `+` in a word stands for a blank.
    fn output(&self, line: &str, input: &str) -> Result<(bool, String)> {
        let words = line.split(' ').map(|word| word.replace('+', " "));
        let folder = self.kubeconfig.parent().context("a kubeconfig has a folder")?;
        let (read, mut write) = std::io::pipe()?;
        std::io::Write::write_all(&mut write, input.as_bytes())?;
        drop(write);
        let output = Command::new(&self.program)
            .args(["--namespace", &self.namespace])
            .args(words)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", folder.join("cache"))
            .env("KUBE_EDITOR", r"sed -i s/tier:.front/tier:\ back/")
            .stdin(read)
            .output()
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok((output.status.success(), text))
    }
}
