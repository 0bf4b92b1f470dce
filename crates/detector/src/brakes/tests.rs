//! Losses of one and of several domains, settling, and the operator's word.

use std::time::Duration;

use super::*;

fn lost(members: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
    members
        .iter()
        .map(|(domain, names)| {
            ((*domain).to_owned(), names.iter().map(|name| (*name).to_owned()).collect())
        })
        .collect()
}

fn fleet(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    counts.iter().map(|(domain, count)| ((*domain).to_owned(), *count)).collect()
}

struct Case {
    brakes: Brakes,
    fleet: BTreeMap<String, usize>,
    operator: Operator,
}

impl Case {
    fn new(counts: &[(&str, usize)]) -> Self {
        Self { brakes: Brakes::default(), fleet: fleet(counts), operator: Operator::default() }
    }

    fn at(&mut self, milliseconds: u64, members: &[(&str, &[&str])]) -> Release {
        let now = Duration::from_millis(1_000_000 + milliseconds);
        let settings = Settings::default();
        self.brakes.release(&lost(members), &self.fleet, &self.operator, now, &settings)
    }
}

const THREE: [(&str, usize); 3] = [("asia", 2), ("eu", 2), ("us", 2)];

#[test]
fn a_domain_is_planned_whole_after_it_settled() {
    let mut case = Case::new(&[("asia", 30), ("eu", 40), ("us", 30)]);
    let first = case.at(0, &[("eu", &["a"])]);
    assert_eq!(first.held, BTreeMap::from([("eu".to_owned(), Brake::Settling)]));
    let later = case.at(2000, &[("eu", &["a", "b"])]);
    assert_eq!(later.evacuate, lost(&[("eu", &["a", "b"])]));
    assert!(later.held.is_empty());
}

#[test]
fn half_of_the_fleet_may_go_if_it_is_one_domain() {
    let mut case = Case::new(&[("eu", 3), ("us", 3)]);
    case.at(0, &[("us", &["a", "b", "c"])]);
    assert_eq!(case.at(2000, &[("us", &["a", "b", "c"])]).evacuate.len(), 1);
}

#[test]
fn two_domains_within_one_settling_window_are_both_held() {
    let mut case = Case::new(&THREE);
    case.at(0, &[("eu", &["a"])]);
    let both: [(&str, &[&str]); 2] = [("eu", &["a"]), ("us", &["b"])];
    case.at(1000, &both);
    let release = case.at(3500, &both);
    assert!(release.evacuate.is_empty(), "{release:?}");
    assert_eq!(release.held["eu"], Brake::TwoDomainsAtOnce);
    assert_eq!(release.held["us"], Brake::TwoDomainsAtOnce);
}

#[test]
fn a_second_domain_later_is_held_while_the_first_goes_on() {
    let mut case = Case::new(&[("asia", 10), ("eu", 2), ("us", 2)]);
    case.at(0, &[("eu", &["a"])]);
    case.at(2000, &[("eu", &["a"])]);
    let both: [(&str, &[&str]); 2] = [("eu", &["a"]), ("us", &["b"])];
    case.at(60_000, &both);
    let release = case.at(62_000, &both);
    assert_eq!(release.evacuate, lost(&[("eu", &["a"])]));
    assert_eq!(release.held["us"], Brake::SecondDomain);
}

#[test]
fn more_than_the_allowed_share_outside_the_first_domain_says_so() {
    let mut case = Case::new(&THREE);
    case.at(0, &[("eu", &["a", "b"])]);
    case.at(2000, &[("eu", &["a", "b"])]);
    let both: [(&str, &[&str]); 2] = [("eu", &["a", "b"]), ("us", &["c", "d"])];
    case.at(60_000, &both);
    assert_eq!(case.at(62_000, &both).held["us"], Brake::MaxLostPercent);
}

#[test]
fn five_minutes_after_the_first_came_back_a_second_may_go() {
    let mut case = Case::new(&THREE);
    case.at(0, &[("eu", &["a"])]);
    case.at(2000, &[("eu", &["a"])]);
    case.at(10_000, &[]);
    case.at(320_000, &[("us", &["b"])]);
    assert_eq!(case.at(322_000, &[("us", &["b"])]).evacuate.len(), 1);
}

#[test]
fn a_loss_that_passes_while_it_settles_is_forgotten() {
    let mut case = Case::new(&THREE);
    case.at(0, &[("eu", &["a"])]);
    case.at(1000, &[]);
    case.at(10_000, &[("us", &["b"])]);
    assert_eq!(case.at(12_000, &[("us", &["b"])]).evacuate.len(), 1);
}

#[test]
fn an_operator_approves_what_is_held_and_holds_what_is_not() {
    let mut case = Case::new(&THREE);
    let both: [(&str, &[&str]); 2] = [("eu", &["a"]), ("us", &["b"])];
    case.at(0, &both);
    case.at(2000, &both);
    case.operator.approved.insert("us".to_owned());
    let release = case.at(3000, &both);
    assert_eq!(release.evacuate, lost(&[("us", &["b"])]));
    case.operator.hold = true;
    let release = case.at(4000, &both);
    assert!(release.evacuate.is_empty());
    assert_eq!(release.held["us"], Brake::OperatorHold);
}
