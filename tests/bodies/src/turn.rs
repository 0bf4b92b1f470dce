//! Simulated gateways listen on fixed loopback addresses, so only one federation can run on a
//! machine at a time: whoever starts one takes a turn first.

use std::{fs::File, time::Duration};

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

/// The right to run a federation; the next one waits until it is dropped.
#[derive(Debug)]
#[must_use = "the turn ends when this value is dropped"]
pub struct Turn(#[expect(dead_code, reason = "held for its lock")] File);

impl Turn {
    /// Waits for a turn, over all tests of all processes of this machine.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub async fn take() -> Result<Self> {
        let path = std::env::temp_dir().join("hanse-tests-federation.lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("{}", path.display()))?;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            hanse_rt::sleep(Duration::from_millis(100)).await;
        }
        Ok(Self(file))
    }
}
