//! What travels with a workload: what it names, and what selects or targets it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    Kind, Labels,
    needs::{list, pod_template, string_map},
};

/// An object in the workload's namespace.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Reference {
    /// API version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// Which workloads an object belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selects {
    /// Those whose pods have all these labels and satisfy the expressions.
    Pods {
        /// Labels that must be equal.
        labels: BTreeMap<String, String>,
        /// `matchExpressions` as `(key, operator, values)`.
        expressions: Vec<(String, String, Vec<String>)>,
    },
    /// The one of this kind and name.
    Workload {
        /// Kind.
        kind: String,
        /// Name.
        name: String,
    },
}

impl Selects {
    /// Whether a workload is among them.
    pub fn includes(&self, kind: &str, name: &str, pod_labels: &Labels) -> bool {
        match self {
            Self::Workload { kind: wanted, name: named } => wanted == kind && named == name,
            Self::Pods { labels, expressions } => {
                labels.iter().all(|(key, value)| pod_labels.get(key) == Some(value))
                    && expressions.iter().all(|(key, operator, values)| {
                        let value = pod_labels.get(key);
                        match operator.as_str() {
                            "In" => value.is_some_and(|value| values.contains(value)),
                            "NotIn" => value.is_none_or(|value| !values.contains(value)),
                            "Exists" => value.is_some(),
                            "DoesNotExist" => value.is_none(),
                            _ => false,
                        }
                    })
            }
        }
    }
}

/// What an object selects or targets, for the kinds that go where the selected workloads go.
pub fn selects(object: &Value) -> Option<Selects> {
    let spec = &object["spec"];
    match Kind::of_object(object) {
        Kind::Service => {
            let labels = spec.get("selector").map(string_map)?;
            // A Service without a selector has endpoints of its own and belongs to nobody.
            (!labels.is_empty()).then_some(Selects::Pods { labels, expressions: Vec::new() })
        }
        Kind::PodDisruptionBudget => spec.get("selector").map(label_selector),
        Kind::NetworkPolicy => spec.get("podSelector").map(label_selector),
        Kind::HorizontalPodAutoscaler => Some(Selects::Workload {
            kind: spec["scaleTargetRef"]["kind"].as_str()?.to_owned(),
            name: spec["scaleTargetRef"]["name"].as_str()?.to_owned(),
        }),
        _ => None,
    }
}

pub(crate) fn label_selector(selector: &Value) -> Selects {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Selects::Pods {
        labels: selector.get("matchLabels").map(string_map).unwrap_or_default(),
        expressions: list(selector.get("matchExpressions"))
            .map(|rule| {
                let values = list(rule.get("values")).map(text).collect();
                (text(&rule["key"]), text(&rule["operator"]), values)
            })
            .collect(),
    }
}

/// What a workload names: ConfigMaps, Secrets, claims, its ServiceAccount, and the Service of a
/// StatefulSet. The ServiceAccount `default` is everywhere already.
pub fn named_by(workload: &Value) -> BTreeSet<Reference> {
    let mut found = Named::default();
    if Kind::of_object(workload) == Kind::StatefulSet {
        found.add("Service", &workload["spec"]["serviceName"]);
    }
    if let Some(pod) = pod_template(workload) {
        found.pod(pod);
    }
    found.0
}

/// What a pod names.
pub(crate) fn named_by_pod(pod: &Value) -> BTreeSet<Reference> {
    let mut found = Named::default();
    found.pod(pod);
    found.0
}

#[derive(Debug, Default)]
struct Named(BTreeSet<Reference>);

impl Named {
    fn pod(&mut self, pod: &Value) {
        let spec = &pod["spec"];
        if spec["serviceAccountName"] != "default" {
            self.add("ServiceAccount", &spec["serviceAccountName"]);
        }
        for secret in list(spec.get("imagePullSecrets")) {
            self.add("Secret", &secret["name"]);
        }
        for volume in list(spec.get("volumes")) {
            self.volume(volume);
        }
        for containers in ["containers", "initContainers"] {
            for container in list(spec.get(containers)) {
                self.container(container);
            }
        }
    }

