//! The built-in controllers that make a member alive, each a pure function from what is known to
//! what should be written. They know objects and time, no clients.

pub mod daemonset;
pub mod deployment;
pub mod endpoints;
pub mod job;
pub mod replicaset;
pub mod scheduler;
pub mod statefulset;

use std::sync::Arc;

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use crate::objects::{self, Kind};

/// The reference that makes `owner` the controller of an object.
pub(crate) fn owner_reference(kind: Kind, owner: &DynamicObject) -> Value {
    let resource = kind.resource();
    json!([{
        "apiVersion": resource.api_version, "kind": resource.kind,
        "name": owner.metadata.name, "uid": owner.metadata.uid,
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// A pod made from the template of `owner`.
pub(crate) fn pod_from_template(kind: Kind, owner: &DynamicObject, name: &PodName<'_>) -> Value {
    let template = &owner.data["spec"]["template"];
    let mut metadata = template["metadata"].as_object().cloned().unwrap_or_default();
    metadata.remove("creationTimestamp");
    match name {
        PodName::Generate(prefix) => metadata.insert("generateName".to_owned(), json!(prefix)),
        PodName::Exactly(name) => metadata.insert("name".to_owned(), json!(name)),
    };
    metadata.insert("ownerReferences".to_owned(), owner_reference(kind, owner));
    json!({ "metadata": metadata, "spec": template["spec"] })
}

/// How a pod gets its name.
pub(crate) enum PodName<'a> {
    /// The server adds five characters.
    Generate(&'a str),
    /// This one.
    Exactly(&'a str),
}

/// Whether a pod neither ended nor is being deleted.
pub(crate) fn active(pod: &DynamicObject) -> bool {
    !objects::terminating(pod)
        && !matches!(objects::text(pod, "/status/phase"), Some("Succeeded" | "Failed"))
}

/// Whether a pod is ready to serve.
pub(crate) fn ready(pod: &DynamicObject) -> bool {
    objects::condition_true(pod, "Ready")
}

/// Pods to delete first: not ready ones, then the newest, then by name.
pub(crate) fn by_deletion_cost<'a>(pods: &[&'a Arc<DynamicObject>]) -> Vec<&'a Arc<DynamicObject>> {
    let mut pods = pods.to_vec();
    pods.sort_by_key(|pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (ready(pod), std::cmp::Reverse(created), pod.metadata.name.clone())
    });
    pods
}

/// A condition that keeps its time while its status stays.
pub(crate) fn condition(
    object: &DynamicObject,
    kind: &str,
    status: bool,
    (reason, message): (&str, &str),
    now: Timestamp,
) -> Value {
    let status = if status { "True" } else { "False" };
    let old = object.data.pointer("/status/conditions").and_then(Value::as_array);
    let old = old.into_iter().flatten().find(|condition| condition["type"] == kind);
    let kept = |field: &str| old.and_then(|old| old[field].as_str()).map(str::to_owned);
    let same = kept("status").as_deref() == Some(status);
    let now = seconds(now);
    let transition = kept("lastTransitionTime").filter(|_| same).unwrap_or_else(|| now.clone());
    let said = same && kept("reason").as_deref() == Some(reason);
    let update = kept("lastUpdateTime").filter(|_| said).unwrap_or(now);
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": transition, "lastUpdateTime": update,
    })
}

/// A time as the API writes it.
pub(crate) fn seconds(time: Timestamp) -> String {
    let whole = Timestamp::from_second(time.as_second()).unwrap_or(time);
    whole.to_string()
}

/// Whether every label of `selector` stands on an object.
pub(crate) fn selects(selector: Option<&Map<String, Value>>, object: &DynamicObject) -> bool {
    let Some(selector) = selector.filter(|selector| !selector.is_empty()) else {
        return false;
    };
    let labels = object.metadata.labels.as_ref();
    selector.iter().all(|(key, value)| {
        labels.and_then(|labels| labels.get(key)).map(String::as_str) == value.as_str()
    })
}

/// A stable short name for a value: FNV-1a in the alphabet of generated names.
pub(crate) fn short_hash(value: &Value) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in value.to_string().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let base = ALPHABET.len() as u64;
    (0..10)
        .map(|_| {
            let at = usize::try_from(hash % base).expect("an index below 27 fits");
            hash /= base;
            char::from(ALPHABET[at])
        })
        .collect()
}

/// Whether a status patch would change nothing: every field it names is already so.
pub(crate) fn already(current: &Value, wanted: &Value) -> bool {
    match (current, wanted) {
        (Value::Object(current), Value::Object(wanted)) => {
            wanted.iter().all(|(field, wanted)| match (current.get(field), wanted) {
                (None, Value::Null) => true,
                (None, _) => false,
                (Some(current), wanted) => already(current, wanted),
            })
        }
        _ => current == wanted,
    }
}
