//! What sync looks at for one binding in one member.

use std::sync::Arc;

use hanse_api::{Conflict, Dependencies, MoveReason, ResourceBinding};

use super::{
    SyncTable, input,
    plan::{Barrier, Place, Reach, Seen, Stand, is_wanted, share_of},
};
use crate::{
    Key, Session, Template, World,
    policies::{Policies, Policy, PolicyKey},
    propagation::{key_of_binding, key_of_template},
};

pub(super) fn observe(
    world: &World,
    policies: &Policies,
    table: &SyncTable,
    session: &Arc<Session>,
    key: &Key,
) -> Option<Seen> {
    let binding = world.objects().bindings.get(key)?;
    let template_key = key_of_template(&binding.spec.template);
    let template = world.templates().get(&template_key);
    let member = session.name();
    let kinds = session.kinds();
    let found =
        kinds.as_ref().map(|kinds| kinds.get(&template_key.api_version, &template_key.kind));
    let served = found.map(|found| found.is_some());
    let namespaced = found.flatten().map(|found| found.namespaced);
    if served == Some(true) {
        session.follow(&template_key.api_version, &template_key.kind);
    }
    let policy = binding.spec.policy.as_ref();
    let policy = policy.and_then(|policy| policies.get(&PolicyKey::of_ref(policy)));
    let is_wanted = is_wanted(&binding, member);
    let followed: Vec<_> = binding
        .spec
        .follows
        .iter()
        .filter_map(|name| world.objects().bindings.get(&Key::new(&key.namespace, name)))
        .collect();
    let ruling = template.as_ref().map(|one| world.rules().of(one)).unwrap_or_default();
    let cluster = world.member(member);
    let place = cluster.as_ref().map(|member| Place::of(member)).unwrap_or_default();
    let tenancy = world.tenants().of(&template_key.namespace);
    let share = share_of(&ruling.interpreters, &binding, &followed, member);
    let autoscaler = template.as_ref().filter(|one| one.is_workload());
    let autoscaler = autoscaler.and_then(|one| world.templates().autoscaler(one));
    let workloads_left = workloads_left(session, &binding, &followed);
    let waits_for = template
        .as_ref()
        .filter(|_| is_wanted)
        .and_then(|template| missing_companion(world, policy.as_deref(), table, member, template));
    Some(Seen {
        member: member.to_owned(),
        key: key.clone(),
        hub_id: world.means().hub_id.clone(),
        reach: reach(world, session),
        served,
        synced: session.is_synced(&template_key.kind_id()),
        copy: session.copy(&template_key),
        input: template.as_ref().map_or(0, |one| input(one, share, &ruling, &place)),
        barrier: if namespaced.is_some_and(|yes| yes == template_key.namespace.is_empty()) {
            Some(Barrier::Misplaced)
        } else {
            tenancy.forbids(place.named(member)).then_some(Barrier::NotInTenant)
        },
        place,
        ruling,
        conflict: policy.map_or(Conflict::Abort, |policy| policy.conflict),
        is_wanted,
        share,
        scaled: session.scales(autoscaler.as_ref()),
        workloads_left,
        waits_for,
        template_key,
        template,
        binding,
    })
}

/// Whether workloads are still there that a companion has to outlast. One that was deleted for
/// itself does not wait for workloads that stay.
fn workloads_left(
    session: &Session,
    binding: &ResourceBinding,
    followed: &[Arc<ResourceBinding>],
) -> bool {
    let deleted = binding.metadata.deletion_timestamp.is_some();
    let stays = |workload: &ResourceBinding| {
        workload.metadata.deletion_timestamp.is_none()
            && workload.spec.clusters.iter().any(|cluster| cluster.name == session.name())
    };
    followed.iter().any(|workload| {
        let is_there = session.copy(&key_of_template(&workload.spec.template)).is_some();
        is_there && !(deleted && stays(workload))
    })
}

/// Whether the member may be written to.
fn reach(world: &World, session: &Session) -> Reach {
    let Some(member) = world.member(session.name()) else {
        return Reach::Left;
    };
    if member.metadata.deletion_timestamp.is_some() {
        return Reach::Left;
    }
    let order = world.evacuations().get(session.name()).map(|order| order.reason);
    if order.is_some_and(|reason| reason != MoveReason::Drained) {
        return Reach::TakenOut;
    }
    if session.is_up() { Reach::Up } else { Reach::Down }
}

/// The first companion that has to stand before the workload, and does not yet.
fn missing_companion(
    world: &World,
    policy: Option<&Policy>,
    table: &SyncTable,
    member: &str,
    template: &Template,
) -> Option<String> {
    let follows = policy.is_some_and(|policy| policy.dependencies == Dependencies::Follow);
    if !follows || !template.is_workload() {
        return None;
    }
    let missing = world.templates().companions(template).into_iter().find(|companion| {
        let key = key_of_binding(companion);
        match table.get(&key, member) {
            // One that cannot be applied is reported by itself and holds nobody up.
            Some(synced) => !matches!(synced.stand, Stand::Applied | Stand::Failed(..)),
            None => true,
        }
    });
    missing.map(|companion| companion.to_string())
}
