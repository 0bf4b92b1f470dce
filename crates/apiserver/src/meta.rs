//! `metadata` of objects: reading it, and what a server sets or keeps there.

use serde_json::{Map, Value};

/// The metadata of an object; an empty map takes the place of anything else.
pub(crate) fn meta_mut(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let meta = &mut object["metadata"];
    if !meta.is_object() {
        *meta = Value::Object(Map::new());
    }
    meta.as_object_mut().expect("made an object just now")
}

/// A text of the metadata; empty when absent.
pub(crate) fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object["metadata"][name].as_str().unwrap_or_default()
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    let list = object["metadata"]["finalizers"].as_array();
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

pub(crate) fn set_finalizers(object: &mut Value, finalizers: &[&str]) {
    let meta = meta_mut(object);
    if finalizers.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert("finalizers".to_owned(), finalizers.into());
    }
}

/// Whether nothing holds a deleted object back any more.
pub(crate) fn may_vanish(object: &Value) -> bool {
    let waits_for_node = object["metadata"]["deletionGracePeriodSeconds"]
        .as_i64()
        .is_some_and(|seconds| seconds > 0);
    let namespace_content = object["kind"] == "Namespace"
        && object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    is_deleting(object) && !waits_for_node && !namespace_content && finalizers(object).is_empty()
}

/// Raises the generation when the desired state differs.
pub(crate) fn count_generation(old: &Value, new: &mut Value, on_annotations: bool) {
    let is_desired = |name: &str| !matches!(name, "metadata" | "status");
    let differ = |some: &Value, other: &Value| {
        let mut fields = some.as_object().into_iter().flatten();
        fields.any(|(name, value)| is_desired(name) && other.get(name) != Some(value))
    };
    // A null is not the same as nothing: both sides are asked.
    let annotated = old["metadata"]["annotations"] != new["metadata"]["annotations"];
    let changed = differ(old, new) || differ(new, old) || (on_annotations && annotated);
    if changed {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        meta_mut(new).insert("generation".to_owned(), generation.into());
    }
}

/// Carries over what a writer cannot change.
pub(crate) fn keep(old: &Value, new: &mut Value) {
    let old = &old["metadata"];
    let meta = meta_mut(new);
    for name in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "namespace",
        "resourceVersion",
        "generateName",
    ] {
        match old.get(name) {
            Some(value) if meta.get(name) == Some(value) => None,
            Some(value) => meta.insert(name.to_owned(), value.clone()),
            None => meta.remove(name),
        };
    }
    meta.remove("selfLink");
}

/// `namespace/name`, the place of an object in its resource.
pub(crate) fn key(namespace: Option<&str>, name: &str) -> String {
    format!("{}/{name}", namespace.unwrap_or_default())
}
