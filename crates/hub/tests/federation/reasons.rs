//! What the hub says of twelve situations that operators meet, brought about on a live hub. The
//! answers are kept beside this file, and the command line's own tests draw them.
//! `HANSE_KEEP=1` writes them anew.

use std::{path::PathBuf, time::Duration};

use hanse_hub::{Key, TemplateKey, propagation::key_of_binding};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    privileges::tenant,
    rules::GROUP,
    stage::{Stage, deployment, dynamic, eventually, policy},
};

/// The key of the binding of a Deployment in `shop`.
fn key(name: &str) -> Key {
    key_of_binding(&TemplateKey {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    })
}

/// What the hub says of `web` once it has decided with a reason.
async fn explained(stage: &Stage, reason: &str) -> Value {
    let explainer = stage.hub().explainer();
    eventually(&format!("web to be explained as {reason}"), async || {
        let said = explainer.explain(&key("web"))?;
        (said.decided.as_ref()?.reason == reason).then(|| serde_json::to_value(said).unwrap())
    })
    .await
}

/// Asks, compares with what is kept, and ends the stage.
async fn is_as_kept(stage: Stage, reason: &str, name: &str) {
    let said = explained(&stage, reason).await;
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/federation/reasons");
    let path = folder.join(format!("{name}.json"));
    let found = format!("{said:#}\n");
    if std::env::var_os("HANSE_KEEP").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, kept, "{name} differs; if that is wanted, keep it with HANSE_KEEP=1");
    stage.end().await;
}

/// A hub with three members that have room for eight replicas each, and a policy.
async fn small(placement: Value) -> Stage {
    let stage = whole().await;
    stage.create(policy("web", json!({ "placement": placement }))).await;
    stage
}

/// The same without a policy. What its pods name is there.
async fn whole() -> Stage {
    let stage = Stage::with_nodes(1).await;
    for name in ["web-settings", "other-settings", "pay-settings"] {
        stage
            .create(json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": "shop"}}))
            .await;
    }
    stage
}

/// A policy for one Deployment alone.
fn policy_of(name: &str, mut spec: Value) -> Value {
    spec["resourceSelectors"] =
        json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": name}]);
    policy(name, spec)
}

async fn available(stage: &Stage, name: &str) {
    stage.condition("apps/v1", "Deployment", "shop", name, "Available", "True").await;
}

async fn change_member(stage: &Stage, name: &str, spec: Value) {
    let members = dynamic(&stage.client(), GROUP, "MemberCluster", "");
    let patch = Patch::Merge(json!({ "spec": spec }));
    members.patch(name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn fits_nowhere() {
    let stage = small(json!({})).await;
    change_member(&stage, "az-1", json!({"unschedulable": true})).await;
    stage.create(deployment("web", 20)).await;
    is_as_kept(stage, "NoRoom", "fits-nowhere").await;
}

#[tokio::test(start_paused = true)]
async fn all_clusters_are_full() {
    let stage = whole().await;
    for name in ["other", "web"] {
        stage.create(policy_of(name, json!({}))).await;
    }
    stage.create(deployment("other", 24)).await;
    available(&stage, "other").await;
    stage.create(deployment("web", 2)).await;
    is_as_kept(stage, "NoClusterFits", "all-full").await;
}

#[tokio::test(start_paused = true)]
async fn tier_two_is_used() {
    let stage = small(json!({"clusters": [{"names": ["aws-1"]}, {"names": ["az-1", "gcp-1"]}]}));
    let stage = stage.await;
    stage.create(deployment("web", 12)).await;
    is_as_kept(stage, "Scheduled", "tier-two-used").await;
}

#[tokio::test(start_paused = true)]
async fn bounded_by_max() {
    let bounds = json!([{"clusters": {"names": ["aws-1"]}, "min": 1, "max": 2}, {"max": 3}]);
    let stage = small(json!({"replicas": {"bounds": bounds, "partial": true}})).await;
    stage.create(deployment("web", 12)).await;
    is_as_kept(stage, "Partial", "bounded-by-max").await;
}

#[tokio::test(start_paused = true)]
async fn held_by_history() {
    let stage = small(json!({"clusters": [{"names": ["aws-1"]}]})).await;
    stage.create(deployment("web", 6)).await;
    available(&stage, "web").await;
    let change = json!({"spec": {"placement": {"clusters": null}}});
    stage.patch(GROUP, "PropagationPolicy", "web", change).await;
    let explainer = stage.hub().explainer();
    eventually("the new rule", async || {
        let funnel = explainer.explain(&key("web"))?.funnel?;
        (funnel.clusters.len() == 3).then_some(())
    })
    .await;
    is_as_kept(stage, "Scheduled", "held-by-history").await;
}

#[tokio::test(start_paused = true)]
async fn blocked_by_the_tenants_quota() {
    let stage = small(json!({})).await;
    stage.create(tenant("shop", &["shop"], json!({"quota": {"cpu": "2"}}))).await;
    stage.condition(GROUP, "Tenant", "", "shop", "Accepted", "True").await;
    stage.create(deployment("web", 6)).await;
    is_as_kept(stage, "TenantQuota", "tenant-quota").await;
}

#[tokio::test(start_paused = true)]
async fn held_for_higher_importance() {
    let stage = whole().await;
    for (name, importance) in [("pay", 10), ("web", 0)] {
        stage.create(policy_of(name, json!({"importance": importance}))).await;
    }
    stage.create(deployment("pay", 30)).await;
    let explainer = stage.hub().explainer();
    eventually("pay to wait", async || {
        let said = explainer.explain(&key("pay"))?;
        (said.decided?.reason == "NoRoom").then_some(())
    })
    .await;
    stage.create(deployment("web", 4)).await;
    is_as_kept(stage, "HeldForHigherImportance", "held-for-higher-importance").await;
}

#[tokio::test(start_paused = true)]
async fn a_spread_that_cannot_be() {
    let spread = json!([{"topologyKey": "region", "minDomains": 2},
        {"topologyKey": "cluster", "maxDomains": 2}]);
    let stage = small(json!({ "spread": spread })).await;
    stage.create(deployment("web", 20)).await;
    is_as_kept(stage, "SpreadUnsatisfiable", "spread-unsatisfiable").await;
}

#[tokio::test(start_paused = true)]
async fn capacity_is_unknown() {
    let stage = small(json!({})).await;
    stage.refuse("az-1", Some("/api/v1/pods"));
    hanse_rt::sleep(Duration::from_secs(150)).await;
    stage.create(deployment("web", 20)).await;
    is_as_kept(stage, "NoRoom", "capacity-unknown").await;
}

#[tokio::test(start_paused = true)]
async fn a_companion_is_missing() {
    let stage = Stage::with_nodes(1).await;
    stage.create(policy("web", json!({}))).await;
    // Its pods name a ConfigMap that nobody has written.
    stage.create(deployment("web", 4)).await;
    let explainer = stage.hub().explainer();
    eventually("the ConfigMap to be missed", async || {
        (!explainer.explain(&key("web"))?.missing.is_empty()).then_some(())
    })
    .await;
    is_as_kept(stage, "Scheduled", "companion-missing").await;
}

#[tokio::test(start_paused = true)]
async fn policies_conflict() {
    let stage = whole().await;
    stage.create(policy("web", json!({"priority": 10}))).await;
    let selectors = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "namespaces": ["*"]}]);
    stage
        .create(json!({"apiVersion": GROUP, "kind": "ClusterPropagationPolicy",
            "metadata": {"name": "everything"}, "spec": {"resourceSelectors": selectors}}))
        .await;
    stage.create(deployment("web", 4)).await;
    is_as_kept(stage, "Scheduled", "policy-conflict").await;
}

