//! The syntax of names, labels and annotations.

use serde_json::Value;

use crate::{catalog::Kind, failure::Cause, meta};

/// The most bytes that all annotations of an object may have.
const ANNOTATIONS_LIMIT: usize = 256 << 10;
const LABEL_NAME: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// What is wrong with the metadata.
pub(crate) fn check(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let meta = &object["metadata"];
    let name = meta::text(object, "name");
    if name.is_empty() {
        let detail = "name or generateName is required";
        causes.push(Cause::required("metadata.name", detail));
    } else if let Some(detail) = wrong_name(kind, name) {
        causes.push(Cause::invalid("metadata.name", &meta["name"], &detail));
    }
    for (key, value) in meta["labels"].as_object().into_iter().flatten() {
        if !is_qualified(key) {
            causes.push(Cause::invalid("metadata.labels", &key.as_str().into(), QUALIFIED));
        }
        if !value.as_str().is_some_and(is_label_value) {
            causes.push(Cause::invalid("metadata.labels", value, VALUE));
        }
    }
    let mut size = 0;
    for (key, value) in meta["annotations"].as_object().into_iter().flatten() {
        if !is_qualified(&key.to_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", &key.as_str().into(), QUALIFIED));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_LIMIT {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {ANNOTATIONS_LIMIT} bytes"),
            field: "metadata.annotations".to_owned(),
        });
    }
    for finalizer in meta::finalizers(object) {
        if !is_qualified(finalizer) {
            causes.push(Cause::invalid("metadata.finalizers", &finalizer.into(), QUALIFIED));
        }
    }
    causes
}

/// The same for the labels of a pod template, at `path`.
pub(crate) fn check_labels(labels: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        if !is_qualified(key) {
            causes.push(Cause::invalid(path, &key.as_str().into(), QUALIFIED));
        }
        if !value.as_str().is_some_and(is_label_value) {
            causes.push(Cause::invalid(path, value, VALUE));
        }
    }
}

/// 63 lower-case letters, digits and dashes at most.
pub(crate) fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_bounded(name, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), "-")
}

fn wrong_name(kind: &Kind, name: &str) -> Option<String> {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("rbac.authorization.k8s.io", _) => {
            let bad = matches!(name, "." | "..") || name.contains(['/', '%']);
            bad.then(|| "may not be '.' or '..' or contain '/' or '%'".to_owned())
        }
        ("", "Namespace" | "Service") => (!is_label(name)).then(|| LABEL_NAME.to_owned()),
        _ => (!is_subdomain(name)).then(|| SUBDOMAIN.to_owned()),
    }
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253
        && name
            .split('.')
            .all(|part| is_bounded(part, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), "-"))
}

fn is_label_value(value: &str) -> bool {
    value.is_empty() || (value.len() <= 63 && is_name_part(value))
}

fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && name.len() <= 63 && is_name_part(name),
        None => key.len() <= 63 && is_name_part(key),
    }
}

fn is_name_part(text: &str) -> bool {
    is_bounded(text, |c| c.is_ascii_alphanumeric(), "-_.")
}

/// Not empty, `edge` at both ends, `edge` or one of `inner` between.
fn is_bounded(text: &str, edge: impl Fn(char) -> bool, inner: &str) -> bool {
    text.starts_with(&edge)
        && text.chars().next_back().is_some_and(&edge)
        && text.chars().all(|c| edge(c) || inner.contains(c))
}
