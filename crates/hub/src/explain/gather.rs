//! Gathers what is said of one template: objects and caches in, a report out.

use std::{cmp::Ordering, sync::Arc};

use hanse_api::{
    ResourceBinding,
    conditions::reason::{HELD_FOR_HIGHER_IMPORTANCE, HOLDS_DATA, POLICY_GONE},
};
use hanse_scheduler::Planner;

use super::report::{Explained, Outranked, Said};
use crate::{
    Key, Policies, Policy, Template, TemplateKey, World,
    placement::{self, Waits, fleet::FleetBook},
    policies::{PolicyKey, PolicyKind, winner},
    propagation::key_of_template,
    room::{quantities, resources},
};

pub(super) fn explain(
    world: &World,
    policies: &Policies,
    waits: &Waits,
    key: &Key,
) -> Option<Explained> {
    let binding = world.objects().bindings.get(key)?;
    let spec = &binding.spec;
    let template = world.templates().get(&key_of_template(&spec.template));
    let decided = decided(&binding);
    let gone = decided.as_ref().is_some_and(|said| said.reason == POLICY_GONE);
    let policy = spec.policy.as_ref().map(|policy| PolicyKey::of_ref(policy).to_string());
    let (policy, former_policy) = if gone { (None, policy) } else { (policy, None) };
    let follows = spec.follows.iter().map(|name| {
        let followed = world.objects().bindings.get(&Key::new(&key.namespace, name));
        followed.map_or_else(|| name.clone(), |binding| short_name(&binding))
    });
    let all = policies.all();
    let moves = spec.moves.iter();
    let tenancy = world.tenants().of(&spec.template.namespace);
    Some(Explained {
        binding: key.to_string(),
        template: named(&key_of_template(&spec.template)),
        policy,
        former_policy,
        tenant: tenancy.lease().map(|lease| lease.tenant.clone()),
        outranked: template.as_ref().map(|t| outranked(&all, t)).unwrap_or_default(),
        follows: follows.collect(),
        missing: template.as_ref().map(|t| missing(world, t)).unwrap_or_default(),
        replicas: u32::try_from(spec.replicas).unwrap_or(0),
        needs: template
            .as_ref()
            .map(|t| quantities(&resources(&t.needs.requests)))
            .unwrap_or_default(),
        standing: spec.clusters.clone(),
        moves: moves.filter(|item| !item.state.is_final()).cloned().collect(),
        noted: noted(&binding),
        funnel: funnel(world, policies, waits, &binding, decided.as_ref()),
        decided,
    })
}

/// The decision made again, under the same conditions: what was held for others is left out.
fn funnel(
    world: &World,
    policies: &Policies,
    waits: &Waits,
    binding: &Arc<ResourceBinding>,
    decided: Option<&Said>,
) -> Option<super::Funnel> {
    let spec = &binding.spec;
    if !spec.follows.is_empty() || !spec.finished.is_empty() {
        return None;
    }
    let mut book = FleetBook::without(world, &std::collections::BTreeSet::new());
    let mut seen = placement::observe(world, policies, Arc::clone(binding), &mut book);
    let mut planner = Planner::default();
    let is_held = decided.is_some_and(|said| said.reason == HELD_FOR_HIGHER_IMPORTANCE);
    let held_for = if is_held {
        placement::leave_out_held(world, waits, &mut seen, &mut planner)
    } else {
        Vec::new()
    };
    let request = placement::request(&seen)?;
    let key = placement::key(binding);
    let told = super::funnel(&mut planner, &seen.fleet, &request, key);
    Some(super::Funnel { held_for, ..told })
}

fn decided(binding: &ResourceBinding) -> Option<Said> {
    let decision = binding.spec.decision.as_ref()?;
    let message = placement::in_words(&binding.spec, decision);
    Some(Said { reason: decision.reason.clone(), message })
}

