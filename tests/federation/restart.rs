//! The whole federation dies in the middle of an evacuation and goes on where it was.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use hanse_tests_bodies::{Fleet, fleet::LONG, loss, wait};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::{endpoint, up::Up};

/// Generation and uid of every Deployment of the shop in every member that is not lost.
async fn state(fleet: &Fleet, lost: &str) -> Result<BTreeMap<String, (i64, String)>> {
    let mut state = BTreeMap::new();
    for (member, client) in fleet.members.iter().filter(|(member, _)| member.as_str() != lost) {
        let api: Api<Deployment> = Api::namespaced(client.clone(), "shop");
        for found in api.list(&ListParams::default()).await? {
            let generation = found.metadata.generation.unwrap_or_default();
            let uid = found.uid().unwrap_or_default();
            state.insert(format!("{member}/{}", found.name_any()), (generation, uid));
        }
    }
    Ok(state)
}

async fn moves(fleet: &Fleet) -> Result<Vec<String>> {
    let bindings = fleet.bindings("shop").await?;
    let of = |binding: &hanse_api::ResourceBinding| {
        let moves = binding.spec.moves.clone();
        let name = binding.name_any();
        moves.into_iter().map(move |step| format!("{name}: {}", step.id)).collect::<Vec<_>>()
    };
    Ok(bindings.iter().flat_map(of).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_resume_by_id_and_nothing_right_is_written_again() -> Result<()> {
    let (mut up, fleet) = Up::start().await?;
    endpoint::shop(&fleet).await?;
    let lost = "gcp-us-east1-b";
    up.must(&["fault", "set", lost, "kill"]).await?;
    let begun = |found: &Vec<String>| !found.is_empty();
    let begun = wait::until("moves begin", LONG, || moves(&fleet), begun).await?;
    up.kill().await?;
    let fleet = up.restart_with(lost).await?;
    let resumed = moves(&fleet).await?;
    for id in &begun {
        ensure!(resumed.contains(id), "{id} is gone: {resumed:?}");
    }
    loss::replaced(&fleet, ("shop", "frontend", "app=frontend"), 9, &[lost]).await?;
    let before = state(&fleet, lost).await?;
    up.kill().await?;
    let fleet = up.restart_with(lost).await?;
    let after = state(&fleet, lost).await?;
    ensure!(before == after, "{before:?} became {after:?}");
    let mut ids = moves(&fleet).await?;
    let count = ids.len();
    ids.sort();
    ids.dedup();
    ensure!(ids.len() == count, "doubled: {ids:?}");
    up.must(&["fault", "clear", lost]).await.context("clearing")?;
    fleet.healthy().await?;
    loss::settled(&fleet, ("shop", "frontend"), 9).await?;
    Ok(())
}
