//! What is asked of placement: one workload, its rules and where it stands now.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Assignment, Member, Resources, Spare};

/// One workload to be placed.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The rules; share one value between all workloads of a policy, so that they also share what
    /// the rules select.
    pub rules: Arc<Rules>,
    /// What one replica needs of a node; share it likewise.
    pub needs: Arc<PodNeeds>,
    /// The kind that a member must serve, as `apiVersion/Kind`.
    pub kind: Arc<str>,
    /// How many replicas it asks for.
    pub replicas: u32,
    /// How replicas are handed out.
    pub mode: Mode,
    /// Place what fits when not all does.
    pub partial: bool,
    /// Where replicas are now, by member.
    pub previous: Assignment,
    /// Members that must not hold any, because a move takes the work away from them.
    pub leaving: Vec<Arc<str>>,
    /// Members that hold what this workload wants to be near to, or is to stay away from; absent
    /// when the rules ask for neither.
    pub others: Option<Arc<Others>>,
    /// Room that is left when a domain is lost, beside what is promised to others; absent: nothing
    /// is promised.
    pub spare: Option<Arc<Spare>>,
    /// Most replicas that the tenant's quota leaves to this workload, those it has counted in;
    /// absent: no quota. It bounds what is divided, and takes away nothing that stands.
    pub quota: Option<u32>,
}

/// Where the workloads are that a request looks at.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Others {
    /// Members that are near enough; absent: all are.
    pub near: Option<Vec<Arc<str>>>,
    /// Members to stay away from.
    pub away: Vec<Arc<str>>,
}

/// The rules of a policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rules {
    /// Ordered tiers of members; empty: all members, one tier.
    pub tiers: Vec<Selection>,
    /// How tiers are used.
    pub tier_mode: TierMode,
    /// Members that the tenant may use; absent: all.
    pub tenant: Option<Selection>,
    /// Taints of members that do not keep the work away.
    pub tolerations: Vec<Toleration>,
    /// Over how many domains the work is spread; at most two keys beside `Cluster`.
    pub spread: Vec<Spread>,
    /// Limits for each member; a member takes the first entry that admits it.
    pub bounds: Vec<Bounds>,
    /// Keep what is placed where it is.
    pub steady: bool,
    /// What has to go on when a domain is lost.
    pub survive: Option<Survive>,
}

impl Rules {
    /// Whether one of the tiers selects a member, whatever else keeps it from taking anything.
    pub fn select(&self, member: &Member) -> bool {
        self.tiers.is_empty() || self.tiers.iter().any(|tier| tier.admits(member))
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            tiers: Vec::new(),
            tier_mode: TierMode::default(),
            tenant: None,
            tolerations: Vec::new(),
            spread: Vec::new(),
            bounds: Vec::new(),
            steady: true,
            survive: None,
        }
    }
}

/// What one replica needs of a node.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PodNeeds {
    /// Requested resources.
    pub request: Resources,
    /// Labels that the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that do not keep it away.
    pub tolerations: Vec<Toleration>,
    /// How unevenly replicas may stand over the nodes' domains of one label, as in
    /// `topologySpreadConstraints` with `DoNotSchedule`.
    pub skews: Vec<Skew>,
    /// Labels of nodes (`kubernetes.io/hostname` for the node itself) of which each value takes
    /// one replica at most, as required anti-affinity with itself asks.
    pub apart: Vec<String>,
}

/// A limit of unevenness.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Skew {
    /// Label of nodes.
    pub label: String,
    /// By how many replicas the fullest domain may exceed the emptiest, 1 or more.
    pub most: u32,
    /// With fewer domains than this the emptiest counts as empty; 0 and 1 ask for nothing.
    pub min_domains: u32,
}

impl PodNeeds {
    /// Whether a node that takes such a replica takes one with `other`'s needs too: this one asks
    /// for as much, and is as choosy.
    pub fn asks_as_much_as(&self, other: &Self) -> bool {
        let (own, less) = (&self.request, &other.request);
        own.cpu_milli >= less.cpu_milli
            && own.memory_bytes >= less.memory_bytes
            && less
                .others
                .iter()
                .all(|(name, amount)| own.others.get(name).copied().unwrap_or(0) >= *amount)
            && other.node_selector.iter().all(|(k, v)| self.node_selector.get(k) == Some(v))
            && self.tolerations.iter().all(|one| other.tolerations.contains(one))
            && other.skews.iter().all(|one| self.skews.contains(one))
            && other.apart.iter().all(|one| self.apart.contains(one))
    }
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
    Weighted(Arc<Vec<Weight>>),
    /// One member after the other to the brim: those that hold some first, then lower tiers, then
    /// those with more room.
    Pack,
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

/// Over how many domains a workload is spread.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spread {
    /// What makes a domain.
    pub key: Topology,
    /// Fewest domains that hold replicas. It counts as the number of replicas where there are
    /// fewer of these.
    pub min: u32,
    /// Most domains that hold replicas; absent: no limit.
    pub max: Option<u32>,
}

/// What makes a failure domain.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Topology {
    /// A cluster.
    Cluster,
    /// A zone.
    Zone,
    /// A region.
    Region,
    /// A provider.
    Provider,
    /// A value of a label of members.
    Label(String),
}

impl Topology {
    /// The member's domain; empty when it is in none.
    pub fn of<'a>(&self, member: &'a Member) -> &'a str {
        match self {
            Self::Cluster => &member.name,
            Self::Zone => &member.zone,
            Self::Region => &member.region,
            Self::Provider => &member.provider,
            Self::Label(key) => member.labels.get(key).map_or("", String::as_str),
        }
    }

    /// The key's name as policies write it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Cluster => "cluster",
            Self::Zone => "zone",
            Self::Region => "region",
            Self::Provider => "provider",
            Self::Label(key) => key,
        }
    }
}

/// What has to go on when a domain is lost.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Survive {
    /// The domain that may be lost, any one of its kind.
    pub domain: Topology,
    /// Share of the replicas that has to run then, 1 to 100 percent.
    pub min_percent: u32,
    /// How it is kept ready.
    pub standby: Standby,
    /// Whether a placement that would not survive is refused, or said to be so.
    pub enforce: Enforce,
}

/// How a workload is ready for the loss of a domain.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Standby {
    /// There is room elsewhere for what would be lost.
    #[default]
    Spare,
    /// Enough replicas run elsewhere already.
    Running,
}

/// What happens to a placement that would not survive.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Enforce {
    /// It is made, and said to be so.
    #[default]
    Warn,
    /// It is refused.
    Require,
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
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
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
        let listed = |list: &[String], value: &str| {
            list.is_empty() || list.iter().any(|entry| entry == value)
        };
        listed(&self.names, &member.name)
            && listed(&self.providers, &member.provider)
            && listed(&self.regions, &member.region)
            && listed(&self.zones, &member.zone)
            && !self.exclude.iter().any(|name| **name == *member.name)
            && self.labels.iter().all(|rule| rule.holds(&member.labels))
    }
}
