//! What is said of one placement, as data: the hub answers with it, the command line draws it.

use std::collections::BTreeMap;

use hanse_api::{ClusterReplicas, Move};
use serde::{Deserialize, Serialize};

/// Why one template is where it is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// `namespace/name` of its binding.
    pub binding: String,
    /// `Kind/name in namespace`.
    pub template: String,
    /// The policy that decides; absent when there is none any more.
    pub policy: Option<String>,
    /// The policy that placed it, and is gone or selects it no longer.
    pub former_policy: Option<String>,
    /// The Tenant of its namespace.
    pub tenant: Option<String>,
    /// Policies that select it too and do not decide.
    pub outranked: Vec<Outranked>,
    /// Workloads that it follows, as `Kind/name`.
    pub follows: Vec<String>,
    /// Objects that it names and that the federation does not have, as `Kind/name`.
    pub missing: Vec<String>,
    /// Replicas that it asks for.
    pub replicas: u32,
    /// What one replica asks for, as Kubernetes quantities.
    pub needs: BTreeMap<String, String>,
    /// What the hub has written.
    pub standing: Vec<ClusterReplicas>,
    /// Moves that have not ended.
    pub moves: Vec<Move>,
    /// What the hub said when it wrote it; absent before its first decision.
    pub decided: Option<Said>,
    /// What it noted then that the counts do not show.
    pub noted: Vec<Said>,
    /// The same decision, made again over the fleet as it is now; absent for what follows others
    /// or has no decision to make.
    pub funnel: Option<Funnel>,
}

/// A reason, and the same for people.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Said {
    /// The reason, as in conditions and metrics.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// A policy that selects a template and does not decide about it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Outranked {
    /// Which.
    pub policy: String,
    /// By what the other one wins.
    pub why: String,
    /// What would make it decide.
    pub remedy: String,
}

/// From all clusters to counts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Funnel {
    /// How replicas are handed out, in words.
    pub strategy: String,
    /// Replicas to place.
    pub replicas: u32,
    /// Whether a part is placed when not all fits.
    pub partial: bool,
    /// Clusters that were looked at.
    pub considered: usize,
    /// Those that were ruled out, by reason.
    pub rejected: Vec<Rejected>,
    /// `Fallback` or `Overflow`.
    pub tier_mode: String,
    /// The tiers, in order; one when the policy has none.
    pub tiers: Vec<Tier>,
    /// The spread that the policy asks for.
    pub spread: Vec<SpreadOver>,
    /// The possible clusters, in order of name.
    pub clusters: Vec<Row>,
    /// What stood before, and what it changed.
    pub history: History,
    /// What the loss of a domain would leave; absent when the policy does not ask.
    pub survive: Option<SurviveCheck>,
    /// Most replicas that the tenant's quota leaves; absent: no quota.
    pub quota: Option<u32>,
    /// More important work for which room is held: what fits is beside that.
    pub held_for: Vec<String>,
    /// How it ends.
    pub outcome: Outcome,
}

/// Clusters that are not possible for one reason.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rejected {
    /// The reason.
    pub reason: String,
    /// How many.
    pub count: usize,
    /// The first of them.
    pub names: Vec<String>,
}

/// One tier.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tier {
    /// Which, from 1.
    pub tier: usize,
    /// Its possible clusters.
    pub clusters: usize,
    /// Replicas that these may hold in all; absent: not bounded by anything known.
    pub room: Option<u64>,
    /// Replicas that it gets.
    pub replicas: u64,
}

/// The spread over one kind of domain.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SpreadOver {
    /// What makes a domain.
    pub key: String,
    /// Fewest domains.
    pub min: u32,
    /// Most domains; absent: no limit.
    pub max: Option<u32>,
    /// Domains that can hold replicas.
    pub possible: Vec<String>,
    /// Domains that hold replicas.
    pub used: Vec<String>,
}

/// One possible cluster.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its name.
    pub name: String,
    /// First tier that admits it, from 1.
    pub tier: usize,
    /// Its weight; absent when shares are not by weight.
    pub weight: Option<u32>,
    /// Fewest replicas when it is used.
    pub min: u32,
    /// Most replicas; absent: no limit.
    pub max: Option<u32>,
    /// How many more fit now; absent: not known.
    pub fits: Option<u32>,
    /// How many more beside these it could add nodes for.
    pub elastic: u32,
    /// Replicas that it holds.
    pub held: u32,
    /// It takes nothing new.
    pub closed: bool,
    /// Replicas that it shall hold.
    pub count: u32,
    /// Replicas that it would get if nothing stood anywhere yet; absent when history plays no part.
    pub afresh: Option<u32>,
}

/// What stood before, and what it changed.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct History {
    /// Whether running replicas stay where they are.
    pub steady: bool,
    /// Replicas that stood.
    pub held: u64,
    /// Replicas of these that stay.
    pub kept: u64,
    /// Replicas that stand elsewhere than a placement from nothing would put them.
    pub changed: u64,
    /// Clusters that must not hold any, because work leaves them.
    pub leaving: Vec<String>,
}

/// What the loss of a domain would leave.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SurviveCheck {
    /// What may be lost: cluster, zone, region or provider.
    pub domain: String,
    /// Replicas that have to run then.
    pub needed: u32,
    /// `Spare` or `Running`.
    pub standby: String,
    /// `Warn` or `Require`.
    pub enforce: String,
    /// The domains that hold replicas, and how many.
    pub domains: BTreeMap<String, u64>,
    /// The worst domain, and how many replicas its loss would leave too few.
    pub broken: Option<(String, u32)>,
}

/// How a decision ends.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Outcome {
    /// Whether replicas are placed.
    pub placed: bool,
    /// `Scheduled`, `Partial`, or why not.
    pub reason: String,
    /// In words.
    pub message: String,
    /// Replicas without a place.
    pub short: u64,
    /// Room that is missing for them, as Kubernetes quantities.
    pub missing: BTreeMap<String, String>,
    /// What the counts do not show.
    pub notes: Vec<Said>,
}

/// What changed policies would do to a federation that runs.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// Every workload that a changed policy decides about, or did; the most important first.
    pub workloads: Vec<Changed>,
    /// Kinds that the policies select and the hub does not know yet: nothing is said of them.
    pub unknown_kinds: Vec<String>,
}

/// What changed policies would do to one workload.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// `Kind/name in namespace`.
    pub template: String,
    /// The policy that would decide; absent: none, and everything stays.
    pub policy: Option<String>,
    /// What stands, less what is given up already.
    pub before: BTreeMap<String, u32>,
    /// What would stand in the end.
    pub after: BTreeMap<String, u32>,
    /// How replicas would get there.
    pub steps: Vec<Step>,
    /// How the decision would end.
    pub outcome: Outcome,
}

/// Replicas that would come, go or move.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Step {
    /// Where from; absent: they are new.
    pub from: Option<String>,
    /// Where to; absent: they would go.
    pub to: Option<String>,
    /// How many.
    pub replicas: u32,
    /// Why.
    pub why: String,
}
