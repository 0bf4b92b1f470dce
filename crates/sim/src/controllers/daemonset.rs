//! DaemonSet: one pod on each node that admits it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use super::{PodName, active, already, pod_from_template, ready, scheduler, short_hash};
use crate::{
    action::Action,
    objects::{self, Key, Kind, Objects},
};

const REVISION: &str = "controller-revision-hash";

/// What one DaemonSet needs.
pub fn plan(objects: &Objects, key: &Key, _now: Timestamp) -> Vec<Action> {
    let Some(set) = objects.get(Kind::DaemonSet, key) else {
        return Vec::new();
    };
    if objects::terminating(set) {
        return Vec::new();
    }
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let revision = short_hash(&set.data["spec"]["template"]);
    let template = &set.data["spec"]["template"]["spec"];
    let nodes: Vec<&str> = objects
        .all(Kind::Node)
        .filter(|(_, node)| scheduler::admits(node, template))
        .map(|(key, _)| key.1.as_str())
        .collect();
    let mut by_node = BTreeMap::new();
    let mut actions = Vec::new();
    for pod in objects.owned_by(uid, Kind::Pod).into_iter().filter(|pod| active(pod)) {
        let node = objects::text(pod, "/spec/nodeName").unwrap_or_default();
        if !nodes.contains(&node) || by_node.insert(node, pod).is_some() {
            actions.push(Action::delete(Kind::Pod, pod));
        }
    }
    for node in &nodes {
        if !by_node.contains_key(node) {
            let prefix = format!("{}-", key.1);
            let mut pod = pod_from_template(Kind::DaemonSet, set, &PodName::Generate(&prefix));
            pod["spec"]["nodeName"] = json!(node);
            pod["metadata"]["labels"][REVISION] = json!(revision);
            actions.push(Action::create(Kind::Pod, &key.0, pod));
        }
    }
    let fresh = |pod: &kube::api::DynamicObject| {
        let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION));
        label == Some(&revision)
    };
    // One stale pod at a time, as with maxUnavailable 1, the default.
    let all_ready = by_node.len() == nodes.len() && by_node.values().all(|pod| ready(pod));
    if let Some(stale) = by_node.values().find(|pod| !fresh(pod)).filter(|_| all_ready) {
        actions.push(Action::delete(Kind::Pod, stale));
    }
    let ready = by_node.values().filter(|pod| ready(pod)).count();
    let status = json!({
        "desiredNumberScheduled": nodes.len(), "currentNumberScheduled": by_node.len(),
        "numberMisscheduled": 0, "numberReady": ready, "numberAvailable": ready,
        "numberUnavailable": nodes.len() - ready.min(nodes.len()),
        "updatedNumberScheduled": by_node.values().filter(|pod| fresh(pod)).count(),
        "observedGeneration": set.metadata.generation,
    });
    if !already(&set.data["status"], &status) {
        actions.push(Action::Status { kind: Kind::DaemonSet, key: key.clone(), status });
    }
    actions
}
