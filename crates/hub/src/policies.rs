//! Both kinds of policies in one form, and which of them decides about a template.

use std::sync::{Arc, RwLock};

use hanse_api::{
    ClusterPropagationPolicy, Conflict, Dependencies, Failover, FederatedManifest, Placement,
    PolicyRef, PropagationPolicy, selects,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};

use crate::{Template, placement::Compiled, templates::is_system_namespace};

/// What kind of object a policy is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PolicyKind {
    /// A PropagationPolicy.
    Namespaced,
    /// A ClusterPropagationPolicy.
    Cluster,
    /// A FederatedManifest: it decides about what stands in it.
    Manifest,
}

impl PolicyKind {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespaced => "PropagationPolicy",
            Self::Cluster => "ClusterPropagationPolicy",
            Self::Manifest => "FederatedManifest",
        }
    }
}

/// Which policy: kind, namespace (empty for cluster policies) and name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PolicyKey {
    /// Its kind.
    pub kind: PolicyKind,
    /// Namespace; empty for a ClusterPropagationPolicy.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl PolicyKey {
    /// The key of a ClusterPropagationPolicy.
    pub fn cluster(name: &str) -> Self {
        Self { kind: PolicyKind::Cluster, namespace: String::new(), name: name.to_owned() }
    }

    /// The key of a PropagationPolicy.
    pub fn namespaced(namespace: &str, name: &str) -> Self {
        let kind = PolicyKind::Namespaced;
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The key of a FederatedManifest.
    pub fn manifest(namespace: &str, name: &str) -> Self {
        Self { kind: PolicyKind::Manifest, ..Self::namespaced(namespace, name) }
    }

    /// Whether it is a ClusterPropagationPolicy.
    pub const fn is_cluster(&self) -> bool {
        matches!(self.kind, PolicyKind::Cluster)
    }

    /// The policy that a binding names.
    pub fn of_ref(policy: &PolicyRef) -> Self {
        match policy.kind.as_str() {
            "ClusterPropagationPolicy" => Self::cluster(&policy.name),
            "FederatedManifest" => Self::manifest(&policy.namespace, &policy.name),
            _ => Self::namespaced(&policy.namespace, &policy.name),
        }
    }
}

impl std::fmt::Display for PolicyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_cluster() {
            write!(f, "{} {}", self.kind.as_str(), self.name)
        } else {
            write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
        }
    }
}

/// A policy of either kind.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which one.
    pub key: PolicyKey,
    /// Generation of its spec.
    pub generation: Option<i64>,
    /// Seconds since 1970 at which it was made.
    pub created: i64,
    /// Uid.
    pub uid: String,
    /// Cannot be outranked by one that is not.
    pub mandatory: bool,
    /// Higher wins.
    pub priority: i32,
    /// What it selects.
    pub selectors: Vec<Selector>,
    /// Whether companions follow.
    pub dependencies: Dependencies,
    /// What happens to unmanaged objects of the same name.
    pub conflict: Conflict,
    /// Where and how many.
    pub placement: Placement,
    /// The same in the scheduler's terms.
    pub(crate) compiled: Compiled,
    /// What happens at a loss.
    pub failover: Failover,
    /// Order of work.
    pub importance: i32,
    /// Hash of the rules.
    pub hash: String,
}

/// A selector of either kind.
#[derive(Clone, Debug)]
pub struct Selector {
    /// API version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: Option<String>,
    /// Labels.
    pub labels: Option<LabelSelector>,
    /// Namespaces; absent: the policy's own.
    pub namespaces: Option<Vec<String>>,
}

/// How exactly a selector names an object: more is more specific.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Specificity {
    /// By kind alone.
    Kind,
    /// By labels.
    Labels,
    /// By name.
    Name,
}

