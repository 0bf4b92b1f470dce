//! ReplicaSet: as many active pods as asked for.

use jiff::Timestamp;
use serde_json::json;

use super::{PodName, active, already, by_deletion_cost, pod_from_template, ready};
use crate::{
    action::Action,
    objects::{self, Key, Kind, Objects},
};

/// Pods created or deleted in one step, so that one large set does not starve the others.
const BURST: usize = 500;

/// What one ReplicaSet needs.
pub fn plan(objects: &Objects, key: &Key, _now: Timestamp) -> Vec<Action> {
    let Some(set) = objects.get(Kind::ReplicaSet, key) else {
        return Vec::new();
    };
    if objects::terminating(set) {
        return Vec::new();
    }
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let pods: Vec<_> =
        objects.owned_by(uid, Kind::Pod).into_iter().filter(|pod| active(pod)).collect();
    let wanted = usize::try_from(objects::int(set, "/spec/replicas").unwrap_or(1)).unwrap_or(0);
    let mut actions = Vec::new();
    for _ in pods.len()..wanted.min(pods.len() + BURST) {
        let prefix = format!("{}-", key.1);
        let pod = pod_from_template(Kind::ReplicaSet, set, &PodName::Generate(&prefix));
        actions.push(Action::create(Kind::Pod, &key.0, pod));
    }
    let surplus = pods.len().saturating_sub(wanted).min(BURST);
    for pod in by_deletion_cost(&pods).into_iter().take(surplus) {
        actions.push(Action::delete(Kind::Pod, pod));
    }
    let ready = pods.iter().filter(|pod| ready(pod)).count();
    let status = json!({
        "replicas": pods.len(), "fullyLabeledReplicas": pods.len(),
        "readyReplicas": ready, "availableReplicas": ready,
        "observedGeneration": set.metadata.generation,
    });
    if !already(&set.data["status"], &status) {
        actions.push(Action::Status { kind: Kind::ReplicaSet, key: key.clone(), status });
    }
    actions
}
