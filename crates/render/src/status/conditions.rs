//! Conditions of folded workloads. A time changes only when a status flips.

use serde_json::{Value, json};

use super::{MemberState, Template};

pub(super) fn find<'a>(status: &'a Value, type_: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
}

pub(super) fn is_true(status: &Value, type_: &str) -> bool {
    find(status, type_).is_some_and(|condition| condition["status"] == "True")
}

/// Whether a copy will not get better by itself.
pub(super) fn has_failed(status: &Value) -> bool {
    let stuck = find(status, "Progressing").is_some_and(|condition| {
        condition["status"] == "False" && condition["reason"] == "ProgressDeadlineExceeded"
    });
    stuck || is_true(status, "ReplicaFailure") || is_true(status, "Failed")
}

/// Available, Progressing and, where a member reports one, ReplicaFailure.
pub(super) fn deployment(
    template: Template<'_>,
    members: &[MemberState<'_>],
    available: bool,
    updated: bool,
) -> Value {
    let available = if available {
        ("Available", true, "MinimumReplicasAvailable", "The clusters have minimum availability.")
    } else {
        (
            "Available",
            false,
            "MinimumReplicasUnavailable",
            "The clusters do not have minimum availability.",
        )
    };
    let stuck = members.iter().any(|member| {
        find(member.status, "Progressing")
            .is_some_and(|c| c["reason"] == "ProgressDeadlineExceeded")
    });
    let progressing = if stuck {
        ("Progressing", false, "ProgressDeadlineExceeded", "A cluster has timed out progressing.")
    } else if updated && available.1 {
        ("Progressing", true, "NewReplicaSetAvailable", "All clusters run the newest revision.")
    } else {
        ("Progressing", true, "ReplicaSetUpdated", "The clusters are progressing.")
    };
    let mut list = vec![made(template, available), made(template, progressing)];
    let mut failures = members.iter().filter(|member| is_true(member.status, "ReplicaFailure"));
    if let Some(failure) = failures.find_map(|member| find(member.status, "ReplicaFailure")) {
        list.push(failure.clone());
    }
    Value::Array(list)
}

fn made(template: Template<'_>, wanted: (&str, bool, &str, &str)) -> Value {
    let (type_, holds, reason, message) = wanted;
    let status = if holds { "True" } else { "False" };
    let prior = find(&template.object["status"], type_);
    let same_status = prior.filter(|prior| prior["status"] == status);
    let flipped = same_status
        .map_or_else(|| json!(template.now), |prior| prior["lastTransitionTime"].clone());
    let unchanged = same_status.filter(|p| p["reason"] == reason && p["message"] == message);
    let changed =
        unchanged.map_or_else(|| json!(template.now), |prior| prior["lastUpdateTime"].clone());
    json!({"type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": flipped, "lastUpdateTime": changed})
}
