//! Reading: one object, or a list with selectors and pages.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    body::Body,
    failure::Failure,
    request::{Call, JSON, Reply},
    selector::Selector,
    store::Part,
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
    let begin = Begin::of(call)?;
    let part = Part {
        prefix: &prefix(call),
        start: &begin.start,
        at: begin.revision,
        limit,
        counts: selector.is_empty() && begin.left.is_none(),
        chosen: &|key, object| selector.matches(key, object),
    };
    let page = call.server.store.page(&call.kind.storage, &part);
    let page = page.map_err(|_| begin.expired(call))?;
    not_future(begin.newer_than, page.revision)?;
    let items: Vec<Bytes> = page.entries.iter().map(|(_, object)| object.json()).collect();
    let mut meta = json!({ "resourceVersion": page.revision.to_string() });
    if let Some(next) = page.next {
        let left = begin.left.map_or(page.left, |left| left.saturating_sub(items.len()));
        let left = selector.is_empty().then_some(left);
        meta["continue"] = token(page.revision, &next, left).into();
        if let Some(left) = left {
            meta["remainingItemCount"] = left.into();
        }
    }
    let body = call.view.list(call, &meta, &items);
    let mut reply = Reply::new(StatusCode::OK, JSON, Body::whole(body));
    reply.revision = page.revision;
    Ok(reply)
}

/// The prefix of the keys that a call for many objects addresses.
pub(crate) fn prefix(call: &Call) -> String {
    match &call.place.namespace {
        Some(namespace) => format!("{namespace}/"),
        None => String::new(),
    }
}

/// Where a list begins.
#[derive(Debug, Default)]
struct Begin {
    /// The key.
    start: String,
    /// The revision that is shown; absent: the newest.
    revision: Option<u64>,
    /// The newest must not be older than this.
    newer_than: u64,
    /// How many objects there are from `start` on; absent while they are not counted.
    left: Option<usize>,
    /// Whether it goes on where another one ended.
    continues: bool,
}

impl Begin {
    fn of(call: &Call) -> Result<Self, Failure> {
        let query = &call.query;
        let asked = revision(query.get("resourceVersion"))?;
        let exact = query.get("resourceVersionMatch");
        if let Some(token) = query.get("continue") {
            if exact.is_some() {
                return Err(Failure::unprocessable(
                    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
                ));
            }
            return open(token);
        }
        match (exact, asked) {
            (Some(_), None) => Err(Failure::unprocessable(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            )),
            (Some("Exact"), Some(0)) => Err(Failure::unprocessable(
                "resourceVersionMatch: Forbidden: resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
            )),
            (Some("Exact"), Some(revision)) => {
                not_future(revision, call.server.store.revision())?;
                Ok(Self { revision: Some(revision), ..Self::default() })
            }
            (Some("NotOlderThan") | None, _) => {
                Ok(Self { newer_than: asked.unwrap_or(0), ..Self::default() })
            }
            (Some(other), _) => Err(Failure::unprocessable(format!(
                "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
            ))),
        }
    }

    /// The history does not reach back to its revision.
    fn expired(&self, call: &Call) -> Failure {
        if self.continues {
            return Failure::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
            );
        }
        Failure::expired(too_old(self.revision.unwrap_or(0), call.server.store.revision()))
    }
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

fn token(revision: u64, start: &str, left: Option<usize>) -> String {
    let token = json!({ "v": "meta.k8s.io/v1", "rv": revision, "start": start, "left": left });
    BASE64_URL_SAFE_NO_PAD.encode(token.to_string())
}

fn open(token: &str) -> Result<Begin, Failure> {
    let bad = || Failure::bad_request("continue key is not valid");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    Ok(Begin {
        revision: Some(value["rv"].as_u64().ok_or_else(bad)?),
        start: value["start"].as_str().ok_or_else(bad)?.to_owned(),
        left: value["left"].as_u64().and_then(|left| usize::try_from(left).ok()),
        continues: true,
        ..Begin::default()
    })
}
