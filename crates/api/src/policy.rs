//! PropagationPolicy and ClusterPropagationPolicy: what is placed, where, and how many.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ClusterSelection;

/// Places objects of its own namespace.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    doc = "Places objects of its own namespace.",
    group = "hanse.dev",
    version = "v1alpha1",
    kind = "PropagationPolicy",
    plural = "propagationpolicies",
    shortname = "pp",
    category = "hanse",
    namespaced,
    status = "PolicyStatus",
    derive = "PartialEq",
    cel,
    printcolumn(
        name = "Matched",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Matched')].status"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Selected", type_ = "integer", json_path = ".status.selected"),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.placement) || !has(self.placement.replicas) || !has(self.placement.replicas.ordinals) || self.resourceSelectors.exists(s, s.kind == 'StatefulSet')")
    .message("placement.replicas.ordinals numbers the pods of StatefulSets, and no selector names that kind: add one with kind: StatefulSet, or leave ordinals out"))]
pub struct PropagationPolicySpec {
    /// What is placed: objects of this policy's namespace that one of these matches.
    #[schemars(length(min = 1, max = 64))]
    pub resource_selectors: Vec<ResourceSelector>,
    /// Among several policies that match, the higher wins. -1000 to 1000, default 0.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// Whether what a workload needs goes with it. Default: Follow.
    #[serde(default)]
    pub dependencies: Dependencies,
    /// What happens to an object of the same name that a member has of its own: it is left alone.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == 'Abort'")
        .message("a policy of a namespace takes over nothing that others made: leave conflict out, or ask for a ClusterPropagationPolicy that says Overwrite"))]
    pub conflict: Conflict,
    /// Where, and how many.
    #[serde(default)]
    pub placement: Placement,
    /// What happens when a member is lost or drained.
    #[serde(default)]
    pub failover: Failover,
    /// Order in scheduling and evacuation, higher first. -1000 to 1000, default 0.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub importance: i32,
}

/// Places objects of the namespaces it names, and objects that have no namespace.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    doc = "Places objects of the namespaces it names, and objects that have no namespace.",
    group = "hanse.dev",
    version = "v1alpha1",
    kind = "ClusterPropagationPolicy",
    plural = "clusterpropagationpolicies",
    shortname = "cpp",
    category = "hanse",
    status = "PolicyStatus",
    derive = "PartialEq",
    cel,
    printcolumn(
        name = "Matched",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Matched')].status"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Selected", type_ = "integer", json_path = ".status.selected"),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.placement) || !has(self.placement.replicas) || !has(self.placement.replicas.ordinals) || self.resourceSelectors.exists(s, s.kind == 'StatefulSet')")
    .message("placement.replicas.ordinals numbers the pods of StatefulSets, and no selector names that kind: add one with kind: StatefulSet, or leave ordinals out"))]
pub struct ClusterPropagationPolicySpec {
    /// What is placed.
    #[schemars(length(min = 1, max = 64))]
    pub resource_selectors: Vec<ClusterSelector>,
    /// Among several policies that match, the higher wins. -1000 to 1000, default 0.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// No policy without this outranks it. Default: false.
    #[serde(default)]
    pub mandatory: bool,
    /// Whether what a workload needs goes with it. Default: Follow.
    #[serde(default)]
    pub dependencies: Dependencies,
    /// What happens to an object of the same name that a member has of its own. Default: Abort.
    #[serde(default)]
    pub conflict: Conflict,
    /// Where, and how many.
    #[serde(default)]
    pub placement: Placement,
    /// What happens when a member is lost or drained.
    #[serde(default)]
    pub failover: Failover,
    /// Order in scheduling and evacuation, higher first. -1000 to 1000, default 0.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub importance: i32,
}

/// Selects objects of the policy's own namespace.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.name) && has(self.labelSelector))")
    .message("write name or labelSelector, not both"))]
pub struct ResourceSelector {
    /// API version, for example `apps/v1`.
    #[schemars(length(min = 1, max = 127))]
    pub api_version: String,
    /// Kind, for example `Deployment`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Name of the one object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// Labels of the objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
}

