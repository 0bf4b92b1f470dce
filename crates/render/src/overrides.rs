//! Override policies: which apply to an object, in which order, and what they make of it for one
//! cluster. A rule that does not apply stops that cluster and names itself.

mod apply;
mod containers;
mod guard;

use std::fmt;

use hanse_api::{
    ClusterOverridePolicy, ClusterSelector, FederatedManifest, ManifestName, Member,
    OverridePolicy, OverrideRule, ResourceSelector, selects,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use crate::{
    CelError, Change, Violation,
    cel::{Budget, Datum, Program},
    needs::string_map,
    pointer::PointerError,
};

pub use guard::{ManifestCause, ManifestError, check_manifest};

/// Names of the expressions in `replace`.
const NAMES: [&str; 2] = ["object", "cluster"];

/// A policy, as messages name it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PolicyName {
    /// A ClusterOverridePolicy.
    Cluster(String),
    /// An OverridePolicy: namespace and name.
    Namespaced(String, String),
    /// The overrides in a FederatedManifest: namespace and name.
    Manifest(String, String),
}

impl fmt::Display for PolicyName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(name) => write!(out, "ClusterOverridePolicy {name}"),
            Self::Namespaced(namespace, name) => write!(out, "OverridePolicy {namespace}/{name}"),
            Self::Manifest(namespace, name) => write!(out, "FederatedManifest {namespace}/{name}"),
        }
    }
}

/// A rule that does not apply. The cluster that it is for gets nothing new.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{policy}, rules[{rule}].{field}, {path}: {cause}")]
pub struct OverrideError {
    /// The policy.
    pub policy: PolicyName,
    /// Index of the rule in it.
    pub rule: usize,
    /// Field of the rule, for example `jsonPatch[2]`.
    pub field: String,
    /// Where in the object: a JSON pointer.
    pub path: String,
    /// Why.
    pub cause: Box<OverrideCause>,
}

/// Why a rule does not apply.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OverrideCause {
    /// The object has no such container.
    #[error("there is no container {0}: this object has {1}")]
    NoContainer(String, String),
    /// The object has no containers at all.
    #[error("this object has no containers")]
    NoContainers,
    /// The place cannot be reached.
    #[error(transparent)]
    Pointer(#[from] PointerError),
    /// A test of a JSON patch did not hold.
    #[error("the test does not hold: the value there is {0}")]
    Test(String),
    /// An operation has no value.
    #[error("this operation needs a value")]
    NoValue,
    /// The expression has no value.
    #[error(transparent)]
    Cel(#[from] CelError),
    /// What makes the object the one it is cannot change from cluster to cluster.
    #[error(
        "an override cannot change apiVersion, kind, status, or metadata other than labels and \
         annotations"
    )]
    Identity,
    /// The marks of Hanse cannot be changed.
    #[error("this label or annotation is Hanse's own")]
    Mark,
    /// The placement decides how many replicas a cluster has.
    #[error("replicas are decided by the placement: write bounds or weights there")]
    Replicas,
    /// The object has grown beyond what an API server takes.
    #[error("the object has grown to {0} bytes: at most 1048576 are allowed")]
    TooLarge(usize),
    /// A policy of a namespace changes an object that gives rights.
    #[error("{0}: a policy of a namespace cannot change this, a ClusterOverridePolicy can")]
    Rights(&'static str),
    /// A policy of a namespace sets a field that Pod Security baseline does not allow.
    #[error("{0}: a policy of a namespace cannot set this, a ClusterOverridePolicy can")]
    Restricted(Violation),
}

/// A place that a rule changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Overridden {
    /// The policy.
    pub policy: PolicyName,
    /// Index of the rule in it.
    pub rule: usize,
    /// Field of the rule, for example `image`.
    pub field: String,
    /// What changed.
    pub change: Change,
}

/// Policies in the order in which they apply: cluster-wide ones, those of namespaces, and those
/// inside FederatedManifests; each by priority (the lower first), then name.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    policies: Vec<Policy>,
}

