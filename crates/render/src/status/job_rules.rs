//! What API servers refuse in a change of a Job's status, for tests: each rule as a kube-apiserver
//! 1.36.3 answered to such a patch.

use serde_json::Value;

use super::conditions::is_true;

/// A status after a merge patch, as long as API servers take it.
pub(super) fn patched(before: &Value, patch: &Value) -> Result<Value, String> {
    let mut after = before.as_object().cloned().unwrap_or_default();
    for (key, value) in patch.as_object().into_iter().flatten() {
        after.insert(key.clone(), value.clone());
    }
    let after = Value::Object(after);
    let count = |status: &Value, field: &str| status[field].as_u64().unwrap_or(0);
    let refuse = |refused: bool, why: &str| if refused { Err(why.to_owned()) } else { Ok(()) };
    let changes = |field: &str| before[field] != after[field];
    let now = |type_: &str| is_true(&after, type_);
    for field in ["succeeded", "failed"] {
        refuse(count(&after, field) < count(before, field), &format!("{field} sinks"))?;
    }
    refuse(
        changes("ready") && count(&after, "ready") > count(&after, "active"),
        "cannot set more ready pods than active",
    )?;
    refuse(!before["startTime"].is_null() && changes("startTime"), "startTime is immutable")?;
    refuse(
        !before["completionTime"].is_null() && changes("completionTime"),
        "completionTime is immutable",
    )?;
    for type_ in ["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"] {
        refuse(is_true(before, type_) && !now(type_), &format!("{type_} cannot be disabled"))?;
    }
    let ended = now("Complete") || now("Failed");
    refuse(now("Complete") && (now("Failed") || now("FailureTarget")), "Complete and Failed")?;
    refuse(now("SuccessCriteriaMet") && now("FailureTarget"), "both criteria")?;
    refuse(now("Complete") && !is_true(before, "SuccessCriteriaMet"), "no SuccessCriteriaMet")?;
    refuse(now("Failed") && !is_true(before, "FailureTarget"), "no FailureTarget")?;
    refuse(ended && count(&after, "active") > 0, "active pods of a finished Job")?;
    refuse(ended && count(&after, "terminating") > 0, "terminating pods of a finished Job")?;
    refuse(ended && after["startTime"].is_null(), "no startTime")?;
    refuse(now("Complete") == after["completionTime"].is_null(), "completionTime and Complete")?;
    refuse(
        now("Complete") && after["completionTime"].as_str() < after["startTime"].as_str(),
        "completionTime before startTime",
    )?;
    Ok(after)
}
