//! The format of a recorded case: what the peer was given and what it returned.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One case.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// Name.
    pub id: String,
    /// What it shows.
    #[serde(default)]
    pub title: String,
    /// Clusters known at that moment; a lost one is absent.
    pub clusters: Vec<Cluster>,
    /// What is placed.
    pub workload: Workload,
    /// Rules, in the peer's terms.
    #[serde(default)]
    pub placement: Placement,
    /// Assignment before the call.
    #[serde(default)]
    pub previous: Vec<Count>,
    /// Clusters that the workload is being moved off.
    #[serde(default)]
    pub evicting: Vec<String>,
    /// A full recalculation was asked for.
    #[serde(default)]
    pub fresh: bool,
    /// The group of ordered affinities that is looked at.
    pub observed_affinity: Option<String>,
    /// Free replicas in each cluster as the peer counts them.
    #[serde(default)]
    pub estimate: BTreeMap<String, i64>,
    /// The new assignment.
    #[serde(default)]
    pub result: Vec<Count>,
    /// `nofit`, `spread` or `capacity`; absent when it succeeded.
    pub error_kind: Option<String>,
}

impl Case {
    /// Whether a cluster may take new replicas: it serves the kind, and the work tolerates its
    /// taints.
    pub(crate) fn is_open(&self, cluster: &Cluster) -> bool {
        let tolerates = |taint: &Taint| {
            self.placement.cluster_tolerations.iter().any(|own| {
                (own.key.is_empty() || own.key == taint.key)
                    && (own.operator == "Exists" || own.value == taint.value)
                    && (own.effect.is_empty() || own.effect == taint.effect)
            })
        };
        let kind = self.workload.kind_id();
        let hard = cluster.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
        cluster.apis.contains(&kind) && hard.into_iter().all(tolerates)
    }

    /// Whether a cluster passes the recorded scheduler's filters, selections apart: it is open, or
    /// holds the work, and is not to be left.
    pub(crate) fn may_use(&self, cluster: &Cluster) -> bool {
        let holds = self.previous.iter().any(|held| held.cluster == cluster.name);
        let leaves = cluster.deleting || self.evicting.contains(&cluster.name);
        !leaves && (holds || self.is_open(cluster))
    }
}

/// A cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Name.
    pub name: String,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Provider.
    #[serde(default)]
    pub provider: String,
    /// Region.
    #[serde(default)]
    pub region: String,
    /// Zones.
    #[serde(default)]
    pub zones: Option<Vec<String>>,
    /// Taints.
    #[serde(default)]
    pub taints: Vec<Taint>,
    /// Kinds it serves, group/version/kind.
    #[serde(default)]
    pub apis: Vec<String>,
    /// The list of kinds may lack some.
    #[serde(default)]
    pub apis_incomplete: bool,
    /// It is being removed.
    #[serde(default)]
    pub deleting: bool,
    /// Totals; absent when none was reported.
    pub allocatable: Option<BTreeMap<String, String>>,
    /// Used.
    #[serde(default)]
    pub allocated: BTreeMap<String, String>,
    /// Asked for by pods that wait.
    #[serde(default)]
    pub allocating: BTreeMap<String, String>,
}

/// A taint.
#[derive(Clone, Debug, Deserialize)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value.
    #[serde(default)]
    pub value: String,
    /// Effect.
    pub effect: String,
}

/// A toleration.
#[derive(Clone, Debug, Deserialize)]
pub struct Toleration {
    /// Key.
    #[serde(default)]
    pub key: String,
    /// `Equal` or `Exists`.
    #[serde(default)]
    pub operator: String,
    /// Value.
    #[serde(default)]
    pub value: String,
    /// Effect; empty: every one.
    #[serde(default)]
    pub effect: String,
}

/// What is placed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// API version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Wanted replicas.
    #[serde(default)]
    pub replicas: u32,
    /// What one replica asks for; absent with no replicas: it runs nothing.
    pub requests: Option<BTreeMap<String, String>>,
}

impl Workload {
    /// API version and kind, as clusters name what they serve.
    pub(crate) fn kind_id(&self) -> String {
        format!("{}/{}", self.api_version, self.kind)
    }
}

/// Rules.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Which clusters.
    pub cluster_affinity: Option<Affinity>,
    /// Ordered groups.
    #[serde(default)]
    pub cluster_affinities: Vec<Affinity>,
    /// Tolerations.
    #[serde(default)]
    pub cluster_tolerations: Vec<Toleration>,
    /// Spread.
    #[serde(default)]
    pub spread_constraints: Vec<Spread>,
    /// How replicas are handed out.
    pub replica_scheduling: Option<Scheduling>,
}

/// A selection of clusters.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Affinity {
    /// Name of the group.
    #[serde(default)]
    pub affinity_name: String,
    /// Labels.
    pub label_selector: Option<Selector>,
    /// Provider, region or zone.
    pub field_selector: Option<Selector>,
    /// Names.
    #[serde(default)]
    pub cluster_names: Vec<String>,
    /// Names left out.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Further tiers.
    #[serde(default)]
    pub overflow_affinities: Vec<Self>,
}

/// A selector of labels or fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Equal labels.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
    /// Expressions.
    #[serde(default)]
    pub match_expressions: Vec<Expression>,
}

/// One expression.
#[derive(Clone, Debug, Deserialize)]
pub struct Expression {
    /// Label or field.
    pub key: String,
    /// In, NotIn, Exists, DoesNotExist.
    pub operator: String,
    /// Values.
    #[serde(default)]
    pub values: Vec<String>,
}

/// A spread constraint.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// cluster, region, zone or provider.
    #[serde(default)]
    pub spread_by_field: String,
    /// A label instead.
    #[serde(default)]
    pub spread_by_label: String,
    /// Most groups; 0: no limit.
    #[serde(default)]
    pub max_groups: u32,
    /// Fewest groups.
    #[serde(default)]
    pub min_groups: u32,
}

/// How replicas are handed out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// Duplicated or Divided.
    #[serde(default)]
    pub replica_scheduling_type: String,
    /// Weighted or Aggregated.
    #[serde(default)]
    pub replica_division_preference: String,
    /// Weights.
    pub weight_preference: Option<Preference>,
}

/// Weights.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preference {
    /// By free replicas.
    #[serde(default)]
    pub dynamic_weight: String,
    /// Given ones.
    #[serde(default)]
    pub static_weight_list: Vec<StaticWeight>,
}

/// A given weight.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticWeight {
    /// Of which clusters.
    pub target_cluster: Affinity,
    /// The weight.
    pub weight: u32,
}

/// Replicas in a cluster.
#[derive(Clone, Debug, Deserialize)]
pub struct Count {
    /// The cluster.
    pub cluster: String,
    /// Its replicas.
    #[serde(default)]
    pub replicas: u32,
}