impl Policy {
    /// The common form of a PropagationPolicy.
    pub fn of_namespaced(policy: &PropagationPolicy) -> Self {
        let spec = &policy.spec;
        let selectors = spec.resource_selectors.iter().map(|selector| Selector {
            api_version: selector.api_version.clone(),
            kind: selector.kind.clone(),
            name: selector.name.clone(),
            labels: selector.label_selector.clone(),
            namespaces: None,
        });
        Self {
            key: PolicyKey::namespaced(&policy.namespace().unwrap_or_default(), &policy.name_any()),
            generation: policy.metadata.generation,
            created: created(&policy.metadata),
            uid: policy.uid().unwrap_or_default(),
            mandatory: false,
            priority: spec.priority,
            selectors: selectors.collect(),
            dependencies: spec.dependencies,
            conflict: Conflict::Abort,
            placement: spec.placement.clone(),
            compiled: Compiled::new(&spec.placement),
            failover: spec.failover.clone(),
            importance: spec.importance,
            hash: hash(&(&spec.placement, &spec.failover, spec.importance)),
        }
    }

    /// The common form of a ClusterPropagationPolicy.
    pub fn of_cluster(policy: &ClusterPropagationPolicy) -> Self {
        let spec = &policy.spec;
        let selectors = spec.resource_selectors.iter().map(|selector| Selector {
            api_version: selector.api_version.clone(),
            kind: selector.kind.clone(),
            name: selector.name.clone(),
            labels: selector.label_selector.clone(),
            namespaces: Some(selector.namespaces.clone()),
        });
        Self {
            key: PolicyKey::cluster(&policy.name_any()),
            generation: policy.metadata.generation,
            created: created(&policy.metadata),
            uid: policy.uid().unwrap_or_default(),
            mandatory: spec.mandatory,
            priority: spec.priority,
            selectors: selectors.collect(),
            dependencies: spec.dependencies,
            conflict: spec.conflict,
            placement: spec.placement.clone(),
            compiled: Compiled::new(&spec.placement),
            failover: spec.failover.clone(),
            importance: spec.importance,
            hash: hash(&(&spec.placement, &spec.failover, spec.importance)),
        }
    }

    /// The rules of a FederatedManifest, in the same form.
    pub fn of_manifest(manifest: &FederatedManifest) -> Self {
        let spec = &manifest.spec;
        Self {
            key: PolicyKey::manifest(
                &manifest.namespace().unwrap_or_default(),
                &manifest.name_any(),
            ),
            generation: manifest.metadata.generation,
            created: created(&manifest.metadata),
            uid: manifest.uid().unwrap_or_default(),
            mandatory: false,
            priority: 0,
            selectors: Vec::new(),
            dependencies: Dependencies::Follow,
            conflict: Conflict::Abort,
            placement: spec.placement.clone(),
            compiled: Compiled::new(&spec.placement),
            failover: spec.failover.clone(),
            importance: 0,
            hash: hash(&(&spec.placement, &spec.failover, 0)),
        }
    }

    /// How a binding names it.
    pub fn reference(&self) -> PolicyRef {
        PolicyRef {
            kind: self.key.kind.as_str().to_owned(),
            namespace: self.key.namespace.clone(),
            name: self.key.name.clone(),
            hash: self.hash.clone(),
        }
    }

    /// How exactly it selects a template; nothing when it does not.
    pub fn selects(&self, template: &Template) -> Option<Specificity> {
        if template.is_never_selected() {
            return None;
        }
        match &template.manifest {
            Some(manifest) if self.key.kind == PolicyKind::Manifest => {
                let own =
                    *manifest == self.key.name && template.key.namespace == self.key.namespace;
                return own.then_some(Specificity::Name);
            }
            // What stands in a FederatedManifest has its rules there; only what is mandatory
            // reaches beyond.
            Some(_) if !self.mandatory => return None,
            _ => {}
        }
        self.selectors.iter().filter_map(|selector| self.selected_by(selector, template)).max()
    }

