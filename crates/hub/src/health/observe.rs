//! Gathers what is known of every member now: sessions' probes, gateways' reports, drills.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hanse_detector::{
    evidence::{Evidence, Level, Place},
    verdict::Verdict,
};
use hanse_rt::Mono;
use hanse_xds::{Level as Reported, ReportTable};
use kube::ResourceExt as _;

use crate::{World, drill};

/// A report that is older says nothing any more: gateways report each 500 ms.
const STALE: Duration = Duration::from_secs(3);

/// Everything health depends on at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// What the detector looks at.
    pub(crate) evidence: Evidence,
    /// Members that a drill isolates now.
    pub(crate) isolated: BTreeSet<String>,
    /// The verdict in each member's status: what is known of it from before a restart.
    pub(crate) kept: BTreeMap<String, Verdict>,
    /// Members that say where their gateways are.
    pub(crate) with_gateway: BTreeSet<String>,
    /// Members that are cordoned.
    pub(crate) cordoned: BTreeSet<String>,
}

/// Gathers it.
pub(crate) fn observe(world: &World, reports: &ReportTable, now: Mono) -> Observed {
    let mut observed = Observed::default();
    let hub = world.federation().and_then(|federation| federation.spec.hub.clone());
    observed.evidence.hub_region = hub.map(|place| place.region);
    for member in world.objects().members.all() {
        let name = member.name_any();
        let (provider, region) = (member.spec.provider.clone(), member.spec.region.clone());
        observed.evidence.members.insert(name.clone(), Place { provider, region });
        observed.evidence.control.insert(name.clone(), control(world, &name));
        let kept = member.status.as_ref().and_then(|status| status.verdict.as_deref());
        observed.kept.insert(name.clone(), resumed(kept));
        if !member.spec.gateways.is_empty() {
            observed.with_gateway.insert(name.clone());
        }
        if member.spec.unschedulable {
            observed.cordoned.insert(name);
        }
    }
    // The gateways that observe a member are those that report about it: routing named them.
    for (observer, target) in reports.all().into_keys() {
        let level = match reports.level(&observer, &target, now, STALE) {
            Reported::Up => Level::Up,
            Reported::Down => Level::Down,
            Reported::Unknown => Level::Unknown,
        };
        observed.evidence.data.entry(target).or_default().insert(observer, level);
    }
    observed.isolated = drill::isolated(world);
    observed
}

fn control(world: &World, name: &str) -> Level {
    let Some(session) = world.session(name) else {
        return Level::Unknown;
    };
    let sight = session.sight();
    let sight = sight.borrow();
    match sight.up {
        Some(true) => Level::Up,
        Some(false) => Level::Down,
        None => Level::Unknown,
    }
}

/// Only a loss outlives a restart: everything else is observed anew.
fn resumed(kept: Option<&str>) -> Verdict {
    match kept {
        Some("Lost" | "Recovering") => Verdict::Lost,
        _ => Verdict::Unknown,
    }
}
