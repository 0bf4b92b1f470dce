//! Orders to leave a member: replicas come up elsewhere, and old copies go only when it is safe.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use hanse_api::MoveReason;
use hanse_hub::Evacuation;
use serde_json::json;

use crate::stage::{Stage, deployment, dynamic, eventually, policy};

fn order(reason: MoveReason) -> Evacuation {
    Evacuation {
        id: "event-1".to_owned(),
        reason,
        evidence: "a test says so".to_owned(),
        manual_too: false,
        tolerable: Vec::new(),
    }
}

async fn running(stage: &Stage) {
    stage.create(policy("all", json!({}))).await;
    stage.create(deployment("web", 6)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
}

async fn states(stage: &Stage) -> Vec<String> {
    let binding = stage.binding("apps/v1", "Deployment", "web").await;
    let moves = binding["spec"]["moves"].as_array().cloned().unwrap_or_default();
    moves.iter().map(|item| item["state"].as_str().unwrap().to_owned()).collect()
}

async fn until_all(stage: &Stage, state: &str) {
    eventually(&format!("all moves to be {state}"), async || {
        let states = states(stage).await;
        (!states.is_empty() && states.iter().all(|found| found == state)).then_some(())
    })
    .await;
}

fn without(counts: &BTreeMap<String, u64>, member: &str) -> u64 {
    counts.iter().filter(|(name, _)| *name != member).map(|(_, count)| count).sum()
}

#[tokio::test(start_paused = true)]
async fn a_lost_members_replicas_come_up_elsewhere_and_its_copies_stay_until_it_is_back() {
    let stage = Stage::new().await;
    running(&stage).await;
    let before = stage.replicas("web").await;
    let world = stage.hub().world();
    stage.members["aws-1"].cut.store(true, Ordering::Relaxed);
    world.order_evacuations(BTreeMap::from([("aws-1".to_owned(), order(MoveReason::MemberLost))]));
    until_all(&stage, "Waiting").await;
    let during = stage.replicas("web").await;
    assert_eq!(during["aws-1"], before["aws-1"], "nothing there is touched");
    assert_eq!(without(&during, "aws-1"), 6);
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;

    stage.members["aws-1"].cut.store(false, Ordering::Relaxed);
    world.order_evacuations(BTreeMap::new());
    until_all(&stage, "Done").await;
    let after = stage.replicas("web").await;
    assert_eq!(after.get("aws-1"), None);
    assert_eq!(after.values().sum::<u64>(), 6);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn moves_go_on_after_a_crash_of_the_hub_by_their_ids() {
    let mut stage = Stage::new().await;
    running(&stage).await;
    stage.members["aws-1"].cut.store(true, Ordering::Relaxed);
    let orders = BTreeMap::from([("aws-1".to_owned(), order(MoveReason::MemberLost))]);
    stage.hub().world().order_evacuations(orders);
    eventually("moves", async || (!states(&stage).await.is_empty()).then_some(())).await;
    let ids = async |stage: &Stage| {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        let moves = binding["spec"]["moves"].as_array().cloned().unwrap_or_default();
        moves.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = ids(&stage).await;
    stage.crash().await;
    stage.start().await;
    until_all(&stage, "Waiting").await;
    assert_eq!(ids(&stage).await, before);
    stage.members["aws-1"].cut.store(false, Ordering::Relaxed);
    until_all(&stage, "Done").await;
    assert_eq!(ids(&stage).await, before);
    let after = stage.replicas("web").await;
    assert_eq!((after.get("aws-1"), after.values().sum::<u64>()), (None, 6));
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_drained_member_is_left_in_good_order() {
    let stage = Stage::new().await;
    running(&stage).await;
    let world = stage.hub().world();
    world.order_evacuations(BTreeMap::from([("gcp-1".to_owned(), order(MoveReason::Drained))]));
    until_all(&stage, "Done").await;
    let after = stage.replicas("web").await;
    assert_eq!((after.get("gcp-1"), after.values().sum::<u64>()), (None, 6));
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_room_nothing_healthy_is_touched_and_the_shortfall_is_named() {
    let stage = Stage::with_nodes(1).await;
    stage.create(policy("all", json!({}))).await;
    stage.create(deployment("web", 24)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let before = stage.replicas("web").await;
    let world = stage.hub().world();
    stage.members["aws-1"].cut.store(true, Ordering::Relaxed);
    world.order_evacuations(BTreeMap::from([("aws-1".to_owned(), order(MoveReason::MemberLost))]));
    let short = eventually("the shortfall", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        let short = binding["spec"]["decision"]["shortfall"].clone();
        (!short.is_null()).then_some(short)
    })
    .await;
    assert_eq!(short["replicas"].as_u64(), Some(before["aws-1"]));
    assert_eq!(short["missing"]["cpu"], "4");
    assert_eq!(stage.replicas("web").await, before);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_leaves_keeps_its_copies_and_is_let_go() {
    let stage = Stage::new().await;
    running(&stage).await;
    let api = dynamic(&stage.client(), "hanse.dev/v1alpha1", "MemberCluster", "");
    api.delete("az-1", &kube::api::DeleteParams::default()).await.unwrap();
    eventually("the member to go", async || {
        api.get_opt("az-1").await.unwrap().is_none().then_some(())
    })
    .await;
    let counts = eventually("all replicas in the others", async || {
        let counts = stage.replicas("web").await;
        (without(&counts, "az-1") == 6).then_some(counts)
    })
    .await;
    assert_eq!(counts["az-1"], 2, "what was there stays there");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_taint_with_no_execute_drains_in_good_order() {
    let stage = Stage::with_failover().await;
    running(&stage).await;
    let taints = json!({"spec": {"taints": [
        {"key": "maintenance", "value": "disks", "effect": "NoExecute"}]}});
    let members = dynamic(&stage.client(), "hanse.dev/v1alpha1", "MemberCluster", "");
    let patch = kube::api::Patch::Merge(&taints);
    members.patch("gcp-1", &kube::api::PatchParams::default(), &patch).await.unwrap();
    eventually("the moves to end", async || {
        let ready: u64 = stage.replicas("web").await.values().sum();
        assert!(ready >= 6, "nothing goes before its replacement is there");
        let states = states(&stage).await;
        (!states.is_empty() && states.iter().all(|state| state == "Done")).then_some(())
    })
    .await;
    let after = stage.replicas("web").await;
    assert_eq!((after.get("gcp-1"), after.values().sum::<u64>()), (None, 6));
    let binding = stage.binding("apps/v1", "Deployment", "web").await;
    let step = &binding["spec"]["moves"][0];
    assert_eq!(
        (&step["reason"], &step["evidence"]),
        (&json!("Drained"), &json!("taint maintenance=disks:NoExecute"))
    );
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_leaves_has_its_secrets_until_it_is_let_go() {
    let stage = Stage::new().await;
    running(&stage).await;
    let client = stage.client();
    for (name, type_, member) in [
        ("az-1-relay-token", hanse_api::RELAY_TOKEN_SECRET_TYPE, "az-1"),
        ("az-1-kubeconfig", hanse_api::KUBECONFIG_SECRET_TYPE, "az-1"),
        ("az-1-notes", "Opaque", "az-1"),
        ("aws-1-relay-token", hanse_api::RELAY_TOKEN_SECRET_TYPE, "aws-1"),
    ] {
        let labels = json!({hanse_api::MEMBER_LABEL: member});
        let metadata = json!({"name": name, "namespace": "hanse-system", "labels": labels});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": type_,
            "metadata": metadata, "stringData": {"token": "t"}});
        crate::stage::create(&client, secret).await;
    }
    let members = dynamic(&client, "hanse.dev/v1alpha1", "MemberCluster", "");
    let secrets = dynamic(&client, "v1", "Secret", "hanse-system");
    members.delete("az-1", &kube::api::DeleteParams::default()).await.unwrap();
    eventually("the member to go", async || {
        let token = secrets.get_opt("az-1-relay-token").await.unwrap();
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        let named = binding["spec"]["clusters"].as_array().unwrap();
        let named = named.iter().any(|cluster| cluster["name"] == "az-1");
        assert!(token.is_some() || !named, "the relay serves on while the member is named");
        members.get_opt("az-1").await.unwrap().is_none().then_some(())
    })
    .await;
    let left = secrets.list(&kube::api::ListParams::default()).await.unwrap();
    let left: Vec<String> = left.iter().map(kube::ResourceExt::name_any).collect();
    assert_eq!(left, ["aws-1-relay-token", "az-1-notes"]);
    stage.end().await;
}
