//! The scale subresource: one form for all kinds that have replicas.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    catalog::ScalePaths,
    decode,
    failure::{Cause, Failure},
    meta, patch,
    request::{Call, Reply},
    write::{self, Update},
};

pub(crate) fn handle(call: &Call, method: &str, body: &Bytes) -> Result<Reply, Failure> {
    let Some(paths) = &call.kind.scale else {
        return Err(Failure::no_resource());
    };
    let (json, revision) = match method {
        "GET" | "HEAD" => {
            let object = call.current()?;
            (object.json(), object.revision)
        }
        "PUT" => {
            let scale = decode::value(call, body)?;
            set(call, paths, |_| Ok(scale.clone()))?
        }
        "PATCH" => {
            let change = decode::yaml(body)?;
            let json_patch = call.content_type.starts_with("application/json-patch+json");
            set(call, paths, |current| {
                let mut scale = current.clone();
                if json_patch {
                    let operations: json_patch::Patch = serde_json::from_value(change.clone())
                        .map_err(|error| Failure::bad_request(error.to_string()))?;
                    json_patch::patch(&mut scale, &operations)
                        .map_err(|error| Failure::unprocessable(error.to_string()))?;
                } else {
                    patch::merge(&mut scale, &change);
                }
                Ok(scale)
            })?
        }
        _ => return Err(Failure::method_not_allowed()),
    };
    let object: Value = serde_json::from_slice(&json).unwrap_or_default();
    let scale = show(paths, &object).to_string().into();
    let mut plain = call.clone();
    plain.shown = std::sync::Arc::clone(&plain.kind);
    Ok(plain.show(StatusCode::OK, &scale, revision))
}

fn set(
    call: &Call,
    paths: &ScalePaths,
    compute: impl Fn(&Value) -> Result<Value, Failure>,
) -> Result<(Bytes, u64), Failure> {
    let (written, _) = write::retry(call, true, |old| {
        let scale = compute(&show(paths, &old.value))?;
        let replicas = &scale["spec"]["replicas"];
        let count = if replicas.is_null() { Some(0) } else { replicas.as_i64() };
        let Some(count) = count.filter(|count| *count >= 0) else {
            let detail = "must be greater than or equal to 0";
            let cause = Cause::invalid("spec.replicas", replicas, detail);
            let mut subject = call.kind_subject(call.name());
            subject.resource = "Scale";
            return Err(Failure::invalid(subject, &[cause]));
        };
        let mut object = old.value.clone();
        let given = meta::text(&scale, "resourceVersion");
        if !given.is_empty() {
            meta::meta_mut(&mut object).insert("resourceVersion".to_owned(), given.into());
        }
        put(&mut object, &paths.0, count.into());
        Ok(Update { object, managers: None })
    })?;
    Ok((written.json, written.revision))
}

fn show(paths: &ScalePaths, object: &Value) -> Value {
    let meta = &object["metadata"];
    let mut kept = serde_json::Map::new();
    for name in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = meta.get(name) {
            kept.insert(name.to_owned(), value.clone());
        }
    }
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": kept,
        "spec": { "replicas": at(object, &paths.0).as_i64().unwrap_or(0) },
        "status": { "replicas": at(object, &paths.1).as_i64().unwrap_or(0) },
    });
    match at(object, &paths.2) {
        Value::String(text) => scale["status"]["selector"] = text.as_str().into(),
        selector @ Value::Object(_) => {
            scale["status"]["selector"] = selector_text(selector).into();
        }
        _ => {}
    }
    scale
}

/// A label selector as query parameters write it.
pub(crate) fn selector_text(selector: &Value) -> String {
    let plain = selector.get("matchLabels").is_none() && selector.get("matchExpressions").is_none();
    let labels = if plain { selector } else { &selector["matchLabels"] };
    let labels = labels.as_object().into_iter().flatten();
    let mut parts: Vec<String> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let expressions = selector["matchExpressions"].as_array();
    for one in expressions.into_iter().flatten() {
        let key = one["key"].as_str().unwrap_or_default();
        let values = one["values"].as_array().into_iter().flatten();
        let values: Vec<&str> = values.filter_map(Value::as_str).collect();
        parts.push(match one["operator"].as_str() {
            Some("In") => format!("{key} in ({})", values.join(",")),
            Some("NotIn") => format!("{key} notin ({})", values.join(",")),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}

fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').filter(|name| !name.is_empty())
}

fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    if path.is_empty() {
        return &Value::Null;
    }
    names(path).fold(object, |value, name| &value[name])
}

fn put(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for name in names(path) {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[name];
    }
    *place = value;
}
