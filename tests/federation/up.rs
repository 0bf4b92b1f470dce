//! One `hanse up` for one test. Simulated gateways listen on fixed loopback addresses, so that
//! only one federation can run at a time on a machine.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use hanse_tests_bodies::{Fleet, Turn, fleet::LONG, wait};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A start in a debug build on a busy machine.
const READY: Duration = Duration::from_secs(90);

/// The program under test.
pub(crate) const HANSE: &str = env!("CARGO_BIN_EXE_hanse");

/// A running `hanse up`.
pub(crate) struct Up {
    child: Option<Child>,
    folder: TempDir,
    topology: Option<PathBuf>,
    _turn: Turn,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Up {
    /// Starts with the default fleet and waits until every member is healthy.
    pub(crate) async fn start() -> Result<(Self, Fleet)> {
        Self::start_with(None).await
    }

    /// Starts with a fleet of its own.
    pub(crate) async fn start_with(topology: Option<&str>) -> Result<(Self, Fleet)> {
        let turn = Turn::take().await?;
        let folder = tempfile::tempdir()?;
        let topology = topology
            .map(|text| {
                let path = folder.path().join("topology.yaml");
                std::fs::write(&path, text).map(|()| path)
            })
            .transpose()?;
        let mut up = Self { child: None, folder, topology, _turn: turn };
        let fleet = up.spawn().await?;
        fleet.healthy().await.with_context(|| up.words())?;
        Ok((up, fleet))
    }

    /// Starts the process, again after an end, and waits until it is ready.
    pub(crate) async fn spawn(&mut self) -> Result<Fleet> {
        let log = std::fs::File::create(self.log())?;
        let mut command = Command::new(HANSE);
        command
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        if let Some(topology) = &self.topology {
            command.arg("--topology").arg(topology);
        }
        self.child = Some(command.spawn().context("hanse cannot be started")?);
        let kubeconfig = self.kubeconfig();
        let deadline = hanse_rt::Mono::now() + READY;
        while !kubeconfig.exists() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || hanse_rt::Mono::now() > deadline {
                bail!("hanse up is not ready ({ended:?}):\n{}", self.words());
            }
            hanse_rt::sleep(Duration::from_millis(50)).await;
        }
        drop(rustls::crypto::ring::default_provider().install_default());
        Fleet::connect(&kubeconfig).await
    }

    /// Starts it again while a member is lost, and waits until the hub has an opinion of all.
    pub(crate) async fn restart_with(&mut self, lost: &str) -> Result<Fleet> {
        let fleet = self.spawn().await?;
        let settled = |verdicts: &BTreeMap<String, String>| {
            verdicts
                .iter()
                .all(|(member, verdict)| verdict == if member == lost { "Lost" } else { "Healthy" })
        };
        wait::until("verdicts after the restart", LONG, || fleet.verdicts(), settled).await?;
        Ok(fleet)
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

    /// Asks it to end and returns its exit code.
    pub(crate) async fn end(&mut self) -> Result<Option<i32>> {
        let mut child = self.child.take().context("it does not run")?;
        let id = i32::try_from(child.id().context("it has ended")?)?;
        let id = rustix::process::Pid::from_raw(id).context("a process id is not 0")?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        let status = hanse_rt::timeout(Duration::from_secs(30), child.wait()).await;
        Ok(status.context("it does not end")??.code())
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.data().join("kubeconfig")
    }

    /// What it logged.
    pub(crate) fn words(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("up.log")
    }

    /// Runs the command line against it.
    pub(crate) async fn hanse(&self, arguments: &[&str]) -> Result<Ran> {
        hanse(arguments, Some(&self.kubeconfig())).await
    }

    /// Runs the command line against it; it must succeed.
    pub(crate) async fn must(&self, arguments: &[&str]) -> Result<String> {
        let ran = self.hanse(arguments).await?;
        ensure!(ran.code == 0, "hanse {}: {ran:?}\n{}", arguments.join(" "), self.words());
        Ok(ran.stdout)
    }
}

/// Runs the command line.
pub(crate) async fn hanse(arguments: &[&str], kubeconfig: Option<&Path>) -> Result<Ran> {
    let mut command = Command::new(HANSE);
    command.args(arguments).stdin(Stdio::null()).env("NO_COLOR", "1").kill_on_drop(true);
    if let Some(kubeconfig) = kubeconfig {
        command.env("KUBECONFIG", kubeconfig);
    }
    let output = command.output().await?;
    Ok(Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
