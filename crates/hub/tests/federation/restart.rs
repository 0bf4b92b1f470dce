//! A hub that starts again writes nothing that is right.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use hanse_rt::Mono;
use kube::api::DeleteParams;
use serde_json::json;

use crate::stage::{Stage, deployment, dynamic, eventually, get, policy};

fn writes(stage: &Stage) -> usize {
    stage.members.values().map(|member| member.writes.load(Ordering::Relaxed)).sum()
}

async fn versions(stage: &Stage) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for member in stage.members.keys() {
        for (api, kind, name) in
            [("apps/v1", "Deployment", "web"), ("v1", "ConfigMap", "web-settings")]
        {
            let copy = get(&stage.member(member), api, kind, "shop", name).await;
            let version = copy.map(|copy| copy["metadata"]["resourceVersion"].to_string());
            all.insert(format!("{member} {kind}"), version.unwrap_or_default());
        }
    }
    all
}

#[tokio::test(start_paused = true)]
async fn a_restart_writes_no_copy_that_is_right_and_then_works() {
    let mut stage = Stage::new().await;
    stage.create(policy("all", json!({}))).await;
    stage
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "web-settings", "namespace": "shop"}, "data": {"a": "b"}}))
        .await;
    stage.create(deployment("web", 6)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    hanse_rt::sleep(Duration::from_secs(5)).await;
    let (before, written) = (versions(&stage).await, writes(&stage));
    let template = stage.get("apps/v1", "Deployment", "web").await.unwrap();
    let binding = stage.binding("apps/v1", "Deployment", "web").await;
    stage.crash().await;
    stage.start().await;
    hanse_rt::sleep(Duration::from_secs(10)).await;
    assert_eq!(versions(&stage).await, before);
    assert_eq!(writes(&stage), written, "not even what would change nothing");
    let again = stage.binding("apps/v1", "Deployment", "web").await;
    assert_eq!(again["metadata"]["resourceVersion"], binding["metadata"]["resourceVersion"]);
    let untouched = stage.get("apps/v1", "Deployment", "web").await.unwrap();
    assert_eq!(
        untouched["metadata"]["resourceVersion"], template["metadata"]["resourceVersion"],
        "no status is taken back on the way: {}",
        untouched["status"]
    );
    stage.patch("apps/v1", "Deployment", "web", json!({"spec": {"replicas": 7}})).await;
    eventually("the change after the restart", async || {
        (stage.replicas("web").await.values().sum::<u64>() == 7).then_some(())
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_while_the_hub_was_down_goes_from_the_members() {
    let mut stage = Stage::new().await;
    stage.create(policy("all", json!({}))).await;
    stage.create(deployment("web", 6)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    stage.crash().await;
    let api = dynamic(&stage.client(), "apps/v1", "Deployment", "shop");
    api.delete("web", &DeleteParams::default()).await.unwrap();
    stage.start().await;
    eventually("the copies to go", async || stage.replicas("web").await.is_empty().then_some(()))
        .await;
    stage.end().await;
}

/// A hub that starts while one member does not let these be read, with a new Deployment.
async fn start_without(stage: &mut Stage, member: &str, path: &str) {
    stage.create(policy("all", json!({}))).await;
    stage.crash().await;
    stage.members[member].refused.send_replace(Some(path.to_owned()));
    stage.start().await;
    stage.create(deployment("web", 6)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_starts_waits_for_the_nodes_of_members_that_were_well() {
    waits_for("/api/v1/nodes").await;
}

/// Nodes without their pods would look empty.
#[tokio::test(start_paused = true)]
async fn a_hub_that_starts_waits_for_the_pods_of_members_that_were_well() {
    waits_for("/api/v1/pods").await;
}

async fn waits_for(path: &str) {
    let mut stage = Stage::new().await;
    start_without(&mut stage, "gcp-1", path).await;
    hanse_rt::sleep(Duration::from_secs(3)).await;
    assert_eq!(stage.replicas("web").await, BTreeMap::new());
    stage.members["gcp-1"].refused.send_replace(None);
    let spread = eventually("the replicas", async || {
        let spread = stage.replicas("web").await;
        (spread.values().sum::<u64>() == 6).then_some(spread)
    })
    .await;
    assert_eq!(spread.len(), 3, "{spread:?}");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_never_tells_of_its_room_keeps_nothing_waiting_for_long() {
    let mut stage = Stage::new().await;
    start_without(&mut stage, "gcp-1", "/api/v1/nodes").await;
    let spread = eventually("the replicas", async || {
        let spread = stage.replicas("web").await;
        (spread.values().sum::<u64>() == 6).then_some(spread)
    })
    .await;
    assert_eq!(spread.into_keys().collect::<Vec<_>>(), ["aws-1", "az-1"]);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_silent_at_a_start_holds_up_nothing_elsewhere_for_long() {
    let mut stage = Stage::new().await;
    stage.create(policy("all", json!({"placement": {"clusters": [{"names": ["aws-1"]}]}}))).await;
    stage.create(deployment("web", 4)).await;
    stage.create(deployment("old", 2)).await;
    for name in ["web", "old"] {
        stage.condition("apps/v1", "Deployment", "shop", name, "Available", "True").await;
    }
    stage.crash().await;
    let api = dynamic(&stage.client(), "apps/v1", "Deployment", "shop");
    api.delete("old", &DeleteParams::default()).await.unwrap();
    stage.patch("apps/v1", "Deployment", "web", json!({"spec": {"replicas": 7}})).await;
    stage.members["gcp-1"].cut.store(true, Ordering::Relaxed);
    let start = Mono::now();
    stage.start().await;
    eventually("what changed meanwhile", async || {
        let (web, old) = (stage.replicas("web").await, stage.replicas("old").await);
        (web == BTreeMap::from([("aws-1".to_owned(), 7)]) && old.is_empty()).then_some(())
    })
    .await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}: as long as somebody tells, and 1.5 s");
    stage.end().await;
}
