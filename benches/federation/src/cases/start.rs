//! From the start of the process to its kubeconfig, and what it then takes while it idles.

use std::time::Duration;

use anyhow::Result;

use crate::{
    Bench,
    federation::Federation,
    figures::{Case, Target},
};

const READY: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(20);
const MEMORY_MIB: u64 = 200;

/// Measures it.
pub(crate) async fn run(bench: &Bench, case: &mut Case<'_>) -> Result<()> {
    let (mut times, mut memory) = (Vec::new(), 0);
    for round in 0..bench.starts {
        let (federation, _fleet) = Federation::start(&bench.program).await?;
        times.push(federation.ready_after);
        if round == 0 {
            hanse_rt::sleep(IDLE).await;
            memory = federation.memory()?;
        }
    }
    case.times("start to ready", &times, Target::AtMost(crate::figures::milliseconds(READY)));
    case.add("memory, idle for 20 s", memory, "MiB", Target::AtMost(MEMORY_MIB));
    Ok(())
}
