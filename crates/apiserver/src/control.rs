//! Background controllers: what a namespace holds from its start, what goes with it, what goes
//! with a definition, and garbage collection by owner references.
//!
//! The store's index says what to look at because of the last commits; nothing here scans.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    crd,
    delete::{self, FOREGROUND, ORPHAN, Options, Propagation},
    failure::Failure,
    meta,
    request::Call,
    server::Inner,
    store::{Object, Work, uid_number},
    write::{self, Update},
};

const EVENTS: &str = "events";
/// Objects of a namespace or definition that are deleted before others get a turn.
const BATCH: usize = 256;

/// How long an event is kept after it last happened; kube-apiserver's default.
const EVENT_LIFE: SignedDuration = SignedDuration::from_hours(1);
const SWEEP_EVERY: Duration = Duration::from_mins(5);

/// Runs until dropped.
pub(crate) async fn run(server: Arc<Inner>) {
    let (_, namespaces) = server.store.snapshot("namespaces", "");
    for (key, _) in namespaces {
        report(namespace(&server, meta_name(&key)));
    }
    let mut sweep = hanse_rt::interval(SWEEP_EVERY, SWEEP_EVERY);
    loop {
        let work = hanse_rt::select! {
            work = server.store.work() => Some(work),
            _ = sweep.tick() => None,
        };
        match work {
            Some(work) => step(&server, &work),
            None => forget_events(&server),
        }
        // Others get their turn between two rounds, however long the chain of deletions is.
        tokio::task::yield_now().await;
    }
}

fn step(server: &Arc<Inner>, work: &Work) {
    for name in &work.namespaces {
        report(namespace(server, name));
    }
    for name in &work.kinds {
        report(definition(server, name));
    }
    for (resource, key) in &work.owners {
        report(owner(server, resource, key));
    }
    for (resource, key) in &work.dependents {
        report(dependent(server, resource, key));
    }
}

fn report(result: Result<(), Failure>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a background write failed");
    }
}

/// Deletes events that are too old to matter.
fn forget_events(server: &Arc<Inner>) {
    let now = server.wall().now();
    let (_, events) = server.store.snapshot(EVENTS, "");
    for (key, object) in events {
        let event = object.value();
        let times = [
            &event["series"]["lastObservedTime"],
            &event["lastTimestamp"],
            &event["eventTime"],
            &event["metadata"]["creationTimestamp"],
        ];
        let last = times.iter().find_map(|time| time.as_str()?.parse::<Timestamp>().ok());
        let old = last.is_some_and(|last| now.duration_since(last) > EVENT_LIFE);
        if old && let Some(call) = call(server, EVENTS, &key) {
            report(delete::own(&call, &Options::default()));
        }
    }
}

fn meta_name(key: &str) -> &str {
    key.split_once('/').map_or(key, |(_, name)| name)
}

/// A call for a stored object; `None` when its resource is not served any more.
fn call(server: &Arc<Inner>, resource: &str, key: &str) -> Option<Call> {
    let catalog = server.catalog();
    let kind = catalog.stored().into_iter().find(|kind| &*kind.storage == resource)?;
    let (namespace, name) = key.split_once('/').unwrap_or(("", key));
    let namespace = (!namespace.is_empty()).then_some(namespace);
    Call::own(server, &kind.group, &kind.version, &kind.plural, namespace, Some(name)).ok()
}

/// Fills a new namespace, or empties one that is going away.
fn namespace(server: &Arc<Inner>, name: &str) -> Result<(), Failure> {
    let Some(found) = server.store.get("namespaces", &meta::key(None, name)) else {
        return Ok(());
    };
    if !found.deleting {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": "default", "namespace": name },
        });
        let authority = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "kube-root-ca.crt", "namespace": name },
            "data": { "ca.crt": server.root_ca },
        });
        for (resource, object) in [("serviceaccounts", account), ("configmaps", authority)] {
            match server.create_own("", "v1", resource, Some(name), object) {
                Err(failure) if failure.reason != "AlreadyExists" => return Err(failure),
                _ => {}
            }
        }
        return Ok(());
    }
    let catalog = server.catalog();
    let prefix = format!("{name}/");
    let mut empty = true;
    for kind in catalog.stored().into_iter().filter(|kind| kind.namespaced) {
        for key in server.store.keys(&kind.storage, &prefix, BATCH) {
            empty = false;
            let options =
                Options { propagation: Some(Propagation::Background), ..Options::default() };
            if let Some(call) = call(server, &kind.storage, &key) {
                delete::own(&call, &options)?;
            }
        }
        empty &= server.store.keys(&kind.storage, &prefix, 1).is_empty();
    }
    if !empty && is_empty(server, &prefix) {
        empty = true;
    }
    if empty {
        let mut call = Call::own(server, "", "v1", "namespaces", None, Some(name))?;
        call.place.subresource = Some("finalize".to_owned());
        write::retry(&call, true, |old| {
            let mut object = old.value.clone();
            object["spec"]["finalizers"] = json!([]);
            Ok(Update { object, managers: None })
        })?;
    }
    Ok(())
}

fn is_empty(server: &Arc<Inner>, prefix: &str) -> bool {
    let catalog = server.catalog();
    let mut kinds = catalog.stored().into_iter().filter(|kind| kind.namespaced);
    kinds.all(|kind| server.store.keys(&kind.storage, prefix, 1).is_empty())
}

