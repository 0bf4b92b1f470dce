//! FederatedManifests: objects that reach members without being objects of the hub.

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    rules::GROUP,
    stage::{Stage, condition_of, deployment, dynamic, eventually, get},
};

/// A FederatedManifest in `shop`.
#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
pub(crate) fn manifest(name: &str, objects: Value, extra: Value) -> Value {
    let mut spec = json!({"manifests": objects});
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({"apiVersion": GROUP, "kind": "FederatedManifest",
        "metadata": {"name": name, "namespace": "shop"}, "spec": spec})
}

fn settings(value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web-settings"},
        "data": {"a": value}})
}

#[tokio::test(start_paused = true)]
async fn everything_in_one_object_is_placed_overridden_and_told() {
    let stage = Stage::new().await;
    let rules = json!([{"clusters": {"names": ["gcp-1"]},
        "env": [{"container": "main", "set": [{"name": "PLACE", "value": "gcp"}]}]},
        {"objects": [{"kind": "ConfigMap"}],
            "jsonPatch": [{"op": "replace", "path": "/data/a", "value": "everywhere"}]}]);
    let extra = json!({"overrides": rules,
        "placement": {"clusters": [{"names": ["aws-1", "gcp-1"]}],
            "replicas": {"mode": "Duplicate"}}});
    let objects = json!([deployment("web", 2), settings("b")]);
    stage.create(manifest("app", objects, extra)).await;
    stage.condition(GROUP, "FederatedManifest", "shop", "app", "Available", "True").await;
    stage.condition(GROUP, "FederatedManifest", "shop", "app", "Accepted", "True").await;
    let expected = [("aws-1", 2), ("gcp-1", 2)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(stage.replicas("web").await, expected.into());
    assert_eq!(stage.holders("v1", "ConfigMap", "web-settings").await, ["aws-1", "gcp-1"]);
    assert!(
        stage.get("apps/v1", "Deployment", "web").await.is_none(),
        "the hub has no such object"
    );
    let copy =
        get(&stage.member("aws-1"), "v1", "ConfigMap", "shop", "web-settings").await.unwrap();
    assert_eq!(copy["data"]["a"], "everywhere");
    let env = async |member: &str| {
        let web = get(&stage.member(member), "apps/v1", "Deployment", "shop", "web").await?;
        Some(web["spec"]["template"]["spec"]["containers"][0]["env"].clone())
    };
    assert_eq!(env("gcp-1").await.unwrap(), json!([{"name": "PLACE", "value": "gcp"}]));
    assert_eq!(env("aws-1").await.unwrap(), Value::Null);
    let binding = stage.binding("apps/v1", "Deployment", "web").await;
    assert_eq!(binding["spec"]["template"]["manifest"], "app");
    assert_eq!(binding["spec"]["policy"]["kind"], "FederatedManifest");

    // A change of the rules and of an object goes the same way.
    let change = json!({"spec": {"placement": {"clusters": [{"names": ["az-1", "gcp-1"]}]},
        "manifests": [deployment("web", 3), settings("c")]}});
    stage.patch(GROUP, "FederatedManifest", "app", change).await;
    let expected = [("az-1", 3), ("gcp-1", 3)].map(|(name, count)| (name.to_owned(), count));
    eventually("the new places", async || {
        (stage.replicas("web").await == expected.clone().into()).then_some(())
    })
    .await;
    // What is taken out goes, and all goes with the manifest.
    let change = json!({"spec": {"overrides": [], "manifests": [deployment("web", 3)]}});
    stage.patch(GROUP, "FederatedManifest", "app", change).await;
    eventually("the ConfigMap to go", async || {
        stage.holders("v1", "ConfigMap", "web-settings").await.is_empty().then_some(())
    })
    .await;
    let api = dynamic(&stage.client(), GROUP, "FederatedManifest", "shop");
    api.delete("app", &DeleteParams::default()).await.unwrap();
    eventually("the copies to go", async || stage.replicas("web").await.is_empty().then_some(()))
        .await;
    eventually("the binding to go", async || {
        stage.binding("apps/v1", "Deployment", "web").await.is_null().then_some(())
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_and_a_bad_edit_leave_what_stands() {
    let mut stage = Stage::new().await;
    let objects = json!([deployment("web", 4)]);
    stage.create(manifest("app", objects, json!({}))).await;
    stage.condition(GROUP, "FederatedManifest", "shop", "app", "Available", "True").await;
    let before = stage.replicas("web").await;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "all"}, "rules": []});
    let bad = json!({"spec": {"manifests": [role, deployment("web", 9)]}});
    stage.patch(GROUP, "FederatedManifest", "app", bad).await;
    stage.condition(GROUP, "FederatedManifest", "shop", "app", "Accepted", "False").await;
    assert_eq!(stage.replicas("web").await, before);
    stage.crash().await;
    stage.start().await;
    hanse_rt::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(stage.replicas("web").await, before);
    // What is in force is kept up, as if the bad edit had not been.
    let (member, count) = before.iter().next().unwrap();
    let copies = dynamic(&stage.member(member), "apps/v1", "Deployment", "shop");
    let drift = Patch::Merge(json!({"spec": {"replicas": count + 5}}));
    copies.patch("web", &PatchParams::default(), &drift).await.unwrap();
    eventually("the drift to be corrected", async || {
        (stage.replicas("web").await == before).then_some(())
    })
    .await;
    stage.condition(GROUP, "FederatedManifest", "shop", "app", "Accepted", "False").await;
    let good = json!({"spec": {"manifests": [deployment("web", 5)]}});
    stage.patch(GROUP, "FederatedManifest", "app", good).await;
    eventually("five replicas", async || {
        (stage.replicas("web").await.values().sum::<u64>() == 5).then_some(())
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_object_has_one_origin() {
    let stage = Stage::new().await;
    stage.create(manifest("one", json!([deployment("web", 2)]), json!({}))).await;
    stage.condition(GROUP, "FederatedManifest", "shop", "one", "Accepted", "True").await;
    hanse_rt::sleep(std::time::Duration::from_secs(2)).await;
    stage.create(manifest("two", json!([deployment("web", 7)]), json!({}))).await;
    let refused =
        stage.condition(GROUP, "FederatedManifest", "shop", "two", "Accepted", "False").await;
    assert_eq!(refused["reason"], "Conflict");
    assert_eq!(
        refused["message"],
        "spec.manifests[0]: Deployment shop/web is in FederatedManifest one already: take it out \
         of one of the two"
    );
    let api = dynamic(&stage.client(), GROUP, "FederatedManifest", "shop");
    api.delete("one", &DeleteParams::default()).await.unwrap();
    stage.condition(GROUP, "FederatedManifest", "shop", "two", "Accepted", "True").await;
    eventually("the other's replicas", async || {
        (stage.replicas("web").await.values().sum::<u64>() == 7).then_some(())
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_mandatory_policy_decides_about_manifests_too() {
    let stage = Stage::new().await;
    let placement = json!({"placement": {"clusters": [{"names": ["aws-1"]}]}});
    stage.create(manifest("app", json!([deployment("web", 2)]), placement)).await;
    stage.condition(GROUP, "FederatedManifest", "shop", "app", "Available", "True").await;
    stage
        .create(json!({"apiVersion": GROUP, "kind": "ClusterPropagationPolicy",
            "metadata": {"name": "residency"},
            "spec": {"mandatory": true, "placement": {"clusters": [{"names": ["gcp-1"]}]},
                "resourceSelectors": [
                    {"apiVersion": "apps/v1", "kind": "Deployment", "namespaces": ["shop"]}]}}))
        .await;
    let refused =
        stage.condition(GROUP, "FederatedManifest", "shop", "app", "Accepted", "False").await;
    assert_eq!(refused["reason"], "Outranked");
    assert_eq!(
        refused["message"],
        "lost Deployment shop/web to ClusterPropagationPolicy residency"
    );
    eventually("the mandatory place", async || {
        let counts = stage.replicas("web").await;
        (counts == [("gcp-1".to_owned(), 2)].into()).then_some(())
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_manifest_fails_over_by_its_own_rules() {
    let stage = Stage::new().await;
    let never = json!({"failover": {"mode": "Never"},
        "placement": {"clusters": [{"names": ["aws-1"]}, {"names": ["gcp-1"]}]}});
    let plain = json!({"placement": {"clusters": [{"names": ["aws-1"]}, {"names": ["gcp-1"]}]}});
    stage.create(manifest("stays", json!([deployment("stays", 2)]), never)).await;
    stage.create(manifest("goes", json!([deployment("goes", 2)]), plain)).await;
    for name in ["stays", "goes"] {
        stage.condition(GROUP, "FederatedManifest", "shop", name, "Available", "True").await;
    }
    let order = hanse_hub::Evacuation {
        id: "test".to_owned(),
        reason: hanse_api::MoveReason::Drained,
        evidence: "a test".to_owned(),
        manual_too: false,
        tolerable: Vec::new(),
    };
    stage.hub().world().order_evacuations([("aws-1".to_owned(), order)].into());
    eventually("the one that goes", async || {
        let counts = stage.replicas("goes").await;
        (counts == [("gcp-1".to_owned(), 2)].into()).then_some(())
    })
    .await;
    assert_eq!(stage.replicas("stays").await, [("aws-1".to_owned(), 2)].into());
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_pods_may_do_is_bounded_by_the_namespace() {
    let stage = Stage::new().await;
    let mut free = deployment("web", 1);
    free["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    stage.create(manifest("app", json!([free]), json!({}))).await;
    let refused =
        stage.condition(GROUP, "FederatedManifest", "shop", "app", "Accepted", "False").await;
    assert_eq!(refused["reason"], "NotAllowed");
    let words = refused["message"].as_str().unwrap();
    assert!(words.contains("hostNetwork"), "{words}");
    let namespaces = dynamic(&stage.client(), "v1", "Namespace", "");
    let label = Patch::Merge(json!({"metadata": {"labels":
        {"pod-security.kubernetes.io/enforce": "privileged"}}}));
    namespaces.patch("shop", &PatchParams::default(), &label).await.unwrap();
    stage.condition(GROUP, "FederatedManifest", "shop", "app", "Accepted", "True").await;
    let binding = eventually("the binding", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        condition_of(&binding, "Applied").filter(|found| found["status"] == "True")
    });
    binding.await;
    stage.end().await;
}
