//! What the binding and the template should say. Pure.

use std::{collections::BTreeMap, sync::Arc};

use hanse_api::{
    BindingClusterStatus, BindingSummary, ResourceBinding, WorkloadHealth,
    conditions::{binding, condition, reason},
};
use hanse_member::Digest;
use hanse_render::{Folded, Health, InterpretError, Interpreters, MemberState};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::Value;

use crate::{
    Template,
    placement::{self, is_divided},
    sync::Stand,
};

/// At most so many clusters stand in a binding's status.
const SHOWN: usize = 100;

/// What status has seen of one binding.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The binding.
    pub binding: Arc<ResourceBinding>,
    /// The template; absent when it is not known.
    pub template: Option<Arc<Template>>,
    /// Its members, in order of name.
    pub members: Vec<MemberSeen>,
    /// Replicas in the decision, without those that are being given up.
    pub settled: i64,
    /// The time, for conditions that flip.
    pub now: Timestamp,
    /// How kinds are understood.
    pub interpreters: Arc<Interpreters>,
    /// Members out of the decision that keep a copy for its data, with the reason in words.
    pub kept: BTreeMap<String, String>,
}

/// What status has seen of one member.
#[derive(Clone, Debug)]
pub struct MemberSeen {
    /// Its name.
    pub name: String,
    /// Replicas assigned to it.
    pub assigned: u32,
    /// What its own autoscaler has made of that, where there is one.
    pub scaled: Option<u32>,
    /// Whether it counts: lost, leaving and draining members do not.
    pub counts: bool,
    /// Whether its API answers; absent while that is not known.
    pub up: Option<bool>,
    /// The copy there.
    pub copy: Option<Arc<Digest>>,
    /// What it says of itself.
    pub status: Option<Value>,
    /// How sync says that it stands.
    pub stand: Option<Stand>,
    /// Whether the newest manifest stands there.
    pub current: bool,
    /// Whether this hub has ever looked at the copy itself.
    pub looked: bool,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Numbers of the binding.
    pub summary: BindingSummary,
    /// State by cluster, worst first.
    pub clusters: Vec<BindingClusterStatus>,
    /// Applied, Available, and what the decision says of itself.
    pub conditions: Vec<Condition>,
    /// Status of the template; absent where its kind has none to fold.
    pub template: Option<Value>,
    /// Whether a Job has ended for good.
    pub finished: bool,
    /// Why the interpreter of its kind does not understand what members say.
    pub fault: Option<InterpretError>,
}

/// What is to be told.
pub fn plan(seen: &Seen) -> Told {
    let counting: Vec<MemberState<'_>> =
        seen.members.iter().filter(|member| member.counts).map(state).collect();
    let object = seen.template.as_ref().map(|one| with_status(one, &seen.members));
    let folded = object.as_ref().map(|object| {
        let now = seen.now.to_string();
        let decided = is_decided(seen) && !owes(seen);
        let template = hanse_render::Template { object, decided, now: &now };
        seen.interpreters.fold(template, &counting)
    });
    let (folded, fault) = match folded {
        None => (None, None),
        Some(Ok(folded)) => (Some(folded), None),
        Some(Err(fault)) => (None, Some(fault)),
    };
    let told = seen.members.iter().map(|member| (tell(seen, member), fault_in(seen, member)));
    let unread = seen.template.as_ref().and_then(|template| template.fault.as_deref().cloned());
    let (folded, mut fault) = if unread.is_some() { (None, unread) } else { (folded, fault) };
    let mut clusters: Vec<BindingClusterStatus> = Vec::new();
    for (told, other) in told {
        clusters.push(told);
        fault = fault.or(other);
    }
    told_of(seen, clusters, folded, fault)
}

fn told_of(
    seen: &Seen,
    mut clusters: Vec<BindingClusterStatus>,
    folded: Option<Folded>,
    fault: Option<InterpretError>,
) -> Told {
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let sum = |count: u64| i32::try_from(count).unwrap_or(i32::MAX);
    let summary = BindingSummary {
        clusters: number(clusters.len()),
        applied: number(clusters.iter().filter(|cluster| cluster.applied).count()),
        ready: sum(folded.as_ref().map_or(0, |folded| folded.ready)),
        updated: sum(folded.as_ref().map_or(0, |folded| folded.updated)),
        unhealthy: number(
            clusters.iter().filter(|c| c.health == WorkloadHealth::Unhealthy).count(),
        ),
    };
    clusters.extend(seen.kept.iter().map(kept));
    clusters.sort_by(|a, b| (a.health, a.applied, &a.name).cmp(&(b.health, b.applied, &b.name)));
    clusters.truncate(SHOWN);
    let available = if let Some(fault) = &fault {
        let words = fault.to_string();
        made(seen, binding::AVAILABLE, false, reason::INTERPRETER_FAILED, words)
    } else {
        let available = folded.as_ref().is_some_and(|folded| folded.available);
        is_available(seen, available, summary)
    };
    let mut conditions = vec![applied(seen), available];
    conditions.extend(placement::conditions(&seen.binding, &Time(seen.now)));
    Told {
        summary,
        clusters,
        conditions,
        finished: folded.as_ref().is_some_and(|folded| folded.finished),
        template: folded.and_then(|folded| folded.status),
        fault,
    }
}

