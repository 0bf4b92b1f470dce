//! What became of each override policy and interpreter: whether it is followed, and what it
//! selects.

use hanse_api::{
    ClusterOverridePolicy, OverridePolicy, OverrideRule, OverrideStatus, ResourceInterpreter,
    ResourceInterpreterStatus,
    conditions::{self, policy, reason},
};
use hanse_render::{Overrides, PolicyName, unreadable};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Api;

use super::faults::Origin;
use crate::{
    Key, World,
    propagation::key_of_template,
    write::{change_status, namespaced},
};

pub(super) async fn write(world: &World, origin: &Origin) -> Result<(), kube::Error> {
    match origin {
        Origin::Interpreter(name) => interpreter(world, name, origin).await,
        Origin::Override(PolicyName::Cluster(name)) => {
            let key = Key::new("", name);
            let Some(known) = world.objects().cluster_override_policies.get(&key) else {
                return Ok(());
            };
            let kinds = known.spec.resource_selectors.iter();
            let kinds = kinds.map(|one| (one.api_version.clone(), one.kind.clone())).collect();
            let selected = count(world, &Overrides::new([&*known], []), kinds);
            let judged = judge(world, origin, &known.spec.rules);
            let (generation, now) = (known.metadata.generation, Time(world.means().wall.now()));
            let api: Api<ClusterOverridePolicy> = Api::all(world.means().client.clone());
            let change = |status: &mut OverrideStatus| {
                fill(status, &judged, selected, generation, &now);
            };
            change_status(&api, &world.means().status_writes, known, change).await.map(|_| ())
        }
        Origin::Override(PolicyName::Namespaced(namespace, name)) => {
            let key = Key::new(namespace, name);
            let Some(known) = world.objects().override_policies.get(&key) else {
                return Ok(());
            };
            let kinds = known.spec.resource_selectors.iter();
            let kinds = kinds.map(|one| (one.api_version.clone(), one.kind.clone())).collect();
            let selected = count(world, &Overrides::new([], [&*known]), kinds);
            let judged = judge(world, origin, &known.spec.rules);
            let (generation, now) = (known.metadata.generation, Time(world.means().wall.now()));
            let api: Api<OverridePolicy> = namespaced(&world.means().client, &key);
            let change = |status: &mut OverrideStatus| {
                fill(status, &judged, selected, generation, &now);
            };
            change_status(&api, &world.means().status_writes, known, change).await.map(|_| ())
        }
        // A FederatedManifest's own controller tells what became of its overrides.
        Origin::Override(PolicyName::Manifest(..)) => Ok(()),
    }
}

/// Bound objects that a policy selects.
fn count(
    world: &World,
    policy: &Overrides,
    kinds: std::collections::BTreeSet<(String, String)>,
) -> usize {
    let bound = |key: &crate::TemplateKey| {
        let binding = world.objects().bindings.get(&crate::propagation::key_of_binding(key));
        binding.is_some_and(|binding| key_of_template(&binding.spec.template) == *key)
    };
    let all = kinds.into_iter().flat_map(|(api, kind)| world.templates().of_kind(&api, &kind));
    all.filter(|one| bound(&one.key) && !policy.selecting(&one.head()).is_empty()).count()
}

/// Whether a policy is followed: reason and words.
fn judge(world: &World, origin: &Origin, rules: &[OverrideRule]) -> (&'static str, String) {
    let broken: Vec<String> = unreadable(rules)
        .into_iter()
        .map(|(rule, field, error)| format!("spec.rules[{rule}].{field}.cel: {error}"))
        .collect();
    if !broken.is_empty() {
        return (reason::INVALID, broken.join("; "));
    }
    failing(world, origin, reason::OVERRIDE_FAILED)
}

fn failing(world: &World, origin: &Origin, why: &'static str) -> (&'static str, String) {
    let (count, first) = world.rules().faults_of(origin);
    if count == 0 {
        return (reason::ACCEPTED, String::new());
    }
    let mut words = first.join("; ");
    if count > first.len() {
        words = format!("{words}; and {} more", count - first.len());
    }
    (why, words)
}

fn fill(
    status: &mut OverrideStatus,
    (why, words): &(&'static str, String),
    selected: usize,
    generation: Option<i64>,
    now: &Time,
) {
    status.observed_generation = generation;
    status.selected = i32::try_from(selected).unwrap_or(i32::MAX);
    let matched = if selected == 0 {
        let words =
            "no placed object is selected: compare resourceSelectors with `kubectl get rb -A`";
        (false, reason::NOTHING_MATCHED, words.to_owned())
    } else {
        (true, reason::MATCHED, format!("{selected} placed objects are selected"))
    };
    let (holds, matched, text) = matched;
    let made = |type_: &str, holds: bool, reason: &str, words: String| {
        conditions::condition(type_, holds, reason, words, generation, now.clone())
    };
    conditions::set(&mut status.conditions, made(policy::MATCHED, holds, matched, text));
    let accepted = made(policy::ACCEPTED, *why == reason::ACCEPTED, why, words.clone());
    conditions::set(&mut status.conditions, accepted);
}

async fn interpreter(world: &World, name: &str, origin: &Origin) -> Result<(), kube::Error> {
    let Some(known) = world.objects().interpreters.get(&Key::new("", name)) else {
        return Ok(());
    };
    let (why, words) = match world.rules().refusal(name) {
        Some(refusal) => (reason::INVALID, refusal),
        None => failing(world, origin, reason::INTERPRETER_FAILED),
    };
    let (generation, now) = (known.metadata.generation, Time(world.means().wall.now()));
    let accepted: Condition = conditions::condition(
        policy::ACCEPTED,
        why == reason::ACCEPTED,
        why,
        words,
        generation,
        now,
    );
    let api: Api<ResourceInterpreter> = Api::all(world.means().client.clone());
    let change = |status: &mut ResourceInterpreterStatus| {
        status.observed_generation = generation;
        conditions::set(&mut status.conditions, accepted.clone());
    };
    change_status(&api, &world.means().status_writes, known, change).await.map(|_| ())
}
