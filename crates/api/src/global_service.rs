//! GlobalService: one endpoint for a service that runs in many clusters.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ClusterSelection;

/// One endpoint for a service that runs in many clusters.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    doc = "One endpoint for a service that runs in many clusters.",
    group = "hanse.dev",
    version = "v1alpha1",
    kind = "GlobalService",
    plural = "globalservices",
    shortname = "gs",
    category = "hanse",
    namespaced,
    status = "GlobalServiceStatus",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Service", type_ = "string", json_path = ".spec.service"),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Programmed')].status"
    ),
    printcolumn(
        name = "Healthy",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Healthy')].status"
    ),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.addresses[0].address"),
    printcolumn(name = "Port", type_ = "integer", json_path = ".status.addresses[0].port"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct GlobalServiceSpec {
    /// Name of the Service in this namespace. Being named here exports it.
    #[schemars(length(min = 1, max = 63))]
    pub service: String,
    /// Which of its ports are served; empty: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["port".into()]))]
    pub ports: Vec<ServicePort>,
    /// In which order clusters answer.
    #[serde(default)]
    pub routing: Routing,
}

/// A served port.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ServicePort {
    /// Name of the Service's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub name: Option<String>,
    /// Number of the Service's port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// What is spoken there. Default: what the Service's appProtocol says, else TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

/// Protocols that gateways speak.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2.
    Http,
    /// gRPC.
    Grpc,
    /// Bytes.
    Tcp,
}

/// In which order clusters answer.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.weights) || (has(self.locality) && self.locality == 'Weighted')")
    .message("weights count with locality: Weighted only; write it, or leave weights out"))]
#[x_kube(validation = Rule::new("!has(self.order) || (has(self.locality) && self.locality == 'Ordered')")
    .message("order counts with locality: Ordered only; write it, or leave order out"))]
pub struct Routing {
    /// How the next cluster is found. Default: Nearest.
    #[serde(default)]
    pub locality: Locality,
    /// Shares for Weighted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub weights: Vec<WeightedClusters>,
    /// Clusters in order for Ordered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub order: Vec<ClusterSelection>,
    /// Domain that requests never leave, not in failover or retry either. Default: None.
    #[serde(default)]
    pub stay_within: StayWithin,
}

/// How the next cluster is found.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Locality {
    /// Same cluster, zone, region, then measured round-trip time.
    #[default]
    Nearest,
    /// By given shares.
    Weighted,
    /// In a given order.
    Ordered,
}

/// A domain that requests never leave.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum StayWithin {
    /// They may go anywhere.
    #[default]
    None,
    /// They stay with the provider.
    Provider,
    /// They stay in the region.
    Region,
}

/// Share of some clusters.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct WeightedClusters {
    /// Which clusters.
    #[serde(default)]
    pub clusters: ClusterSelection,
    /// Their weight, each. 0 to 1000000.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: i32,
}

/// Where the service answers, and from where.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GlobalServiceStatus {
    /// Programmed and Healthy.
    #[serde(default)]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where to call it, nearest to the hub first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub addresses: Vec<GlobalAddress>,
    /// Ready endpoints by cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub endpoints: Vec<ClusterEndpoints>,
    /// Which clusters answer a caller in each cluster, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub order: Vec<ClusterOrder>,
}

/// An address of a GlobalService.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct GlobalAddress {
    /// The cluster whose gateway listens there.
    #[schemars(length(max = 63))]
    pub cluster: String,
    /// IP address or host name.
    #[schemars(length(max = 253))]
    pub address: String,
    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// Ready endpoints of one cluster.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ClusterEndpoints {
    /// The cluster.
    #[schemars(length(max = 63))]
    pub cluster: String,
    /// Number of ready endpoints.
    pub ready: i32,
}

/// Order of clusters for callers in one cluster.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ClusterOrder {
    /// Where the caller is.
    #[schemars(length(max = 63))]
    pub from: String,
    /// Who answers, in order; at most ten.
    #[schemars(length(max = 10), inner(length(max = 63)))]
    pub clusters: Vec<String>,
}
