//! Writes a decision. With moves these and the reasons go first, then the clusters: a crash between
//! the two leaves moves that the next look takes up; the other way round it would leave replicas
//! that look like too many. Without moves the clusters go first.

use std::sync::Arc;

use hanse_api::{
    BindingDecision, Move, ResourceBinding, ResourceBindingStatus,
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
    write::{change_status_at_once, namespaced},
};

pub(super) async fn apply(
    world: &World,
    seen: &Arc<ResourceBinding>,
    placed: &Placed,
) -> Result<(), kube::Error> {
    let key = Key::of(seen.as_ref());
    let api: Api<ResourceBinding> = namespaced(&world.means().client, &key);
    let moves = seen.status.as_ref().map(|status| status.moves.as_slice());
    if !placed.stands_in(&seen.spec) && moves.unwrap_or_default() == placed.moves {
        // Without moves nothing is lost in between, and members need not wait for a status.
        let Some(written) = place(&api, seen, placed).await? else {
            return Ok(());
        };
        return explain(world, &api, Arc::new(written), placed)
            .await
            .map(|_| tell(world, seen, placed));
    }
    let Some(written) = explain(world, &api, Arc::clone(seen), placed).await? else {
        return Ok(());
    };
    tell(world, seen, placed);
    if placed.stands_in(&seen.spec) || written.spec != seen.spec {
        // Somebody may have changed the request meanwhile: that event brings the binding again.
        return Ok(());
    }
    place(&api, &written, placed).await.map(|_| ())
}

/// Writes where the replicas go. None when the binding is gone.
async fn place(
    api: &Api<ResourceBinding>,
    known: &ResourceBinding,
    placed: &Placed,
) -> Result<Option<ResourceBinding>, kube::Error> {
    let mut body = json!({
        "metadata": {"resourceVersion": known.resource_version()},
        "spec": {"clusters": placed.clusters},
    });
    if placed.ordinals != known.spec.ordinals {
        body["spec"]["ordinals"] = json!(placed.ordinals);
    }
    match api.patch(&known.name_any(), &PatchParams::default(), &Patch::Merge(&body)).await {
        Ok(written) => Ok(Some(written)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes moves and reasons. None when the binding is gone.
async fn explain(
    world: &World,
    api: &Api<ResourceBinding>,
    known: Arc<ResourceBinding>,
    placed: &Placed,
) -> Result<Option<Arc<ResourceBinding>>, kube::Error> {
    let now = Time(world.means().wall.now());
    let generation = known.metadata.generation;
    let change = |status: &mut ResourceBindingStatus| fill(status, placed, generation, &now);
    change_status_at_once(api, known, change).await
}

fn fill(status: &mut ResourceBindingStatus, placed: &Placed, generation: Option<i64>, now: &Time) {
    status.moves.clone_from(&placed.moves);
    let mut decision = match &status.decision {
        // They may be newer here than where it was looked at.
        Some(known) if placed.unchanged => BindingDecision { shortfall: None, ..known.clone() },
        _ => placed.decision.clone(),
    };
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
