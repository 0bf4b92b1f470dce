//! From an applied template to copies in members, and back to its status.

use std::time::Duration;

use hanse_rt::Mono;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use crate::stage::{Stage, deployment, dynamic, eventually, get, policy};

async fn shop(stage: &Stage) {
    stage.create(policy("all", json!({}))).await;
    stage
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "web-settings", "namespace": "shop"}, "data": {"a": "b"}}))
        .await;
    stage
        .create(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}))
        .await;
    stage.create(deployment("web", 6)).await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_placed_applied_and_told_on_the_hub() {
    let stage = Stage::new().await;
    shop(&stage).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let counts = stage.replicas("web").await;
    assert_eq!(counts.values().sum::<u64>(), 6, "{counts:?}");
    assert_eq!(counts.len(), 3, "{counts:?}");
    let web = eventually("the whole status", async || {
        let web = stage.get("apps/v1", "Deployment", "web").await?;
        (web["status"]["readyReplicas"] == 6).then_some(web)
    })
    .await;
    assert_eq!(web["status"]["observedGeneration"], web["metadata"]["generation"]);
    assert_eq!(web["status"]["updatedReplicas"], 6);

    let copy = get(&stage.member("aws-1"), "apps/v1", "Deployment", "shop", "web").await.unwrap();
    let metadata = &copy["metadata"];
    assert_eq!(metadata["annotations"]["hanse.dev/template-uid"], web["metadata"]["uid"]);
    assert_eq!(
        metadata["labels"]["hanse.dev/hub"].as_str(),
        Some(stage.hub().world().means().hub_id.as_str())
    );
    let manager = metadata["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["manager"] == "hanse");
    assert_eq!(manager.unwrap()["operation"], "Apply");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn companions_follow_and_namespaces_come_with_the_hubs_labels() {
    let stage = Stage::new().await;
    shop(&stage).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let everywhere = stage.holders("apps/v1", "Deployment", "web").await;
    assert_eq!(stage.holders("v1", "Service", "web").await, everywhere);
    assert_eq!(stage.holders("v1", "ConfigMap", "web-settings").await, everywhere);
    let namespace = get(&stage.member("gcp-1"), "v1", "Namespace", "", "shop").await.unwrap();
    assert_eq!(namespace["metadata"]["labels"]["team"], "shop");
    let service = get(&stage.member("gcp-1"), "v1", "Service", "shop", "web").await.unwrap();
    let on_hub = stage.get("v1", "Service", "web").await.unwrap();
    assert_eq!(service["spec"]["ports"][0]["port"], on_hub["spec"]["ports"][0]["port"]);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_scale_reaches_the_members_and_its_status_comes_back() {
    let stage = Stage::new().await;
    shop(&stage).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let before = stage.replicas("web").await;
    let started = Mono::now();
    stage.patch("apps/v1", "Deployment", "web", json!({"spec": {"replicas": 9}})).await;
    let after = eventually("9 replicas in the members", async || {
        let counts = stage.replicas("web").await;
        (counts.values().sum::<u64>() == 9).then_some(counts)
    })
    .await;
    // Virtual time passes only in waiting: nothing on this way may wait.
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    assert!(before.iter().all(|(member, count)| after[member] >= *count), "{before:?} {after:?}");
    eventually("the status", async || {
        let web = stage.get("apps/v1", "Deployment", "web").await?;
        (web["status"]["readyReplicas"] == 9
            && web["status"]["observedGeneration"] == web["metadata"]["generation"])
            .then_some(())
    })
    .await;
    stage.patch("apps/v1", "Deployment", "web", json!({"spec": {"replicas": 2}})).await;
    eventually("2 replicas in the members", async || {
        (stage.replicas("web").await.values().sum::<u64>() == 2).then_some(())
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn deleting_a_template_removes_it_everywhere_and_only_it() {
    let stage = Stage::new().await;
    shop(&stage).await;
    stage.create(deployment("other", 3)).await;
    for name in ["web", "other"] {
        stage.condition("apps/v1", "Deployment", "shop", name, "Available", "True").await;
    }
    let client = stage.client();
    let api = dynamic(&client, "apps/v1", "Deployment", "shop");
    api.delete("web", &DeleteParams::default()).await.unwrap();
    eventually("the copies to go", async || stage.replicas("web").await.is_empty().then_some(()))
        .await;
    eventually("the binding to go", async || {
        stage.binding("apps/v1", "Deployment", "web").await.is_null().then_some(())
    })
    .await;
    assert_eq!(stage.replicas("other").await.values().sum::<u64>(), 3);
    assert_eq!(stage.holders("v1", "Service", "web").await.len(), 3);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_template_made_anew_under_the_same_name_is_another_object() {
    let stage = Stage::new().await;
    shop(&stage).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let client = stage.client();
    let api = dynamic(&client, "apps/v1", "Deployment", "shop");
    api.delete("web", &DeleteParams::default()).await.unwrap();
    let anew = stage.create(deployment("web", 4)).await;
    let uid = anew["metadata"]["uid"].as_str().unwrap();
    eventually("copies of the new template", async || {
        let mut sum = 0;
        for name in stage.members.keys() {
            let copy = get(&stage.member(name), "apps/v1", "Deployment", "shop", "web").await;
            let Some(copy) = copy else { continue };
            if copy["metadata"]["annotations"]["hanse.dev/template-uid"] != uid {
                return None;
            }
            sum += copy["spec"]["replicas"].as_u64().unwrap();
        }
        (sum == 4).then_some(())
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn drift_in_a_member_is_corrected() {
    let stage = Stage::new().await;
    shop(&stage).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let before = stage.replicas("web").await;
    let api = dynamic(&stage.member("az-1"), "apps/v1", "Deployment", "shop");
    let patch = kube::api::Patch::Merge(json!({"spec": {"replicas": 40}}));
    api.patch("web", &kube::api::PatchParams::default(), &patch).await.unwrap();
    eventually("the correction", async || (stage.replicas("web").await == before).then_some(()))
        .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn duplicate_gives_every_member_the_full_count() {
    let stage = Stage::new().await;
    stage.create(policy("all", json!({"placement": {"replicas": {"mode": "Duplicate"}}}))).await;
    stage.create(deployment("web", 2)).await;
    eventually("two replicas in each", async || {
        let counts = stage.replicas("web").await;
        (counts.len() == 3 && counts.values().all(|count| *count == 2)).then_some(())
    })
    .await;
    eventually("the status", async || {
        let web = stage.get("apps/v1", "Deployment", "web").await?;
        (web["status"]["observedGeneration"] == web["metadata"]["generation"]).then_some(())
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_travels_makes_its_objects_placeable() {
    let stage = Stage::new().await;
    let schema = json!({"openAPIV3Schema": {"type": "object",
        "x-kubernetes-preserve-unknown-fields": true}});
    let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget"});
    stage
        .create(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": names,
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}}))
        .await;
    stage
        .create(json!({"apiVersion": "example.com/v1", "kind": "Widget",
            "metadata": {"name": "w", "namespace": "shop"}, "size": 3}))
        .await;
    let selectors = json!([
        {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "name": "widgets.example.com"},
        {"apiVersion": "example.com/v1", "kind": "Widget", "namespaces": ["shop"]}]);
    stage
        .create(json!({"apiVersion": "hanse.dev/v1alpha1", "kind": "ClusterPropagationPolicy",
            "metadata": {"name": "widgets"}, "spec": {"resourceSelectors": selectors}}))
        .await;
    eventually("the widget in every member", async || {
        for member in stage.members.keys() {
            let client = stage.member(member);
            let api = dynamic(&client, "example.com/v1", "Widget", "shop");
            api.get_opt("w").await.ok().flatten()?;
        }
        Some(())
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_once_in_one_member_is_told_finished_and_holds_no_room_then() {
    let stage = Stage::new().await;
    let mut jobs = policy("jobs", json!({}));
    jobs["spec"]["resourceSelectors"] = json!([{"apiVersion": "batch/v1", "kind": "Job"}]);
    stage.create(jobs).await;
    stage
        .create(json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "once", "namespace": "shop"},
            "spec": {"parallelism": 14, "completions": 14,
                "template": {"spec": {"restartPolicy": "Never", "containers": [
                    {"name": "main", "image": "registry/main:1",
                        "resources": {"requests": {"cpu": "1"}}}]}}}}))
        .await;
    let holder = eventually("the job in one member", async || {
        let mut holders = stage.holders("batch/v1", "Job", "once").await;
        (holders.len() == 1).then(|| holders.remove(0))
    })
    .await;
    let time = "2026-01-01T00:00:10Z";
    let condition = |type_: &str| json!({"type": type_, "status": "True", "lastProbeTime": time, "lastTransitionTime": time});
    let status = json!({"status": {"succeeded": 14, "startTime": time, "completionTime": time,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")]}});
    dynamic(&stage.member(&holder), "batch/v1", "Job", "shop")
        .patch_status("once", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&status))
        .await
        .unwrap();
    stage.condition("batch/v1", "Job", "shop", "once", "Complete", "True").await;
    let binding = stage.binding("batch/v1", "Job", "once").await;
    assert_eq!(binding["spec"]["finished"], json!([holder]));
    // Its 14 of 16 cores are free for others.
    let there = json!({"placement": {"clusters": [{"names": [holder]}]}});
    stage.create(policy("all", there)).await;
    stage.create(deployment("web", 20)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn deleting_a_policy_leaves_the_placement_as_it_is_and_says_so() {
    let stage = Stage::new().await;
    shop(&stage).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let before = stage.replicas("web").await;
    let client = stage.client();
    let api = dynamic(&client, "hanse.dev/v1alpha1", "PropagationPolicy", "shop");
    api.delete("all", &DeleteParams::default()).await.unwrap();
    let scheduled = eventually("the reason PolicyGone", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        crate::stage::condition_of(&binding, "Scheduled")
            .filter(|found| found["reason"] == "PolicyGone")
    })
    .await;
    assert_eq!(
        scheduled["message"],
        "6 replicas in 3 clusters; its policy is gone or no longer selects it"
    );
    assert_eq!(stage.replicas("web").await, before);
    assert_eq!(stage.holders("v1", "Service", "web").await.len(), 3);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_placement_that_is_forgotten_goes_and_does_not_come_back() {
    let stage = Stage::new().await;
    shop(&stage).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let client = stage.client();
    let policies = dynamic(&client, "hanse.dev/v1alpha1", "PropagationPolicy", "shop");
    policies.delete("all", &DeleteParams::default()).await.unwrap();
    let mut names = Vec::new();
    for (api, kind, name) in [
        ("apps/v1", "Deployment", "web"),
        ("v1", "Service", "web"),
        ("v1", "ConfigMap", "web-settings"),
    ] {
        let binding = stage.binding(api, kind, name).await;
        names.push(binding["metadata"]["name"].as_str().unwrap().to_owned());
    }
    hanse_rt::sleep(Duration::from_secs(2)).await;
    let bindings = dynamic(&client, "hanse.dev/v1alpha1", "ResourceBinding", "shop");
    for name in &names {
        bindings.delete(name, &DeleteParams::default()).await.unwrap();
    }
    eventually("the copies to go", async || {
        let services = stage.holders("v1", "Service", "web").await;
        (stage.replicas("web").await.is_empty() && services.is_empty()).then_some(())
    })
    .await;
    hanse_rt::sleep(Duration::from_secs(5)).await;
    assert!(stage.binding("apps/v1", "Deployment", "web").await.is_null());
    assert!(stage.get("apps/v1", "Deployment", "web").await.is_some(), "the template stays");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_stops_to_select_a_template_no_longer_decides_about_it() {
    let stage = Stage::new().await;
    shop(&stage).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let before = stage.replicas("web").await;
    // What the policy says about others from now on is nothing to this template.
    let other = json!({"spec": {
        "resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}],
        "placement": {"clusters": [{"exclude": ["aws-1"]}], "replicas": {"steady": false}}}});
    stage.patch("hanse.dev/v1alpha1", "PropagationPolicy", "all", other).await;
    let scheduled = eventually("the reason PolicyGone", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        crate::stage::condition_of(&binding, "Scheduled")
            .filter(|found| found["reason"] == "PolicyGone")
    })
    .await;
    assert_eq!(
        scheduled["message"],
        "6 replicas in 3 clusters; its policy is gone or no longer selects it"
    );
    assert_eq!(stage.replicas("web").await, before);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_fight_over_a_field_is_fought_slowly_and_told() {
    let stage = Stage::new().await;
    shop(&stage).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let api = dynamic(&stage.member("az-1"), "apps/v1", "Deployment", "shop");
    let change = async || {
        let patch = kube::api::Patch::Merge(json!({"spec": {"replicas": 40}}));
        api.patch("web", &kube::api::PatchParams::default(), &patch).await.unwrap();
    };
    let own = stage.replicas("web").await["az-1"];
    change().await;
    eventually("the first correction", async || {
        (stage.replicas("web").await["az-1"] == own).then_some(())
    })
    .await;
    change().await;
    let applied = eventually("the fight to be told", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        crate::stage::condition_of(&binding, "Applied").filter(|found| found["status"] == "False")
    })
    .await;
    assert_eq!(
        applied["message"],
        "az-1: somebody else changes it: it is corrected every 10 seconds"
    );
    eventually("the second correction", async || {
        (stage.replicas("web").await["az-1"] == own).then_some(())
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn members_that_left_leave_no_task_behind() {
    let mut stage = Stage::new().await;
    stage.create(policy("all", json!({}))).await;
    stage.create(deployment("web", 3)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let api = "hanse.dev/v1alpha1";
    let members = dynamic(&stage.client(), api, "MemberCluster", "");
    for name in stage.members.keys() {
        members.delete(name, &DeleteParams::default()).await.unwrap();
    }
    eventually("all members to leave", async || {
        let left = members.list(&ListParams::default()).await.unwrap();
        left.items.is_empty().then_some(())
    })
    .await;
    let runtime = tokio::runtime::Handle::current().metrics();
    hanse_rt::sleep(Duration::from_mins(5)).await;
    let after = runtime.num_alive_tasks();
    stage.crash().await;
    stage.start().await;
    hanse_rt::sleep(Duration::from_mins(5)).await;
    let fresh = runtime.num_alive_tasks();
    assert!(after <= fresh + 3, "{after} tasks, {fresh} of a hub that never had a member");
    stage.end().await;
}
