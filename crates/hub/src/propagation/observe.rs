//! What propagation looks at.

use std::{collections::BTreeMap, sync::Arc};

use hanse_api::{Dependencies, FederatedManifest};

use super::plan::{Seen, binding_key};
use crate::{
    Key, Policy, Template, TemplateKey, World,
    policies::{Policies, winner},
    templates::selects,
};

pub(super) fn observe(world: &World, policies: &Policies, key: &TemplateKey) -> Seen {
    let templates = world.templates();
    let template = templates.get(key);
    let all = policies.all();
    let followed = template.as_ref().map(|template| followed(world, &all, template));
    let binding = world.objects().bindings.get(&binding_key(key));
    let manifest = binding.as_ref().map(|binding| &binding.spec.template.manifest);
    let synced = match manifest.filter(|manifest| !manifest.is_empty()) {
        Some(manifest) => is_settled(world, &Key::new(&key.namespace, manifest)),
        None => templates.is_synced(&key.kind_id()),
    };
    let tenancy = world.tenants().of(&key.namespace);
    Seen {
        synced,
        max_importance: tenancy.max_importance(),
        winner: template.as_ref().and_then(|template| winner(&all, template).cloned()),
        followed: followed.unwrap_or_default(),
        binding,
        template,
    }
}

/// Whether all is known that stands in a FederatedManifest: it is gone, or in force as it is.
fn is_settled(world: &World, manifest: &Key) -> bool {
    let version = |one: &FederatedManifest| (one.metadata.uid.clone(), one.metadata.generation);
    let known = world.objects().manifests.get(manifest);
    let in_force = world.rules().manifest(manifest);
    known.is_none_or(|known| in_force.is_some_and(|one| version(&one) == version(&known)))
}

/// The workloads that a template follows, with the policies that decide about them.
fn followed(
    world: &World,
    policies: &[Arc<Policy>],
    template: &Template,
) -> BTreeMap<TemplateKey, Arc<Policy>> {
    let templates = world.templates();
    if template.is_workload() || template.key.namespace.is_empty() {
        return BTreeMap::new();
    }
    let mut workloads = templates.namers(&template.key);
    if template.selects.is_some() {
        let in_namespace = templates.workloads(&template.key.namespace);
        workloads.extend(in_namespace.into_iter().filter(|workload| selects(template, workload)));
    }
    workloads
        .into_iter()
        .filter_map(|workload| {
            let policy = winner(policies, &workload)?;
            (policy.dependencies == Dependencies::Follow)
                .then(|| (workload.key.clone(), Arc::clone(policy)))
        })
        .collect()
}
