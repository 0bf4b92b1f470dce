//! Writing: creation and every kind of update. All updates, patches and applies too, end in
//! [`update`], which decides what of the new object counts and whether anything changed.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use crate::{
    admission, crd,
    decode::{self, Decoded},
    failure::{Cause, Failure},
    meta,
    ownership::managers::{self, Managers, Writer},
    request::{Call, Reply},
    server::Inner,
    store::{
        Expected, Object,
        tree::{self, Tree},
    },
};

/// Tries of a write that was computed from the newest state and lost a race.
const TRIES: usize = 10;
/// Tries to find a free generated name.
const NAME_TRIES: usize = 8;
/// The longest base of a generated name; five characters follow.
const NAME_BASE: usize = 58;
const STATUS: &str = "status";

/// The result of a write.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) json: Bytes,
    /// 0 when nothing was written.
    pub(crate) revision: u64,
}

/// How an update came to be.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) object: Value,
    /// The field managers, where they are already settled.
    pub(crate) managers: Option<Managers>,
}

pub(crate) fn create(call: &Call, body: &Bytes) -> Result<Reply, Failure> {
    let Decoded { object, warnings } = decode::object(call, body)?;
    let mut written = create_checked(call, object, None)?;
    written.1.extend(warnings);
    let (written, warnings) = written;
    let mut reply = call.show(StatusCode::CREATED, &written.json, written.revision);
    reply.warnings = warnings;
    Ok(reply)
}

/// Creates an object that the server made itself.
pub(crate) fn create_value(call: &Call, object: Value) -> Result<Written, Failure> {
    create_checked(call, object, None).map(|(written, _)| written)
}

