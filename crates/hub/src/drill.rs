//! Drills: take a domain out, send traffic, watch work come up elsewhere, put the domain back,
//! keep what was measured.
//!
//! ```text
//!  Waiting ──due──► Faulted ──duration over──► Restoring ──whole again──► verdict
//!     │                │ guard, other loss         │ not whole in time
//!     └──refused───────┴──► Aborted                └──► verdict says so
//! ```
//! A Simulate has a verdict at once: it is the plan of the loss, made by `simulate`.
//!
//! Which members are isolated follows from the Drill objects alone, so nothing has to be undone
//! when the hub dies; a drill found running at the start of a hub is aborted.

mod measure;
mod observe;
mod probe;
mod run;
mod simulate;

use std::collections::{BTreeMap, BTreeSet};

use hanse_api::{Drill, DrillFault, DrillTarget, MemberCluster};
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::World;

pub(crate) use run::run;

/// An isolation ends this long after the drill's duration by itself, hub or no hub.
const OVERRUN: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// Members that a running drill isolates now.
pub(crate) fn isolated(world: &World) -> BTreeSet<String> {
    faulted(world, DrillFault::Isolate).map(|(_, member)| member).collect()
}

/// Members that a running drill drains now, with the drill's name.
pub(crate) fn evacuated(world: &World) -> BTreeMap<String, String> {
    faulted(world, DrillFault::Evacuate).map(|(drill, member)| (member, drill)).collect()
}

/// Isolated members with the time at which gateways must end the isolation by themselves.
pub fn isolations(world: &World) -> BTreeMap<String, Timestamp> {
    let now = world.means().wall.now();
    let mut deadlines = BTreeMap::new();
    for drill in world.objects().drills.all() {
        if drill.spec.fault != DrillFault::Isolate || !is_faulted(&drill, now) {
            continue;
        }
        let ends = drill.status.as_ref().and_then(|status| status.ends_at.as_ref());
        let Some(deadline) = ends.and_then(|ends| ends.0.checked_add(OVERRUN).ok()) else {
            continue;
        };
        for member in world.objects().members.all() {
            if inside(&drill.spec.target, &member) {
                deadlines.insert(member.name_any(), deadline);
            }
        }
    }
    deadlines
}

fn faulted(world: &World, fault: DrillFault) -> impl Iterator<Item = (String, String)> {
    let now = world.means().wall.now();
    let members = world.objects().members.all();
    let drills = world.objects().drills.all();
    drills
        .into_iter()
        .filter(move |drill| drill.spec.fault == fault && is_faulted(drill, now))
        .flat_map(move |drill| {
            let target = drill.spec.target.clone();
            let name = drill.name_any();
            let hit: Vec<_> = members
                .iter()
                .filter(|member| inside(&target, member))
                .map(|member| (name.clone(), member.name_any()))
                .collect();
            hit
        })
}

/// Whether a drill's fault is in force.
fn is_faulted(drill: &Drill, now: Timestamp) -> bool {
    let Some(status) = &drill.status else {
        return false;
    };
    let started = status.started_at.as_ref().is_some_and(|at| at.0 <= now);
    let ended = status.ends_at.as_ref().is_none_or(|at| at.0 <= now);
    status.verdict.is_none() && started && !ended
}

/// Whether a member belongs to a drill's target.
fn inside(target: &DrillTarget, member: &MemberCluster) -> bool {
    let is = |wanted: &Option<String>, value: &str| wanted.as_deref() == Some(value);
    is(&target.cluster, &member.name_any())
        || is(&target.region, &member.spec.region)
        || is(&target.provider, &member.spec.provider)
        || member.spec.zone.as_deref().is_some_and(|zone| is(&target.zone, zone))
}
