//! MemberCluster: a cluster that belongs to the federation.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A cluster that belongs to the federation.
#[derive(
    Clone, CustomResource, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize,
)]
#[kube(
    doc = "A cluster that belongs to the federation.",
    group = "hanse.dev",
    version = "v1alpha1",
    kind = "MemberCluster",
    plural = "memberclusters",
    shortname = "mc",
    category = "hanse",
    status = "MemberClusterStatus",
    derive = "Default",
    derive = "PartialEq",
    cel,
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("write a name of at most 63 characters: it becomes a label value in members"),
    printcolumn(name = "Provider", type_ = "string", json_path = ".spec.provider"),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.region"),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".status.verdict"),
    printcolumn(name = "Joined", type_ = "string",
        json_path = ".status.conditions[?(@.type=='Joined')].status"),
    printcolumn(name = "Synced", type_ = "string",
        json_path = ".status.conditions[?(@.type=='Synced')].status"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes.ready"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.workloads.replicas"),
    printcolumn(name = "Zone", type_ = "string", json_path = ".spec.zone", priority = 1),
    printcolumn(name = "Version", type_ = "string",
        json_path = ".status.kubernetesVersion", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(oldSelf.identity) || (has(self.identity) && self.identity == oldSelf.identity)")
    .message("identity cannot change: for another cluster, delete this MemberCluster and join that one under its own name"))]
pub struct MemberClusterSpec {
    /// Uid of the member's `kube-system` namespace. Set at join, never changed: two members with
    /// one identity are refused, and so is another cluster behind the same kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub identity: Option<String>,
    /// How the hub reaches the member's API.
    pub connection: Connection,
    /// Provider: a failure domain, free text in lower case.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub provider: String,
    /// Region: a failure domain of one provider.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub region: String,
    /// Zone: a failure domain of one region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub zone: Option<String>,
    /// Members of one network reach each other's pods and addresses. Default: `default`.
    #[serde(default = "default_network")]
    #[schemars(length(min = 1, max = 63))]
    pub network: String,
    /// Keeps work away that does not tolerate it; NoExecute also drains what is there: its replicas
    /// come up elsewhere first. What has the full count in every cluster stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub taints: Vec<MemberTaint>,
    /// No new work (cordon). Default: false.
    #[serde(default)]
    pub unschedulable: bool,
    /// Percent of each node's allocatable resources left to local use. 0 to 100, default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub reserve_percent: i32,
    /// Room that the member adds by itself, beside that of the nodes that it has: a node
    /// autoscaler. It is used after the room that is there. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elastic: Option<ElasticRoom>,
    /// Addresses at which gateways of other members reach this member's gateways.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub gateways: Vec<GatewayAddress>,
}

fn default_network() -> String {
    "default".to_owned()
}

/// Room that a node autoscaler adds, beside what the nodes of now have.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ElasticRoom {
    /// Processor time in all, a Kubernetes quantity: `64`, `500m`.
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[0-9]+(\.[0-9]+)?(m|k|M)?$"))]
    pub cpu: String,
    /// Memory in all, a Kubernetes quantity: `256Gi`.
    #[schemars(
        length(min = 1, max = 32),
        regex(pattern = r"^[0-9]+(\.[0-9]+)?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$")
    )]
    pub memory: String,
    /// Pods in all. 1 to 1000000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub pods: i32,
    /// How long new nodes may take: replicas that wait for a node longer than this cannot run
    /// there. 10 to 86400 seconds, default 240.
    #[serde(default = "default_ready_seconds")]
    #[schemars(range(min = 10, max = 86_400))]
    pub ready_seconds: i32,
}

const fn default_ready_seconds() -> i32 {
    240
}

/// How the hub reaches a member's API; exactly one way.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.direct) != has(self.simulated)")
    .message("write exactly one of direct (with kubeconfigSecret) and simulated"))]
pub struct Connection {
    /// The hub calls the member's API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<DirectConnection>,
    /// A simulated member in the hub's own process; embedded mode only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulated: Option<SimulatedConnection>,
}

/// A direct connection to a member's API server.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectConnection {
    /// Name of a Secret in hanse-system of type `hanse.dev/kubeconfig` whose key `kubeconfig`
    /// holds the credentials. Exec plugins, auth providers and file paths in it are refused.
    #[schemars(length(min = 1, max = 253))]
    pub kubeconfig_secret: String,
}

