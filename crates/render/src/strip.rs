//! What a member never gets: fields that the hub's API server or built-in controllers filled in.

use serde_json::{Map, Value};

use crate::Kind;

/// Annotations that built-in controllers and kubectl write for themselves, by prefix.
const STRIPPED_ANNOTATIONS: [&str; 4] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/",
    "pv.kubernetes.io/",
    "volume.kubernetes.io/selected-node",
];

/// Labels that the Job controller generates.
const JOB_LABELS: [&str; 4] = [
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
    "job-name",
    "batch.kubernetes.io/job-name",
];

/// A template without what must not travel. Give it the object with its managed fields: they tell
/// what the user set from what the API server filled in.
pub fn strip(template: &Value) -> Value {
    let owned = Owned::read(template);
    let mut object = template.clone();
    let Some(fields) = object.as_object_mut() else {
        return object;
    };
    fields.remove("status");
    strip_metadata(fields);
    match Kind::of_object(template) {
        Kind::Service => strip_service(fields, &owned),
        Kind::Job => strip_job(fields),
        Kind::PersistentVolumeClaim => {
            remove(fields, "spec", "volumeName");
        }
        Kind::ServiceAccount => {
            fields.remove("secrets");
        }
        _ => {}
    }
    drop_nulls(&mut object);
    object
}

fn strip_metadata(fields: &mut Map<String, Value>) {
    let Some(Value::Object(metadata)) = fields.get_mut("metadata") else {
        return;
    };
    metadata
        .retain(|key, _| matches!(key.as_str(), "name" | "namespace" | "labels" | "annotations"));
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.retain(|key, _| {
            !STRIPPED_ANNOTATIONS
                .iter()
                .any(|prefix| key == prefix || (prefix.ends_with('/') && key.starts_with(prefix)))
        });
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
}

fn strip_service(fields: &mut Map<String, Value>, owned: &Owned<'_>) {
    let Some(Value::Object(spec)) = fields.get_mut("spec") else {
        return;
    };
    let headless = spec.get("clusterIP").and_then(Value::as_str) == Some("None");
    if !headless {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    for (field, key) in [
        ("healthCheckNodePort", "f:healthCheckNodePort"),
        ("ipFamilies", "f:ipFamilies"),
        ("ipFamilyPolicy", "f:ipFamilyPolicy"),
    ] {
        if !owned.spec_field(key) {
            spec.remove(field);
        }
    }
    let Some(Value::Array(ports)) = spec.get_mut("ports") else {
        return;
    };
    for port in ports.iter_mut().filter_map(Value::as_object_mut) {
        if !owned.port_field(port, "f:nodePort") {
            port.remove("nodePort");
        }
    }
}

fn strip_job(fields: &mut Map<String, Value>) {
    let Some(Value::Object(spec)) = fields.get_mut("spec") else {
        return;
    };
    spec.remove("ttlSecondsAfterFinished");
    if spec.get("manualSelector").and_then(Value::as_bool) != Some(true) {
        spec.remove("selector");
        let labels = spec
            .get_mut("template")
            .and_then(|template| template.pointer_mut("/metadata/labels"))
            .and_then(Value::as_object_mut);
        if let Some(labels) = labels {
            labels.retain(|key, _| !JOB_LABELS.contains(&key.as_str()));
        }
    }
    let labels = fields
        .get_mut("metadata")
        .and_then(|metadata| metadata.get_mut("labels"))
        .and_then(Value::as_object_mut);
    if let Some(labels) = labels {
        labels.retain(|key, _| !JOB_LABELS.contains(&key.as_str()));
    }
}

fn remove(fields: &mut Map<String, Value>, parent: &str, field: &str) {
    if let Some(Value::Object(parent)) = fields.get_mut(parent) {
        parent.remove(field);
    }
}

/// A null says nothing, and server-side apply would take it for a value.
pub(crate) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// The fields that some client has set, by `metadata.managedFields`.
#[derive(Debug)]
struct Owned<'a>(Vec<&'a Value>);

impl<'a> Owned<'a> {
    fn read(object: &'a Value) -> Self {
        let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
        Self(entries.into_iter().flatten().map(|entry| &entry["fieldsV1"]["f:spec"]).collect())
    }

    fn spec_field(&self, key: &str) -> bool {
        self.0.iter().any(|spec| spec.get(key).is_some())
    }

    fn port_field(&self, port: &Map<String, Value>, key: &str) -> bool {
        let number = port.get("port");
        self.0.iter().filter_map(|spec| spec["f:ports"].as_object()).any(|ports| {
            ports.iter().any(|(entry, fields)| {
                let names = entry
                    .strip_prefix("k:")
                    .and_then(|json| serde_json::from_str::<Map<String, Value>>(json).ok());
                fields.get(key).is_some() && names.is_some_and(|names| names.get("port") == number)
            })
        })
    }
}

#[cfg(test)]
mod tests;