#[tokio::test(start_paused = true)]
async fn fits_only_by_moving() {
    let stage = whole().await;
    let here = json!({"placement": {"clusters": [{"names": ["aws-1"]}]}});
    for name in ["other", "web"] {
        stage.create(policy_of(name, here.clone())).await;
        stage.create(deployment(name, 4)).await;
        available(&stage, name).await;
    }
    let spread = json!([{"topologyKey": "cluster", "maxDomains": 1}]);
    let change = json!({"spec": {"placement": {"clusters": null, "spread": spread}}});
    stage.patch(GROUP, "PropagationPolicy", "web", change).await;
    stage.patch("apps/v1", "Deployment", "web", json!({"spec": {"replicas": 6}})).await;
    is_as_kept(stage, "FitsOnlyByMoving", "fits-only-by-moving").await;
}

#[tokio::test(start_paused = true)]
async fn the_policy_is_gone() {
    let stage = small(json!({"clusters": [{"names": ["aws-1", "gcp-1"]}]})).await;
    stage.create(deployment("web", 4)).await;
    available(&stage, "web").await;
    let policies = dynamic(&stage.client(), GROUP, "PropagationPolicy", "shop");
    policies.delete("web", &DeleteParams::default()).await.unwrap();
    is_as_kept(stage, "PolicyGone", "policy-gone").await;
}

#[tokio::test(start_paused = true)]
async fn the_tenant_is_missing() {
    let stage = small(json!({})).await;
    let federations = dynamic(&stage.client(), GROUP, "Federation", "");
    let required = Patch::Merge(json!({"spec": {"requireTenant": true}}));
    federations.patch("default", &PatchParams::default(), &required).await.unwrap();
    stage.create(deployment("web", 4)).await;
    is_as_kept(stage, "NoTenant", "no-tenant").await;
}
