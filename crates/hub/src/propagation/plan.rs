//! What a binding should say about its template. Pure.

use std::{collections::BTreeMap, sync::Arc};

use hanse_api::{
    ResourceBinding, ResourceBindingSpec, SYSTEM_NAMESPACE, TemplateRef, binding_name,
};
use sha2::{Digest as _, Sha256};

use crate::{
    Key, Policy, Template, TemplateKey,
    room::{quantities, resources},
};

/// What propagation has seen of one template.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The template; absent when it is not known.
    pub template: Option<Arc<Template>>,
    /// Whether a template that is not known is not there.
    pub synced: bool,
    /// The policy that decides about it.
    pub winner: Option<Arc<Policy>>,
    /// The workloads that it follows, with their policies.
    pub followed: BTreeMap<TemplateKey, Arc<Policy>>,
    /// The highest importance that its namespace's tenant may ask for; absent: any.
    pub max_importance: Option<i32>,
    /// Its binding.
    pub binding: Option<Arc<ResourceBinding>>,
}

/// What is to be done about one binding.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// All is as it should be.
    Nothing,
    /// The binding is missing.
    Create(Box<ResourceBindingSpec>),
    /// The binding says something else.
    Change(Arc<ResourceBinding>, Box<ResourceBindingSpec>),
    /// The template is gone.
    Delete(Arc<ResourceBinding>),
}

/// The key of the binding of a template.
pub fn binding_key(template: &TemplateKey) -> Key {
    let group = template.api_version.split_once('/').map_or("", |(group, _)| group);
    let text = format!("{group}/{}/{}", template.kind, template.name);
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let namespace =
        if template.namespace.is_empty() { SYSTEM_NAMESPACE } else { &template.namespace };
    Key::new(namespace, &binding_name(&template.kind, &digest))
}

/// The key of the template that a binding is about.
pub(crate) fn template_key(template: &TemplateRef) -> TemplateKey {
    TemplateKey {
        api_version: template.api_version.clone(),
        kind: template.kind.clone(),
        namespace: template.namespace.clone(),
        name: template.name.clone(),
    }
}

/// What is to be done.
pub fn plan(seen: &Seen) -> Plan {
    let binding = seen.binding.as_ref();
    let leaving = binding.is_some_and(|b| b.metadata.deletion_timestamp.is_some());
    let Some(template) = &seen.template else {
        return match binding {
            Some(binding) if seen.synced && !leaving => Plan::Delete(Arc::clone(binding)),
            _ => Plan::Nothing,
        };
    };
    if leaving || template.is_never_selected() {
        return Plan::Nothing;
    }
    let Some(wanted) = wanted(seen, template) else {
        return Plan::Nothing;
    };
    match binding {
        None => Plan::Create(Box::new(wanted)),
        Some(binding) if binding.spec == wanted => Plan::Nothing,
        Some(binding) => Plan::Change(Arc::clone(binding), Box::new(wanted)),
    }
}

/// The binding's spec as it should be; its decision stays as it is. Nothing when no policy asks
/// for one. A binding whose policy is gone keeps its place and follows its template.
fn wanted(seen: &Seen, template: &Template) -> Option<ResourceBindingSpec> {
    let known = seen.binding.as_ref().map(|binding| binding.spec.clone());
    let mut spec = match (&seen.winner, seen.followed.is_empty(), known) {
        (None, true, None) => return None,
        (.., known) => known.unwrap_or_default(),
    };
    if spec.template.uid != template.uid {
        // Another object of that name has not finished anywhere.
        spec.finished.clear();
    }
    spec.template = TemplateRef {
        api_version: template.key.api_version.clone(),
        kind: template.key.kind.clone(),
        namespace: template.key.namespace.clone(),
        name: template.key.name.clone(),
        manifest: template.manifest.clone().unwrap_or_default(),
        uid: template.uid.clone(),
    };
    // What is not understood keeps the numbers that it had.
    if template.fault.is_none() {
        spec.replicas = i32::try_from(template.replicas.unwrap_or(0)).unwrap_or(i32::MAX);
        spec.replica_request = quantities(&resources(&template.needs.requests));
    }
    if let Some(policy) = seen.followed.values().next().or(seen.winner.as_ref()) {
        spec.policy = Some(policy.reference());
        spec.importance = seen
            .followed
            .values()
            .map(|policy| policy.importance)
            .max()
            .unwrap_or(policy.importance)
            .min(seen.max_importance.unwrap_or(i32::MAX));
    }
    if !seen.followed.is_empty() || seen.winner.is_some() {
        spec.follows = seen.followed.keys().map(|key| binding_key(key).name).collect();
        spec.follows.sort();
        spec.follows.truncate(1000);
    }
    Some(spec)
}

