//! One template, its binding and what became of it: `hanse tree`, and what the binding itself says
//! when the hub cannot explain.

use anyhow::{Result, bail};
use hanse_api::{
    MemberCluster, ResourceBinding,
    conditions::{binding::SCHEDULED, reason::POLICY_GONE},
};
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams},
};
use serde_json::json;

use crate::{args::Global, connect::within, named::Named, output, status};

/// A template with what belongs to it.
pub(crate) struct Found {
    template: DynamicObject,
    binding: Option<ResourceBinding>,
    /// Templates of the bindings that it follows.
    followed: Vec<String>,
    members: Vec<MemberCluster>,
}

impl Found {
    /// `namespace/name` of its binding; absent when no policy selects it.
    pub(crate) fn binding(&self) -> Option<String> {
        let binding = self.binding.as_ref()?;
        Some(format!("{}/{}", binding.namespace().unwrap_or_default(), binding.name_any()))
    }
}

/// Prints where a template runs.
///
/// # Errors
/// When there is no such template, or the API cannot be reached.
pub(crate) async fn tree(global: &Global, name: &str) -> Result<()> {
    let named = Named::read(global, name).await?;
    if named.kind == "FederatedManifest" {
        return manifest(global, &named).await;
    }
    let found = find(&named).await?;
    let value = json!({ "template": found.template, "binding": found.binding });
    let names = || vec![name.to_owned()];
    output::print(global.output, &value, names, |_| draw(name, &found))
}

/// Prints where each object of a FederatedManifest runs.
async fn manifest(global: &Global, named: &Named) -> Result<()> {
    let bindings = named.bindings().await?;
    let mut all = Vec::new();
    for binding in bindings.iter().filter(|one| one.spec.template.manifest == named.name) {
        let template = &binding.spec.template;
        let name = format!("{}/{}", template.kind.to_lowercase(), template.name);
        all.push((name, find(&named.held(template)).await?));
    }
    if all.is_empty() {
        bail!(named.nothing_placed().await?);
    }
    let values: Vec<_> = all
        .iter()
        .map(|(_, found)| json!({ "template": found.template, "binding": found.binding }))
        .collect();
    let names = || all.iter().map(|(name, _)| name.clone()).collect();
    output::print(global.output, &values, names, |_| {
        all.iter().map(|(name, found)| draw(name, found)).collect::<Vec<_>>().join("\n\n")
    })
}

/// Prints what the binding itself says.
///
/// # Errors
/// When the result cannot be written in its form.
pub(crate) fn written(global: &Global, name: &str, found: &Found) -> Result<()> {
    let value = json!({
        "template": name,
        "policy": found.binding.as_ref().and_then(|binding| binding.spec.policy.clone()),
        "follows": found.followed,
        "clusters": found.binding.as_ref().map(|binding| binding.spec.clusters.clone()),
        "status": found.binding.as_ref().and_then(|binding| binding.status.clone()),
    });
    let names = || vec![name.to_owned()];
    output::print(global.output, &value, names, |_| reasons(name, found))
}

/// Finds what belongs to a template.
///
/// # Errors
/// When there is no such template, or the API cannot be reached.
pub(crate) async fn find(named: &Named) -> Result<Found> {
    let bindings = named.bindings().await?;
    let binding = bindings.iter().find(|binding| named.is_of(binding));
    let template = match binding {
        Some(binding) => serde_json::from_value(named.template(&binding.spec.template).await?)?,
        None => named.unplaced().await?,
    };
    let follows = |other: &&ResourceBinding| {
        binding.is_some_and(|binding| binding.spec.follows.contains(&other.name_any()))
    };
    let said = |other: &ResourceBinding| {
        format!("{}/{}", other.spec.template.kind.to_lowercase(), other.spec.template.name)
    };
    let followed = bindings.iter().filter(follows).map(said).collect();
    let binding = binding.cloned();
    let members: Api<MemberCluster> = Api::all(named.client().clone());
    let members = within("listing members", members.list(&ListParams::default())).await?.items;
    Ok(Found { template, binding, followed, members })
}

/// The short names people use most.
pub(crate) fn short(name: &str) -> Option<&'static str> {
    Some(match name {
        "deploy" => "Deployment",
        "sts" => "StatefulSet",
        "ds" => "DaemonSet",
        "svc" => "Service",
        "cm" => "ConfigMap",
        "sa" => "ServiceAccount",
        "gs" => "GlobalService",
        "fm" => "FederatedManifest",
        _ => return None,
    })
}

