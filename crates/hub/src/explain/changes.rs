//! What changed policies would move, on paper.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hanse_api::{ResourceBinding, ResourceBindingSpec, TemplateRef};
use hanse_scheduler::{Explanation, Fleet, Planner, Request};
use kube::core::ObjectMeta;

use super::{
    funnel,
    gather::named,
    report::{Changed, Changes, Step},
};
use crate::{
    Key, Policies, Policy, PolicyKey, Template, World,
    placement::{self, fleet::FleetBook, moves},
    policies::winner,
    propagation::{binding_key, key_of_template},
    room::{quantities, resources},
};

/// What would become of the workloads that changed policies decide about, or did. They are planned
/// in order of importance, and each takes its room from those that follow.
pub(super) fn changes(world: &World, policies: &Policies, changed: Vec<Policy>) -> Changes {
    let named: BTreeSet<PolicyKey> = changed.iter().map(|policy| policy.key.clone()).collect();
    let kinds: BTreeSet<(String, String)> = changed
        .iter()
        .flat_map(|policy| &policy.selectors)
        .map(|selector| (selector.api_version.clone(), selector.kind.clone()))
        .collect();
    let after = overlay(policies, changed);
    let mut affected = bindings(world, &after, &named, &kinds);
    affected.sort_by_key(|(binding, key)| (Reverse(binding.spec.importance), key.clone()));
    let mut book = FleetBook::without(world, &BTreeSet::new());
    let mut planner = Planner::default();
    let workloads = affected
        .into_iter()
        .filter_map(|(binding, key)| one(world, &after, &mut book, &mut planner, &binding, &key));
    let workloads = workloads.collect();
    let unknown = kinds.into_iter().filter(|(api_version, kind)| {
        !world.templates().is_synced(&format!("{api_version}/{kind}"))
    });
    let unknown_kinds =
        unknown.map(|(api_version, kind)| format!("{api_version}/{kind}")).collect();
    Changes { workloads, unknown_kinds }
}

/// All policies as they would be. A changed one keeps its age; a new one is the youngest.
fn overlay(policies: &Policies, changed: Vec<Policy>) -> Policies {
    let after = Policies::default();
    for policy in policies.all().iter() {
        after.set(&policy.key, Some(Policy::clone(policy)));
    }
    for mut policy in changed {
        policy.created = policies.get(&policy.key).map_or(i64::MAX, |known| known.created);
        let key = policy.key.clone();
        after.set(&key, Some(policy));
    }
    after
}

/// Bindings as they would be: those of templates that a changed policy would decide about, and
/// those about which it decides now.
fn bindings(
    world: &World,
    after: &Policies,
    changed: &BTreeSet<PolicyKey>,
    kinds: &BTreeSet<(String, String)>,
) -> Vec<(Arc<ResourceBinding>, Key)> {
    let mut keys: BTreeSet<_> = kinds
        .iter()
        .flat_map(|(api_version, kind)| world.templates().of_kind(api_version, kind))
        .map(|template| template.key.clone())
        .collect();
    let of_changed = world.objects().bindings.all().into_iter().filter(|binding| {
        let policy = binding.spec.policy.as_ref().map(PolicyKey::of_ref);
        policy.is_some_and(|policy| changed.contains(&policy))
    });
    keys.extend(of_changed.map(|binding| key_of_template(&binding.spec.template)));
    let all = after.all();
    keys.into_iter()
        .filter_map(|key| {
            let template = world.templates().get(&key)?;
            let at = binding_key(&key);
            let known = world.objects().bindings.get(&at);
            if known.as_ref().is_some_and(|binding| !binding.spec.follows.is_empty()) {
                // It goes with its workload.
                return None;
            }
            let wins = winner(&all, &template);
            let decides = wins.is_some_and(|policy| changed.contains(&policy.key));
            let decided = known.as_ref().and_then(|binding| binding.spec.policy.as_ref());
            let decided =
                decided.is_some_and(|policy| changed.contains(&PolicyKey::of_ref(policy)));
            (decides || decided).then(|| {
                let binding = with_policy(known.as_deref(), &at, &template, wins);
                (Arc::new(binding), at)
            })
        })
        .collect()
}

fn with_policy(
    known: Option<&ResourceBinding>,
    at: &Key,
    template: &Template,
    wins: Option<&Arc<Policy>>,
) -> ResourceBinding {
    let mut binding = known.cloned().unwrap_or_else(|| fresh(at, template));
    if let Some(policy) = wins {
        binding.spec.policy = Some(policy.reference());
        binding.spec.importance = policy.importance;
    }
    binding
}

