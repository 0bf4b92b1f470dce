//! Gathers what failover depends on: verdicts, domains, drains, the operator's word, and moves
//! that a restart must not forget.

use std::collections::{BTreeMap, BTreeSet};

use hanse_api::{BrakeUnit, DomainKind, Effect};
use hanse_detector::brakes::Operator;
use hanse_scheduler::Taint;
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::{World, drill, placement::fleet};

/// Everything failover depends on at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed {
    /// Members with their domains.
    pub(super) members: BTreeMap<String, Member>,
    /// What the operator said.
    pub(super) operator: Operator,
    /// Percent of members outside the first lost domain that may be lost.
    pub(super) max_lost_percent: Option<u32>,
    /// Members to be drained, with the drain that says so.
    pub(super) drained: BTreeMap<String, String>,
    /// Members that are drained by taints.
    pub(super) tainted: BTreeMap<String, Vec<Taint>>,
    /// Members that a drill isolates.
    pub(super) isolated: BTreeSet<String>,
    /// Members with moves under way because of a loss, with the id of the event; at the first look
    /// only.
    pub(super) moving: BTreeMap<String, String>,
    /// The time.
    pub(super) now: Timestamp,
}

/// One member.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    /// The domain that brakes count: its region, or its provider.
    pub(super) domain: String,
    /// Its verdict.
    pub(super) verdict: String,
    /// Why it has that verdict.
    pub(super) evidence: String,
}

/// Gathers it, `first` with the moves that a start takes up.
pub(super) fn observe(world: &World, first: bool) -> Observed {
    let now = world.means().wall.now();
    let mut observed = Observed { now, ..Observed::default() };
    let federation = world.federation();
    let unit = federation.as_ref().map(|f| f.spec.brakes.unit).unwrap_or_default();
    for member in world.objects().members.all() {
        let domain = match unit {
            BrakeUnit::Region => member.spec.region.clone(),
            BrakeUnit::Provider => member.spec.provider.clone(),
        };
        let status = member.status.as_ref();
        let evidence = status
            .into_iter()
            .flat_map(|status| &status.conditions)
            .find(|condition| condition.type_ == hanse_api::conditions::member::READY)
            .map(|condition| condition.reason.clone());
        let name = member.name_any();
        for drain in federation.iter().flat_map(|f| &f.spec.drains) {
            let inside = match drain.domain {
                DomainKind::Cluster => name == drain.name,
                DomainKind::Zone => member.spec.zone.as_ref() == Some(&drain.name),
                DomainKind::Region => member.spec.region == drain.name,
                DomainKind::Provider => member.spec.provider == drain.name,
            };
            if inside {
                observed.drained.insert(name.clone(), drain.name.clone());
            }
        }
        let taints = member.spec.taints.iter().filter(|taint| taint.effect == Effect::NoExecute);
        let taints: Vec<Taint> = taints.map(fleet::taint).collect();
        if !taints.is_empty() {
            observed.tainted.insert(name.clone(), taints);
        }
        observed.members.insert(
            name,
            Member {
                domain,
                verdict: status.and_then(|status| status.verdict.clone()).unwrap_or_default(),
                evidence: evidence.unwrap_or_default(),
            },
        );
    }
    if let Some(federation) = &federation {
        observed.max_lost_percent = u32::try_from(federation.spec.brakes.max_lost_percent).ok();
        observed.operator.hold = federation.spec.operator.hold;
        let approvals = federation.spec.operator.approvals.iter();
        observed.operator.approved =
            approvals.filter(|a| a.until.0 > now).map(|a| a.id.clone()).collect();
    }
    observed.isolated = drill::isolated(world);
    observed.drained.extend(drill::evacuated(world));
    let bindings = if first { world.objects().bindings.all() } else { Vec::new() };
    for binding in bindings {
        let moves = binding.spec.moves.iter();
        for step in moves.filter(|step| step.reason.is_loss() && step.state.keeps_old()) {
            let event = step.id.split('/').next().unwrap_or_default();
            observed.moving.insert(step.from.clone(), event.to_owned());
        }
    }
    observed
}