fn draw(name: &str, found: &Found) -> String {
    let mut lines = vec![format!(
        "{name} (namespace {})",
        found.template.namespace().unwrap_or_else(|| "-".to_owned())
    )];
    let Some(binding) = &found.binding else {
        lines.push("└─ no policy selects it: it runs nowhere".to_owned());
        return lines.join("\n");
    };
    if let Some(policy) = &binding.spec.policy {
        let home = if policy.namespace.is_empty() { "" } else { "/" };
        lines.push(format!("├─ policy {} {}{home}{}", policy.kind, policy.namespace, policy.name));
    }
    lines.push(format!("└─ binding {} ({} replicas)", binding.name_any(), binding.spec.replicas));
    let status = binding.status.clone().unwrap_or_default();
    let last = binding.spec.clusters.len().saturating_sub(1);
    for (index, cluster) in binding.spec.clusters.iter().enumerate() {
        let branch = if index == last { "└─" } else { "├─" };
        let seen = status.clusters.iter().find(|seen| seen.name == cluster.name);
        let state = seen.map_or_else(
            || "not applied yet".to_owned(),
            |seen| {
                let said = if seen.message.is_empty() {
                    String::new()
                } else {
                    format!(": {}", seen.message)
                };
                format!("{}/{} ready, {:?}{said}", seen.ready, seen.replicas, seen.health)
            },
        );
        let verdict = found
            .members
            .iter()
            .find(|member| member.name_any() == cluster.name)
            .and_then(|member| member.status.as_ref()?.verdict.clone())
            .filter(|verdict| verdict != "Healthy")
            .map_or_else(String::new, |verdict| format!(" [{verdict}]"));
        lines.push(format!(
            "   {branch} {}{verdict}  {} wanted, {state}",
            cluster.name, cluster.replicas
        ));
    }
    for step in binding.spec.moves.iter().filter(|step| !step.state.is_final()) {
        lines.push(format!(
            "   move {}: {} replicas {} → {} ({:?}, {:?})",
            step.id, step.replicas, step.from, step.to, step.reason, step.state
        ));
    }
    lines.join("\n")
}

fn reasons(name: &str, found: &Found) -> String {
    let Some(binding) = &found.binding else {
        return format!(
            "{name} runs nowhere: no PropagationPolicy or ClusterPropagationPolicy selects it.\n\
             Write one whose resourceSelectors name its kind, or look at the conditions of those \
             you have with `kubectl get pp,cpp -A`."
        );
    };
    let mut lines = Vec::new();
    let status = binding.status.clone().unwrap_or_default();
    let orphaned = status
        .conditions
        .iter()
        .any(|condition| condition.type_ == SCHEDULED && condition.reason == POLICY_GONE);
    let policy = binding.spec.policy.as_ref().map_or_else(
        || "no policy".to_owned(),
        |policy| format!("{} {}", policy.kind, policy.name),
    );
    if orphaned {
        lines.push(format!("its policy is gone ({policy}): the placement stays as it was"));
    } else if binding.spec.follows.is_empty() {
        lines.push(format!("selected by {policy}"));
    } else {
        let followed = found.followed.join(", ");
        lines.push(format!("follows {followed}, under {policy}: it goes wherever they go"));
        // A companion is not scheduled: it has clusters and no decision of its own.
        let clusters: Vec<_> = binding.spec.clusters.iter().map(|c| c.name.as_str()).collect();
        lines.push(format!("in {}", clusters.join(", ")));
        lines.extend(status::complaints(&json!({ "conditions": status.conditions })));
        return lines.join("\n");
    }
    let decision = binding.spec.decision.clone().unwrap_or_default();
    lines.push(format!("considered {} clusters", decision.clusters_considered));
    for rejection in &decision.rejected {
        lines.push(format!(
            "  rejected {:>3}  {}  ({})",
            rejection.count,
            rejection.reason,
            rejection.examples.join(", ")
        ));
    }
    lines.push(format!("{} replicas placed:", binding.spec.replicas));
    for cluster in &binding.spec.clusters {
        lines.push(format!("  {:>5}  {}", cluster.replicas, cluster.name));
    }
    if let Some(shortfall) = &decision.shortfall {
        let missing: Vec<_> = shortfall
            .missing
            .iter()
            .map(|(resource, amount)| format!("{resource} {amount}"))
            .collect();
        lines.push(format!(
            "  {} replicas have no room; missing: {}",
            shortfall.replicas,
            missing.join(", ")
        ));
    }
    for step in &binding.spec.moves {
        lines.push(format!(
            "moved {} replicas {} → {} because {:?} ({:?}) {}",
            step.replicas, step.from, step.to, step.reason, step.state, step.evidence
        ));
    }
    lines.extend(status::complaints(&json!({ "conditions": status.conditions })));
    lines.join("\n")
}

#[cfg(test)]
mod tests;
