//! No move destroys data: a claim stays in every member until it is deleted on the hub.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use hanse_api::MoveReason;
use hanse_hub::{Evacuation, Key};
use kube::{
    Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::stage::{Stage, create, deployment, dynamic, eventually, get, policy};

const CLAIM: &str = "PersistentVolumeClaim";

fn claim(name: &str) -> Value {
    let spec = json!({"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}});
    json!({"apiVersion": "v1", "kind": CLAIM, "spec": spec,
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}}})
}

async fn uid(stage: &Stage, member: &str, name: &str) -> Value {
    let found = get(&stage.member(member), "v1", CLAIM, "shop", name).await;
    found.map(|claim| claim["metadata"]["uid"].clone()).unwrap_or_default()
}

async fn delete(client: &Client, kind: &str, name: &str) {
    let namespace = if kind == "Namespace" { "" } else { "shop" };
    let api = dynamic(client, "v1", kind, namespace);
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

async fn held(stage: &Stage, kind: &str, name: &str, members: &[&str]) {
    eventually(&format!("{name} in {members:?}"), async || {
        (stage.holders("v1", kind, name).await == members).then_some(())
    })
    .await;
}

/// What the binding of a claim says of a member.
async fn told(stage: &Stage, name: &str, member: &str) -> Value {
    let binding = stage.binding("v1", CLAIM, name).await;
    let clusters = binding["status"]["clusters"].as_array().cloned().unwrap_or_default();
    clusters.into_iter().find(|told| told["name"] == member).unwrap_or_default()
}

async fn until_told_of_data(stage: &Stage, name: &str, member: &str) {
    eventually("word of the claim that stays", async || {
        let told = told(stage, name, member).await;
        let words = told["message"].as_str().unwrap_or_default().to_owned();
        words.starts_with("HoldsData: ").then_some(())
    })
    .await;
}

async fn place(stage: &Stage, names: &[&str]) {
    let spec = json!({"placement": {"clusters": [{"names": names}]}});
    if stage.get("hanse.dev/v1alpha1", "PropagationPolicy", "web").await.is_none() {
        stage.create(policy("web", spec)).await;
    } else {
        stage.patch("hanse.dev/v1alpha1", "PropagationPolicy", "web", json!({"spec": spec})).await;
    }
}

async fn until_web_in(stage: &Stage, members: &[&str]) {
    eventually(&format!("web in {members:?}"), async || {
        (stage.holders("apps/v1", "Deployment", "web").await == members).then_some(())
    })
    .await;
}

/// A Deployment that mounts a claim, in aws-1.
async fn with_data() -> (Stage, Value) {
    let stage = Stage::new().await;
    stage.create(claim("data")).await;
    let mut web = deployment("web", 2);
    web["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    stage.create(web).await;
    place(&stage, &["aws-1"]).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    held(&stage, CLAIM, "data", &["aws-1"]).await;
    let first = uid(&stage, "aws-1", "data").await;
    (stage, first)
}

#[tokio::test(start_paused = true)]
async fn a_claim_stays_where_its_workload_left_is_told_of_and_serves_again_after_the_return() {
    let (mut stage, first) = with_data().await;
    place(&stage, &["gcp-1"]).await;
    until_web_in(&stage, &["gcp-1"]).await;
    until_told_of_data(&stage, "data", "aws-1").await;
    held(&stage, CLAIM, "data", &["aws-1", "gcp-1"]).await;
    let binding = stage.binding("v1", CLAIM, "data").await;
    let key = Key::new("shop", binding["metadata"]["name"].as_str().unwrap());
    let explained = stage.hub().explainer().explain(&key).unwrap();
    assert_eq!(explained.noted[0].reason, "HoldsData");

    // Out of reach, and unknown to a new process, it is told of all the same.
    stage.members["aws-1"].cut.store(true, Ordering::Relaxed);
    hanse_rt::sleep(Duration::from_secs(30)).await;
    until_told_of_data(&stage, "data", "aws-1").await;
    stage.crash().await;
    stage.start().await;
    hanse_rt::sleep(Duration::from_secs(30)).await;
    until_told_of_data(&stage, "data", "aws-1").await;
    stage.members["aws-1"].cut.store(false, Ordering::Relaxed);
    hanse_rt::sleep(Duration::from_secs(30)).await;
    until_told_of_data(&stage, "data", "aws-1").await;
    assert_eq!(uid(&stage, "aws-1", "data").await, first);

    place(&stage, &["aws-1"]).await;
    until_web_in(&stage, &["aws-1"]).await;
    until_told_of_data(&stage, "data", "gcp-1").await;
    eventually("the claim in use again", async || {
        (told(&stage, "data", "aws-1").await["applied"] == true).then_some(())
    })
    .await;
    assert_eq!(uid(&stage, "aws-1", "data").await, first, "the same claim all the way");

    // The hub's own goes, and with it all that are left.
    let body = json!({"spec": {"template": {"spec": {"volumes": null}}}});
    stage.patch("apps/v1", "Deployment", "web", body).await;
    delete(&stage.client(), CLAIM, "data").await;
    held(&stage, CLAIM, "data", &[]).await;
    eventually("the end of the binding", async || {
        stage.binding("v1", CLAIM, "data").await.is_null().then_some(())
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_leaves_the_claim_of_what_it_moves() {
    let (stage, first) = with_data().await;
    place(&stage, &["aws-1", "gcp-1", "az-1"]).await;
    let order = Evacuation {
        id: "event-1".to_owned(),
        reason: MoveReason::Drained,
        evidence: "a test says so".to_owned(),
        manual_too: true,
        tolerable: Vec::new(),
    };
    stage.hub().world().order_evacuations(BTreeMap::from([("aws-1".to_owned(), order)]));
    eventually("web to leave", async || {
        let holders = stage.holders("apps/v1", "Deployment", "web").await;
        (!holders.is_empty() && !holders.contains(&"aws-1".to_owned())).then_some(())
    })
    .await;
    until_told_of_data(&stage, "data", "aws-1").await;
    assert_eq!(uid(&stage, "aws-1", "data").await, first);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_its_own_policy_stays_in_a_member_that_leaves_the_tier() {
    let stage = Stage::new().await;
    stage.create(claim("own")).await;
    let own = |names: Value| {
        json!({"resourceSelectors": [{"apiVersion": "v1", "kind": CLAIM}],
            "placement": {"clusters": [{"names": names}]}})
    };
    stage.create(policy("own", own(json!(["aws-1", "gcp-1"])))).await;
    held(&stage, CLAIM, "own", &["aws-1", "gcp-1"]).await;
    let spec = json!({"spec": own(json!(["gcp-1"]))});
    stage.patch("hanse.dev/v1alpha1", "PropagationPolicy", "own", spec).await;
    until_told_of_data(&stage, "own", "aws-1").await;
    assert_eq!(stage.holders("v1", CLAIM, "own").await, ["aws-1", "gcp-1"]);
    delete(&stage.client(), CLAIM, "own").await;
    held(&stage, CLAIM, "own", &[]).await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_stays_in_a_member_that_leaves_the_tier_while_a_claim_is_in_it() {
    let stage = Stage::new().await;
    stage.namespace("lab").await;
    let spaces = |names: &[&str]| {
        json!({"resourceSelectors": [{"apiVersion": "v1", "kind": "Namespace", "name": "lab"}],
            "placement": {"clusters": [{"names": names}]}})
    };
    stage
        .create(json!({"apiVersion": "hanse.dev/v1alpha1", "kind": "ClusterPropagationPolicy",
            "metadata": {"name": "lab"}, "spec": spaces(&["aws-1", "gcp-1", "az-1"])}))
        .await;
    let there = async |members: &[&str]| {
        eventually(&format!("the namespace in {members:?}"), async || {
            let mut found = Vec::new();
            for member in stage.members.keys() {
                let lab = get(&stage.member(member), "v1", "Namespace", "", "lab").await;
                let is_there =
                    lab.is_some_and(|lab| lab["metadata"]["deletionTimestamp"].is_null());
                found.extend(is_there.then(|| member.clone()));
            }
            (found == members).then_some(())
        })
        .await;
    };
    there(&["aws-1", "az-1", "gcp-1"]).await;
    let mut inside = claim("inside");
    inside["metadata"]["namespace"] = json!("lab");
    create(&stage.member("aws-1"), inside).await;
    let policies = dynamic(&stage.client(), "hanse.dev/v1alpha1", "ClusterPropagationPolicy", "");
    let change = Patch::Merge(json!({"spec": spaces(&["gcp-1"])}));
    policies.patch("lab", &PatchParams::default(), &change).await.unwrap();
    there(&["aws-1", "gcp-1"]).await;
    hanse_rt::sleep(Duration::from_secs(30)).await;
    there(&["aws-1", "gcp-1"]).await;
    stage.end().await;
}
