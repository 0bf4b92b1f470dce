//! What a workload asks of a cluster: replicas, the needs of one pod, the data it holds.

use std::collections::BTreeMap;

use litemap::LiteMap;
use serde_json::Value;

use crate::{Kind, milli};

mod placing;

pub use placing::PodSkew;

/// What one pod needs of a node.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PodNeeds {
    /// Requested resources by name, thousandths of their unit.
    pub requests: BTreeMap<String, i128>,
    /// Labels that the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that do not keep the pod away.
    pub tolerations: Vec<NodeToleration>,
    /// Limits of unevenness between the nodes' domains of a label.
    pub skews: Vec<PodSkew>,
    /// Labels of nodes of which each value takes one of these pods at most.
    pub apart: Vec<String>,
}

/// A toleration of a pod.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NodeToleration {
    /// Key; absent: every taint.
    pub key: Option<String>,
    /// Value; absent: every value.
    pub value: Option<String>,
    /// Effect; absent: every effect.
    pub effect: Option<String>,
}

/// Replicas that a template asks for: of a Job as many pods as it runs at once; absent for kinds
/// that run none, or as many as there are nodes.
pub fn replicas(template: &Value) -> Option<u32> {
    let count = |pointer: &str| {
        let value = template.pointer(pointer).and_then(Value::as_u64).unwrap_or(1);
        Some(u32::try_from(value).unwrap_or(u32::MAX))
    };
    match Kind::of_object(template) {
        kind if kind.has_replicas_field() => count("/spec/replicas"),
        Kind::Job => {
            let completions = template.pointer("/spec/completions").and_then(Value::as_u64);
            let most = completions.map_or(u32::MAX, |most| u32::try_from(most).unwrap_or(u32::MAX));
            count("/spec/parallelism").map(|parallelism| parallelism.min(most))
        }
        Kind::CronJob => count("/spec/jobTemplate/spec/parallelism"),
        _ => None,
    }
}

/// Labels of an object. There are few of them, and many objects: a list takes a fifth of what a
/// tree takes.
pub type Labels = LiteMap<String, String>;

/// Labels of the pods that a workload makes.
pub fn pod_labels(template: &Value) -> Labels {
    pod_template(template)
        .and_then(|pod| pod.pointer("/metadata/labels"))
        .map(labels)
        .unwrap_or_default()
}

/// What one pod of a workload needs. A quantity that cannot be read counts as nothing: the
/// member's API server will refuse it with its own words.
pub fn pod_needs(template: &Value) -> PodNeeds {
    let namespace = template.pointer("/metadata/namespace").and_then(Value::as_str);
    pod_template(template)
        .map(|pod| placing::with_rules(needs_of(&pod["spec"]), pod, namespace.unwrap_or_default()))
        .unwrap_or_default()
}

/// Whether a workload mounts volumes whose data stays behind when it moves.
pub fn holds_data(template: &Value) -> bool {
    let claims = template.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    claims.is_some_and(|list| !list.is_empty()) || pod_template(template).is_some_and(mounts_claims)
}

/// Whether a pod mounts PersistentVolumeClaims, its own ephemeral ones left out: they go with it.
pub(crate) fn mounts_claims(pod: &Value) -> bool {
    list(pod.pointer("/spec/volumes")).any(|volume| volume.get("persistentVolumeClaim").is_some())
}

pub(crate) fn pod_template(template: &Value) -> Option<&Value> {
    template.pointer(Kind::of_object(template).pod_template()?)
}

pub(crate) fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

pub(crate) fn string_map(value: &Value) -> BTreeMap<String, String> {
    strings(value).collect()
}

/// Labels as an object writes them.
pub(crate) fn labels(value: &Value) -> Labels {
    strings(value).collect()
}

fn strings(value: &Value) -> impl Iterator<Item = (String, String)> {
    let fields = value.as_object().into_iter().flatten();
    fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
}

