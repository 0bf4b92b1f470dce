//! Everything that one cluster gets of a template, in order: stripped, its share of the replicas,
//! overrides, our marks. Told step by step on demand.

use hanse_api::Member;
use serde_json::Value;

use crate::{
    Change, InterpretError, Interpreters, Kind, Manifest, Marks, Overridden, OverrideError,
    Overrides, Removal, Share, changes, manifest, strip_explained,
};

/// What a manifest is made with.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// How kinds are understood.
    pub interpreters: &'a Interpreters,
    /// What differs from cluster to cluster.
    pub overrides: &'a Overrides,
}

/// For whom a manifest is made.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The member.
    pub cluster: Member<'a>,
    /// Its share of the replicas; absent for what has none.
    pub share: Option<Share>,
    /// Our marks.
    pub marks: Marks<'a>,
}

/// Why a cluster gets no manifest. Other clusters are not concerned.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RenderError {
    /// A rule of an override policy does not apply.
    #[error(transparent)]
    Override(#[from] OverrideError),
    /// The interpreter of the kind fails.
    #[error(transparent)]
    Interpret(#[from] InterpretError),
}

/// How a manifest came about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// The manifest, or why there is none.
    pub manifest: Result<Manifest, RenderError>,
    /// What was taken out of the template.
    pub removed: Vec<Removal>,
    /// What the cluster's share of the replicas changed.
    pub shared: Vec<Change>,
    /// What override policies changed, in order; empty when one of them does not apply.
    pub overridden: Vec<Overridden>,
}

/// The manifest of one cluster. `stripped` comes from [`crate::strip`].
///
/// # Errors
/// [`RenderError`] when the cluster must not get anything new.
pub fn render(
    stripped: Value,
    target: Target<'_>,
    rules: Rules<'_>,
) -> Result<Manifest, RenderError> {
    let mut object = stripped;
    rules.interpreters.take_share(&mut object, target.share)?;
    override_for(&mut object, target, rules)?;
    Ok(manifest::marked(object, target.marks))
}

/// As [`render`], from the template itself, with everything that was changed and why.
pub fn explain(template: &Value, target: Target<'_>, rules: Rules<'_>) -> Explanation {
    let (stripped, removed) = strip_explained(template);
    let mut object = stripped.clone();
    let taken = rules.interpreters.take_share(&mut object, target.share);
    let shared = changes(&stripped, &object);
    let overridden = match taken {
        Ok(()) => override_for(&mut object, target, rules),
        Err(error) => Err(error.into()),
    };
    match overridden {
        Ok(overridden) => {
            let manifest = Ok(manifest::marked(object, target.marks));
            Explanation { manifest, removed, shared, overridden }
        }
        Err(error) => Explanation { manifest: Err(error), removed, shared, overridden: Vec::new() },
    }
}

fn override_for(
    object: &mut Value,
    target: Target<'_>,
    rules: Rules<'_>,
) -> Result<Vec<Overridden>, RenderError> {
    let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    let (api, kind) = (text("apiVersion"), text("kind"));
    let mut replicas = rules.interpreters.replica_paths(&api, &kind);
    if target.share.is_some_and(|share| share.start > 0 || share.own < share.total) {
        replicas.extend(shared_paths(Kind::of(&api, &kind)));
    }
    Ok(rules.overrides.apply(object, target.cluster, &replicas)?)
}

