//! Free room of one member, from its nodes and pods: kept as distinct node shapes and sums only.

pub(crate) mod kept;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hanse_render::{format_milli, milli, pod_needs};
use hanse_rt::Mono;
use hanse_scheduler::{NodeClass, NodeShape, Resources, Taint, TaintEffect};
use serde_json::{Value, json};

/// A workload that owns pods: namespace, kind and name.
pub type Owner = (String, String, String);

/// Room of a member at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RoomSeen {
    /// Distinct node shapes.
    pub shapes: Vec<NodeShape>,
    /// Number of nodes.
    pub nodes: u32,
    /// Number of ready and schedulable nodes.
    pub ready_nodes: u32,
    /// Sum of what ready nodes offer.
    pub allocatable: Resources,
    /// Pods that ready nodes take.
    pub allocatable_pods: u64,
    /// Sum of what pods on ready nodes ask for.
    pub requested: Resources,
    /// Pods on ready nodes.
    pub pods: u64,
    /// Pods bound to nodes and not on their way out, by the workload that owns them.
    pub bound: BTreeMap<Owner, u32>,
    /// Pods that wait for a node, by the workload that owns them: since when, the longest first.
    pub waiting: BTreeMap<Owner, Vec<Mono>>,
}

/// Nodes and pods of a member, as far as room is concerned.
#[derive(Debug, Default)]
pub struct RoomBook {
    nodes: BTreeMap<String, NodeEntry>,
    pods: BTreeMap<(String, String), PodEntry>,
    /// Whether all nodes have been listed once, and all pods.
    listed: (bool, bool),
    /// What many pods share is kept once.
    names: BTreeSet<Arc<str>>,
    requests: BTreeSet<Arc<Resources>>,
    owners: BTreeSet<Arc<Owner>>,
}

#[derive(Debug)]
struct NodeEntry {
    usable: bool,
    allocatable: Resources,
    pods: u64,
    class: Arc<NodeClass>,
}

#[derive(Debug)]
struct PodEntry {
    stands: Stands,
    request: Arc<Resources>,
    owner: Option<Arc<Owner>>,
}

/// Where a pod is.
#[derive(Debug)]
enum Stands {
    /// On this node.
    Bound(Arc<str>),
    /// On this node, on its way out: it takes room until it is gone, but its successor needs some.
    Leaving(Arc<str>),
    /// Nowhere since then.
    Waiting(Mono),
}

/// Labels that differ on every node would make every node a shape of its own.
const OWN_LABELS: [&str; 1] = ["kubernetes.io/hostname"];

impl RoomBook {
    /// Notes a node.
    pub fn set_node(&mut self, name: &str, node: &Value) {
        let ready = node["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
        let amounts = amounts(&node["status"]["allocatable"]);
        let class = NodeClass {
            labels: labels
                .filter(|(key, _)| !OWN_LABELS.contains(&key.as_str()))
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
            taints: taints(&node["spec"]["taints"]),
        };
        let alike = self.nodes.values().find(|known| *known.class == class);
        let entry = NodeEntry {
            usable: ready && node["spec"]["unschedulable"] != true,
            pods: amounts.get("pods").map_or(110, |pods| whole(*pods)),
            allocatable: resources(&amounts),
            class: alike.map_or_else(|| Arc::new(class), |known| Arc::clone(&known.class)),
        };
        self.nodes.insert(name.to_owned(), entry);
    }

    /// Forgets a node.
    pub fn remove_node(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// A list of all nodes has ended: forgets those that it did not name.
    pub fn retain_nodes(&mut self, keep: &BTreeSet<String>) {
        self.listed.0 = true;
        self.nodes.retain(|name, _| keep.contains(name));
    }

    /// Notes a pod; one that has ended takes no room, and one that is not bound waits for some.
    pub fn set_pod(&mut self, namespace: &str, name: &str, pod: &Value, now: Mono) {
        let key = (namespace.to_owned(), name.to_owned());
        let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        let leaves = !pod["metadata"]["deletionTimestamp"].is_null();
        let gates = pod["spec"]["schedulingGates"].as_array();
        let held_back = gates.is_some_and(|gates| !gates.is_empty());
        if ended || (node.is_empty() && (leaves || held_back)) {
            self.remove_pod(namespace, name);
            return;
        }
        let stands = match self.pods.get(&key).map(|known| &known.stands) {
            _ if !node.is_empty() => {
                let node = shared(&mut self.names, node, || node.into());
                if leaves { Stands::Leaving(node) } else { Stands::Bound(node) }
            }
            Some(Stands::Waiting(since)) => Stands::Waiting(*since),
            _ => Stands::Waiting(now),
        };
        // The needs are read by the rules of a pod template.
        let wrapped = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "spec": {"template": {"spec": pod["spec"]}}});
        let request = resources(&pod_needs(&wrapped).requests);
        let request = shared(&mut self.requests, &request, || Arc::new(request.clone()));
        let owner = owner_of(namespace, pod)
            .map(|owner| shared(&mut self.owners, &owner, || Arc::new(owner.clone())));
        let before = self.pods.insert(key, PodEntry { stands, request, owner });
        if let Some(before) = before {
            self.drop_shared(&before);
        }
    }

