//! What stands between a decoded object and the store: defaults, namespaces, validation.

use serde_json::{Value, json};

use crate::{
    addresses,
    catalog::Kind,
    conform, crd, defaults,
    failure::{Cause, Failure},
    meta, names,
    request::Call,
    rules,
};

/// Whether writing this kind takes something from a shared range.
pub(crate) fn needs_allocation(kind: &Kind) -> bool {
    kind.is("", "Service")
}

/// Completes a new object.
pub(crate) fn default_new(call: &Call, object: &mut Value) -> Result<(), Failure> {
    let kind = &call.kind;
    // A node reports its status with its creation; other kinds start without.
    if kind.status
        && !kind.is("", "Node")
        && let Some(map) = object.as_object_mut()
    {
        map.remove("status");
        if let Some(status) = defaults::first_status(kind) {
            map.insert("status".to_owned(), status);
        }
    }
    complete(call, None, object)
}

/// Gives a new object its share of what the cluster has. This comes after the managers are
/// settled: nobody owns what was allocated.
pub(crate) fn allocate(call: &Call, object: &mut Value) -> Result<(), Failure> {
    if needs_allocation(&call.kind) {
        addresses::allocate(&call.server, call, None, object)?;
    }
    Ok(())
}

/// Completes the new state of an object.
pub(crate) fn default_update(call: &Call, old: &Value, object: &mut Value) -> Result<(), Failure> {
    complete(call, Some(old), object)
}

fn complete(call: &Call, old: Option<&Value>, object: &mut Value) -> Result<(), Failure> {
    let (kind, server) = (&call.kind, &call.server);
    if kind.custom.is_some() {
        conform::fill(kind.schema(), object);
        return Ok(());
    }
    // Of an update of the status all else is as it was: complete.
    if old.is_some() && call.subresource() == "status" {
        return Ok(());
    }
    defaults::complete(kind, old, object);
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Service") if old.is_some() => addresses::allocate(server, call, old, object)?,
        ("apiextensions.k8s.io", _) if call.subresource().is_empty() => {
            crd::complete(object, &server.now());
        }
        _ => {}
    }
    Ok(())
}

/// The namespace of a new object must exist and stay.
pub(crate) fn check_namespace(call: &Call, object: &Value) -> Result<(), Failure> {
    if let Some(custom) = &call.kind.custom
        && custom.closing
    {
        return Err(Failure::method_not_allowed());
    }
    let Some(namespace) = &call.place.namespace else {
        return Ok(());
    };
    let key = meta::key(None, namespace);
    let Some(found) = call.server.store.get("namespaces", &key) else {
        return Err(Failure::not_found(crate::failure::Subject {
            group: "",
            resource: "namespaces",
            name: namespace,
        }));
    };
    if found.deleting {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let mut failure = Failure::forbidden(call.subject(meta::text(object, "name")), &why);
        if let Some(details) = &mut failure.details {
            details["causes"] = json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            }]);
        }
        return Err(failure);
    }
    Ok(())
}

/// Checks an object; the result is what to warn about.
pub(crate) fn validate(
    call: &Call,
    old: Option<&Value>,
    object: &Value,
) -> Result<Vec<String>, Failure> {
    let kind = &call.kind;
    let name = meta::text(object, "name");
    let mut causes = names::check(kind, object);
    let mut warnings = Vec::new();
    if kind.custom.is_some() {
        conform::check(kind.schema(), old, object, &mut causes);
        if causes.is_empty() {
            warnings = rules::check(kind, old, object, &mut causes);
        }
    } else {
        crate::validation::check(kind, old, object, &mut causes);
    }
    if let Some(old) = old {
        for path in &kind.immutable {
            let (before, now) = (at(old, path), at(object, path));
            if before != now {
                causes.push(Cause::invalid(path, now, "field is immutable"));
            }
        }
    }
    if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        causes.extend(crd::validate(object));
        if causes.is_empty() {
            warnings.extend(rules::unusable(object));
        }
    }
    if causes.is_empty() {
        return Ok(warnings);
    }
    Err(Failure::invalid(call.kind_subject(name), &causes))
}

fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(object, |value, name| &value[name])
}
