//! Job: runs pods until enough of them succeeded, or too many failed.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{PodName, active, already, condition, pod_from_template, ready, seconds};
use crate::{
    action::Action,
    objects::{self, Key, Kind, Objects},
};

/// What one Job needs.
pub fn plan(objects: &Objects, key: &Key, now: Timestamp) -> Vec<Action> {
    let Some(job) = objects.get(Kind::Job, key) else {
        return Vec::new();
    };
    let done = ["Complete", "Failed"].iter().any(|kind| objects::condition_true(job, kind));
    if objects::terminating(job) || done || job.data["spec"]["suspend"] == true {
        return Vec::new();
    }
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    let pods = objects.owned_by(uid, Kind::Pod);
    let phase = |wanted: &str| {
        pods.iter().filter(|pod| objects::text(pod, "/status/phase") == Some(wanted)).count()
    };
    let (succeeded, failed) = (phase("Succeeded"), phase("Failed"));
    let running: Vec<_> = pods.iter().filter(|pod| active(pod)).collect();
    let number = |pointer: &str, default: i64| {
        usize::try_from(objects::int(job, pointer).unwrap_or(default)).unwrap_or(0)
    };
    let completions = number("/spec/completions", 1);
    let parallelism = number("/spec/parallelism", 1);
    let failure = failed > number("/spec/backoffLimit", 6);
    let complete = succeeded >= completions;
    let mut actions = Vec::new();
    if !failure && !complete {
        let wanted = parallelism.min(completions - succeeded);
        for _ in running.len()..wanted {
            let prefix = format!("{}-", key.1);
            let pod = pod_from_template(Kind::Job, job, &PodName::Generate(&prefix));
            actions.push(Action::create(Kind::Pod, &key.0, pod));
        }
    }
    let started =
        objects::text(job, "/status/startTime").map_or_else(|| seconds(now), str::to_owned);
    let mut status = json!({
        "startTime": started, "active": running.len(), "succeeded": succeeded, "failed": failed,
        "ready": running.iter().filter(|pod| ready(pod)).count(),
    });
    let mut conclude = |criterion: &str, kind: &str, said: (&str, &str)| {
        let conditions = [criterion, kind].map(|kind| condition(job, kind, true, said, now));
        status["conditions"] = Value::from(conditions.to_vec());
    };
    if failure {
        conclude("FailureTarget", "Failed", ("BackoffLimitExceeded", "too many pods failed"));
        actions.extend(running.iter().map(|pod| Action::delete(Kind::Pod, pod)));
    } else if complete {
        conclude("SuccessCriteriaMet", "Complete", ("CompletionsReached", "enough pods succeeded"));
        status["completionTime"] = json!(seconds(now));
    }
    if !already(&job.data["status"], &status) {
        actions.push(Action::Status { kind: Kind::Job, key: key.clone(), status });
    }
    actions
}
