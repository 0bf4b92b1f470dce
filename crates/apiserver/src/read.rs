//! Reading: one object, or a list with selectors and pages.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    body::Body,
    failure::Failure,
    request::{Call, JSON, Reply},
    selector::Selector,
    store::Entry,
};

pub(crate) fn get(call: &Call) -> Result<Reply, Failure> {
    let object = call.current()?;
    Ok(call.show(StatusCode::OK, &object.json(), object.revision))
}

pub(crate) fn list(call: &Call) -> Result<Reply, Failure> {
    let query = &call.query;
    if query.get("sendInitialEvents").is_some() {
        return Err(Failure::unprocessable(
            "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list",
        ));
    }
    let selector =
        Selector::parse(&call.shown, query.get("labelSelector"), query.get("fieldSelector"))?;
    let limit: usize = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(0);
    let (revision, start, entries) = entries(call)?;
    let first = entries.partition_point(|(key, _)| Some(&**key) < start.as_deref());
    let mut items: Vec<Bytes> = Vec::new();
    let mut next: Option<Arc<str>> = None;
    let mut seen = first;
    for (key, object) in entries.iter().skip(first) {
        if limit > 0 && items.len() == limit {
            next = Some(Arc::clone(key));
            break;
        }
        seen += 1;
        if selector.matches(key, object) {
            items.push(object.json());
        }
    }
    let mut meta = json!({ "resourceVersion": revision.to_string() });
    if let Some(next) = next {
        meta["continue"] = token(revision, &next).into();
        if selector.is_empty() {
            meta["remainingItemCount"] = (entries.len() - seen).into();
        }
    }
    let body = call.view.list(call, &meta, &items);
    let mut reply = Reply::new(StatusCode::OK, JSON, Body::whole(body));
    reply.revision = revision;
    Ok(reply)
}

/// The prefix of the keys that a call for many objects addresses.
pub(crate) fn prefix(call: &Call) -> String {
    match &call.place.namespace {
        Some(namespace) => format!("{namespace}/"),
        None => String::new(),
    }
}

/// The revision, the key to begin with, and all objects of the place at that revision.
fn entries(call: &Call) -> Result<(u64, Option<String>, Vec<Entry>), Failure> {
    let (store, query) = (&call.server.store, &call.query);
    let storage = &call.kind.storage;
    let prefix = prefix(call);
    let asked = revision(query.get("resourceVersion"))?;
    let exact = query.get("resourceVersionMatch");
    if let Some(token) = query.get("continue") {
        if exact.is_some() {
            return Err(Failure::unprocessable(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        let (revision, start) = open(token)?;
        let entries = store
            .snapshot_at(storage, &prefix, revision)
            .map_err(|_| Failure::expired("The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter."))?;
        return Ok((revision, Some(start), entries));
    }
    match (exact, asked) {
        (Some(_), None) => {
            return Err(Failure::unprocessable(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        (Some("Exact"), Some(0)) => {
            return Err(Failure::unprocessable(
                "resourceVersionMatch: Forbidden: resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
        (Some("Exact"), Some(revision)) => {
            not_future(revision, store.revision())?;
            let entries = store
                .snapshot_at(storage, &prefix, revision)
                .map_err(|_| Failure::expired(too_old(revision, store.revision())))?;
            return Ok((revision, None, entries));
        }
        (Some("NotOlderThan") | None, _) => {}
        (Some(other), _) => {
            return Err(Failure::unprocessable(format!(
                "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
            )));
        }
    }
    let (revision, entries) = store.snapshot(storage, &prefix);
    not_future(asked.unwrap_or(0), revision)?;
    Ok((revision, None, entries))
}

/// A `resourceVersion` parameter.
pub(crate) fn revision(text: Option<&str>) -> Result<Option<u64>, Failure> {
    text.map(|text| {
        text.parse().map_err(|_| {
            Failure::bad_request(format!("invalid resource version {text:?}: must be a number"))
        })
    })
    .transpose()
}

pub(crate) fn not_future(asked: u64, current: u64) -> Result<(), Failure> {
    if asked > current {
        return Err(Failure::future_revision(asked, current));
    }
    Ok(())
}

pub(crate) fn too_old(asked: u64, oldest: u64) -> String {
    format!("too old resource version: {asked} ({oldest})")
}

fn token(revision: u64, start: &str) -> String {
    let token = json!({ "v": "meta.k8s.io/v1", "rv": revision, "start": start });
    BASE64_URL_SAFE_NO_PAD.encode(token.to_string())
}

fn open(token: &str) -> Result<(u64, String), Failure> {
    let bad = || Failure::bad_request("continue key is not valid");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    let revision = value["rv"].as_u64().ok_or_else(bad)?;
    let start = value["start"].as_str().ok_or_else(bad)?;
    Ok((revision, start.to_owned()))
}