#[derive(Clone, Debug)]
struct Policy {
    name: PolicyName,
    priority: i32,
    selectors: Vec<Selector>,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
enum Selector {
    Namespaced(ResourceSelector),
    Cluster(ClusterSelector),
}

#[derive(Clone, Debug)]
struct Rule {
    spec: OverrideRule,
    /// Manifests that it changes; empty: all that its policy selects.
    objects: Vec<ManifestName>,
    /// Read expressions of `replace`, in its order.
    replace: Vec<Result<Program, CelError>>,
}

impl Overrides {
    /// Policies from anywhere, in any order. A policy without a name is left out.
    pub fn new<'a>(
        cluster: impl IntoIterator<Item = &'a ClusterOverridePolicy>,
        namespaced: impl IntoIterator<Item = &'a OverridePolicy>,
    ) -> Self {
        let cluster = cluster.into_iter().filter_map(|policy| {
            let selectors = policy.spec.resource_selectors.iter().cloned();
            Some(Policy {
                name: PolicyName::Cluster(policy.metadata.name.clone()?),
                priority: policy.spec.priority,
                selectors: selectors.map(Selector::Cluster).collect(),
                rules: policy.spec.rules.iter().map(Rule::read).collect(),
            })
        });
        let namespaced = namespaced.into_iter().filter_map(|policy| {
            let selectors = policy.spec.resource_selectors.iter().cloned();
            let namespace = policy.metadata.namespace.clone()?;
            Some(Policy {
                name: PolicyName::Namespaced(namespace, policy.metadata.name.clone()?),
                priority: policy.spec.priority,
                selectors: selectors.map(Selector::Namespaced).collect(),
                rules: policy.spec.rules.iter().map(Rule::read).collect(),
            })
        });
        let mut policies: Vec<Policy> = cluster.chain(namespaced).collect();
        policies.sort_by(|a, b| {
            let rank = |policy: &Policy| matches!(policy.name, PolicyName::Namespaced(..));
            (rank(a), a.priority, &a.name).cmp(&(rank(b), b.priority, &b.name))
        });
        Self { policies }
    }

    /// These policies, and after them the overrides of the FederatedManifest that an object stands
    /// in.
    #[must_use]
    pub fn with_manifest(&self, manifest: &FederatedManifest) -> Self {
        let mut all = self.clone();
        let meta = &manifest.metadata;
        let (Some(namespace), Some(name)) = (&meta.namespace, &meta.name) else {
            return all;
        };
        let selectors = manifest.spec.manifests.iter().map(|object| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            Selector::Namespaced(ResourceSelector {
                api_version: text(&object["apiVersion"]),
                kind: text(&object["kind"]),
                name: Some(text(&object["metadata"]["name"])),
                label_selector: None,
            })
        });
        all.policies.push(Policy {
            name: PolicyName::Manifest(namespace.clone(), name.clone()),
            priority: 0,
            selectors: selectors.collect(),
            rules: manifest
                .spec
                .overrides
                .iter()
                .map(|one| Rule { objects: one.objects.clone(), ..Rule::read(&one.rule) })
                .collect(),
        });
        all
    }

    /// The policies that select an object, in order.
    pub fn selecting(&self, object: &Value) -> Vec<&PolicyName> {
        let facts = Facts::read(object);
        self.policies.iter().filter(|policy| policy.selects(&facts)).map(|p| &p.name).collect()
    }

    /// Applies all policies that select an object for one cluster, in place. `replicas` are the
    /// places where its kind keeps its replicas. On an error the object is not to be used.
    ///
    /// # Errors
    /// [`OverrideError`] names the first rule that does not apply.
    pub fn apply(
        &self,
        object: &mut Value,
        cluster: Member<'_>,
        replicas: &[&str],
    ) -> Result<Vec<Overridden>, OverrideError> {
        let facts = Facts::read(object);
        let mut done = Vec::new();
        let mut datum = None;
        for policy in self.policies.iter().filter(|policy| policy.selects(&facts)) {
            let rules = policy.rules.iter().enumerate();
            let mut budget = Budget::POLICY;
            let meant = |rule: &Rule| rule.spec.clusters.admits(cluster) && rule.concerns(&facts);
            for (index, rule) in rules.filter(|(_, rule)| meant(rule)) {
                let cluster = datum.get_or_insert_with(|| cluster_datum(cluster));
                let at = apply::At { policy: &policy.name, rule: index, replicas };
                apply::rule(object, rule, &at, (cluster, &mut budget), &mut done)?;
            }
        }
        crate::strip::drop_nulls(object);
        Ok(done)
    }
}

