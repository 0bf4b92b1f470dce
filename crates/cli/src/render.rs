//! `hanse render`: what one cluster gets of a template, and which rule changed or stripped what.
//! It reads the hub's objects and asks the same engine as the hub does.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use hanse_api::{
    ClusterOverridePolicy, Federation, Member, MemberCluster, OverridePolicy, ResourceBinding,
    ResourceInterpreter,
};
use hanse_hub::sync::share_of;
use hanse_render::{
    Change, Explanation, Interpreters, Marks, Overridden, Overrides, Removal, Rules, Target,
    explain,
};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use serde_json::{Value, json};

use crate::{
    args::{Global, Output, Render},
    connect::within,
    named::{Named, manifest_of},
    output,
};

/// Prints what a cluster gets.
///
/// # Errors
/// There is no such template or cluster, or a rule that does not apply: which, and where.
pub(crate) async fn run(global: &Global, wanted: &Render) -> Result<()> {
    let named = Named::read(global, &wanted.template).await?;
    let client = named.client();
    let binding = named.binding().await?.with_context(|| {
        format!("no policy selects {}: no cluster gets anything of it", wanted.template)
    })?;
    let members: Api<MemberCluster> = Api::all(client.clone());
    let member = within("reading the cluster", members.get_opt(&wanted.cluster)).await?;
    let member = member.with_context(|| format!("there is no cluster `{}`", wanted.cluster))?;
    let placed = binding.spec.clusters.iter().any(|one| one.name == wanted.cluster);
    let template = named.template(&binding.spec.template).await?;
    let explanation = explained(client, &template, &binding, &member).await?;
    let refusal = explanation.manifest.as_ref().err().map(ToString::to_string);
    let object = explanation.manifest.as_ref().ok().map(|manifest| &manifest.object);
    if !placed {
        output::say(&format!(
            "note: {} is not placed in {}; this is what it would get",
            wanted.template, wanted.cluster
        ));
    }
    match global.output {
        Output::Json | Output::Yaml => {
            let value = json!({
                "manifest": object,
                "error": refusal,
                "stripped": explanation.removed.iter().map(removed).collect::<Vec<_>>(),
                "shared": explanation.shared.iter().map(changed).collect::<Vec<_>>(),
                "overridden": explanation.overridden.iter().map(overridden).collect::<Vec<_>>(),
            });
            output::print(global.output, &value, Vec::new, |_| String::new())?;
        }
        form => {
            let manifest = match object {
                Some(object) => serde_saphyr::to_string(object)?,
                None => String::new(),
            };
            let names = || vec![wanted.template.clone()];
            output::print(form, &json!({}), names, |_| text(&explanation, &manifest))?;
        }
    }
    match refusal {
        Some(words) => bail!("{} gets nothing new: {words}", wanted.cluster),
        None => Ok(()),
    }
}

async fn list<K>(what: &str, api: Api<K>) -> Result<Vec<K>>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    Ok(within(what, api.list(&ListParams::default())).await?.items)
}

