//! How much of its usual traffic a member keeps while it drains and while it returns. Pure: told
//! who is out and what time it is.

use std::{collections::BTreeMap, time::Duration};

use hanse_rt::Mono;

/// A return takes this long,
const RETURN: Duration = Duration::from_secs(30);
/// and begins with this share, percent.
const RETURN_FROM: u64 = 10;
/// A drain takes this long.
const DRAIN: Duration = Duration::from_secs(10);
/// Shares are told in steps of so many percent, so that a ramp is some messages, not hundreds.
const STEP: u64 = 10;

/// Why a member has less than all of its traffic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// An operator drains it, since then.
    Draining(Mono),
    /// It was lost or isolated: its traffic is zero by other means.
    Out,
    /// It returns, since then.
    Returning(Mono),
}

/// What holds for one member now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Standing {
    /// An operator drains it.
    pub(crate) draining: bool,
    /// It is lost or isolated.
    pub(crate) out: bool,
}

/// The phases of all members that are in one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ramps {
    phases: BTreeMap<String, Phase>,
    begun: bool,
}

impl Ramps {
    /// Takes in what holds now. A member that was never out needs no ramp.
    pub(crate) fn update(&mut self, standing: &BTreeMap<String, Standing>, now: Mono) {
        self.phases.retain(|member, _| standing.contains_key(member));
        // Who drains at the start of a hub was drained by the one before.
        let drain_since = if self.begun { now } else { now.checked_sub(DRAIN).unwrap_or(now) };
        self.begun = true;
        for (member, stands) in standing {
            let before = self.phases.get(member).copied();
            let after = match (stands, before) {
                (Standing { draining: true, .. }, Some(Phase::Draining(_))) => before,
                (Standing { draining: true, .. }, _) => Some(Phase::Draining(drain_since)),
                (Standing { out: true, .. }, _) => Some(Phase::Out),
                (_, Some(Phase::Draining(_) | Phase::Out)) => Some(Phase::Returning(now)),
                (_, Some(Phase::Returning(since))) if now.duration_since(since) >= RETURN => None,
                (_, other) => other,
            };
            match after {
                Some(phase) => drop(self.phases.insert(member.clone(), phase)),
                None => drop(self.phases.remove(member)),
            }
        }
    }

    /// Shares below 100 percent.
    pub(crate) fn shares(&self, now: Mono) -> BTreeMap<String, u8> {
        let share = |phase: &Phase| match phase {
            Phase::Draining(since) => 100 - percent(now.duration_since(*since), DRAIN),
            Phase::Out => 100,
            Phase::Returning(since) => percent(now.duration_since(*since), RETURN).max(RETURN_FROM),
        };
        self.phases
            .iter()
            .map(|(member, phase)| (member.clone(), share(phase)))
            .filter(|(_, share)| *share < 100)
            .map(|(member, share)| (member, u8::try_from(share).unwrap_or(100)))
            .collect()
    }

    /// Whether time alone changes something.
    pub(crate) fn is_moving(&self, now: Mono) -> bool {
        self.phases.values().any(|phase| match phase {
            Phase::Draining(since) => now.duration_since(*since) <= DRAIN + Duration::from_secs(1),
            Phase::Returning(_) => true,
            Phase::Out => false,
        })
    }
}

fn percent(passed: Duration, whole: Duration) -> u64 {
    let parts = passed.as_millis().saturating_mul(100) / whole.as_millis().max(1);
    let parts = u64::try_from(parts).unwrap_or(100).min(100);
    parts / STEP * STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(draining: bool, out: bool) -> BTreeMap<String, Standing> {
        [("a".to_owned(), Standing { draining, out })].into()
    }

    #[test]
    fn a_drain_falls_to_nothing_in_ten_seconds_and_a_return_takes_thirty() {
        let mut now = Mono::now();
        let mut ramps = Ramps::default();
        let share = |ramps: &Ramps, now| ramps.shares(now).get("a").copied().unwrap_or(100);
        ramps.update(&one(false, false), now);
        assert_eq!(share(&ramps, now), 100);
        ramps.update(&one(true, false), now);
        assert_eq!(share(&ramps, now), 100);
        assert_eq!(share(&ramps, now + Duration::from_secs(5)), 50);
        now += Duration::from_mins(1);
        ramps.update(&one(true, false), now);
        assert_eq!(share(&ramps, now), 0);
        assert!(!ramps.is_moving(now));
        ramps.update(&one(false, false), now);
        assert_eq!(share(&ramps, now), 10);
        assert_eq!(share(&ramps, now + Duration::from_secs(15)), 50);
        now += Duration::from_secs(30);
        ramps.update(&one(false, false), now);
        assert_eq!(share(&ramps, now), 100);
        assert!(!ramps.is_moving(now));
    }

    #[test]
    fn a_restarted_hub_sends_nothing_back_to_a_drained_member() {
        let now = Mono::now();
        let mut ramps = Ramps::default();
        ramps.update(&one(true, false), now);
        assert_eq!(ramps.shares(now)["a"], 0);
    }

    #[test]
    fn a_lost_member_returns_by_a_ramp_and_its_share_is_no_second_exclusion() {
        let now = Mono::now();
        let mut ramps = Ramps::default();
        ramps.update(&one(false, true), now);
        assert_eq!(ramps.shares(now), BTreeMap::new());
        ramps.update(&one(false, false), now);
        assert_eq!(ramps.shares(now)["a"], 10);
        ramps.update(&BTreeMap::new(), now);
        assert_eq!(ramps.shares(now), BTreeMap::new(), "a member that left is forgotten");
    }
}
