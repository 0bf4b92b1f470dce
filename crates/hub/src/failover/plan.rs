//! From verdicts to orders, through the brakes. Pure but for the brakes' memory.

use std::collections::{BTreeMap, BTreeSet};

use hanse_api::MoveReason;
use hanse_detector::{
    Moment, Settings,
    brakes::{Brake, Brakes},
};

use hanse_scheduler::Taint;

use super::observe::Observed;
use crate::{Evacuation, Evacuations};

/// Orders, and what is held back.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Planned {
    /// Members to be left.
    pub(super) orders: Evacuations,
    /// Domains that are lost and not evacuated, with the brake that holds them.
    pub(super) held: BTreeMap<String, Brake>,
}

/// Lost members by domain.
type Losses = BTreeMap<String, BTreeSet<String>>;

/// The brakes, and the ids of the events they released. A drill's loss is wanted: it settles like
/// a real one, but is forgotten with the drill and holds nothing that comes after.
pub(super) struct Planner {
    brakes: Brakes,
    drills: Brakes,
    settings: Settings,
    events: BTreeMap<String, String>,
}

impl Planner {
    pub(super) fn new(brakes: Brakes, settings: Settings) -> Self {
        Self { brakes, drills: Brakes::default(), settings, events: BTreeMap::new() }
    }

    /// Takes up what was released before a restart: its moves are under way.
    pub(super) fn resume(&mut self, observed: &Observed, now: Moment) {
        let mut domains: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (name, event) in &observed.moving {
            let Some(member) = observed.members.get(name) else {
                continue;
            };
            domains.entry(&member.domain).or_default().insert(name.clone());
            self.events.insert(member.domain.clone(), event.clone());
        }
        for (domain, members) in domains {
            self.brakes.resume(domain, members, now);
        }
    }

    /// The orders for what is known at `now`.
    pub(super) fn plan(&mut self, observed: &Observed, now: Moment) -> Planned {
        let (mut lost, mut drilled) = (Losses::new(), Losses::new());
        let mut fleet: BTreeMap<String, usize> = BTreeMap::new();
        for (name, member) in &observed.members {
            *fleet.entry(member.domain.clone()).or_default() += 1;
            if member.verdict == "Lost" {
                let drill = observed.isolated.contains(name);
                let losses = if drill { &mut drilled } else { &mut lost };
                losses.entry(member.domain.clone()).or_default().insert(name.clone());
            }
        }
        let mut settings = self.settings;
        if let Some(percent) = observed.max_lost_percent {
            settings.max_lost_percent = percent;
        }
        let operator = &observed.operator;
        let release = self.brakes.release(&lost, &fleet, operator, now, &settings);
        if drilled.is_empty() {
            self.drills = Brakes::default();
        }
        let drill = self.drills.release(&drilled, &fleet, operator, now, &settings);
        self.events.retain(|domain, _| lost.contains_key(domain) || drilled.contains_key(domain));
        let mut orders = Evacuations::new();
        for (domain, members) in &release.evacuate {
            self.order(&mut orders, observed, domain, members, MoveReason::MemberLost);
        }
        for (domain, members) in &drill.evacuate {
            self.order(&mut orders, observed, domain, members, MoveReason::Drill);
        }
        for (name, drain) in &observed.drained {
            let order = orders.entry(name.clone()).or_insert_with(|| Evacuation {
                id: format!("drain-{drain}"),
                reason: MoveReason::Drained,
                evidence: format!("drain of {drain}"),
                manual_too: true,
                tolerable: Vec::new(),
            });
            // An operator wants it empty, lost or not.
            order.manual_too = true;
        }
        for (name, taints) in &observed.tainted {
            orders.entry(name.clone()).or_insert_with(|| Evacuation {
                id: "tainted".to_owned(),
                reason: MoveReason::Drained,
                evidence: in_words(taints),
                manual_too: true,
                tolerable: taints.clone(),
            });
        }
        Planned { orders, held: release.held }
    }

    /// Orders to leave the lost members of a domain, under one id for the event.
    fn order(
        &mut self,
        orders: &mut Evacuations,
        observed: &Observed,
        domain: &str,
        members: &BTreeSet<String>,
        reason: MoveReason,
    ) {
        let event = self
            .events
            .entry(domain.to_owned())
            .or_insert_with(|| format!("{domain}-{}", observed.now.as_second()))
            .clone();
        for name in members {
            let evidence = observed.members.get(name).map(|member| member.evidence.clone());
            let evidence = evidence.unwrap_or_default();
            let id = event.clone();
            let order =
                Evacuation { id, reason, evidence, manual_too: false, tolerable: Vec::new() };
            orders.insert(name.clone(), order);
        }
    }
}

