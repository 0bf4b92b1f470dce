//! What placement looks at for one binding.

use std::{collections::BTreeMap, sync::Arc};

use hanse_api::{MoveReason, ResourceBinding};
use hanse_render::ready_replicas;
use kube::ResourceExt as _;

use super::{convert, fleet::FleetBook, moves::Members, plan::Seen};
use crate::{
    Key, World,
    policies::{Policies, PolicyKey},
    propagation::key_of_template,
};

pub(crate) fn observe(
    world: &World,
    policies: &Policies,
    binding: Arc<ResourceBinding>,
    book: &FleetBook,
) -> Seen {
    let template = world.templates().get(&key_of_template(&binding.spec.template));
    let policy = binding.spec.policy.as_ref();
    let namespace = binding.namespace().unwrap_or_default();
    let followed = binding.spec.follows.iter().filter_map(|name| {
        let followed = world.objects().bindings.get(&Key::new(&namespace, name))?;
        Some((name.clone(), followed.spec.clusters.clone()))
    });
    let leaving = world.objects().members.all().into_iter().filter_map(|member| {
        member.metadata.deletion_timestamp.as_ref().map(|_| member.name_any())
    });
    Seen {
        policy: policy.and_then(|policy| policies.get(&PolicyKey::of_ref(policy))),
        needs: template.as_ref().map(|t| convert::needs(&t.needs)).unwrap_or_default(),
        fleet: book.fleet().clone(),
        evacuations: world.evacuations(),
        members: members(world, &binding),
        followed: followed.collect(),
        leaving: leaving.collect(),
        now: world.means().wall.now(),
        template,
        binding,
    }
}

fn members(world: &World, binding: &ResourceBinding) -> Members {
    let key = key_of_template(&binding.spec.template);
    let kind = hanse_render::Kind::of(&key.api_version, &key.kind);
    let orders = world.evacuations();
    let mut seen = Members { ready: BTreeMap::new(), copies: Vec::new(), healthy: Vec::new() };
    let moves = binding.status.iter().flat_map(|status| &status.moves);
    let mut names: Vec<&String> = binding.spec.clusters.iter().map(|c| &c.name).collect();
    names.extend(moves.filter(|item| !item.state.is_final()).map(|item| &item.from));
    names.sort();
    names.dedup();
    for name in names {
        let Some(session) = world.session(name) else {
            continue;
        };
        let copy = session.copy(&key);
        if copy.is_some() || !session.is_synced(&key.kind_id()) {
            seen.copies.push(name.clone());
        }
        let verdict = world.verdict(name);
        let in_reach = session.is_up() && verdict != "Lost";
        if let Some(copy) = copy.filter(|_| in_reach) {
            seen.ready.insert(name.clone(), ready_replicas(kind, &copy.digest.status));
        }
        let order = orders.get(name).map(|order| order.reason);
        let released = order.is_none_or(|reason| reason == MoveReason::Drained);
        if in_reach && released && matches!(verdict.as_str(), "Healthy" | "Unknown" | "DataLost") {
            seen.healthy.push(name.clone());
        }
    }
    seen
}
