//! The hollow kubelet and the scheduler of simulated members on a real control plane.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_rt::{Rng, TaskSet, Wall};
use hanse_sim::{
    engine::{Controllers, Scope},
    kubelet::{Addresses, Kubelet, Pace},
    nodes,
    responder::Mute,
};
use hanse_tests_kubernetes::{ControlPlane, Controllers as Manager, peers};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::PostParams};
use serde_json::json;

const CLUSTER: &str =
    "{name: real, provider: p, region: r, nodes: [{count: 2, cpu: '4', memory: 8Gi}]}";

#[tokio::test]
async fn a_deployment_becomes_available_on_a_real_control_plane() {
    let Some(programs) = peers().unwrap() else {
        println!("skipped: HANSE_PEERS is not set");
        return;
    };
    drop(rustls::crypto::ring::default_provider().install_default());
    let plane = ControlPlane::start("real", 1, Manager::Member, &programs).await.unwrap();
    let client = plane.client().await.unwrap();
    let tasks = TaskSet::new("test");
    let topology = format!("hub: {{provider: p, region: r}}\nclusters: [{CLUSTER}]");
    let topology = hanse_topology::Topology::parse(&topology).unwrap();
    let lost: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let cluster = topology.clusters[0].clone();
    nodes::run(&tasks, client.clone(), cluster, Arc::clone(&lost), Wall::system());
    let pace = Pace { start: Duration::from_millis(100), ..Pace::default() };
    let kubelet = Kubelet::new(pace, Arc::new(Mute), Addresses::of_member(0), lost);
    let controllers = Controllers {
        client: client.clone(),
        scope: Scope::NodesOnly,
        kubelet,
        wall: Wall::system(),
        rng: Rng::from_seed(1),
    };
    controllers.run(&tasks);
    let deployments: Api<Deployment> = Api::namespaced(client, "default");
    let deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web", "ports": [{"containerPort": 80}]}]},
            },
        },
    }));
    deployments.create(&PostParams::default(), &deployment.unwrap()).await.unwrap();
    let available =
        kube::runtime::wait::await_condition(deployments, "web", |found: Option<&Deployment>| {
            found.and_then(|d| d.status.as_ref()?.available_replicas) == Some(3)
        });
    hanse_rt::timeout(Duration::from_mins(1), available).await.unwrap().unwrap();
    tasks.drain(Duration::from_secs(5)).await;
}
