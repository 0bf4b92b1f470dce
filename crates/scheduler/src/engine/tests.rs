//! Worked placements, and the engine's properties on random fleets.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{Bounds, NodeShape, PodNeeds, Resources, Room, Taint, TaintEffect, checker};

fn member(name: &str, room: u64) -> Member {
    let free = Resources { cpu_milli: 1000, memory_bytes: 1 << 30, ..Resources::default() };
    let (provider, region) = name.split_once('-').unwrap_or((name, "r"));
    Member {
        name: name.to_owned(),
        provider: provider.to_owned(),
        region: format!("{provider}-{region}"),
        room: Room::Nodes(vec![NodeShape {
            nodes: room,
            allocatable: free.clone(),
            free,
            free_pods: 10,
            ..NodeShape::default()
        }]),
        ..Member::default()
    }
}

fn fleet(rooms: &[(&str, u64)]) -> Fleet {
    Fleet::new(rooms.iter().map(|(name, room)| member(name, *room)))
}

/// One replica fills one node.
fn request(replicas: u32) -> Request {
    Request {
        replicas,
        needs: PodNeeds {
            request: Resources { cpu_milli: 1000, ..Resources::default() },
            ..PodNeeds::default()
        },
        steady: true,
        ..Request::default()
    }
}

fn named(names: &[&str]) -> Selection {
    Selection {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Selection::default()
    }
}

fn map(counts: &[(&str, u32)]) -> BTreeMap<String, u32> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn placed(fleet: &Fleet, request: &Request) -> BTreeMap<String, u32> {
    let decision = schedule(fleet, request, 7).unwrap();
    assert_eq!(checker::check(fleet, request, &decision), []);
    decision.assignment
}

#[test]
fn replicas_are_divided_in_proportion_to_free_room() {
    let fleet = fleet(&[("a", 20), ("b", 10), ("c", 0)]);
    assert_eq!(placed(&fleet, &request(6)), map(&[("a", 4), ("b", 2)]));
}

#[test]
fn weights_divide_and_full_members_leave_the_rest_to_others() {
    let fleet = fleet(&[("a", 2), ("b", 20), ("c", 20)]);
    let mut weighted = request(8);
    weighted.mode = Mode::Divide(DivideBy::Weighted(vec![
        Weight { clusters: named(&["a"]), weight: 6 },
        Weight { clusters: named(&["b", "c"]), weight: 1 },
    ]));
    assert_eq!(placed(&fleet, &weighted), map(&[("a", 2), ("b", 3), ("c", 3)]));
}

#[test]
fn a_member_without_weight_is_ruled_out_with_that_reason() {
    let fleet = fleet(&[("a", 20), ("b", 20)]);
    let mut weighted = request(4);
    weighted.mode =
        Mode::Divide(DivideBy::Weighted(vec![Weight { clusters: named(&["a"]), weight: 1 }]));
    let decision = schedule(&fleet, &weighted, 0).unwrap();
    assert_eq!(decision.assignment, map(&[("a", 4)]));
    assert_eq!(decision.report.in_words(), "NoWeight 1 (b)");
}

#[test]
fn duplicate_gives_each_its_full_count_and_reports_who_has_no_room() {
    let fleet = fleet(&[("a", 5), ("b", 2), ("c", 3)]);
    let mut copies = request(3);
    copies.mode = Mode::Duplicate;
    let decision = schedule(&fleet, &copies, 0).unwrap();
    assert_eq!(decision.assignment, map(&[("a", 3), ("c", 3)]));
    assert_eq!(decision.report.in_words(), "NoRoom 1 (b)");
    assert_eq!(decision.shortfall.unwrap().replicas, 1);
}

#[test]
fn whole_takes_one_member_and_stays_there() {
    let fleet = fleet(&[("a", 5), ("b", 9)]);
    let mut whole = request(4);
    whole.mode = Mode::Whole;
    assert_eq!(placed(&fleet, &whole), map(&[("b", 4)]));
    whole.previous = map(&[("a", 4)]);
    whole.replicas = 5;
    assert_eq!(placed(&fleet, &whole), map(&[("a", 5)]));
    whole.replicas = 14;
    let refused = schedule(&fleet, &whole, 0).unwrap_err();
    assert_eq!(refused.as_str(), "NoRoom");
}