/// Selects objects across namespaces.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.name) && has(self.labelSelector))")
    .message("write name or labelSelector, not both"))]
#[x_kube(validation = Rule::new("!(self.kind in ['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'Job', 'CronJob', 'Pod', 'Service', 'ConfigMap', 'Secret', 'ServiceAccount', 'PersistentVolumeClaim', 'Ingress', 'NetworkPolicy', 'HorizontalPodAutoscaler', 'PodDisruptionBudget', 'Role', 'RoleBinding']) || (has(self.namespaces) && size(self.namespaces) > 0)")
    .message("this kind lives in namespaces: write namespaces: [names], or namespaces: [\"*\"] for all but the system's own"))]
pub struct ClusterSelector {
    /// API version, for example `apps/v1`.
    #[schemars(length(min = 1, max = 127))]
    pub api_version: String,
    /// Kind, for example `Deployment`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Name of the objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// Labels of the objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Namespaces by name, or `*` for all but the system's own. Needed for kinds that live in
    /// namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
}

/// Whether companions go with their workload.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Dependencies {
    /// What selects, targets or is named by a workload goes where the workload goes.
    #[default]
    Follow,
    /// Only what a policy selects is placed.
    Ignore,
}

/// What happens when a member has an object of the same name that Hanse did not make.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Conflict {
    /// Leave it alone and report the conflict.
    #[default]
    Abort,
    /// Take it over.
    Overwrite,
}

/// Where objects go.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.tiers) || self.tiers != 'Overflow' || (has(self.clusters) && size(self.clusters) > 1)")
    .message("tiers: Overflow needs two entries or more in clusters; add a tier, or leave tiers out"))]
#[x_kube(validation = Rule::new("!has(self.spread) || size(self.spread.filter(s, s.topologyKey != 'cluster')) <= 2")
    .message("spread takes at most two topology keys beside cluster: leave one out"))]
#[x_kube(validation = Rule::new("!has(self.spread) || self.spread.all(s, size(self.spread.filter(t, t.topologyKey == s.topologyKey)) == 1)")
    .message("spread names a topology key twice: write one entry for each key"))]
#[x_kube(validation = Rule::new("!has(self.spread) || self.spread.all(c, c.topologyKey != 'cluster' || !has(c.maxDomains) || self.spread.all(s, !has(s.minDomains) || s.minDomains <= c.maxDomains))")
    .message("spread wants more domains than clusters may be used: raise maxDomains of cluster, or lower the other minDomains"))]
#[x_kube(validation = Rule::new("!has(self.survive) || !has(self.replicas) || !has(self.replicas.mode) || self.replicas.mode != 'Duplicate'")
    .message("survive counts divided replicas, and mode: Duplicate has a full set in every cluster; leave survive out, or write mode: Divide"))]
pub struct Placement {
    /// Ordered tiers of clusters; empty: all clusters, one tier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub clusters: Vec<ClusterSelection>,
    /// How tiers are used. Default: Fallback.
    #[serde(default)]
    pub tiers: TierMode,
    /// Taints of members that do not keep this work away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Over how many failure domains replicas stand. Hard: what cannot be spread so is not placed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub spread: Vec<Spread>,
    /// Only clusters that hold a workload of this namespace that each of these selects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub near: Vec<LabelSelector>,
    /// No cluster that holds a workload of this namespace that one of these selects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub away: Vec<LabelSelector>,
    /// What has to go on when a failure domain is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survive: Option<Survive>,
    /// How replicas are divided.
    #[serde(default)]
    pub replicas: Replicas,
}

/// Over how many domains of one kind replicas stand.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.topologyKey in ['provider', 'region', 'zone', 'cluster'] || self.topologyKey.startsWith('label:')")
    .message("topologyKey is one of provider, region, zone, cluster, or label: with a label's key"))]
#[x_kube(validation = Rule::new("!has(self.minDomains) || !has(self.maxDomains) || self.minDomains <= self.maxDomains")
    .message("minDomains is above maxDomains: write a minDomains that is at most maxDomains"))]