/// The binding of a template that has none yet.
fn fresh(at: &Key, template: &Template) -> ResourceBinding {
    let key = &template.key;
    let spec = ResourceBindingSpec {
        template: TemplateRef {
            api_version: key.api_version.clone(),
            kind: key.kind.clone(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: template.uid.clone(),
            manifest: String::new(),
        },
        replicas: i32::try_from(template.replicas.unwrap_or(0)).unwrap_or(i32::MAX),
        replica_request: quantities(&resources(&template.needs.requests)),
        ..ResourceBindingSpec::default()
    };
    let metadata = ObjectMeta {
        name: Some(at.name.clone()),
        namespace: Some(at.namespace.clone()),
        ..ObjectMeta::default()
    };
    ResourceBinding { metadata, spec, status: None }
}

fn one(
    world: &World,
    after: &Policies,
    book: &mut FleetBook,
    planner: &mut Planner,
    binding: &Arc<ResourceBinding>,
    key: &Key,
) -> Option<Changed> {
    let seen = placement::observe(world, after, Arc::clone(binding), book);
    let request = placement::request(&seen)?;
    let told = planner.explain(&seen.fleet, &request, placement::key(binding));
    let before: BTreeMap<String, u32> =
        request.previous.iter().map(|(name, count)| (name.to_string(), count)).collect();
    let placed: BTreeMap<String, u32> = match &told.outcome {
        Ok(decision) => {
            decision.assignment.iter().map(|(name, count)| (name.to_string(), count)).collect()
        }
        Err(_) => before.clone(),
    };
    let changed = Changed {
        template: named(&key_of_template(&binding.spec.template)),
        policy: seen.policy.as_ref().map(|policy| policy.key.to_string()),
        steps: steps(&seen.fleet, &request, &told, &before, &placed),
        outcome: funnel::outcome(&told),
        before,
        after: placed.clone(),
    };
    let needs = Arc::clone(&seen.needs);
    drop(seen);
    let clusters: Vec<_> = placed
        .into_iter()
        .map(|(name, replicas)| hanse_api::ClusterReplicas {
            name,
            replicas: i32::try_from(replicas).unwrap_or(i32::MAX),
        })
        .collect();
    book.reserve(key, &clusters, &needs);
    Some(changed)
}

fn steps(
    fleet: &Fleet,
    request: &Request,
    told: &Explanation,
    before: &BTreeMap<String, u32>,
    after: &BTreeMap<String, u32>,
) -> Vec<Step> {
    let less = |from: &BTreeMap<String, u32>, than: &BTreeMap<String, u32>| {
        let differ = from.iter().map(|(name, count)| {
            let other = than.get(name).copied().unwrap_or(0);
            (name.clone(), count.saturating_sub(other))
        });
        differ.filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>()
    };
    let (mut losses, mut gains) = (less(before, after), less(after, before));
    let mut steps = Vec::new();
    for (from, to, replicas) in moves::pair(&losses, &gains) {
        for (all, name) in [(&mut losses, &from), (&mut gains, &to)] {
            if let Some(left) = all.get_mut(name) {
                *left -= replicas;
            }
        }
        let why = why_not(fleet, request, told, &from, after);
        steps.push(Step { from: Some(from), to: Some(to), replicas, why });
    }
    for (name, replicas) in losses.into_iter().filter(|(_, left)| *left > 0) {
        let why = why_not(fleet, request, told, &name, after);
        steps.push(Step { from: Some(name), to: None, replicas, why });
    }
    for (name, replicas) in gains.into_iter().filter(|(_, left)| *left > 0) {
        let why = "they had no place so far".to_owned();
        steps.push(Step { from: None, to: Some(name), replicas, why });
    }
    // Objects without replicas come and go whole.
    let objects = |from: &BTreeMap<String, u32>, than: &BTreeMap<String, u32>| {
        let bare = from.iter().filter(|(name, count)| **count == 0 && !than.contains_key(*name));
        bare.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    for name in objects(before, after) {
        let why = why_not(fleet, request, told, &name, after);
        steps.push(Step { from: Some(name), to: None, replicas: 0, why });
    }
    for name in objects(after, before) {
        let why = "the policy selects it".to_owned();
        steps.push(Step { from: None, to: Some(name), replicas: 0, why });
    }
    steps
}

/// Why a cluster keeps less than it has.
fn why_not(
    fleet: &Fleet,
    request: &Request,
    told: &Explanation,
    name: &str,
    after: &BTreeMap<String, u32>,
) -> String {
    let Some(member) = fleet.get(name) else {
        return "it is no cluster of the federation any more".to_owned();
    };
    let rules = &request.rules;
    if !rules.select(member) {
        return format!("no entry of placement.clusters selects {name}");
    }
    let keeps = after.get(name).copied().unwrap_or(0);
    let row = told.rows.iter().find(|row| *row.member == *name);
    if let Some(max) = row.and_then(|row| row.max).filter(|max| keeps >= *max) {
        return format!("replicas.bounds allow at most {max} in {name}");
    }
    if rules.spread.iter().any(|spread| spread.key.of(member).is_empty()) {
        return format!("{name} is in no domain of placement.spread");
    }
    if row.is_none() {
        return format!("{name} is not possible: see `hanse explain`");
    }
    if keeps == 0 && !rules.spread.is_empty() {
        return "placement.spread leaves it out".to_owned();
    }
    if rules.survive.is_some() && rules.steady {
        return "placement.survive wants more of them in other domains".to_owned();
    }
    "its share is smaller".to_owned()
}

impl Changed {
    /// Whether anything would come, go or move.
    pub fn is_change(&self) -> bool {
        !self.steps.is_empty()
    }
}
