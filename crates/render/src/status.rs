//! Status of all members folded into one, in the standard fields of the kind, so that the tools
//! that wait for a rollout work on the hub as they do on one cluster.

mod conditions;
mod job;

use serde_json::{Map, Value, json};

use crate::Kind;

/// What one member says about its copy.
#[derive(Clone, Copy, Debug)]
pub struct MemberState<'a> {
    /// Status of the copy; null when it has none yet.
    pub status: &'a Value,
    /// Generation of the copy.
    pub generation: i64,
    /// Replicas assigned to the member.
    pub assigned: u32,
    /// Whether the newest manifest is what stands there.
    pub current: bool,
}

impl MemberState<'_> {
    /// Whether the newest manifest stands there and its controller has seen it.
    pub(crate) fn has_observed(&self) -> bool {
        let observed = self.status["observedGeneration"].as_i64();
        self.current && observed.is_some_and(|observed| observed >= self.generation)
    }

    fn count(&self, field: &str) -> u64 {
        self.status[field].as_u64().unwrap_or(0)
    }
}

/// Health of a copy in one member.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Health {
    /// It has failed.
    Unhealthy,
    /// It is on its way.
    Progressing,
    /// It is as wanted.
    Healthy,
}

/// The folded status.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Folded {
    /// Status of the template; absent for kinds that have none to fold.
    pub status: Option<Value>,
    /// Ready replicas over all members.
    pub ready: u64,
    /// Replicas of the newest revision over all members.
    pub updated: u64,
    /// Whether it does its work.
    pub available: bool,
    /// Whether it has ended for good, well or not (Jobs only).
    pub finished: bool,
}

/// What is folded besides the members.
#[derive(Clone, Copy, Debug)]
pub struct Template<'a> {
    /// The template, with the status it has now.
    pub object: &'a Value,
    /// Whether the decision was made for this generation of the template, and no part of a Job is
    /// out of sight.
    pub decided: bool,
    /// Time of a condition that flips now, RFC 3339.
    pub now: &'a str,
}

/// Folds the members that count: lost, left and draining ones are not passed in.
pub fn fold(template: Template<'_>, members: &[MemberState<'_>]) -> Folded {
    match Kind::of_object(template.object) {
        Kind::Deployment => deployment(template, members),
        Kind::ReplicaSet => counted(template, members, &REPLICA_SET, "readyReplicas"),
        Kind::StatefulSet => stateful_set(template, members),
        Kind::DaemonSet => daemon_set(template, members),
        Kind::Job => job::fold(template, members),
        Kind::Service => service(members),
        _ => applied_only(members),
    }
}

/// Ready replicas of one copy.
pub fn ready_replicas(kind: Kind, status: &Value) -> u32 {
    let field = match kind {
        Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet => "readyReplicas",
        Kind::DaemonSet => "numberReady",
        Kind::Job => "ready",
        _ => return 0,
    };
    u32::try_from(status[field].as_u64().unwrap_or(0)).unwrap_or(u32::MAX)
}

/// Replicas of the newest revision of one copy.
pub fn updated_replicas(kind: Kind, status: &Value) -> u32 {
    let field = match kind {
        Kind::Deployment | Kind::StatefulSet => "updatedReplicas",
        Kind::ReplicaSet => "replicas",
        Kind::DaemonSet => "updatedNumberScheduled",
        _ => return 0,
    };
    u32::try_from(status[field].as_u64().unwrap_or(0)).unwrap_or(u32::MAX)
}

/// Health of one copy.
pub fn member_health(kind: Kind, state: MemberState<'_>) -> Health {
    if conditions::has_failed(state.status) {
        return Health::Unhealthy;
    }
    let assigned = u64::from(state.assigned);
    let healthy = match kind {
        Kind::Deployment => {
            state.has_observed()
                && state.count("updatedReplicas") >= assigned
                && state.count("availableReplicas") >= assigned
        }
        Kind::ReplicaSet => state.has_observed() && state.count("readyReplicas") >= assigned,
        Kind::StatefulSet => {
            state.has_observed()
                && state.count("readyReplicas") >= assigned
                && state.status["currentRevision"] == state.status["updateRevision"]
        }
        Kind::DaemonSet => {
            state.has_observed()
                && state.count("numberAvailable") >= state.count("desiredNumberScheduled")
        }
        Kind::Job => state.current && conditions::is_true(state.status, "Complete"),
        _ => state.current,
    };
    if healthy { Health::Healthy } else { Health::Progressing }
}

const REPLICA_SET: [&str; 4] =
    ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"];

