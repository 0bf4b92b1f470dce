//! Objects and patches in the shape that users, the hub and members give them.

use serde_json::{Value, json};

const NOW: &str = "2026-01-01T00:00:00Z";

/// The namespace of everything.
pub(crate) fn namespace() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
}

fn spec(name: &str, tag: u32) -> Value {
    json!({
        "replicas": 6,
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{
                "name": "main", "image": format!("registry.example.com/{name}:1.4.{tag}"),
                "ports": [{"name": "http", "containerPort": 8080}],
                "env": [
                    {"name": "LOG_LEVEL", "value": "info"},
                    {"name": "CACHE_MEGABYTES", "value": "128"},
                ],
                "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}},
                "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
            }]},
        },
    })
}

/// What a user creates.
pub(crate) fn deployment(number: u32) -> Value {
    let name = format!("app-{number:06}");
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": name, "namespace": "team",
            "labels": {"app": name, "placement": "capacity"},
        },
        "spec": spec(&name, 1),
    })
}

/// What a member gets of it.
pub(crate) fn copy(number: u32, tag: u32) -> Value {
    let mut copy = deployment(number);
    let name = copy["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    copy["metadata"]["labels"]["hanse.dev/hub"] = "0d9f3a52".into();
    copy["metadata"]["labels"]["hanse.dev/binding"] = format!("{number:016x}").into();
    copy["metadata"]["annotations"] = json!({
        "hanse.dev/binding": format!("team/{name}-deployment"),
        "hanse.dev/digest": format!("1:{tag:032x}"),
        "hanse.dev/template-uid": "6f3a3cc1-54b7-4d1c-8a55-0e0d3f0a7f10",
    });
    copy["spec"] = spec(&name, tag);
    copy["spec"]["replicas"] = 2.into();
    copy
}

/// The binding of a Deployment, without a decision.
pub(crate) fn binding(template: &Value) -> Value {
    let meta = &template["metadata"];
    let name = meta["name"].as_str().unwrap_or_default();
    json!({
        "apiVersion": "hanse.dev/v1alpha1", "kind": "ResourceBinding",
        "metadata": {
            "name": format!("{name}-deployment"), "namespace": "team",
            "finalizers": ["hanse.dev/binding"],
        },
        "spec": {
            "template": {
                "apiVersion": "apps/v1", "kind": "Deployment", "name": name,
                "namespace": "team", "uid": meta["uid"],
            },
            "replicas": 6,
            "replicaRequest": {"cpu": "250m", "memory": "512Mi"},
            "policy": {
                "kind": "ClusterPropagationPolicy", "name": "capacity", "namespace": "",
                "hash": "9b1f6f0c3a7d4e25",
            },
            "importance": 0,
            "clusters": [], "follows": [], "finished": [], "ordinals": [],
        },
    })
}

/// Names of three members in order.
const CLUSTERS: [&str; 3] =
    ["aws-eu-west-1-c004", "azure-westeurope-c017", "gcp-europe-west4-c002"];

/// The decision about a binding as the hub writes it.
pub(crate) fn decision(binding: &Value) -> Value {
    let clusters: Vec<Value> =
        CLUSTERS.iter().map(|name| json!({"name": name, "replicas": 2})).collect();
    json!({
        "metadata": {"resourceVersion": binding["metadata"]["resourceVersion"]},
        "spec": {"clusters": clusters},
    })
}

fn condition(kind: &str, holds: bool, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": if holds { "True" } else { "False" }, "reason": reason,
        "message": message, "lastTransitionTime": NOW, "observedGeneration": 2,
    })
}

/// Why the decision is as it is.
pub(crate) fn reasons(binding: &Value) -> Value {
    json!({
        "metadata": {"resourceVersion": binding["metadata"]["resourceVersion"]},
        "status": {
            "conditions": [condition("Scheduled", true, "Scheduled", "6 replicas in 3 clusters")],
            "decision": {
                "at": NOW, "clustersConsidered": 1000,
                "rejected": [
                    {"reason": "InsufficientCapacity", "count": 112, "examples": CLUSTERS},
                    {"reason": "NotSelected", "count": 40, "examples": CLUSTERS},
                ],
            },
        },
    })
}

/// What members say of their copies, folded.
pub(crate) fn state(binding: &Value, ready: u32) -> Value {
    let clusters: Vec<Value> = CLUSTERS
        .iter()
        .map(|name| {
            json!({
                "name": name, "replicas": 2, "ready": ready, "applied": true,
                "health": if ready == 2 { "Healthy" } else { "Progressing" },
                "revision": "5f2d0c9a6b7e1d34",
            })
        })
        .collect();
    let message = format!("{} of 6 replicas are ready", ready * 3);
    json!({
        "metadata": {"resourceVersion": binding["metadata"]["resourceVersion"]},
        "status": {
            "clusters": clusters,
            "observedGeneration": 2,
            "summary": {"applied": 3, "clusters": 3, "ready": ready * 3, "unhealthy": 0, "updated": 6},
            "conditions": [
                condition("Scheduled", true, "Scheduled", "6 replicas in 3 clusters"),
                condition("Applied", true, "Applied", ""),
                condition("Available", ready == 2, "AsManyAsWanted", &message),
            ],
        },
    })
}

/// The status of a Deployment: folded by the hub, or set by a member.
pub(crate) fn status(deployment: &Value) -> Value {
    json!({
        "metadata": {"uid": deployment["metadata"]["uid"]},
        "status": {
            "observedGeneration": 1, "replicas": 6, "updatedReplicas": 6, "readyReplicas": 6,
            "availableReplicas": 6,
            "conditions": [
                {
                    "type": "Available", "status": "True", "reason": "MinimumReplicasAvailable",
                    "message": "Deployment has minimum availability.",
                    "lastTransitionTime": NOW, "lastUpdateTime": NOW,
                },
                {
                    "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
                    "message": "ReplicaSet has successfully progressed.",
                    "lastTransitionTime": NOW, "lastUpdateTime": NOW,
                },
            ],
        },
    })
}

/// A member of a fleet.
pub(crate) fn member(number: u32) -> Value {
    json!({
        "apiVersion": "hanse.dev/v1alpha1", "kind": "MemberCluster",
        "metadata": {
            "name": format!("member-{number:06}"),
            "labels": {"env": "prod", "tier": "gold"},
        },
        "spec": {
            "provider": "aws", "region": "eu-west-1", "zone": "eu-west-1a",
            "connection": {"simulated": {}}, "network": "aws-1",
            "identity": "2b7f7b0e-8a35-4f0e-9d3c-6a0b1d9f7a11",
        },
    })
}

/// The status of a member as its room changes.
pub(crate) fn member_status(beat: u32) -> Value {
    let amounts = |cpu: u32| json!({"cpu": cpu.to_string(), "memory": "393216Mi", "pods": "660"});
    let conditions: Vec<Value> =
        ["Joined", "ApiReachable", "DataPlaneReachable", "GatewayReachable", "Ready", "Synced"]
            .iter()
            .map(|kind| condition(kind, true, "Answers", "as it should be"))
            .collect();
    json!({"status": {
        "conditions": conditions, "observedGeneration": 1, "verdict": "Healthy",
        "kubernetesVersion": "v1.37.0", "platform": "linux/amd64",
        "nodes": {"total": 6, "ready": 6},
        "capacity": {
            "allocatable": amounts(96), "requested": amounts(beat), "free": amounts(96 - beat),
            "at": NOW,
        },
        "workloads": {"bindings": beat, "replicas": beat},
    }})
}
