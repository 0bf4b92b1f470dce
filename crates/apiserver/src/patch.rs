//! The four kinds of patches.

mod strategic;

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use crate::{
    conform, decode, events,
    failure::Failure,
    meta,
    ownership::{
        fields::FieldSet,
        managers::{self, Managers, Rules},
    },
    request::{Call, Reply},
    store::tree::Tree,
    write::{self, Update},
};

/// The most operations a JSON patch may have, as in kube-apiserver.
const MAX_OPERATIONS: usize = 10_000;

/// The manager of `kubectl apply --server-side`.
const KUBECTL: &str = "kubectl";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
}

pub(crate) fn patch(call: &Call, body: &Bytes) -> Result<Reply, Failure> {
    let media = call.content_type.split(';').next().unwrap_or_default();
    if media == "application/apply-patch+yaml" {
        return apply(call, body);
    }
    if call.query.get("force").is_some() {
        return Err(Failure::unprocessable(
            "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
        ));
    }
    let patch = Patch::parse(call, media, body)?;
    let warnings = std::cell::RefCell::new(Vec::new());
    let (written, more) = write::retry(call, !patch.names_revision(), |old| {
        // Only a patch that speaks of managers needs to see them.
        let mut object = if patch.names_managers() { old.whole() } else { old.value.clone() };
        let alias = call.kind.group != call.shown.group;
        if alias {
            events::serve(&mut object);
        }
        patch.run(call, &mut object)?;
        *warnings.borrow_mut() = decode::fit(call, &mut object)?;
        if alias {
            events::store(&mut object);
        }
        Ok(Update { object, managers: None })
    })?;
    let mut reply = call.show(StatusCode::OK, &written.json, written.revision);
    reply.warnings = warnings.into_inner();
    reply.warnings.extend(more);
    Ok(reply)
}

/// RFC 7396.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

