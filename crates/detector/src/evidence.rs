//! From reports to one vote per region.
//!
//! Reports are levels, not edges. A region has one vote however many observers it has. The vote
//! of an observer is void only if it lost most of its peers outside the suspected domain: then it
//! is cut off itself.

use std::collections::{BTreeMap, BTreeSet};

/// What an observer says of a member.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// It answers.
    Up,
    /// It has been silent for longer than the probe allows.
    Down,
    /// Nothing is known: a new observer, or a report that is too old.
    #[default]
    Unknown,
}

/// Where a member is, in so far as detection needs it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The provider.
    pub provider: String,
    /// The region: one vote each.
    pub region: String,
}

/// Everything known at one moment.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Every member and its place.
    pub members: BTreeMap<String, Place>,
    /// Does the member's API server answer the hub.
    pub control: BTreeMap<String, Level>,
    /// Does the member's gateway answer: by observed member, then observing member.
    pub data: BTreeMap<String, BTreeMap<String, Level>>,
    /// The region in which the hub votes; none when nobody said where the hub runs.
    pub hub_region: Option<String>,
}

/// What the regions say of one member.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Votes {
    /// Does its API server answer; [`Level::Unknown`] also when the hub itself is cut off.
    pub control: Level,
    /// Regions that see its data plane up.
    pub up: BTreeSet<String>,
    /// Regions that see it down.
    pub down: BTreeSet<String>,
    /// Observers whose vote did not count because they are cut off themselves.
    pub void: BTreeSet<String>,
}

/// Name under which the hub appears among void observers.
pub const HUB: &str = "hub";

impl Evidence {
    /// Whether the hub has lost every member it knows at once: it is cut off, they are not.
    pub fn hub_isolated(&self) -> bool {
        let known: Vec<_> =
            self.control.values().filter(|level| **level != Level::Unknown).collect();
        known.len() > 1 && known.iter().all(|level| **level == Level::Down)
    }

    /// What the regions say of `member`.
    pub fn votes(&self, member: &str) -> Votes {
        self.votes_beside(member, &self.tally(&self.control))
    }

    /// What the regions say of every member: what the hub sees is counted once for all of them.
    pub fn all_votes(&self) -> BTreeMap<String, Votes> {
        let hub = self.tally(&self.control);
        let members = self.members.keys();
        members.map(|member| (member.clone(), self.votes_beside(member, &hub))).collect()
    }

    fn votes_beside(&self, member: &str, hub: &Tally<'_>) -> Votes {
        let mut votes = Votes::default();
        let Some(place) = self.members.get(member) else {
            return votes;
        };
        let hub_cut_off = hub.is_cut_off(place);
        let control = self.control.get(member).copied().unwrap_or_default();
        if hub_cut_off {
            votes.void.insert(HUB.to_owned());
        } else {
            votes.control = control;
        }
        for (observer, level) in self.data.get(member).into_iter().flatten() {
            let Some(from) = self.members.get(observer) else {
                continue;
            };
            if *level == Level::Down && self.tally(&self.seen_by(observer)).is_cut_off(place) {
                votes.void.insert(observer.clone());
                continue;
            }
            match level {
                Level::Up => votes.up.insert(from.region.clone()),
                Level::Down => votes.down.insert(from.region.clone()),
                Level::Unknown => false,
            };
        }
        if let (Some(region), Level::Down) = (&self.hub_region, votes.control)
            && !votes.up.is_empty() | !votes.down.is_empty()
        {
            votes.down.insert(region.clone());
        }
        // One vote a region: whoever sees it up there outweighs who does not.
        votes.down.retain(|region| !votes.up.contains(region));
        votes
    }

    /// What one observer reports of everybody.
    fn seen_by(&self, observer: &str) -> BTreeMap<String, Level> {
        self.data
            .iter()
            .filter_map(|(member, reports)| Some((member.clone(), *reports.get(observer)?)))
            .collect()
    }

    /// Counts what somebody sees, by region.
    fn tally(&self, levels: &BTreeMap<String, Level>) -> Tally<'_> {
        let mut tally = Tally::default();
        for (member, level) in levels.iter().filter(|(_, level)| **level != Level::Unknown) {
            let Some(place) = self.members.get(member) else {
                continue;
            };
            let down = usize::from(*level == Level::Down);
            let region = tally.regions.entry(&place.region).or_default();
            *region = (region.0 + 1, region.1 + down);
            tally.all = (tally.all.0 + 1, tally.all.1 + down);
        }
        tally
    }
}

