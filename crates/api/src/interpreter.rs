//! ResourceInterpreter: how the fields of a custom kind are to be understood.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Says where a custom kind keeps its replicas and pods, and what its status means.
#[derive(
    Clone, CustomResource, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize,
)]
#[kube(
    doc = "Says where a custom kind keeps its replicas and pods, and what its status means.",
    group = "hanse.dev",
    version = "v1alpha1",
    kind = "ResourceInterpreter",
    plural = "resourceinterpreters",
    shortname = "ri",
    category = "hanse",
    status = "ResourceInterpreterStatus",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Group", type_ = "string", json_path = ".spec.target.group"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.target.kind"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ResourceInterpreterSpec {
    /// The kind that is explained here.
    pub target: InterpreterTarget,
    /// The number of replicas. Default: the kind runs none that can be counted, and goes to every
    /// cluster that its policy admits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<InterpretedReplicas>,
    /// The pods that the kind makes. Default: none, so that nothing is known of their needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<InterpretedPods>,
    /// Ready replicas of one copy, in CEL, a whole number; `status` is the status of the copy.
    /// Default: `status.readyReplicas`, 0 where that is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub ready: Option<String>,
    /// Replicas of the newest revision of one copy, in CEL, a whole number; as ready.
    /// Default: `status.updatedReplicas`, 0 where that is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub updated: Option<String>,
    /// Health of one copy, in CEL: `"Healthy"`, `"Progressing"` or `"Unhealthy"`. Variables:
    /// `status`, `assigned` (replicas), `observed` (whether the newest manifest stands there and
    /// its controller has seen it). Default: Healthy once observed and, where replicas are
    /// counted, as many are ready as assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub health: Option<String>,
    /// The status that the template shows, in CEL, a map. Variables: `object` (the template),
    /// `members` (list of {status, assigned, observed}, lost ones left out),
    /// `observedGeneration` (the generation that all members have seen).
    /// Default: the template's status is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub status: Option<String>,
    /// What travels with the object besides what its pods name, in CEL: a list of
    /// {apiVersion, kind, name} in its namespace. Variable: `object`. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub dependencies: Option<String>,
    /// Fields that belong to the member once the object stands there: JSON pointers, for example
    /// `/spec/paused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 2, max = 512), regex(pattern = r"^/")))]
    pub retain: Vec<String>,
}

/// A custom kind, in all or some of its versions.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("self.group.contains('.')")
    .message("built-in kinds are understood already: write the group of a custom kind, such as argoproj.io"))]
pub struct InterpreterTarget {
    /// API group, for example `argoproj.io`.
    #[schemars(length(min = 3, max = 253))]
    pub group: String,
    /// Versions, for example `v1alpha1`. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 2, max = 63)))]
    pub versions: Vec<String>,
    /// Kind, for example `Rollout`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
}

/// Where replicas are counted.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.path) != has(self.cel)")
    .message("write exactly one of path (a field that is read and written) and cel (a count that is computed)"))]
#[x_kube(validation = Rule::new("!has(self.revise) || has(self.cel)")
    .message("revise goes with cel; with path the field itself is written: leave revise out"))]
#[x_kube(validation = Rule::new("!has(self.default) || has(self.path)")
    .message("default goes with path; write it inside the expression, such as object.spec.?replicas.orValue(1)"))]
pub struct InterpretedReplicas {
    /// JSON pointer to the count, for example `/spec/replicas`. It is divided among clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 512), regex(pattern = r"^/"))]
    pub path: Option<String>,
    /// The count where the field is not written. 0 to 1000000, default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub default: Option<i32>,
    /// The count, in CEL; variable: `object`. Without revise the object goes whole to one cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub cel: Option<String>,
    /// What a cluster's share changes in the object; variables: `object`, `replicas` (the share)
    /// and `total`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub revise: Vec<Revision>,
}

/// A field that is written for each cluster.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Revision {
    /// JSON pointer to the field. What it lies in must be there.
    #[schemars(length(min = 2, max = 512), regex(pattern = r"^/"))]
    pub path: String,
    /// Its value, in CEL.
    #[schemars(length(min = 1, max = 4096))]
    pub cel: String,
}

/// Where pods are described.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.path) != has(self.cel)")
    .message("write exactly one of path (to one pod template) and cel (a list of {template, count})"))]
pub struct InterpretedPods {
    /// JSON pointer to the pod template, for example `/spec/template`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 512), regex(pattern = r"^/"))]
    pub path: Option<String>,
    /// Pod templates, in CEL: a list of {template, count}, count being their number in the whole
    /// object. Variable: `object`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub cel: Option<String>,
}

/// Whether an interpreter is used.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceInterpreterStatus {
    /// Accepted.
    #[serde(default)]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