    /// Forgets a pod.
    pub fn remove_pod(&mut self, namespace: &str, name: &str) {
        let gone = self.pods.remove(&(namespace.to_owned(), name.to_owned()));
        if let Some(gone) = gone {
            self.drop_shared(&gone);
        }
    }

    /// Lets go what nobody shares any more: every run of a CronJob is an owner of its own.
    fn drop_shared(&mut self, entry: &PodEntry) {
        let node = match &entry.stands {
            Stands::Bound(node) | Stands::Leaving(node) => Some(node),
            Stands::Waiting(_) => None,
        };
        if let Some(node) = node {
            unshare(&mut self.names, node);
        }
        unshare(&mut self.requests, &entry.request);
        if let Some(owner) = &entry.owner {
            unshare(&mut self.owners, owner);
        }
    }

    /// A list of all pods has ended: forgets those that it did not name.
    pub fn retain_pods(&mut self, keep: &BTreeSet<(String, String)>) {
        self.listed.1 = true;
        self.pods.retain(|key, _| keep.contains(key));
        self.names.retain(|name| Arc::strong_count(name) > 1);
        self.requests.retain(|request| Arc::strong_count(request) > 1);
        self.owners.retain(|owner| Arc::strong_count(owner) > 1);
    }

    /// Whether nodes and pods have been listed to the end once. Nodes without their pods look
    /// empty, and pods without their nodes like no room at all.
    pub const fn is_whole(&self) -> bool {
        self.listed.0 && self.listed.1
    }

    /// The room now.
    pub fn sum(&self) -> RoomSeen {
        let mut seen = RoomSeen::default();
        let mut used: BTreeMap<&str, (Resources, u64)> = BTreeMap::new();
        for pod in self.pods.values() {
            let owner = pod.owner.as_deref();
            let node = match &pod.stands {
                Stands::Waiting(since) => {
                    if let Some(owner) = owner {
                        seen.waiting.entry(owner.clone()).or_default().push(*since);
                    }
                    continue;
                }
                Stands::Leaving(node) => node,
                Stands::Bound(node) => {
                    if let Some(owner) = owner {
                        *seen.bound.entry(owner.clone()).or_default() += 1;
                    }
                    node
                }
            };
            let entry = used.entry(node).or_default();
            entry.0 = entry.0.plus(&pod.request, 1);
            entry.1 += 1;
        }
        seen.waiting.values_mut().for_each(|list| list.sort_unstable());
        for (name, node) in &self.nodes {
            seen.nodes += 1;
            if !node.usable {
                continue;
            }
            let (requested, pods) = used.remove(name.as_str()).unwrap_or_default();
            seen.ready_nodes += 1;
            seen.allocatable = seen.allocatable.plus(&node.allocatable, 1);
            seen.allocatable_pods += node.pods;
            seen.requested = seen.requested.plus(&requested, 1);
            seen.pods += pods;
            add_shape(&mut seen.shapes, node, &requested, pods);
        }
        seen
    }
}

/// The one copy of a value.
fn shared<T: Ord + ?Sized>(
    pool: &mut BTreeSet<Arc<T>>,
    value: &T,
    make: impl FnOnce() -> Arc<T>,
) -> Arc<T> {
    if let Some(known) = pool.get(value) {
        return Arc::clone(known);
    }
    let made = make();
    pool.insert(Arc::clone(&made));
    made
}