pub struct Spread {
    /// What makes a domain: provider, region, zone, cluster, or `label:<key>` for a label of
    /// MemberClusters. Clusters that are in no such domain are not used.
    #[schemars(length(min = 1, max = 322))]
    pub topology_key: String,
    /// Fewest domains with replicas; as many as there are replicas where these are fewer.
    /// 1 to 1000, default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_domains: Option<i32>,
    /// Most domains with replicas. 1 to 1000, default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_domains: Option<i32>,
}

/// What has to go on when a failure domain is lost.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.standby) || self.standby != 'Running' || (has(self.minReplicasPercent) && self.minReplicasPercent < 100)")
    .message("standby: Running keeps part of the replicas outside any one domain, which cannot be all of them: write minReplicasPercent: 99 or less, or standby: Spare"))]
pub struct Survive {
    /// The domain of which any one may be lost.
    pub domain: SurviveDomain,
    /// Share of the replicas that has to run then. 1 to 100 percent, default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub min_replicas_percent: Option<i32>,
    /// Whether room for what would be lost is enough, or it has to run elsewhere already.
    /// Default: Spare.
    #[serde(default)]
    pub standby: Standby,
    /// Whether a placement that would not survive is made and said to be so, or refused.
    /// Default: Warn.
    #[serde(default)]
    pub enforce: Enforce,
}

/// Kind of domain whose loss is survived.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SurviveDomain {
    /// A cluster.
    Cluster,
    /// A zone.
    Zone,
    /// A region.
    Region,
    /// A provider.
    Provider,
}

/// How replicas are ready for a loss.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Standby {
    /// Other domains have room for what would be lost.
    #[default]
    Spare,
    /// Enough replicas run in other domains.
    Running,
}

/// What happens to a placement that would not survive.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Enforce {
    /// It is made, and said to be so.
    #[default]
    Warn,
    /// It is refused.
    Require,
}

/// How tiers are used.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TierMode {
    /// The first tier that can hold everything.
    #[default]
    Fallback,
    /// Each tier is filled before the next one is used.
    Overflow,
}

/// A taint that does not keep work away.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.operator) || self.operator != 'Exists' || !has(self.value)")
    .message("operator Exists takes no value: leave value out, or write operator: Equal"))]
pub struct Toleration {
    /// Key of the taint; empty with operator Exists: every taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 316))]
    pub key: Option<String>,
    /// How key and value are compared. Default: Equal.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// Value of the taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// Effect of the taint; left out: every effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<crate::Effect>,
}

/// How a toleration compares.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TolerationOperator {
    /// Key and value are equal.
    #[default]
    Equal,
    /// The key is there.
    Exists,
}

/// How replicas are divided among clusters.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.weights) || (has(self.strategy) && self.strategy == 'Weighted')")
    .message("weights count with strategy: Weighted only; write it, or leave weights out"))]
#[x_kube(validation = Rule::new("!has(self.mode) || self.mode != 'Duplicate' || (!has(self.weights) && !has(self.bounds))")
    .message("mode: Duplicate gives every cluster the full count; leave weights and bounds out, or write mode: Divide"))]
#[x_kube(validation = Rule::new("!has(self.ordinals) || !has(self.mode) || self.mode != 'Duplicate'")
    .message("ordinals: Partition divides a StatefulSet, and mode: Duplicate gives every cluster all of it; leave ordinals out, or write mode: Divide"))]
#[x_kube(validation = Rule::new("!has(self.ordinals) || !has(self.bounds) || self.bounds.all(b, !has(b.min) || b.min <= 1000)")
    .message("with ordinals: Partition a cluster has 1000 pod numbers: write a min of at most 1000"))]
