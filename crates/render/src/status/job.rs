//! Jobs: what API servers take of a Job's status, and nothing else. The end is told in two steps,
//! SuccessCriteriaMet or FailureTarget first, because a Complete or Failed without it is refused.
//! Counters of pods that have ended never sink and the start never changes, whichever members are
//! in sight; a Job has not ended while pods of it run.

use serde_json::{Map, Value, json};

use super::{Folded, MemberState, Template, conditions, total};

pub(super) fn fold(template: Template<'_>, members: &[MemberState<'_>]) -> Folded {
    let prior = &template.object["status"];
    let mut status = Map::new();
    // All of them each time: more ready pods than active ones are refused, and a merge would keep
    // what is left out.
    let is_over = conditions::is_true(prior, "Complete") || conditions::is_true(prior, "Failed");
    for field in ["active", "ready", "terminating"] {
        let count = if is_over { 0 } else { total(members, field) };
        status.insert(field.to_owned(), json!(count));
    }
    for field in ["succeeded", "failed"] {
        let known = prior[field].as_u64().unwrap_or(0);
        status.insert(field.to_owned(), json!(total(members, field).max(known)));
    }
    let known = |field: &str| prior[field].as_str().map(str::to_owned);
    let times = |field: &str| {
        let mut all: Vec<&str> = members.iter().filter_map(|m| m.status[field].as_str()).collect();
        all.sort_unstable();
        all.into_iter().map(str::to_owned)
    };
    if let Some(start) = known("startTime").or_else(|| times("startTime").next()) {
        status.insert("startTime".to_owned(), json!(start));
    }
    let complete = template.decided
        && !members.is_empty()
        && members.iter().all(|member| conditions::is_true(member.status, "Complete"));
    let failed = any(members, "Failed");
    let list = ended(prior, members, complete);
    let is_complete = list.iter().any(|condition| condition["type"] == "Complete");
    let end = known("completionTime").or_else(|| times("completionTime").next_back());
    if let Some(end) = end.filter(|_| is_complete) {
        status.insert("completionTime".to_owned(), json!(end));
    }
    if !list.is_empty() {
        status.insert("conditions".to_owned(), Value::Array(list));
    }
    Folded {
        status: Some(Value::Object(status)),
        ready: total(members, "ready"),
        updated: 0,
        available: complete,
        finished: complete || failed.is_some(),
    }
}

/// Conditions of a Job that has ended or is about to; what was said once is said again.
fn ended(prior: &Value, members: &[MemberState<'_>], complete: bool) -> Vec<Value> {
    let was = |type_: &str| conditions::is_true(prior, type_);
    let again = |type_: &str, from: &Value| {
        let known = conditions::find(prior, type_).filter(|_| was(type_)).cloned();
        known.unwrap_or_else(|| retyped(from, type_))
    };
    let quiet = total(members, "active") == 0 && total(members, "terminating") == 0;
    let succeeds = was("SuccessCriteriaMet") || was("Complete");
    let fails = was("FailureTarget") || was("Failed");
    let mut list = Vec::new();
    let (early, last, found) =
        match any(members, "Failed").or_else(|| any(members, "FailureTarget")) {
            Some(found) if !succeeds => ("FailureTarget", "Failed", found),
            None if complete && !fails => match any(members, "Complete") {
                Some(found) => ("SuccessCriteriaMet", "Complete", found),
                None => return list,
            },
            _ => return list,
        };
    list.push(again(early, found));
    if was(last) || (was(early) && quiet && any(members, last).is_some()) {
        list.push(again(last, any(members, last).unwrap_or(found)));
    }
    list
}

fn any<'a>(members: &[MemberState<'a>], type_: &str) -> Option<&'a Value> {
    members.iter().find_map(|member| {
        conditions::find(member.status, type_).filter(|condition| condition["status"] == "True")
    })
}

fn retyped(condition: &Value, type_: &str) -> Value {
    let mut condition = condition.clone();
    condition["type"] = json!(type_);
    condition
}
