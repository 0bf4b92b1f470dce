//! What is placed: policies of five kinds, and Deployments that they select in turn.

use hanse_bench_scheduler::fleet::Dice;
use serde_json::{Value, json};

/// Namespaces.
pub(crate) const TEAMS: u64 = 10;

/// Kinds of placement; a Deployment's label `placement` says which it is.
const PLACEMENTS: [&str; 5] = ["capacity", "weights", "duplicate", "regions", "pack"];

/// The policies.
pub(crate) fn policies() -> Vec<Value> {
    let labelled = |key: &str, value: &str| json!({"selector": {"matchLabels": {key: value}}});
    let clusters = |min: u32, max: u32| json!({"topologyKey": "cluster", "minDomains": min, "maxDomains": max});
    let placements = [
        json!({"spread": [clusters(1, 4)]}),
        json!({
            "spread": [clusters(2, 4)],
            "replicas": {"strategy": "Weighted", "weights": [
                {"clusters": labelled("tier", "gold"), "weight": 3},
                {"clusters": labelled("tier", "silver"), "weight": 1},
            ]},
        }),
        json!({
            "clusters": [labelled("env", "prod")],
            "spread": [clusters(3, 3)],
            "replicas": {"mode": "Duplicate"},
        }),
        json!({"spread": [
            {"topologyKey": "region", "minDomains": 2, "maxDomains": 3}, clusters(2, 5),
        ]}),
        json!({"replicas": {"strategy": "Pack"}}),
    ];
    let all = PLACEMENTS.iter().zip(placements);
    all.map(|(name, placement)| {
        json!({
            "apiVersion": "hanse.dev/v1alpha1", "kind": "ClusterPropagationPolicy",
            "metadata": {"name": name},
            "spec": {
                "resourceSelectors": [{
                    "apiVersion": "apps/v1", "kind": "Deployment", "namespaces": ["*"],
                    "labelSelector": {"matchLabels": {"placement": name}},
                }],
                "placement": placement,
            },
        })
    })
    .collect()
}

/// The namespace of a Deployment.
pub(crate) fn team(number: u64) -> String {
    format!("team-{}", number % TEAMS)
}

/// One Deployment: 1 to 10 replicas of ten shapes.
pub(crate) fn deployment(number: u64) -> Value {
    let mut dice = Dice(number);
    let name = format!("app-{number:06}");
    let kinds = u64::try_from(PLACEMENTS.len()).unwrap_or(1);
    // Every team has some of each kind.
    let placement = PLACEMENTS[usize::try_from(number / TEAMS % kinds).unwrap_or(0)];
    let size = dice.within(1, 10);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": name, "namespace": team(number),
            "labels": {"app": name, "placement": placement},
        },
        "spec": {
            "replicas": dice.within(1, 10),
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "main", "image": format!("registry.example.com/{name}:1.4.2"),
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "env": [
                        {"name": "LOG_LEVEL", "value": "info"},
                        {"name": "CACHE_MEGABYTES", "value": "128"},
                    ],
                    "resources": {"requests": {
                        "cpu": format!("{}m", size * 25), "memory": format!("{}Mi", size * 64),
                    }},
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
                }]},
            },
        },
    })
}
