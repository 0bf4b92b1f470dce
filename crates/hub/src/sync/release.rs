//! Lets a deleted binding go once its copies are gone from all members in the federation.

use std::{collections::BTreeSet, time::Duration};

use hanse_api::{ResourceBinding, marks::BINDING_FINALIZER};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::SyncTable;
use crate::{
    Key, Queue, Session, World, propagation::key_of_template, standing::left_by, write::namespaced,
};

/// How long until a binding that waits for a member is looked at without an event.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// A member that answers, and of which it is not known for so long what it has, holds nobody up.
const LOOK_LIMIT: Duration = Duration::from_mins(1);

pub(super) async fn release(
    world: &World,
    table: &SyncTable,
    key: &Key,
    queue: &Queue<Key>,
) -> Result<(), kube::Error> {
    let Some(binding) = world.objects().bindings.get(key) else {
        return Ok(());
    };
    let holds = binding.finalizers().iter().any(|name| name == BINDING_FINALIZER);
    if binding.metadata.deletion_timestamp.is_none() || !holds {
        return Ok(());
    }
    if let Some(member) = holder(world, key, &binding) {
        tracing::debug!(binding = %key, member, "the binding waits for its copy to go");
        queue.add_after(key.clone(), LOOK_AGAIN);
        return Ok(());
    }
    table.forget(key);
    let left: Vec<&String> =
        binding.finalizers().iter().filter(|name| *name != BINDING_FINALIZER).collect();
    let body = json!({"metadata": {
        "resourceVersion": binding.resource_version(), "finalizers": left}});
    let api: Api<ResourceBinding> = namespaced(&world.means().client, key);
    let answer = api.patch(&key.name, &PatchParams::default(), &Patch::Merge(&body)).await;
    world.traces().ended(key);
    match answer {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Members that a binding spoke of: those of its decision, those that its moves leave, and those of
/// which its status tells.
fn named(binding: &ResourceBinding) -> BTreeSet<&str> {
    let decided = binding.spec.clusters.iter().map(|cluster| cluster.name.as_str());
    let told = binding.status.iter().flat_map(|status| &status.clusters);
    decided.chain(left_by(binding)).chain(told.map(|told| told.name.as_str())).collect()
}

/// Whether a member has come into sight so lately that its copies may still be looked for.
fn is_new_in_sight(session: &Session) -> bool {
    let sight = session.sight().borrow().clone();
    sight.up != Some(false) && sight.since.elapsed() < LOOK_LIMIT
}

/// A member that has a copy, or may have one. Who is out of sight holds nobody up unless the
/// binding spoke of it.
fn holder(world: &World, key: &Key, binding: &ResourceBinding) -> Option<String> {
    let template = key_of_template(&binding.spec.template);
    let (kind, all_named) = (template.kind_id(), named(binding));
    for member in world.objects().members.all() {
        let name = member.name_any();
        if member.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let named = all_named.contains(name.as_str());
        let Some(session) = world.session(&name) else {
            if named {
                return Some(name);
            }
            continue;
        };
        let not_served = session.kinds().is_some_and(|kinds| !kinds.names().contains(&kind));
        let unlisted = named && !session.is_synced(&kind);
        let unsought =
            is_new_in_sight(&session) && session.may_find(&template.api_version, &template.kind);
        let unknown = !not_served && (unlisted || unsought);
        if unknown || !session.copies_of(key).is_empty() {
            return Some(name);
        }
    }
    None
}
