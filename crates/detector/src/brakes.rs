//! Which losses may be acted on.
//!
//! One failure domain may be lost whole, whatever its share. Losses settle before the first plan,
//! so that what a domain lost in one event is planned whole or not at all. Two domains within one
//! settling window: neither is planned. A second domain within five minutes: the first is
//! evacuated, the second waits for an operator.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Moment, Settings};

/// Why a loss is not acted on.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Brake {
    /// Losses are still being collected.
    Settling,
    /// Two domains were lost within one settling window.
    TwoDomainsAtOnce,
    /// Another domain was lost within the last five minutes, or still is.
    SecondDomain,
    /// Too many members outside the first lost domain are lost.
    MaxLostPercent,
    /// An operator holds every evacuation.
    OperatorHold,
}

impl Brake {
    /// The word used in conditions, metrics and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settling => "Settling",
            Self::TwoDomainsAtOnce => "TwoDomainsAtOnce",
            Self::SecondDomain => "SecondDomain",
            Self::MaxLostPercent => "MaxLostPercent",
            Self::OperatorHold => "OperatorHold",
        }
    }
}

/// What the operator said.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Operator {
    /// Nothing is evacuated.
    pub hold: bool,
    /// Domains whose evacuation was approved.
    pub approved: BTreeSet<String>,
}

/// What may be evacuated now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Release {
    /// Domain to its lost members: plan these, each domain whole.
    pub evacuate: BTreeMap<String, BTreeSet<String>>,
    /// Domain to the brake that holds it.
    pub held: BTreeMap<String, Brake>,
}

/// The losses that are remembered.
#[derive(Clone, Debug, Default)]
pub struct Brakes {
    losses: BTreeMap<String, Loss>,
}

#[derive(Clone, Debug)]
struct Loss {
    began: Moment,
    last_lost: Moment,
    members: BTreeSet<String>,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Settling,
    Released,
    Held(Brake),
}

impl Brakes {
    /// Remembers a domain whose evacuation was already released, for instance before a restart.
    pub fn resume(&mut self, domain: &str, members: BTreeSet<String>, now: Moment) {
        let loss = Loss { began: now, last_lost: now, members, state: State::Released };
        self.losses.insert(domain.to_owned(), loss);
    }

    /// Takes the members that are lost at `now` by domain, and how many members each domain has.
    pub fn release(
        &mut self,
        lost: &BTreeMap<String, BTreeSet<String>>,
        fleet: &BTreeMap<String, usize>,
        operator: &Operator,
        now: Moment,
        settings: &Settings,
    ) -> Release {
        self.remember(lost, now, settings);
        self.settle(fleet, now, settings);
        let mut release = Release::default();
        for (domain, members) in lost {
            let Some(loss) = self.losses.get_mut(domain) else {
                continue;
            };
            if operator.approved.contains(domain) {
                loss.state = State::Released;
            }
            let brake = match loss.state {
                _ if operator.hold => Some(Brake::OperatorHold),
                State::Settling => Some(Brake::Settling),
                State::Held(brake) => Some(brake),
                State::Released => None,
            };
            match brake {
                Some(brake) => drop(release.held.insert(domain.clone(), brake)),
                None => drop(release.evacuate.insert(domain.clone(), members.clone())),
            }
        }
        release
    }

    fn remember(
        &mut self,
        lost: &BTreeMap<String, BTreeSet<String>>,
        now: Moment,
        settings: &Settings,
    ) {
        for (domain, members) in lost {
            let loss = self.losses.entry(domain.clone()).or_insert_with(|| Loss {
                began: now,
                last_lost: now,
                members: BTreeSet::new(),
                state: State::Settling,
            });
            loss.members.clone_from(members);
            loss.last_lost = now;
        }
        self.losses.retain(|domain, loss| {
            lost.contains_key(domain) || now.saturating_sub(loss.last_lost) < settings.second_loss
        });
        for (domain, loss) in &mut self.losses {
            if !lost.contains_key(domain) {
                loss.members.clear();
                // What came back before it was planned was no loss.
                if loss.state == State::Settling {
                    loss.last_lost = Moment::ZERO;
                }
            }
        }
        self.losses.retain(|domain, loss| lost.contains_key(domain) || !loss.last_lost.is_zero());
    }

    fn settle(&mut self, fleet: &BTreeMap<String, usize>, now: Moment, settings: &Settings) {
        let due: Vec<String> = self
            .losses
            .iter()
            .filter(|(_, loss)| {
                loss.state == State::Settling && now.saturating_sub(loss.began) >= settings.settle
            })
            .map(|(domain, _)| domain.clone())
            .collect();
        for domain in due {
            let state = self.judge(&domain, fleet, settings);
            if let Some(loss) = self.losses.get_mut(&domain) {
                loss.state = state;
            }
        }
    }

    fn judge(&self, domain: &str, fleet: &BTreeMap<String, usize>, settings: &Settings) -> State {
        let Some(loss) = self.losses.get(domain) else {
            return State::Settling;
        };
        let others = || self.losses.iter().filter(|(name, _)| name.as_str() != domain);
        let at_once = others().any(|(_, other)| {
            other.began.abs_diff(loss.began) < settings.settle && other.state != State::Released
        });
        if at_once {
            return State::Held(Brake::TwoDomainsAtOnce);
        }
        let Some((first, _)) = others().min_by_key(|(_, other)| other.began) else {
            return State::Released;
        };
        let outside: usize =
            fleet.iter().filter(|(name, _)| *name != first).map(|(_, count)| count).sum();
        let lost: usize = self
            .losses
            .iter()
            .filter(|(name, _)| *name != first)
            .map(|(_, loss)| loss.members.len())
            .sum();
        let allowed = usize::try_from(settings.max_lost_percent).unwrap_or(100);
        if lost * 100 > outside * allowed {
            return State::Held(Brake::MaxLostPercent);
        }
        State::Held(Brake::SecondDomain)
    }
}

#[cfg(test)]
mod tests;
