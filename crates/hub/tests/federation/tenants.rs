//! Tenants: clusters, quotas, and namespaces that two of them claim.

use serde_json::{Value, json};

use crate::{
    privileges::tenant,
    rules::GROUP,
    stage::{Stage, condition_of, deployment, dynamic, eventually, policy},
};

async fn scheduled(stage: &Stage, name: &str, why: &str) -> Value {
    eventually(&format!("{name} to be {why}"), async || {
        let binding = stage.binding("apps/v1", "Deployment", name).await;
        condition_of(&binding, "Scheduled").filter(|found| found["reason"] == why)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_quota_is_shared_counted_and_given_back() {
    let stage = Stage::new().await;
    stage.create(tenant("shop", &["shop"], json!({"quota": {"cpu": "3", "pods": 40}}))).await;
    stage.condition(GROUP, "Tenant", "", "shop", "Accepted", "True").await;
    stage.create(policy("all", json!({}))).await;
    // Half a core each.
    stage.create(deployment("web", 4)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    eventually("the use", async || {
        let tenants = dynamic(&stage.client(), GROUP, "Tenant", "");
        let shop = serde_json::to_value(tenants.get("shop").await.ok()?).ok()?;
        (shop["status"]["used"]["cpu"] == "2" && shop["status"]["used"]["pods"] == 4).then_some(())
    })
    .await;
    stage.create(deployment("api", 3)).await;
    let refused = scheduled(&stage, "api", "TenantQuota").await;
    let words = refused["message"].as_str().unwrap();
    assert!(words.contains("the tenant's quota leaves room for 2 replicas"), "{words}");
    assert!(stage.holders("apps/v1", "Deployment", "api").await.is_empty());
    // What is there may stay and shrink; what it gives back is for others.
    stage.patch("apps/v1", "Deployment", "web", json!({"spec": {"replicas": 3}})).await;
    stage.condition("apps/v1", "Deployment", "shop", "api", "Available", "True").await;
    stage.patch("apps/v1", "Deployment", "web", json!({"spec": {"replicas": 5}})).await;
    scheduled(&stage, "web", "TenantQuota").await;
    assert_eq!(stage.replicas("web").await.values().sum::<u64>(), 3);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn copies_in_every_cluster_count_each() {
    let stage = Stage::new().await;
    stage.create(tenant("shop", &["shop"], json!({"quota": {"cpu": "2"}}))).await;
    stage.condition(GROUP, "Tenant", "", "shop", "Accepted", "True").await;
    stage.create(policy("all", json!({"placement": {"replicas": {"mode": "Duplicate"}}}))).await;
    stage.create(deployment("web", 2)).await;
    scheduled(&stage, "web", "TenantQuota").await;
    assert!(stage.holders("apps/v1", "Deployment", "web").await.is_empty());
    stage.patch("apps/v1", "Deployment", "web", json!({"spec": {"replicas": 1}})).await;
    eventually("one in each", async || (stage.replicas("web").await.len() == 3).then_some(()))
        .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_in_two_tenants_is_refused() {
    let stage = Stage::new().await;
    stage.create(tenant("one", &["shop", "lab"], json!({}))).await;
    stage.create(tenant("two", &["shop"], json!({}))).await;
    for name in ["one", "two"] {
        let refused = stage.condition(GROUP, "Tenant", "", name, "Accepted", "False").await;
        assert_eq!(refused["reason"], "NamespaceTaken");
        assert_eq!(
            refused["message"],
            "namespace shop stands in the Tenants one, two: nothing new is placed from it until \
             it is taken out of all but one"
        );
    }
    stage.create(policy("all", json!({}))).await;
    stage.create(deployment("web", 2)).await;
    scheduled(&stage, "web", "NamespaceTaken").await;
    assert!(stage.holders("apps/v1", "Deployment", "web").await.is_empty());
    let tenants = dynamic(&stage.client(), GROUP, "Tenant", "");
    tenants.delete("two", &kube::api::DeleteParams::default()).await.unwrap();
    stage.condition(GROUP, "Tenant", "", "one", "Accepted", "True").await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    stage.end().await;
}
