//! How often the hub writes, and what is seen between two writes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures::StreamExt as _;
use hanse_api::{MoveReason, MoveState, ResourceBinding};
use hanse_hub::Evacuation;
use hanse_rt::TaskSet;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;

use crate::stage::{Stage, create, deployment, dynamic, eventually, policy};

/// All states of bindings in `shop` from now on.
fn states(stage: &Stage, tasks: &TaskSet) -> Arc<Mutex<Vec<ResourceBinding>>> {
    let seen: Arc<Mutex<Vec<ResourceBinding>>> = Arc::default();
    let (api, states) = (Api::namespaced(stage.client(), "shop"), Arc::clone(&seen));
    tasks.spawn("states", async move {
        let mut stream = std::pin::pin!(watcher(api, watcher::Config::default()).applied_objects());
        while let Some(Ok(state)) = stream.next().await {
            states.lock().unwrap().push(state);
        }
    });
    seen
}

fn replicas(state: &ResourceBinding) -> i32 {
    state.spec.clusters.iter().map(|cluster| cluster.replicas).sum()
}

#[tokio::test(start_paused = true)]
async fn a_workload_is_bound_and_placed_by_one_write_and_told_of_by_one() {
    let (stage, tasks) = (Stage::new().await, TaskSet::new("test"));
    stage.create(policy("all", json!({}))).await;
    for name in stage.members.keys() {
        eventually("the room of a member", async || {
            let room = stage.hub().world().session(name)?.fresh_room()?;
            (room.nodes > 0).then_some(())
        })
        .await;
    }
    let seen = states(&stage, &tasks);
    stage.create(deployment("web", 6)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    eventually("the status of the binding", async || {
        let seen = seen.lock().unwrap();
        seen.last()?.status.as_ref().filter(|status| status.summary.ready == 6).map(|_| ())
    })
    .await;
    // Nothing is written late either.
    hanse_rt::sleep(std::time::Duration::from_secs(5)).await;
    let seen = seen.lock().unwrap().clone();
    let told: Vec<(bool, i32, bool)> = seen
        .iter()
        .map(|state| (state.spec.decision.is_some(), replicas(state), state.status.is_some()))
        .collect();
    assert_eq!(told, [(true, 6, false), (true, 6, true)]);
    let status = seen.last().unwrap().status.clone().unwrap();
    assert_eq!(status.observed_generation, seen.last().unwrap().metadata.generation);
    tasks.kill().await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn replicas_beyond_those_asked_are_never_seen_without_the_moves_that_explain_them() {
    let (stage, tasks) = (Stage::new().await, TaskSet::new("test"));
    stage.create(policy("all", json!({}))).await;
    stage.create(deployment("web", 6)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let seen = states(&stage, &tasks);
    let order = Evacuation {
        id: "event-1".to_owned(),
        reason: MoveReason::Drained,
        evidence: "a test says so".to_owned(),
        manual_too: false,
        tolerable: Vec::new(),
    };
    stage.hub().world().order_evacuations(BTreeMap::from([("aws-1".to_owned(), order)]));
    eventually("the end of all moves", async || {
        let seen = seen.lock().unwrap();
        let moves = &seen.last()?.spec.moves;
        (!moves.is_empty() && moves.iter().all(|step| step.state == MoveState::Done)).then_some(())
    })
    .await;
    for state in seen.lock().unwrap().iter() {
        let open = state.spec.moves.iter().filter(|step| step.state.keeps_old());
        let given_up: i32 = open.map(|step| step.replicas).sum();
        let name = state.name_any();
        assert_eq!(replicas(state), 6 + given_up, "{name}: {:?}", state.spec);
    }
    tasks.kill().await;
    stage.end().await;
}

/// How often anything in a member came to this result.
fn written(stage: &Stage, member: &str, result: &str) -> u64 {
    let page = stage.hub().world().means().metrics.encode();
    let line = page.lines().find(|line| {
        line.starts_with("hanse_member_writes")
            && line.contains(&format!("member=\"{member}\""))
            && line.contains(&format!("result=\"{result}\""))
    });
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_a_member_refuses_is_tried_less_and_less_often() {
    let stage = Stage::new().await;
    // Somebody has a Deployment of this name there already.
    let foreign = deployment("web", 1);
    create(
        &stage.member("gcp-1"),
        json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "shop"}}),
    )
    .await;
    create(&stage.member("gcp-1"), foreign).await;
    stage.create(policy("all", json!({}))).await;
    stage.create(deployment("web", 6)).await;
    eventually("the first refusal", async || {
        (written(&stage, "gcp-1", "Conflict") > 0).then_some(())
    })
    .await;
    hanse_rt::sleep(std::time::Duration::from_mins(2)).await;
    let tries = written(&stage, "gcp-1", "Conflict");
    assert!((8..=25).contains(&tries), "{tries} tries in 2 minutes");
    stage.end().await;
}

/// The hub's own schema of a kind refuses what is folded; members know no such bound.
#[tokio::test(start_paused = true)]
async fn a_template_that_refuses_its_status_does_not_keep_the_bindings_from_being_told() {
    let stage = Stage::new().await;
    let (api, bounded) = ("argoproj.io/v1alpha1", json!({"type": "integer", "maximum": 1}));
    let status = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": {"readyReplicas": bounded}});
    let crd = |status: serde_json::Value| {
        let schema = json!({"openAPIV3Schema": {"type": "object",
            "x-kubernetes-preserve-unknown-fields": true, "properties": {"status": status}}});
        let names = json!({"plural": "rollouts", "singular": "rollout", "kind": "Rollout"});
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "rollouts.argoproj.io"},
            "spec": {"group": "argoproj.io", "scope": "Namespaced", "names": names, "versions": [
                {"name": "v1alpha1", "served": true, "storage": true, "schema": schema,
                    "subresources": {"status": {}}}]}})
    };
    stage.create(crd(status)).await;
    let loose = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    for member in stage.members.keys() {
        create(&stage.member(member), crd(loose.clone())).await;
    }
    let mut all = policy("all", json!({"placement": {"clusters": [{"names": ["gcp-1"]}]}}));
    all["spec"]["resourceSelectors"] = json!([{"apiVersion": api, "kind": "Rollout"}]);
    stage.create(all).await;
    let mut rollout = deployment("web", 4);
    (rollout["apiVersion"], rollout["kind"]) = (json!(api), json!("Rollout"));
    stage.create(rollout).await;
    eventually("the copy", async || {
        (stage.holders(api, "Rollout", "web").await == ["gcp-1"]).then_some(())
    })
    .await;
    let status = json!({"status": {"replicas": 4, "readyReplicas": 4, "updatedReplicas": 4,
        "availableReplicas": 4, "observedGeneration": "1"}});
    dynamic(&stage.member("gcp-1"), api, "Rollout", "shop")
        .patch_status("web", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    eventually("word of 4 ready replicas", async || {
        let binding = stage.binding(api, "Rollout", "web").await;
        (binding["status"]["clusters"][0]["ready"] == 4).then_some(())
    })
    .await;
    let template = stage.get(api, "Rollout", "web").await.unwrap();
    assert_ne!(template["status"]["readyReplicas"], 4, "it is refused");
    stage.end().await;
}