async fn explained(
    client: &Client,
    template: &Value,
    binding: &ResourceBinding,
    member: &MemberCluster,
) -> Result<Explanation> {
    let of = &binding.spec.template;
    let wide: Vec<ClusterOverridePolicy> =
        list("listing ClusterOverridePolicies", Api::all(client.clone())).await?;
    let narrow: Vec<OverridePolicy> = if of.namespace.is_empty() {
        Vec::new()
    } else {
        let api = Api::namespaced(client.clone(), &of.namespace);
        list("listing OverridePolicies", api).await?
    };
    let mut overrides = Overrides::new(&wide, &narrow);
    if !of.manifest.is_empty() {
        overrides = overrides.with_manifest(&manifest_of(client, of).await?);
    }
    let kinds: Vec<ResourceInterpreter> =
        list("listing ResourceInterpreters", Api::all(client.clone())).await?;
    let (interpreters, _) = Interpreters::new(&kinds);
    if let Some(error) = interpreters.unreadable(&of.api_version, &of.kind) {
        bail!("nothing of this kind is changed: {error}");
    }
    let federations: Api<Federation> = Api::all(client.clone());
    let federation = within("reading the federation", federations.get("default")).await?;
    let hub_id = federation.status.and_then(|status| status.id).unwrap_or_default();
    let home = binding.namespace().unwrap_or_default();
    let bindings: Api<ResourceBinding> = Api::namespaced(client.clone(), &home);
    let mut followed = Vec::new();
    for name in &binding.spec.follows {
        let found = within("reading a workload's binding", bindings.get_opt(name)).await?;
        followed.extend(found.map(Arc::new));
    }
    let name = member.name_any();
    let target = Target {
        cluster: Member {
            name: &name,
            provider: &member.spec.provider,
            region: &member.spec.region,
            zone: member.spec.zone.as_deref().unwrap_or_default(),
            labels: member.labels(),
        },
        share: share_of(&interpreters, binding, &followed, &name),
        marks: Marks {
            hub_id: &hub_id,
            binding_namespace: &home,
            binding_name: &binding.name_any(),
            template_uid: &of.uid,
        },
    };
    let rules = Rules { interpreters: &interpreters, overrides: &overrides };
    Ok(explain(template, target, rules))
}

fn removed(removal: &Removal) -> Value {
    json!({"path": removal.path, "reason": removal.row.reason()})
}

fn changed(change: &Change) -> Value {
    json!({"path": change.path, "before": change.before, "after": change.after})
}

fn overridden(one: &Overridden) -> Value {
    let mut value = changed(&one.change);
    value["policy"] = json!(one.policy.to_string());
    value["rule"] = json!(format!("rules[{}].{}", one.rule, one.field));
    value
}

/// The manifest as YAML, and before it, as comments, what happened on the way.
fn text(explanation: &Explanation, manifest: &str) -> String {
    let mut lines = Vec::new();
    for removal in &explanation.removed {
        lines.push(format!("# stripped   {}: {}", removal.path, removal.row.reason()));
    }
    for change in &explanation.shared {
        lines.push(format!("# its share  {}", arrow(change)));
    }
    for one in &explanation.overridden {
        let (policy, rule, field) = (&one.policy, one.rule, &one.field);
        lines.push(format!(
            "# overridden {} by {policy}, rules[{rule}].{field}",
            arrow(&one.change)
        ));
    }
    lines.push(manifest.trim_end().to_owned());
    lines.join("\n")
}

fn arrow(change: &Change) -> String {
    let show = |value: &Option<Value>| {
        value.as_ref().map_or_else(
            || "nothing".to_owned(),
            |value| value.to_string().chars().take(80).collect(),
        )
    };
    format!("{}: {} → {}", change.path, show(&change.before), show(&change.after))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_step_between_template_and_manifest_is_a_line() {
        let policy: OverridePolicy = serde_json::from_value(json!({
            "metadata": {"name": "eu", "namespace": "shop"}, "spec": {
                "resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}],
                "rules": [{"image": [{"registry": "mirror.example.com"}]}]}}))
        .unwrap();
        let template = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 9, "template": {"spec": {
                "containers": [{"name": "web", "image": "web:1"}]}}},
            "status": {"replicas": 9}});
        let labels = BTreeMap::new();
        let target = Target {
            cluster: Member { name: "a", provider: "p", region: "r", zone: "", labels: &labels },
            share: Some(hanse_render::Share { own: 4, total: 9, ..hanse_render::Share::default() }),
            marks: Marks {
                hub_id: "hub",
                binding_namespace: "shop",
                binding_name: "deployment-0",
                template_uid: "uid",
            },
        };
        let rules = Rules {
            interpreters: &Interpreters::shipped(),
            overrides: &Overrides::new([], [&policy]),
        };
        let explanation = explain(&template, target, rules);
        assert_eq!(
            text(&explanation, "kind: Deployment\n"),
            "# stripped   /status: status belongs to each cluster\n\
             # its share  /spec/replicas: 9 → 4\n\
             # overridden /spec/template/spec/containers/0/image: \"web:1\" → \
             \"mirror.example.com/web:1\" by OverridePolicy shop/eu, rules[0].image\n\
             kind: Deployment"
        );
    }
}