fn apply(call: &Call, body: &Bytes) -> Result<Reply, Failure> {
    if call.query.get("fieldManager").is_none() {
        return Err(Failure::unprocessable(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
    let mut patch = decode::yaml(body)?;
    decode::type_meta(call, &mut patch)?;
    let warnings = decode::fit(call, &mut patch)?;
    let alias = call.kind.group != call.shown.group;
    if alias {
        events::store(&mut patch);
    }
    let given = meta::text(&patch, "name").to_owned();
    if !given.is_empty() && given != call.name() {
        return Err(Failure::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            call.name()
        )));
    }
    if patch["metadata"].get("managedFields").is_some() {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    meta::meta_mut(&mut patch).insert("name".to_owned(), call.name().into());
    restrict(call, &mut patch);
    let current = call.current();
    if let Err(missing) = current {
        if !call.subresource().is_empty() {
            return Err(missing);
        }
        // Kubernetes compares versions with what stands, and nothing stands.
        meta::meta_mut(&mut patch).remove("resourceVersion");
        let (written, more) = create(call, patch)?;
        let mut reply = call.show(StatusCode::CREATED, &written.json, written.revision);
        reply.warnings = warnings;
        reply.warnings.extend(more);
        return Ok(reply);
    }
    let again = meta::text(&patch, "resourceVersion").is_empty();
    let (written, more) = write::retry(call, again, |old| {
        let (object, managers) = applied(call, Some(old), Cow::Borrowed(&patch))?;
        Ok(Update { object, managers: Some(managers) })
    })?;
    let mut reply = call.show(StatusCode::OK, &written.json, written.revision);
    reply.warnings = warnings;
    reply.warnings.extend(more);
    Ok(reply)
}

/// Takes out of a patch what its endpoint does not write: that is not even looked at.
fn restrict(call: &Call, patch: &mut Value) {
    let Some(map) = patch.as_object_mut() else {
        return;
    };
    match call.subresource() {
        "status" => map.retain(|name, _| {
            matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status")
        }),
        "" if call.kind.status => {
            map.remove("status");
        }
        _ => {}
    }
}

fn create(call: &Call, patch: Value) -> Result<(write::Written, Vec<String>), Failure> {
    let uid = meta::text(&patch, "uid");
    if !uid.is_empty() {
        let why = format!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        );
        return Err(Failure::conflict(call.subject(call.name()), &why));
    }
    let (object, managers) = applied(call, None, Cow::Owned(patch))?;
    write::create_checked(call, object, Some(managers))
}

fn applied(
    call: &Call,
    live: Option<&Tree>,
    patch: Cow<'_, Value>,
) -> Result<(Value, Managers), Failure> {
    let (manager, now) = (call.manager(), call.server.now());
    let writer = write::writer(call, &manager, &now);
    let status: &[&str] = &["f:status"];
    let status = [status];
    let (reset, only): (&[&[&str]], &[&[&str]]) = match call.subresource() {
        "status" => (&[], &status),
        "" if call.kind.status => (&status, &[]),
        _ => (&[], &[]),
    };
    let schema = call.kind.schema();
    // Who applied with kubectl on the client's side before goes on with what that owned.
    let migrates = manager == KUBECTL && call.subresource().is_empty();
    let before = live.filter(|_| migrates).and_then(|live| last_applied(&live.value));
    let tolerated = match (live, &before) {
        (Some(live), Some(before)) => managers::unchanged_since(schema, before, &live.value),
        _ => FieldSet::default(),
    };
    let rules = Rules { force: call.query.is_true("force"), reset, only, tolerated: &tolerated };
    let text = before.is_some().then(|| format!("{patch}\n"));
    let live = live.map(|live| (&live.value, &live.managers));
    let (mut object, managers) = managers::apply(schema, live, patch, writer, rules)?;
    if let Some(text) = text {
        object["metadata"]["annotations"][LAST_APPLIED] = text.into();
    }
    conform::conform(schema, &mut object);
    Ok((object, managers))
}

/// What `kubectl apply` wrote down about its last run.
fn last_applied(live: &Value) -> Option<Value> {
    let text = live["metadata"]["annotations"][LAST_APPLIED].as_str()?;
    serde_json::from_str(text).ok()
}

impl Patch {
    fn parse(call: &Call, media: &str, body: &Bytes) -> Result<Self, Failure> {
        let value = || decode::json(body);
        match media {
            "application/json-patch+json" => {
                let patch: json_patch::Patch =
                    serde_json::from_value(value()?).map_err(|error| {
                        Failure::bad_request(format!("invalid JSON patch: {error}"))
                    })?;
                if patch.0.len() > MAX_OPERATIONS {
                    let text = format!(
                        "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                        patch.0.len()
                    );
                    return Err(Failure::too_large(MAX_OPERATIONS).with_message(text));
                }
                Ok(Self::Json(patch))
            }
            "application/merge-patch+json" => Ok(Self::Merge(object(value()?)?)),
            "application/strategic-merge-patch+json" if call.kind.custom.is_none() => {
                Ok(Self::Strategic(object(value()?)?))
            }
            _ => Err(Failure::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml{}",
                if call.kind.custom.is_none() {
                    ", application/strategic-merge-patch+json"
                } else {
                    ""
                }
            ))),
        }
    }

    /// The patch itself says on which revision it is based.
    fn names_revision(&self) -> bool {
        match self {
            Self::Json(_) => false,
            Self::Merge(value) | Self::Strategic(value) => {
                !meta::text(value, "resourceVersion").is_empty()
            }
        }
    }

    /// The patch may read or change the field managers.
    fn names_managers(&self) -> bool {
        match self {
            Self::Json(_) => true,
            Self::Merge(value) | Self::Strategic(value) => {
                value["metadata"].get("managedFields").is_some()
            }
        }
    }

    fn run(&self, call: &Call, object: &mut Value) -> Result<(), Failure> {
        match self {
            Self::Json(patch) => json_patch::patch(object, patch).map_err(|error| {
                Failure::unprocessable(format!(
                    "the server rejected our request due to an error in our request: {error}"
                ))
            }),
            Self::Merge(patch) => {
                merge(object, patch);
                Ok(())
            }
            Self::Strategic(patch) => {
                strategic::merge(call.shown.schema(), object, patch).map_err(Failure::bad_request)
            }
        }
    }
}

fn object(value: Value) -> Result<Value, Failure> {
    if value.is_object() {
        return Ok(value);
    }
    Err(Failure::bad_request("the patch must be an object"))
}
