//! Writes a decision: moves and reasons first, then the clusters. A crash between the two leaves
//! moves that the next look takes up; the other way round it would leave replicas that look like
//! too many.

use std::sync::Arc;

use hanse_api::{
    Move, ResourceBinding, ResourceBindingStatus,
    conditions::{self, binding, reason},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::plan::{Outcome, Placed, Survival};
use crate::{
    Key, World,
    events::{Subject, Tone},
    write::{change_status, namespaced},
};

pub(super) async fn apply(
    world: &World,
    seen: &Arc<ResourceBinding>,
    placed: &Placed,
) -> Result<(), kube::Error> {
    let key = Key::of(seen.as_ref());
    let api: Api<ResourceBinding> = namespaced(&world.means().client, &key);
    let now = Time(world.means().wall.now());
    let generation = seen.metadata.generation;
    let change = |status: &mut ResourceBindingStatus| fill(status, placed, generation, &now);
    let bucket = &world.means().status_writes;
    let Some(written) = change_status(&api, bucket, Arc::clone(seen), change).await? else {
        return Ok(());
    };
    tell(world, seen, placed);
    if seen.spec.clusters == placed.clusters {
        return Ok(());
    }
    if written.spec != seen.spec {
        // Somebody changed the request meanwhile: that event brings the binding again.
        return Ok(());
    }
    let body = json!({
        "metadata": {"resourceVersion": written.resource_version()},
        "spec": {"clusters": placed.clusters},
    });
    let patch = Patch::Merge(&body);
    api.patch(&key.name, &PatchParams::default(), &patch).await.map(|_| ())
}

fn fill(status: &mut ResourceBindingStatus, placed: &Placed, generation: Option<i64>, now: &Time) {
    status.moves.clone_from(&placed.moves);
    let mut decision = placed.decision.clone();
    decision.at = status.decision.as_ref().and_then(|known| known.at.clone());
    if status.decision.as_ref() != Some(&decision) {
        decision.at = Some(now.clone());
        status.decision = Some(decision);
    }
    let scheduled = scheduled(placed, generation, now);
    conditions::set(&mut status.conditions, scheduled);
    match survivable(&placed.survival, generation, now) {
        Some(condition) => drop(conditions::set(&mut status.conditions, condition)),
        None => status.conditions.retain(|known| known.type_ != binding::SURVIVABLE),
    }
    if let Some(moving) = moving(&placed.moves, generation, now) {
        conditions::set(&mut status.conditions, moving);
    }
}

fn scheduled(placed: &Placed, generation: Option<i64>, now: &Time) -> Condition {
    let replicas: i64 = placed.clusters.iter().map(|c| i64::from(c.replicas)).sum();
    let whole = || match placed.clusters.len() {
        1 => format!("{replicas} replicas in {}", placed.clusters[0].name),
        count => format!("{replicas} replicas in {count} clusters"),
    };
    let (holds, message) = match &placed.outcome {
        Outcome::Scheduled => (true, whole()),
        Outcome::Partial(words) => (true, words.clone()),
        Outcome::Short(_, words) => (false, words.clone()),
        Outcome::PolicyGone => {
            (true, format!("{}; its policy is gone or no longer selects it", whole()))
        }
    };
    let reason = placed.outcome.reason();
    conditions::condition(binding::SCHEDULED, holds, reason, message, generation, now.clone())
}

fn survivable(survival: &Survival, generation: Option<i64>, now: &Time) -> Option<Condition> {
    let (holds, reason, message) = match survival {
        Survival::NotAsked => return None,
        Survival::Survives => (true, reason::SURVIVES, String::new()),
        Survival::WouldNot(words) => (false, reason::WOULD_NOT_SURVIVE, words.clone()),
    };
    let type_ = binding::SURVIVABLE;
    Some(conditions::condition(type_, holds, reason, message, generation, now.clone()))
}

fn moving(moves: &[Move], generation: Option<i64>, now: &Time) -> Option<Condition> {
    if moves.is_empty() {
        return None;
    }
    let open: Vec<String> = moves
        .iter()
        .filter(|item| !item.state.is_final())
        .map(|item| {
            format!("{} from {} to {} ({:?})", item.replicas, item.from, item.to, item.state)
        })
        .collect();
    let (holds, reason, message) = if open.is_empty() {
        (false, reason::NOTHING_MOVES, String::new())
    } else {
        (true, reason::MOVING, open.join(", "))
    };
    let type_ = binding::MOVING;
    Some(conditions::condition(type_, holds, reason, message, generation, now.clone()))
}

/// Says on the template what a user would ask about.
fn tell(world: &World, binding: &ResourceBinding, placed: &Placed) {
    let template = &binding.spec.template;
    let subject = Subject {
        api_version: template.api_version.clone(),
        kind: template.kind.clone(),
        namespace: template.namespace.clone(),
        name: template.name.clone(),
        uid: template.uid.clone(),
    };
    let recorder = &world.means().recorder;
    match &placed.outcome {
        Outcome::Short(reason, words) => {
            recorder.say(&subject, Tone::Warning, reason, words.clone());
        }
        Outcome::Partial(words) => {
            recorder.say(&subject, Tone::Warning, reason::PARTIAL, words.clone());
        }
        Outcome::Scheduled if binding.spec.clusters != placed.clusters => {
            let list: Vec<String> = placed
                .clusters
                .iter()
                .map(|cluster| match cluster.replicas {
                    0 => cluster.name.clone(),
                    replicas => format!("{} {replicas}", cluster.name),
                })
                .collect();
            recorder.say(&subject, Tone::Normal, reason::SCHEDULED, list.join(", "));
        }
        Outcome::Scheduled | Outcome::PolicyGone => {}
    }
    for item in &placed.moves {
        let known = binding.status.iter().flat_map(|status| &status.moves);
        if !known.into_iter().any(|known| known.id == item.id) {
            let words = format!(
                "{} replicas from {} to {}: {}",
                item.replicas, item.from, item.to, item.evidence
            );
            recorder.say(&subject, Tone::Warning, reason::MOVING, words);
        }
    }
}