#[cfg(test)]
mod tests {
    use hanse_api::{ClusterReplicas, PropagationPolicy};
    use serde_json::json;

    use super::*;

    fn template(kind: &str, uid: &str, replicas: u32) -> Arc<Template> {
        let api_version = if kind == "Deployment" { "apps/v1" } else { "v1" };
        let key = TemplateKey {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        };
        let object = json!({"apiVersion": api_version, "kind": kind,
            "metadata": {"name": "web", "namespace": "shop", "uid": uid},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [
                {"resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}}}});
        Arc::new(Template::read(key, &object))
    }

    fn policy() -> Arc<Policy> {
        let policy: PropagationPolicy = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"importance": 7,
                "resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}]}}))
        .unwrap();
        Arc::new(Policy::of_namespaced(&policy))
    }

    fn seen(template: Arc<Template>) -> Seen {
        Seen { template: Some(template), synced: true, winner: Some(policy()), ..Seen::default() }
    }

    fn created(seen: &Seen) -> ResourceBindingSpec {
        match plan(seen) {
            Plan::Create(spec) => *spec,
            other => panic!("{other:?}"),
        }
    }

    fn bound(seen: &mut Seen, spec: ResourceBindingSpec) {
        let binding = ResourceBinding::new("b", spec);
        seen.binding = Some(Arc::new(binding));
    }

    #[test]
    fn a_selected_template_gets_a_binding_with_what_it_asks_for() {
        let spec = created(&seen(template("Deployment", "u1", 3)));
        assert_eq!((spec.replicas, spec.importance), (3, 7));
        assert_eq!(spec.replica_request["cpu"], "100m");
        assert_eq!(spec.replica_request["memory"], "64Mi");
        assert_eq!(spec.template.uid, "u1");
        assert_eq!(spec.policy.unwrap().name, "p");
    }

    #[test]
    fn the_plan_of_its_own_result_is_nothing() {
        let mut seen = seen(template("Deployment", "u1", 3));
        let spec = created(&seen);
        bound(&mut seen, spec);
        assert_eq!(plan(&seen), Plan::Nothing);
    }

    #[test]
    fn a_change_leaves_the_decision_alone() {
        let mut seen = seen(template("Deployment", "u1", 3));
        let mut spec = created(&seen);
        spec.clusters = vec![ClusterReplicas { name: "a".to_owned(), replicas: 3 }];
        spec.finished = vec!["a".to_owned()];
        bound(&mut seen, spec.clone());
        seen.template = Some(template("Deployment", "u2", 5));
        let Plan::Change(_, changed) = plan(&seen) else { panic!("a change is due") };
        assert_eq!(changed.clusters, spec.clusters);
        assert_eq!((changed.replicas, changed.template.uid.as_str()), (5, "u2"));
        assert!(changed.finished.is_empty(), "another object of that name has not run yet");
    }

    #[test]
    fn what_no_policy_selects_gets_no_binding_but_an_old_one_stays() {
        let mut seen = seen(template("Deployment", "u1", 3));
        let spec = created(&seen);
        seen.winner = None;
        assert_eq!(plan(&seen), Plan::Nothing);
        bound(&mut seen, spec);
        assert_eq!(plan(&seen), Plan::Nothing);
    }

    #[test]
    fn a_binding_goes_with_its_template_and_only_when_that_is_certain() {
        let mut seen = seen(template("Deployment", "u1", 3));
        let spec = created(&seen);
        bound(&mut seen, spec);
        seen.template = None;
        seen.synced = false;
        assert_eq!(plan(&seen), Plan::Nothing);
        seen.synced = true;
        assert!(matches!(plan(&seen), Plan::Delete(_)));
    }

    #[test]
    fn a_companion_follows_its_workloads_and_asks_for_no_replicas() {
        let mut seen = seen(template("ConfigMap", "u1", 0));
        seen.winner = None;
        let workload = template("Deployment", "w", 2);
        seen.followed.insert(workload.key.clone(), policy());
        let spec = created(&seen);
        assert_eq!(spec.follows, [binding_key(&workload.key).name]);
        assert_eq!(spec.replicas, 0);
    }

    #[test]
    fn bindings_are_named_by_kind_and_a_hash_of_group_kind_and_name() {
        let key = binding_key(&template("Deployment", "u", 1).key);
        assert_eq!(key.namespace, "shop");
        assert!(key.name.starts_with("deployment-") && key.name.len() == 21, "{key}");
        let wide = TemplateKey {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            namespace: String::new(),
            name: "shop".to_owned(),
        };
        assert_eq!(binding_key(&wide).namespace, "hanse-system");
    }
}