fn state(member: &MemberSeen) -> MemberState<'_> {
    static NOTHING: Value = Value::Null;
    MemberState {
        status: member.status.as_ref().unwrap_or(&NOTHING),
        generation: member.copy.as_ref().map_or(0, |copy| copy.generation),
        assigned: member.wanted(),
        current: member.current,
    }
}

impl MemberSeen {
    /// Replicas that it shall run now.
    fn wanted(&self) -> u32 {
        self.scaled.unwrap_or(self.assigned)
    }
}

/// The template with the status that it has now, and as many replicas as it shall have now.
fn with_status(template: &Template, members: &[MemberSeen]) -> Value {
    let mut object = template.object();
    if let Some(asked) = object["spec"]["replicas"].as_u64()
        && members.iter().any(|member| member.scaled.is_some())
    {
        let sum = |of: fn(&MemberSeen) -> u32| -> u64 {
            members.iter().filter(|member| member.counts).map(|one| u64::from(of(one))).sum()
        };
        let short = asked.saturating_sub(sum(|member| member.assigned));
        object["spec"]["replicas"] = (sum(MemberSeen::wanted) + short).into();
    }
    object["metadata"]["generation"] = template.generation.into();
    object["status"] = template.status.value();
    object
}

/// Whether the decision was made for the template as it is now.
fn is_decided(seen: &Seen) -> bool {
    let (Some(template), spec) = (&seen.template, &seen.binding.spec) else {
        return false;
    };
    let asked = i64::from(template.replicas.unwrap_or(0));
    if spec.template.uid != template.uid || i64::from(spec.replicas) != asked {
        return false;
    }
    if !template.counts_replicas() {
        return !spec.clusters.is_empty();
    }
    let clusters = i64::try_from(spec.clusters.len()).unwrap_or(i64::MAX);
    let short = spec.decision.as_ref().is_some_and(|decision| decision.shortfall.is_some());
    let placed = seen.settled == asked || seen.settled == asked.saturating_mul(clusters);
    !spec.clusters.is_empty() && (placed || short)
}

/// Whether a part of a divided Job is out of sight and has not ended, as far as is known.
fn owes(seen: &Seen) -> bool {
    is_divided(&seen.binding) && seen.members.iter().any(|member| !member.counts)
}

/// Whether a member has what it shall have, and says that it runs.
pub(super) fn has_answered(seen: &Seen, member: &MemberSeen) -> bool {
    member.current && health(seen, member) == Ok(Health::Healthy)
}

/// Whether a hub that has just started would tell of copies as missing that it has not seen yet:
/// of those that the hub before told of as applied, one is pending in its member.
pub(super) fn knows_less(binding: &ResourceBinding, is_pending: impl Fn(&str) -> bool) -> bool {
    let told = binding.status.iter().flat_map(|status| &status.clusters);
    let mut applied = told.filter(|told| told.applied).map(|told| told.name.as_str());
    applied.any(|name| {
        binding.spec.clusters.iter().any(|cluster| cluster.name == name) && is_pending(name)
    })
}

/// Whether a copy has not been looked at yet and may still be, by whether its member answers.
pub(super) const fn is_pending(up: Option<bool>, looked: bool) -> bool {
    !matches!(up, Some(false)) && !looked
}

/// Whether the template as it is now has been decided about, and all members have answered.
pub(super) fn is_through(seen: &Seen) -> bool {
    let mut counting = seen.members.iter().filter(|member| member.counts);
    is_decided(seen) && counting.all(|member| has_answered(seen, member))
}

fn health(seen: &Seen, member: &MemberSeen) -> Result<Health, InterpretError> {
    let template = &seen.binding.spec.template;
    seen.interpreters.member_health(&template.api_version, &template.kind, state(member))
}

fn ready(seen: &Seen, status: &Value) -> Result<u32, InterpretError> {
    let template = &seen.binding.spec.template;
    seen.interpreters.ready_replicas(&template.api_version, &template.kind, status)
}

fn updated(seen: &Seen, status: &Value) -> Result<u32, InterpretError> {
    let template = &seen.binding.spec.template;
    seen.interpreters.updated_replicas(&template.api_version, &template.kind, status)
}

