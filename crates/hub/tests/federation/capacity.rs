//! Room that is what it seems, and room that is not.

use std::{collections::BTreeMap, time::Duration};

use hanse_rt::Mono;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::stage::{Stage, condition_of, create, deployment, dynamic, eventually, policy};

/// A pod of `web` without a node.
fn pod(name: &str, owner: &Value) -> Value {
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-abc",
        "uid": owner["metadata"]["uid"], "controller": true});
    let metadata = json!({"name": name, "namespace": "shop",
        "labels": {"app": "web", "pod-template-hash": "abc"}, "ownerReferences": [owner]});
    let requests = json!({"cpu": "500m", "memory": "64Mi"});
    let main = json!({"name": "main", "image": "i", "resources": {"requests": requests}});
    let spec = json!({"containers": [main]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

#[tokio::test(start_paused = true)]
async fn replicas_that_find_no_node_move_and_the_member_gets_no_more_until_it_shows_otherwise() {
    let stage = Stage::new().await;
    stage.create(policy("all", json!({"failover": {"pendingSeconds": 30}}))).await;
    stage.create(deployment("web", 6)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let before = stage.replicas("web").await;
    assert_eq!(before["az-1"], 2, "{before:?}");
    let mut set = deployment("web-abc", 2);
    set["kind"] = json!("ReplicaSet");
    let set = create(&stage.member("az-1"), set).await;
    let started = Mono::now();
    for name in ["web-1", "web-2"] {
        create(&stage.member("az-1"), pod(name, &set)).await;
    }
    let moved = eventually("the move", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        let moves = binding["spec"]["moves"].as_array().cloned().unwrap_or_default();
        (!moves.is_empty()).then_some(moves)
    })
    .await;
    assert!(started.elapsed() >= Duration::from_secs(30), "{:?}", started.elapsed());
    assert!(moved.iter().all(|m| m["reason"] == "CannotRun" && m["from"] == "az-1"), "{moved:?}");
    eventually("nothing left in az-1", async || {
        let counts = stage.replicas("web").await;
        (!counts.contains_key("az-1") && counts.values().sum::<u64>() == 6).then_some(())
    })
    .await;
    let pods = dynamic(&stage.member("az-1"), "v1", "Pod", "shop");
    for name in ["web-1", "web-2"] {
        pods.delete(name, &DeleteParams::default()).await.unwrap();
    }
    // It still seems to have most room of all, and gets nothing.
    stage.patch("apps/v1", "Deployment", "web", json!({"spec": {"replicas": 12}})).await;
    eventually("12 replicas", async || {
        let counts = stage.replicas("web").await;
        assert!(!counts.contains_key("az-1"), "{counts:?}");
        (counts.values().sum::<u64>() == 12).then_some(())
    })
    .await;
    let nodes = dynamic(&stage.member("az-1"), "v1", "Node", "");
    let allocatable = json!({"cpu": "16", "memory": "64Gi", "pods": "50"});
    let patch = Patch::Merge(json!({"status": {"allocatable": allocatable}}));
    nodes.patch_status("az-1-node-0", &PatchParams::default(), &patch).await.unwrap();
    hanse_rt::sleep(Duration::from_secs(1)).await;
    stage.patch("apps/v1", "Deployment", "web", json!({"spec": {"replicas": 24}})).await;
    eventually("replicas where there is room again", async || {
        stage.replicas("web").await.contains_key("az-1").then_some(())
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn elastic_room_is_used_after_ready_room_and_said_to_be() {
    let stage = Stage::with_nodes(1).await;
    let elastic = json!({"spec": {"elastic": {"cpu": "8", "memory": "32Gi", "pods": 20}}});
    let members = dynamic(&stage.client(), "hanse.dev/v1alpha1", "MemberCluster", "");
    members.patch("gcp-1", &PatchParams::default(), &Patch::Merge(elastic)).await.unwrap();
    stage.create(policy("all", json!({}))).await;
    // Three members of one node with 4 cores each take 24 of these.
    stage.create(deployment("web", 30)).await;
    let note = eventually("the note", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        binding["spec"]["decision"]["notes"].as_array()?.first().cloned()
    })
    .await;
    assert_eq!(note["reason"], "Elastic");
    let counts = stage.replicas("web").await;
    assert_eq!(
        counts,
        BTreeMap::from([("aws-1", 8), ("az-1", 8), ("gcp-1", 14)].map(|(n, c)| (n.to_owned(), c)))
    );
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_pods_cannot_be_watched_gets_no_new_work() {
    let stage = Stage::new().await;
    stage.create(policy("all", json!({}))).await;
    stage.refuse("az-1", Some("/api/v1/pods"));
    hanse_rt::sleep(Duration::from_secs(150)).await;
    stage.create(deployment("web", 6)).await;
    eventually("replicas elsewhere", async || {
        let counts = stage.replicas("web").await;
        (counts.values().sum::<u64>() == 6).then_some(())
    })
    .await;
    assert!(!stage.replicas("web").await.contains_key("az-1"));
    let binding = stage.binding("apps/v1", "Deployment", "web").await;
    let rejected = binding["spec"]["decision"]["rejected"].as_array().cloned().unwrap_or_default();
    assert!(rejected.iter().any(|r| r["reason"] == "RoomUnknown"), "{rejected:?}");
    stage.refuse("az-1", None);
    hanse_rt::sleep(Duration::from_mins(1)).await;
    stage.patch("apps/v1", "Deployment", "web", json!({"spec": {"replicas": 12}})).await;
    eventually("replicas there too", async || {
        stage.replicas("web").await.contains_key("az-1").then_some(())
    })
    .await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_binding_says_whether_it_survives_the_loss_of_a_region() {
    let stage = Stage::with_nodes(1).await;
    let survive = json!({"placement": {"survive": {"domain": "Region"}}});
    stage.create(policy("all", survive)).await;
    stage.create(deployment("web", 12)).await;
    let survivable = async |status: &str| {
        eventually("the condition Survivable", async || {
            let binding = stage.binding("apps/v1", "Deployment", "web").await;
            condition_of(&binding, "Survivable").filter(|found| found["status"] == status)
        })
        .await
    };
    assert_eq!(survivable("True").await["reason"], "Survives");
    stage.patch("apps/v1", "Deployment", "web", json!({"spec": {"replicas": 24}})).await;
    let condition = survivable("False").await;
    assert_eq!(condition["reason"], "WouldNotSurvive");
    assert!(condition["message"].as_str().unwrap().contains("8 replicas too few"), "{condition}");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_same_spare_room_is_not_promised_to_two_workloads() {
    let stage = Stage::with_nodes(1).await;
    let survive = json!({"placement": {"survive": {"domain": "Region"}}});
    stage.create(policy("all", survive)).await;
    // Each member takes 8 of these: a lost region leaves 4 free places for 3 lost replicas of each.
    for (name, status) in [("first", "True"), ("second", "False")] {
        stage.create(deployment(name, 9)).await;
        let condition = eventually("the condition Survivable", async || {
            let binding = stage.binding("apps/v1", "Deployment", name).await;
            condition_of(&binding, "Survivable").filter(|_| binding["spec"]["clusters"].is_array())
        })
        .await;
        assert_eq!(condition["status"], status, "{name}: {condition}");
    }
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_cordon_holds_for_what_is_created_right_after_it() {
    let stage = Stage::new().await;
    stage.create(policy("all", json!({}))).await;
    let members = dynamic(&stage.client(), "hanse.dev/v1alpha1", "MemberCluster", "");
    let label = json!({"metadata": {"labels": {"tier": "gold"}}});
    let cordon = json!({"spec": {"unschedulable": true}});
    // The member has just been looked at, for another change of it, when it is cordoned.
    for (change, name) in [(label, "api"), (cordon, "web")] {
        members.patch("az-1", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
        hanse_rt::sleep(Duration::from_millis(1)).await;
        stage.create(deployment(name, 6)).await;
        hanse_rt::sleep(Duration::from_millis(10)).await;
    }
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let counts = stage.replicas("web").await;
    assert!(!counts.contains_key("az-1") && counts.len() == 2, "{counts:?}");
    stage.end().await;
}
