//! One `hanse up` as a process of its own, on a fresh data directory, and the command line beside
//! it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use hanse_rt::Mono;
use hanse_tests_bodies::Fleet;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A start that takes longer is none.
const START: Duration = Duration::from_secs(30);

/// A running federation.
pub(crate) struct Federation {
    program: PathBuf,
    child: Option<Child>,
    folder: TempDir,
    /// From the start of the process to its kubeconfig.
    pub(crate) ready_after: Duration,
}

impl Federation {
    /// Starts one with the default fleet and waits until every member is healthy.
    pub(crate) async fn start(program: &Path) -> Result<(Self, Fleet)> {
        let mut federation = Self {
            program: program.to_owned(),
            child: None,
            folder: tempfile::tempdir()?,
            ready_after: Duration::ZERO,
        };
        let fleet = federation.spawn().await?;
        fleet.healthy().await.with_context(|| federation.words())?;
        Ok((federation, fleet))
    }

    /// Starts the process, again after an end, and waits until it says that it is ready.
    pub(crate) async fn spawn(&mut self) -> Result<Fleet> {
        let log = std::fs::File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.program);
        command
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let started = Mono::now();
        self.child = Some(command.spawn().context("hanse cannot be started")?);
        while !self.kubeconfig().exists() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || started.elapsed() > START {
                bail!("hanse up is not ready ({ended:?}):\n{}", self.words());
            }
            hanse_rt::sleep(Duration::from_millis(2)).await;
        }
        self.ready_after = started.elapsed();
        Fleet::connect(&self.kubeconfig()).await
    }

    /// Ends it as a crash would.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        // What a killed process leaves behind must not count as ready.
        drop(std::fs::remove_file(self.kubeconfig()));
        Ok(())
    }

    /// Its resident memory in MiB, rounded up.
    pub(crate) fn memory(&self) -> Result<u64> {
        let id = self.child.as_ref().and_then(Child::id).context("it does not run")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("VmRSS")?;
        Ok(kib.trim().parse::<u64>()?.div_ceil(1024))
    }

    /// Runs the command line against it; gives the exit code and what it printed.
    pub(crate) async fn hanse(&self, arguments: &[&str]) -> Result<(i32, String)> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .env("NO_COLOR", "1")
            .env("KUBECONFIG", self.kubeconfig())
            .kill_on_drop(true);
        let output = command.output().await?;
        let code = output.status.code().unwrap_or(-1);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if code != 0 && text.is_empty() {
            bail!("hanse {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok((code, text))
    }

    /// What it logged.
    pub(crate) fn words(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn kubeconfig(&self) -> PathBuf {
        self.data().join("kubeconfig")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("up.log")
    }
}
