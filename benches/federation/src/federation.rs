//! One `hanse up` as a process of its own, on a fresh data directory, and the command line beside
//! it.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use hanse_rt::Mono;
use hanse_tests_bodies::Fleet;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A start that takes longer is none.
const START: Duration = Duration::from_secs(30);
/// A killed process that is still there after this time does not go by itself.
const GONE: Duration = Duration::from_secs(20);
/// How long addresses of gateways, which every `hanse up` shares, may be taken by another one.
const BUSY: Duration = Duration::from_mins(1);
/// What `hanse up` says when they are.
const TAKEN: &str = "cannot be listened on";

/// Killed processes that have not been waited for: a value that is dropped cannot wait.
static ENDING: Mutex<Vec<Child>> = Mutex::new(Vec::new());

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

    /// Starts the process, again after an end, and waits until it says that it is ready. A killed
    /// one is waited for, and so are addresses that another one holds.
    pub(crate) async fn spawn(&mut self) -> Result<Fleet> {
        gone().await?;
        let asked = Mono::now();
        loop {
            let logged = self.words().len();
            let Some(ended) = self.try_spawn().await? else {
                return Fleet::connect(&self.kubeconfig()).await;
            };
            let words = self.words().split_off(logged);
            let taken = words.lines().find(|line| line.contains(TAKEN));
            let Some(taken) = taken else { bail!("hanse up ended with {ended}:\n{words}") };
            if asked.elapsed() > BUSY {
                bail!("still taken after {} s: {taken}", BUSY.as_secs());
            }
            hanse_rt::sleep(Duration::from_millis(500)).await;
        }
    }

    /// One attempt; gives how the process ended when it did before it was ready.
    async fn try_spawn(&mut self) -> Result<Option<ExitStatus>> {
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
        let mut child = command.spawn().context("hanse cannot be started")?;
        while !self.kubeconfig().exists() {
            if let Some(ended) = child.try_wait()? {
                return Ok(Some(ended));
            }
            if started.elapsed() > START {
                bail!("hanse up is not ready after {} s:\n{}", START.as_secs(), self.words());
            }
            hanse_rt::sleep(Duration::from_millis(2)).await;
        }
        self.ready_after = started.elapsed();
        self.child = Some(child);
        Ok(None)
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

impl Drop for Federation {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that has ended already cannot be killed, and is waited for all the same.
            drop(child.start_kill());
            ENDING.lock().expect("no holder of this lock panics").push(child);
        }
    }
}

/// Waits until every killed process is gone, and its addresses with it.
async fn gone() -> Result<()> {
    let ending = std::mem::take(&mut *ENDING.lock().expect("no holder of this lock panics"));
    for mut child in ending {
        let id = child.id().unwrap_or_default();
        let ended = hanse_rt::timeout(GONE, child.wait()).await;
        ended.with_context(|| {
            format!(
                "the killed `hanse up` (process {id}) is still there after {} s",
                GONE.as_secs()
            )
        })??;
    }
    Ok(())
}
