//! What a decision says of itself: the conditions that follow from it, and nothing else. Pure.

use hanse_api::{
    BindingDecision, BindingSurvival, Move, ResourceBinding, ResourceBindingSpec,
    conditions::{binding, condition, reason},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Scheduled, Survivable and Moving of a binding, as its decision has them.
pub(crate) fn conditions(known: &ResourceBinding, now: &Time) -> Vec<Condition> {
    let Some(decision) = &known.spec.decision else {
        return Vec::new();
    };
    let made = |type_: &str, (holds, why, words): (bool, &str, String)| {
        condition(type_, holds, why, words, known.metadata.generation, now.clone())
    };
    let why = decision.reason.as_str();
    let scheduled = (is_placed(why), why, in_words(&known.spec, decision));
    let survivable = decision.survival.as_ref().map(survivable);
    let moving = moving(&known.spec.moves);
    let told = [
        Some((binding::SCHEDULED, scheduled)),
        survivable.map(|said| (binding::SURVIVABLE, said)),
        moving.map(|said| (binding::MOVING, said)),
    ];
    told.into_iter().flatten().map(|(type_, said)| made(type_, said)).collect()
}

/// Whether nothing is owed that the policy wants placed now.
fn is_placed(why: &str) -> bool {
    [reason::SCHEDULED, reason::PARTIAL, reason::POLICY_GONE].contains(&why)
}

/// What came of a decision, for people.
pub(crate) fn in_words(spec: &ResourceBindingSpec, decision: &BindingDecision) -> String {
    let replicas: i64 = spec.clusters.iter().map(|cluster| i64::from(cluster.replicas)).sum();
    let whole = || match spec.clusters.as_slice() {
        [only] => format!("{replicas} replicas in {}", only.name),
        clusters => format!("{replicas} replicas in {} clusters", clusters.len()),
    };
    match decision.reason.as_str() {
        reason::SCHEDULED => whole(),
        reason::POLICY_GONE => {
            format!("{}; its policy is gone or no longer selects it", whole())
        }
        _ => decision.message.clone(),
    }
}

fn survivable(survival: &BindingSurvival) -> (bool, &'static str, String) {
    let why = if survival.holds { reason::SURVIVES } else { reason::WOULD_NOT_SURVIVE };
    (survival.holds, why, survival.message.clone())
}

fn moving(moves: &[Move]) -> Option<(bool, &'static str, String)> {
    if moves.is_empty() {
        return None;
    }
    let open = moves.iter().filter(|item| !item.state.is_final());
    let words: Vec<String> = open
        .map(|item| {
            format!("{} from {} to {} ({:?})", item.replicas, item.from, item.to, item.state)
        })
        .collect();
    Some(if words.is_empty() {
        (false, reason::NOTHING_MOVES, String::new())
    } else {
        (true, reason::MOVING, words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use hanse_api::{ClusterReplicas, MoveReason, MoveState, conditions::is_true};
    use jiff::Timestamp;

    use super::*;

    fn decided(reason: &str, message: &str) -> ResourceBinding {
        let mut known = ResourceBinding::default();
        known.spec.clusters = vec![ClusterReplicas { name: "a".to_owned(), replicas: 3 }];
        known.spec.decision = Some(BindingDecision {
            reason: reason.to_owned(),
            message: message.to_owned(),
            ..BindingDecision::default()
        });
        known
    }

    fn said(known: &ResourceBinding) -> Vec<String> {
        let all = conditions(known, &Time(Timestamp::UNIX_EPOCH)).into_iter();
        all.map(|c| format!("{} {} {}: {}", c.type_, c.status, c.reason, c.message)).collect()
    }

    #[test]
    fn a_decision_says_where_replicas_are_or_why_not() {
        let cases = [
            ("Scheduled", "", "Scheduled True Scheduled: 3 replicas in a"),
            ("Partial", "1 of 4 has no room", "Scheduled True Partial: 1 of 4 has no room"),
            ("NoRoom", "1 of 4 has no room", "Scheduled False NoRoom: 1 of 4 has no room"),
        ];
        for (reason, message, expected) in cases {
            assert_eq!(said(&decided(reason, message)), [expected]);
        }
        let gone = said(&decided("PolicyGone", ""));
        assert!(gone[0].starts_with("Scheduled True PolicyGone: 3 replicas in a; its policy"));
        assert!(said(&ResourceBinding::default()).is_empty(), "nothing was decided yet");
    }

    #[test]
    fn moves_and_survival_are_told_while_there_are_any() {
        let mut known = decided("Scheduled", "");
        let survival = BindingSurvival { holds: false, message: "eu is full".to_owned() };
        known.spec.decision.as_mut().unwrap().survival = Some(survival);
        known.spec.moves = vec![Move {
            id: "e".to_owned(),
            from: "a".to_owned(),
            to: "b".to_owned(),
            replicas: 2,
            reason: MoveReason::Drained,
            evidence: String::new(),
            state: MoveState::Adding,
            started_at: Time(Timestamp::UNIX_EPOCH),
        }];
        let told = said(&known);
        assert_eq!(told[1], "Survivable False WouldNotSurvive: eu is full");
        assert_eq!(told[2], "Moving True Moving: 2 from a to b (Adding)");
        known.spec.moves[0].state = MoveState::Done;
        let now = Time(Timestamp::UNIX_EPOCH);
        assert!(!is_true(&conditions(&known, &now), "Moving"));
        assert_eq!(said(&known)[2], "Moving False NothingMoves: ");
    }
}
