//! What became of each policy: how much it selects, and who won over it.

use std::{collections::BTreeSet, time::Duration};

use hanse_api::{
    ClusterPropagationPolicy, PolicyStatus, PropagationPolicy,
    conditions::{self, policy, reason},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Api;

use crate::{
    Key, Policy, Queue, Template, World,
    policies::{Policies, PolicyKey, winner},
    write::{change_status, namespaced},
};

/// How long until a kind that is not served is looked for again.
const DISCOVERY_DELAY: Duration = Duration::from_secs(5);

/// What a policy's status should say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Counted {
    selected: usize,
    matched: usize,
    /// Examples of templates that another policy won, with the winner; at most three.
    lost: Vec<String>,
    lost_count: usize,
    complaints: Vec<String>,
}

pub(super) async fn write(
    world: &World,
    policies: &Policies,
    key: &PolicyKey,
    queue: &Queue<PolicyKey>,
) -> Result<(), kube::Error> {
    let Some(policy) = policies.get(key) else {
        return Ok(());
    };
    let kinds: Vec<_> = policy.selectors.iter().map(|s| (&s.api_version, &s.kind)).collect();
    if kinds.iter().any(|(api, kind)| world.templates().kinds().get(api, kind).is_none()) {
        world.templates().rediscover().await?;
        queue.add_after(key.clone(), DISCOVERY_DELAY);
    }
    for (api, kind) in &kinds {
        world.templates().want(api, kind);
    }
    let unread = kinds.iter().any(|(api, kind)| {
        world.templates().kinds().get(api, kind).is_some()
            && !world.templates().is_synced(&format!("{api}/{kind}"))
    });
    if unread {
        // Nothing matched yet is not the same as nothing matches.
        queue.add_after(key.clone(), Duration::from_millis(100));
        return Ok(());
    }
    let counted = count(world, policies, &policy);
    let now = Time(world.means().wall.now());
    let change = |status: &mut PolicyStatus| fill(status, &policy, &counted, &now);
    let bucket = &world.means().status_writes;
    let at = Key::new(&key.namespace, &key.name);
    if key.is_cluster() {
        let api: Api<ClusterPropagationPolicy> = Api::all(world.means().client.clone());
        if let Some(known) = world.objects().cluster_policies.get(&at) {
            change_status(&api, bucket, known, change).await?;
        }
    } else {
        let api: Api<PropagationPolicy> = namespaced(&world.means().client, &at);
        if let Some(known) = world.objects().policies.get(&at) {
            change_status(&api, bucket, known, change).await?;
        }
    }
    Ok(())
}

fn count(world: &World, policies: &Policies, policy: &Policy) -> Counted {
    let kinds = world.templates().kinds();
    let is_namespaced =
        |api: &str, kind: &str| kinds.get(api, kind).map(|served| served.namespaced);
    let mut counted =
        Counted { complaints: policy.complaints(is_namespaced), ..Counted::default() };
    let all = policies.all();
    let mut seen = BTreeSet::new();
    for selector in &policy.selectors {
        if !seen.insert((&selector.api_version, &selector.kind)) {
            continue;
        }
        for template in world.templates().of_kind(&selector.api_version, &selector.kind) {
            tally(&mut counted, &all, policy, &template);
        }
    }
    counted
}

fn tally(
    counted: &mut Counted,
    all: &[std::sync::Arc<Policy>],
    policy: &Policy,
    template: &Template,
) {
    if policy.selects(template).is_none() {
        return;
    }
    counted.matched += 1;
    match winner(all, template) {
        Some(winner) if winner.key != policy.key => {
            counted.lost_count += 1;
            if counted.lost.len() < 3 {
                counted.lost.push(format!("{} to {}", template.key, winner.key));
            }
        }
        _ => counted.selected += 1,
    }
}

fn fill(status: &mut PolicyStatus, policy: &Policy, counted: &Counted, now: &Time) {
    status.observed_generation = policy.generation;
    status.selected = i32::try_from(counted.selected).unwrap_or(i32::MAX);
    for condition in conditions_of(policy, counted, now) {
        conditions::set(&mut status.conditions, condition);
    }
}

fn conditions_of(policy: &Policy, counted: &Counted, now: &Time) -> [Condition; 2] {
    let make = |type_: &str, holds: bool, reason: &str, message: String| {
        conditions::condition(type_, holds, reason, message, policy.generation, now.clone())
    };
    let matched = if counted.matched > 0 {
        let text = format!("{} objects match", counted.matched);
        make(policy::MATCHED, true, reason::MATCHED, text)
    } else {
        let text = format!("no object matches: {}", wanted(policy));
        make(policy::MATCHED, false, reason::NOTHING_MATCHED, text)
    };
    let accepted = if !counted.complaints.is_empty() {
        make(policy::ACCEPTED, false, reason::INVALID, counted.complaints.join("; "))
    } else if counted.lost_count > 0 {
        let mut text = format!("lost {}", counted.lost.join(", "));
        if counted.lost_count > counted.lost.len() {
            text = format!("{text} and {} more", counted.lost_count - counted.lost.len());
        }
        make(policy::ACCEPTED, false, reason::OUTRANKED, text)
    } else {
        make(policy::ACCEPTED, true, reason::ACCEPTED, String::new())
    };
    [matched, accepted]
}

/// The selectors in words.
fn wanted(policy: &Policy) -> String {
    let mut by_selector = BTreeSet::new();
    for selector in &policy.selectors {
        let place = match &selector.namespaces {
            None => format!(" in namespace {}", policy.key.namespace),
            Some(list) if list.is_empty() => String::new(),
            Some(list) => format!(" in namespaces {}", list.join(", ")),
        };
        let which = match (&selector.name, &selector.labels) {
            (Some(name), _) => format!(" named {name}"),
            (None, Some(_)) => " with these labels".to_owned(),
            (None, None) => String::new(),
        };
        let text = format!("{} {}{which}{place}", selector.api_version, selector.kind);
        by_selector.insert(text);
    }
    by_selector.into_iter().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy() -> Policy {
        let policy: PropagationPolicy = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "shop", "generation": 2},
            "spec": {"resourceSelectors": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": "wbe"}]}}))
        .unwrap();
        Policy::of_namespaced(&policy)
    }

    fn status(counted: &Counted) -> PolicyStatus {
        let mut status = PolicyStatus::default();
        let now = Time(jiff::Timestamp::UNIX_EPOCH);
        fill(&mut status, &policy(), counted, &now);
        status
    }

    fn said(status: &PolicyStatus, type_: &str) -> String {
        let found = status.conditions.iter().find(|c| c.type_ == type_).unwrap();
        format!("{} {}: {}", found.status, found.reason, found.message)
    }

    #[test]
    fn a_selector_that_matches_nothing_says_what_was_looked_for() {
        let status = status(&Counted::default());
        assert_eq!(
            said(&status, "Matched"),
            "False NothingMatched: no object matches: apps/v1 Deployment named wbe in namespace shop"
        );
        assert_eq!(said(&status, "Accepted"), "True Accepted: ");
        assert_eq!(status.observed_generation, Some(2));
    }

    #[test]
    fn a_policy_that_lost_a_template_names_the_winner() {
        let counted = Counted {
            matched: 5,
            selected: 1,
            lost: vec!["Deployment shop/web to ClusterPropagationPolicy all".to_owned()],
            lost_count: 4,
            ..Counted::default()
        };
        let status = status(&counted);
        assert_eq!(
            said(&status, "Accepted"),
            "False Outranked: lost Deployment shop/web to ClusterPropagationPolicy all and 3 more"
        );
        assert_eq!(status.selected, 1);
    }
}