/// Creates an object; with `managers` these are already settled.
pub(crate) fn create_checked(
    call: &Call,
    mut object: Value,
    managers: Option<Managers>,
) -> Result<(Written, Vec<String>), Failure> {
    let given = meta::text(&object, "resourceVersion");
    if !given.is_empty() {
        return Err(Failure::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    place_in_namespace(call, &mut object)?;
    let base = meta::text(&object, "generateName").to_owned();
    let generate = meta::text(&object, "name").is_empty() && !base.is_empty();
    if !generate {
        return create_named(call, object, managers);
    }
    let mut last = None;
    for _ in 0..NAME_TRIES {
        let mut object = object.clone();
        let suffix = call.server.random(|rng| rng.name_suffix(5));
        let base: String = base.chars().take(NAME_BASE).collect();
        let name = format!("{base}{suffix}");
        meta::meta_mut(&mut object).insert("name".to_owned(), name.into());
        match create_named(call, object, managers.clone()) {
            Err(failure) if failure.reason == "AlreadyExists" => last = Some(failure),
            result => return result,
        }
    }
    Err(last.unwrap_or_else(Failure::no_resource))
}

fn create_named(
    call: &Call,
    mut object: Value,
    managers: Option<Managers>,
) -> Result<(Written, Vec<String>), Failure> {
    let (server, kind) = (&call.server, &call.kind);
    let _allocating = admission::needs_allocation(kind)
        .then(|| server.allocation.lock().expect("no holder of this lock panics"));
    let given = tree::take_managers(&mut object);
    stamp(call, &mut object);
    admission::default_new(call, &mut object)?;
    let warnings = admission::validate(call, None, &object)?;
    admission::check_namespace(call, &object)?;
    let name = meta::text(&object, "name").to_owned();
    let managers = managers.unwrap_or_else(|| {
        let (manager, now) = (call.manager(), server.now());
        let writer = writer(call, &manager, &now);
        // What the server puts into a new status is nobody's.
        let status = match object.as_object_mut() {
            Some(map) if kind.status => map.remove("status"),
            _ => None,
        };
        let managers = managers::track(kind.schema(), None, &object, given.as_ref(), writer);
        if let Some(status) = status {
            object["status"] = status;
        }
        managers
    });
    admission::allocate(call, &mut object)?;
    let key = meta::key(call.place.namespace.as_deref(), &name);
    if server.store.get(&kind.storage, &key).is_some() {
        return Err(Failure::already_exists(call.subject(&name)));
    }
    let tree = Tree { value: object, managers };
    if call.dry_run()? {
        return Ok((Written::dry(&tree), warnings));
    }
    let stored = server.store.put(kind, &key, Expected::Absent, tree, call.origin);
    let stored = stored.map_err(|_| Failure::already_exists(call.subject(&name)))?;
    after_write(server, call);
    Ok((Written::of(&stored), warnings))
}

pub(crate) fn replace(call: &Call, body: &Bytes) -> Result<Reply, Failure> {
    let Decoded { object, warnings } = decode::object(call, body)?;
    let absent = server_has_none(call);
    if absent && call.kind.create_on_update && call.subresource().is_empty() {
        return create(call, body);
    }
    let unconditional = meta::text(&object, "resourceVersion").is_empty();
    let name = meta::text(&object, "name");
    if unconditional && call.kind.custom.is_some() {
        let empty = Value::from("");
        let field = "metadata.resourceVersion";
        let cause = Cause::invalid(field, &empty, "must be specified for an update");
        return Err(Failure::invalid(call.kind_subject(name), &[cause]));
    }
    let result =
        retry(call, unconditional, |_| Ok(Update { object: object.clone(), managers: None }));
    let (written, more) = result?;
    let mut reply = call.show(StatusCode::OK, &written.json, written.revision);
    reply.warnings = warnings;
    reply.warnings.extend(more);
    Ok(reply)
}

fn server_has_none(call: &Call) -> bool {
    let store = &call.server.store;
    store.get(&call.kind.storage, &call.key()).is_none()
}

/// Computes an update from the current object and writes it; tries again when somebody else was
/// faster, if `again` allows that.
pub(crate) fn retry(
    call: &Call,
    again: bool,
    compute: impl Fn(&Tree) -> Result<Update, Failure>,
) -> Result<(Written, Vec<String>), Failure> {
    let mut tries = 0;
    loop {
        let current = call.current()?;
        let old = current.tree();
        let new = compute(&old)?;
        tries += 1;
        match update(call, &current, &old, new)? {
            Some(done) => return Ok(done),
            None if again && tries < TRIES => {}
            None => return Err(Failure::modified(call.subject(call.name()))),
        }
    }
}

/// Writes the new state of an object; `None` when another writer was faster.
fn update(
    call: &Call,
    current: &Arc<Object>,
    old: &Tree,
    Update { mut object, managers }: Update,
) -> Result<Option<(Written, Vec<String>)>, Failure> {
    let (server, kind) = (&call.server, &call.kind);
    let given = tree::take_managers(&mut object);
    let before = &old.value;
    identity(call, before, &mut object)?;
    meta::keep(before, &mut object);
    confine(call, before, &mut object);
    let _allocating = admission::needs_allocation(kind)
        .then(|| server.allocation.lock().expect("no holder of this lock panics"));
    admission::default_update(call, before, &mut object)?;
    new_finalizers(call, before, &object)?;
    if kind.generation && call.subresource() != "status" {
        meta::count_generation(before, &mut object, kind.generation_on_annotations);
    }
    let warnings = admission::validate(call, Some(before), &object)?;
    let managers = managers.unwrap_or_else(|| {
        let (manager, now) = (call.manager(), server.now());
        let writer = writer(call, &manager, &now);
        let given = given.as_ref().filter(|_| call.subresource() != "finalize");
        managers::track(kind.schema(), Some((before, &old.managers)), &object, given, writer)
    });
    let tree = Tree { value: object, managers };
    let expected = Expected::Revision(current.revision);
    if meta::may_vanish(&tree.value) {
        if call.dry_run()? {
            return Ok(Some((Written::dry(&tree), warnings)));
        }
        let removed = server.store.remove(kind, &call.key(), expected, tree, call.origin);
        let Ok(removed) = removed else {
            return Ok(None);
        };
        after_write(server, call);
        return Ok(Some((Written::of(&removed), warnings)));
    }
    if tree == *old {
        return Ok(Some((Written::of(current), warnings)));
    }
    if call.dry_run()? {
        return Ok(Some((Written::dry(&tree), warnings)));
    }
    let stored = server.store.put(kind, &call.key(), expected, tree, call.origin);
    let Ok(stored) = stored else {
        return Ok(None);
    };
    after_write(server, call);
    Ok(Some((Written::of(&stored), warnings)))
}

impl Written {
    fn of(object: &Object) -> Self {
        Self { json: object.json(), revision: object.revision }
    }

    fn dry(object: &Tree) -> Self {
        Self { json: object.json().into(), revision: 0 }
    }
}

/// Who writes, in the terms of field managers.
pub(crate) fn writer<'a>(call: &'a Call, manager: &'a str, now: &'a str) -> Writer<'a> {
    let shown = &call.shown;
    Writer { manager, api_version: shown.api_version(), subresource: call.subresource(), now }
}

