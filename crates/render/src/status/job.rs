//! Jobs: the end is told in two steps, SuccessCriteriaMet or FailureTarget first, because API
//! servers refuse a Complete or Failed without it.

use serde_json::{Map, Value, json};

use super::{Folded, MemberState, Template, conditions, total};

pub(super) fn fold(template: Template<'_>, members: &[MemberState<'_>]) -> Folded {
    let mut status = Map::new();
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        let count = total(members, field);
        if count > 0 || matches!(field, "active" | "succeeded" | "failed") {
            status.insert(field.to_owned(), json!(count));
        }
    }
    let times = |field: &str| {
        let mut all: Vec<&str> = members.iter().filter_map(|m| m.status[field].as_str()).collect();
        all.sort_unstable();
        all
    };
    if let Some(first) = times("startTime").first() {
        status.insert("startTime".to_owned(), json!(first));
    }
    let all = |type_: &str| {
        !members.is_empty() && members.iter().all(|m| conditions::is_true(m.status, type_))
    };
    let any = |type_: &str| {
        members.iter().find_map(|m| {
            conditions::find(m.status, type_).filter(|condition| condition["status"] == "True")
        })
    };
    let mut list = Vec::new();
    let complete = template.decided && all("Complete");
    let prior = &template.object["status"];
    if let Some(failed) = any("Failed").or_else(|| any("FailureTarget")) {
        list.push(retyped(failed, "FailureTarget"));
        if conditions::is_true(prior, "FailureTarget")
            && let Some(failed) = any("Failed")
        {
            list.push(failed.clone());
        }
    } else if complete && let Some(done) = any("Complete") {
        list.push(retyped(done, "SuccessCriteriaMet"));
        if conditions::is_true(prior, "SuccessCriteriaMet") {
            list.push(done.clone());
            if let Some(last) = times("completionTime").last() {
                status.insert("completionTime".to_owned(), json!(last));
            }
        }
    }
    if !list.is_empty() {
        status.insert("conditions".to_owned(), Value::Array(list));
    }
    Folded {
        status: Some(Value::Object(status)),
        ready: total(members, "ready"),
        updated: 0,
        available: complete,
        finished: complete || any("Failed").is_some(),
    }
}

fn retyped(condition: &Value, type_: &str) -> Value {
    let mut condition = condition.clone();
    condition["type"] = json!(type_);
    condition
}
