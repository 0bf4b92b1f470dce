//! The nodes of a member: written at start from the topology, kept by a heartbeat.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use hanse_rt::{TaskSet, Wall};
use hanse_topology::Cluster;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{action, controllers::seconds, objects::Kind};

/// Who writes nodes and leases.
const MANAGER: &str = "hollow-kubelet";
/// The kubelet's own lease renewal interval; the control plane gives a node up after 40 s.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Each call is to the member's own API server.
const CALL: Duration = Duration::from_secs(10);

/// Names of the nodes of a cluster, in the topology's order.
pub fn names(cluster: &Cluster) -> Vec<String> {
    let count: u32 = cluster.nodes.iter().map(|nodes| nodes.count).sum();
    (1..=count).map(|number| format!("{}-node-{number}", cluster.name)).collect()
}

/// Writes the nodes, and keeps them and their leases alive until `tasks` ends.
pub fn run(
    tasks: &TaskSet,
    client: Client,
    cluster: Cluster,
    lost: Arc<std::sync::Mutex<BTreeSet<String>>>,
    wall: Wall,
) {
    let shutdown = tasks.shutdown();
    tasks.spawn("nodes", async move {
        loop {
            let gone = lost.lock().expect("no holder of this lock panics").clone();
            if let Err(error) = beat(&client, &cluster, &gone, &wall, true).await {
                tracing::debug!(cluster = cluster.name, %error, "nodes could not be written");
                hanse_rt::sleep(RETRY).await;
                continue;
            }
            hanse_rt::select! {
                () = shutdown.cancelled() => return,
                () = changed(&lost, &gone) => {}
                () = hanse_rt::sleep(HEARTBEAT) => {}
            }
        }
    });
}

/// How long a write that failed waits.
const RETRY: Duration = Duration::from_millis(200);

/// Writes the nodes as they are now, without leases: nothing keeps them alive, and nothing gives
/// them up. Tries until it is done.
pub(crate) async fn write_once(
    client: Client,
    cluster: &Cluster,
    lost: &BTreeSet<String>,
    wall: &Wall,
) {
    while let Err(error) = beat(&client, cluster, lost, wall, false).await {
        tracing::debug!(cluster = cluster.name, %error, "nodes could not be written");
        hanse_rt::sleep(RETRY).await;
    }
}

/// Resolves when other nodes are lost than those in `known`.
async fn changed(lost: &Arc<std::sync::Mutex<BTreeSet<String>>>, known: &BTreeSet<String>) {
    while *lost.lock().expect("no holder of this lock panics") == *known {
        hanse_rt::sleep(Duration::from_millis(250)).await;
    }
}

async fn beat(
    client: &Client,
    cluster: &Cluster,
    lost: &BTreeSet<String>,
    wall: &Wall,
    leases: bool,
) -> Result<(), kube::Error> {
    let mut names = names(cluster).into_iter();
    for nodes in &cluster.nodes {
        for name in names.by_ref().take(usize::try_from(nodes.count).unwrap_or_default()) {
            let up = !lost.contains(&name);
            write(client, cluster, nodes, &name, up, wall).await?;
            if up && leases {
                lease(client, &name, wall).await?;
            }
        }
    }
    Ok(())
}

async fn write(
    client: &Client,
    cluster: &Cluster,
    nodes: &hanse_topology::Nodes,
    name: &str,
    up: bool,
    wall: &Wall,
) -> Result<(), kube::Error> {
    let api = action::api(client, Kind::Node, "");
    let known = within(api.get_opt(name)).await?;
    let parameters = PatchParams::apply(MANAGER).force();
    if known.is_none() {
        within(api.patch(name, &parameters, &Patch::Apply(node(cluster, nodes, name)))).await?;
    }
    let status = status(nodes, up, known.as_ref(), &seconds(wall.now()));
    let unchanged = known
        .as_ref()
        .is_some_and(|known| crate::controllers::already(&known.data["status"], &status));
    if !unchanged {
        let patch = Patch::Merge(json!({ "status": status }));
        within(api.patch_status(name, &PatchParams::default(), &patch)).await?;
    }
    Ok(())
}

async fn within<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    match hanse_rt::timeout(CALL, call).await {
        Ok(answer) => answer,
        Err(elapsed) => Err(kube::Error::Service(Box::new(elapsed))),
    }
}

async fn lease(client: &Client, node: &str, wall: &Wall) -> Result<(), kube::Error> {
    let gvk = GroupVersionKind::gvk("coordination.k8s.io", "v1", "Lease");
    let resource = ApiResource::from_gvk_with_plural(&gvk, "leases");
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), "kube-node-lease", &resource);
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": node, "namespace": "kube-node-lease"},
        "spec": {
            "holderIdentity": node, "leaseDurationSeconds": 40,
            "renewTime": format!("{:.6}", wall.now()),
        },
    });
    let parameters = PatchParams::apply(MANAGER).force();
    within(api.patch(node, &parameters, &Patch::Apply(lease))).await.map(drop)
}

fn node(cluster: &Cluster, nodes: &hanse_topology::Nodes, name: &str) -> Value {
    let mut labels = json!({
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/region": cluster.region,
    });
    if !cluster.zone.is_empty() {
        labels["topology.kubernetes.io/zone"] = json!(cluster.zone);
    }
    for (key, value) in &nodes.labels {
        labels[key] = json!(value);
    }
    let taints: Vec<Value> = nodes
        .taints
        .iter()
        .map(|taint| json!({"key": taint.key, "value": taint.value, "effect": taint.effect}))
        .collect();
    let mut node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {},
    });
    if !taints.is_empty() {
        node["spec"]["taints"] = Value::from(taints);
    }
    node
}

fn status(
    nodes: &hanse_topology::Nodes,
    up: bool,
    known: Option<&DynamicObject>,
    now: &str,
) -> Value {
    let amounts = json!({
        "cpu": nodes.cpu, "memory": nodes.memory, "pods": nodes.pods.to_string(),
        "ephemeral-storage": "100Gi",
    });
    let (status, reason) =
        if up { ("True", "KubeletReady") } else { ("Unknown", "NodeStatusUnknown") };
    let old = known.and_then(|known| known.data.pointer("/status/conditions/0").cloned());
    let same = old.as_ref().is_some_and(|old| old["status"] == status);
    let since =
        old.filter(|_| same).map_or_else(|| json!(now), |old| old["lastTransitionTime"].clone());
    json!({
        "capacity": amounts, "allocatable": amounts,
        "conditions": [{
            "type": "Ready", "status": status, "reason": reason, "message": reason,
            "lastTransitionTime": since, "lastHeartbeatTime": since,
        }],
        "nodeInfo": {
            "kubeletVersion": "v1.37.1-hollow", "osImage": "simulated", "kernelVersion": "none",
            "containerRuntimeVersion": "hollow://1", "architecture": "amd64",
            "operatingSystem": "linux", "machineID": "", "systemUUID": "", "bootID": "",
            "kubeProxyVersion": "",
        },
    })
}