/// Forgets the one copy of a value with the last who had it.
fn unshare<T: Ord + ?Sized>(pool: &mut BTreeSet<Arc<T>>, value: &Arc<T>) {
    if Arc::strong_count(value) == 2 {
        pool.remove(value);
    }
}

fn add_shape(shapes: &mut Vec<NodeShape>, node: &NodeEntry, requested: &Resources, pods: u64) {
    let shape = NodeShape {
        nodes: 1,
        allocatable: node.allocatable.clone(),
        free: node.allocatable.minus(requested, 1),
        free_pods: node.pods.saturating_sub(pods),
        class: Arc::clone(&node.class),
    };
    let same = |other: &&mut NodeShape| NodeShape { nodes: 1, ..(**other).clone() } == shape;
    match shapes.iter_mut().find(same) {
        Some(known) => known.nodes += 1,
        None => shapes.push(shape),
    }
}

impl RoomSeen {
    /// Sums as Kubernetes quantities.
    pub fn quantities(&self, resources: &Resources, pods: u64) -> BTreeMap<String, String> {
        let mut all = quantities(resources);
        all.insert("pods".to_owned(), pods.to_string());
        all
    }
}

/// Amounts as Kubernetes quantities; zero amounts are left out.
pub(crate) fn quantities(resources: &Resources) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    if resources.cpu_milli > 0 {
        all.insert("cpu".to_owned(), format_milli(i128::from(resources.cpu_milli)));
    }
    if resources.memory_bytes > 0 {
        let bytes = i128::from(resources.memory_bytes) * 1000;
        all.insert("memory".to_owned(), format_milli(bytes));
    }
    for (name, amount) in resources.others.iter().filter(|(_, amount)| **amount > 0) {
        all.insert(name.clone(), amount.to_string());
    }
    all
}

/// Amounts in the scheduler's terms; `pods` is counted apart.
pub(crate) fn resources(amounts: &BTreeMap<String, i128>) -> Resources {
    let mut resources = Resources::default();
    for (name, amount) in amounts {
        match name.as_str() {
            "cpu" => resources.cpu_milli = u64::try_from(*amount).unwrap_or(0),
            "memory" => resources.memory_bytes = whole(*amount),
            "pods" => {}
            other => {
                resources.others.insert(other.to_owned(), whole(*amount));
            }
        }
    }
    resources
}

/// An amount in whole units, rounded up.
fn whole(milli: i128) -> u64 {
    u64::try_from(milli.saturating_add(999) / 1000).unwrap_or(0)
}

fn amounts(value: &Value) -> BTreeMap<String, i128> {
    let fields = value.as_object().into_iter().flatten();
    fields
        .filter_map(|(name, amount)| {
            let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
            Some((name.clone(), milli(&text).ok()?))
        })
        .collect()
}

/// Taints that keep pods away.
fn taints(value: &Value) -> Vec<Taint> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|taint| {
            let effect = match taint["effect"].as_str()? {
                "NoSchedule" => TaintEffect::NoSchedule,
                "NoExecute" => TaintEffect::NoExecute,
                _ => return None,
            };
            Some(Taint { key: text(&taint["key"]), value: text(&taint["value"]), effect })
        })
        .collect()
}

/// Who makes ReplicaSets, by the label in which each keeps the hash of the pod template.
const MAKERS: [(&str, &str); 2] =
    [("pod-template-hash", "Deployment"), ("rollouts-pod-template-hash", "Rollout")];

/// The workload behind a pod. A ReplicaSet of a Deployment is named `<deployment>-<hash>`, and one
/// of an Argo Rollout likewise.
fn owner_of(namespace: &str, pod: &Value) -> Option<Owner> {
    let owners = pod["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    let (kind, name) = (owner["kind"].as_str()?, owner["name"].as_str()?);
    let maker = MAKERS.iter().filter(|_| kind == "ReplicaSet").find_map(|(label, maker)| {
        let hash = pod["metadata"]["labels"][*label].as_str()?;
        Some((*maker, name.strip_suffix(hash)?.strip_suffix('-')?))
    });
    let (kind, name) = maker.unwrap_or((kind, name));
    Some((namespace.to_owned(), kind.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests;
