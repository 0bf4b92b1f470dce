//! What placement answers: an assignment or a refusal, and in both cases the reasons.

use std::collections::BTreeMap;

use crate::Resources;

/// Where the replicas go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Decision {
    /// Replicas by member. Members with 0 replicas stand here only when the object itself shall
    /// be there.
    pub assignment: BTreeMap<String, u32>,
    /// Why the others are not there.
    pub report: Report,
    /// What has no room, where a part may be placed.
    pub shortfall: Option<Shortfall>,
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
    pub examples: Vec<String>,
}

/// Why a member is ruled out.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Refusal {
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
    /// A move takes the work away from it.
    MovingAway,
    /// The policy gives it no weight.
    NoWeight,
    /// Its room is not known yet, and shares are made by room.
    RoomUnknown,
    /// It has no room for a single replica more.
    NoRoom,
}

impl Refusal {
    /// The reason's name in conditions, metrics, logs and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSelected => "NotSelected",
            Self::NotJoined => "NotJoined",
            Self::ControlLost => "ControlLost",
            Self::DataLost => "DataLost",
            Self::Lost => "Lost",
            Self::Recovering => "Recovering",
            Self::Cordoned => "Cordoned",
            Self::Tainted => "Tainted",
            Self::KindNotServed => "KindNotServed",
            Self::MovingAway => "MovingAway",
            Self::NoWeight => "NoWeight",
            Self::RoomUnknown => "RoomUnknown",
            Self::NoRoom => "NoRoom",
        }
    }
}

impl Report {
    pub(crate) fn reject(&mut self, reason: Refusal, member: &str) {
        let at = match self.rejected.binary_search_by_key(&reason, |entry| entry.reason) {
            Ok(at) => at,
            Err(at) => {
                self.rejected.insert(at, Rejection { reason, count: 0, examples: Vec::new() });
                at
            }
        };
        let entry = &mut self.rejected[at];
        entry.count += 1;
        if entry.examples.len() < 3 {
            entry.examples.push(member.to_owned());
        }
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
pub enum Unplaceable {
    /// Every member is ruled out.
    #[error("no cluster is possible: {}", .0.in_words())]
    NoClusterFits(Report),
    /// The possible members cannot hold all replicas.
    #[error("{} replicas have no room", .1.replicas)]
    NoRoom(Report, Shortfall),
    /// They would fit if running replicas moved, and the policy says steady.
    #[error("{} replicas fit only if running ones move, and the policy says steady", .1.replicas)]
    FitsOnlyByMoving(Report, Shortfall),
}

impl Unplaceable {
    /// The reason's name in conditions, metrics, logs and on the command line.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NoClusterFits(_) => "NoClusterFits",
            Self::NoRoom(..) => "NoRoom",
            Self::FitsOnlyByMoving(..) => "FitsOnlyByMoving",
        }
    }

    /// Why members were ruled out.
    pub const fn report(&self) -> &Report {
        match self {
            Self::NoClusterFits(report)
            | Self::NoRoom(report, _)
            | Self::FitsOnlyByMoving(report, _) => report,
        }
    }

    /// What has no place.
    pub const fn shortfall(&self) -> Option<&Shortfall> {
        match self {
            Self::NoClusterFits(_) => None,
            Self::NoRoom(_, shortfall) | Self::FitsOnlyByMoving(_, shortfall) => Some(shortfall),
        }
    }
}
