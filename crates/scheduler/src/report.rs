//! What placement answers: an assignment or a refusal, and in both cases the reasons.

use std::sync::Arc;

use crate::{Assignment, Resources};

/// Where the replicas go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Decision {
    /// Replicas by member. Members with 0 replicas stand here only when the object itself shall
    /// be there.
    pub assignment: Assignment,
    /// Why the others are not there.
    pub report: Report,
    /// What has no room, where a part may be placed.
    pub shortfall: Option<Shortfall>,
    /// What an operator would want to know beside the counts.
    pub notes: Vec<Note>,
}

/// Something about a decision that its counts do not show.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Note {
    /// What was placed stands as it was; no other member was looked at.
    Unchanged,
    /// Everything is in this tier, because those before it cannot hold it. Counted from 0.
    LaterTier(u16),
    /// Replicas that a spread, or a bound, forces away from members that could keep them.
    Displaced(u32),
    /// Replicas that run on nodes which members add when they are asked to.
    Elastic(u32),
    /// With two keys not every combination of domains was tried.
    SearchBounded,
    /// The loss of this domain would leave fewer replicas than the policy wants, by so many.
    WouldNotSurvive(Arc<str>, u32),
}

impl Note {
    /// The note's name in metrics, logs and on the command line.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unchanged => "Unchanged",
            Self::LaterTier(_) => "LaterTier",
            Self::Displaced(_) => "Displaced",
            Self::Elastic(_) => "Elastic",
            Self::SearchBounded => "SearchBounded",
            Self::WouldNotSurvive(..) => "WouldNotSurvive",
        }
    }

    /// The note for people.
    pub fn in_words(&self) -> String {
        match self {
            Self::Unchanged => "nothing had to be decided anew".to_owned(),
            Self::LaterTier(tier) => {
                let number = u32::from(*tier) + 1;
                format!("everything is in tier {number}: those before it cannot hold it")
            }
            Self::Displaced(count) => format!(
                "{count} replicas leave clusters that could keep them, for a spread or a bound"
            ),
            Self::Elastic(count) => {
                format!("{count} replicas run on nodes that clusters add when asked for more")
            }
            Self::SearchBounded => {
                "with two spread keys not every combination of domains was tried".to_owned()
            }
            Self::WouldNotSurvive(domain, missing) => {
                format!("the loss of {domain} would leave {missing} replicas too few")
            }
        }
    }
}

/// Why members are not possible.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// How many members were looked at.
    pub considered: usize,
    /// Members that were ruled out, by reason, in order of the reasons.
    pub rejected: Vec<Rejection>,
}

/// Members that were ruled out for one reason.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejection {
    /// The reason.
    pub reason: Refusal,
    /// How many.
    pub count: usize,
    /// At most three of them, in order of name.
    pub examples: Vec<Arc<str>>,
}

/// Why a member is ruled out.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Refusal {
    /// The namespace's tenant may not use it.
    NotInTenant,
    /// No tier of the policy admits it.
    NotSelected,
    /// It has not joined, or is leaving.
    NotJoined,
    /// Its API server does not answer.
    ControlLost,
    /// Its gateways do not answer.
    DataLost,
    /// It is lost.
    Lost,
    /// It is back and has to prove itself first.
    Recovering,
    /// It is cordoned.
    Cordoned,
    /// It has a taint that the policy does not tolerate.
    Tainted,
    /// It does not serve the template's kind.
    KindNotServed,
    /// The policy gives it no weight.
    NoWeight,
    /// It is in no domain of the kind that the policy spreads over.
    NoDomain,
    /// A move takes the work away from it.
    MovingAway,
    /// It does not hold what the policy wants the work to be near to.
    NotNear,
    /// It holds what the policy keeps the work away from.
    NotAway,
    /// Its room is not known yet, and shares are made by room.
    RoomUnknown,
    /// It has no room for a single replica more.
    NoRoom,
}

impl Refusal {
    /// The reason's name in conditions, metrics, logs and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotInTenant => "NotInTenant",
            Self::NotSelected => "NotSelected",
            Self::NotJoined => "NotJoined",
            Self::ControlLost => "ControlLost",
            Self::DataLost => "DataLost",
            Self::Lost => "Lost",
            Self::Recovering => "Recovering",
            Self::Cordoned => "Cordoned",
            Self::Tainted => "Tainted",
            Self::KindNotServed => "KindNotServed",
            Self::NoWeight => "NoWeight",
            Self::NoDomain => "NoDomain",
            Self::MovingAway => "MovingAway",
            Self::NotNear => "NotNear",
            Self::NotAway => "NotAway",
            Self::RoomUnknown => "RoomUnknown",
            Self::NoRoom => "NoRoom",
        }
    }
}

