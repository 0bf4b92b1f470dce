//! The recorded cases, and that the judge can say no.

use std::collections::BTreeSet;

use hanse_tests_cases::{Case, Rule, Verdict, judge_all, judge_one};

const CASES: &str = include_str!("../../data/karmada-scheduler-cases.jsonl");
/// Random ones, see `recorder/README.md`.
const MIXES: &str = include_str!("../../data/karmada-scheduler-mixes.jsonl");

#[test]
fn no_recorded_case_is_wrong_and_every_rule_is_met_by_one() {
    let judged = [judge_all(CASES).unwrap(), judge_all(MIXES).unwrap()].concat();
    let wrong: Vec<_> =
        judged.iter().filter(|case| matches!(case.verdict, Verdict::Wrong(_))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let met: BTreeSet<Rule> = judged
        .iter()
        .filter_map(|case| match case.verdict {
            Verdict::Differs(rule) => Some(rule),
            _ => None,
        })
        .collect();
    let never: Vec<_> = Rule::ALL.into_iter().filter(|rule| !met.contains(rule)).collect();
    assert_eq!(never, [], "met by no recorded case");
}

#[test]
fn an_answer_with_a_replica_in_the_wrong_place_is_judged_wrong() {
    let cases = CASES.lines().map(|line| serde_json::from_str::<Case>(line).unwrap());
    let (mut tried, mut caught) = (0, 0);
    for mut case in cases {
        let same = judge_one(&case).unwrap().verdict == Verdict::Same;
        let plain = case.placement.spread_constraints.is_empty()
            && case.error_kind.is_none()
            && case.placement.replica_scheduling.as_ref().is_some_and(|scheduling| {
                let weights = scheduling.weight_preference.as_ref();
                weights.is_some_and(|weights| !weights.dynamic_weight.is_empty())
            });
        // Where a taint closes a cluster, more on it is a difference that has a name.
        let plain = plain && case.clusters.iter().all(|cluster| cluster.taints.is_empty());
        let fullest = case.result.iter().map(|count| count.replicas).max().unwrap_or(0);
        if !(same && plain && case.result.len() > 1 && fullest > 3) {
            continue;
        }
        // Two replicas of the fullest cluster go to the emptiest one.
        case.result.sort_by_key(|count| count.replicas);
        case.result[0].replicas += 2;
        case.result.last_mut().unwrap().replicas -= 2;
        tried += 1;
        // Where something ran, they moved for nothing, and that has a name as well.
        let moved = Verdict::Differs(Rule::SteadyMovesNothing);
        let verdict = judge_one(&case).unwrap().verdict;
        caught += u32::from(match verdict {
            Verdict::Wrong(_) => true,
            verdict => verdict == moved && !case.previous.is_empty(),
        });
    }
    assert!(tried >= 15 && caught == tried, "{caught} of {tried} were caught");
}
