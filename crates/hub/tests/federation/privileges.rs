//! Attempts to get more from the federation than one has been given. Each one is refused, and
//! told why. The attacker has the rights of an editor in the namespace `shop`.

use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::{
    manifests::manifest,
    rules::{GROUP, overrides},
    stage::{Stage, condition_of, create, deployment, dynamic, eventually, get, policy},
};

const RBAC: &str = "rbac.authorization.k8s.io/v1";

async fn refused_manifest(stage: &Stage, object: Value) -> String {
    stage.create(manifest("attack", json!([object]), json!({}))).await;
    let kind = "FederatedManifest";
    let refused = stage.condition(GROUP, kind, "shop", "attack", "Accepted", "False").await;
    assert_eq!(refused["reason"], "NotAllowed", "{refused}");
    refused["message"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_cluster_role_binding_in_a_manifest_is_refused() {
    let stage = Stage::new().await;
    let words = refused_manifest(
        &stage,
        json!({"apiVersion": RBAC, "kind": "ClusterRoleBinding", "metadata": {"name": "mine"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "cluster-admin"},
            "subjects": [{"kind": "User", "name": "me",
                "apiGroup": "rbac.authorization.k8s.io"}]}),
    )
    .await;
    assert_eq!(
        words,
        "spec.manifests[0]: access rules (RBAC): a ClusterPropagationPolicy places such objects"
    );
    let there = get(&stage.member("aws-1"), RBAC, "ClusterRoleBinding", "", "mine").await;
    assert!(there.is_none());
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_manifest_reaches_no_other_namespace_and_nothing_of_the_system() {
    let stage = Stage::new().await;
    let mut elsewhere = deployment("web", 1);
    elsewhere["metadata"]["namespace"] = json!("kube-system");
    let words = refused_manifest(&stage, elsewhere).await;
    assert!(words.contains("it is in namespace kube-system"), "{words}");
    let change = json!({"spec": {"manifests": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}}]}});
    stage.patch(GROUP, "FederatedManifest", "attack", change).await;
    eventually("the refusal of the system's object", async || {
        let attack = stage.get(GROUP, "FederatedManifest", "attack").await?;
        let accepted = condition_of(&attack, "Accepted")?;
        let words = "spec.manifests[0]: ConfigMap shop/kube-root-ca.crt is the system's own, or \
                     each cluster's: leave it out";
        (accepted["message"] == words).then_some(())
    })
    .await;
    stage.end().await;
}

/// The hub does not know the kind, and learns of its scope from the members too late: the write
/// itself is refused then.
#[tokio::test(start_paused = true)]
async fn a_custom_kind_without_namespaces_is_refused() {
    let stage = Stage::new().await;
    for member in stage.members.keys() {
        let schema = json!({"openAPIV3Schema": {"type": "object",
            "x-kubernetes-preserve-unknown-fields": true}});
        let names = json!({"plural": "keys", "singular": "key", "kind": "Key"});
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition", "metadata": {"name": "keys.example.com"},
            "spec": {"group": "example.com", "scope": "Cluster", "names": names, "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": schema}]}});
        create(&stage.member(member), crd).await;
    }
    let key = json!({"apiVersion": "example.com/v1", "kind": "Key", "metadata": {"name": "k"}});
    let words = refused_manifest(&stage, key).await;
    assert_eq!(
        words,
        "spec.manifests[0]: Key has no namespace: a ClusterPropagationPolicy places such objects"
    );
    for member in stage.members.keys() {
        let api = dynamic(&stage.member(member), "example.com/v1", "Key", "");
        assert!(api.get_opt("k").await.unwrap().is_none());
    }
    stage.end().await;
}

