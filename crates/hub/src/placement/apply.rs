//! Writes a decision: clusters, pod numbers, moves and reasons in one write, so that none of them
//! is ever seen without the others. What it means for people, in conditions, is written with the
//! rest of the status.

use std::sync::Arc;

use hanse_api::{
    BindingDecision, BindingSurvival, ResourceBinding, ResourceBindingSpec,
    conditions::{cut, reason},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Map, Value, json};

use super::plan::{Outcome, Placed, Survival};
use crate::{
    Key, World,
    events::{Subject, Tone},
    write::{merge_patch, namespaced, to_value},
};

/// How often a decision is written again because only the status of its binding moved meanwhile.
const TRIES: usize = 6;
/// Words are cut to so many bytes.
const WORDS: usize = 1024;

pub(super) async fn apply(
    world: &World,
    seen: &Arc<ResourceBinding>,
    placed: &Placed,
) -> Result<(), kube::Error> {
    let patch = patch(&seen.spec, placed, world.means().wall.now());
    if patch.is_empty() {
        return Ok(());
    }
    let key = Key::of(seen.as_ref());
    let api: Api<ResourceBinding> = namespaced(&world.means().client, &key);
    let mut version = seen.resource_version();
    for attempt in 1.. {
        let body = json!({"metadata": {"resourceVersion": version}, "spec": patch});
        let ticket = world.objects().bindings.ticket();
        match api.patch(&key.name, &PatchParams::default(), &Patch::Merge(&body)).await {
            Ok(written) => {
                world.objects().bindings.note_written(ticket, written);
                break;
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_conflict() && attempt < TRIES => {
                match api.get_opt(&key.name).await? {
                    Some(newer) if newer.spec == seen.spec => version = newer.resource_version(),
                    // What was decided about is not what is asked any more.
                    Some(_) => return Err(kube::Error::Api(status)),
                    None => return Ok(()),
                }
            }
            Err(error) => return Err(error),
        }
    }
    tell(world, seen, placed);
    Ok(())
}

/// What a decision changes in a binding's spec, as a merge patch.
fn patch(spec: &ResourceBindingSpec, placed: &Placed, now: Timestamp) -> Map<String, Value> {
    let mut patch = Map::new();
    if placed.clusters != spec.clusters {
        patch.insert("clusters".to_owned(), to_value(&placed.clusters));
    }
    if placed.ordinals != spec.ordinals {
        patch.insert("ordinals".to_owned(), to_value(&placed.ordinals));
    }
    if placed.moves != spec.moves {
        patch.insert("moves".to_owned(), to_value(&placed.moves));
    }
    let decision = decided(spec.decision.as_ref(), placed, now);
    let change = match &spec.decision {
        Some(known) if *known == decision => return patch,
        Some(known) => merge_patch(&to_value(known), &to_value(&decision)),
        None => to_value(&decision),
    };
    patch.insert("decision".to_owned(), change);
    patch
}

/// The reasons as they are written: those that are known, with their time, where nothing is new.
pub(super) fn decided(
    known: Option<&BindingDecision>,
    placed: &Placed,
    now: Timestamp,
) -> BindingDecision {
    let message = match &placed.outcome {
        Outcome::Partial(words) | Outcome::Short(_, words) => cut(words, WORDS),
        Outcome::Scheduled | Outcome::PolicyGone => String::new(),
    };
    let survival = match &placed.survival {
        Survival::NotAsked => None,
        Survival::Survives => Some(BindingSurvival { holds: true, message: String::new() }),
        Survival::WouldNot(words) => {
            Some(BindingSurvival { holds: false, message: cut(words, WORDS) })
        }
    };
    let reasons = match known {
        Some(known) if placed.unchanged => BindingDecision { shortfall: None, ..known.clone() },
        _ => placed.decision.clone(),
    };
    let reason = placed.outcome.reason().to_owned();
    let at = known.and_then(|known| known.at.clone());
    let decision = BindingDecision { at, reason, message, survival, ..reasons };
    if known == Some(&decision) {
        return decision;
    }
    BindingDecision { at: Some(Time(now)), ..decision }
}

/// Says on the template what a user would ask about.
pub(super) fn tell(world: &World, binding: &ResourceBinding, placed: &Placed) {
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
        // Companions go where their workloads go: that is said of these.
        Outcome::Scheduled
            if binding.spec.follows.is_empty() && binding.spec.clusters != placed.clusters =>
        {
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
        if !binding.spec.moves.iter().any(|known| known.id == item.id) {
            let words = format!(
                "{} replicas from {} to {}: {}",
                item.replicas, item.from, item.to, item.evidence
            );
            recorder.say(&subject, Tone::Warning, reason::MOVING, words);
        }
    }
}

#[cfg(test)]
mod tests;
