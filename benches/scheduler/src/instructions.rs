//! How many instructions one decision takes in user mode: by the processor's counter, and where a
//! machine has none, as most virtual ones, by letting a child make that decision one instruction
//! at a time. Knows nothing of what is decided.

use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use nix::{
    sys::{
        ptrace,
        signal::{Signal, raise},
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};
use perf_event::{Builder, events::Hardware};
use serde::Serialize;

/// More steps than any decision takes: a child that goes on longer is not deciding any more.
const MOST_STEPS: u64 = 200_000_000;

/// Instructions, and who counted them.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instructions {
    /// How many.
    pub(crate) count: u64,
    /// By what.
    pub(crate) by: By,
}

/// What counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum By {
    /// The processor.
    Counter,
    /// Steps of a child.
    Steps,
}

/// The processor's count for one call; absent where it cannot count.
pub(crate) fn by_counter(mut call: impl FnMut()) -> Option<Instructions> {
    let mut counter = Builder::new().kind(Hardware::INSTRUCTIONS).build().ok()?;
    counter.enable().ok()?;
    call();
    counter.disable().ok()?;
    let count = counter.read().ok().filter(|count| *count > 0)?;
    Some(Instructions { count, by: By::Counter })
}

/// In the child: says when nothing begins, when the call begins, and when it has ended.
///
/// # Errors
/// When nobody steps through it.
pub(crate) fn be_stepped(mut call: impl FnMut()) -> anyhow::Result<()> {
    ptrace::traceme().context("the parent does not trace this process")?;
    raise(Signal::SIGSTOP)?;
    raise(Signal::SIGSTOP)?;
    call();
    raise(Signal::SIGSTOP)?;
    Ok(())
}

/// Steps through this program, which is started with `arguments` that make it call
/// [`be_stepped`].
///
/// # Errors
/// When the machine does not let a process be traced.
pub(crate) fn by_steps(arguments: &[String]) -> anyhow::Result<Instructions> {
    let own = std::env::current_exe().context("this program has no path")?;
    let mut child = Command::new(own).args(arguments).spawn().context("cannot start a child")?;
    let pid = Pid::from_raw(i32::try_from(child.id()).context("a process has a small number")?);
    let counted = steps(pid);
    // Whatever it still does is of no interest.
    child.kill().context("cannot end the child")?;
    child.wait().context("the child does not end")?;
    counted
}

fn steps(pid: Pid) -> anyhow::Result<Instructions> {
    let first = waitpid(pid, None)?;
    ensure!(first == WaitStatus::Stopped(pid, Signal::SIGSTOP), "the child said {first:?}");
    let nothing = until_stop(pid)?;
    let all = until_stop(pid)?;
    Ok(Instructions { count: all.saturating_sub(nothing), by: By::Steps })
}

/// Steps to the next stop.
fn until_stop(pid: Pid) -> anyhow::Result<u64> {
    for count in 1..MOST_STEPS {
        ptrace::step(pid, None)?;
        match waitpid(pid, None)? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, Signal::SIGSTOP) => return Ok(count),
            other => bail!("the child ended: {other:?}"),
        }
    }
    bail!("the child made {MOST_STEPS} steps and did not stop")
}
