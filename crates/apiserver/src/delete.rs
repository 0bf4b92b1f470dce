//! Deletion: preconditions, propagation to dependents, grace periods and finalizers.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    body::Body,
    decode,
    failure::Failure,
    meta, protobuf, read,
    request::{Call, JSON, Reply},
    selector::Selector,
    store::{Expected, Object, tree::Tree},
    write::after_write,
};

/// What happens to the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// The options of a deletion.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) propagation: Option<Propagation>,
    pub(crate) uid: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) grace: Option<i64>,
    pub(crate) dry_run: bool,
}

/// What a deletion did.
#[derive(Debug)]
enum Outcome {
    /// The object is gone; its last state.
    Removed(Bytes, u64),
    /// The object stays until something lets it go.
    Marked(Bytes, u64),
}

pub(crate) const FOREGROUND: &str = "foregroundDeletion";
pub(crate) const ORPHAN: &str = "orphan";
/// How long a pod that names no time has to end, in seconds.
const DEFAULT_GRACE: i64 = 30;
const TRIES: usize = 10;

pub(crate) fn one(call: &Call, body: &Bytes) -> Result<Reply, Failure> {
    let options = Options::read(call, body)?;
    match delete(call, &options)? {
        Outcome::Removed(json, revision) if call.kind.grace => {
            Ok(call.show(StatusCode::OK, &json, revision))
        }
        Outcome::Removed(json, revision) => {
            let object: Value = serde_json::from_slice(&json).unwrap_or_default();
            let mut details = json!({
                "name": call.name(),
                "kind": call.shown.plural,
                "uid": meta::text(&object, "uid"),
            });
            if !call.shown.group.is_empty() {
                details["group"] = call.shown.group.as_str().into();
            }
            let status = json!({
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Success",
                "details": details,
            });
            let mut reply = Reply::new(StatusCode::OK, JSON, Body::whole(status.to_string()));
            reply.revision = revision;
            Ok(reply)
        }
        Outcome::Marked(json, revision) => Ok(call.show(StatusCode::OK, &json, revision)),
    }
}

/// Deletes all objects of the place that the selectors choose.
pub(crate) fn collection(call: &Call, body: &Bytes) -> Result<Reply, Failure> {
    let options = Options::read(call, body)?;
    let selector = Selector::parse(
        &call.shown,
        call.query.get("labelSelector"),
        call.query.get("fieldSelector"),
    )?;
    let store = &call.server.store;
    let (revision, entries) = store.snapshot(&call.kind.storage, &read::prefix(call));
    let mut last = revision;
    let mut items = Vec::new();
    for (key, object) in entries.iter().filter(|(key, object)| selector.matches(key, object)) {
        match delete(&call.named(key), &options) {
            Ok(Outcome::Removed(_, revision) | Outcome::Marked(_, revision)) => {
                last = last.max(revision);
                items.push(object.json());
            }
            Err(failure) if failure.code == StatusCode::NOT_FOUND => {}
            Err(failure) => return Err(failure),
        }
    }
    let meta = json!({ "resourceVersion": last.to_string() });
    let body = Body::whole(call.view.list(call, &meta, &items));
    let mut reply = Reply::new(StatusCode::OK, JSON, body);
    reply.revision = last;
    Ok(reply)
}

/// Deletes an object in the server's own name; one that is gone already is no failure.
pub(crate) fn own(call: &Call, options: &Options) -> Result<(), Failure> {
    match delete(call, options) {
        Ok(_) => Ok(()),
        Err(failure) if failure.code == StatusCode::NOT_FOUND => Ok(()),
        Err(failure) => Err(failure),
    }
}

fn delete(call: &Call, options: &Options) -> Result<Outcome, Failure> {
    for _ in 0..TRIES {
        let current = call.current()?;
        if let Some(outcome) = attempt(call, options, &current)? {
            return Ok(outcome);
        }
    }
    Err(Failure::modified(call.subject(call.name())))
}

