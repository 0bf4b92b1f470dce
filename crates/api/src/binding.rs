//! ResourceBinding: what was decided about one template. Written by Hanse only.

use std::fmt::Write as _;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The decision about one template; written by Hanse only.
#[derive(
    Clone, CustomResource, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize,
)]
#[kube(
    doc = "The decision about one template; written by Hanse only.",
    group = "hanse.dev",
    version = "v1alpha1",
    kind = "ResourceBinding",
    plural = "resourcebindings",
    shortname = "rb",
    category = "hanse",
    namespaced,
    status = "ResourceBindingStatus",
    derive = "Default",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.template.kind"),
    printcolumn(name = "Template", type_ = "string", json_path = ".spec.template.name"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(
        name = "Scheduled",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Scheduled')].status"
    ),
    printcolumn(
        name = "Applied",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Applied')].status"
    ),
    printcolumn(
        name = "Available",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Available')].status"
    ),
    printcolumn(
        name = "Clusters",
        type_ = "string",
        json_path = ".spec.clusters[*].name",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ResourceBindingSpec {
    /// The template.
    pub template: TemplateRef,
    /// The policy that decides about it; the rules live there only. A companion names the policy
    /// of the workload that it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef>,
    /// Replicas that the template asks for; 0 for kinds without replicas.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub replicas: i32,
    /// What one replica asks for.
    #[serde(default)]
    pub replica_request: ReplicaRequest,
    /// Order in scheduling and evacuation, higher first.
    #[serde(default)]
    pub importance: i32,
    /// The decision, in order of name. While replicas move it names old and new clusters; the
    /// moves say which replicas are given up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub clusters: Vec<ClusterReplicas>,
    /// Where the pod numbers of each cluster start, for a StatefulSet that several clusters share;
    /// in order of name. A cluster keeps its start until its copy is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub ordinals: Vec<ClusterOrdinals>,
    /// Replicas on their way from one cluster to another, 2500 at once; the oldest Done are dropped
    /// first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2700))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub moves: Vec<Move>,
    /// Why the replicas are where they are; absent before the first decision. Clusters, ordinals,
    /// moves and this are one decision: they are written together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<BindingDecision>,
    /// Names of the bindings in this namespace whose clusters this companion takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub follows: Vec<String>,
    /// Clusters where this Job has finished: it is never placed, moved or applied again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5000), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub finished: Vec<String>,
}

/// Which object a binding is about.
#[derive(
    Clone, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "camelCase")]
pub struct TemplateRef {
    /// API version.
    #[schemars(length(min = 1, max = 127))]
    pub api_version: String,
    /// Kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Namespace; empty for kinds without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Name of the FederatedManifest of its namespace that it stands in; empty for an object of
    /// the hub's API.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub manifest: String,
    /// Uid: another one is another object, even under the same name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub uid: String,
}

/// Which policy decides about a template.
#[derive(
    Clone, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct PolicyRef {
    /// PropagationPolicy, ClusterPropagationPolicy or FederatedManifest.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Namespace; empty for a ClusterPropagationPolicy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Hash of the rules that the last decision used.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub hash: String,
}

/// What one replica asks for, as Kubernetes quantities by resource name.
pub type ReplicaRequest = std::collections::BTreeMap<String, String>;

/// Replicas of one cluster.
#[derive(
    Clone, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct ClusterReplicas {
    /// Name of the MemberCluster.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Replicas there; 0 for kinds without replicas.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub replicas: i32,
}

/// Pod numbers of one cluster.
#[derive(
    Clone, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct ClusterOrdinals {
    /// Name of the MemberCluster.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Its first number beyond the template's own start: 0, 1000, 2000 and so on.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub start: i32,
}

/// What became of the decision.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceBindingStatus {
    /// Scheduled, Applied, Available, Survivable, Moving.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Numbers over all clusters.
    #[serde(default)]
    pub summary: BindingSummary,
    /// State in each cluster, worst first, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub clusters: Vec<BindingClusterStatus>,
}

/// Numbers over all clusters of a binding.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct BindingSummary {
    /// Clusters in the decision.
    #[serde(default)]
    pub clusters: i32,
    /// Clusters where the object is as rendered.
    #[serde(default)]
    pub applied: i32,
    /// Ready replicas.
    #[serde(default)]
    pub ready: i32,
    /// Replicas of the newest revision.
    #[serde(default)]
    pub updated: i32,
    /// Clusters where it is Unhealthy.
    #[serde(default)]
    pub unhealthy: i32,
}

