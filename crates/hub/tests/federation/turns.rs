//! Who is served first when room is short, and who is looked at again at which event.

use std::time::Duration;

use hanse_rt::Mono;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::stage::{Stage, condition_of, deployment, dynamic, eventually, policy};

/// A policy of some importance for one Deployment.
fn important(name: &str, importance: i32) -> serde_json::Value {
    let selectors = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": name}]);
    policy(name, json!({"resourceSelectors": selectors, "importance": importance}))
}

async fn total(stage: &Stage, name: &str) -> u64 {
    stage.replicas(name).await.values().sum()
}

async fn refused(stage: &Stage, name: &str, reason: &str) -> serde_json::Value {
    eventually("the refusal", async || {
        let binding = stage.binding("apps/v1", "Deployment", name).await;
        condition_of(&binding, "Scheduled").filter(|found| found["reason"] == reason)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn room_is_held_for_what_is_more_important_and_then_given_away() {
    let stage = Stage::with_nodes(1).await;
    let federation = dynamic(&stage.client(), "hanse.dev/v1alpha1", "Federation", "");
    let hold = json!({"spec": {"scheduling": {"holdSeconds": 30}}});
    federation.patch("default", &PatchParams::default(), &Patch::Merge(hold)).await.unwrap();
    for (name, importance) in [("first", 5), ("second", 0)] {
        stage.create(important(name, importance)).await;
    }
    // Three members take 24 of these in all.
    stage.create(deployment("first", 30)).await;
    refused(&stage, "first", "NoRoom").await;
    let started = Mono::now();
    stage.create(deployment("second", 6)).await;
    let condition = refused(&stage, "second", "HeldForHigherImportance").await;
    assert!(condition["message"].as_str().unwrap().contains("importance 5"), "{condition}");
    eventually("the room to be given away", async || {
        (total(&stage, "second").await == 6).then_some(())
    })
    .await;
    assert!(started.elapsed() >= Duration::from_secs(29), "{:?}", started.elapsed());
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn room_that_comes_free_goes_to_what_is_most_important() {
    let stage = Stage::with_nodes(1).await;
    for (name, importance) in [("holder", 0), ("aaa", 0), ("zzz", 9)] {
        stage.create(important(name, importance)).await;
    }
    stage.create(deployment("holder", 24)).await;
    eventually("the holder", async || (total(&stage, "holder").await == 24).then_some(())).await;
    for name in ["aaa", "zzz"] {
        stage.create(deployment(name, 8)).await;
        refused(&stage, name, "NoClusterFits").await;
    }
    stage.patch("apps/v1", "Deployment", "holder", json!({"spec": {"replicas": 14}})).await;
    eventually("the most important", async || (total(&stage, "zzz").await == 8).then_some(()))
        .await;
    assert_eq!(total(&stage, "aaa").await, 0);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_wants_to_be_near_a_workload_is_looked_at_when_that_goes_elsewhere() {
    let stage = Stage::with_nodes(1).await;
    let of = |name: &str, placement: serde_json::Value| {
        let selectors = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": name}]);
        policy(name, json!({"resourceSelectors": selectors, "placement": placement}))
    };
    let db = json!([{"matchLabels": {"app": "db"}}]);
    let aws = json!([{"names": ["aws-1"]}]);
    for (name, placement) in [
        ("db", json!({"clusters": aws})),
        ("web", json!({"near": db})),
        ("proxy", json!({"near": db, "replicas": {"mode": "Duplicate"}})),
        ("quiet", json!({"away": db, "clusters": aws})),
    ] {
        stage.create(of(name, placement)).await;
    }
    // There is nothing to be near to, until there is.
    stage.create(deployment("web", 2)).await;
    refused(&stage, "web", "NoClusterFits").await;
    stage.create(deployment("db", 2)).await;
    eventually("web beside it", async || (total(&stage, "web").await == 2).then_some(())).await;
    assert_eq!(stage.replicas("web").await.keys().collect::<Vec<_>>(), ["aws-1"]);
    stage.create(deployment("proxy", 1)).await;
    eventually("proxy beside it", async || (total(&stage, "proxy").await == 1).then_some(())).await;
    stage.create(deployment("quiet", 1)).await;
    refused(&stage, "quiet", "NoClusterFits").await;
    // It goes elsewhere: what has its place, and waits for nothing, follows.
    let change = json!({"spec": {"placement": {"clusters": [{"names": ["gcp-1"]}]}}});
    stage.patch("hanse.dev/v1alpha1", "PropagationPolicy", "db", change).await;
    eventually("the decision", async || {
        let binding = stage.binding("apps/v1", "Deployment", "db").await;
        let clusters = binding["spec"]["clusters"].as_array()?;
        clusters.iter().any(|cluster| cluster["name"] == "gcp-1").then_some(())
    })
    .await;
    let started = Mono::now();
    eventually("proxy beside it again", async || {
        stage.replicas("proxy").await.contains_key("gcp-1").then_some(())
    })
    .await;
    // Nothing else brings it here so soon.
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    eventually("what wants to be alone", async || {
        (total(&stage, "quiet").await == 1).then_some(())
    })
    .await;
    stage.end().await;
}
