//! What a member's controllers know of its API: the objects they watch, by kind and key, with an
//! index by owner. An object is replaced only by a newer one, so that the answer to an own write
//! and the watch event for it may come in any order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::api::{ApiResource, DynamicObject};
use serde_json::Value;

/// The kinds that the controllers of a member work on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Core nodes.
    Node,
    /// Core pods.
    Pod,
    /// Core services.
    Service,
    /// apps/v1 Deployments.
    Deployment,
    /// apps/v1 ReplicaSets.
    ReplicaSet,
    /// apps/v1 StatefulSets.
    StatefulSet,
    /// apps/v1 DaemonSets.
    DaemonSet,
    /// batch/v1 Jobs.
    Job,
    /// discovery.k8s.io/v1 EndpointSlices.
    EndpointSlice,
}

/// Namespace (empty for cluster-scoped kinds) and name.
pub type Key = (String, String);

/// Objects by kind and key.
#[derive(Debug, Default)]
pub struct Objects {
    kinds: BTreeMap<Kind, BTreeMap<Key, Arc<DynamicObject>>>,
    owned: BTreeMap<String, BTreeSet<(Kind, Key)>>,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Node,
        Self::Pod,
        Self::Service,
        Self::Deployment,
        Self::ReplicaSet,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::Job,
        Self::EndpointSlice,
    ];

    /// How the API names the kind.
    pub fn resource(self) -> ApiResource {
        let (group, kind, plural) = match self {
            Self::Node => ("", "Node", "nodes"),
            Self::Pod => ("", "Pod", "pods"),
            Self::Service => ("", "Service", "services"),
            Self::Deployment => ("apps", "Deployment", "deployments"),
            Self::ReplicaSet => ("apps", "ReplicaSet", "replicasets"),
            Self::StatefulSet => ("apps", "StatefulSet", "statefulsets"),
            Self::DaemonSet => ("apps", "DaemonSet", "daemonsets"),
            Self::Job => ("batch", "Job", "jobs"),
            Self::EndpointSlice => ("discovery.k8s.io", "EndpointSlice", "endpointslices"),
        };
        let gvk = kube::api::GroupVersionKind::gvk(group, "v1", kind);
        ApiResource::from_gvk_with_plural(&gvk, plural)
    }

    /// Whether objects of the kind live in a namespace.
    pub fn namespaced(self) -> bool {
        self != Self::Node
    }
}

/// The key of an object.
pub fn key_of(object: &DynamicObject) -> Key {
    let metadata = &object.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

impl Objects {
    /// Takes an object unless a newer state of it is known; says whether anything changed.
    pub fn apply(&mut self, kind: Kind, object: DynamicObject) -> bool {
        let key = key_of(&object);
        let known = self.kinds.entry(kind).or_default();
        if known.get(&key).is_some_and(|known| revision(known) >= revision(&object)) {
            return false;
        }
        if let Some(owner) = controller_of(&object) {
            self.owned.entry(owner.to_owned()).or_default().insert((kind, key.clone()));
        }
        known.insert(key, Arc::new(object));
        true
    }

    /// Takes an object out, unless another one of its name has taken its place.
    pub fn delete(
        &mut self,
        kind: Kind,
        key: &Key,
        uid: Option<&str>,
    ) -> Option<Arc<DynamicObject>> {
        let known = self.kinds.get_mut(&kind)?;
        let object = known.get(key)?;
        if uid.is_some() && object.metadata.uid.as_deref() != uid {
            return None;
        }
        let object = known.remove(key)?;
        if let Some(owner) = controller_of(&object)
            && let Some(owned) = self.owned.get_mut(owner)
        {
            owned.remove(&(kind, key.clone()));
            if owned.is_empty() {
                self.owned.remove(owner);
            }
        }
        Some(object)
    }

    /// One object.
    pub fn get(&self, kind: Kind, key: &Key) -> Option<&Arc<DynamicObject>> {
        self.kinds.get(&kind)?.get(key)
    }

    /// All objects of a kind in order of their keys.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Arc<DynamicObject>)> {
        self.kinds.get(&kind).into_iter().flatten()
    }

    /// Objects of a kind that the controller with this uid owns, in order of their keys.
    pub fn owned_by(&self, uid: &str, kind: Kind) -> Vec<&Arc<DynamicObject>> {
        let owned = self.owned.get(uid).into_iter().flatten();
        owned
            .filter(|(owned, _)| *owned == kind)
            .filter_map(|(kind, key)| self.get(*kind, key))
            .collect()
    }
}

/// The uid of the controller that owns an object.
pub fn controller_of(object: &DynamicObject) -> Option<&str> {
    let owners = object.metadata.owner_references.as_deref()?;
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

/// Whether an object is being deleted.
pub fn terminating(object: &DynamicObject) -> bool {
    object.metadata.deletion_timestamp.is_some()
}

/// A whole number in an object, for instance at `/spec/replicas`.
pub fn int(object: &DynamicObject, pointer: &str) -> Option<i64> {
    object.data.pointer(pointer).and_then(Value::as_i64)
}

/// A text in an object.
pub fn text<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a str> {
    object.data.pointer(pointer).and_then(Value::as_str)
}

/// Whether a condition of a type is `True`.
pub fn condition_true(object: &DynamicObject, kind: &str) -> bool {
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn revision(object: &DynamicObject) -> u64 {
    let revision = object.metadata.resource_version.as_deref().unwrap_or_default();
    revision.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(revision: u64, uid: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "web-1", "namespace": "shop", "uid": uid,
                "resourceVersion": revision.to_string(),
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "owner",
                    "controller": true,
                }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let mut objects = Objects::default();
        assert!(objects.apply(Kind::Pod, pod(7, "a")));
        assert!(!objects.apply(Kind::Pod, pod(6, "a")));
        assert!(objects.apply(Kind::Pod, pod(8, "a")));
        assert_eq!(objects.owned_by("owner", Kind::Pod).len(), 1);
    }

    #[test]
    fn a_late_delete_leaves_the_successor_of_the_same_name() {
        let mut objects = Objects::default();
        objects.apply(Kind::Pod, pod(9, "b"));
        let key = ("shop".to_owned(), "web-1".to_owned());
        assert!(objects.delete(Kind::Pod, &key, Some("a")).is_none());
        assert!(objects.delete(Kind::Pod, &key, Some("b")).is_some());
        assert!(objects.owned_by("owner", Kind::Pod).is_empty());
    }
}
