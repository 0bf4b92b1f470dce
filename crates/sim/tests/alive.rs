//! A simulated member as its users see it: workloads run, roll, survive nodes and power.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use hanse_apiserver::ApiServer;
use hanse_rt::{Rng, TaskSet, Wall};
use hanse_sim::{
    faults::Faults,
    member::{Member, Options},
};
use hanse_topology::Topology;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

struct Case {
    tasks: TaskSet,
    member: Member,
    client: Client,
}

impl Case {
    fn start() -> Self {
        let text = "hub: {provider: p, region: r}\nclusters: [{name: a, provider: p, region: r, \
                    nodes: [{count: 2, cpu: '4', memory: 8Gi}]}]";
        let cluster = Topology::parse(text).unwrap().clusters.remove(0);
        let (wall, rng) = (Wall::system(), Rng::from_seed(7));
        let api = ApiServer::builder().wall(wall.clone()).rng(rng.fork("api", "a")).memory();
        let member = Member::new(cluster, 0, api.build().unwrap(), (wall, rng), Options::default());
        let tasks = TaskSet::new("test");
        member.run(&tasks, Arc::new(|_, _| {}));
        let client = member.local_client();
        Self { tasks, member, client }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn pods(&self, app: &str) -> Vec<Pod> {
        let selector = ListParams::default().labels(&format!("app={app}"));
        self.api::<Pod>().list(&selector).await.unwrap().items
    }
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

fn workload(kind: &str, app: &str, replicas: u32, image: &str) -> Value {
    let version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    let mut object = json!({
        "apiVersion": version, "kind": kind, "metadata": {"name": app},
        "spec": {
            "selector": {"matchLabels": {"app": app}},
            "template": {
                "metadata": {"labels": {"app": app}},
                "spec": {"containers": [{
                    "name": "main", "image": image,
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "resources": {"requests": {"cpu": "500m", "memory": "64Mi"}},
                }]},
            },
        },
    });
    if kind != "DaemonSet" {
        object["spec"]["replicas"] = json!(replicas);
    }
    object
}

async fn create<K>(api: &Api<K>, object: Value)
where
    K: kube::Resource + serde::de::DeserializeOwned + serde::Serialize + Clone + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deployment_rolls_without_losing_availability() {
    let case = Case::start();
    let api = case.api::<Deployment>();
    create(&api, workload("Deployment", "web", 4, "web:1")).await;
    until("four available", async || {
        let status = api.get("web").await.unwrap().status.unwrap_or_default();
        status.available_replicas == Some(4) && status.updated_replicas == Some(4)
    })
    .await;
    let image = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "web:2"}]);
    let patch: Patch<Deployment> = Patch::Json(serde_json::from_value(image).unwrap());
    api.patch("web", &PatchParams::default(), &patch).await.unwrap();
    let mut least = 4;
    until("rolled", async || {
        let found = api.get("web").await.unwrap();
        let status = found.status.unwrap_or_default();
        least = least.min(status.available_replicas.unwrap_or(0));
        status.observed_generation == found.metadata.generation
            && status.updated_replicas == Some(4)
            && status.replicas == Some(4)
            && status.available_replicas == Some(4)
    })
    .await;
    assert!(least >= 3, "{least} were available at the worst");
    case.tasks.drain(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_names_ready_pods_only() {
    let case = Case::start();
    create(&case.api::<Deployment>(), workload("Deployment", "web", 2, "web:1")).await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "labels": {"team": "x"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    });
    create(&case.api::<Service>(), service).await;
    until("two ready endpoints on the container's port", async || {
        let slices = case.api::<EndpointSlice>().list(&ListParams::default()).await.unwrap();
        let Some(slice) = slices.items.first() else {
            return false;
        };
        let port = slice.ports.iter().flatten().next().and_then(|port| port.port);
        let ready = slice.endpoints.iter().flatten().filter(|endpoint| {
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true)
        });
        slice.labels().get("team").map(String::as_str) == Some("x")
            && port == Some(8080)
            && ready.count() == 2
    })
    .await;
    case.tasks.drain(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn sets_and_jobs_do_what_their_kinds_promise() {
    let case = Case::start();
    create(&case.api::<StatefulSet>(), workload("StatefulSet", "db", 3, "db:1")).await;
    create(&case.api::<DaemonSet>(), workload("DaemonSet", "log", 0, "log:1")).await;
    let mut job = workload("Job", "once", 0, "once:1");
    job["spec"] = json!({"template": job["spec"]["template"], "completions": 2, "parallelism": 2});
    job["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    create(&case.api::<Job>(), job).await;
    until("three pods with fixed names", async || {
        let mut names: Vec<_> = case.pods("db").await.iter().map(ResourceExt::name_any).collect();
        names.sort();
        names == ["db-0", "db-1", "db-2"]
    })
    .await;
    until("a pod on each node", async || {
        let pods = case.pods("log").await;
        let mut nodes: Vec<_> =
            pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).collect();
        nodes.sort();
        nodes == ["a-node-1", "a-node-2"]
    })
    .await;
    until("the job complete", async || {
        let job = case.api::<Job>().get("once").await.unwrap();
        job.status.is_some_and(|status| {
            status.succeeded == Some(2)
                && status.conditions.iter().flatten().any(|c| c.type_ == "Complete")
        })
    })
    .await;
    case.tasks.drain(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn pods_without_room_wait_and_say_why() {
    let case = Case::start();
    create(&case.api::<Deployment>(), workload("Deployment", "big", 20, "big:1")).await;
    until("sixteen run and four say what they lack", async || {
        let pods = case.pods("big").await;
        let waiting = pods.iter().filter(|pod| {
            pod.status.iter().flat_map(|status| status.conditions.iter().flatten()).any(|c| {
                c.reason.as_deref() == Some("Unschedulable")
                    && c.message.as_deref() == Some("0/2 nodes are available: 2 Insufficient cpu.")
            })
        });
        pods.len() == 20 && waiting.count() == 4
    })
    .await;
    case.tasks.drain(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_lost_node_come_up_on_the_others() {
    let case = Case::start();
    create(&case.api::<Deployment>(), workload("Deployment", "web", 4, "web:1")).await;
    let ready_on = async |node: &str| {
        let pods = case.pods("web").await;
        pods.iter()
            .filter(|pod| {
                let on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
                let ready = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
                on == Some(node)
                    && ready.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
            })
            .count()
    };
    until("two on each node", async || ready_on("a-node-2").await == 2).await;
    case.member.set_faults(Faults { lost_nodes: 1, ..Faults::default() });
    until("all four on the other node", async || ready_on("a-node-1").await == 4).await;
    case.tasks.drain(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_member_comes_back_with_what_it_stored() {
    let case = Case::start();
    let api = case.api::<Deployment>();
    create(&api, workload("Deployment", "web", 2, "web:1")).await;
    let available = async |count| {
        let status = api.get("web").await.unwrap().status.unwrap_or_default();
        status.available_replicas == Some(count)
    };
    until("two available", async || available(2).await).await;
    let before: Vec<_> = case.pods("web").await.iter().map(ResourceExt::uid).collect();
    case.member.set_faults(Faults { killed: true, ..Faults::default() });
    hanse_rt::sleep(Duration::from_secs(5)).await;
    case.member.set_faults(Faults::default());
    hanse_rt::sleep(Duration::from_secs(5)).await;
    let after: Vec<_> = case.pods("web").await.iter().map(ResourceExt::uid).collect();
    assert_eq!(before, after);
    case.tasks.drain(Duration::from_secs(1)).await;
}
