//! What is read of a member's nodes and pods: the fields that room is counted from. The rest of an
//! object, which is most of it, is dropped while it is parsed.

use hanse_rt::Mono;
use k8s_openapi::api::core::v1;
use kube::{
    Api, Client,
    core::{ApiResource, Object},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A node, as far as room is concerned.
pub(crate) type KeptNode = Object<Option<NodeSpec>, NodeStatus>;
/// A pod, as far as room is concerned.
pub(crate) type KeptPod = Object<Option<PodSpec>, PodStatus>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct NodeSpec {
    taints: Value,
    unschedulable: bool,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct NodeStatus {
    allocatable: Value,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodSpec {
    node_name: Value,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    #[serde(skip_serializing_if = "Value::is_null")]
    overhead: Value,
    resources: Value,
    scheduling_gates: Value,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    resources: Value,
    restart_policy: Value,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct PodStatus {
    phase: Value,
}

/// The API of all nodes.
pub(crate) fn nodes(client: Client) -> Api<KeptNode> {
    Api::all_with(client, &ApiResource::erase::<v1::Node>(&()))
}

/// The API of all pods.
pub(crate) fn pods(client: Client) -> Api<KeptPod> {
    Api::all_with(client, &ApiResource::erase::<v1::Pod>(&()))
}

/// How a watch of nodes or pods has failed lately. A watch that is opened again says nothing by
/// itself, so that silence after a failure counts as well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failing {
    first: Mono,
    last: Mono,
}

/// Longest time between two failures of a watch that goes on failing: opening it takes up to 10 s,
/// and it waits up to 5 s before it tries again.
const BETWEEN_FAILURES: std::time::Duration = std::time::Duration::from_secs(20);

impl Failing {
    /// Notes one more failure.
    pub(crate) fn note(known: Option<Self>, now: Mono) -> Self {
        let first = known.filter(|known| known.goes_on(now)).map_or(now, |known| known.first);
        Self { first, last: now }
    }

    fn goes_on(self, now: Mono) -> bool {
        now.duration_since(self.last) <= BETWEEN_FAILURES
    }

    /// Whether it has been failing for this long.
    pub(crate) fn has_lasted(self, limit: std::time::Duration, now: Mono) -> bool {
        self.goes_on(now) && now.duration_since(self.first) >= limit
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_failed_once_and_is_quiet_is_not_failing() {
        let start = Mono::now();
        let limit = Duration::from_secs(30);
        let at = |second: u64| start + Duration::from_secs(second);
        let once = Failing::note(None, at(0));
        assert!(!once.has_lasted(limit, at(40)));
        let again = [10, 20, 30]
            .into_iter()
            .fold(once, |known, second| Failing::note(Some(known), at(second)));
        assert!(again.has_lasted(limit, at(31)));
        assert!(!again.has_lasted(limit, at(60)), "it has not failed since");
        assert!(!Failing::note(Some(again), at(90)).has_lasted(limit, at(91)), "a new series");
    }

    #[test]
    fn a_pod_keeps_what_it_asks_for_and_loses_the_rest() {
        let pod: KeptPod = serde_json::from_value(serde_json::json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1"},
            "spec": {"nodeName": "n1", "volumes": [{"name": "v"}], "overhead": {"cpu": "1"},
                "containers": [{"image": "i", "resources": {"requests": {"cpu": "1"}}}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1"}}))
        .unwrap();
        let kept = serde_json::to_value(&pod).unwrap();
        assert_eq!(kept["spec"]["containers"][0]["resources"]["requests"]["cpu"], "1");
        assert_eq!(kept["spec"]["overhead"]["cpu"], "1");
        assert_eq!(
            (&kept["spec"]["nodeName"], &kept["status"]["phase"]),
            (&"n1".into(), &"Running".into())
        );
        assert!(kept["spec"]["volumes"].is_null() && kept["status"]["podIP"].is_null());
    }
}
