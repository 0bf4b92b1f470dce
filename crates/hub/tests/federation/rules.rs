//! Overrides and interpreters on their way through the hub into members, and back.

use hanse_rt::Mono;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::time::Duration;

use crate::stage::{Stage, condition_of, deployment, dynamic, eventually, get, policy};

pub(crate) const GROUP: &str = "hanse.dev/v1alpha1";

/// An OverridePolicy in `shop` for all Deployments.
#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
pub(crate) fn overrides(name: &str, rules: Value) -> Value {
    json!({"apiVersion": GROUP, "kind": "OverridePolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}],
            "rules": rules}})
}

async fn image(stage: &Stage, member: &str) -> Option<String> {
    let web = get(&stage.member(member), "apps/v1", "Deployment", "shop", "web").await?;
    let image = &web["spec"]["template"]["spec"]["containers"][0]["image"];
    image.as_str().map(str::to_owned)
}

async fn version(stage: &Stage, member: &str) -> String {
    let web = get(&stage.member(member), "apps/v1", "Deployment", "shop", "web").await.unwrap();
    web["metadata"]["generation"].to_string()
}

async fn everywhere(stage: &Stage) {
    stage.create(policy("all", json!({"placement": {"replicas": {"mode": "Duplicate"}}}))).await;
    stage.create(deployment("web", 2)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
}

#[tokio::test(start_paused = true)]
async fn an_override_reaches_its_clusters_and_no_others() {
    let stage = Stage::new().await;
    everywhere(&stage).await;
    let before = version(&stage, "gcp-1").await;
    let rules = json!([{"clusters": {"providers": ["aws"]},
        "image": [{"registry": "mirror.example.com"}]}]);
    let started = Mono::now();
    stage.create(overrides("mirror", rules)).await;
    eventually("the image from the mirror", async || {
        let found = image(&stage, "aws-1").await?;
        (found == "mirror.example.com/registry/main:1").then_some(())
    })
    .await;
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    assert_eq!(image(&stage, "gcp-1").await.as_deref(), Some("registry/main:1"));
    let matched =
        stage.condition(GROUP, "OverridePolicy", "shop", "mirror", "Matched", "True").await;
    assert_eq!(matched["message"], "1 placed objects are selected");
    stage.condition(GROUP, "OverridePolicy", "shop", "mirror", "Accepted", "True").await;
    // The member whose manifest is the same was not written.
    assert_eq!(version(&stage, "gcp-1").await, before);
    let applied = eventually("the binding to be applied again", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        condition_of(&binding, "Applied").filter(|found| found["status"] == "True")
    })
    .await;
    assert_eq!(applied["reason"], "Applied");
    // Without the policy the template's own image comes back.
    let api = dynamic(&stage.client(), GROUP, "OverridePolicy", "shop");
    api.delete("mirror", &kube::api::DeleteParams::default()).await.unwrap();
    eventually("the template's own image", async || {
        (image(&stage, "aws-1").await? == "registry/main:1").then_some(())
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_override_that_fails_stops_its_cluster_and_names_the_rule() {
    let stage = Stage::new().await;
    everywhere(&stage).await;
    let rules = json!([{"clusters": {"names": ["az-1"]},
        "jsonPatch": [{"op": "remove", "path": "/spec/paused"}]}]);
    stage.create(overrides("broken", rules)).await;
    let words = "member az-1: OverridePolicy shop/broken, rules[0].jsonPatch[0], /spec/paused: \
                 nothing is there";
    let applied = eventually("the refusal on the binding", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        condition_of(&binding, "Applied").filter(|found| found["reason"] == "OverrideFailed")
    })
    .await;
    assert_eq!(applied["message"], words);
    let accepted =
        stage.condition(GROUP, "OverridePolicy", "shop", "broken", "Accepted", "False").await;
    assert_eq!(accepted["reason"], "OverrideFailed");
    assert_eq!(accepted["message"], format!("Deployment shop/web: {words}"));
    // The others go on, and that one keeps what it has.
    stage.patch("apps/v1", "Deployment", "web", json!({"spec": {"replicas": 3}})).await;
    let expected = [("aws-1", 3), ("az-1", 2), ("gcp-1", 3)].map(|(n, c)| (n.to_owned(), c));
    eventually("the others to follow", async || {
        (stage.replicas("web").await == expected.clone().into()).then_some(())
    })
    .await;
    let mended = json!({"spec": {"rules": [{"clusters": {"names": ["az-1"]},
        "jsonPatch": [{"op": "add", "path": "/spec/minReadySeconds", "value": 5}]}]}});
    stage.patch(GROUP, "OverridePolicy", "broken", mended).await;
    eventually("the cluster to follow", async || {
        (stage.replicas("web").await["az-1"] == 3).then_some(())
    })
    .await;
    stage.condition(GROUP, "OverridePolicy", "shop", "broken", "Accepted", "True").await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_override_follows_the_labels_of_members() {
    let stage = Stage::new().await;
    everywhere(&stage).await;
    let rules = json!([{"clusters": {"selector": {"matchLabels": {"disks": "ssd"}}},
        "annotations": {"set": {"example.com/fast": "yes"}}}]);
    stage.create(overrides("fast", rules)).await;
    stage.condition(GROUP, "OverridePolicy", "shop", "fast", "Matched", "True").await;
    let members = dynamic(&stage.client(), GROUP, "MemberCluster", "");
    let label = Patch::Merge(json!({"metadata": {"labels": {"disks": "ssd"}}}));
    members.patch("gcp-1", &PatchParams::default(), &label).await.unwrap();
    eventually("the annotation", async || {
        let web = get(&stage.member("gcp-1"), "apps/v1", "Deployment", "shop", "web").await?;
        (web["metadata"]["annotations"]["example.com/fast"] == "yes").then_some(())
    })
    .await;
    let other = get(&stage.member("aws-1"), "apps/v1", "Deployment", "shop", "web").await.unwrap();
    assert!(other["metadata"]["annotations"].get("example.com/fast").is_none());
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_expression_that_cannot_be_read_is_told_on_its_policy() {
    let stage = Stage::new().await;
    let mut wide = overrides("odd", json!([{"replace": [{"path": "/spec/x", "cel": "1 +"}]}]));
    wide["kind"] = json!("ClusterOverridePolicy");
    wide["metadata"] = json!({"name": "odd"});
    wide["spec"]["resourceSelectors"][0]["namespaces"] = json!(["*"]);
    stage.create(wide).await;
    let kind = "ClusterOverridePolicy";
    let accepted = stage.condition(GROUP, kind, "", "odd", "Accepted", "False").await;
    assert_eq!(accepted["reason"], "Invalid");
    let words = accepted["message"].as_str().unwrap();
    assert!(words.starts_with("spec.rules[0].replace[0].cel: "), "{words}");
    let matched = stage.condition(GROUP, kind, "", "odd", "Matched", "False").await;
    assert_eq!(matched["reason"], "NothingMatched");
    stage.end().await;
}

/// Hub and members serve a custom kind.
async fn serve(stage: &Stage, group: &str, kind: &str, plural: &str) {
    let schema = json!({"openAPIV3Schema": {"type": "object",
        "x-kubernetes-preserve-unknown-fields": true}});
    let names = json!({"plural": plural, "singular": kind.to_lowercase(), "kind": kind});
    let version = if group == "ray.io" { "v1" } else { "v1alpha1" };
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [
            {"name": version, "served": true, "storage": true, "schema": schema,
                "subresources": {"status": {}}}]}});
    stage.create(crd.clone()).await;
    for member in stage.members.keys() {
        crate::stage::create(&stage.member(member), crd.clone()).await;
    }
}

fn selecting(name: &str, api: &str, kind: &str) -> Value {
    let mut made = policy(name, json!({}));
    made["spec"]["resourceSelectors"] = json!([{"apiVersion": api, "kind": kind}]);
    made
}

fn rollout(replicas: u32) -> Value {
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": replicas, "strategy": {"canary": {"stableService": "web-stable"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{
                "name": "main", "image": "registry/main:1",
                "resources": {"requests": {"cpu": "500m", "memory": "64Mi"}}}]}}}})
}