/// A member that lives in the hub's process.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SimulatedConnection {
    /// What is wrong with it now, for tests and drills on paper.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub faults: Vec<Fault>,
}

/// One fault of a simulated member.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(self.type in ['Latency', 'Errors', 'LoseNodes']) || has(self.value)")
    .message("Latency, Errors and LoseNodes need a value: milliseconds, percent of answers, number of nodes"))]
#[x_kube(validation = Rule::new("self.type != 'CutLink' || has(self.to)")
    .message("CutLink needs the name of the other cluster in to"))]
pub struct Fault {
    /// What is wrong.
    #[serde(rename = "type")]
    pub type_: FaultType,
    /// Latency: milliseconds; Errors: percent of answers; LoseNodes: number of nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub value: Option<i64>,
    /// CutLink: the cluster (or `hub`) at the other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub to: Option<String>,
}

/// Kinds of faults.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum FaultType {
    /// API server, pods and gateway are gone: connections are refused.
    Kill,
    /// Everything stands still and answers nothing, but connections stay open.
    Freeze,
    /// Packets to and from the member vanish.
    Blackhole,
    /// Answers of the member come late.
    Latency,
    /// A share of the API's answers are errors.
    Errors,
    /// Nodes are gone with their pods.
    LoseNodes,
    /// The link to one other cluster is cut.
    CutLink,
}

/// Keeps work away from a member, or drains it.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberTaint {
    /// Key that a toleration names.
    #[schemars(length(min = 1, max = 316))]
    pub key: String,
    /// Value that a toleration may name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub value: String,
    /// What happens to work that does not tolerate it.
    pub effect: Effect,
}

/// Effect of a taint.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Effect {
    /// No new work.
    NoSchedule,
    /// No new work, and what is there is drained in good order.
    NoExecute,
}

/// An address of a member's gateways.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayAddress {
    /// IP address or host name.
    #[schemars(length(min = 1, max = 253))]
    pub address: String,
    /// Port of the hop between gateways.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// From which network it can be reached; `public` from everywhere. Default: `public`.
    #[serde(default = "default_gateway_network")]
    #[schemars(length(min = 1, max = 63))]
    pub network: String,
}

fn default_gateway_network() -> String {
    "public".to_owned()
}

/// What Hanse knows about a member.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberClusterStatus {
    /// Joined, ApiReachable, DataPlaneReachable, GatewayReachable, Ready, Synced.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Summary of the conditions: Unknown, Healthy, Suspect, ControlLost, DataLost, Lost or
    /// Recovering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub verdict: Option<String>,
    /// Version of the member's API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub kubernetes_version: Option<String>,
    /// Operating system and architecture of the member's API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub platform: Option<String>,
    /// How many nodes there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCounts>,
    /// What the nodes hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<MemberCapacity>,
    /// Votes of the observers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observers: Option<Observers>,
    /// Work that the federation placed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<WorkloadCounts>,
}

/// Numbers of nodes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct NodeCounts {
    /// All nodes.
    pub total: i32,
    /// Ready and schedulable ones.
    pub ready: i32,
}

/// Sums over a member's ready nodes, as Kubernetes quantities.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct MemberCapacity {
    /// What the nodes offer to pods.
    #[serde(default)]
    pub allocatable: std::collections::BTreeMap<String, String>,
    /// What the pods there ask for.
    #[serde(default)]
    pub requested: std::collections::BTreeMap<String, String>,
    /// The difference.
    #[serde(default)]
    pub free: std::collections::BTreeMap<String, String>,
    /// When these numbers last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

/// Votes about a member.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Observers {
    /// Who sees its API server.
    pub api: ObserverCounts,
    /// Who sees its gateways.
    pub data_plane: ObserverCounts,
}

/// Number of observers by what they see.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ObserverCounts {
    /// See it answer.
    pub up: i32,
    /// See it not answer.
    pub down: i32,
    /// Do not know.
    pub unknown: i32,
}

/// What the federation placed in a member.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct WorkloadCounts {
    /// Number of bindings that name it.
    pub bindings: i32,
    /// Number of replicas assigned to it.
    pub replicas: i64,
}
