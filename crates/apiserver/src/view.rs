//! The forms in which objects are answered: as they are, as a table, or their metadata only.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    events,
    failure::Failure,
    request::{Call, JSON},
    table,
};

/// The form of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum View {
    Plain,
    Metadata,
    Table { version: &'static str, include: Include },
}

/// What a table's rows carry beside their cells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

impl View {
    /// The first form of the `Accept` header that we have.
    pub(crate) fn negotiate(accept: &str, include: Option<&str>) -> Result<Self, Failure> {
        if accept.trim().is_empty() {
            return Ok(Self::Plain);
        }
        for wish in accept.split(',') {
            let mut parts = wish.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            if !matches!(media, JSON | "*/*" | "application/*") {
                continue;
            }
            let parts: Vec<&str> = parts.collect();
            let param = |name: &str| {
                let found = parts.iter().find_map(|part| part.strip_prefix(name));
                found.and_then(|rest| rest.strip_prefix('='))
            };
            match (param("as"), param("v")) {
                (None, _) => return Ok(Self::Plain),
                (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), _) => {
                    return Ok(Self::Metadata);
                }
                (Some("Table"), version) => {
                    let include = match include {
                        Some("None") => Include::None,
                        Some("Object") => Include::Object,
                        _ => Include::Metadata,
                    };
                    let version = match version {
                        Some("v1beta1") => "meta.k8s.io/v1beta1",
                        _ => "meta.k8s.io/v1",
                    };
                    return Ok(Self::Table { version, include });
                }
                _ => {}
            }
        }
        Err(Failure::not_acceptable())
    }

    /// One object.
    pub(crate) fn object(self, call: &Call, json: &Bytes) -> Bytes {
        match self {
            Self::Plain => match served(call, json) {
                None => json.clone(),
                Some(value) => value.to_string().into(),
            },
            Self::Metadata => partial(&value(call, json)).to_string().into(),
            Self::Table { version, include } => {
                let value = value(call, json);
                let revision = value["metadata"]["resourceVersion"].clone();
                let meta = json!({ "resourceVersion": revision });
                table::table(call, version, include, &meta, &[value]).to_string().into()
            }
        }
    }

    /// A list with this metadata.
    pub(crate) fn list(self, call: &Call, meta: &Value, items: &[Bytes]) -> Bytes {
        match self {
            Self::Plain => {
                let size: usize = items.iter().map(|item| item.len() + 1).sum();
                let mut text = Vec::with_capacity(size + 256);
                let kind = &call.shown;
                let head = format!(
                    r#"{{"kind":"{}","apiVersion":"{}","metadata":{meta},"items":["#,
                    kind.list_kind(),
                    kind.api_version()
                );
                text.extend_from_slice(head.as_bytes());
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        text.push(b',');
                    }
                    let item = self.object(call, item);
                    if call.kind.custom.is_some() {
                        text.extend_from_slice(&item);
                    } else {
                        push_untyped(&mut text, &item);
                    }
                }
                text.extend_from_slice(b"]}");
                text.into()
            }
            Self::Metadata => {
                let items: Vec<Value> =
                    items.iter().map(|item| partial(&value(call, item))).collect();
                json!({
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": meta,
                    "items": items,
                })
                .to_string()
                .into()
            }
            Self::Table { version, include } => {
                let items: Vec<Value> = items.iter().map(|item| value(call, item)).collect();
                table::table(call, version, include, meta, &items).to_string().into()
            }
        }
    }
}

/// Adds an object of a built-in kind as lists have it: only the list says of what kind its items
/// are.
fn push_untyped(text: &mut Vec<u8>, json: &[u8]) {
    if let Some(rest) = leading_type(json) {
        text.push(b'{');
        text.extend_from_slice(rest);
        return;
    }
    let mut value: Value = serde_json::from_slice(json).expect("stored objects are JSON");
    if let Some(fields) = value.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    text.extend_from_slice(value.to_string().as_bytes());
}

/// What follows `apiVersion` and `kind` in an object that begins with both, as most do.
fn leading_type(json: &[u8]) -> Option<&[u8]> {
    let skip = |json: &[u8], field: &str| {
        let rest = json.strip_prefix(field.as_bytes())?;
        // Neither holds anything that would be escaped.
        let end = rest.iter().position(|byte| *byte == b'"')?;
        Some(end + field.len())
    };
    let at = skip(json, r#"{"apiVersion":""#)?;
    let rest = json[at..].strip_prefix(b"\",")?;
    let at = skip(rest, r#""kind":""#)?;
    rest[at..].strip_prefix(b"\",")
}

/// The object in the served form, parsed.
fn value(call: &Call, json: &Bytes) -> Value {
    served(call, json)
        .unwrap_or_else(|| serde_json::from_slice(json).expect("stored objects are JSON"))
}

/// The object in the served form when that is not how it is stored.
fn served(call: &Call, json: &Bytes) -> Option<Value> {
    let alias = call.kind.group != call.shown.group;
    let versions = call.kind.custom.as_ref().is_some_and(|one| one.versions > 1);
    if !alias && !versions {
        return None;
    }
    let mut value: Value = serde_json::from_slice(json).expect("stored objects are JSON");
    if alias {
        events::serve(&mut value);
    } else {
        value["apiVersion"] = call.shown.api_version().into();
    }
    Some(value)
}

/// Kind, version and metadata only.
pub(crate) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

impl View {
    /// A bookmark in this form; it carries a revision and annotations only.
    pub(crate) fn bookmark(self, object: Value) -> Value {
        match self {
            Self::Plain => object,
            Self::Metadata => partial(&object),
            Self::Table { version, .. } => json!({
                "kind": "Table",
                "apiVersion": version,
                "metadata": { "resourceVersion": object["metadata"]["resourceVersion"] },
                "columnDefinitions": [],
                "rows": [{ "cells": [], "object": partial(&object) }],
            }),
        }
    }
}
