//! Deployment: one ReplicaSet per template, rolled within surge and unavailability.

use std::sync::Arc;

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::{already, condition, owner_reference, seconds, short_hash};
use crate::{
    action::Action,
    objects::{self, Key, Kind, Objects},
};

const REVISION: &str = "deployment.kubernetes.io/revision";
const HASH: &str = "pod-template-hash";

/// The ReplicaSets of a Deployment at one moment.
struct Rollout<'a> {
    deployment: &'a Arc<DynamicObject>,
    desired: i64,
    surge: i64,
    unavailable: i64,
    recreate: bool,
    hash: String,
    current: Option<&'a Arc<DynamicObject>>,
    old: Vec<&'a Arc<DynamicObject>>,
}

/// What one Deployment needs.
pub fn plan(objects: &Objects, key: &Key, now: Timestamp) -> Vec<Action> {
    let Some(deployment) = objects.get(Kind::Deployment, key) else {
        return Vec::new();
    };
    if objects::terminating(deployment) {
        return Vec::new();
    }
    let rollout = Rollout::observe(objects, deployment);
    let mut actions = rollout.scale();
    actions.extend(rollout.clean_up());
    actions.extend(rollout.status(key, now));
    actions
}

/// A share of replicas: a number, or a percentage rounded up or down.
fn share(value: &Value, of: i64, default: &str, up: bool) -> i64 {
    let percent = |text: &str| {
        let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
        Some(if up { (of * percent + 99) / 100 } else { of * percent / 100 })
    };
    match value {
        Value::Number(number) => number.as_i64().unwrap_or_default(),
        Value::String(text) => percent(text).unwrap_or_default(),
        _ => percent(default).unwrap_or_default(),
    }
}

fn replicas(set: &DynamicObject) -> i64 {
    objects::int(set, "/spec/replicas").unwrap_or(1)
}

fn available(set: &DynamicObject) -> i64 {
    objects::int(set, "/status/availableReplicas").unwrap_or_default()
}

fn revision(set: &DynamicObject) -> i64 {
    let annotation = set.metadata.annotations.as_ref().and_then(|all| all.get(REVISION));
    annotation.and_then(|revision| revision.parse().ok()).unwrap_or_default()
}

impl<'a> Rollout<'a> {
    fn observe(objects: &'a Objects, deployment: &'a Arc<DynamicObject>) -> Self {
        let spec = &deployment.data["spec"];
        let desired = objects::int(deployment, "/spec/replicas").unwrap_or(1);
        let strategy = &spec["strategy"];
        let rolling = &strategy["rollingUpdate"];
        let surge = share(&rolling["maxSurge"], desired, "25%", true);
        let mut unavailable = share(&rolling["maxUnavailable"], desired, "25%", false);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        let hash = short_hash(&spec["template"]);
        let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        let (current, mut old): (Vec<_>, Vec<_>) = objects
            .owned_by(uid, Kind::ReplicaSet)
            .into_iter()
            .filter(|set| !objects::terminating(set))
            .partition(|set| {
                set.metadata.labels.as_ref().and_then(|labels| labels.get(HASH)) == Some(&hash)
            });
        old.sort_by_key(|set| revision(set));
        let recreate = strategy["type"] == "Recreate";
        let current = current.first().copied();
        Self { deployment, desired, surge, unavailable, recreate, hash, current, old }
    }

    fn paused(&self) -> bool {
        self.deployment.data["spec"]["paused"] == true
    }

    fn total(&self) -> i64 {
        self.old.iter().copied().chain(self.current).map(|set| replicas(set)).sum()
    }

    /// Creates the current set and moves replicas from the old ones to it.
    fn scale(&self) -> Vec<Action> {
        let Some(current) = self.current else {
            return if self.paused() { Vec::new() } else { vec![self.create()] };
        };
        let mut actions = Vec::new();
        let wanted = self.wanted_of_current(replicas(current));
        if wanted != replicas(current) {
            actions.push(resize(current, wanted));
        }
        if self.paused() {
            return actions;
        }
        let last = self.old.last().copied().map_or(0, |set| revision(set));
        if revision(current) < last {
            let body = json!({"metadata": {"annotations": {REVISION: (last + 1).to_string()}}});
            let key = objects::key_of(current);
            actions.push(Action::Patch { kind: Kind::ReplicaSet, key, body });
        }
        actions.extend(self.scale_down_old(current));
        actions
    }

    fn create(&self) -> Action {
        let deployment = self.deployment;
        let name = deployment.metadata.name.clone().unwrap_or_default();
        let namespace = deployment.metadata.namespace.clone().unwrap_or_default();
        let next = self.old.last().copied().map_or(0, |set| revision(set)) + 1;
        let spec = &deployment.data["spec"];
        let mut template = spec["template"].clone();
        template["metadata"]["labels"][HASH] = json!(self.hash);
        let mut selector = spec["selector"].clone();
        selector["matchLabels"][HASH] = json!(self.hash);
        let body = json!({
            "metadata": {
                "name": format!("{name}-{}", self.hash),
                "labels": template["metadata"]["labels"],
                "annotations": {REVISION: next.to_string()},
                "ownerReferences": owner_reference(Kind::Deployment, deployment),
            },
            "spec": {
                "replicas": self.wanted_of_current(0), "selector": selector, "template": template,
                "minReadySeconds": spec["minReadySeconds"].as_i64().unwrap_or(0),
            },
        });
        Action::create(Kind::ReplicaSet, &namespace, body)
    }

