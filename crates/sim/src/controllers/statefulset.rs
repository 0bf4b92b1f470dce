//! StatefulSet: pods with fixed names, started in order and replaced from the highest down.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::json;

use super::{PodName, already, pod_from_template, ready, short_hash};
use crate::{
    action::Action,
    objects::{self, Key, Kind, Objects},
};

const REVISION: &str = "controller-revision-hash";

/// What one StatefulSet needs.
pub fn plan(objects: &Objects, key: &Key, _now: Timestamp) -> Vec<Action> {
    let Some(set) = objects.get(Kind::StatefulSet, key) else {
        return Vec::new();
    };
    if objects::terminating(set) {
        return Vec::new();
    }
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let pods: BTreeMap<i64, &Arc<DynamicObject>> = objects
        .owned_by(uid, Kind::Pod)
        .into_iter()
        .filter_map(|pod| Some((ordinal(pod, &key.1)?, pod)))
        .collect();
    let revision = format!("{}-{}", key.1, short_hash(&set.data["spec"]["template"]));
    let mut actions = step(set, key, &pods, &revision);
    actions.extend(status(set, key, &pods, &revision));
    actions
}

fn ordinal(pod: &DynamicObject, set: &str) -> Option<i64> {
    let name = pod.metadata.name.as_deref()?;
    name.strip_prefix(set)?.strip_prefix('-')?.parse().ok()
}

fn revision_of(pod: &DynamicObject) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(REVISION).map(String::as_str)
}

/// The next pods to create or delete: one at a time, unless the set is managed in parallel.
fn step(
    set: &Arc<DynamicObject>,
    key: &Key,
    pods: &BTreeMap<i64, &Arc<DynamicObject>>,
    revision: &str,
) -> Vec<Action> {
    let parallel = objects::text(set, "/spec/podManagementPolicy") == Some("Parallel");
    let start = objects::int(set, "/spec/ordinals/start").unwrap_or(0);
    let wanted = start..start + objects::int(set, "/spec/replicas").unwrap_or(1);
    let mut actions = Vec::new();
    for at in wanted.clone() {
        match pods.get(&at) {
            None => actions.push(create(set, key, at, revision)),
            Some(pod) if ready(pod) && !objects::terminating(pod) => continue,
            Some(_) => {}
        }
        if !parallel {
            return actions;
        }
    }
    if !actions.is_empty() {
        return actions;
    }
    let surplus = pods.iter().rev().filter(|(at, _)| !wanted.contains(at));
    for (_, pod) in surplus {
        if !objects::terminating(pod) {
            actions.push(Action::delete(Kind::Pod, pod));
        }
        if !parallel {
            return actions;
        }
    }
    let on_delete = objects::text(set, "/spec/updateStrategy/type") == Some("OnDelete");
    let partition = objects::int(set, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    let stale = pods
        .iter()
        .rev()
        .find(|(at, pod)| **at >= start + partition && revision_of(pod) != Some(revision));
    if let (Some((_, pod)), false, true) = (stale, on_delete, actions.is_empty()) {
        actions.push(Action::delete(Kind::Pod, pod));
    }
    actions
}

fn create(set: &Arc<DynamicObject>, key: &Key, at: i64, revision: &str) -> Action {
    let name = format!("{}-{at}", key.1);
    let mut pod = pod_from_template(Kind::StatefulSet, set, &PodName::Exactly(&name));
    let labels = &mut pod["metadata"]["labels"];
    labels[REVISION] = json!(revision);
    labels["statefulset.kubernetes.io/pod-name"] = json!(name);
    labels["apps.kubernetes.io/pod-index"] = json!(at.to_string());
    pod["spec"]["hostname"] = json!(name);
    pod["spec"]["subdomain"] = set.data["spec"]["serviceName"].clone();
    Action::create(Kind::Pod, &key.0, pod)
}

fn status(
    set: &Arc<DynamicObject>,
    key: &Key,
    pods: &BTreeMap<i64, &Arc<DynamicObject>>,
    revision: &str,
) -> Option<Action> {
    let count =
        |wanted: &dyn Fn(&DynamicObject) -> bool| pods.values().filter(|pod| wanted(pod)).count();
    let ready = count(&|pod| ready(pod) && !objects::terminating(pod));
    let updated = count(&|pod| revision_of(pod) == Some(revision));
    let complete = updated == pods.len();
    let current = objects::text(set, "/status/currentRevision").filter(|_| !complete);
    let status = json!({
        "replicas": pods.len(), "readyReplicas": ready, "availableReplicas": ready,
        "currentReplicas": if complete { updated } else { pods.len() - updated },
        "updatedReplicas": updated, "currentRevision": current.unwrap_or(revision),
        "updateRevision": revision, "observedGeneration": set.metadata.generation,
    });
    (!already(&set.data["status"], &status)).then(|| Action::Status {
        kind: Kind::StatefulSet,
        key: key.clone(),
        status,
    })
}