/// One try; `None` when another writer was faster.
fn attempt(call: &Call, options: &Options, current: &Object) -> Result<Option<Outcome>, Failure> {
    let (server, kind) = (&call.server, &call.kind);
    let tree = current.tree();
    let old = &tree.value;
    preconditions(call, options, old)?;
    if kind.plural == "namespaces" && kind.group.is_empty() && is_permanent(call.name()) {
        let why = "this namespace may not be deleted";
        return Err(Failure::forbidden(call.subject(call.name()), why));
    }
    let grace = grace(call, options, old);
    let mut object = old.clone();
    propagate(options.propagation, &mut object);
    let waits = grace > 0 || !meta::finalizers(&object).is_empty() || has_content(&object);
    let first = !meta::is_deleting(&object);
    let meta = meta::meta_mut(&mut object);
    let shorter = meta
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .is_none_or(|before| grace < before);
    if first || shorter {
        meta.insert("deletionTimestamp".to_owned(), server.timestamp(grace).into());
        meta.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    }
    if first && kind.generation {
        let generation = meta.get("generation").and_then(Value::as_i64).unwrap_or(0) + 1;
        meta.insert("generation".to_owned(), generation.into());
    }
    if kind.is("", "Namespace") {
        object["status"]["phase"] = "Terminating".into();
    }
    if options.dry_run || call.dry_run()? {
        let json = tree.json().into();
        return Ok(Some(if waits { Outcome::Marked(json, 0) } else { Outcome::Removed(json, 0) }));
    }
    let expected = Expected::Revision(current.revision);
    let key = call.key();
    if !waits {
        let value = if kind.grace { object } else { old.clone() };
        let last = Tree { value, managers: tree.managers.clone() };
        let removed = server.store.remove(kind, &key, expected, last, call.origin);
        return Ok(removed.ok().map(|removed| {
            after_write(server, call);
            Outcome::Removed(removed.json(), removed.revision)
        }));
    }
    if object == *old {
        return Ok(Some(Outcome::Marked(current.json(), current.revision)));
    }
    let marked = Tree { value: object, managers: tree.managers.clone() };
    let stored = server.store.put(kind, &key, expected, marked, call.origin);
    Ok(stored.ok().map(|stored| {
        after_write(server, call);
        Outcome::Marked(stored.json(), stored.revision)
    }))
}

fn preconditions(call: &Call, options: &Options, object: &Value) -> Result<(), Failure> {
    let pairs = [
        ("UID", &options.uid, meta::text(object, "uid")),
        ("ResourceVersion", &options.revision, meta::text(object, "resourceVersion")),
    ];
    for (what, wanted, found) in pairs {
        if let Some(wanted) = wanted
            && wanted != found
        {
            let why = format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
            );
            return Err(Failure::conflict(call.subject(call.name()), &why));
        }
    }
    Ok(())
}

/// Seconds that a node gets to end the object.
fn grace(call: &Call, options: &Options, object: &Value) -> i64 {
    if !call.kind.grace {
        return 0;
    }
    let phase = object["status"]["phase"].as_str().unwrap_or_default();
    let bound = object["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    if !bound || matches!(phase, "Succeeded" | "Failed") {
        return 0;
    }
    options
        .grace
        .or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_i64())
        .unwrap_or(DEFAULT_GRACE)
        .max(0)
}

fn propagate(propagation: Option<Propagation>, object: &mut Value) {
    let kept: Vec<String> = meta::finalizers(object)
        .into_iter()
        .filter(|one| propagation.is_none() || !matches!(*one, FOREGROUND | ORPHAN))
        .map(str::to_owned)
        .collect();
    let mut kept: Vec<&str> = kept.iter().map(String::as_str).collect();
    match propagation {
        Some(Propagation::Foreground) => kept.push(FOREGROUND),
        Some(Propagation::Orphan) => kept.push(ORPHAN),
        Some(Propagation::Background) | None => {}
    }
    meta::set_finalizers(object, &kept);
}

fn has_content(object: &Value) -> bool {
    object["kind"] == "Namespace"
        && object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty())
}

fn is_permanent(namespace: &str) -> bool {
    matches!(namespace, "default" | "kube-system" | "kube-public")
}

impl Options {
    fn read(call: &Call, body: &Bytes) -> Result<Self, Failure> {
        let value = if call.content_type.contains("protobuf") && !body.is_empty() {
            let definition = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
            protobuf::decode(body, Some(definition)).map_err(|error| {
                Failure::bad_request(format!("the protobuf body cannot be read: {error}"))
            })?
        } else if body.is_empty() {
            Value::Null
        } else {
            decode::yaml(body)?
        };
        let policy =
            value["propagationPolicy"].as_str().or_else(|| call.query.get("propagationPolicy"));
        let propagation = match policy {
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Orphan") => Some(Propagation::Orphan),
            None => match value["orphanDependents"].as_bool() {
                Some(true) => Some(Propagation::Orphan),
                _ => None,
            },
            Some(other) => {
                return Err(Failure::unprocessable(format!(
                    "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\""
                )));
            }
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let grace = call.query.get("gracePeriodSeconds").and_then(|seconds| seconds.parse().ok());
        Ok(Self {
            propagation,
            uid: text(&value["preconditions"]["uid"]),
            revision: text(&value["preconditions"]["resourceVersion"]),
            grace: value["gracePeriodSeconds"].as_i64().or(grace),
            dry_run: value["dryRun"]
                .as_array()
                .is_some_and(|list| list.iter().any(|one| one == "All")),
        })
    }

    pub(crate) fn with(propagation: Propagation, uid: &str) -> Self {
        Self { propagation: Some(propagation), uid: Some(uid.to_owned()), ..Self::default() }
    }
}

impl Call {
    /// The same call for the object with this key.
    pub(crate) fn named(&self, key: &str) -> Self {
        let mut call = self.clone();
        let (namespace, name) = key.split_once('/').unwrap_or(("", key));
        call.place.name = Some(name.to_owned());
        call.place.namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
        call
    }
}