/// The needs of a pod, by the rules of the kube-scheduler: the sum of the containers and of the
/// init containers that keep running, or the largest moment of starting up, plus the overhead.
pub(crate) fn needs_of(spec: &Value) -> PodNeeds {
    let mut running: BTreeMap<String, i128> = BTreeMap::new();
    let mut peak: BTreeMap<String, i128> = BTreeMap::new();
    for container in list(spec.get("initContainers")) {
        let requests = requests_of(container);
        if container["restartPolicy"] == "Always" {
            add(&mut running, &requests);
            raise(&mut peak, &running);
        } else {
            let mut moment = running.clone();
            add(&mut moment, &requests);
            raise(&mut peak, &moment);
        }
    }
    for container in list(spec.get("containers")) {
        add(&mut running, &requests_of(container));
    }
    raise(&mut running, &peak);
    // What is asked for the pod as a whole counts instead of what its containers ask for.
    running.extend(requests_of(spec));
    if let Some(overhead) = spec.get("overhead") {
        add(&mut running, &amounts(overhead));
    }
    PodNeeds {
        requests: running,
        node_selector: spec.get("nodeSelector").map(string_map).unwrap_or_default(),
        tolerations: list(spec.get("tolerations")).map(toleration).collect(),
        ..PodNeeds::default()
    }
}

fn toleration(value: &Value) -> NodeToleration {
    let text = |key: &str| value[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let exists = value["operator"] == "Exists";
    NodeToleration {
        key: text("key"),
        value: if exists { None } else { Some(text("value").unwrap_or_default()) },
        effect: text("effect"),
    }
}

/// Requests of a container; a limit without a request is a request.
fn requests_of(container: &Value) -> BTreeMap<String, i128> {
    let mut requests = amounts(&container["resources"]["limits"]);
    requests.extend(amounts(&container["resources"]["requests"]));
    requests
}

fn amounts(value: &Value) -> BTreeMap<String, i128> {
    let fields = value.as_object().into_iter().flatten();
    fields
        .filter_map(|(name, amount)| {
            let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
            Some((name.clone(), milli(&text).ok()?))
        })
        .collect()
}

fn add(sum: &mut BTreeMap<String, i128>, more: &BTreeMap<String, i128>) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_default() += amount;
    }
}

fn raise(most: &mut BTreeMap<String, i128>, other: &BTreeMap<String, i128>) {
    for (name, amount) in other {
        let entry = most.entry(name.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
    fn deployment(pod: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "spec": {"replicas": 3, "template": {"metadata": {"labels": {"app": "x"}}, "spec": pod}}})
    }

    fn cpu(pod: Value) -> i128 {
        pod_needs(&deployment(pod)).requests.get("cpu").copied().unwrap_or(0)
    }

    fn asks(cpu: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn requests_of_containers_add_up() {
        assert_eq!(cpu(json!({"containers": [asks("100m"), asks("0.2")]})), 300);
    }

    #[test]
    fn the_largest_moment_of_starting_up_counts() {
        let pod =
            json!({"containers": [asks("100m")], "initContainers": [asks("500m"), asks("1")]});
        assert_eq!(cpu(pod), 1000);
    }

    #[test]
    fn an_init_container_that_keeps_running_adds_to_the_sum() {
        let mut sidecar = asks("200m");
        sidecar["restartPolicy"] = json!("Always");
        let pod = json!({"containers": [asks("100m")], "initContainers": [sidecar, asks("150m")]});
        assert_eq!(cpu(pod), 350);
    }

    #[test]
    fn a_limit_without_a_request_is_a_request_and_overhead_is_added() {
        let pod = json!({"containers": [{"resources": {"limits": {"cpu": "2"}}}],
            "overhead": {"cpu": "250m"}});
        assert_eq!(cpu(pod), 2250);
    }

    #[test]
    fn what_the_pod_asks_for_as_a_whole_counts_instead_of_its_containers() {
        let pod = json!({"containers": [asks("100m"), asks("100m")],
            "resources": {"requests": {"cpu": "1"}}});
        assert_eq!(cpu(pod), 1000);
    }

    #[test]
    fn replicas_are_read_by_kind() {
        assert_eq!(replicas(&deployment(json!({}))), Some(3));
        let unset = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {}});
        assert_eq!(replicas(&unset), Some(1));
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"parallelism": 4}});
        assert_eq!(replicas(&job), Some(4));
        let short = json!({"parallelism": 4, "completions": 3});
        let short = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": short});
        assert_eq!(replicas(&short), Some(3));
        assert_eq!(replicas(&json!({"apiVersion": "v1", "kind": "ConfigMap"})), None);
    }

    #[test]
    fn a_claim_or_a_claim_template_holds_data() {
        let claim = json!({"volumes": [{"persistentVolumeClaim": {"claimName": "data"}}]});
        assert!(holds_data(&deployment(claim)));
        assert!(!holds_data(&deployment(json!({"volumes": [{"emptyDir": {}}]}))));
        let stateful = json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
            "spec": {"volumeClaimTemplates": [{}]}});
        assert!(holds_data(&stateful));
    }
}
