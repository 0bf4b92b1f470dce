//! What placement looks at for one binding.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hanse_api::{MoveReason, ResourceBinding, selects};
use hanse_rt::Mono;
use hanse_scheduler::{Others, PodNeeds};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt as _;

use super::{
    convert,
    fleet::{self, FleetBook},
    moves::{self, Members},
    plan::{Seen, Stuck},
};
use crate::{
    Key, Template, World,
    policies::{Policies, Policy, PolicyKey},
    propagation::key_of_template,
};

/// Replicas without a node for this long cannot run where they are; `failover.pendingSeconds`
/// says otherwise.
const PENDING_SECONDS: i32 = 120;

pub(crate) fn observe(
    world: &World,
    policies: &Policies,
    binding: Arc<ResourceBinding>,
    book: &mut FleetBook,
) -> Seen {
    let template = world.templates().get(&key_of_template(&binding.spec.template));
    let policy = binding.spec.policy.as_ref();
    let namespace = binding.namespace().unwrap_or_default();
    let followed = binding.spec.follows.iter().filter_map(|name| {
        let followed = world.objects().bindings.get(&Key::new(&namespace, name))?;
        Some((name.clone(), followed.spec.clusters.clone()))
    });
    let policy = policy
        .and_then(|policy| policies.get(&PolicyKey::of_ref(policy)))
        .filter(|policy| template.as_ref().is_none_or(|t| policy.selects(t).is_some()));
    let needs = template.as_ref().map(|t| convert::needs(&t.needs)).unwrap_or_default();
    let (stuck, stuck_in) = stuck(world, policy.as_deref(), &binding, &needs, book);
    let spare = policy.as_ref().and_then(|policy| book.spare(&policy.compiled.rules, &binding));
    Seen {
        spare,
        stuck,
        stuck_in,
        others: policy.as_ref().and_then(|policy| others(world, policy, &binding)),
        policy,
        needs,
        fleet: book.fleet().clone(),
        evacuations: world.evacuations(),
        members: members(world, &binding),
        followed: followed.collect(),
        tenancy: world.tenants().lease(&binding),
        leaving: book.leaving().iter().cloned().collect(),
        now: world.means().wall.now(),
        template,
        binding,
    }
}

/// Replicas that have waited for a node for too long, by member, and when the next ones will have.
/// The room of those members is corrected.
fn stuck(
    world: &World,
    policy: Option<&Policy>,
    binding: &ResourceBinding,
    needs: &Arc<PodNeeds>,
    book: &mut FleetBook,
) -> (BTreeMap<String, Stuck>, Option<Duration>) {
    let owner = fleet::owner(&key_of_template(&binding.spec.template));
    let asked = policy.and_then(|policy| policy.failover.pending_seconds);
    let seconds = |value: i32| Duration::from_secs(u64::try_from(value).unwrap_or(0));
    let now = Mono::now();
    let (mut all, mut next) = (BTreeMap::new(), None);
    for cluster in binding.spec.clusters.iter().filter(|cluster| cluster.replicas > 0) {
        let room = world.session(&cluster.name).and_then(|session| session.fresh_room());
        let Some((room, since)) = room.as_ref().and_then(|r| Some((r, r.waiting.get(&owner)?)))
        else {
            continue;
        };
        let elastic = world.member(&cluster.name).and_then(|m| m.spec.elastic.clone());
        let limit =
            elastic.map_or_else(|| asked.unwrap_or(PENDING_SECONDS), |room| room.ready_seconds);
        let limit = seconds(limit);
        let (long, short): (Vec<&Mono>, Vec<&Mono>) =
            since.iter().partition(|since| now.duration_since(**since) >= limit);
        if let Some(first) = short.first() {
            let left = limit.saturating_sub(now.duration_since(**first));
            next = Some(next.map_or(left, |next: Duration| next.min(left)));
        }
        if !long.is_empty() {
            let bound = room.bound.get(&owner).copied().unwrap_or(0);
            book.correct(&cluster.name, &owner, needs, bound, world);
            let pods = u32::try_from(long.len()).unwrap_or(u32::MAX);
            all.insert(cluster.name.clone(), Stuck { pods, bound, limit });
        }
    }
    (all, next)
}

