//! What a drill looks at: verdicts, and for each workload in the target, how much of it is ready
//! elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use hanse_api::{DrillWorkload, ResourceBinding, conditions::reason};
use kube::ResourceExt as _;

use crate::{Key, World};

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
            clusters
                .filter(|c| target.contains(&c.name) == there)
                .map(|c| c.replicas)
                .sum()
        };
        let (held, outside) = (inside(true), inside(false));
        if held == 0 || outside >= spec.replicas {
            continue;
        }
        if stays(&binding) {
            not_exercised.push(named(&binding));
            continue;
        }
        affected.insert(
            Key::of(binding.as_ref()),
            Affected {
                replicas: spec.replicas,
                held,
            },
        );
    }
    (affected, not_exercised)
}

/// Work that failover leaves alone.
fn stays(binding: &ResourceBinding) -> bool {
    let conditions = binding.status.iter().flat_map(|status| &status.conditions);
    conditions
        .into_iter()
        .any(|condition| condition.reason == reason::HOLDS_DATA)
}

fn named(binding: &ResourceBinding) -> String {
    let template = &binding.spec.template;
    format!(
        "{}/{} in {}",
        template.kind, template.name, template.namespace
    )
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
    let shortfall = status.decision.and_then(|decision| decision.shortfall);
    Some(DrillWorkload {
        binding: named(&binding),
        replicas: affected.held,
        replaced: (affected.held - lacking).max(0),
        shortfall: lacking,
        missing: shortfall
            .map(|shortfall| shortfall.missing)
            .unwrap_or_default(),
    })
}

/// Whether every member is healthy and nothing is on its way.
pub(super) fn whole(world: &World) -> bool {
    let members = world.objects().members.all();
    let healthy = members
        .iter()
        .all(|member| world.verdict(&member.name_any()) == "Healthy");
    let bindings = world.objects().bindings.all();
    healthy
        && bindings
            .iter()
            .flat_map(|binding| &binding.status)
            .all(|status| status.moves.iter().all(|step| step.state.is_final()))
}
