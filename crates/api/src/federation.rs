//! Federation: the settings and the state of the whole, a singleton named `default`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the federation.
#[derive(Clone, CustomResource, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[kube(
    doc = "Settings of the federation.",
    group = "hanse.dev",
    version = "v1alpha1",
    kind = "Federation",
    plural = "federations",
    shortname = "fed",
    category = "hanse",
    status = "FederationStatus",
    derive = "Default",
    derive = "PartialEq",
    cel,
    validation = Rule::new("self.metadata.name == 'default'")
        .message("there is one Federation and its name is default: write metadata.name: default"),
    printcolumn(name = "Templates", type_ = "string", json_path = ".spec.templates"),
    printcolumn(name = "Connected", type_ = "string",
        json_path = ".status.conditions[?(@.type=='Connected')].status"),
    printcolumn(name = "Brake-Released", type_ = "string",
        json_path = ".status.conditions[?(@.type=='BrakeReleased')].status"),
    printcolumn(name = "Automatic", type_ = "string",
        json_path = ".status.conditions[?(@.type=='EvacuationAutomatic')].status"),
    printcolumn(name = "Id", type_ = "string", json_path = ".status.id", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct FederationSpec {
    /// The form of templates. Default: Native.
    #[serde(default)]
    pub templates: Templates,
    /// Where the hub runs; without it the hub has no vote about members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubPlace>,
    /// Whether work is placed only from namespaces that belong to a Tenant. Default: true;
    /// `hanse up` writes false into its own.
    #[serde(default = "default_require_tenant")]
    pub require_tenant: bool,
    /// What stops automatic evacuation.
    #[serde(default)]
    pub brakes: Brakes,
    /// How placement takes turns.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// Failure domains that are drained now; members that join later inherit it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub drains: Vec<Drain>,
    /// What the operator's verbs write.
    #[serde(default)]
    pub operator: Operator,
}

const fn default_require_tenant() -> bool {
    true
}

impl Default for FederationSpec {
    fn default() -> Self {
        Self {
            templates: Templates::default(),
            hub: None,
            require_tenant: default_require_tenant(),
            brakes: Brakes::default(),
            scheduling: Scheduling::default(),
            drains: Vec::new(),
            operator: Operator::default(),
        }
    }
}

/// In which form templates are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Templates {
    /// Ordinary objects on an API server that runs no workload controllers of its own.
    #[default]
    Native,
}

/// Where the hub runs.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct HubPlace {
    /// Provider.
    #[schemars(length(min = 1, max = 63))]
    pub provider: String,
    /// Region.
    #[schemars(length(min = 1, max = 63))]
    pub region: String,
}

/// Limits of automatic evacuation.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Brakes {
    /// Which failure domain may be lost whole. Default: Region.
    #[serde(default)]
    pub unit: BrakeUnit,
    /// Percent of the members outside the first lost domain that may be lost before evacuation
    /// stops and asks. 0 to 100, default 34.
    #[serde(default = "default_max_lost_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub max_lost_percent: i32,
}

const fn default_max_lost_percent() -> i32 {
    34
}

impl Default for Brakes {
    fn default() -> Self {
        Self { unit: BrakeUnit::default(), max_lost_percent: default_max_lost_percent() }
    }
}

/// How placement takes turns.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// Room is held this long for work of higher importance that waits for more of it; then less
    /// important work takes it. 0 to 86400 seconds, default 60.
    #[serde(default = "default_hold_seconds")]
    #[schemars(range(min = 0, max = 86_400))]
    pub hold_seconds: i32,
}

const fn default_hold_seconds() -> i32 {
    60
}

impl Default for Scheduling {
    fn default() -> Self {
        Self { hold_seconds: default_hold_seconds() }
    }
}

/// A failure domain that may be lost whole.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum BrakeUnit {
    /// One region.
    #[default]
    Region,
    /// One provider.
    Provider,
}

/// A drained failure domain.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Drain {
    /// What kind of domain it is.
    pub domain: DomainKind,
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// Kinds of failure domains.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum DomainKind {
    /// A member cluster.
    Cluster,
    /// A zone.
    Zone,
    /// A region.
    Region,
    /// A provider.
    Provider,
}

/// What an operator has ordered.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Operator {
    /// No automatic evacuation starts while this is true. Default: false.
    #[serde(default)]
    pub hold: bool,
    /// Lost failure domains that are evacuated although a brake holds them. What the operator
    /// holds stays held, a loss that is not proven is none, and work whose failover is Manual
    /// stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub approvals: Vec<Approval>,
}

/// An operator's approval to evacuate one failure domain.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Approval {
    /// The domain, as the condition BrakeReleased names it: a region, or a provider where
    /// `brakes.unit` says so.
    #[schemars(length(min = 1, max = 253))]
    pub id: String,
    /// Until when it counts. An evacuation that it released goes on as long as the loss lasts.
    pub until: Time,
}

/// State of the federation.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FederationStatus {
    /// Connected, BrakeReleased, EvacuationAutomatic, TemplatesAccepted.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Id of this hub: the value of the label `hanse.dev/hub` on everything it applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub id: Option<String>,
    /// Version of the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
    /// Where the hub says why work is where it is: `IP:PORT`, or `services/NAMESPACE/NAME:PORT`
    /// through this API. Absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 400))]
    pub questions: Option<String>,
    /// Number of members by verdict.
    #[serde(default)]
    pub members: std::collections::BTreeMap<String, i32>,
}