/// Why a member's status is not understood.
fn fault_in(seen: &Seen, member: &MemberSeen) -> Option<InterpretError> {
    let status = member.status.as_ref()?;
    ready(seen, status).and_then(|_| health(seen, member)).err()
}

fn tell(seen: &Seen, member: &MemberSeen) -> BindingClusterStatus {
    let status = member.status.as_ref();
    let counted = status.filter(|_| member.counts);
    let ready = counted.map_or(0, |status| ready(seen, status).unwrap_or(0));
    let applied = matches!(member.stand, Some(Stand::Applied)) && member.current;
    let (health, message) = match (&member.stand, status) {
        (Some(Stand::Failed(_, words)), _) => (WorkloadHealth::Unhealthy, words.clone()),
        (Some(Stand::Waiting(words)), _) if member.up != Some(true) => {
            (WorkloadHealth::Unknown, words.clone())
        }
        (_, Some(status)) => {
            let words = match &member.stand {
                Some(Stand::Waiting(words)) => words.clone(),
                _ => counts(seen, status, member.wanted()),
            };
            let (health, words) = match health(seen, member) {
                Ok(Health::Unhealthy) => (WorkloadHealth::Unhealthy, words),
                Ok(Health::Progressing) => (WorkloadHealth::Progressing, words),
                Ok(Health::Healthy) => (WorkloadHealth::Healthy, words),
                Err(fault) => (WorkloadHealth::Unknown, fault.to_string()),
            };
            let words = if health == WorkloadHealth::Healthy { String::new() } else { words };
            (health, words)
        }
        (Some(Stand::Waiting(words)), None) => (WorkloadHealth::Progressing, words.clone()),
        (_, None) if member.up == Some(true) => (WorkloadHealth::Progressing, String::new()),
        (_, None) => (WorkloadHealth::Unknown, "the member's API does not answer".to_owned()),
    };
    BindingClusterStatus {
        name: member.name.clone(),
        applied,
        revision: member.copy.as_ref().map(|copy| copy.applied.clone()).unwrap_or_default(),
        replicas: i32::try_from(member.assigned).unwrap_or(i32::MAX),
        ready: i32::try_from(ready).unwrap_or(i32::MAX),
        health,
        message: message.chars().take(1000).collect(),
    }
}

/// A copy that stays where it is not wanted any more.
fn kept((member, words): (&String, &String)) -> BindingClusterStatus {
    BindingClusterStatus {
        name: member.clone(),
        health: WorkloadHealth::Healthy,
        message: words.chars().take(1000).collect(),
        ..BindingClusterStatus::default()
    }
}

fn counts(seen: &Seen, status: &Value, assigned: u32) -> String {
    if !seen.template.as_ref().is_some_and(|template| template.counts_replicas()) {
        return String::new();
    }
    let (Ok(ready), Ok(updated)) = (ready(seen, status), updated(seen, status)) else {
        return String::new();
    };
    format!("{ready} of {assigned} ready, {updated} updated")
}

fn applied(seen: &Seen) -> Condition {
    let counting = || seen.members.iter().filter(|member| member.counts);
    let failure = counting().find_map(|member| match &member.stand {
        Some(Stand::Failed(reason, words)) => Some((*reason, words.clone())),
        _ => None,
    });
    let waiting = counting().find(|member| !member.current);
    let (holds, why, words) = match (failure, waiting) {
        (Some((why, words)), _) => (false, why, words),
        (None, Some(member)) => {
            let words = match &member.stand {
                Some(Stand::Waiting(words)) => words.clone(),
                _ => "on its way".to_owned(),
            };
            (false, reason::APPLYING, format!("{}: {words}", member.name))
        }
        (None, None) if seen.members.is_empty() => {
            (false, reason::APPLYING, "no cluster yet".to_owned())
        }
        (None, None) => (true, reason::APPLIED, format!("in {} clusters", counting().count())),
    };
    made(seen, binding::APPLIED, holds, why, words)
}

fn is_available(seen: &Seen, available: bool, summary: BindingSummary) -> Condition {
    if available {
        return made(seen, binding::AVAILABLE, true, reason::AVAILABLE, String::new());
    }
    let words = format!("{} of {} replicas ready", summary.ready, seen.binding.spec.replicas);
    made(seen, binding::AVAILABLE, false, reason::UNAVAILABLE, words)
}

fn made(seen: &Seen, type_: &str, holds: bool, reason: &str, words: String) -> Condition {
    let generation = seen.binding.metadata.generation;
    condition(type_, holds, reason, words, generation, Time(seen.now))
}

#[cfg(test)]
mod tests;
