//! What is asked of placement: one workload, its rules and where it stands now.

use std::collections::BTreeMap;

use crate::{Member, Resources};

/// One workload to be placed.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// How many replicas it asks for.
    pub replicas: u32,
    /// What one replica needs of a node.
    pub needs: PodNeeds,
    /// The kind that a member must serve, as `apiVersion/Kind`.
    pub kind: String,
    /// Ordered tiers of members; empty: all members, one tier.
    pub tiers: Vec<Selection>,
    /// How tiers are used.
    pub tier_mode: TierMode,
    /// Taints of members that do not keep the work away.
    pub tolerations: Vec<Toleration>,
    /// How replicas are handed out.
    pub mode: Mode,
    /// Limits for each member; a member takes the first entry that admits it.
    pub bounds: Vec<Bounds>,
    /// Place what fits when not all does.
    pub partial: bool,
    /// Keep what is placed where it is.
    pub steady: bool,
    /// Where replicas are now, by member.
    pub previous: BTreeMap<String, u32>,
    /// Members that must not hold any, because a move takes the work away from them.
    pub leaving: Vec<String>,
}

/// What one replica needs of a node.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PodNeeds {
    /// Requested resources.
    pub request: Resources,
    /// Labels that the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that do not keep it away.
    pub tolerations: Vec<Toleration>,
}

/// How replicas are handed out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Members share them.
    Divide(DivideBy),
    /// Each member gets all of them. Members without room are left out and reported.
    Duplicate,
    /// One member gets all of them.
    Whole,
    /// The object has no replicas and goes to every member.
    Everywhere,
}

impl Default for Mode {
    fn default() -> Self {
        Self::Divide(DivideBy::Capacity)
    }
}

/// By what shares are made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DivideBy {
    /// In proportion to free room.
    Capacity,
    /// In proportion to weights; a member takes the first entry that admits it, and none when
    /// no entry does. An empty list gives every member weight 1.
    Weighted(Vec<Weight>),
}

/// Weight of some members.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Weight {
    /// Which members.
    pub clusters: Selection,
    /// Their weight, each.
    pub weight: u32,
}

/// Limits of some members.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Bounds {
    /// Which members.
    pub clusters: Selection,
    /// Fewest replicas in a member that is used.
    pub min: u32,
    /// Most replicas in a member; absent: no limit.
    pub max: Option<u32>,
}

/// How tiers are used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TierMode {
    /// The first tier that can hold everything.
    #[default]
    Fallback,
    /// Each tier is filled before the next one is used.
    Overflow,
}

/// A taint that does not keep work away.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Toleration {
    /// Key; absent: every taint.
    pub key: Option<String>,
    /// Value; absent: every value.
    pub value: Option<String>,
    /// Only taints with NoExecute (true) or with NoSchedule (false); absent: both.
    pub no_execute_only: Option<bool>,
}

/// Members that satisfy every part that is given; a part left empty admits all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selection {
    /// Names.
    pub names: Vec<String>,
    /// Rules about labels.
    pub labels: Vec<LabelRule>,
    /// Providers.
    pub providers: Vec<String>,
    /// Regions.
    pub regions: Vec<String>,
    /// Zones.
    pub zones: Vec<String>,
    /// Names that are left out, whatever else is said.
    pub exclude: Vec<String>,
}

/// A rule about one label.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LabelRule {
    /// The value is one of these.
    In(String, Vec<String>),
    /// The value is none of these, or the label is not there.
    NotIn(String, Vec<String>),
    /// The label is there.
    Exists(String),
    /// The label is not there.
    DoesNotExist(String),
}

impl LabelRule {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
        }
    }
}

impl Selection {
    /// Whether the selection admits this member.
    pub fn admits(&self, member: &Member) -> bool {
        let listed = |list: &[String], value: &String| list.is_empty() || list.contains(value);
        listed(&self.names, &member.name)
            && listed(&self.providers, &member.provider)
            && listed(&self.regions, &member.region)
            && listed(&self.zones, &member.zone)
            && !self.exclude.contains(&member.name)
            && self.labels.iter().all(|rule| rule.holds(&member.labels))
    }
}

impl Request {
    /// Limits of a member: fewest and most replicas.
    pub(crate) fn bounds_of(&self, member: &Member) -> (u32, u32) {
        self.bounds
            .iter()
            .find(|entry| entry.clusters.admits(member))
            .map_or((0, u32::MAX), |entry| (entry.min, entry.max.unwrap_or(u32::MAX)))
    }
}

impl Weight {
    /// Weight of a member among these entries; 0: none.
    pub(crate) fn of(member: &Member, entries: &[Self]) -> u32 {
        if entries.is_empty() {
            return 1;
        }
        entries.iter().find(|entry| entry.clusters.admits(member)).map_or(0, |entry| entry.weight)
    }
}