/// Empties a definition that is going away, then lets it go.
fn definition(server: &Arc<Inner>, name: &str) -> Result<(), Failure> {
    let Some(found) = server.store.get(crd::STORAGE, &meta::key(None, name)) else {
        return Ok(());
    };
    if !found.deleting {
        return Ok(());
    }
    for key in server.store.keys(name, "", BATCH) {
        if let Some(call) = call(server, name, &key) {
            delete::own(&call, &Options::default())?;
        }
    }
    if !server.store.keys(name, "", 1).is_empty() {
        return Ok(());
    }
    let Some(call) = call(server, crd::STORAGE, &meta::key(None, name)) else {
        return Ok(());
    };
    drop_finalizer(&call, crd::CLEANUP)
}

/// Cares for the dependents of an object that waits for them.
fn owner(server: &Arc<Inner>, resource: &str, key: &str) -> Result<(), Failure> {
    let Some(found) = server.store.get(resource, key) else {
        return Ok(());
    };
    if !found.deleting {
        return Ok(());
    }
    let value = found.value();
    let finalizers = meta::finalizers(&value);
    let Some(mine) = call(server, resource, key) else {
        return Ok(());
    };
    let uid = meta::text(&value, "uid");
    if finalizers.contains(&ORPHAN) {
        for (resource, key) in server.store.dependents(found.uid) {
            if let Some(call) = call(server, &resource, &key) {
                disown(&call, uid)?;
            }
        }
        return drop_finalizer(&mine, ORPHAN);
    }
    if finalizers.contains(&FOREGROUND) {
        let mut waits = false;
        for (resource, key) in server.store.dependents(found.uid) {
            let Some(object) = server.store.get(&resource, &key) else {
                continue;
            };
            waits |= blocks(&object, uid);
            if !object.deleting {
                dependent(server, &resource, &key)?;
            }
        }
        let left = server.store.dependents(found.uid);
        let left = left.iter().filter_map(|(resource, key)| server.store.get(resource, key));
        waits &= left.into_iter().any(|object| blocks(&object, uid));
        if !waits {
            return drop_finalizer(&mine, FOREGROUND);
        }
    }
    Ok(())
}

fn blocks(object: &Object, uid: &str) -> bool {
    let value = object.value();
    let owners = value["metadata"]["ownerReferences"].as_array();
    owners
        .into_iter()
        .flatten()
        .any(|owner| owner["uid"] == uid && owner["blockOwnerDeletion"] == true)
}

/// Deletes an object when all its owners are gone or going in the foreground.
fn dependent(server: &Arc<Inner>, resource: &str, key: &str) -> Result<(), Failure> {
    let Some(found) = server.store.get(resource, key) else {
        return Ok(());
    };
    if found.deleting || found.owners.is_empty() {
        return Ok(());
    }
    let value = found.value();
    let namespace = meta::text(&value, "namespace");
    let owners = value["metadata"]["ownerReferences"].as_array();
    let (mut solid, mut waiting, mut absent) = (0, 0, Vec::new());
    for owner in owners.into_iter().flatten() {
        match state(server, owner, namespace) {
            Owner::Solid | Owner::Unknown => solid += 1,
            Owner::Waiting => waiting += 1,
            Owner::Absent => absent.push(owner["uid"].as_str().unwrap_or_default()),
        }
    }
    let Some(call) = call(server, resource, key) else {
        return Ok(());
    };
    if solid > 0 {
        for uid in absent {
            disown(&call, uid)?;
        }
        return Ok(());
    }
    let propagation = if waiting > 0 && !server.store.dependents(found.uid).is_empty() {
        Propagation::Foreground
    } else if meta::finalizers(&value).contains(&ORPHAN) {
        Propagation::Orphan
    } else {
        Propagation::Background
    };
    let uid = meta::text(&value, "uid");
    delete::own(&call, &Options::with(propagation, uid))
}

enum Owner {
    Solid,
    /// Is being deleted and waits for its dependents.
    Waiting,
    Absent,
    /// Of a kind that is not served here.
    Unknown,
}

fn state(server: &Arc<Inner>, owner: &Value, namespace: &str) -> Owner {
    let text = |name: &str| owner[name].as_str().unwrap_or_default();
    let (group, _) = crate::catalog::split_api_version(text("apiVersion"));
    let catalog = server.catalog();
    if catalog.by_kind(group, text("kind")).is_none() {
        return Owner::Unknown;
    }
    let Some((resource, key)) = server.store.place_of(uid_number(text("uid"))) else {
        return Owner::Absent;
    };
    let place = key.split_once('/').map_or("", |(namespace, _)| namespace);
    if !place.is_empty() && place != namespace {
        return Owner::Absent;
    }
    match server.store.get(&resource, &key) {
        None => Owner::Absent,
        Some(object) if object.deleting => {
            let value = object.value();
            if meta::finalizers(&value).contains(&FOREGROUND) {
                Owner::Waiting
            } else {
                Owner::Solid
            }
        }
        Some(_) => Owner::Solid,
    }
}

fn disown(call: &Call, uid: &str) -> Result<(), Failure> {
    let result = write::retry(call, true, |old| {
        let mut object = old.value.clone();
        if let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() {
            owners.retain(|owner| owner["uid"] != uid);
            if owners.is_empty() {
                meta::meta_mut(&mut object).remove("ownerReferences");
            }
        }
        Ok(Update { object, managers: None })
    });
    gone_is_fine(result.map(drop))
}

fn drop_finalizer(call: &Call, finalizer: &str) -> Result<(), Failure> {
    let result = write::retry(call, true, |old| {
        let mut object = old.value.clone();
        let kept: Vec<&str> =
            meta::finalizers(&old.value).into_iter().filter(|one| *one != finalizer).collect();
        meta::set_finalizers(&mut object, &kept);
        Ok(Update { object, managers: None })
    });
    gone_is_fine(result.map(drop))
}

fn gone_is_fine(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(failure) if failure.code == http::StatusCode::NOT_FOUND => Ok(()),
        other => other,
    }
}