/// How many members somebody knows something of, and how many of these are down.
#[derive(Debug, Default)]
struct Tally<'a> {
    regions: BTreeMap<&'a str, (usize, usize)>,
    all: (usize, usize),
}

impl Tally<'_> {
    /// Whether that somebody lost most of its peers outside the suspected region.
    fn is_cut_off(&self, suspected: &Place) -> bool {
        let inside = self.regions.get(suspected.region.as_str()).copied().unwrap_or_default();
        (self.all.1 - inside.1) * 2 > self.all.0 - inside.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(members: &[(&str, &str)]) -> Evidence {
        let place = |region: &str| Place { provider: "p".to_owned(), region: region.to_owned() };
        let mut evidence = Evidence::default();
        for (name, region) in members {
            evidence.members.insert((*name).to_owned(), place(region));
            evidence.control.insert((*name).to_owned(), Level::Up);
        }
        for (target, _) in members {
            let reports = members
                .iter()
                .filter(|(observer, _)| observer != target)
                .map(|(observer, _)| ((*observer).to_owned(), Level::Up));
            evidence.data.insert((*target).to_owned(), reports.collect());
        }
        evidence.hub_region = Some("eu".to_owned());
        evidence
    }

    fn lose(evidence: &mut Evidence, lost: &[&str]) {
        for member in lost {
            evidence.control.insert((*member).to_owned(), Level::Down);
            for (observer, level) in evidence.data.get_mut(*member).unwrap() {
                *level =
                    if lost.contains(&observer.as_str()) { Level::Unknown } else { Level::Down };
            }
        }
        for (target, reports) in &mut evidence.data {
            for (observer, level) in reports.iter_mut() {
                if lost.contains(&observer.as_str()) && !lost.contains(&target.as_str()) {
                    *level = Level::Unknown;
                }
            }
        }
    }

    const SIX: [(&str, &str); 6] =
        [("a1", "eu"), ("a2", "eu"), ("b1", "us"), ("b2", "us"), ("c1", "asia"), ("c2", "asia")];

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_dead_region_is_seen_down_by_every_other_region() {
        let mut evidence = evidence(&SIX);
        lose(&mut evidence, &["b1", "b2"]);
        let votes = evidence.votes("b1");
        assert_eq!(votes.control, Level::Down);
        assert_eq!(votes.down, set(&["asia", "eu"]));
        assert_eq!(votes.up, set(&[]));
    }

    #[test]
    fn in_a_fleet_of_two_regions_the_survivors_votes_still_count() {
        let mut evidence = evidence(&[("a1", "eu"), ("a2", "eu"), ("b1", "us"), ("b2", "us")]);
        lose(&mut evidence, &["b1", "b2"]);
        assert_eq!(evidence.votes("b1").down, set(&["eu"]));
        assert_eq!(evidence.votes("b1").void, set(&[]));
    }

    #[test]
    fn an_observer_that_lost_most_peers_elsewhere_has_no_vote() {
        let mut evidence = evidence(&SIX);
        for (target, reports) in &mut evidence.data {
            if target != "c1" {
                reports.insert("c1".to_owned(), Level::Down);
            }
        }
        let votes = evidence.votes("b1");
        assert_eq!(votes.void, set(&["c1"]));
        assert!(votes.down.is_empty());
    }

    #[test]
    fn a_hub_that_lost_everybody_is_isolated_and_says_nothing_of_anybody() {
        let mut evidence = evidence(&SIX);
        assert!(!evidence.hub_isolated());
        for level in evidence.control.values_mut() {
            *level = Level::Down;
        }
        assert!(evidence.hub_isolated());
        let votes = evidence.votes("b1");
        assert_eq!(votes.control, Level::Unknown);
        assert_eq!(votes.void, set(&[HUB]));
        assert!(votes.down.is_empty());
    }

    #[test]
    fn the_votes_of_all_are_those_of_each() {
        let mut evidence = evidence(&SIX);
        lose(&mut evidence, &["b1", "c1"]);
        let all = evidence.all_votes();
        assert_eq!(all.len(), SIX.len());
        assert!(all.iter().all(|(member, votes)| *votes == evidence.votes(member)));
    }

    #[test]
    fn the_control_plane_alone_makes_no_region_vote_down_against_its_gateways() {
        let mut evidence = evidence(&SIX);
        evidence.control.insert("b1".to_owned(), Level::Down);
        let votes = evidence.votes("b1");
        assert_eq!(votes.control, Level::Down);
        assert!(votes.down.is_empty(), "{votes:?}");
    }
}