/// Expressions of rules that cannot be read: index of the rule, field, and why. A policy that has
/// any is not accepted, and stops the clusters that those rules are for.
pub fn unreadable<'a>(
    rules: impl IntoIterator<Item = &'a OverrideRule>,
) -> Vec<(usize, String, CelError)> {
    let mut found = Vec::new();
    for (at, rule) in rules.into_iter().enumerate() {
        for (index, program) in Rule::read(rule).replace.into_iter().enumerate() {
            if let Err(error) = program {
                found.push((at, format!("replace[{index}]"), error));
            }
        }
    }
    found
}

impl Rule {
    fn read(spec: &OverrideRule) -> Self {
        let replace = spec.replace.iter().map(|replace| Program::compile(&replace.cel, &NAMES));
        Self { replace: replace.collect(), objects: Vec::new(), spec: spec.clone() }
    }

    fn concerns(&self, facts: &Facts) -> bool {
        let is_it = |one: &ManifestName| {
            one.kind == facts.kind && one.name.as_ref().is_none_or(|name| *name == facts.name)
        };
        self.objects.is_empty() || self.objects.iter().any(is_it)
    }
}

fn cluster_datum(cluster: Member<'_>) -> Datum {
    let labels = cluster.labels.iter().map(|(key, value)| (key.as_str(), Datum::text(value)));
    Datum::map([
        ("name", Datum::text(cluster.name)),
        ("provider", Datum::text(cluster.provider)),
        ("region", Datum::text(cluster.region)),
        ("zone", Datum::text(cluster.zone)),
        ("labels", Datum::map(labels)),
    ])
}

/// What selectors look at. Read once, so that an override cannot select itself in or out.
struct Facts {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    labels: std::collections::BTreeMap<String, String>,
}

impl Facts {
    fn read(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        Self {
            api_version: text(&object["apiVersion"]),
            kind: text(&object["kind"]),
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            labels: string_map(&metadata["labels"]),
        }
    }

    fn are(
        &self,
        api: &str,
        kind: &str,
        name: Option<&String>,
        by: Option<&LabelSelector>,
    ) -> bool {
        self.api_version == api
            && self.kind == kind
            && name.is_none_or(|name| *name == self.name)
            && by.is_none_or(|selector| selects(selector, |key| self.labels.get(key)))
    }
}

impl Policy {
    /// A policy of a namespace sees the objects of that namespace and no others.
    fn selects(&self, facts: &Facts) -> bool {
        let inside = match &self.name {
            PolicyName::Cluster(_) => true,
            PolicyName::Namespaced(namespace, _) | PolicyName::Manifest(namespace, _) => {
                !namespace.is_empty() && facts.namespace == *namespace
            }
        };
        inside && self.selectors.iter().any(|selector| selector.matches(facts))
    }
}

impl Selector {
    fn matches(&self, facts: &Facts) -> bool {
        match self {
            Self::Namespaced(selector) => facts.are(
                &selector.api_version,
                &selector.kind,
                selector.name.as_ref(),
                selector.label_selector.as_ref(),
            ),
            Self::Cluster(selector) => {
                let system = facts.namespace.starts_with("kube-")
                    || facts.namespace == hanse_api::SYSTEM_NAMESPACE;
                let inside = facts.namespace.is_empty()
                    || selector.namespaces.iter().any(|namespace| {
                        *namespace == facts.namespace || namespace == "*" && !system
                    });
                inside
                    && facts.are(
                        &selector.api_version,
                        &selector.kind,
                        selector.name.as_ref(),
                        selector.label_selector.as_ref(),
                    )
            }
        }
    }
}

#[cfg(test)]
mod tests;
