//! Writes status: the template's first, because people and tools wait for it.

use hanse_api::{ResourceBinding, ResourceBindingStatus, conditions};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Map, Value, json};

use super::plan::{Seen, Told};
use crate::{
    Key, World,
    write::{change_status, merge_patch, namespaced},
};

pub(super) async fn apply(world: &World, seen: &Seen, told: Told) -> Result<(), kube::Error> {
    if let Some(status) = &told.template {
        write_template(world, seen, status).await?;
    }
    let key = Key::of(seen.binding.as_ref());
    let api: Api<ResourceBinding> = namespaced(&world.means().client, &key);
    let change = |status: &mut ResourceBindingStatus| {
        status.observed_generation = seen.binding.metadata.generation;
        status.summary = told.summary;
        status.clusters.clone_from(&told.clusters);
        for condition in told.conditions.clone() {
            conditions::set(&mut status.conditions, condition);
        }
    };
    let bucket = &world.means().status_writes;
    let known = std::sync::Arc::clone(&seen.binding);
    let written = change_status(&api, bucket, known, change).await?;
    if told.finished
        && seen.binding.spec.finished.is_empty()
        && let Some(written) = written
    {
        let names: Vec<&String> = seen.members.iter().map(|member| &member.name).collect();
        let body = json!({
            "metadata": {"resourceVersion": written.resource_version()},
            "spec": {"finished": names},
        });
        api.patch(&key.name, &PatchParams::default(), &Patch::Merge(&body)).await?;
    }
    Ok(())
}

/// Patches only fields that the fold speaks of, and only where they differ.
async fn write_template(world: &World, seen: &Seen, wanted: &Value) -> Result<(), kube::Error> {
    // What stands in a FederatedManifest is no object that could have a status.
    let Some(template) = seen.template.as_ref().filter(|one| one.manifest.is_none()) else {
        return Ok(());
    };
    let known = template.status.value();
    let known: Map<String, Value> = wanted
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| Some((key.clone(), known.get(key)?.clone())))
        .collect();
    let patch = merge_patch(&Value::Object(known), wanted);
    if patch.as_object().is_none_or(Map::is_empty) {
        return Ok(());
    }
    let key = &template.key;
    let kinds = world.templates().kinds();
    let Some(served) = kinds.get(&key.api_version, &key.kind).filter(|kind| kind.has_status) else {
        return Ok(());
    };
    let client = world.means().client.clone();
    let api: Api<DynamicObject> = if served.namespaced {
        Api::namespaced_with(client, &key.namespace, &served.resource)
    } else {
        Api::all_with(client, &served.resource)
    };
    world.means().status_writes.take().await;
    let body = json!({
        "apiVersion": key.api_version,
        "kind": key.kind,
        "metadata": {"uid": template.uid},
        "status": patch,
    });
    match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(&body)).await {
        // Gone, or another object by now: its own event brings it here.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        other => other.map(|_| ()),
    }
}