    fn selected_by(&self, selector: &Selector, template: &Template) -> Option<Specificity> {
        let key = &template.key;
        if selector.kind != key.kind || selector.api_version != key.api_version {
            return None;
        }
        let in_reach = match &selector.namespaces {
            None => key.namespace == self.key.namespace,
            Some(_) if key.namespace.is_empty() => true,
            Some(list) => list.iter().any(|name| name == "*" || *name == key.namespace),
        };
        if !in_reach || is_system_namespace(&key.namespace) {
            return None;
        }
        if let Some(name) = &selector.name {
            return (*name == key.name).then_some(Specificity::Name);
        }
        // Secrets travel by name or as a dependency only.
        if key.kind == "Secret" && key.api_version == "v1" {
            return None;
        }
        match &selector.labels {
            Some(labels) => {
                selects(labels, |key| template.labels.get(key)).then_some(Specificity::Labels)
            }
            None => Some(Specificity::Kind),
        }
    }

    /// What stands in the way of following it as written.
    pub fn complaints(&self, is_namespaced: impl Fn(&str, &str) -> Option<bool>) -> Vec<String> {
        let mut all = Vec::new();
        for (at, selector) in self.selectors.iter().enumerate() {
            let Selector { api_version, kind, .. } = selector;
            let path = format!("spec.resourceSelectors[{at}]");
            match is_namespaced(api_version, kind) {
                None => all.push(format!(
                    "{path}: {api_version} {kind} is not served by this API: correct apiVersion \
                     and kind, or create its CustomResourceDefinition first"
                )),
                Some(true) if selector.namespaces.as_ref().is_some_and(Vec::is_empty) => {
                    all.push(format!(
                        "{path}: {kind} lives in namespaces: write namespaces: [names], or \
                         namespaces: [\"*\"] for all but the system's own"
                    ));
                }
                Some(false) if !self.key.is_cluster() => all.push(format!(
                    "{path}: {kind} has no namespace: select it by a ClusterPropagationPolicy"
                )),
                Some(_) => {}
            }
            if kind == "Secret" && selector.name.is_none() {
                all.push(format!("{path}: Secrets travel by name or as a dependency: write name"));
            }
        }
        all
    }
}

/// The policy that decides about a template: mandatory ones first, then by priority, by how
/// exactly they select, namespaced before cluster-wide, older first, then by name. What stands in
/// a FederatedManifest follows that, but for mandatory ones.
pub(crate) fn winner<'a>(
    policies: &'a [Arc<Policy>],
    template: &Template,
) -> Option<&'a Arc<Policy>> {
    policies
        .iter()
        .filter_map(|policy| Some((policy.selects(template)?, policy)))
        .max_by(|(a_how, a), (b_how, b)| {
            (a.mandatory, a.priority, a_how, !a.key.is_cluster())
                .cmp(&(b.mandatory, b.priority, b_how, !b.key.is_cluster()))
                .then(b.created.cmp(&a.created))
                .then(b.key.cmp(&a.key))
        })
        .map(|(_, policy)| policy)
}

/// All policies in common form. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    all: Arc<RwLock<Arc<Vec<Arc<Policy>>>>>,
}

impl Policies {
    /// All policies in order of their key.
    pub fn all(&self) -> Arc<Vec<Arc<Policy>>> {
        Arc::clone(&self.all.read().expect("no holder of this lock panics"))
    }

    /// The policy of a key.
    pub fn get(&self, key: &PolicyKey) -> Option<Arc<Policy>> {
        let all = self.all();
        all.binary_search_by(|policy| policy.key.cmp(key)).ok().map(|at| Arc::clone(&all[at]))
    }

    pub(crate) fn set(&self, key: &PolicyKey, policy: Option<Policy>) {
        let mut all = self.all.write().expect("no holder of this lock panics");
        let list = Arc::make_mut(&mut all);
        match (list.binary_search_by(|known| known.key.cmp(key)), policy) {
            (Ok(at), Some(policy)) => list[at] = Arc::new(policy),
            (Ok(at), None) => {
                list.remove(at);
            }
            (Err(at), Some(policy)) => list.insert(at, Arc::new(policy)),
            (Err(_), None) => {}
        }
    }
}

fn created(metadata: &kube::core::ObjectMeta) -> i64 {
    metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}

