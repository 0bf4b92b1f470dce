//! What must hold in every run, checked by code that shares nothing with the engines: it reads the
//! members' own APIs.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use hanse_sim::world::World;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;

/// Replicas that the members hold now, and how many of them are ready.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Holding {
    pub(crate) replicas: BTreeMap<String, i32>,
    pub(crate) ready: BTreeMap<String, i32>,
}

/// Looks at a Deployment in every member, past all links and faults.
pub(crate) async fn look(world: &World, namespace: &str, name: &str) -> Result<Holding> {
    let mut holding = Holding::default();
    for member in world.members() {
        let api: Api<Deployment> = Api::namespaced(member.local_client(), namespace);
        if let Some(found) = api.get_opt(name).await? {
            let ready = found.status.and_then(|status| status.ready_replicas).unwrap_or(0);
            holding.replicas.insert(member.name().to_owned(), found.spec.replicas.unwrap_or(1));
            holding.ready.insert(member.name().to_owned(), ready);
        }
    }
    Ok(holding)
}

/// Between two looks, a member may lose replicas only while the others have enough ready ones.
pub(crate) fn removed_only_when_replaced(
    before: &Holding,
    after: &Holding,
    wanted: i32,
) -> Result<()> {
    for (member, had) in &before.replicas {
        let has = after.replicas.get(member).copied().unwrap_or(0);
        let elsewhere: i32 =
            after.ready.iter().filter(|(other, _)| *other != member).map(|(_, ready)| ready).sum();
        ensure!(
            has >= *had || elsewhere + has >= wanted,
            "{member} went from {had} to {has} while the others had {elsewhere} of {wanted} ready"
        );
    }
    Ok(())
}