async fn refused_override(stage: &Stage, api: &str, kind: &str, rules: Value) -> String {
    let mut attack = overrides("attack", rules);
    attack["spec"]["resourceSelectors"] = json!([{"apiVersion": api, "kind": kind}]);
    stage.create(attack).await;
    let refused =
        stage.condition(GROUP, "OverridePolicy", "shop", "attack", "Accepted", "False").await;
    assert_eq!(refused["reason"], "OverrideFailed", "{refused}");
    refused["message"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_role_cannot_be_widened_by_an_override() {
    let stage = Stage::new().await;
    let mut roles = policy("roles", json!({"placement": {"clusters": [{"names": ["aws-1"]}]}}));
    roles["spec"]["resourceSelectors"] = json!([{"apiVersion": RBAC, "kind": "Role"}]);
    stage.create(roles).await;
    stage
        .create(json!({"apiVersion": RBAC, "kind": "Role",
            "metadata": {"name": "none", "namespace": "shop"}, "rules": []}))
        .await;
    eventually("the role", async || {
        get(&stage.member("aws-1"), RBAC, "Role", "shop", "none").await
    })
    .await;
    let all = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    let rules = json!([{"jsonPatch": [{"op": "add", "path": "/rules", "value": all}]}]);
    let words = refused_override(&stage, RBAC, "Role", rules).await;
    assert!(
        words.contains(
            "access rules (RBAC): a policy of a namespace cannot change this, a \
             ClusterOverridePolicy can"
        ),
        "{words}"
    );
    let role = get(&stage.member("aws-1"), RBAC, "Role", "shop", "none").await.unwrap();
    assert!(role["rules"].as_array().is_none_or(Vec::is_empty), "{role}");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_container_cannot_be_made_privileged_by_an_override() {
    let stage = Stage::new().await;
    stage.create(policy("all", json!({}))).await;
    stage.create(deployment("web", 3)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let path = "/spec/template/spec/containers/0/securityContext";
    let rules = json!([{"jsonPatch": [
        {"op": "add", "path": path, "value": {"privileged": true}}]}]);
    let words = refused_override(&stage, "apps/v1", "Deployment", rules).await;
    assert!(words.contains("privileged"), "{words}");
    assert!(
        words.contains("a policy of a namespace cannot set this, a ClusterOverridePolicy can"),
        "{words}"
    );
    for member in stage.members.keys() {
        let web = get(&stage.member(member), "apps/v1", "Deployment", "shop", "web").await;
        let web = web.unwrap();
        assert_eq!(web.pointer(path), None);
    }
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_members_own_object_cannot_be_taken_over_by_a_policy_of_a_namespace() {
    let stage = Stage::new().await;
    let there = stage.member("gcp-1");
    create(&there, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}))
        .await;
    create(&there, deployment("web", 7)).await;
    let wanted = policy("all", json!({"conflict": "Overwrite"}));
    let policies = dynamic(&stage.client(), GROUP, "PropagationPolicy", "shop");
    let wanted = serde_json::from_value(wanted).unwrap();
    let refused = policies.create(&PostParams::default(), &wanted).await.unwrap_err().to_string();
    assert!(refused.contains("spec.conflict"), "{refused}");
    assert!(
        refused.contains("ask for a ClusterPropagationPolicy that says Overwrite"),
        "{refused}"
    );
    stage.create(policy("all", json!({}))).await;
    stage.create(deployment("web", 6)).await;
    eventually("the conflict", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        condition_of(&binding, "Applied").filter(|found| found["reason"] == "Conflict")
    })
    .await;
    let copy = get(&there, "apps/v1", "Deployment", "shop", "web").await.unwrap();
    assert_eq!(copy["spec"]["replicas"], 7);
    stage.end().await;
}

#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
pub(crate) fn tenant(name: &str, namespaces: &[&str], extra: Value) -> Value {
    let mut spec = json!({"namespaces": namespaces});
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({"apiVersion": GROUP, "kind": "Tenant", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test(start_paused = true)]
async fn a_binding_edited_past_the_tenant_brings_nothing_there() {
    let stage = Stage::new().await;
    let only = json!({"clusters": {"names": ["aws-1"]}});
    stage.create(tenant("shop", &["shop"], only)).await;
    stage.condition(GROUP, "Tenant", "", "shop", "Accepted", "True").await;
    stage.create(policy("all", json!({}))).await;
    stage.create(deployment("web", 2)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    assert_eq!(stage.holders("apps/v1", "Deployment", "web").await, ["aws-1"]);
    let name = stage.binding("apps/v1", "Deployment", "web").await["metadata"]["name"].clone();
    let edit = json!({"spec": {"clusters": [
        {"name": "aws-1", "replicas": 1}, {"name": "gcp-1", "replicas": 1}]}});
    stage.patch(GROUP, "ResourceBinding", name.as_str().unwrap(), edit).await;
    eventually("the decision to be as it was", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        (binding["spec"]["clusters"] == json!([{"name": "aws-1", "replicas": 2}])).then_some(())
    })
    .await;
    hanse_rt::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(stage.holders("apps/v1", "Deployment", "web").await, ["aws-1"]);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn no_priority_outranks_a_mandatory_policy() {
    let stage = Stage::new().await;
    stage
        .create(json!({"apiVersion": GROUP, "kind": "ClusterPropagationPolicy",
            "metadata": {"name": "residency"},
            "spec": {"mandatory": true, "placement": {"clusters": [{"names": ["gcp-1"]}]},
                "resourceSelectors": [
                    {"apiVersion": "apps/v1", "kind": "Deployment", "namespaces": ["*"]}]}}))
        .await;
    stage.create(policy("mine", json!({"priority": 999}))).await;
    stage.create(deployment("web", 2)).await;
    let refused =
        stage.condition(GROUP, "PropagationPolicy", "shop", "mine", "Accepted", "False").await;
    assert_eq!(refused["reason"], "Outranked");
    assert_eq!(
        refused["message"],
        "lost Deployment shop/web to ClusterPropagationPolicy residency"
    );
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    assert_eq!(stage.holders("apps/v1", "Deployment", "web").await, ["gcp-1"]);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn labels_of_a_namespace_change_no_tenant() {
    let stage = Stage::new().await;
    stage.create(tenant("small", &["shop"], json!({"clusters": {"names": ["aws-1"]}}))).await;
    stage.create(tenant("large", &["platform"], json!({}))).await;
    let label = json!({"metadata": {"labels": {"tenant": "large", "hanse.dev/tenant": "large"}}});
    dynamic(&stage.client(), "v1", "Namespace", "")
        .patch("shop", &PatchParams::default(), &Patch::Merge(&label))
        .await
        .unwrap();
    let elsewhere = json!({"placement": {"clusters": [{"names": ["gcp-1"]}]}});
    stage.create(policy("all", elsewhere)).await;
    stage.create(deployment("web", 2)).await;
    let scheduled = eventually("the refusal", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        condition_of(&binding, "Scheduled").filter(|found| found["status"] == "False")
    })
    .await;
    assert_eq!(scheduled["reason"], "NoClusterFits");
    let words = scheduled["message"].as_str().unwrap();
    assert!(words.contains("NotInTenant 2 (az-1, gcp-1)"), "{words}");
    assert!(stage.holders("apps/v1", "Deployment", "web").await.is_empty());
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_federation_that_requires_tenants_places_nothing_without_one() {
    let stage = Stage::new().await;
    let federation = dynamic(&stage.client(), GROUP, "Federation", "");
    let required = Patch::Merge(json!({"spec": {"requireTenant": true}}));
    federation.patch("default", &PatchParams::default(), &required).await.unwrap();
    stage.create(policy("all", json!({}))).await;
    stage.create(deployment("web", 2)).await;
    let scheduled = eventually("the refusal", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        condition_of(&binding, "Scheduled").filter(|found| found["status"] == "False")
    })
    .await;
    assert_eq!(scheduled["reason"], "NoTenant");
    assert!(stage.holders("apps/v1", "Deployment", "web").await.is_empty());
    stage.create(tenant("shop", &["shop"], json!({}))).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn importance_is_bounded_by_the_tenant() {
    let stage = Stage::new().await;
    stage.create(tenant("shop", &["shop"], json!({"maxImportance": 5}))).await;
    stage.condition(GROUP, "Tenant", "", "shop", "Accepted", "True").await;
    stage.create(policy("all", json!({"importance": 900}))).await;
    stage.create(deployment("web", 1)).await;
    let binding = eventually("the binding", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        (!binding.is_null()).then_some(binding)
    })
    .await;
    assert_eq!(binding["spec"]["importance"], 5);
    stage.end().await;
}