#[test]
fn a_request_that_no_fleet_can_hold_says_what_room_is_missing() {
    let mut lost = member("c", 100);
    lost.health = Health::Lost;
    let mut cordoned = member("d", 100);
    cordoned.cordoned = true;
    let mut fleet = fleet(&[("a", 2), ("b", 3)]);
    fleet.set(lost);
    fleet.set(cordoned);
    let refused = schedule(&fleet, &request(9), 0).unwrap_err();
    assert_eq!(refused.to_string(), "4 replicas have no room");
    assert_eq!(refused.report().in_words(), "Lost 1 (c); Cordoned 1 (d)");
    assert_eq!(refused.shortfall().unwrap().missing.cpu_milli, 4000);
}

#[test]
fn partial_places_what_fits_and_reports_the_rest() {
    let mut partial = request(9);
    partial.partial = true;
    let fleet = fleet(&[("a", 2), ("b", 3)]);
    let decision = schedule(&fleet, &partial, 0).unwrap();
    assert_eq!(decision.assignment, map(&[("a", 2), ("b", 3)]));
    assert_eq!(decision.shortfall.unwrap().replicas, 4);
}

#[test]
fn fallback_takes_the_first_tier_that_holds_everything() {
    let fleet = fleet(&[("a", 3), ("b", 8), ("c", 8)]);
    let mut tiers = request(5);
    tiers.tiers = vec![named(&["a"]), named(&["b", "c"])];
    assert_eq!(placed(&fleet, &tiers).get("a"), None);
    tiers.replicas = 3;
    assert_eq!(placed(&fleet, &tiers), map(&[("a", 3)]));
}

#[test]
fn overflow_fills_one_tier_before_the_next() {
    let fleet = fleet(&[("a", 3), ("b", 8), ("c", 8)]);
    let mut tiers = request(5);
    tiers.tier_mode = TierMode::Overflow;
    tiers.tiers = vec![named(&["a"]), named(&["b"]), named(&["c"])];
    assert_eq!(placed(&fleet, &tiers), map(&[("a", 3), ("b", 2)]));
}

#[test]
fn steady_overflow_gives_back_the_last_tier_first() {
    let fleet = fleet(&[("a", 3), ("b", 8)]);
    let mut tiers = request(4);
    tiers.tier_mode = TierMode::Overflow;
    tiers.tiers = vec![named(&["a"]), named(&["b"])];
    tiers.previous = map(&[("a", 3), ("b", 3)]);
    assert_eq!(placed(&fleet, &tiers), map(&[("a", 3), ("b", 1)]));
}

#[test]
fn steady_keeps_replicas_in_a_later_tier_when_an_earlier_one_frees() {
    let fleet = fleet(&[("a", 10), ("b", 8)]);
    let mut tiers = request(5);
    tiers.tiers = vec![named(&["a"]), named(&["b"])];
    tiers.previous = map(&[("b", 4)]);
    assert_eq!(placed(&fleet, &tiers), map(&[("a", 1), ("b", 4)]));
}

#[test]
fn a_cordoned_or_tainted_member_keeps_what_it_has_and_takes_nothing_new() {
    let mut cordoned = member("a", 50);
    cordoned.cordoned = true;
    let mut tainted = member("b", 50);
    tainted.taints.push(Taint {
        key: "k".to_owned(),
        value: String::new(),
        effect: TaintEffect::NoExecute,
    });
    let mut fleet = fleet(&[("c", 10)]);
    fleet.set(cordoned);
    fleet.set(tainted);
    let mut more = request(8);
    more.previous = map(&[("a", 2), ("b", 2)]);
    assert_eq!(placed(&fleet, &more), map(&[("a", 2), ("b", 2), ("c", 4)]));
}

#[test]
fn members_out_of_reach_keep_their_replicas_while_others_have_some_to_give() {
    let mut away = member("a", 50);
    away.health = Health::ControlLost;
    let mut fleet = fleet(&[("b", 10)]);
    fleet.set(away);
    let mut fewer = request(3);
    fewer.previous = map(&[("a", 3), ("b", 3)]);
    assert_eq!(placed(&fleet, &fewer), map(&[("a", 3)]));
    fewer.replicas = 2;
    assert_eq!(placed(&fleet, &fewer), map(&[("a", 2)]));
}

#[test]
fn a_steady_request_that_fits_only_by_moving_says_so() {
    let fleet = fleet(&[("a", 0), ("b", 10)]);
    let mut grown = request(6);
    grown.bounds = vec![Bounds { clusters: named(&["b"]), min: 6, max: None }];
    grown.previous = map(&[("a", 5)]);
    let refused = schedule(&fleet, &grown, 0).unwrap_err();
    assert_eq!(refused.as_str(), "FitsOnlyByMoving");
}