    fn wanted_of_current(&self, now: i64) -> i64 {
        let old: i64 = self.old.iter().map(|set| replicas(set)).sum();
        if self.recreate {
            let running: i64 =
                self.old.iter().filter_map(|set| objects::int(set, "/status/replicas")).sum();
            return if old + running > 0 { now.min(self.desired) } else { self.desired };
        }
        if now >= self.desired {
            return self.desired;
        }
        (self.desired + self.surge - old).clamp(now, self.desired)
    }

    fn scale_down_old(&self, current: &DynamicObject) -> Vec<Action> {
        let minimum = if self.recreate { 0 } else { self.desired - self.unavailable };
        let missing = (replicas(current) - available(current)).max(0);
        let mut budget = self.total() - minimum - missing;
        let serving: i64 = self
            .old
            .iter()
            .copied()
            .chain([self.current].into_iter().flatten())
            .map(|set| available(set).min(replicas(set)))
            .sum();
        let mut healthy = serving - minimum;
        if self.recreate {
            (budget, healthy) = (i64::MAX, i64::MAX);
        }
        let mut actions = Vec::new();
        for set in &self.old {
            let size = replicas(set);
            let broken = (size - available(set)).clamp(0, size).min(budget.max(0));
            let sound = (size - broken).min(healthy.max(0)).min((budget - broken).max(0));
            if broken + sound > 0 {
                actions.push(resize(set, size - broken - sound));
                budget = budget.saturating_sub(broken + sound);
                healthy = healthy.saturating_sub(sound);
            }
        }
        actions
    }

    /// Deletes empty old sets beyond the history that is kept.
    fn clean_up(&self) -> Vec<Action> {
        let limit = objects::int(self.deployment, "/spec/revisionHistoryLimit").unwrap_or(10);
        let limit = usize::try_from(limit).unwrap_or(10);
        let empty: Vec<_> = self
            .old
            .iter()
            .filter(|set| replicas(set) == 0 && objects::int(set, "/status/replicas") == Some(0))
            .collect();
        let surplus = empty.len().saturating_sub(limit);
        empty.into_iter().take(surplus).map(|set| Action::delete(Kind::ReplicaSet, set)).collect()
    }

    fn status(&self, key: &Key, now: Timestamp) -> Option<Action> {
        let all = || self.old.iter().copied().chain(self.current);
        let sum =
            |pointer: &str| -> i64 { all().filter_map(|set| objects::int(set, pointer)).sum() };
        let updated = self.current.and_then(|set| objects::int(set, "/status/replicas"));
        let (running, available) = (sum("/status/replicas"), sum("/status/availableReplicas"));
        let updated = updated.unwrap_or_default();
        let enough = available >= self.desired - self.unavailable;
        let complete =
            updated == self.desired && running == self.desired && available >= self.desired;
        let said = if enough {
            ("MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        let counts = json!({
            "replicas": running, "updatedReplicas": updated, "availableReplicas": available,
            "readyReplicas": sum("/status/readyReplicas"),
            "unavailableReplicas": (self.desired.max(running) - available).max(0),
        });
        let progressed = !already(&self.deployment.data["status"], &counts);
        let mut status = counts;
        status["observedGeneration"] = json!(self.deployment.metadata.generation);
        status["conditions"] = json!([
            condition(self.deployment, "Available", enough, said, now),
            self.progressing(complete, progressed, now),
        ]);
        let current = &self.deployment.data["status"];
        (!already(current, &status)).then(|| Action::Status {
            kind: Kind::Deployment,
            key: key.clone(),
            status,
        })
    }

    fn progressing(&self, complete: bool, progressed: bool, now: Timestamp) -> Value {
        let name = format!(
            "{}-{}",
            self.deployment.metadata.name.as_deref().unwrap_or_default(),
            self.hash
        );
        if complete {
            let text = format!("ReplicaSet \"{name}\" has successfully progressed.");
            let said = ("NewReplicaSetAvailable", text.as_str());
            return condition(self.deployment, "Progressing", true, said, now);
        }
        let deadline =
            objects::int(self.deployment, "/spec/progressDeadlineSeconds").unwrap_or(600);
        let text = format!("ReplicaSet \"{name}\" is progressing.");
        let said = ("ReplicaSetUpdated", text.as_str());
        let mut going = condition(self.deployment, "Progressing", true, said, now);
        if progressed {
            going["lastUpdateTime"] = json!(seconds(now));
            return going;
        }
        let since = going["lastUpdateTime"].as_str().and_then(|time| time.parse().ok());
        let late =
            since.is_some_and(|since: Timestamp| now.as_second() - since.as_second() > deadline);
        if late && !self.paused() {
            let text = format!("ReplicaSet \"{name}\" has timed out progressing.");
            let said = ("ProgressDeadlineExceeded", text.as_str());
            return condition(self.deployment, "Progressing", false, said, now);
        }
        going
    }
}

fn resize(set: &Arc<DynamicObject>, replicas: i64) -> Action {
    let body = json!({"spec": {"replicas": replicas}});
    Action::Patch { kind: Kind::ReplicaSet, key: objects::key_of(set), body }
}
