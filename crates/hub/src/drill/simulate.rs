//! The loss of a target on paper: placement's own plan, over the fleet as it is now without the
//! target. Nothing is written anywhere but into the drill.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hanse_api::{ClusterReplicas, DrillWorkload, MoveReason};
use hanse_scheduler::Planner;

use super::observe::{self, Affected};
use crate::{
    Evacuation, Evacuations, Key, Policies, World,
    placement::{self, Placed, fleet::FleetBook},
};

/// What would become of the workloads that the loss leaves short, worst first. They are planned in
/// order of importance, as in a real loss, and each takes its room from those that follow.
pub(super) fn lose(
    world: &World,
    policies: &Policies,
    target: &BTreeSet<String>,
    affected: &BTreeMap<Key, Affected>,
) -> Vec<DrillWorkload> {
    let mut book = FleetBook::without(world, target);
    let orders = Arc::new(orders(target));
    let mut bindings: Vec<_> = affected
        .iter()
        .filter_map(|(key, affected)| Some((world.objects().bindings.get(key)?, key, affected)))
        .collect();
    bindings.sort_by_key(|(binding, key, _)| (Reverse(binding.spec.importance), *key));
    let mut planner = Planner::default();
    let mut workloads = Vec::new();
    for (binding, key, affected) in bindings {
        let mut seen = placement::observe(world, policies, Arc::clone(&binding), &mut book);
        seen.evacuations = Arc::clone(&orders);
        // No old copy is removed on paper.
        let placed = placement::plan(&seen, &mut planner, || false);
        let needs = Arc::clone(&seen.needs);
        drop(seen);
        book.reserve(key, &placed.clusters, &needs);
        let gains = gains(&binding.spec.clusters, &placed.clusters, target);
        let named = observe::named(&binding);
        workloads.push(workload(named, affected, &placed, gains, target));
    }
    workloads.sort_by_key(|work| Reverse(work.shortfall));
    workloads
}

fn orders(target: &BTreeSet<String>) -> Evacuations {
    let order = |name: &String| {
        let order = Evacuation {
            id: "simulate".to_owned(),
            reason: MoveReason::Drill,
            evidence: String::new(),
            manual_too: false,
            tolerable: Vec::new(),
        };
        (name.clone(), order)
    };
    target.iter().map(order).collect()
}

/// What clusters outside the target get beyond what they have.
fn gains(
    before: &[ClusterReplicas],
    after: &[ClusterReplicas],
    target: &BTreeSet<String>,
) -> Vec<ClusterReplicas> {
    let had = |name: &str| {
        let known = before.iter().find(|cluster| cluster.name == name);
        known.map_or(0, |cluster| cluster.replicas)
    };
    let outside = after.iter().filter(|cluster| !target.contains(&cluster.name));
    outside
        .map(|cluster| ClusterReplicas {
            name: cluster.name.clone(),
            replicas: cluster.replicas - had(&cluster.name),
        })
        .filter(|cluster| cluster.replicas > 0)
        .collect()
}

fn workload(
    binding: String,
    affected: &Affected,
    placed: &Placed,
    would_go: Vec<ClusterReplicas>,
    target: &BTreeSet<String>,
) -> DrillWorkload {
    let outside = placed.clusters.iter().filter(|cluster| !target.contains(&cluster.name));
    let there: i32 = outside.map(|cluster| cluster.replicas).sum();
    let lacking = (affected.replicas - there).max(0);
    let shortfall = placed.decision.shortfall.as_ref().filter(|_| lacking > 0);
    DrillWorkload {
        binding,
        replicas: affected.held,
        replaced: (affected.held - lacking).max(0),
        shortfall: lacking,
        missing: shortfall.map(|shortfall| shortfall.missing.clone()).unwrap_or_default(),
        would_go: would_go.into_iter().take(100).collect(),
    }
}