fn in_words(taints: &[Taint]) -> String {
    let word = |taint: &Taint| match taint.value.as_str() {
        "" => format!("{}:NoExecute", taint.key),
        value => format!("{}={value}:NoExecute", taint.key),
    };
    let words: Vec<String> = taints.iter().map(word).collect();
    format!("taint {}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{super::observe::Member, *};

    fn observed(verdicts: &[(&str, &str, &str)]) -> Observed {
        let mut observed = Observed::default();
        for (name, domain, verdict) in verdicts {
            let member = Member {
                domain: (*domain).to_owned(),
                verdict: (*verdict).to_owned(),
                evidence: "RegionsAgree".to_owned(),
            };
            observed.members.insert((*name).to_owned(), member);
        }
        observed
    }

    fn planner() -> Planner {
        Planner::new(Brakes::default(), Settings::default())
    }

    const LOST: [(&str, &str, &str); 3] =
        [("a", "eu", "Lost"), ("b", "us", "Healthy"), ("c", "asia", "Healthy")];

    #[test]
    fn a_settled_loss_becomes_an_order_with_one_id_for_the_event() {
        let mut planner = planner();
        let mut observed = observed(&LOST);
        assert!(planner.plan(&observed, Duration::from_secs(10)).orders.is_empty());
        observed.now = Timestamp::from_second(12).expect("a valid second");
        let first = planner.plan(&observed, Duration::from_secs(12));
        assert_eq!(first.orders["a"].id, "eu-12");
        observed.now = Timestamp::from_second(20).expect("a valid second");
        assert_eq!(planner.plan(&observed, Duration::from_secs(20)), first);
    }

    #[test]
    fn after_a_restart_the_same_event_goes_on_at_once() {
        let mut planner = planner();
        let mut observed = observed(&LOST);
        observed.moving.insert("a".to_owned(), "eu-7".to_owned());
        planner.resume(&observed, Duration::ZERO);
        let planned = planner.plan(&observed, Duration::from_millis(200));
        assert_eq!(planned.orders["a"].id, "eu-7");
    }

    #[test]
    fn a_drain_needs_no_brake_and_takes_manual_work_too() {
        let mut planner = planner();
        let mut observed = observed(&[("a", "eu", "Healthy"), ("b", "us", "Healthy")]);
        observed.drained.insert("a".to_owned(), "eu".to_owned());
        let planned = planner.plan(&observed, Duration::from_secs(1));
        assert!(planned.orders["a"].manual_too);
        assert_eq!(planned.orders.len(), 1);
    }

    #[test]
    fn a_drain_of_a_lost_member_takes_manual_work_too() {
        let mut planner = planner();
        let mut observed = observed(&LOST);
        planner.plan(&observed, Duration::from_secs(10));
        assert!(!planner.plan(&observed, Duration::from_secs(12)).orders["a"].manual_too);
        observed.drained.insert("a".to_owned(), "eu".to_owned());
        let planned = planner.plan(&observed, Duration::from_secs(13));
        assert!(planned.orders["a"].manual_too);
        assert_eq!(planned.orders["a"].reason, MoveReason::MemberLost, "it cannot be reached");
    }

    #[test]
    fn a_taint_drains_what_does_not_tolerate_it_and_a_drain_spares_nothing() {
        let mut planner = planner();
        let mut observed = observed(&[("a", "eu", "Healthy"), ("b", "us", "Healthy")]);
        let taint = Taint {
            key: "maintenance".to_owned(),
            value: "disks".to_owned(),
            effect: hanse_scheduler::TaintEffect::NoExecute,
        };
        observed.tainted.insert("a".to_owned(), vec![taint.clone()]);
        let order = planner.plan(&observed, Duration::from_secs(1)).orders["a"].clone();
        assert_eq!((order.reason, order.manual_too), (MoveReason::Drained, true));
        assert_eq!(order.evidence, "taint maintenance=disks:NoExecute");
        assert_eq!(order.tolerable, [taint]);
        observed.drained.insert("a".to_owned(), "eu".to_owned());
        let order = planner.plan(&observed, Duration::from_secs(1)).orders["a"].clone();
        assert!(order.tolerable.is_empty());
    }

    #[test]
    fn a_second_drill_is_not_held_by_the_first() {
        let mut planner = planner();
        for (second, name) in [(1, "b"), (60, "a")] {
            let mut observed = observed(&[("a", "eu", "Healthy"), ("b", "us", "Healthy")]);
            observed.isolated.insert(name.to_owned());
            if let Some(member) = observed.members.get_mut(name) {
                "Lost".clone_into(&mut member.verdict);
            }
            planner.plan(&observed, Duration::from_secs(second));
            let planned = planner.plan(&observed, Duration::from_secs(second + 2));
            assert_eq!(planned.orders[name].reason, MoveReason::Drill);
            observed.isolated.clear();
            for member in observed.members.values_mut() {
                "Healthy".clone_into(&mut member.verdict);
            }
            planner.plan(&observed, Duration::from_secs(second + 10));
        }
    }

    #[test]
    fn two_domains_at_once_are_held_and_nothing_is_ordered() {
        let mut planner = planner();
        let observed =
            observed(&[("a", "eu", "Lost"), ("b", "us", "Lost"), ("c", "asia", "Healthy")]);
        planner.plan(&observed, Duration::from_secs(1));
        let planned = planner.plan(&observed, Duration::from_secs(4));
        assert!(planned.orders.is_empty());
        assert_eq!(planned.held.len(), 2);
    }
}
