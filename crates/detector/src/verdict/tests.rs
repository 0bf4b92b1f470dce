//! Verdicts over sequences of votes.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use super::*;

const SETTINGS: fn() -> Settings = Settings::default;

fn votes(control: Level, up: &[&str], down: &[&str]) -> Votes {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Votes { control, up: set(up), down: set(down), void: BTreeSet::new() }
}

/// Shows the same votes for `seconds`, five times a second, and returns the last verdict.
fn hold(history: &mut History, votes: &Votes, from: u64, seconds: u64) -> (Verdict, Reason) {
    let mut last = history.current();
    for tick in 0..=seconds * 5 {
        let now = Duration::from_secs(from) + Duration::from_millis(tick * 200);
        last = history.observe(votes, Override::None, now, &SETTINGS());
    }
    last
}

fn healthy() -> History {
    let mut history = History::default();
    let up = votes(Level::Up, &["us", "asia"], &[]);
    assert_eq!(hold(&mut history, &up, 0, 10), (Verdict::Healthy, Reason::Answering));
    history
}

#[test]
fn nothing_is_known_before_one_full_observation_window() {
    let mut history = History::default();
    let down = votes(Level::Down, &[], &["us", "asia"]);
    assert_eq!(hold(&mut history, &down, 0, 4), (Verdict::Unknown, Reason::NoEvidence));
}

#[test]
fn regions_of_one_mind_make_a_member_lost_within_five_seconds() {
    let mut history = healthy();
    let down = votes(Level::Down, &[], &["us", "asia"]);
    assert_eq!(hold(&mut history, &down, 100, 1), (Verdict::Suspect, Reason::NoQuorum));
    assert_eq!(hold(&mut history, &down, 101, 2), (Verdict::Lost, Reason::RegionsAgree));
}

#[test]
fn a_mere_majority_must_hold_for_fifteen_seconds() {
    let mut history = healthy();
    let split = votes(Level::Down, &["asia"], &["us", "eu"]);
    assert_eq!(hold(&mut history, &split, 100, 14).0, Verdict::Suspect);
    assert_eq!(hold(&mut history, &split, 115, 1), (Verdict::Lost, Reason::MajorityHeld));
}

#[test]
fn an_api_server_that_is_down_alone_is_control_lost() {
    let mut history = healthy();
    let api = votes(Level::Down, &["us", "asia"], &[]);
    assert_eq!(hold(&mut history, &api, 100, 60), (Verdict::ControlLost, Reason::ApiUnreachable));
}

#[test]
fn a_gateway_that_is_down_alone_is_data_lost() {
    let mut history = healthy();
    let gateway = votes(Level::Up, &[], &["us", "asia"]);
    assert_eq!(
        hold(&mut history, &gateway, 100, 3),
        (Verdict::DataLost, Reason::GatewayUnreachable)
    );
}

#[test]
fn one_observing_region_is_not_enough_for_lost() {
    let mut history = healthy();
    let one = votes(Level::Down, &[], &["us"]);
    assert_eq!(hold(&mut history, &one, 100, 60), (Verdict::ControlLost, Reason::TooFewObservers));
    let none = votes(Level::Down, &[], &[]);
    assert_eq!(hold(&mut history, &none, 200, 60).0, Verdict::ControlLost);
}

#[test]
fn a_member_that_is_back_soaks_and_each_flap_doubles_the_soak() {
    let mut history = healthy();
    let down = votes(Level::Down, &[], &["us", "asia"]);
    let up = votes(Level::Up, &["us", "asia"], &[]);
    hold(&mut history, &down, 100, 5);
    assert_eq!(hold(&mut history, &up, 106, 8), (Verdict::Recovering, Reason::Soaking));
    assert_eq!(hold(&mut history, &down, 115, 3).0, Verdict::Lost);
    assert_eq!(hold(&mut history, &up, 120, 15).0, Verdict::Recovering);
    assert_eq!(hold(&mut history, &up, 135, 6).0, Verdict::Healthy);
}

#[test]
fn a_lost_member_stays_lost_while_its_observers_go_quiet() {
    let mut history = healthy();
    hold(&mut history, &votes(Level::Down, &[], &["us", "asia"]), 100, 5);
    let quiet = votes(Level::Down, &[], &[]);
    assert_eq!(hold(&mut history, &quiet, 106, 60).0, Verdict::Lost);
}

#[test]
fn an_isolated_hub_changes_no_verdict_and_waits_a_window_afterwards() {
    let mut history = healthy();
    let down = votes(Level::Down, &[], &["us", "asia"]);
    for tick in 0..300 {
        let now = Duration::from_secs(100) + Duration::from_millis(tick * 200);
        let got = history.observe(&down, Override::HubIsolated, now, &SETTINGS());
        assert_eq!(got, (Verdict::Healthy, Reason::HubIsolated));
    }
    assert_eq!(hold(&mut history, &down, 160, 4).0, Verdict::Healthy);
}

#[test]
fn a_member_that_was_lost_before_a_restart_soaks_first() {
    let mut history = History::resume(Verdict::Lost);
    let up = votes(Level::Up, &["us", "asia"], &[]);
    assert_eq!(hold(&mut history, &up, 0, 10).0, Verdict::Recovering);
}

proptest! {
    #[test]
    fn lost_needs_the_api_down_and_two_regions_that_say_so(
        steps in prop::collection::vec((0..3_u8, 0..4_usize, 0..4_usize), 1..200),
    ) {
        const REGIONS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
        let mut history = healthy();
        for (tick, (control, up, down)) in steps.into_iter().enumerate() {
            let control = [Level::Up, Level::Down, Level::Unknown][usize::from(control)];
            let seen = votes(control, &REGIONS[..up], &REGIONS[3..3 + down.min(3)]);
            let before = history.current().0;
            let now = Duration::from_secs(100) + Duration::from_millis(500 * tick as u64);
            let (after, _) = history.observe(&seen, Override::None, now, &SETTINGS());
            let entered = after == Verdict::Lost
                && !matches!(before, Verdict::Lost | Verdict::Recovering);
            prop_assert!(!entered || (control == Level::Down && down >= 2 && down > up));
        }
    }
}