pub struct Replicas {
    /// Divide the replicas, or give each cluster all of them. Default: Divide for kinds that run
    /// replicas; a DaemonSet is always Duplicate, a StatefulSet goes whole to one cluster unless
    /// `ordinals` divide it, and a Job unless Divide is written here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ReplicaMode>,
    /// By what shares are made. Default: Capacity.
    #[serde(default)]
    pub strategy: Strategy,
    /// Shares for Weighted; a cluster takes the first entry that admits it, else weight 1 when
    /// the list is empty and none when it is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub weights: Vec<Weight>,
    /// Limits for each cluster; a cluster takes the first entry that admits it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub bounds: Vec<Bounds>,
    /// Place what fits and report the rest. Default: false, all or nothing.
    #[serde(default)]
    pub partial: bool,
    /// Keep running replicas where they are when scaling. Default: true.
    #[serde(default = "default_steady")]
    pub steady: bool,
    /// Partition: a StatefulSet may stand in several clusters, each with pod numbers of its own.
    /// A cluster gets a block of 1000 numbers when it is first used, keeps it while it has a copy,
    /// and holds no more replicas than that. Members need Kubernetes 1.27 or newer. Default: a
    /// StatefulSet goes whole to one cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinals: Option<Ordinals>,
}

/// Pod numbers in a block: the most replicas of a StatefulSet that one cluster holds when several
/// share it. A name such as `web-4017` shows the block (the fifth) and the number in it.
pub const ORDINALS_BLOCK: u32 = 1000;

/// How pods of a StatefulSet are numbered in several clusters.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Ordinals {
    /// Each cluster has numbers of its own.
    Partition,
}

const fn default_steady() -> bool {
    true
}

impl Default for Replicas {
    fn default() -> Self {
        Self {
            mode: None,
            strategy: Strategy::default(),
            weights: Vec::new(),
            bounds: Vec::new(),
            partial: false,
            steady: default_steady(),
            ordinals: None,
        }
    }
}

/// Whether replicas are divided.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ReplicaMode {
    /// The clusters share the replicas.
    Divide,
    /// Each cluster gets all of them.
    Duplicate,
}

/// By what shares are made.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Strategy {
    /// In proportion to free room.
    #[default]
    Capacity,
    /// In proportion to given weights.
    Weighted,
    /// One cluster after the other to the brim, those with most room first.
    Pack,
}

/// Weight of some clusters.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Weight {
    /// Which clusters.
    #[serde(default)]
    pub clusters: ClusterSelection,
    /// Their weight, each. 1 to 1000000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub weight: i32,
}

/// Limits of some clusters.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max")
    .message("min is above max: write a min that is at most max"))]
pub struct Bounds {
    /// Which clusters.
    #[serde(default)]
    pub clusters: ClusterSelection,
    /// Fewest replicas in each cluster that is used. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub min: Option<i32>,
    /// Most replicas in each cluster. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max: Option<i32>,
}

/// What happens when a member is lost or drained.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// Who decides that replicas move. Default: Automatic; Manual for work that mounts
    /// PersistentVolumeClaims, and for Jobs and CronJobs unless `restartable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FailoverMode>,
    /// When the old copies go. Default: WhenReplaced.
    #[serde(default)]
    pub remove_old: RemoveOld,
    /// Jobs and CronJobs may be started again elsewhere. Default: false.
    #[serde(default)]
    pub restartable: bool,
    /// Replicas that find no node in their cluster for this long cannot run there, and move to
    /// where they fit, unless `mode` says otherwise. In a cluster with elastic room its
    /// `readySeconds` count instead. 10 to 86400 seconds, default 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 86_400))]
    pub pending_seconds: Option<i32>,
}

/// Who decides that replicas move.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum FailoverMode {
    /// The federation, on its evidence.
    Automatic,
    /// An operator, by a drain of the member, lost or not. Approving a loss that a brake holds
    /// does not move it.
    Manual,
    /// Nobody: a drain leaves it too.
    Never,
}

/// When the old copies of moved replicas go.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RemoveOld {
    /// When the replacement is ready and the old member is reachable again.
    #[default]
    WhenReplaced,
    /// Never: both copies stay.
    Never,
}

/// What a policy selects, and whether it decides.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Matched and Accepted.
    #[serde(default)]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Number of objects that this policy selects and decides about.
    #[serde(default)]
    pub selected: i32,
}