fn noted(binding: &ResourceBinding) -> Vec<Said> {
    let notes = binding.spec.decision.iter().flat_map(|decision| &decision.notes);
    let notes =
        notes.map(|note| Said { reason: note.reason.clone(), message: note.message.clone() });
    // Copies out of the decision stay for their data.
    let told = binding.status.iter().flat_map(|status| &status.clusters);
    let kept = told.filter_map(|told| {
        let words = told.message.strip_prefix(HOLDS_DATA)?.strip_prefix(": ")?;
        Some(Said { reason: HOLDS_DATA.to_owned(), message: words.to_owned() })
    });
    notes.chain(kept).collect()
}

fn short_name(binding: &ResourceBinding) -> String {
    format!("{}/{}", binding.spec.template.kind, binding.spec.template.name)
}

/// `Kind/name in namespace`.
pub(super) fn named(key: &TemplateKey) -> String {
    if key.namespace.is_empty() {
        format!("{}/{}", key.kind, key.name)
    } else {
        format!("{}/{} in {}", key.kind, key.name, key.namespace)
    }
}

/// What a workload names and the federation does not have. A kind that is not listed yet may have
/// it: nothing is said of it.
fn missing(world: &World, template: &Template) -> Vec<String> {
    let names = template.names.iter().filter_map(|reference| {
        let key = TemplateKey {
            api_version: reference.api_version.clone(),
            kind: reference.kind.clone(),
            namespace: template.key.namespace.clone(),
            name: reference.name.clone(),
        };
        // Every namespace of a member has its own.
        let of_the_cluster = matches!(
            (reference.kind.as_str(), reference.name.as_str()),
            ("ServiceAccount", "default") | ("ConfigMap", "kube-root-ca.crt")
        );
        let absent =
            world.templates().is_synced(&key.kind_id()) && world.templates().get(&key).is_none();
        (absent && !of_the_cluster).then(|| format!("{}/{}", reference.kind, reference.name))
    });
    names.collect()
}

/// The policies that select a template and do not decide about it, with what they lack.
fn outranked(all: &[Arc<Policy>], template: &Template) -> Vec<Outranked> {
    let Some(wins) = winner(all, template) else {
        return Vec::new();
    };
    let others = all.iter().filter(|policy| policy.key != wins.key);
    others.filter_map(|policy| lost(policy, wins, template)).collect()
}

/// Why a policy that selects a template does not decide about it, and what would change that.
fn lost(policy: &Policy, wins: &Policy, template: &Template) -> Option<Outranked> {
    let (own, better) = (policy.selects(template)?, wins.selects(template)?);
    let above = wins.priority.saturating_add(1);
    let raise = format!("write priority: {above} in {}", policy.key);
    let narrow = format!("narrow the resourceSelectors of {}", wins.key);
    let (why, remedy) = if wins.mandatory != policy.mandatory {
        let remedy = if policy.key.kind == PolicyKind::Cluster {
            format!("write mandatory: true and priority: {above} in {}", policy.key)
        } else {
            format!("{narrow}: no policy of a namespace outranks one that is mandatory")
        };
        ("the other one is mandatory".to_owned(), remedy)
    } else if wins.priority != policy.priority {
        let why = format!("priority {} is below {}", policy.priority, wins.priority);
        (why, format!("{raise}, or {narrow}"))
    } else if better.cmp(&own) == Ordering::Greater {
        let why = format!("it selects by {own:?}, the other one by {better:?}").to_lowercase();
        (why, format!("{raise}, or {narrow}"))
    } else if policy.key.kind == PolicyKind::Cluster && wins.key.kind != PolicyKind::Cluster {
        ("it is cluster-wide, the other one is of the namespace".to_owned(), raise)
    } else if wins.created < policy.created {
        ("the other one is older".to_owned(), raise)
    } else {
        ("the other one comes first by name".to_owned(), raise)
    };
    Some(Outranked { policy: policy.key.to_string(), why, remedy })
}