async fn shares(
    stage: &Stage,
    api: &str,
    kind: &str,
    name: &str,
    field: &str,
) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for member in stage.members.keys() {
        let client = stage.member(member);
        let copy = dynamic(&client, api, kind, "shop").get_opt(name).await.ok().flatten();
        if let Some(copy) = copy {
            let copy = serde_json::to_value(copy).unwrap();
            let count = copy.pointer(field).and_then(Value::as_u64).unwrap_or(0);
            found.push((member.clone(), count));
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn a_rollout_is_divided_watched_and_takes_its_services_along() {
    let stage = Stage::new().await;
    let api = "argoproj.io/v1alpha1";
    serve(&stage, "argoproj.io", "Rollout", "rollouts").await;
    stage.create(selecting("all", api, "Rollout")).await;
    stage
        .create(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web-stable", "namespace": "shop"},
            "spec": {"ports": [{"port": 80}]}}))
        .await;
    stage.create(rollout(9)).await;
    let shares = eventually("nine replicas in three members", async || {
        let found = shares(&stage, api, "Rollout", "web", "/spec/replicas").await;
        (found.iter().map(|(_, count)| count).sum::<u64>() == 9 && found.len() == 3)
            .then_some(found)
    })
    .await;
    let binding = stage.binding(api, "Rollout", "web").await;
    assert_eq!(binding["spec"]["replicas"], 9);
    assert_eq!(binding["spec"]["replicaRequest"]["cpu"], "500m");
    assert_eq!(stage.holders("v1", "Service", "web-stable").await.len(), 3);
    for (member, count) in &shares {
        let status = json!({"status": {"phase": "Healthy", "observedGeneration": "1",
            "replicas": count, "readyReplicas": count, "availableReplicas": count,
            "updatedReplicas": count}});
        dynamic(&stage.member(member), api, "Rollout", "shop")
            .patch_status("web", &PatchParams::default(), &Patch::Merge(&status))
            .await
            .unwrap();
    }
    let folded = eventually("the folded status", async || {
        let web = stage.get(api, "Rollout", "web").await?;
        (web["status"]["phase"] == "Healthy").then_some(web["status"].clone())
    })
    .await;
    assert_eq!(folded["availableReplicas"], 9);
    eventually("the binding to be available", async || {
        let binding = stage.binding(api, "Rollout", "web").await;
        condition_of(&binding, "Available").filter(|found| found["status"] == "True")
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_ray_cluster_goes_whole_to_one_member() {
    let stage = Stage::new().await;
    serve(&stage, "ray.io", "RayCluster", "rayclusters").await;
    stage.create(selecting("all", "ray.io/v1", "RayCluster")).await;
    let pod = |cpu: &str| {
        json!({"spec": {"containers": [{"name": "ray",
            "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}]}})
    };
    stage
        .create(json!({"apiVersion": "ray.io/v1", "kind": "RayCluster",
            "metadata": {"name": "r", "namespace": "shop"},
            "spec": {"headGroupSpec": {"rayStartParams": {}, "template": pod("1")},
                "workerGroupSpecs": [{"groupName": "w", "replicas": 3, "minReplicas": 0,
                    "maxReplicas": 5, "rayStartParams": {}, "template": pod("500m")}]}}))
        .await;
    let binding = eventually("the decision", async || {
        let binding = stage.binding("ray.io/v1", "RayCluster", "r").await;
        (binding["spec"]["clusters"].as_array()?.len() == 1).then_some(binding)
    })
    .await;
    assert_eq!(binding["spec"]["replicas"], 4);
    assert_eq!(binding["spec"]["replicaRequest"]["cpu"], "1");
    eventually("the cluster in one member", async || {
        let found = shares(&stage, "ray.io/v1", "RayCluster", "r", "/spec/x").await;
        (found.len() == 1).then_some(())
    })
    .await;
    stage.end().await;
}

#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
fn interpreter(extra: Value) -> Value {
    let mut spec = json!({"target": {"group": "example.com", "kind": "Farm"},
        "replicas": {"path": "/spec/workers"}, "pods": {"path": "/spec/workerTemplate"},
        "retain": ["/spec/harvestedAt"]});
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({"apiVersion": GROUP, "kind": "ResourceInterpreter", "metadata": {"name": "farms"},
        "spec": spec})
}

fn farm(name: &str) -> Value {
    json!({"apiVersion": "example.com/v1alpha1", "kind": "Farm",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"workers": 6, "workerTemplate": {"spec": {"containers": [{"name": "w",
            "resources": {"requests": {"cpu": "250m"}}}]}}}})
}

const FARM: &str = "example.com/v1alpha1";

#[tokio::test(start_paused = true)]
async fn an_own_interpreter_divides_a_kind_and_keeps_what_belongs_to_members() {
    let stage = Stage::new().await;
    serve(&stage, "example.com", "Farm", "farms").await;
    stage.create(selecting("all", FARM, "Farm")).await;
    stage.create(farm("f")).await;
    // Not understood yet: it goes to every member as it is.
    let plain = eventually("the farm in all members", async || {
        let found = shares(&stage, FARM, "Farm", "f", "/spec/workers").await;
        (found.len() == 3).then_some(found)
    })
    .await;
    assert!(plain.iter().all(|(_, count)| *count == 6), "{plain:?}");
    stage.create(interpreter(json!({}))).await;
    stage.condition(GROUP, "ResourceInterpreter", "", "farms", "Accepted", "True").await;
    let divided = eventually("the workers to be divided", async || {
        let found = shares(&stage, FARM, "Farm", "f", "/spec/workers").await;
        (found.iter().map(|(_, count)| count).sum::<u64>() == 6).then_some(found)
    })
    .await;
    let (member, _) = divided[0].clone();
    // What a member writes into a retained field stays, and is no drift.
    let farms = dynamic(&stage.member(&member), FARM, "Farm", "shop");
    let patch = Patch::Merge(json!({"spec": {"harvestedAt": "noon"}}));
    farms.patch("f", &PatchParams::default(), &patch).await.unwrap();
    stage.patch(FARM, "Farm", "f", json!({"spec": {"harvestedAt": "dawn", "seeds": "rye"}})).await;
    let copy = eventually("the other field to arrive", async || {
        let copy = get(&stage.member(&member), FARM, "Farm", "shop", "f").await?;
        (copy["spec"]["seeds"] == "rye").then_some(copy)
    })
    .await;
    assert_eq!(copy["spec"]["harvestedAt"], "noon");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_interpreter_that_fails_stops_its_kind_and_no_other() {
    let stage = Stage::new().await;
    serve(&stage, "example.com", "Farm", "farms").await;
    stage.create(interpreter(json!({}))).await;
    stage.create(selecting("farms", FARM, "Farm")).await;
    stage.create(farm("f")).await;
    let divided = eventually("the workers to be divided", async || {
        let found = shares(&stage, FARM, "Farm", "f", "/spec/workers").await;
        (found.iter().map(|(_, count)| count).sum::<u64>() == 6).then_some(found)
    })
    .await;
    let broken = json!({"spec": {"replicas": {"path": null, "cel": "object.spec.nothing"}}});
    let api = dynamic(&stage.client(), GROUP, "ResourceInterpreter", "");
    api.patch("farms", &PatchParams::default(), &Patch::Merge(&broken)).await.unwrap();
    let kind = "ResourceInterpreter";
    let accepted = stage.condition(GROUP, kind, "", "farms", "Accepted", "False").await;
    assert_eq!(accepted["reason"], "InterpreterFailed");
    let words = accepted["message"].as_str().unwrap().to_owned();
    assert!(
        words.starts_with(
            "Farm shop/f: ResourceInterpreter farms for example.com/Farm: replicas.cel \
             `object.spec.nothing`: "
        ),
        "{words}"
    );
    stage.patch(FARM, "Farm", "f", json!({"spec": {"workers": 12}})).await;
    stage.create(farm("g")).await;
    for name in ["f", "g"] {
        let scheduled = eventually("the fault on the binding", async || {
            let binding = stage.binding(FARM, "Farm", name).await;
            let found = condition_of(&binding, "Scheduled")?;
            (found["reason"] == "InterpreterFailed").then_some(found)
        })
        .await;
        assert!(scheduled["message"].as_str().unwrap().contains("replicas.cel"), "{scheduled}");
    }
    // Another kind goes on.
    stage.create(policy("all", json!({}))).await;
    stage.create(deployment("web", 3)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    assert_eq!(shares(&stage, FARM, "Farm", "f", "/spec/workers").await, divided);
    assert!(shares(&stage, FARM, "Farm", "g", "/spec/workers").await.is_empty());
    // One that cannot be read stops it too.
    let unreadable = json!({"spec": {"replicas": {"cel": "object.spec.("}}});
    api.patch("farms", &PatchParams::default(), &Patch::Merge(&unreadable)).await.unwrap();
    eventually("the interpreter to be invalid", async || {
        let farms = get(&stage.client(), GROUP, kind, "", "farms").await?;
        (condition_of(&farms, "Accepted")?["reason"] == "Invalid").then_some(())
    })
    .await;
    stage.patch(FARM, "Farm", "f", json!({"spec": {"seeds": "rye"}})).await;
    hanse_rt::sleep(Duration::from_secs(3)).await;
    assert_eq!(shares(&stage, FARM, "Farm", "f", "/spec/workers").await, divided);
    let mended = json!({"spec": {"replicas": {"path": "/spec/workers", "cel": null}}});
    api.patch("farms", &PatchParams::default(), &Patch::Merge(&mended)).await.unwrap();
    stage.condition(GROUP, kind, "", "farms", "Accepted", "True").await;
    eventually("both farms to be placed", async || {
        let f = shares(&stage, FARM, "Farm", "f", "/spec/workers").await;
        let g = shares(&stage, FARM, "Farm", "g", "/spec/workers").await;
        let sum = |all: &[(String, u64)]| all.iter().map(|(_, count)| count).sum::<u64>();
        (sum(&f) == 12 && sum(&g) == 6).then_some(())
    })
    .await;
    stage.end().await;
}
