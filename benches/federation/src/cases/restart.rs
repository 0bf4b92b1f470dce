//! The whole process dies in the middle of an evacuation and starts again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use anyhow::{Context as _, Result};
use hanse_api::{MoveState, ResourceBinding};
use hanse_tests_bodies::{Fleet, fleet::LONG, wait};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::{
    Bench,
    federation::Federation,
    figures::{Case, Target, count},
};

/// Enough work that an evacuation has a middle.
const DEPLOYMENTS: usize = 20;
const REPLICAS: i32 = 12;
const LOST: &str = "gcp-us-east1-b";
const POLICY: &str = "
apiVersion: hanse.dev/v1alpha1
kind: PropagationPolicy
metadata: {name: all, namespace: default}
spec:
  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment}]
";
const DEPLOYMENT: &str = "
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 12
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      containers:
        - {name: main, image: registry.example/bench/main:1, resources: {requests: {cpu: 50m, memory: 64Mi}}}
";

/// Measures it.
pub(crate) async fn run(bench: &Bench, case: &mut Case<'_>) -> Result<()> {
    let (mut federation, fleet) = Federation::start(&bench.program).await?;
    deploy(&fleet).await?;
    federation.hanse(&["fault", "set", LOST, "kill"]).await?;
    let begun = |moves: &BTreeMap<String, MoveState>| !moves.is_empty();
    let at_kill = wait::until("moves begin", LONG, async || moves(&fleet).await, begun).await?;
    let before = copies(&fleet).await?;
    federation.kill().await?;
    let under_way = at_kill.values().filter(|state| **state == MoveState::Adding).count();
    case.add("moves under way at the kill", count(under_way), "", Target::AtLeast(1));
    let fleet = federation.spawn().await?;
    case.time("restart to ready", federation.ready_after, Target::AtMost(3000));
    wait::until(
        "all replicas ready elsewhere",
        LONG,
        async || ready(&fleet).await,
        |ready| ready.len() == DEPLOYMENTS && ready.values().all(|count| *count >= REPLICAS),
    )
    .await
    .with_context(|| federation.words())?;
    let resumed = moves(&fleet).await?;
    let lost = at_kill.keys().filter(|id| !resumed.contains_key(*id)).count();
    case.add("moves whose id was lost", count(lost), "", Target::Exactly(0));
    let after = copies(&fleet).await?;
    // A copy that was right has the same spec before and after: nobody may have written it.
    let right: Vec<_> = before
        .iter()
        .filter(|(key, copy)| after.get(*key).is_some_and(|now| now.spec == copy.spec))
        .collect();
    let rewritten = right.iter().filter(|(key, copy)| after.get(*key) != Some(*copy)).count();
    case.add("copies that were right", count(right.len()), "", Target::AtLeast(1));
    case.add("of them written again", count(rewritten), "", Target::Exactly(0));
    let gone = before.keys().filter(|key| !after.contains_key(*key)).count();
    case.add("copies gone from healthy members", count(gone), "", Target::Exactly(0));
    federation.hanse(&["fault", "clear", LOST]).await?;
    let sums = wait::until(
        "the sums after the return",
        LONG * 3,
        async || sums(&fleet).await,
        |sums| sums.values().all(|sum| *sum == REPLICAS),
    )
    .await?;
    case.add(
        "Deployments with their exact sum",
        count(sums.len()),
        "",
        Target::Exactly(count(DEPLOYMENTS)),
    );
    Ok(())
}

async fn deploy(fleet: &Fleet) -> Result<()> {
    let mut manifests = POLICY.to_owned();
    for number in 0..DEPLOYMENTS {
        write!(manifests, "{}", DEPLOYMENT.replace("NAME", &format!("web-{number}")))?;
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("many.yaml");
    std::fs::write(&path, manifests)?;
    fleet.kubectl.run(&["apply", "-f", &path.to_string_lossy()]).await?;
    let available = ["wait", "--for=condition=Available", "deployment", "--all", "--timeout=120s"];
    fleet.kubectl.run(&available).await?;
    // Members' own counts may trail the condition: the kill must not meet the rollout.
    hanse_rt::sleep(Duration::from_secs(2)).await;
    Ok(())
}

/// Moves of all bindings by id.
async fn moves(fleet: &Fleet) -> Result<BTreeMap<String, MoveState>> {
    let bindings: Api<ResourceBinding> = Api::namespaced(fleet.hub.clone(), "default");
    let mut moves = BTreeMap::new();
    for binding in bindings.list(&ListParams::default()).await? {
        for step in &binding.spec.moves {
            moves.insert(format!("{} {}", binding.name_any(), step.id), step.state);
        }
    }
    Ok(moves)
}

/// A copy as a write would change it.
#[derive(Debug, PartialEq)]
struct Copy {
    uid: Option<String>,
    generation: Option<i64>,
    spec: serde_json::Value,
    applied: BTreeSet<String>,
}

/// Copies in the members that are not lost.
async fn copies(fleet: &Fleet) -> Result<BTreeMap<(String, String), Copy>> {
    let mut copies = BTreeMap::new();
    for (member, client) in fleet.members.iter().filter(|(member, _)| *member != LOST) {
        let api: Api<Deployment> = Api::namespaced(client.clone(), "default");
        for found in api.list(&ListParams::default()).await? {
            let managers = found.metadata.managed_fields.iter().flatten();
            let applied = managers
                .filter(|entry| entry.subresource.is_none())
                .map(|entry| format!("{:?} {:?}", entry.manager, entry.time))
                .collect();
            let copy = Copy {
                uid: found.uid(),
                generation: found.metadata.generation,
                spec: serde_json::to_value(&found.spec)?,
                applied,
            };
            copies.insert((member.clone(), found.name_any()), copy);
        }
    }
    Ok(copies)
}

/// Ready replicas of each Deployment in the members that are not lost.
async fn ready(fleet: &Fleet) -> Result<BTreeMap<String, i32>> {
    let mut ready = BTreeMap::<String, i32>::new();
    for (_, client) in fleet.members.iter().filter(|(member, _)| *member != LOST) {
        let api: Api<Deployment> = Api::namespaced(client.clone(), "default");
        for found in api.list(&ListParams::default()).await? {
            let there = found.status.as_ref().and_then(|status| status.ready_replicas);
            *ready.entry(found.name_any()).or_default() += there.unwrap_or(0);
        }
    }
    Ok(ready)
}

/// Replicas of each Deployment over all members.
async fn sums(fleet: &Fleet) -> Result<BTreeMap<String, i32>> {
    let mut sums = BTreeMap::<String, i32>::new();
    for client in fleet.members.values() {
        let api: Api<Deployment> = Api::namespaced(client.clone(), "default");
        for found in api.list(&ListParams::default()).await? {
            *sums.entry(found.name_any()).or_default() += found.spec.replicas.unwrap_or(1);
        }
    }
    Ok(sums)
}