/// State of a binding in one cluster.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct BindingClusterStatus {
    /// Name of the MemberCluster.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Whether the object there is as rendered.
    #[serde(default)]
    pub applied: bool,
    /// Digest of what is applied there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub revision: String,
    /// Replicas assigned to it.
    #[serde(default)]
    pub replicas: i32,
    /// Ready replicas there.
    #[serde(default)]
    pub ready: i32,
    /// What the object's status says.
    #[serde(default)]
    pub health: WorkloadHealth,
    /// What is wrong, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Health of an object in one cluster, best last.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum WorkloadHealth {
    /// It has failed, or cannot be applied.
    Unhealthy,
    /// Not known: the member does not answer.
    #[default]
    Unknown,
    /// On its way.
    Progressing,
    /// As wanted.
    Healthy,
}

/// Replicas on their way from one cluster to another.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// Id: unique in the binding, stable over restarts.
    #[schemars(length(min = 1, max = 256))]
    pub id: String,
    /// The cluster that gives the replicas up.
    #[schemars(length(min = 1, max = 63))]
    pub from: String,
    /// The cluster that takes them.
    #[schemars(length(min = 1, max = 63))]
    pub to: String,
    /// How many.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub replicas: i32,
    /// Why.
    pub reason: MoveReason,
    /// What was known when it was decided.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub evidence: String,
    /// How far it is.
    pub state: MoveState,
    /// When it was decided.
    pub started_at: Time,
}

/// Why replicas move.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum MoveReason {
    /// The member is lost.
    MemberLost,
    /// The member is drained.
    Drained,
    /// A drill takes the member out.
    Drill,
    /// The policy's placement no longer admits the replicas there.
    PolicyChanged,
    /// The replicas found no node there, although there seemed to be room.
    CannotRun,
}

impl MoveReason {
    /// Whether the member was taken away, rather than left in good order.
    pub const fn is_loss(self) -> bool {
        matches!(self, Self::MemberLost | Self::Drill)
    }
}

/// How far a move is.
///
/// ```text
/// Adding ──► Waiting ──► Removing ──► Done
///    └──────────┴──► Withdrawn
/// ```
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum MoveState {
    /// The replicas are being added at the new cluster.
    Adding,
    /// They are ready there; the old copy waits for its member to be reachable.
    Waiting,
    /// The old copy is being removed.
    Removing,
    /// The old copy is gone.
    Done,
    /// The old cluster keeps the replicas.
    Withdrawn,
}

impl MoveState {
    /// Whether the old copy still stands in the decision.
    pub const fn keeps_old(self) -> bool {
        matches!(self, Self::Adding | Self::Waiting)
    }

    /// Whether nothing is left to do.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Withdrawn)
    }
}

/// Why the replicas are where they are.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BindingDecision {
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// What came of it: the reason of the condition Scheduled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub reason: String,
    /// The same for people, where not all replicas have a place.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Whether the loss of a domain is survived; absent where the policy does not ask for it, or
    /// nothing runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survival: Option<BindingSurvival>,
    /// Whether each cluster has the full count of replicas. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicated: bool,
    /// How many clusters were looked at.
    #[serde(default)]
    pub clusters_considered: i32,
    /// Which were not possible, counted by reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub rejected: Vec<Rejection>,
    /// What could not be placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortfall: Option<Shortfall>,
    /// What the counts do not show: LaterTier, Displaced, Elastic, SearchBounded, WouldNotSurvive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub notes: Vec<DecisionNote>,
}

/// Whether the loss of a domain is survived as the policy wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct BindingSurvival {
    /// Whether it is.
    pub holds: bool,
    /// Why it is not, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Something about a decision that its counts do not show.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct DecisionNote {
    /// The reason.
    #[schemars(length(min = 1, max = 63))]
    pub reason: String,
    /// The same for people, with names and numbers.
    #[schemars(length(max = 512))]
    pub message: String,
}

/// Clusters that were not possible for one reason.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Rejection {
    /// The reason.
    #[schemars(length(min = 1, max = 63))]
    pub reason: String,
    /// How many.
    pub count: i32,
    /// At most three of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), inner(length(max = 63)))]
    pub examples: Vec<String>,
}

/// What could not be placed.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Shortfall {
    /// Replicas without room.
    pub replicas: i32,
    /// Room that is missing for them, by resource, as Kubernetes quantities.
    #[serde(default)]
    pub missing: std::collections::BTreeMap<String, String>,
}

/// Name of the binding of a template: `<kind in lower case, at most 40>-<10 hex digits>`.
/// `digest` is the SHA-256 of `group/kind/name`, made by the caller.
pub fn binding_name(kind: &str, digest: &[u8; 32]) -> String {
    let mut name: String = kind.to_ascii_lowercase().chars().take(40).collect();
    name.push('-');
    for byte in digest.iter().take(5) {
        write!(name, "{byte:02x}").expect("writing to a string cannot fail");
    }
    name
}
