//! FederatedManifest: objects with their placement and overrides, everything in one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Failover, OverrideRule, Placement};

/// Objects of this namespace that go to members without being objects of the hub.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    doc = "Objects of this namespace that go to members without being objects of the hub.",
    group = "hanse.dev",
    version = "v1alpha1",
    kind = "FederatedManifest",
    plural = "federatedmanifests",
    shortname = "fm",
    category = "hanse",
    namespaced,
    status = "FederatedManifestStatus",
    derive = "PartialEq",
    cel,
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(
        name = "Available",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Available')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct FederatedManifestSpec {
    /// The objects: of kinds that live in namespaces, in this namespace or without one written,
    /// and no two of the same kind and name. Access rules, admission and definitions of kinds
    /// are refused: a ClusterPropagationPolicy places those.
    #[schemars(schema_with = "embedded")]
    pub manifests: Vec<Value>,
    /// Where, and how many.
    #[serde(default)]
    pub placement: Placement,
    /// What differs from cluster to cluster; after all override policies, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub overrides: Vec<ManifestOverride>,
    /// What happens when a member is lost or drained.
    #[serde(default)]
    pub failover: Failover,
}

/// Changes for some clusters.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct ManifestOverride {
    /// Which of the manifests are changed. Default: all of them; what is said of containers
    /// passes over manifests without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub objects: Vec<ManifestName>,
    /// What is changed, and in which clusters.
    #[serde(flatten)]
    pub rule: OverrideRule,
}

/// One of the manifests.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ManifestName {
    /// Its kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its name. Default: every one of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
}

/// What became of the manifests.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FederatedManifestStatus {
    /// Accepted and Available.
    #[serde(default)]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is in force while the spec is refused: a hub that starts goes on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<ManifestInForce>,
}

/// An earlier spec that is still in force.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ManifestInForce {
    /// Its generation.
    pub generation: i64,
    /// The spec as JSON, at most 512 KiB; a larger one is not kept.
    #[schemars(length(max = 524_288))]
    pub spec: String,
}

impl ManifestInForce {
    /// Keeps the spec of a FederatedManifest; nothing when it is too large.
    pub fn of(manifest: &FederatedManifest) -> Option<Self> {
        let generation = manifest.metadata.generation?;
        let spec = serde_json::to_string(&manifest.spec).ok()?;
        (spec.len() <= 524_288).then_some(Self { generation, spec })
    }

    /// The FederatedManifest as it was; nothing when the text is none.
    pub fn of_now(&self, now: &FederatedManifest) -> Option<FederatedManifest> {
        let spec = serde_json::from_str(&self.spec).ok()?;
        let mut metadata = now.metadata.clone();
        metadata.generation = Some(self.generation);
        Some(FederatedManifest { metadata, spec, status: None })
    }
}

/// A list of whole objects: the API server checks their apiVersion, kind and metadata.
fn embedded(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "minItems": 1, "maxItems": 100, "items": {"type": "object",
        "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}})
}
