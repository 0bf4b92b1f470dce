//! StatefulSets and Jobs that several clusters share, on members whose controllers run pods.

use std::{collections::BTreeMap, sync::Arc};

use hanse_api::MoveReason;
use hanse_hub::Evacuation;
use hanse_rt::{Rng, TaskSet};
use hanse_sim::{
    engine::{Controllers, Scope},
    kubelet::{Addresses, Kubelet, Pace},
    responder::Mute,
};
use kube::{ResourceExt as _, api::ListParams};
use serde_json::{Value, json};

use crate::stage::{Stage, condition_of, dynamic, eventually, get};

/// Pods of one member: uid by name.
type Pods = BTreeMap<String, String>;

/// Gives every member the controllers of a cluster.
fn bring_to_life(stage: &Stage) -> TaskSet {
    let tasks = TaskSet::new("members");
    for (at, member) in stage.members.values().enumerate() {
        let addresses = Addresses::of_member(at);
        let kubelet = Kubelet::new(Pace::default(), Arc::new(Mute), addresses, Arc::default());
        let controllers = Controllers {
            client: member.client(),
            scope: Scope::Everything,
            kubelet,
            wall: stage.wall.clone(),
            rng: Rng::from_seed(at as u64),
        };
        controllers.run(&tasks);
    }
    tasks
}

fn policy(api: &str, kind: &str, replicas: &Value) -> Value {
    json!({"apiVersion": "hanse.dev/v1alpha1", "kind": "PropagationPolicy",
        "metadata": {"name": "shared", "namespace": "shop"}, "spec": {
            "resourceSelectors": [{"apiVersion": api, "kind": kind}],
            "placement": {"replicas": replicas}}})
}

fn pod_spec() -> Value {
    json!({"containers": [{"name": "main", "image": "registry/main:1",
        "resources": {"requests": {"cpu": "500m", "memory": "64Mi"}}}]})
}

async fn pods(stage: &Stage) -> BTreeMap<String, Pods> {
    let mut all = BTreeMap::new();
    for name in stage.members.keys() {
        let list = dynamic(&stage.member(name), "v1", "Pod", "shop");
        let list = list.list(&ListParams::default()).await.unwrap();
        let list = list.items.iter().map(|pod| (pod.name_any(), pod.uid().unwrap()));
        all.insert(name.clone(), list.collect());
    }
    all
}

async fn all_ready(stage: &Stage, replicas: u64) {
    eventually("all pods", async || {
        let set = stage.get("apps/v1", "StatefulSet", "db").await?;
        (set["status"]["readyReplicas"] == replicas).then_some(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_shared_stateful_set_keep_their_names_whatever_other_clusters_do() {
    let stage = Stage::new().await;
    let tasks = bring_to_life(&stage);
    stage.create(policy("apps/v1", "StatefulSet", &json!({"ordinals": "Partition"}))).await;
    let labels = json!({"app": "db"});
    stage
        .create(json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"replicas": 7, "serviceName": "db", "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod_spec()}}}))
        .await;
    all_ready(&stage, 7).await;
    let first = pods(&stage).await;
    let binding = stage.binding("apps/v1", "StatefulSet", "db").await;
    for block in binding["spec"]["ordinals"].as_array().unwrap() {
        let (name, start) = (block["name"].as_str().unwrap(), block["start"].as_u64().unwrap());
        let own = &first[name];
        assert!(!own.is_empty());
        let expected = (start..start + own.len() as u64).map(|number| format!("db-{number}"));
        assert!(expected.eq(own.keys().cloned()), "{name} from {start}: {own:?}");
    }
    let names: Vec<&String> = first.values().flat_map(BTreeMap::keys).collect();
    assert_eq!(names.len(), 7, "no two clusters have a pod of one name: {names:?}");

    stage.patch("apps/v1", "StatefulSet", "db", json!({"spec": {"replicas": 12}})).await;
    all_ready(&stage, 12).await;
    let more = pods(&stage).await;
    let order = Evacuation {
        id: "drain-1".to_owned(),
        reason: MoveReason::Drained,
        evidence: "a test says so".to_owned(),
        manual_too: true,
        tolerable: Vec::new(),
    };
    stage.hub().world().order_evacuations(BTreeMap::from([("aws-1".to_owned(), order)]));
    eventually("the drained member to be empty", async || {
        let left = pods(&stage).await;
        (left["aws-1"].is_empty() && left.values().map(BTreeMap::len).sum::<usize>() == 12)
            .then_some(())
    })
    .await;
    let last = pods(&stage).await;
    for name in ["gcp-1", "az-1"] {
        assert!(first[name].iter().all(|pod| more[name].get(pod.0) == Some(pod.1)), "{name}");
        assert!(more[name].iter().all(|pod| last[name].get(pod.0) == Some(pod.1)), "{name}");
    }
    tasks.kill().await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_divided_job_succeeds_as_often_as_its_template_says() {
    let stage = Stage::new().await;
    let tasks = bring_to_life(&stage);
    stage.create(policy("batch/v1", "Job", &json!({"mode": "Divide"}))).await;
    let mut pod = pod_spec();
    pod["restartPolicy"] = json!("Never");
    stage
        .create(json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "sum", "namespace": "shop"},
            "spec": {"parallelism": 6, "completions": 11, "template": {"spec": pod}}}))
        .await;
    let done = eventually("the Job to complete", async || {
        let job = stage.get("batch/v1", "Job", "sum").await?;
        let condition = condition_of(&job, "Complete")?;
        (condition["status"] == "True").then_some(job)
    })
    .await;
    assert_eq!(done["status"]["succeeded"], 11);
    let mut completions = Vec::new();
    for name in stage.members.keys() {
        let part = get(&stage.member(name), "batch/v1", "Job", "shop", "sum").await.unwrap();
        assert_eq!(part["status"]["succeeded"], part["spec"]["completions"], "{name}");
        completions.push(part["spec"]["completions"].as_u64().unwrap());
    }
    assert_eq!(completions.iter().sum::<u64>(), 11, "{completions:?}");
    let before = pods(&stage).await;
    // What has finished is not started again.
    stage.patch("batch/v1", "Job", "sum", json!({"spec": {"parallelism": 9}})).await;
    eventually("the binding to follow", async || {
        let binding = stage.binding("batch/v1", "Job", "sum").await;
        (binding["spec"]["replicas"] == 9).then_some(())
    })
    .await;
    hanse_rt::sleep(std::time::Duration::from_secs(10)).await;
    assert_eq!(pods(&stage).await, before);
    tasks.kill().await;
    stage.end().await;
}