fn total(members: &[MemberState<'_>], field: &str) -> u64 {
    members.iter().map(|member| member.count(field)).sum()
}

/// Sums only where the newest manifest has been observed: what an old one calls updated is not.
fn total_of_observed(members: &[MemberState<'_>], field: &str) -> u64 {
    members.iter().filter(|member| member.has_observed()).map(|member| member.count(field)).sum()
}

/// The generation that all members have observed: the template's own once they have, and what was
/// said before until then.
pub(crate) fn observed_generation(
    template: Template<'_>,
    members: &[MemberState<'_>],
    has_observed: impl Fn(&MemberState<'_>) -> bool,
) -> i64 {
    let generation = template.object["metadata"]["generation"].as_i64().unwrap_or(0);
    let prior = observed_of(&template.object["status"]).unwrap_or(0);
    let settled = template.decided && members.iter().all(has_observed);
    if settled && !members.is_empty() { generation } else { prior.min(generation) }
}

fn saw_newest(member: &MemberState<'_>) -> bool {
    member.has_observed()
}

/// The observed generation of a status; some kinds write it as a string.
fn observed_of(status: &Value) -> Option<i64> {
    let observed = &status["observedGeneration"];
    observed.as_i64().or_else(|| observed.as_str()?.parse().ok())
}

/// As [`MemberState::has_observed`], for kinds whose controllers may not tell what they have seen.
pub(crate) fn observes(state: &MemberState<'_>) -> bool {
    state.current && observed_of(state.status).is_none_or(|observed| observed >= state.generation)
}

fn deployment(template: Template<'_>, members: &[MemberState<'_>]) -> Folded {
    let wanted = template.object["spec"]["replicas"].as_u64().unwrap_or(1);
    let available = total(members, "availableReplicas");
    let ready = total(members, "readyReplicas");
    let updated = total_of_observed(members, "updatedReplicas");
    let assigned: u64 = members.iter().map(|member| u64::from(member.assigned)).sum();
    let goal = assigned.max(wanted.min(assigned));
    let mut status = Map::new();
    status.insert(
        "observedGeneration".into(),
        json!(observed_generation(template, members, saw_newest)),
    );
    for (field, count) in [
        ("replicas", total(members, "replicas")),
        ("updatedReplicas", updated),
        ("readyReplicas", ready),
        ("availableReplicas", available),
        ("unavailableReplicas", goal.saturating_sub(available)),
    ] {
        status.insert(field.into(), json!(count));
    }
    let short = wanted.saturating_sub(assigned);
    let least = goal.saturating_sub(max_unavailable(template.object, goal));
    let is_available = template.decided && !members.is_empty() && short == 0 && available >= least;
    let list = conditions::deployment(template, members, is_available, updated >= goal);
    status.insert("conditions".into(), list);
    Folded {
        status: Some(Value::Object(status)),
        ready,
        updated,
        available: is_available,
        finished: false,
    }
}

/// How many replicas a rolling update may take out: default 25 %, rounded down.
fn max_unavailable(template: &Value, replicas: u64) -> u64 {
    let strategy = &template["spec"]["strategy"];
    if strategy["type"] == "Recreate" {
        return 0;
    }
    let value = &strategy["rollingUpdate"]["maxUnavailable"];
    if let Some(count) = value.as_u64() {
        return count;
    }
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<u64>().ok());
    replicas.saturating_mul(percent.unwrap_or(25)) / 100
}

fn counted(
    template: Template<'_>,
    members: &[MemberState<'_>],
    fields: &[&str],
    ready: &str,
) -> Folded {
    let mut status = Map::new();
    status.insert(
        "observedGeneration".into(),
        json!(observed_generation(template, members, saw_newest)),
    );
    for field in fields {
        status.insert((*field).to_owned(), json!(total(members, field)));
    }
    let ready = total(members, ready);
    let assigned: u64 = members.iter().map(|member| u64::from(member.assigned)).sum();
    Folded {
        status: Some(Value::Object(status)),
        ready,
        updated: total_of_observed(members, "replicas"),
        available: template.decided && !members.is_empty() && ready >= assigned,
        finished: false,
    }
}

fn stateful_set(template: Template<'_>, members: &[MemberState<'_>]) -> Folded {
    let fields =
        ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    let mut folded = counted(template, members, &fields, "readyReplicas");
    folded.updated = total_of_observed(members, "updatedReplicas");
    if let (Some(Value::Object(status)), Some(first)) = (folded.status.as_mut(), members.first()) {
        for field in ["currentRevision", "updateRevision", "collisionCount"] {
            if let Some(value) = first.status.get(field) {
                status.insert(field.to_owned(), value.clone());
            }
        }
    }
    folded
}

fn daemon_set(template: Template<'_>, members: &[MemberState<'_>]) -> Folded {
    let fields = [
        "currentNumberScheduled",
        "desiredNumberScheduled",
        "numberAvailable",
        "numberMisscheduled",
        "numberReady",
        "numberUnavailable",
        "updatedNumberScheduled",
    ];
    let mut folded = counted(template, members, &fields, "numberReady");
    folded.updated = total_of_observed(members, "updatedNumberScheduled");
    let wanted = total(members, "desiredNumberScheduled");
    folded.available =
        template.decided && !members.is_empty() && total(members, "numberAvailable") >= wanted;
    folded
}

/// Addresses of the members' load balancers, each once.
fn service(members: &[MemberState<'_>]) -> Folded {
    let mut ingress: Vec<Value> = Vec::new();
    for member in members {
        let list = member.status["loadBalancer"]["ingress"].as_array();
        for entry in list.into_iter().flatten() {
            if !ingress.contains(entry) {
                ingress.push(entry.clone());
            }
        }
    }
    let balancer = if ingress.is_empty() { json!({}) } else { json!({"ingress": ingress}) };
    Folded { status: Some(json!({"loadBalancer": balancer})), ..applied_only(members) }
}

fn applied_only(members: &[MemberState<'_>]) -> Folded {
    Folded {
        status: None,
        ready: 0,
        updated: 0,
        available: !members.is_empty() && members.iter().all(|member| member.current),
        finished: false,
    }
}

#[cfg(test)]
mod job_rules;
#[cfg(test)]
mod tests;
