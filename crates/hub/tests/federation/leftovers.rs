//! What a former process left behind in a member that nobody names any more is found and removed.

use std::sync::atomic::Ordering;

use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::stage::{Stage, deployment, dynamic, eventually, policy};

fn settings_in(member: &str) -> Value {
    json!({"resourceSelectors": [{"apiVersion": "v1", "kind": "ConfigMap"}],
        "placement": {"clusters": [{"names": [member]}]}})
}

/// A ConfigMap in aws-1, and a hub that died after it decided for gcp-1 and before it deleted.
async fn half_moved() -> Stage {
    let mut stage = Stage::new().await;
    stage
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": "shop"}, "data": {"a": "b"}}))
        .await;
    stage.create(policy("settings", settings_in("aws-1"))).await;
    until_in(&stage, &["aws-1"]).await;
    stage.crash().await;
    let spec = json!({"spec": settings_in("gcp-1")});
    stage.patch("hanse.dev/v1alpha1", "PropagationPolicy", "settings", spec).await;
    let decided = json!({"clusters": [{"name": "gcp-1", "replicas": 0}]});
    decide(&stage, "v1", "ConfigMap", "settings", decided).await;
    stage
}

async fn decide(stage: &Stage, api: &str, kind: &str, name: &str, spec: Value) {
    let binding = stage.binding(api, kind, name).await;
    let key = binding["metadata"]["name"].as_str().unwrap();
    stage.patch("hanse.dev/v1alpha1", "ResourceBinding", key, json!({"spec": spec})).await;
}

async fn until_in(stage: &Stage, members: &[&str]) {
    eventually(&format!("the ConfigMap in {members:?}"), async || {
        (stage.holders("v1", "ConfigMap", "settings").await == members).then_some(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_in_a_member_that_nothing_names_any_more_goes_after_a_restart() {
    let mut stage = half_moved().await;
    stage.start().await;
    until_in(&stage, &["gcp-1"]).await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_binding_waits_for_a_copy_that_nothing_names_any_more() {
    let mut stage = half_moved().await;
    let maps = dynamic(&stage.client(), "v1", "ConfigMap", "shop");
    maps.delete("settings", &DeleteParams::default()).await.unwrap();
    stage.start().await;
    eventually("the end of the binding", async || {
        stage.binding("v1", "ConfigMap", "settings").await.is_null().then_some(())
    })
    .await;
    assert!(stage.holders("v1", "ConfigMap", "settings").await.is_empty());
    stage.end().await;
}

/// A member that is out of reach from the start holds up nobody that never spoke of it.
#[tokio::test(start_paused = true)]
async fn a_deleted_binding_does_not_wait_for_members_out_of_sight_that_it_never_named() {
    let mut stage = half_moved().await;
    stage.members["az-1"].cut.store(true, Ordering::Relaxed);
    stage.start().await;
    let maps = dynamic(&stage.client(), "v1", "ConfigMap", "shop");
    until_in(&stage, &["gcp-1"]).await;
    maps.delete("settings", &DeleteParams::default()).await.unwrap();
    eventually("the end of the binding", async || {
        stage.binding("v1", "ConfigMap", "settings").await.is_null().then_some(())
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_move_that_a_restart_caught_while_removing_comes_to_its_end() {
    let mut stage = Stage::new().await;
    let in_member = |name: &str| json!({"placement": {"clusters": [{"names": [name]}]}});
    stage.create(policy("web", in_member("aws-1"))).await;
    stage.create(deployment("web", 2)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    stage.crash().await;
    let spec = json!({"spec": in_member("gcp-1")});
    stage.patch("hanse.dev/v1alpha1", "PropagationPolicy", "web", spec).await;
    let moves = json!([{"id": "m", "from": "aws-1", "to": "gcp-1", "replicas": 2,
        "reason": "PolicyChanged", "evidence": "a test says so", "state": "Removing",
        "startedAt": "2026-01-01T00:00:00Z"}]);
    let decided = json!({"clusters": [{"name": "gcp-1", "replicas": 2}], "moves": moves});
    decide(&stage, "apps/v1", "Deployment", "web", decided).await;
    stage.start().await;
    eventually("the end of the move", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        (binding["spec"]["moves"][0]["state"] == "Done").then_some(())
    })
    .await;
    assert_eq!(stage.holders("apps/v1", "Deployment", "web").await, ["gcp-1"]);
    stage.end().await;
}
