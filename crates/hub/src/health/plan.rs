//! From a verdict to what a member's status should say. Pure.

use hanse_api::{
    FederationStatus, MemberClusterStatus, ObserverCounts, Observers,
    conditions::{self, condition, federation, member, reason},
};
use hanse_detector::{
    evidence::{Evidence, Level},
    verdict::{Reason, Verdict},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{Counts, Judgement, observe::Observed};

/// What is believed of one member, with the counts a reader wants to see.
pub(super) fn judgement(
    observed: &Observed,
    name: &str,
    verdict: Verdict,
    reason: Reason,
) -> Judgement {
    let mut data = Counts::default();
    for level in observed.evidence.data.get(name).into_iter().flat_map(|seen| seen.values()) {
        match level {
            Level::Up => data.up += 1,
            Level::Down => data.down += 1,
            Level::Unknown => data.unknown += 1,
        }
    }
    let control = observed.evidence.control.get(name).copied().unwrap_or_default();
    let has_gateway = observed.with_gateway.contains(name);
    Judgement { verdict, reason, control, data, has_gateway }
}

/// Writes a judgement into a member's status; other writers' fields stay.
pub(super) fn status(
    status: &mut MemberClusterStatus,
    judgement: &Judgement,
    cordoned: bool,
    generation: Option<i64>,
    now: &Time,
) {
    status.verdict = Some(judgement.verdict.as_str().to_owned());
    let one = |level: Level| ObserverCounts {
        up: i32::from(level == Level::Up),
        down: i32::from(level == Level::Down),
        unknown: i32::from(level == Level::Unknown),
    };
    let Counts { up, down, unknown } = judgement.data;
    status.observers = Some(Observers {
        api: one(judgement.control),
        data_plane: ObserverCounts { up, down, unknown },
    });
    let mut set = |wanted: Condition| {
        conditions::set(&mut status.conditions, wanted);
    };
    let say = |type_: &str, status: bool, reason: &str, message: String| {
        condition(type_, status, reason, message, generation, now.clone())
    };
    let why = judgement.reason.as_str();
    let verdict = judgement.verdict.as_str();
    let seen = format!("{up} observing gateways reach it, {down} do not, {unknown} do not know");
    for type_ in [member::GATEWAY_REACHABLE, member::DATA_PLANE_REACHABLE] {
        set(if !judgement.has_gateway {
            let text = "it names no gateway: set spec.gateways".to_owned();
            say(type_, false, reason::NO_GATEWAY, text)
        } else if up > 0 && up >= down {
            say(type_, true, reason::ANSWERS, seen.clone())
        } else if down > 0 {
            say(type_, false, reason::UNREACHABLE, seen.clone())
        } else {
            unknown_yet(say(type_, false, why, seen.clone()))
        });
    }
    let ready = judgement.verdict == Verdict::Healthy && !cordoned;
    set(if cordoned && judgement.verdict == Verdict::Healthy {
        let text = "cordoned: `hanse uncordon` lets it take work again".to_owned();
        say(member::READY, false, reason::CORDONED, text)
    } else {
        say(member::READY, ready, why, format!("its verdict is {verdict}"))
    });
}

fn unknown_yet(mut condition: Condition) -> Condition {
    "Unknown".clone_into(&mut condition.status);
    condition
}

/// Writes what health knows of the whole into the Federation's status.
pub(super) fn whole(
    status: &mut FederationStatus,
    evidence: &Evidence,
    verdicts: impl Iterator<Item = Verdict>,
    generation: Option<i64>,
    now: &Time,
) {
    status.members.clear();
    for verdict in verdicts {
        *status.members.entry(verdict.as_str().to_owned()).or_default() += 1;
    }
    let say = |type_: &str, status: bool, reason: &str, message: &str| {
        condition(type_, status, reason, message.to_owned(), generation, now.clone())
    };
    let isolated = evidence.hub_isolated();
    let connected = if isolated {
        let text = "no member answers the hub: it is cut off itself, and moves nothing";
        say(federation::CONNECTED, false, reason::HUB_ISOLATED, text)
    } else {
        say(federation::CONNECTED, true, reason::CONNECTED, "")
    };
    conditions::set(&mut status.conditions, connected);
    let mut regions: Vec<&String> = evidence.members.values().map(|place| &place.region).collect();
    regions.extend(&evidence.hub_region);
    regions.sort();
    regions.dedup();
    let automatic = if regions.len() > 2 {
        let text = "two regions remain to confirm the loss of any third";
        say(federation::EVACUATION_AUTOMATIC, true, reason::WITNESSED, text)
    } else {
        let text = "with fewer than three regions nobody can confirm a loss: an operator must \
                    drain a lost member";
        say(federation::EVACUATION_AUTOMATIC, false, reason::NO_WITNESS, text)
    };
    conditions::set(&mut status.conditions, automatic);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time() -> Time {
        Time(jiff::Timestamp::from_second(1).expect("a valid second"))
    }

    #[test]
    fn writing_a_judgement_twice_changes_nothing_the_second_time() {
        let judgement = Judgement {
            verdict: Verdict::Lost,
            reason: Reason::RegionsAgree,
            control: Level::Down,
            data: Counts { up: 0, down: 3, unknown: 1 },
            has_gateway: true,
        };
        let mut once = MemberClusterStatus::default();
        status(&mut once, &judgement, false, Some(1), &time());
        let mut twice = once.clone();
        status(&mut twice, &judgement, false, Some(1), &time());
        assert_eq!(once, twice);
        assert_eq!(once.verdict.as_deref(), Some("Lost"));
        assert!(!conditions::is_true(&once.conditions, member::READY));
        assert!(!conditions::is_true(&once.conditions, member::GATEWAY_REACHABLE));
    }

    #[test]
    fn two_regions_have_no_witness() {
        let mut evidence = Evidence::default();
        for (name, region) in [("a", "eu"), ("b", "us")] {
            let place = hanse_detector::evidence::Place {
                provider: "p".to_owned(),
                region: region.to_owned(),
            };
            evidence.members.insert(name.to_owned(), place);
        }
        let mut status = FederationStatus::default();
        whole(&mut status, &evidence, std::iter::empty(), None, &time());
        let automatic = status.conditions.iter().find(|c| c.type_ == "EvacuationAutomatic");
        assert_eq!(automatic.map(|c| c.reason.as_str()), Some("NoWitness"));
    }
}
