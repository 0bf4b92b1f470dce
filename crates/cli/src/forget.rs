//! `hanse forget`: removes a placement whose policy is gone. Deleting a policy leaves what it
//! placed where it is; this is how it is taken away.

use anyhow::{Result, bail};
use hanse_api::{
    ResourceBinding,
    conditions::{binding::SCHEDULED, reason},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Preconditions},
};

use crate::{args::Global, connect::within, named::Named, output};

/// Removes a placement, and what follows it alone.
///
/// # Errors
/// There is none, or a policy still decides about it.
pub(crate) async fn run(global: &Global, template: &str) -> Result<()> {
    let named = Named::read(global, template).await?;
    let Some(binding) = named.binding().await? else {
        bail!("{template} is placed nowhere: there is nothing to forget");
    };
    if let Some(objection) = objection(&binding) {
        bail!("{template} stays: {objection}");
    }
    let home = binding.namespace().unwrap_or_default();
    let api: Api<ResourceBinding> = Api::namespaced(named.client().clone(), &home);
    let all = within("listing bindings", api.list(&ListParams::default())).await?.items;
    let mut gone = vec![binding.clone()];
    gone.extend(all.into_iter().filter(|other| follows_alone(other, &binding)));
    for one in &gone {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: one.uid(),
                resource_version: one.resource_version(),
            }),
            ..DeleteParams::background()
        };
        within("removing the placement", api.delete(&one.name_any(), &params)).await?;
    }
    let names: Vec<String> = gone
        .iter()
        .map(|one| format!("{}/{}", one.spec.template.kind, one.spec.template.name))
        .collect();
    let clusters = binding.spec.clusters.len();
    let words = format!("removed from {clusters} clusters: {}", names.join(", "));
    output::print(global.output, &names, || names.clone(), |_| words)
}

/// Why a placement may not be forgotten.
fn objection(binding: &ResourceBinding) -> Option<String> {
    if !binding.spec.follows.is_empty() {
        return Some(format!(
            "it goes wherever {} go; forget those",
            binding.spec.follows.join(", ")
        ));
    }
    let conditions = binding.status.iter().flat_map(|status| &status.conditions);
    let scheduled = conditions.into_iter().find(|condition| condition.type_ == SCHEDULED);
    match scheduled {
        Some(condition) if condition.reason == reason::POLICY_GONE => None,
        _ => {
            let policy = binding.spec.policy.as_ref();
            let who = policy.map_or_else(
                || "no decision was made yet".to_owned(),
                |policy| {
                    format!(
                        "{} {} decides about it; delete that, or let it select it no longer",
                        policy.kind, policy.name
                    )
                },
            );
            Some(who)
        }
    }
}

/// Whether a companion goes nowhere without this workload, by the same policy.
fn follows_alone(other: &ResourceBinding, workload: &ResourceBinding) -> bool {
    let policy = |one: &ResourceBinding| {
        one.spec.policy.as_ref().map(|policy| (policy.kind.clone(), policy.name.clone()))
    };
    other.spec.follows == [workload.name_any()] && policy(other) == policy(workload)
}

#[cfg(test)]
mod tests {
    use hanse_api::ResourceBindingSpec;
    use serde_json::json;

    use super::*;

    fn binding(why: &str) -> ResourceBinding {
        let spec: ResourceBindingSpec = serde_json::from_value(json!({
            "template": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "policy": {"kind": "PropagationPolicy", "namespace": "shop", "name": "all"}}))
        .unwrap();
        let mut binding = ResourceBinding::new("deployment-1", spec);
        let time = "2026-01-01T00:00:00Z";
        binding.status = serde_json::from_value(json!({"conditions": [{"type": "Scheduled",
            "status": "True", "reason": why, "message": "", "lastTransitionTime": time}]}))
        .unwrap();
        binding
    }

    #[test]
    fn only_what_no_policy_selects_is_forgotten() {
        assert_eq!(objection(&binding("PolicyGone")), None);
        assert_eq!(
            objection(&binding("Scheduled")).unwrap(),
            "PropagationPolicy all decides about it; delete that, or let it select it no longer"
        );
        let mut companion = binding("PolicyGone");
        companion.spec.follows = vec!["deployment-1".to_owned()];
        assert!(objection(&companion).is_some());
    }

    #[test]
    fn what_follows_nobody_else_goes_along() {
        let workload = binding("PolicyGone");
        let mut companion = binding("Scheduled");
        companion.spec.follows = vec!["deployment-1".to_owned()];
        assert!(follows_alone(&companion, &workload));
        companion.spec.follows.push("deployment-2".to_owned());
        assert!(!follows_alone(&companion, &workload));
        assert!(!follows_alone(&binding("PolicyGone"), &workload));
    }
}
