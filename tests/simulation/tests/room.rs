//! Members without pods have room too: nothing of what is decided ever binds a pod there, and yet
//! no room is promised twice, and none is lost.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hanse_api::conditions::{binding, is_true};
use hanse_apiserver::ApiServer;
use hanse_hub::{Hub, HubConfig};
use hanse_rt::{Rng, TaskSet, Wall};
use hanse_sim::{connector::SimulatedConnector, member::Options, shallow::Shallow, world::World};
use hanse_topology::Topology;
use k8s_openapi::{
    api::apps::v1::Deployment,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use serde_json::json;

/// Members of one node with eight places for a replica each.
const MEMBERS: usize = 4;
const PLACES: i32 = 8;

fn world(tasks: &TaskSet, wall: &Wall, rng: &Rng) -> World {
    let clusters: Vec<String> = (0..MEMBERS)
        .map(|at| {
            format!(
                "{{name: m{at}, provider: p, region: r, \
                 nodes: [{{count: 1, cpu: '4', memory: 8Gi}}]}}"
            )
        })
        .collect();
    let text = format!("hub: {{provider: p, region: r}}\nclusters: [{}]", clusters.join(", "));
    let shallow = Shallow::new(Duration::from_millis(100), wall.clone());
    shallow.run(tasks);
    let options = Options { shallow: Some(shallow), ..Options::default() };
    let stores = |_: usize, name: &str| {
        ApiServer::builder().wall(wall.clone()).rng(rng.fork("api", name)).build()
    };
    let topology = Topology::parse(&text).unwrap();
    let world = World::new(topology, &stores, (wall, rng), &options).unwrap();
    for member in world.members() {
        member.run(tasks, Arc::new(|_, _| {}));
    }
    world
}

async fn hub(tasks: &TaskSet, client: &Client, world: &World, rng: &Rng) -> Hub {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in hanse_api::crds() {
        definitions.create(&PostParams::default(), &definition).await.unwrap();
    }
    let members = Api::all(client.clone());
    for member in world.members() {
        let spec = json!({"connection": {"simulated": {}}, "provider": "p", "region": "r"});
        let object = json!({"metadata": {"name": member.name()}, "spec": spec});
        let object: hanse_api::MemberCluster = serde_json::from_value(object).unwrap();
        members.create(&PostParams::default(), &object).await.unwrap();
    }
    let spec = hanse_api::FederationSpec { require_tenant: false, ..Default::default() };
    let federations = Api::all(client.clone());
    let federation = hanse_api::Federation::new("default", spec);
    federations.create(&PostParams::default(), &federation).await.unwrap();
    let connector = Arc::new(SimulatedConnector { world: world.clone() });
    let config =
        HubConfig { rng: rng.fork("hub", ""), ..HubConfig::new(client.clone(), connector) };
    let hub = Hub::run(tasks, config).await.unwrap();
    let policies = Api::default_namespaced(client.clone());
    let policy = json!({"metadata": {"name": "all"}, "spec": {
        "resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}]}});
    let policy: hanse_api::PropagationPolicy = serde_json::from_value(policy).unwrap();
    policies.create(&PostParams::default(), &policy).await.unwrap();
    hub
}

async fn deploy(client: &Client, name: &str, replicas: i32) {
    let object = json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "main", "image": "main:1",
                    "resources": {"requests": {"cpu": "500m", "memory": "64Mi"}},
                }]},
            },
        },
    });
    let object: Deployment = serde_json::from_value(object).unwrap();
    Api::default_namespaced(client.clone()).create(&PostParams::default(), &object).await.unwrap();
}

/// Replicas that members were asked for, and how many bindings have a place.
async fn look(hub: &Hub, world: &World) -> (BTreeMap<String, i32>, usize) {
    let mut replicas = BTreeMap::new();
    for member in world.members() {
        let api: Api<Deployment> = Api::all(member.local_client());
        let copies = api.list(&ListParams::default()).await.unwrap();
        let sum = copies.iter().filter_map(|copy| copy.spec.replicas).sum();
        replicas.insert(member.name().to_owned(), sum);
    }
    let bindings = hub.world().objects().bindings.all();
    let placed = bindings.iter().filter(|known| {
        let status = known.status.as_ref();
        status.is_some_and(|status| is_true(&status.conditions, binding::SCHEDULED))
    });
    (replicas, placed.count())
}

#[tokio::test(start_paused = true)]
async fn members_without_pods_are_filled_to_the_brim_and_not_beyond() {
    let (tasks, wall, rng) = (TaskSet::new("test"), Wall::system(), Rng::from_seed(3));
    let api = ApiServer::builder().wall(wall.clone()).rng(rng.fork("api", "hub")).build().unwrap();
    api.run(&tasks);
    let client = Client::new(api.as_user("admin"), "default");
    let world = world(&tasks, &wall, &rng);
    let hub = hub(&tasks, &client, &world, &rng).await;
    hanse_rt::sleep(Duration::from_secs(10)).await;
    for number in 0..MEMBERS {
        deploy(&client, &format!("app-{number}"), PLACES).await;
    }
    hanse_rt::sleep(Duration::from_secs(30)).await;
    let full: BTreeMap<String, i32> = (0..MEMBERS).map(|at| (format!("m{at}"), PLACES)).collect();
    assert_eq!(look(&hub, &world).await, (full.clone(), MEMBERS));
    deploy(&client, "one-too-many", 1).await;
    hanse_rt::sleep(Duration::from_secs(30)).await;
    assert_eq!(look(&hub, &world).await, (full, MEMBERS));
    tasks.kill().await;
}
