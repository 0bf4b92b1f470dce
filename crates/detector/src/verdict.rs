//! Votes over time to a verdict per member.
//!
//! ```text
//!              quorum down            both up
//!  Healthy ──────────────► Lost ──────────────► Recovering ──soak──► Healthy
//!    │ ▲                    ▲                       │ any down: back, soak doubles
//!    ▼ │ up                 │ control down          ▼
//!  Suspect / DataLost ──────┤                      Lost
//!    │ control down         │ data down, quorum
//!    ▼                      │
//!  ControlLost ─────────────┘
//! ```
//! Without two observing regions the verdict stops at ControlLost: nobody confirms the loss.

use crate::{
    Moment, Settings,
    evidence::{Level, Votes},
};

/// The printed summary of a member's health.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Verdict {
    /// Nothing is known yet: hub start, join, no observers.
    #[default]
    Unknown,
    /// Control and data up.
    Healthy,
    /// Some observer lost it, no quorum; nothing is moved.
    Suspect,
    /// Its API is unreachable, data up or not known: no new work, no removal, traffic unchanged.
    ControlLost,
    /// Its API is up, its gateway down: traffic leaves, replicas stay.
    DataLost,
    /// Both down, confirmed: evacuation may start.
    Lost,
    /// Back, soaking: no new work until the soak ends.
    Recovering,
}

impl Verdict {
    /// The word used in status, metrics and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Healthy => "Healthy",
            Self::Suspect => "Suspect",
            Self::ControlLost => "ControlLost",
            Self::DataLost => "DataLost",
            Self::Lost => "Lost",
            Self::Recovering => "Recovering",
        }
    }
}

/// Why a verdict is what it is.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Reason {
    /// The hub has not observed for one full window yet.
    #[default]
    NoEvidence,
    /// Everything answers.
    Answering,
    /// Everything that is observed answers; nobody observes its data plane.
    AnsweringUnobserved,
    /// Some observer does not reach it.
    NoQuorum,
    /// Its API server does not answer, its data plane does.
    ApiUnreachable,
    /// Its API server does not answer, and fewer than two regions observe its data plane.
    TooFewObservers,
    /// Its gateway does not answer two or more regions.
    GatewayUnreachable,
    /// All regions that observe it agree that it is gone.
    RegionsAgree,
    /// A majority of the regions that observe it held long enough.
    MajorityHeld,
    /// It answers again and soaks.
    Soaking,
    /// An operator's drill treats it as lost.
    Isolated,
    /// The hub itself is cut off; the last verdict stands.
    HubIsolated,
}

impl Reason {
    /// The word used in conditions, metrics and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoEvidence => "NoEvidence",
            Self::Answering => "Answering",
            Self::AnsweringUnobserved => "AnsweringUnobserved",
            Self::NoQuorum => "NoQuorum",
            Self::ApiUnreachable => "ApiUnreachable",
            Self::TooFewObservers => "TooFewObservers",
            Self::GatewayUnreachable => "GatewayUnreachable",
            Self::RegionsAgree => "RegionsAgree",
            Self::MajorityHeld => "MajorityHeld",
            Self::Soaking => "Soaking",
            Self::Isolated => "Isolated",
            Self::HubIsolated => "HubIsolated",
        }
    }
}

/// What happens from outside to a member's evidence.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Override {
    /// The evidence stands.
    #[default]
    None,
    /// A drill isolates the member: it counts as lost while it lasts.
    Isolated,
    /// The hub is cut off from everybody: no verdict changes.
    HubIsolated,
}

/// The history of one member that verdicts depend on.
#[derive(Clone, Debug, Default)]
pub struct History {
    verdict: Verdict,
    reason: Reason,
    observing_since: Option<Moment>,
    agreed_since: Option<Moment>,
    majority_since: Option<Moment>,
    up_since: Option<Moment>,
    flaps: u32,
}

impl History {
    /// The history of a member whose last verdict was kept, for instance over a restart of the
    /// hub: a member that was Lost must soak, whatever it says first.
    pub fn resume(verdict: Verdict) -> Self {
        Self { verdict, ..Self::default() }
    }

