//! Tenant: which namespaces belong together, and what they may have of the members.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::ClusterSelection;

/// What some namespaces may have of the members.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    doc = "What some namespaces may have of the members.",
    group = "hanse.dev",
    version = "v1alpha1",
    kind = "Tenant",
    plural = "tenants",
    shortname = "tn",
    category = "hanse",
    status = "TenantStatus",
    derive = "PartialEq",
    cel,
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "CPU", type_ = "string", json_path = ".status.used.cpu"),
    printcolumn(name = "Memory", type_ = "string", json_path = ".status.used.memory"),
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.used.pods"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// Namespaces by name. One that stands in two tenants is refused in both.
    #[schemars(
        length(min = 1, max = 256),
        inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub namespaces: Vec<String>,
    /// Members that their work may use. Default: all.
    #[serde(default)]
    pub clusters: ClusterSelection,
    /// What their work may ask for, over all members together. Default: no limit.
    #[serde(default)]
    pub quota: Quota,
    /// The highest importance that counts; a policy that asks for more gets this. -1000 to 1000,
    /// default 1000.
    #[serde(default = "default_importance")]
    #[schemars(range(min = -1000, max = 1000))]
    pub max_importance: i32,
}

const fn default_importance() -> i32 {
    1000
}

/// An amount of each resource.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("!has(self.extended) || self.extended.all(name, name.contains('/'))")
    .message("names in extended have a domain, such as nvidia.com/gpu; write cpu, memory and pods beside extended"))]
pub struct Quota {
    /// Processor time, a quantity such as `500m` or `20`. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[0-9.]+([eE][0-9]+|m|k|M|G)?$"))]
    pub cpu: Option<String>,
    /// Memory, a quantity such as `64Gi`. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 32),
        regex(pattern = r"^[0-9.]+([eE][0-9]+|[kMGTPE]|[KMGTPE]i)?$")
    )]
    pub memory: Option<String>,
    /// Number of pods. 0 to 100000000. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000_000))]
    pub pods: Option<i64>,
    /// Extended resources by name, quantities. Default: no limit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "extended")]
    pub extended: BTreeMap<String, String>,
}

/// Whether a tenant counts, and what it uses.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// Accepted.
    #[serde(default)]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What placed work asks for.
    #[serde(default)]
    pub used: Quota,
}

/// A bounded map of quantities.
fn extended(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 32, "additionalProperties": {"type": "string",
        "minLength": 1, "maxLength": 32, "pattern": "^[0-9.]+([eE][0-9]+|[kMGTPE]|[KMGTPE]i)?$"}})
}
