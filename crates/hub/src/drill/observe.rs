//! What a drill looks at: verdicts, and for each workload in the target, how much of it is ready
//! elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use hanse_api::{DrillWorkload, ResourceBinding};
use hanse_render::Kind;
use kube::ResourceExt as _;

use crate::{Key, World, placement::moves};

/// A workload that had replicas in the target when the fault began.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Affected {
    /// Its replicas.
    pub(super) replicas: i32,
    /// How many of them the target held.
    pub(super) held: i32,
}

/// Workloads that the target's loss leaves short, and names of those that nobody moves.
pub(super) fn affected(
    world: &World,
    target: &BTreeSet<String>,
) -> (BTreeMap<Key, Affected>, Vec<String>) {
    let mut affected = BTreeMap::new();
    let mut not_exercised = Vec::new();
    for binding in world.objects().bindings.all() {
        let spec = &binding.spec;
        let inside = |there: bool| -> i32 {
            let clusters = spec.clusters.iter();
            clusters.filter(|c| target.contains(&c.name) == there).map(|c| c.replicas).sum()
        };
        let (held, outside) = (inside(true), inside(false));
        if held == 0 || outside >= spec.replicas {
            continue;
        }
        if stays(world, &binding) {
            not_exercised.push(named(&binding));
            continue;
        }
        affected.insert(Key::of(binding.as_ref()), Affected { replicas: spec.replicas, held });
    }
    (affected, not_exercised)
}

/// Work that failover leaves to an operator: it holds data, or runs once.
fn stays(world: &World, binding: &ResourceBinding) -> bool {
    let key = crate::propagation::key_of_template(&binding.spec.template);
    let template = world.templates().get(&key);
    template.is_some_and(|template| {
        template.holds_data || matches!(template.kind, Kind::Job | Kind::CronJob)
    })
}

pub(super) fn named(binding: &ResourceBinding) -> String {
    let template = &binding.spec.template;
    format!("{}/{} in {}", template.kind, template.name, template.namespace)
}

/// How a workload stands now.
pub(super) fn standing(
    world: &World,
    key: &Key,
    affected: &Affected,
    target: &BTreeSet<String>,
) -> Option<DrillWorkload> {
    let binding = world.objects().bindings.get(key)?;
    let status = binding.status.clone().unwrap_or_default();
    let ready: i32 = status
        .clusters
        .iter()
        .filter(|cluster| !target.contains(&cluster.name))
        .map(|cluster| cluster.ready)
        .sum();
    let lacking = (affected.replicas - ready).max(0);
    let shortfall = binding.spec.decision.as_ref().and_then(|said| said.shortfall.clone());
    Some(DrillWorkload {
        binding: named(&binding),
        replicas: affected.held,
        replaced: (affected.held - lacking).max(0),
        shortfall: lacking,
        missing: shortfall.map(|shortfall| shortfall.missing).unwrap_or_default(),
        would_go: Vec::new(),
    })
}

/// How much of all that is wanted is ready outside the target, in percent; 100 of nothing.
pub(super) fn ready_percent(world: &World, target: &BTreeSet<String>) -> i64 {
    let (mut wanted, mut ready) = (0, 0);
    for binding in world.objects().bindings.all() {
        let seen = binding.status.iter().flat_map(|status| &status.clusters);
        let outside = seen.filter(|cluster| !target.contains(&cluster.name));
        let there: i64 = outside.map(|cluster| i64::from(cluster.ready)).sum();
        wanted += i64::from(binding.spec.replicas);
        ready += there.min(i64::from(binding.spec.replicas));
    }
    if wanted == 0 { 100 } else { ready * 100 / wanted }
}

/// Whether every member is healthy and nothing is on its way.
pub(super) fn whole(world: &World) -> bool {
    let members = world.objects().members.all();
    let healthy = members.iter().all(|member| world.verdict(&member.name_any()) == "Healthy");
    let bindings = world.objects().bindings.all();
    healthy && !bindings.iter().any(|binding| moves::has_open(binding))
}
