//! What propagation looks at.

use std::{collections::BTreeMap, sync::Arc};

use hanse_api::Dependencies;

use super::plan::{Seen, binding_key};
use crate::{
    Policy, Template, TemplateKey, World,
    policies::{Policies, winner},
    templates::selects,
};

pub(super) fn observe(world: &World, policies: &Policies, key: &TemplateKey) -> Seen {
    let templates = world.templates();
    let template = templates.get(key);
    let all = policies.all();
    let followed = template.as_ref().map(|template| followed(world, &all, template));
    Seen {
        synced: templates.is_synced(&key.kind_id()),
        winner: template.as_ref().and_then(|template| winner(&all, template).cloned()),
        followed: followed.unwrap_or_default(),
        binding: world.objects().bindings.get(&binding_key(key)),
        template,
    }
}

/// The workloads that a template follows, with the policies that decide about them.
fn followed(
    world: &World,
    policies: &[Arc<Policy>],
    template: &Template,
) -> BTreeMap<TemplateKey, Arc<Policy>> {
    let templates = world.templates();
    if template.kind.is_workload() || template.key.namespace.is_empty() {
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