/// Where the workloads of the namespace are that the policy looks at.
fn others(world: &World, policy: &Policy, binding: &ResourceBinding) -> Option<Arc<Others>> {
    let rules = &policy.placement;
    if rules.near.is_empty() && rules.away.is_empty() {
        return None;
    }
    let own = Key::of(binding);
    let namespace = &binding.spec.template.namespace;
    let mut beside: Vec<(Arc<Template>, Vec<Arc<str>>)> = Vec::new();
    for other in world.objects().bindings.all() {
        let counts = other.spec.template.namespace == *namespace && Key::of(&*other) != own;
        let template = world.templates().get(&key_of_template(&other.spec.template));
        if let (true, Some(template)) = (counts, template) {
            let held = other.spec.clusters.iter().filter(|cluster| cluster.replicas > 0);
            beside.push((template, held.map(|cluster| cluster.name.as_str().into()).collect()));
        }
    }
    let held_by = |selector: &LabelSelector| -> BTreeSet<Arc<str>> {
        let chosen =
            beside.iter().filter(|(template, _)| selects(selector, |key| template.labels.get(key)));
        chosen.flat_map(|(_, clusters)| clusters.iter().cloned()).collect()
    };
    let near = rules.near.iter().map(held_by).reduce(|a, b| a.intersection(&b).cloned().collect());
    let away: BTreeSet<Arc<str>> = rules.away.iter().flat_map(held_by).collect();
    Some(Arc::new(Others {
        near: near.map(|near| near.into_iter().collect()),
        away: away.into_iter().collect(),
    }))
}

fn members(world: &World, binding: &ResourceBinding) -> Members {
    let key = key_of_template(&binding.spec.template);
    let kinds = world.rules().interpreters();
    let orders = world.evacuations();
    let autoscaler = world.templates().get(&key).filter(|_| moves::has_open(binding));
    let autoscaler = autoscaler.and_then(|one| world.templates().autoscaler(&one));
    let mut seen = Members::default();
    let moves = binding.spec.moves.iter();
    let mut names: Vec<&String> = binding.spec.clusters.iter().map(|c| &c.name).collect();
    names.extend(moves.filter(|item| !item.state.is_final()).map(|item| &item.from));
    names.extend(binding.spec.ordinals.iter().map(|block| &block.name));
    names.sort();
    names.dedup();
    for name in names {
        let Some(session) = world.session(name) else {
            // Who is in the federation and was not asked yet may have a copy.
            if world.member(name).is_some() {
                seen.copies.push(name.clone());
            }
            continue;
        };
        let copy = session.copy(&key);
        if copy.is_some() || !session.is_synced(&key.kind_id()) {
            seen.copies.push(name.clone());
        } else {
            seen.absent.push(name.clone());
        }
        let verdict = world.verdict(name);
        let in_reach = session.is_up() && verdict != "Lost";
        // Only moves ask how many are ready.
        if let Some(copy) = copy.filter(|_| in_reach && moves::has_open(binding)) {
            // An interpreter that fails counts none: moves wait until it is mended.
            let status = copy.digest.status.value();
            let ready = kinds.ready_replicas(&key.api_version, &key.kind, &status).unwrap_or(0);
            // Where an autoscaler owns the count, all that it wants is enough.
            let count = status["replicas"].as_u64().filter(|count| *count > 0);
            let enough = count.is_some_and(|count| u64::from(ready) >= count);
            let share = if enough && session.scales(autoscaler.as_ref()) {
                share(binding, name)
            } else {
                0
            };
            seen.ready.insert(name.clone(), ready.max(share));
        }
        let order = orders.get(name).map(|order| order.reason);
        let released = order.is_none_or(|reason| reason == MoveReason::Drained);
        if in_reach && released && matches!(verdict.as_str(), "Healthy" | "Unknown" | "DataLost") {
            seen.healthy.push(name.clone());
        }
    }
    seen
}

/// Replicas of a decision in one member.
fn share(binding: &ResourceBinding, member: &str) -> u32 {
    let cluster = binding.spec.clusters.iter().find(|cluster| cluster.name == member);
    cluster.map_or(0, |cluster| u32::try_from(cluster.replicas).unwrap_or(0))
}