    fn add(&mut self, kind: &str, name: &Value) {
        if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
            self.0.insert(Reference {
                api_version: "v1".to_owned(),
                kind: kind.to_owned(),
                name: name.to_owned(),
            });
        }
    }

    fn volume(&mut self, volume: &Value) {
        self.add("ConfigMap", &volume["configMap"]["name"]);
        self.add("Secret", &volume["secret"]["secretName"]);
        self.add("PersistentVolumeClaim", &volume["persistentVolumeClaim"]["claimName"]);
        for source in list(volume["projected"].get("sources")) {
            self.add("ConfigMap", &source["configMap"]["name"]);
            self.add("Secret", &source["secret"]["name"]);
        }
    }

    fn container(&mut self, container: &Value) {
        for source in list(container.get("envFrom")) {
            self.add("ConfigMap", &source["configMapRef"]["name"]);
            self.add("Secret", &source["secretRef"]["name"]);
        }
        for variable in list(container.get("env")) {
            self.add("ConfigMap", &variable["valueFrom"]["configMapKeyRef"]["name"]);
            self.add("Secret", &variable["valueFrom"]["secretKeyRef"]["name"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
    fn object(api: &str, kind: &str, spec: Value) -> Value {
        json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x"}, "spec": spec})
    }

    fn follows(companion: &Value) -> bool {
        let labels = Labels::from_iter([("app".to_owned(), "web".to_owned())]);
        selects(companion).is_some_and(|selects| selects.includes("Deployment", "web", &labels))
    }

    #[test]
    fn what_selects_the_pods_or_targets_the_workload_follows_it() {
        let by_label = json!({"matchLabels": {"app": "web"}});
        for (companion, expected) in [
            (object("v1", "Service", json!({"selector": {"app": "web"}})), true),
            (object("v1", "Service", json!({"selector": {"app": "db"}})), false),
            (object("v1", "Service", json!({})), false),
            (object("policy/v1", "PodDisruptionBudget", json!({"selector": by_label})), true),
            (object("networking.k8s.io/v1", "NetworkPolicy", json!({"podSelector": {}})), true),
            (
                object(
                    "networking.k8s.io/v1",
                    "NetworkPolicy",
                    json!({"podSelector":
                    {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}}),
                ),
                false,
            ),
            (
                object(
                    "autoscaling/v2",
                    "HorizontalPodAutoscaler",
                    json!({"scaleTargetRef": {"kind": "Deployment", "name": "web"}}),
                ),
                true,
            ),
            (object("v1", "ConfigMap", json!({})), false),
        ] {
            assert_eq!(follows(&companion), expected, "{companion}");
        }
    }

    #[test]
    fn everything_that_a_workload_names_is_found() {
        let web = object(
            "apps/v1",
            "Deployment",
            json!({"template": {"spec": {
            "serviceAccountName": "sa",
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"configMap": {"name": "cm-volume"}},
                {"secret": {"secretName": "secret-volume"}},
                {"persistentVolumeClaim": {"claimName": "claim"}},
                {"projected": {"sources": [
                    {"configMap": {"name": "cm-projected"}}, {"secret": {"name": "s-projected"}}]}}],
            "initContainers": [{"envFrom": [{"secretRef": {"name": "s-from"}}]}],
            "containers": [{
                "envFrom": [{"configMapRef": {"name": "cm-from"}}],
                "env": [
                    {"valueFrom": {"configMapKeyRef": {"name": "cm-env"}}},
                    {"valueFrom": {"secretKeyRef": {"name": "s-env"}}},
                    {"value": "plain"}]}]}}}),
        );
        let names: Vec<String> =
            named_by(&web).into_iter().map(|r| format!("{}/{}", r.kind, r.name)).collect();
        assert_eq!(
            names,
            [
                "ConfigMap/cm-env",
                "ConfigMap/cm-from",
                "ConfigMap/cm-projected",
                "ConfigMap/cm-volume",
                "PersistentVolumeClaim/claim",
                "Secret/pull",
                "Secret/s-env",
                "Secret/s-from",
                "Secret/s-projected",
                "Secret/secret-volume",
                "ServiceAccount/sa",
            ]
        );
    }

    #[test]
    fn the_default_service_account_does_not_travel() {
        let web = object(
            "apps/v1",
            "Deployment",
            json!({"template": {"spec": {"serviceAccountName": "default"}}}),
        );
        assert!(named_by(&web).is_empty());
    }
}