impl Report {
    pub(crate) fn add(
        &mut self,
        reason: Refusal,
        count: usize,
        examples: impl Iterator<Item = Arc<str>>,
    ) {
        let at = match self.rejected.binary_search_by_key(&reason, |entry| entry.reason) {
            Ok(at) => at,
            Err(at) => {
                self.rejected.insert(at, Rejection { reason, count: 0, examples: Vec::new() });
                at
            }
        };
        let entry = &mut self.rejected[at];
        entry.count += count;
        entry.examples.extend(examples);
        entry.examples.sort();
        entry.examples.truncate(3);
    }

    /// The reasons in words: `NoRoom 3 (aws-1, aws-2, gcp-1), Lost 1 (az-1)`.
    pub fn in_words(&self) -> String {
        let entries: Vec<String> = self
            .rejected
            .iter()
            .map(|entry| {
                format!("{} {} ({})", entry.reason.as_str(), entry.count, entry.examples.join(", "))
            })
            .collect();
        entries.join("; ")
    }
}

/// Replicas that have no place.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Shortfall {
    /// How many.
    pub replicas: u32,
    /// The room that is missing for them.
    pub missing: Resources,
}

/// Nothing is placed anew; what was placed stays as it was.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{} replicas are not placed: {why}", shortfall.replicas)]
pub struct Unplaceable {
    /// The cause.
    pub why: Cause,
    /// Why members were ruled out.
    pub report: Report,
    /// What has no place.
    pub shortfall: Shortfall,
}

/// Why nothing is placed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Cause {
    /// Every member is ruled out.
    #[error("no cluster is possible")]
    NoClusterFits,
    /// The possible members cannot hold all replicas.
    #[error("the possible clusters have too little room")]
    NoRoom,
    /// There would be room, and the bounds do not let it be used.
    #[error("no counts within the bounds add up to the replicas")]
    BoundsUnsatisfiable,
    /// Too few domains can hold replicas.
    #[error("spread over {key} wants {need} domains, and {have} can hold replicas")]
    TooFewDomains {
        /// The key.
        key: String,
        /// How many are wanted.
        need: u32,
        /// How many can hold replicas.
        have: u32,
    },
    /// No choice of domains that the spread admits can hold all replicas.
    #[error("no choice of domains that the spread admits can hold all replicas")]
    SpreadUnsatisfiable,
    /// They would fit if running replicas moved, and the policy says steady.
    #[error("they fit only if running replicas move, and the policy says steady")]
    FitsOnlyByMoving,
    /// The tenant's quota is used up.
    #[error("the tenant's quota leaves room for {0} replicas")]
    TenantQuota(u32),
    /// The loss of a domain would leave too few, and the policy requires that it does not.
    #[error("the loss of {domain} would leave {missing} replicas too few")]
    WouldNotSurvive {
        /// The domain.
        domain: Arc<str>,
        /// How many are missing then.
        missing: u32,
    },
}

impl Cause {
    /// The cause's name in conditions, metrics, logs and on the command line.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NoClusterFits => "NoClusterFits",
            Self::NoRoom => "NoRoom",
            Self::BoundsUnsatisfiable => "BoundsUnsatisfiable",
            Self::TooFewDomains { .. } => "TooFewDomains",
            Self::SpreadUnsatisfiable => "SpreadUnsatisfiable",
            Self::FitsOnlyByMoving => "FitsOnlyByMoving",
            Self::TenantQuota(_) => "TenantQuota",
            Self::WouldNotSurvive { .. } => "WouldNotSurvive",
        }
    }
}

/// What was said of one candidate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// The member.
    pub member: Arc<str>,
    /// First tier that admits it, from 0.
    pub tier: u16,
    /// Its weight by the policy, 1 where it gives none.
    pub weight: u32,
    /// Fewest replicas when it is used.
    pub min: u32,
    /// Most replicas; absent: no limit.
    pub max: Option<u32>,
    /// How many more fit; absent: not known.
    pub fits: Option<u32>,
    /// How many more it could add nodes for.
    pub elastic: u32,
    /// What it holds.
    pub previous: u32,
    /// It takes nothing new.
    pub closed: bool,
    /// What it shall hold.
    pub count: u32,
}