fn hash(rules: &impl serde::Serialize) -> String {
    let bytes = serde_json::to_vec(rules).expect("rules are plain data");
    Sha256::digest(&bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::TemplateKey;

    fn template(namespace: &str, name: &str, labels: Value) -> Template {
        template_of("apps/v1", "Deployment", namespace, name, labels)
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
    fn template_of(api: &str, kind: &str, namespace: &str, name: &str, labels: Value) -> Template {
        let key = TemplateKey {
            api_version: api.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let metadata = json!({"name": name, "namespace": namespace, "uid": "u", "labels": labels});
        Template::read(key, &json!({"apiVersion": api, "kind": kind, "metadata": metadata}))
    }

    fn namespaced(name: &str, priority: i32, selector: Value) -> Arc<Policy> {
        let policy: PropagationPolicy = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"priority": priority, "resourceSelectors": [with_kind(selector)]}}))
        .unwrap();
        Arc::new(Policy::of_namespaced(&policy))
    }

    fn cluster(name: &str, mandatory: bool, selector: Value) -> Arc<Policy> {
        let policy: ClusterPropagationPolicy = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"mandatory": mandatory, "resourceSelectors": [with_kind(selector)]}}))
        .unwrap();
        Arc::new(Policy::of_cluster(&policy))
    }

    fn with_kind(mut selector: Value) -> Value {
        selector["apiVersion"] = json!("apps/v1");
        if selector.get("kind").is_none() {
            selector["kind"] = json!("Deployment");
        }
        selector
    }

    #[test]
    fn precedence_follows_the_documented_order() {
        let web = template("shop", "web", json!({"app": "web"}));
        let by_kind = namespaced("kind", 0, json!({}));
        let by_label =
            namespaced("label", 0, json!({"labelSelector": {"matchLabels": {"app": "web"}}}));
        let by_name = namespaced("name", 0, json!({"name": "web"}));
        let urgent = namespaced("urgent", 5, json!({}));
        let wide = cluster("wide", false, json!({"namespaces": ["*"], "name": "web"}));
        let must = cluster("must", true, json!({"namespaces": ["shop"]}));
        let order = [&must, &urgent, &by_name, &wide, &by_label, &by_kind];
        for from in 0..order.len() {
            let mut left: Vec<Arc<Policy>> = order[from..].iter().map(|p| Arc::clone(p)).collect();
            assert_eq!(winner(&left, &web).unwrap().key, order[from].key);
            left.reverse();
            assert_eq!(winner(&left, &web).unwrap().key, order[from].key);
        }
    }

    #[test]
    fn a_namespaced_policy_stays_in_its_namespace() {
        let policy = namespaced("p", 0, json!({}));
        assert!(policy.selects(&template("shop", "web", json!({}))).is_some());
        assert!(policy.selects(&template("other", "web", json!({}))).is_none());
    }

    /// A cluster policy that asks for everything of a kind, or for one object by its name.
    fn asks_for(object: &Template) -> [Policy; 2] {
        let all = cluster("all", false, json!({"namespaces": ["*", object.key.namespace]}));
        let mut by_kind = Policy::clone(&all);
        by_kind.selectors[0].api_version.clone_from(&object.key.api_version);
        by_kind.selectors[0].kind.clone_from(&object.key.kind);
        let mut by_name = by_kind.clone();
        by_name.selectors[0].name = Some(object.key.name.clone());
        [by_kind, by_name]
    }

    #[test]
    fn the_systems_own_objects_are_never_selected() {
        for (api, kind, namespace, name) in [
            ("apps/v1", "Deployment", "kube-system", "web"),
            ("apps/v1", "Deployment", "kube-public", "web"),
            ("apps/v1", "Deployment", "kube-node-lease", "web"),
            ("apps/v1", "Deployment", "hanse-system", "web"),
            ("v1", "Namespace", "", "kube-system"),
            ("v1", "Namespace", "", "hanse-system"),
            ("v1", "Namespace", "", "default"),
            ("v1", "ConfigMap", "shop", "kube-root-ca.crt"),
            ("v1", "ServiceAccount", "shop", "default"),
            ("v1", "Event", "shop", "x"),
            ("events.k8s.io/v1", "Event", "shop", "x"),
            ("coordination.k8s.io/v1", "Lease", "shop", "x"),
            ("v1", "Endpoints", "shop", "x"),
            ("discovery.k8s.io/v1", "EndpointSlice", "shop", "x"),
            ("v1", "Pod", "shop", "x"),
            ("v1", "Node", "", "x"),
            ("hanse.dev/v1alpha1", "GlobalService", "shop", "x"),
            ("hanse.dev/v1alpha1", "Tenant", "", "x"),
        ] {
            let object = template_of(api, kind, namespace, name, json!({}));
            for policy in asks_for(&object) {
                assert!(policy.selects(&object).is_none(), "{kind} {namespace}/{name}");
            }
        }
    }

    #[test]
    fn what_a_controller_owns_is_never_selected() {
        let mut owned = template("shop", "web", json!({}));
        assert!(asks_for(&owned).iter().all(|policy| policy.selects(&owned).is_some()));
        owned.owned = true;
        assert!(asks_for(&owned).iter().all(|policy| policy.selects(&owned).is_none()));
    }

    #[test]
    fn secrets_of_the_system_are_never_selected_and_others_by_name_only() {
        let mut secret = template_of("v1", "Secret", "shop", "s", json!({}));
        for type_ in [
            "kubernetes.io/service-account-token",
            "bootstrap.kubernetes.io/token",
            "helm.sh/release.v1",
            "hanse.dev/kubeconfig",
            "hanse.dev/relay-token",
        ] {
            secret.secret_type = Some(type_.to_owned());
            assert!(asks_for(&secret).iter().all(|one| one.selects(&secret).is_none()), "{type_}");
        }
        secret.secret_type = Some("Opaque".to_owned());
        let [by_kind, by_name] = asks_for(&secret);
        assert_eq!(by_kind.selects(&secret), None);
        assert_eq!(by_name.selects(&secret), Some(Specificity::Name));
    }

    #[test]
    fn what_stands_in_a_manifest_follows_it_and_what_is_mandatory() {
        let manifest: FederatedManifest = serde_json::from_value(json!({
            "metadata": {"name": "app", "namespace": "shop"}, "spec": {"manifests": []}}))
        .unwrap();
        let own = Arc::new(Policy::of_manifest(&manifest));
        let plain = template("shop", "web", json!({}));
        assert_eq!(own.selects(&plain), None);
        let mut held = plain;
        held.manifest = Some("app".to_owned());
        let urgent = namespaced("urgent", 999, json!({"name": "web"}));
        let all = [urgent, Arc::clone(&own)];
        assert_eq!(winner(&all, &held).unwrap().key, own.key);
        let must = cluster("must", true, json!({"namespaces": ["shop"]}));
        let all = [Arc::clone(&must), own];
        assert_eq!(winner(&all, &held).unwrap().key, must.key);
    }

    #[test]
    fn complaints_say_what_to_write() {
        let served = |_: &str, kind: &str| match kind {
            "Deployment" | "Secret" | "Widget" => Some(true),
            "Namespace" => Some(false),
            _ => None,
        };
        let complaint = |policy: &Policy| policy.complaints(served).join("\n");
        assert_eq!(complaint(&namespaced("p", 0, json!({}))), "");
        assert_eq!(
            complaint(&cluster("p", false, json!({"kind": "Widget"}))),
            "spec.resourceSelectors[0]: Widget lives in namespaces: write namespaces: [names], or \
             namespaces: [\"*\"] for all but the system's own"
        );
        assert_eq!(
            complaint(&namespaced("p", 0, json!({"kind": "Namespace"}))),
            "spec.resourceSelectors[0]: Namespace has no namespace: select it by a \
             ClusterPropagationPolicy"
        );
        assert_eq!(
            complaint(&namespaced("p", 0, json!({"kind": "Secret"}))),
            "spec.resourceSelectors[0]: Secrets travel by name or as a dependency: write name"
        );
        assert!(
            complaint(&namespaced("p", 0, json!({"kind": "Deploymnt"}))).contains(
                "apps/v1 Deploymnt is not served by this API: correct apiVersion and kind"
            )
        );
    }
}
