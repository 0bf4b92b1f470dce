//! Events are served in two groups and stored once, in the form of the older one.

use serde_json::Value;

use crate::catalog::Kind;

/// Names in `events.k8s.io/v1`, and in `v1`.
const FIELDS: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedCount", "count"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
];

/// Group and version in which a kind is stored, when not in its own.
pub(crate) fn stored_as(kind: &Kind) -> Option<(&'static str, &'static str)> {
    kind.is("events.k8s.io", "Event").then_some(("", "v1"))
}

/// From the served form to the stored one.
pub(crate) fn store(event: &mut Value) {
    rename(event, "v1", FIELDS);
}

/// From the stored form to the served one.
pub(crate) fn serve(event: &mut Value) {
    rename(event, "events.k8s.io/v1", FIELDS.map(|(newer, older)| (older, newer)));
}

fn rename(event: &mut Value, api_version: &str, fields: [(&str, &str); 7]) {
    let Some(event) = event.as_object_mut() else {
        return;
    };
    event.insert("apiVersion".to_owned(), api_version.into());
    for (from, to) in fields {
        if let Some(value) = event.remove(from) {
            event.insert(to.to_owned(), value);
        }
    }
}