#[test]
fn a_kind_that_a_member_does_not_serve_rules_it_out() {
    let mut plain = member("a", 10);
    plain.kinds = Some(Arc::new(["v1/ConfigMap".to_owned()].into()));
    let mut wants = request(1);
    wants.kind = "apps/v1/Deployment".to_owned();
    let refused = schedule(&Fleet::new([plain]), &wants, 0).unwrap_err();
    assert_eq!(refused.to_string(), "no cluster is possible: KindNotServed 1 (a)");
}

#[test]
fn unknown_room_is_its_own_case() {
    let mut unknown = member("a", 0);
    unknown.room = Room::Unknown;
    let fleet = Fleet::new([unknown]);
    let refused = schedule(&fleet, &request(3), 0).unwrap_err();
    assert_eq!(refused.report().rejected[0].reason, Refusal::RoomUnknown);
    let mut weighted = request(3);
    weighted.mode = Mode::Divide(DivideBy::Weighted(Vec::new()));
    assert_eq!(placed(&fleet, &weighted), map(&[("a", 3)]));
}

#[test]
fn scaled_to_zero_the_object_stays_where_it_is() {
    let fleet = fleet(&[("a", 5), ("b", 5)]);
    let mut zero = request(0);
    assert_eq!(placed(&fleet, &zero), map(&[("a", 0), ("b", 0)]));
    zero.previous = map(&[("b", 3)]);
    assert_eq!(placed(&fleet, &zero), map(&[("b", 0)]));
}

#[test]
fn equal_members_win_the_odd_replica_equally_often() {
    let fleet = fleet(&[("a", 9), ("b", 9), ("c", 9), ("d", 9)]);
    let mut wins: BTreeMap<String, u32> = BTreeMap::new();
    for key in 0..4000 {
        let decision = schedule(&fleet, &request(1), key).unwrap();
        *wins.entry(decision.assignment.into_keys().next().unwrap()).or_default() += 1;
    }
    // Chi-square with three degrees of freedom; 16.27 is passed by chance once in a thousand.
    let chi: f64 = wins.values().map(|n| (f64::from(*n) - 1000.0).powi(2) / 1000.0).sum();
    assert!(wins.len() == 4 && chi < 16.27, "{wins:?}");
}