/// Other parts of the server that depend on what was written.
pub(crate) fn after_write(server: &Inner, call: &Call) {
    if &*call.kind.storage == crd::STORAGE {
        server.reload_kinds();
    }
}

fn place_in_namespace(call: &Call, object: &mut Value) -> Result<(), Failure> {
    let meta = meta::meta_mut(object);
    let given = meta.get("namespace").and_then(Value::as_str).unwrap_or("");
    match &call.place.namespace {
        None if call.kind.namespaced => {
            Err(Failure::bad_request("an empty namespace may not be set during creation"))
        }
        None => {
            meta.remove("namespace");
            Ok(())
        }
        Some(namespace) if given.is_empty() || given == namespace => {
            meta.insert("namespace".to_owned(), namespace.as_str().into());
            Ok(())
        }
        Some(namespace) => Err(Failure::bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the request ({given:?}, {namespace:?})"
        ))),
    }
}

/// Gives a new object its identity and takes away what only the server sets.
fn stamp(call: &Call, object: &mut Value) {
    let server = &call.server;
    let uid = server.random(hanse_rt::Rng::uuid).to_string();
    let now = server.now();
    let meta = meta::meta_mut(object);
    for name in [
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generation",
    ] {
        meta.remove(name);
    }
    meta.insert("uid".to_owned(), uid.into());
    meta.insert("creationTimestamp".to_owned(), now.into());
    if call.kind.generation {
        meta.insert("generation".to_owned(), 1.into());
    }
}

/// Checks that an update means the object it addresses.
fn identity(call: &Call, old: &Value, new: &mut Value) -> Result<(), Failure> {
    let name = call.name();
    let given = meta::text(new, "name");
    if !given.is_empty() && given != name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    let namespace = meta::text(new, "namespace");
    if !namespace.is_empty() && namespace != meta::text(old, "namespace") {
        return Err(Failure::bad_request(format!(
            "the namespace of the object ({namespace}) does not match the namespace on the request ({})",
            meta::text(old, "namespace")
        )));
    }
    let (uid, old_uid) = (meta::text(new, "uid"), meta::text(old, "uid"));
    if !uid.is_empty() && uid != old_uid {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {old_uid}"
        );
        return Err(Failure::conflict(call.subject(name), &why));
    }
    let revision = meta::text(new, "resourceVersion");
    if !revision.is_empty() && revision != meta::text(old, "resourceVersion") {
        return Err(Failure::modified(call.subject(name)));
    }
    if meta::text(new, "name") != name {
        meta::meta_mut(new).insert("name".to_owned(), name.into());
    }
    for field in ["apiVersion", "kind"] {
        if new[field] != old[field] {
            new[field] = old[field].clone();
        }
    }
    Ok(())
}

/// Keeps an update to what its endpoint writes.
fn confine(call: &Call, old: &Value, new: &mut Value) {
    match call.subresource() {
        "status" => {
            let (Some(from), Some(to)) = (old.as_object(), new.as_object_mut()) else {
                return;
            };
            to.retain(|name, _| name == STATUS || from.contains_key(name));
            for (name, value) in from.iter().filter(|(name, _)| *name != STATUS) {
                if to.get(name) != Some(value) {
                    to.insert(name.clone(), value.clone());
                }
            }
        }
        "finalize" => {
            let finalizers = new["spec"]["finalizers"].clone();
            let mut result = old.clone();
            result["spec"]["finalizers"] = finalizers;
            *new = result;
        }
        "" if call.kind.status && old.get(STATUS) != new.get(STATUS) => {
            let Some(to) = new.as_object_mut() else {
                return;
            };
            match old.get(STATUS) {
                Some(status) => to.insert(STATUS.to_owned(), status.clone()),
                None => to.remove(STATUS),
            };
        }
        _ => {}
    }
}

fn new_finalizers(call: &Call, old: &Value, new: &Value) -> Result<(), Failure> {
    if !meta::is_deleting(old) {
        return Ok(());
    }
    let before = meta::finalizers(old);
    let added: Vec<&str> =
        meta::finalizers(new).into_iter().filter(|one| !before.contains(one)).collect();
    if added.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
    );
    let cause = Cause::forbidden("metadata.finalizers", &detail);
    Err(Failure::invalid(call.kind_subject(call.name()), &[cause]))
}
