//! Members without pods: their API answers as any member's, and what is written to it runs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use hanse_apiserver::ApiServer;
use hanse_rt::{Rng, TaskSet, Wall};
use hanse_sim::{faults::Faults, member::Options, shallow::Shallow, world::World};
use hanse_topology::Topology;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    core::v1::{Node, Pod},
};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

/// How long pods take to be ready.
const READY_AFTER: Duration = Duration::from_secs(1);

fn world(tasks: &TaskSet, members: usize) -> World {
    let clusters: Vec<String> = (0..members)
        .map(|at| {
            format!(
                "{{name: m{at}, provider: p, region: r, \
                 nodes: [{{count: 3, cpu: '4', memory: 8Gi}}]}}"
            )
        })
        .collect();
    let text = format!("hub: {{provider: p, region: r}}\nclusters: [{}]", clusters.join(", "));
    let (wall, rng) = (Wall::system(), Rng::from_seed(7));
    let shallow = Shallow::new(READY_AFTER, wall.clone());
    shallow.run(tasks);
    let options = Options { shallow: Some(shallow), ..Options::default() };
    let stores = |_: usize, name: &str| {
        ApiServer::builder().wall(wall.clone()).rng(rng.fork("api", name)).history(64).build()
    };
    let topology = Topology::parse(&text).unwrap();
    let world = World::new(topology, &stores, (&wall, &rng), &options).unwrap();
    for member in world.members() {
        member.run(tasks, Arc::new(|_, _| {}));
    }
    world
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        hanse_rt::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what} did not come true");
}

fn workload(kind: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "web:1"}]},
            },
        },
    })
}

async fn apply(client: &Client, replicas: u32) {
    let api: Api<Deployment> = Api::default_namespaced(client.clone());
    let patch = Patch::Apply(workload("Deployment", replicas));
    api.patch("web", &PatchParams::apply("hub").force(), &patch).await.unwrap();
}

async fn ready(client: &Client) -> Option<i32> {
    let api: Api<Deployment> = Api::default_namespaced(client.clone());
    let status = api.get_opt("web").await.unwrap()?.status?;
    status.ready_replicas.filter(|_| status.observed_generation.is_some())
}

#[tokio::test(start_paused = true)]
async fn a_workload_becomes_ready_in_every_member_without_a_pod() {
    let tasks = TaskSet::new("test");
    let world = world(&tasks, 50);
    for member in world.members() {
        apply(&world.hub_client(member.name()).unwrap(), 3).await;
    }
    for member in world.members() {
        let client = member.local_client();
        until("readiness", async || ready(&client).await == Some(3)).await;
        let pods: Api<Pod> = Api::all(client.clone());
        assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 0);
        let nodes: Api<Node> = Api::all(client);
        assert_eq!(nodes.list(&ListParams::default()).await.unwrap().items.len(), 3);
    }
    let client = world.member("m7").unwrap().local_client();
    apply(&client, 5).await;
    assert_eq!(ready(&client).await, Some(3), "pods take their time");
    until("the new number", async || ready(&client).await == Some(5)).await;
    tasks.kill().await;
}

#[tokio::test(start_paused = true)]
async fn created_sets_run_too_and_a_lost_node_is_missed_by_a_daemon_set() {
    let tasks = TaskSet::new("test");
    let world = world(&tasks, 1);
    let member = world.member("m0").unwrap();
    let client = member.local_client();
    let sets: Api<StatefulSet> = Api::default_namespaced(client.clone());
    let set = serde_json::from_value(workload("StatefulSet", 2)).unwrap();
    sets.create(&PostParams::default(), &set).await.unwrap();
    let daemons: Api<DaemonSet> = Api::default_namespaced(client);
    let mut daemon = workload("DaemonSet", 0);
    daemon["spec"].as_object_mut().unwrap().remove("replicas");
    let daemon = serde_json::from_value(daemon).unwrap();
    daemons.create(&PostParams::default(), &daemon).await.unwrap();
    let number = async || daemons.get("web").await.unwrap().status.map(|s| s.number_ready);
    until("three daemons", async || number().await == Some(3)).await;
    until("two of the set", async || {
        let status = sets.get("web").await.unwrap().status;
        status.is_some_and(|status| status.ready_replicas == Some(2))
    })
    .await;
    member.set_faults(Faults { lost_nodes: 1, ..Faults::default() });
    until("two daemons", async || number().await == Some(2)).await;
    tasks.kill().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_written_before_the_power_went_is_ready_when_it_is_back() {
    let tasks = TaskSet::new("test");
    let world = world(&tasks, 1);
    let member = world.member("m0").unwrap();
    let (inside, hub) = (member.local_client(), world.hub_client("m0").unwrap());
    apply(&hub, 3).await;
    member.set_faults(Faults { killed: true, ..Faults::default() });
    hanse_rt::sleep(2 * READY_AFTER).await;
    assert_eq!(ready(&inside).await, None, "nothing runs without power");
    let api: Api<Deployment> = Api::default_namespaced(hub.clone());
    assert!(api.get("web").await.is_err(), "the hub does not reach it");
    member.set_faults(Faults::default());
    until("readiness", async || ready(&inside).await == Some(3)).await;
    tasks.kill().await;
}
