//! Faults of simulated members: from the MemberCluster's spec to the simulation.

use std::{collections::BTreeSet, time::Duration};

use futures::StreamExt as _;
use hanse_api::{Fault, FaultType, MemberCluster};
use hanse_rt::{Backoff, Rng, TaskSet};
use hanse_sim::{faults::Faults, world::World};
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};

/// Follows the MemberClusters until `tasks` ends.
pub(super) fn follow(tasks: &TaskSet, client: Client, world: World, rng: &Rng) {
    let mut backoff =
        Backoff::new(rng.fork("faults", ""), Duration::from_millis(100), Duration::from_secs(5));
    tasks.spawn("faults", async move {
        let members: Api<MemberCluster> = Api::all(client);
        let mut changes =
            std::pin::pin!(watcher(members, watcher::Config::default()).touched_objects());
        while let Some(change) = changes.next().await {
            match change {
                Ok(member) => {
                    backoff.reset();
                    let simulated = member.spec.connection.simulated.clone().unwrap_or_default();
                    if let Some(known) = world.member(&member.name_any()) {
                        known.set_faults(read(&simulated.faults));
                    }
                }
                Err(_) => hanse_rt::sleep(backoff.next_delay()).await,
            }
        }
    });
}

fn read(faults: &[Fault]) -> Faults {
    let mut read = Faults::default();
    let mut cut = BTreeSet::new();
    for fault in faults {
        let value = u64::try_from(fault.value.unwrap_or_default()).unwrap_or_default();
        match fault.type_ {
            FaultType::Kill => read.killed = true,
            FaultType::Freeze => read.frozen = true,
            FaultType::Blackhole => read.blackhole = true,
            FaultType::Latency => read.latency = Duration::from_millis(value),
            // Percent of answers, as the field says.
            FaultType::Errors => {
                read.errors_per_million =
                    u32::try_from(value.min(100) * 10_000).unwrap_or(1_000_000);
            }
            FaultType::LoseNodes => read.lost_nodes = usize::try_from(value).unwrap_or(usize::MAX),
            FaultType::CutLink => cut.extend(fault.to.clone()),
        }
    }
    read.cut = cut;
    read
}
