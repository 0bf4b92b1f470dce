//! OverridePolicy and ClusterOverridePolicy: what differs from cluster to cluster.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ClusterSelection, ClusterSelector, ResourceSelector};

/// Changes what some clusters get of the objects of its own namespace.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    doc = "Changes what some clusters get of the objects of its own namespace.",
    group = "hanse.dev",
    version = "v1alpha1",
    kind = "OverridePolicy",
    plural = "overridepolicies",
    shortname = "op",
    category = "hanse",
    namespaced,
    status = "OverrideStatus",
    derive = "PartialEq",
    cel,
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Selected", type_ = "integer", json_path = ".status.selected"),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct OverridePolicySpec {
    /// Whose manifests are changed: objects of this policy's namespace that one of these matches.
    #[schemars(length(min = 1, max = 64))]
    pub resource_selectors: Vec<ResourceSelector>,
    /// Order among policies of namespaces: the lower comes first, so that the higher has the last
    /// word; of equals the name decides. -1000 to 1000, default 0.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// What is changed, and in which clusters; in order.
    #[schemars(length(min = 1, max = 32))]
    pub rules: Vec<OverrideRule>,
}

/// Changes what some clusters get, in all namespaces that it names.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    doc = "Changes what some clusters get, in all namespaces that it names.",
    group = "hanse.dev",
    version = "v1alpha1",
    kind = "ClusterOverridePolicy",
    plural = "clusteroverridepolicies",
    shortname = "cop",
    category = "hanse",
    status = "OverrideStatus",
    derive = "PartialEq",
    cel,
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Selected", type_ = "integer", json_path = ".status.selected"),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterOverridePolicySpec {
    /// Whose manifests are changed.
    #[schemars(length(min = 1, max = 64))]
    pub resource_selectors: Vec<ClusterSelector>,
    /// Order among cluster-wide policies: the lower comes first, so that the higher has the last
    /// word; of equals the name decides. -1000 to 1000, default 0.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// What is changed, and in which clusters; in order.
    #[schemars(length(min = 1, max = 32))]
    pub rules: Vec<OverrideRule>,
}

/// Changes for some clusters. Inside a rule the order is: image, command, args, env, labels,
/// annotations, jsonPatch, mergePatch, replace.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverrideRule {
    /// In which clusters. Default: all.
    #[serde(default)]
    pub clusters: ClusterSelection,
    /// Parts of image names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image: Vec<ImageOverride>,
    /// Commands of containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub command: Vec<WordsOverride>,
    /// Arguments of containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub args: Vec<WordsOverride>,
    /// Environment variables of containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub env: Vec<EnvOverride>,
    /// Labels of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<EntriesOverride>,
    /// Annotations of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<EntriesOverride>,
    /// Operations of a JSON patch (RFC 6902).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub json_patch: Vec<PatchOperation>,
    /// A JSON merge patch (RFC 7386): objects are merged, null removes, lists are replaced whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub merge_patch: Option<Value>,
    /// Values that are computed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub replace: Vec<ReplaceOverride>,
}

/// Changes parts of the images of a workload: `registry/repository:tag@digest`.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.registry) || has(self.repository) || has(self.tag) || has(self.digest)")
    .message("write at least one of registry, repository, tag and digest"))]
pub struct ImageOverride {
    /// Name of a container or init container. Default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub container: Option<String>,
    /// The registry, for example `registry.example.com:5000`; empty removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255), regex(pattern = r"^[A-Za-z0-9.:\[\]_-]*$"))]
    pub registry: Option<String>,
    /// The repository, for example `library/nginx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[a-z0-9._/-]+$"))]
    pub repository: Option<String>,
    /// The tag; takes the place of a digest unless one is written too. Empty removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = r"^[A-Za-z0-9._-]*$"))]
    pub tag: Option<String>,
    /// The digest, for example `sha256:0123…`; takes the place of a tag unless one is written
    /// too. Empty removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^([a-z0-9+._-]+:[0-9a-fA-F]+)?$"))]
    pub digest: Option<String>,
}

/// Changes a list of words: a command or its arguments.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.set) != (has(self.append) || has(self.remove))")
    .message("write either set (the whole list), or append and remove"))]
pub struct WordsOverride {
    /// Name of the container.
    #[schemars(length(min = 1, max = 63))]
    pub container: String,
    /// The whole list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), inner(length(max = 4096)))]
    pub set: Option<Vec<String>>,
    /// Words that are taken out wherever they stand; comes before append.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 4096)))]
    pub remove: Vec<String>,
    /// Words that are put at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 4096)))]
    pub append: Vec<String>,
}

/// Changes environment variables of a container.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.set) || has(self.remove)")
    .message("write set, remove, or both"))]
pub struct EnvOverride {
    /// Name of the container.
    #[schemars(length(min = 1, max = 63))]
    pub container: String,
    /// Variables that are set; one of the same name is replaced in its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub set: Vec<EnvVariable>,
    /// Names of variables that are taken out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 253)))]
    pub remove: Vec<String>,
}

/// An environment variable.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct EnvVariable {
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Value. Default: empty.
    #[serde(default)]
    #[schemars(length(max = 16384))]
    pub value: String,
}

/// Changes labels or annotations of an object.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.set) || has(self.remove)")
    .message("write set, remove, or both"))]
pub struct EntriesOverride {
    /// Entries that are set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "entries")]
    pub set: BTreeMap<String, String>,
    /// Keys that are taken out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 317)))]
    pub remove: Vec<String>,
}

/// One operation of a JSON patch.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PatchOperation {
    /// What is done.
    pub op: PatchVerb,
    /// Where: a JSON pointer, for example `/spec/template/spec/containers/0/image`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/"))]
    pub path: String,
    /// The value; needed by add, replace and test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub value: Option<Value>,
}

/// Operations of a JSON patch; move and copy are left out on purpose: what they do can be written
/// with these, and repeated copies double an object each time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PatchVerb {
    /// Puts a value there; into a list before that place, with `-` at its end.
    #[default]
    Add,
    /// Takes out what is there.
    Remove,
    /// Puts a value in the place of what is there.
    Replace,
    /// Goes on only if the value there is this one.
    Test,
}

/// A value that is computed for each cluster.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ReplaceOverride {
    /// Where: a JSON pointer. What it lies in must be there.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/"))]
    pub path: String,
    /// The value, in CEL. `object` is the object as it is at this point, `cluster` has name,
    /// provider, region, zone and labels.
    #[schemars(length(min = 1, max = 4096))]
    pub cel: String,
}

/// Whether an override policy can be followed, and what it changes.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverrideStatus {
    /// Accepted and Matched.
    #[serde(default)]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Number of objects that this policy selects.
    #[serde(default)]
    pub selected: i32,
}

/// Any JSON value.
fn any_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

/// Any JSON object.
fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// A bounded map of strings.
fn entries(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 16384}})
}
