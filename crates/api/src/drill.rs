//! Drill: takes a failure domain out on purpose, measures, puts it back and keeps the result.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ClusterReplicas;

/// A proof that the federation survives the loss of a failure domain.
#[derive(
    Clone, CustomResource, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize,
)]
#[kube(
    doc = "A proof that the federation survives the loss of a failure domain.",
    group = "hanse.dev",
    version = "v1alpha1",
    kind = "Drill",
    plural = "drills",
    shortname = "dr",
    category = "hanse",
    status = "DrillStatus",
    derive = "PartialEq",
    cel,
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("write a name of at most 63 characters: it becomes part of ids"),
    printcolumn(name = "Fault", type_ = "string", json_path = ".spec.fault"),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".status.verdict"),
    printcolumn(name = "Shifted-ms", type_ = "integer",
        json_path = ".status.measured.trafficShiftedMilliseconds"),
    printcolumn(name = "Requests", type_ = "integer", json_path = ".status.measured.requests"),
    printcolumn(name = "Errors", type_ = "integer", json_path = ".status.measured.errors"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf")
    .message("a drill cannot be changed: create another one"))]
pub struct DrillSpec {
    /// What is taken out.
    pub target: DrillTarget,
    /// How. Default: Isolate.
    #[serde(default)]
    pub fault: DrillFault,
    /// How long it stays out, seconds. 1 to 86400, default 30.
    #[serde(default = "default_duration")]
    #[schemars(range(min = 1, max = 86400))]
    pub duration_seconds: i32,
    /// When it starts; left out: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<Time>,
    /// What ends it early.
    #[serde(default)]
    pub guards: DrillGuards,
    /// What it must show.
    #[serde(default)]
    pub pass: DrillPass,
    /// Traffic that it sends itself and judges. Default: every GlobalService, 100 requests a
    /// second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub probe: Vec<DrillProbe>,
}

const fn default_duration() -> i32 {
    30
}

/// What a drill takes out; exactly one.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("[has(self.cluster), has(self.zone), has(self.region), has(self.provider)].filter(x, x).size() == 1")
    .message("write exactly one of cluster, zone, region and provider"))]
pub struct DrillTarget {
    /// A member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub cluster: Option<String>,
    /// A zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub zone: Option<String>,
    /// A region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,
    /// A provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub provider: Option<String>,
}

/// How a drill takes its target out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DrillFault {
    /// In good order: add elsewhere, wait until ready, remove.
    Evacuate,
    /// As a real loss: traffic stops, replicas are added elsewhere; the target's own workloads
    /// are not touched.
    #[default]
    Isolate,
    /// On paper: the plan only.
    Simulate,
}

/// What ends a drill early.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillGuards {
    /// Errors per million requests. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_errors_per_million: Option<i32>,
    /// Percent of the replicas outside the target that must stay ready. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub min_ready_percent: Option<i32>,
    /// Another member is lost meanwhile. Default: true.
    #[serde(default = "default_abort_on_other_loss")]
    pub abort_on_other_loss: bool,
}

const fn default_abort_on_other_loss() -> bool {
    true
}

impl Default for DrillGuards {
    fn default() -> Self {
        Self {
            max_errors_per_million: None,
            min_ready_percent: None,
            abort_on_other_loss: default_abort_on_other_loss(),
        }
    }
}

/// What a drill must show.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillPass {
    /// Errors per million idempotent requests that enter elsewhere. Default: 1000.
    #[serde(default = "default_errors")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_errors_per_million: i32,
    /// Milliseconds until no request that enters elsewhere goes to the target. Default: 2000.
    #[serde(default = "default_shift")]
    #[schemars(range(min = 0, max = 3_600_000))]
    pub max_shift_milliseconds: i32,
}

const fn default_errors() -> i32 {
    1000
}

const fn default_shift() -> i32 {
    2000
}

impl Default for DrillPass {
    fn default() -> Self {
        Self { max_errors_per_million: default_errors(), max_shift_milliseconds: default_shift() }
    }
}

/// Traffic of a drill.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillProbe {
    /// `namespace/name` of a GlobalService.
    #[schemars(
        length(min = 3, max = 127),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub global_service: String,
    /// Requests a second. 1 to 100000, default 100.
    #[serde(default = "default_rate")]
    #[schemars(range(min = 1, max = 100_000))]
    pub rate_per_second: i32,
}

const fn default_rate() -> i32 {
    100
}

/// How a drill goes, and what it has shown.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillStatus {
    /// Started and Finished.
    #[serde(default)]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The result; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<DrillVerdict>,
    /// When the fault began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the fault ends by itself, whatever becomes of the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Time>,
    /// What happened, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub timeline: Vec<TimelineEntry>,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<DrillMeasured>,
    /// The worst 100 workloads: those that lack replicas, or all that a Simulate would move.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub per_workload: Vec<DrillWorkload>,
    /// Work in the target that was left alone, with the reason: `namespace/name: HoldsData`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 400)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub not_exercised: Vec<String>,
}

/// Result of a drill.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DrillVerdict {
    /// Everything that it must show was seen.
    Passed,
    /// Something was not.
    Failed,
    /// A guard, an operator or a lost hub ended it.
    Aborted,
}

/// One event of a drill.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct TimelineEntry {
    /// When.
    pub at: Time,
    /// What.
    #[schemars(length(max = 512))]
    pub event: String,
}

/// What a drill measured.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillMeasured {
    /// From the fault to the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected_milliseconds: Option<i64>,
    /// From the fault to the last request that went to the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_shifted_milliseconds: Option<i64>,
    /// Requests that entered elsewhere before the fault and were answered by the target. With
    /// none, no traffic had to shift, and the time of the shift says nothing.
    #[serde(default)]
    pub used_target_before: i64,
    /// From the fault to a ready replacement, over all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_milliseconds: Option<Percentiles>,
    /// Requests sent.
    #[serde(default)]
    pub requests: i64,
    /// Requests that failed.
    #[serde(default)]
    pub errors: i64,
    /// Requests answered later than a second after they were due.
    #[serde(default)]
    pub slow: i64,
    /// Requests that entered outside the target.
    #[serde(default)]
    pub entered_elsewhere: Entered,
    /// Requests that entered at the target.
    #[serde(default)]
    pub entered_there: Entered,
}

/// Requests by where they entered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Entered {
    /// Requests sent.
    #[serde(default)]
    pub requests: i64,
    /// Requests that failed.
    #[serde(default)]
    pub errors: i64,
}

/// Percentiles of a duration, milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50: i64,
    /// 99th percentile.
    pub p99: i64,
    /// The last one.
    pub max: i64,
}

/// What a drill did to one workload.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillWorkload {
    /// `namespace/name` of its binding.
    #[schemars(length(max = 320))]
    pub binding: String,
    /// Replicas in the target when the drill began.
    pub replicas: i32,
    /// How many of them were ready elsewhere at the end, or would have a place there.
    pub replaced: i32,
    /// Replicas without room.
    #[serde(default)]
    pub shortfall: i32,
    /// Room that is missing for them, by resource, as Kubernetes quantities.
    #[serde(default)]
    pub missing: std::collections::BTreeMap<String, String>,
    /// Where its replicas would go; of a Simulate only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub would_go: Vec<ClusterReplicas>,
}
