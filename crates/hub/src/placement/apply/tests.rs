//! What one decision writes.

use hanse_api::{ClusterReplicas, Move, MoveReason, MoveState, Shortfall};

use super::*;

fn placed(replicas: i32) -> Placed {
    Placed {
        clusters: vec![ClusterReplicas { name: "a".to_owned(), replicas }],
        ordinals: Vec::new(),
        moves: Vec::new(),
        decision: BindingDecision { clusters_considered: 3, ..BindingDecision::default() },
        outcome: Outcome::Scheduled,
        waits_for_turn: false,
        survival: Survival::NotAsked,
        unchanged: false,
        asked: None,
        roams: None,
        violations: Vec::new(),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The spec after a decision was written, as the API would keep it.
fn written(spec: &ResourceBindingSpec, placed: &Placed, second: i64) -> ResourceBindingSpec {
    fn merge(into: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *into = patch.clone();
            return;
        };
        if !into.is_object() {
            *into = json!({});
        }
        let into = into.as_object_mut().unwrap();
        for (key, value) in patch {
            if value.is_null() {
                into.remove(key);
            } else {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
    }
    let mut all = to_value(spec);
    merge(&mut all, &Value::Object(patch(spec, placed, at(second))));
    serde_json::from_value(all).unwrap()
}

#[test]
fn clusters_moves_and_reasons_are_one_write_and_the_same_again_is_none() {
    let mut decided = placed(3);
    decided.moves = vec![Move {
        id: "e/b/a".to_owned(),
        from: "b".to_owned(),
        to: "a".to_owned(),
        replicas: 3,
        reason: MoveReason::MemberLost,
        evidence: String::new(),
        state: MoveState::Adding,
        started_at: Time(at(1)),
    }];
    let first = patch(&ResourceBindingSpec::default(), &decided, at(1));
    assert!(first.keys().eq(["clusters", "decision", "moves"]), "{first:?}");
    let spec = written(&ResourceBindingSpec::default(), &decided, 1);
    assert_eq!((&spec.clusters, &spec.moves), (&decided.clusters, &decided.moves));
    assert_eq!(spec.decision.as_ref().unwrap().reason, "Scheduled");
    assert!(patch(&spec, &decided, at(2)).is_empty(), "time alone changes nothing");
}

#[test]
fn reasons_that_are_over_are_taken_back() {
    let mut short = placed(3);
    short.decision.shortfall = Some(Shortfall { replicas: 2, ..Shortfall::default() });
    short.outcome = Outcome::Short(reason::NO_ROOM, "2 of 5 replicas have no room".to_owned());
    short.survival = Survival::WouldNot("eu is full".to_owned());
    let spec = written(&ResourceBindingSpec::default(), &short, 1);
    let decision = spec.decision.as_ref().unwrap();
    assert_eq!(
        (decision.reason.as_str(), decision.message.as_str()),
        ("NoRoom", "2 of 5 replicas have no room")
    );
    assert!(!decision.survival.as_ref().unwrap().holds);
    let spec = written(&spec, &placed(5), 2);
    let decision = spec.decision.as_ref().unwrap();
    assert_eq!(decision.reason, "Scheduled");
    assert!(decision.message.is_empty() && decision.shortfall.is_none());
    assert_eq!((&decision.survival, &decision.at), (&None, &Some(Time(at(2)))));
}

#[test]
fn reasons_stay_those_of_when_it_was_decided() {
    let spec = written(&ResourceBindingSpec::default(), &placed(3), 1);
    let again = Placed { unchanged: true, decision: BindingDecision::default(), ..placed(3) };
    assert!(patch(&spec, &again, at(2)).is_empty());
    let mut gone = again;
    gone.outcome = Outcome::PolicyGone;
    let spec = written(&spec, &gone, 3);
    let decision = spec.decision.unwrap();
    assert_eq!((decision.reason.as_str(), decision.clusters_considered), ("PolicyGone", 3));
    assert_eq!(decision.at, Some(Time(at(3))));
}