    /// The last verdict and its reason.
    pub const fn current(&self) -> (Verdict, Reason) {
        (self.verdict, self.reason)
    }

    /// Takes what is known at `now` and returns the verdict.
    pub fn observe(
        &mut self,
        votes: &Votes,
        over: Override,
        now: Moment,
        settings: &Settings,
    ) -> (Verdict, Reason) {
        if over == Override::HubIsolated {
            self.agreed_since = None;
            self.majority_since = None;
            self.observing_since = Some(now);
            self.reason = Reason::HubIsolated;
            return (self.verdict, self.reason);
        }
        let since = *self.observing_since.get_or_insert(now);
        let next = if over == Override::Isolated {
            (Verdict::Lost, Reason::Isolated)
        } else if now.saturating_sub(since) < settings.observation_window {
            (self.verdict, Reason::NoEvidence)
        } else {
            self.judge(votes, now, settings)
        };
        if next.0 == Verdict::Lost && self.verdict == Verdict::Recovering {
            self.flaps = self.flaps.saturating_add(1);
        }
        if next.0 == Verdict::Lost {
            self.up_since = None;
        }
        (self.verdict, self.reason) = next;
        next
    }

    fn judge(&mut self, votes: &Votes, now: Moment, settings: &Settings) -> (Verdict, Reason) {
        let (down, up) = (votes.down.len(), votes.up.len());
        let agreed = down >= 2 && up == 0;
        let majority = down >= 2 && down > up;
        let held = |since: &mut Option<Moment>, holds: bool, long: std::time::Duration| {
            if !holds {
                *since = None;
                return false;
            }
            now.saturating_sub(*since.get_or_insert(now)) >= long
        };
        let agreed = held(&mut self.agreed_since, agreed, settings.agreed);
        let majority = held(&mut self.majority_since, majority, settings.majority);
        let quorum = match (agreed, majority) {
            (true, _) => Some(Reason::RegionsAgree),
            (false, true) => Some(Reason::MajorityHeld),
            (false, false) => None,
        };
        match (votes.control, quorum) {
            (Level::Up, Some(_)) if !self.was_lost() => {
                (Verdict::DataLost, Reason::GatewayUnreachable)
            }
            (Level::Down | Level::Up, Some(reason)) => (Verdict::Lost, reason),
            // Once lost, a member stays so until it answers again.
            (Level::Down | Level::Unknown, None) if self.was_lost() => (Verdict::Lost, self.reason),
            (Level::Down, None) if down + up < 2 => (Verdict::ControlLost, Reason::TooFewObservers),
            (Level::Down, None) if down == 0 => (Verdict::ControlLost, Reason::ApiUnreachable),
            (Level::Down, None) => (Verdict::Suspect, Reason::NoQuorum),
            (Level::Up, None) if self.was_lost() => self.soak(votes, now, settings),
            (Level::Up, None) if down > 0 => (Verdict::Suspect, Reason::NoQuorum),
            (Level::Up, None) if up == 0 => (Verdict::Healthy, Reason::AnsweringUnobserved),
            (Level::Up, None) => (Verdict::Healthy, Reason::Answering),
            (Level::Unknown, _) => (self.verdict, Reason::NoEvidence),
        }
    }

    const fn was_lost(&self) -> bool {
        matches!(self.verdict, Verdict::Lost | Verdict::Recovering)
    }

    fn soak(&mut self, votes: &Votes, now: Moment, settings: &Settings) -> (Verdict, Reason) {
        if !votes.down.is_empty() {
            self.up_since = None;
            return (self.verdict, Reason::Soaking);
        }
        let long = settings.soak.saturating_mul(1 << self.flaps.min(16)).min(settings.soak_max);
        if now.saturating_sub(*self.up_since.get_or_insert(now)) < long {
            return (Verdict::Recovering, Reason::Soaking);
        }
        (Verdict::Healthy, Reason::Answering)
    }
}

#[cfg(test)]
mod tests;
