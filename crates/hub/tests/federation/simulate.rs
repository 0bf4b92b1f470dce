//! A loss on paper: the plan is that of the real loss, and nothing is touched.

use std::collections::BTreeMap;

use hanse_api::MoveReason;
use hanse_hub::Evacuation;
use serde_json::{Value, json};

use crate::stage::{Stage, deployment, eventually, get, policy};

async fn running(nodes: usize, replicas: u32, failover: Value) -> Stage {
    let stage = Stage::with_nodes(nodes).await;
    stage.create(policy("all", json!({ "failover": failover }))).await;
    stage.create(deployment("web", replicas)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    for (member, _) in crate::stage::MEMBERS {
        verdict(&stage, member, "Healthy").await;
    }
    stage
}

async fn verdict(stage: &Stage, member: &str, wanted: &str) {
    eventually(&format!("{member} to be {wanted}"), async || {
        (stage.hub().world().verdict(member) == wanted).then_some(())
    })
    .await;
}

async fn simulate(stage: &Stage, target: Value) -> Value {
    let spec = json!({"target": target, "fault": "Simulate"});
    let drill = json!({"apiVersion": "hanse.dev/v1alpha1", "kind": "Drill",
        "metadata": {"name": "paper"}, "spec": spec});
    stage.create(drill).await;
    eventually("a verdict", async || {
        let client = stage.client();
        let drill = get(&client, "hanse.dev/v1alpha1", "Drill", "", "paper").await?;
        drill["status"]["verdict"].is_string().then(|| drill["status"].clone())
    })
    .await
}

/// What a plan must leave alone.
async fn state(stage: &Stage) -> BTreeMap<String, Value> {
    let mut state = BTreeMap::new();
    for member in stage.members.keys() {
        let copy = get(&stage.member(member), "apps/v1", "Deployment", "shop", "web").await;
        let version = copy.map(|copy| copy["metadata"]["resourceVersion"].clone());
        state.insert(member.clone(), version.unwrap_or_default());
    }
    let binding = stage.binding("apps/v1", "Deployment", "web").await;
    state.insert("binding".to_owned(), binding["metadata"]["resourceVersion"].clone());
    state
}

#[tokio::test(start_paused = true)]
async fn the_plan_of_a_loss_is_what_the_loss_then_does_and_touches_nothing() {
    let stage = running(4, 6, json!({})).await;
    let (before, was) = (state(&stage).await, stage.replicas("web").await);
    let said = simulate(&stage, json!({"cluster": "aws-1"})).await;
    assert_eq!(said["verdict"], "Passed", "{said:#}");
    assert!(said["measured"].is_null(), "nothing was measured: {said:#}");
    let work = &said["perWorkload"][0];
    assert_eq!(work["replicas"].as_u64(), Some(was["aws-1"]));
    assert_eq!(work["shortfall"], 0);
    assert_eq!(state(&stage).await, before);

    let order = Evacuation {
        id: "event-1".to_owned(),
        reason: MoveReason::MemberLost,
        evidence: String::new(),
        manual_too: false,
        tolerable: Vec::new(),
    };
    let orders = BTreeMap::from([("aws-1".to_owned(), order)]);
    stage.hub().world().order_evacuations(orders);
    eventually("the moves", async || {
        let now = stage.replicas("web").await;
        let elsewhere: u64 = now.iter().filter(|(name, _)| *name != "aws-1").map(|(_, n)| n).sum();
        (elsewhere == 6).then_some(())
    })
    .await;
    let now = stage.replicas("web").await;
    let planned = work["wouldGo"].as_array().unwrap();
    let gained: Vec<Value> = now
        .iter()
        .map(|(name, count)| (name, count - was.get(name).copied().unwrap_or(0)))
        .filter(|(_, gained)| *gained > 0)
        .map(|(name, gained)| json!({"name": name, "replicas": gained}))
        .collect();
    assert_eq!(*planned, gained);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_loss_without_room_fails_on_paper_by_workload_and_missing_room() {
    let stage = running(1, 24, json!({})).await;
    let (before, was) = (state(&stage).await, stage.replicas("web").await);
    let said = simulate(&stage, json!({"region": "eu-west-1"})).await;
    assert_eq!(said["verdict"], "Failed", "{said:#}");
    let finished = said["conditions"].as_array().unwrap();
    assert!(finished.iter().any(|condition| condition["reason"] == "NoRoom"), "{said:#}");
    let work = &said["perWorkload"][0];
    assert_eq!(work["binding"], "Deployment/web in shop");
    assert_eq!(work["shortfall"].as_u64(), Some(was["aws-1"]));
    assert_eq!(work["missing"]["cpu"], "4");
    assert_eq!(state(&stage).await, before);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn work_that_stays_by_its_policy_fails_on_paper_too() {
    let stage = running(4, 6, json!({"mode": "Never"})).await;
    let said = simulate(&stage, json!({"cluster": "aws-1"})).await;
    assert_eq!(said["verdict"], "Failed", "{said:#}");
    let text = said["timeline"].as_array().unwrap().last().unwrap()["event"].clone();
    assert_eq!(text, "Failed: would not be moved: Deployment/web in shop");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_target_without_members_is_refused() {
    let stage = running(4, 6, json!({})).await;
    let said = simulate(&stage, json!({"region": "nowhere"})).await;
    assert_eq!(said["verdict"], "Aborted", "{said:#}");
    stage.end().await;
}