fn any_fleet() -> impl Strategy<Value = Vec<Member>> {
    let one = (0_u64..12, 0_u8..8, prop::bool::weighted(0.1), 0_u8..3).prop_map(
        |(room, health, cordoned, region)| {
            let mut member = member("x", room);
            member.health = match health {
                0 => Health::Lost,
                1 => Health::ControlLost,
                2 => Health::Recovering,
                _ => Health::Good,
            };
            member.cordoned = cordoned;
            member.region = format!("r{region}");
            member
        },
    );
    prop::collection::vec(one, 1..8).prop_map(|mut members| {
        for (at, member) in members.iter_mut().enumerate() {
            member.name = format!("m{at}");
        }
        members
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    let bounds = prop::option::of((0_u32..3, 0_u32..6));
    let history = prop::collection::btree_map(0_usize..8, 1_u32..5, 0..4);
    (0_u32..30, any::<bool>(), any::<bool>(), any::<bool>(), 0_u8..3, bounds, history).prop_map(
        |(replicas, weighted, partial, overflow, tiers, bounds, history)| {
            let mut request = request(replicas);
            request.partial = partial;
            if weighted {
                request.mode = Mode::Divide(DivideBy::Weighted(vec![
                    Weight { clusters: named(&["m0", "m3"]), weight: 5 },
                    Weight { clusters: Selection::default(), weight: 2 },
                ]));
            }
            if overflow {
                request.tier_mode = TierMode::Overflow;
            }
            let region =
                |r: &str| Selection { regions: vec![r.to_owned()], ..Selection::default() };
            request.tiers = match tiers {
                0 => Vec::new(),
                1 => vec![region("r0"), region("r1")],
                _ => vec![region("r2"), Selection::default()],
            };
            if let Some((min, more)) = bounds {
                request.bounds =
                    vec![Bounds { clusters: Selection::default(), min, max: Some(min + more) }];
            }
            request.previous =
                history.into_iter().map(|(at, count)| (format!("m{at}"), count)).collect();
            request
        },
    )
}

/// History as a past decision could have left it: within bounds, on members that exist.
fn tidy(fleet: &Fleet, request: &mut Request) {
    let bounds = request.bounds.clone();
    request.previous.retain(|name, count| {
        let Some(member) = fleet.get(name) else {
            return false;
        };
        for entry in bounds.iter().filter(|entry| entry.clusters.admits(member)) {
            *count = (*count).max(entry.min).min(entry.max.unwrap_or(u32::MAX));
        }
        *count > 0
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_decision_passes_the_independent_checker(
        members in any_fleet(), mut request in any_request(), steady in any::<bool>(), key in any::<u64>(),
    ) {
        let fleet = Fleet::new(members);
        tidy(&fleet, &mut request);
        request.steady = steady;
        if let Ok(decision) = schedule(&fleet, &request, key) {
            prop_assert_eq!(checker::check(&fleet, &request, &decision), vec![], "{:?}", decision);
        }
    }

    #[test]
    fn the_result_fed_back_as_history_is_unchanged(
        members in any_fleet(), mut request in any_request(), key in any::<u64>(),
    ) {
        let mut fleet = Fleet::new(members);
        tidy(&fleet, &mut request);
        if let Ok(first) = schedule(&fleet, &request, key) {
            let added: Vec<(String, u32)> = first.assignment.iter().map(|(name, count)| {
                (name.clone(), count.saturating_sub(request.previous.get(name).copied().unwrap_or(0)))
            }).collect();
            for (name, more) in added {
                fleet.reserve(&name, &request.needs, more);
            }
            request.previous = first.assignment.clone();
            let again = schedule(&fleet, &request, key.wrapping_add(1)).unwrap();
            prop_assert_eq!(first.assignment, again.assignment);
        }
    }

    #[test]
    fn steady_scaling_up_only_adds_and_down_only_removes(
        members in any_fleet(), mut request in any_request(), key in any::<u64>(),
    ) {
        let fleet = Fleet::new(members);
        tidy(&fleet, &mut request);
        let held: u32 = request.previous.values().sum();
        if let Ok(decision) = schedule(&fleet, &request, key) {
            for (name, before) in &request.previous {
                let after = decision.assignment.get(name).copied().unwrap_or(0);
                if request.replicas >= held {
                    prop_assert!(after >= *before, "{} had {}, has {}", name, before, after);
                } else {
                    prop_assert!(after <= *before);
                }
            }
        }
    }

    #[test]
    fn losing_a_member_moves_exactly_its_replicas(
        members in any_fleet(), mut request in any_request(), key in any::<u64>(),
    ) {
        let fleet = Fleet::new(members);
        tidy(&fleet, &mut request);
        request.replicas = request.previous.values().sum();
        let Some((lost, _)) = request.previous.pop_first() else { return Ok(()) };
        request.leaving = vec![lost];
        if let Ok(decision) = schedule(&fleet, &request, key) {
            for (name, before) in &request.previous {
                prop_assert!(decision.assignment.get(name).copied().unwrap_or(0) >= *before);
            }
        }
    }

    #[test]
    fn a_joining_member_moves_nothing_that_is_steady(
        members in any_fleet(), mut request in any_request(), key in any::<u64>(),
    ) {
        let mut fleet = Fleet::new(members);
        tidy(&fleet, &mut request);
        request.replicas = request.previous.values().sum();
        fleet.set(member("new", 50));
        if let Ok(decision) = schedule(&fleet, &request, key) && request.replicas > 0 {
            prop_assert_eq!(decision.assignment, request.previous);
        }
    }

    #[test]
    fn the_order_of_members_and_their_names_never_matter_to_the_counts(
        members in any_fleet(), mut request in any_request(), key in any::<u64>(),
    ) {
        let fleet = Fleet::new(members.clone());
        tidy(&fleet, &mut request);
        let reversed = Fleet::new(members.into_iter().rev());
        prop_assert_eq!(schedule(&fleet, &request, key), schedule(&reversed, &request, key));
    }

    #[test]
    fn history_does_not_count_without_steady(
        rooms in prop::collection::vec(1_u64..12, 1..6), replicas in 1_u32..20, key in any::<u64>(),
    ) {
        let names: Vec<String> = (0..rooms.len()).map(|at| format!("m{at}")).collect();
        let mut fleet = Fleet::new(names.iter().zip(&rooms).map(|(n, room)| member(n, *room)));
        let mut fresh = request(replicas);
        fresh.steady = false;
        if let Ok(first) = schedule(&fleet, &fresh, key) {
            for (name, count) in &first.assignment {
                fleet.reserve(name, &fresh.needs, *count);
            }
            fresh.previous = first.assignment.clone();
            prop_assert_eq!(schedule(&fleet, &fresh, key).unwrap().assignment, first.assignment);
        }
    }
}