/// What the clusters that share an object have apart, beside its replicas.
const fn shared_paths(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::StatefulSet => &["/spec/ordinals"],
        Kind::Job => &["/spec/parallelism", "/spec/completions"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hanse_api::OverridePolicy;
    use serde_json::json;

    use super::*;

    fn template() -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "uid": "uid-1"},
            "spec": {"replicas": 9, "template": {"spec": {
                "containers": [{"name": "web", "image": "web:1"}]}}},
            "status": {"replicas": 9}})
    }

    fn policy(region: &str, patch: &Value) -> OverridePolicy {
        serde_json::from_value(json!({"metadata": {"name": "eu", "namespace": "shop"}, "spec": {
            "resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}],
            "rules": [{"clusters": {"regions": [region]}, "jsonPatch": [patch]}]}}))
        .unwrap()
    }

    fn explained(region: &str, overrides: &Overrides) -> Explanation {
        let labels = BTreeMap::new();
        let target = Target {
            cluster: Member { name: "m", provider: "p", region, zone: "", labels: &labels },
            share: Some(Share { own: 4, total: 9, ..Share::default() }),
            marks: Marks {
                hub_id: "hub-1",
                binding_namespace: "shop",
                binding_name: "deployment-0123456789",
                template_uid: "uid-1",
            },
        };
        let rules = Rules { interpreters: &Interpreters::shipped(), overrides };
        let made = explain(&template(), target, rules);
        assert_eq!(made, explain(&template(), target, rules));
        assert_eq!(made.manifest, render(crate::strip(&template()), target, rules));
        made
    }

    #[test]
    fn rules_may_be_shared_between_tasks() {
        const fn shared<T: Send + Sync>() {}
        shared::<Interpreters>();
        shared::<Overrides>();
        shared::<RenderError>();
    }

    #[test]
    fn an_explanation_names_every_step_between_template_and_manifest() {
        let image = "/spec/template/spec/containers/0/image";
        let patch = json!({"op": "replace", "path": image, "value": "mirror/web:1"});
        let made = explained("eu", &Overrides::new([], [&policy("eu", &patch)]));
        let object = made.manifest.unwrap().object;
        assert_eq!(object.pointer(image), Some(&json!("mirror/web:1")));
        assert_eq!(object["spec"]["replicas"], 4);
        assert_eq!(object["metadata"]["labels"]["hanse.dev/hub"], "hub-1");
        let removed: Vec<&str> = made.removed.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(removed, ["/status", "/metadata/uid"]);
        assert_eq!(made.shared[0].path, "/spec/replicas");
        assert_eq!(made.overridden[0].change.path, image);
        assert_eq!(made.overridden[0].policy.to_string(), "OverridePolicy shop/eu");
    }

    #[test]
    fn a_rule_that_does_not_apply_stops_its_own_clusters_only() {
        let patch = json!({"op": "remove", "path": "/spec/nothing"});
        let overrides = Overrides::new([], [&policy("eu", &patch)]);
        let error = explained("eu", &overrides).manifest.unwrap_err().to_string();
        assert_eq!(
            error,
            "OverridePolicy shop/eu, rules[0].jsonPatch[0], /spec/nothing: nothing is there"
        );
        assert!(explained("us", &overrides).manifest.is_ok());
    }

    #[test]
    fn without_overrides_a_cluster_gets_what_it_always_got() {
        let made = explained("eu", &Overrides::default());
        let marks = Marks {
            hub_id: "hub-1",
            binding_namespace: "shop",
            binding_name: "deployment-0123456789",
            template_uid: "uid-1",
        };
        let share = Some(Share { own: 4, total: 9, ..Share::default() });
        let plain = manifest(&crate::strip(&template()), share, marks);
        assert_eq!(made.manifest, Ok(plain));
    }

    #[test]
    fn no_override_renumbers_the_pods_of_a_shared_stateful_set() {
        let patch = json!({"op": "add", "path": "/spec/ordinals", "value": {"start": 0}});
        let mut policy = policy("eu", &patch);
        policy.spec.resource_selectors[0].kind = "StatefulSet".to_owned();
        let overrides = Overrides::new([], [&policy]);
        let rules = Rules { interpreters: &Interpreters::shipped(), overrides: &overrides };
        let mut set = template();
        set["kind"] = json!("StatefulSet");
        let labels = BTreeMap::new();
        let rendered = |share| {
            let cluster =
                Member { name: "m", provider: "p", region: "eu", zone: "", labels: &labels };
            let marks = Marks {
                hub_id: "hub-1",
                binding_namespace: "shop",
                binding_name: "statefulset-0123456789",
                template_uid: "uid-1",
            };
            render(crate::strip(&set), Target { cluster, share: Some(share), marks }, rules)
        };
        let part = Share { own: 4, total: 9, start: 1000, ..Share::default() };
        let error = rendered(part).unwrap_err().to_string();
        assert!(error.contains("replicas are decided by the placement"), "{error}");
        let whole = Share { own: 9, total: 9, ..Share::default() };
        assert_eq!(rendered(whole).unwrap().object["spec"]["ordinals"]["start"], 0);
    }
}
