//! Writes status: the template's first, because people and tools wait for it.

use std::sync::Arc;

use hanse_api::{
    ResourceBinding, ResourceBindingStatus,
    conditions::{self, binding},
};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Map, Value, json};

use super::plan::{Seen, Told};
use crate::{
    Key, World,
    write::{merge_patch, namespaced, write_status},
};

/// What differs from what stands there.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) told: Told,
    /// The binding's status as it shall be.
    pub(super) status: ResourceBindingStatus,
    /// Whether it is another one than now.
    differs: bool,
    /// What the template's status lacks.
    template: Option<Value>,
}

impl Change {
    pub(super) fn new(world: &World, seen: &Seen, told: Told) -> Self {
        let known = seen.binding.status.as_ref();
        let mut status = known.cloned().unwrap_or_default();
        fill(&mut status, seen, &told);
        let differs = known != Some(&status);
        let template = told.template.as_ref().and_then(|wanted| lacks(world, seen, wanted));
        Self { told, status, differs, template }
    }

    /// How many writes it takes.
    pub(super) fn writes(&self) -> u32 {
        u32::from(self.differs) + u32::from(self.template.is_some())
    }
}

/// Writes it; its tokens were taken.
pub(super) async fn apply(world: &World, seen: &Seen, change: Change) -> Result<(), kube::Error> {
    let Change { told, template, .. } = change;
    // What the binding says does not wait for a template that is refused.
    let on_template = match template {
        Some(patch) => write_template(world, seen, patch).await,
        None => Ok(()),
    };
    write_binding(world, seen, &told).await?;
    on_template
}

async fn write_binding(world: &World, seen: &Seen, told: &Told) -> Result<(), kube::Error> {
    let key = Key::of(seen.binding.as_ref());
    let api: Api<ResourceBinding> = namespaced(&world.means().client, &key);
    let known = Arc::clone(&seen.binding);
    let change = |status: &mut ResourceBindingStatus| fill(status, seen, told);
    let ticket = world.objects().bindings.ticket();
    let written = write_status(&api, None, known, change).await?;
    if let Some(written) = &written {
        world.objects().bindings.note_written(ticket, ResourceBinding::clone(written));
    }
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

fn fill(status: &mut ResourceBindingStatus, seen: &Seen, told: &Told) {
    status.observed_generation = seen.binding.metadata.generation;
    status.summary = told.summary;
    status.clusters.clone_from(&told.clusters);
    for condition in told.conditions.clone() {
        conditions::set(&mut status.conditions, condition);
    }
    // It is told only while the policy asks for it.
    if !told.conditions.iter().any(|told| told.type_ == binding::SURVIVABLE) {
        status.conditions.retain(|known| known.type_ != binding::SURVIVABLE);
    }
}

/// The kind of the template in the hub, if it has a status there. What stands in a
/// FederatedManifest is no object that could have one.
fn served(world: &World, seen: &Seen) -> Option<(ApiResource, bool)> {
    let template = seen.template.as_ref().filter(|one| one.manifest.is_none())?;
    let kinds = world.templates().kinds();
    let kind = kinds.get(&template.key.api_version, &template.key.kind)?;
    kind.has_status.then(|| (kind.resource.clone(), kind.namespaced))
}

/// Fields that the fold speaks of, where they differ.
fn lacks(world: &World, seen: &Seen, wanted: &Value) -> Option<Value> {
    let template = seen.template.as_ref()?;
    let known = template.status.value();
    let known: Map<String, Value> = wanted
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| Some((key.clone(), known.get(key)?.clone())))
        .collect();
    let patch = merge_patch(&Value::Object(known), wanted);
    let says_something = patch.as_object().is_some_and(|patch| !patch.is_empty());
    (says_something && served(world, seen).is_some()).then_some(patch)
}

async fn write_template(world: &World, seen: &Seen, patch: Value) -> Result<(), kube::Error> {
    let (Some(template), Some((resource, namespaced))) = (&seen.template, served(world, seen))
    else {
        return Ok(());
    };
    let key = &template.key;
    let client = world.means().client.clone();
    let api: Api<DynamicObject> = if namespaced {
        Api::namespaced_with(client, &key.namespace, &resource)
    } else {
        Api::all_with(client, &resource)
    };
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
