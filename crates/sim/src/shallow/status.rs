//! The status that controllers leave in the end, when everything that was asked for runs.

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::{
    controllers::{already, condition, seconds, short_hash},
    objects::{self, Kind},
};

/// The status to write; nothing where the object has it already, or comes to none. A DaemonSet
/// has a pod on each of `nodes`.
pub(super) fn settled(
    kind: Kind,
    object: &DynamicObject,
    nodes: usize,
    now: Timestamp,
) -> Option<Value> {
    if objects::terminating(object) {
        return None;
    }
    let replicas = objects::int(object, "/spec/replicas").unwrap_or(1);
    let mut status = match kind {
        Kind::Deployment => deployment(object, replicas, now),
        Kind::StatefulSet => stateful_set(object, replicas),
        Kind::DaemonSet => json!({
            "desiredNumberScheduled": nodes, "currentNumberScheduled": nodes,
            "updatedNumberScheduled": nodes, "numberReady": nodes, "numberAvailable": nodes,
            "numberMisscheduled": 0,
        }),
        Kind::ReplicaSet => json!({
            "replicas": replicas, "fullyLabeledReplicas": replicas, "readyReplicas": replicas,
            "availableReplicas": replicas,
        }),
        Kind::Job => return job(object, now),
        Kind::Node | Kind::Pod | Kind::Service | Kind::EndpointSlice => return None,
    };
    status["observedGeneration"] = json!(object.metadata.generation);
    (!already(&object.data["status"], &status)).then_some(status)
}

fn deployment(object: &DynamicObject, replicas: i64, now: Timestamp) -> Value {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let hash = short_hash(&object.data["spec"]["template"]);
    let text = format!("ReplicaSet \"{name}-{hash}\" has successfully progressed.");
    let enough = ("MinimumReplicasAvailable", "Deployment has minimum availability.");
    let made = ("NewReplicaSetAvailable", text.as_str());
    json!({
        "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas,
        "availableReplicas": replicas, "unavailableReplicas": 0,
        "conditions": [
            condition(object, "Available", true, enough, now),
            condition(object, "Progressing", true, made, now),
        ],
    })
}

fn stateful_set(object: &DynamicObject, replicas: i64) -> Value {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let revision = format!("{name}-{}", short_hash(&object.data["spec"]["template"]));
    json!({
        "replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
        "currentReplicas": replicas, "updatedReplicas": replicas,
        "currentRevision": revision, "updateRevision": revision,
    })
}

/// A Job has succeeded, once, unless it is held back.
fn job(object: &DynamicObject, now: Timestamp) -> Option<Value> {
    if object.data["spec"]["suspend"] == true || objects::condition_true(object, "Complete") {
        return None;
    }
    let succeeded = objects::int(object, "/spec/completions").unwrap_or(1);
    let said = ("CompletionsReached", "enough pods succeeded");
    let conditions = ["SuccessCriteriaMet", "Complete"]
        .map(|type_| condition(object, type_, true, said, now))
        .to_vec();
    let now = seconds(now);
    Some(json!({
        "startTime": now, "completionTime": now, "active": 0, "ready": 0, "failed": 0,
        "succeeded": succeeded, "conditions": conditions,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(spec: &Value, status: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "generation": 3},
            "spec": spec, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_workload_runs_as_asked_and_is_told_once() {
        let spec = json!({"replicas": 4, "template": {}});
        let now = Timestamp::UNIX_EPOCH;
        for kind in [Kind::Deployment, Kind::StatefulSet, Kind::ReplicaSet] {
            let status = settled(kind, &object(&spec, &Value::Null), 2, now).unwrap();
            assert_eq!(
                (&status["readyReplicas"], &status["observedGeneration"]),
                (&json!(4), &json!(3))
            );
            let later = Timestamp::from_second(60).unwrap();
            assert_eq!(settled(kind, &object(&spec, &status), 2, later), None, "{kind:?}");
        }
        let status = settled(Kind::DaemonSet, &object(&spec, &Value::Null), 2, now).unwrap();
        assert_eq!(status["numberReady"], 2);
    }

    #[test]
    fn a_job_ends_unless_it_is_held_back() {
        let now = Timestamp::UNIX_EPOCH;
        let held = object(&json!({"suspend": true}), &Value::Null);
        assert_eq!(settled(Kind::Job, &held, 2, now), None);
        let spec = json!({"completions": 3});
        let status = settled(Kind::Job, &object(&spec, &Value::Null), 2, now).unwrap();
        assert_eq!(status["succeeded"], 3);
        assert_eq!(settled(Kind::Job, &object(&spec, &status), 2, now), None);
    }
}
