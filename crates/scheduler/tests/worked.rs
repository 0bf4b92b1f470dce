//! Worked placements: small fleets, one rule each.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use hanse_scheduler::{
    Assignment, Bounds, DivideBy, Elastic, Enforce, Fleet, Health, Ledger, Loss, Losses, Member,
    Mode, NodeShape, Note, Others, PodNeeds, Refusal, Request, Resources, Room, Rules, Selection,
    Spare, Spread, Standby, Survive, Taint, TaintEffect, TierMode, Topology, Turn, Weight, checker,
    schedule,
};

fn member(name: &str, room: u64) -> Member {
    let free = Resources { cpu_milli: 1000, memory_bytes: 1 << 30, ..Resources::default() };
    let (provider, region) = name.split_once('-').unwrap_or((name, "r"));
    Member {
        name: name.into(),
        provider: provider.into(),
        region: format!("{provider}-{region}").into(),
        room: Room::nodes(vec![NodeShape {
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
    let request = Resources { cpu_milli: 1000, ..Resources::default() };
    Request {
        replicas,
        needs: Arc::new(PodNeeds { request, ..PodNeeds::default() }),
        ..Request::default()
    }
}

fn rules(request: &mut Request) -> &mut Rules {
    Arc::make_mut(&mut request.rules)
}

fn named(names: &[&str]) -> Selection {
    Selection {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Selection::default()
    }
}

fn map(counts: &[(&str, u32)]) -> Assignment {
    counts.iter().copied().collect()
}

fn placed(fleet: &Fleet, request: &Request) -> Assignment {
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
    weighted.mode = Mode::Divide(DivideBy::Weighted(Arc::new(vec![
        Weight { clusters: named(&["a"]), weight: 6 },
        Weight { clusters: named(&["b", "c"]), weight: 1 },
    ])));
    assert_eq!(placed(&fleet, &weighted), map(&[("a", 2), ("b", 3), ("c", 3)]));
}

#[test]
fn a_member_without_weight_is_ruled_out_with_that_reason() {
    let fleet = fleet(&[("a", 20), ("b", 20)]);
    let mut weighted = request(4);
    weighted.mode = Mode::Divide(DivideBy::Weighted(Arc::new(vec![Weight {
        clusters: named(&["a"]),
        weight: 1,
    }])));
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
    assert_eq!(refused.why.as_str(), "NoRoom");
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
    assert_eq!(
        refused.to_string(),
        "4 replicas are not placed: the possible clusters have too little room"
    );
    assert_eq!(refused.report.in_words(), "Lost 1 (c); Cordoned 1 (d)");
    assert_eq!(refused.shortfall.missing.cpu_milli, 4000);
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
    rules(&mut tiers).tiers = vec![named(&["a"]), named(&["b", "c"])];
    assert_eq!(placed(&fleet, &tiers).get("a"), None);
    tiers.replicas = 3;
    assert_eq!(placed(&fleet, &tiers), map(&[("a", 3)]));
}

#[test]
fn overflow_fills_one_tier_before_the_next() {
    let fleet = fleet(&[("a", 3), ("b", 8), ("c", 8)]);
    let mut tiers = request(5);
    rules(&mut tiers).tier_mode = TierMode::Overflow;
    rules(&mut tiers).tiers = vec![named(&["a"]), named(&["b"]), named(&["c"])];
    assert_eq!(placed(&fleet, &tiers), map(&[("a", 3), ("b", 2)]));
}

#[test]
fn steady_overflow_gives_back_the_last_tier_first() {
    let fleet = fleet(&[("a", 3), ("b", 8)]);
    let mut tiers = request(4);
    rules(&mut tiers).tier_mode = TierMode::Overflow;
    rules(&mut tiers).tiers = vec![named(&["a"]), named(&["b"])];
    tiers.previous = map(&[("a", 3), ("b", 3)]);
    assert_eq!(placed(&fleet, &tiers), map(&[("a", 3), ("b", 1)]));
}

#[test]
fn steady_keeps_replicas_in_a_later_tier_when_an_earlier_one_frees() {
    let fleet = fleet(&[("a", 10), ("b", 8)]);
    let mut tiers = request(5);
    rules(&mut tiers).tiers = vec![named(&["a"]), named(&["b"])];
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
    rules(&mut grown).bounds = vec![Bounds { clusters: named(&["b"]), min: 6, max: None }];
    grown.previous = map(&[("a", 5)]);
    let refused = schedule(&fleet, &grown, 0).unwrap_err();
    assert_eq!(refused.why.as_str(), "FitsOnlyByMoving");
}

#[test]
fn a_kind_that_a_member_does_not_serve_rules_it_out() {
    let mut plain = member("a", 10);
    plain.kinds = Some(Arc::new(["v1/ConfigMap".to_owned()].into()));
    let mut wants = request(1);
    wants.kind = "apps/v1/Deployment".into();
    let refused = schedule(&Fleet::new([plain]), &wants, 0).unwrap_err();
    assert_eq!(refused.why.as_str(), "NoClusterFits");
    assert_eq!(refused.report.in_words(), "KindNotServed 1 (a)");
}

#[test]
fn unknown_room_is_its_own_case() {
    let mut unknown = member("a", 0);
    unknown.room = Room::Unknown;
    let fleet = Fleet::new([unknown]);
    let refused = schedule(&fleet, &request(3), 0).unwrap_err();
    assert_eq!(refused.report.rejected[0].reason, Refusal::RoomUnknown);
    let mut weighted = request(3);
    weighted.mode = Mode::Divide(DivideBy::Weighted(Arc::default()));
    assert_eq!(placed(&fleet, &weighted), map(&[("a", 3)]));
}

#[test]
fn unknown_room_attracts_nothing_that_fits_where_room_is_known() {
    let mut unknown = member("a", 0);
    unknown.room = Room::Unknown;
    unknown.region = "r1".into();
    let known = |name: &str, room| Member { region: "r2".into(), ..member(name, room) };
    let fleet = Fleet::new([unknown, known("b", 3), known("c", 9)]);
    let mut whole = request(5);
    whole.mode = Mode::Whole;
    assert_eq!(placed(&fleet, &whole), map(&[("c", 5)]));
    whole.replicas = 12;
    assert_eq!(placed(&fleet, &whole), map(&[("a", 12)]), "nobody knows that it does not fit");
    let one = |key| vec![Spread { key, min: 1, max: Some(1) }];
    let mut copies = request(2);
    copies.mode = Mode::Duplicate;
    copies.rules = Arc::new(Rules { spread: one(Topology::Cluster), ..Rules::default() });
    assert_eq!(placed(&fleet, &copies), map(&[("c", 2)]));
    let mut weighted = request(4);
    weighted.mode = Mode::Divide(DivideBy::Weighted(Arc::default()));
    weighted.rules = Arc::new(Rules { spread: one(Topology::Region), ..Rules::default() });
    assert_eq!(placed(&fleet, &weighted), map(&[("b", 2), ("c", 2)]));
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
    let mut wins: std::collections::BTreeMap<String, u32> = std::collections::BTreeMap::new();
    for key in 0..4000 {
        let decision = schedule(&fleet, &request(1), key).unwrap();
        *wins.entry(decision.assignment.iter().next().unwrap().0.to_string()).or_default() += 1;
    }
    // Chi-square with three degrees of freedom; 16.27 is passed by chance once in a thousand.
    let chi: f64 = wins.values().map(|n| (f64::from(*n) - 1000.0).powi(2) / 1000.0).sum();
    assert!(wins.len() == 4 && chi < 16.27, "{wins:?}");
}

#[test]
fn a_spread_takes_the_regions_that_can_hold_the_replicas_and_one_member_in_each() {
    let fleet = fleet(&[("a-1", 9), ("a-2", 8), ("b-1", 5), ("c-1", 4), ("d-1", 1)]);
    let mut wide = request(12);
    rules(&mut wide).spread = vec![
        Spread { key: Topology::Provider, min: 3, max: Some(3) },
        Spread { key: Topology::Cluster, min: 1, max: Some(3) },
    ];
    let counts = placed(&fleet, &wide);
    assert_eq!(counts.iter().map(|(n, _)| n.as_ref()).collect::<Vec<_>>(), ["a-1", "b-1", "c-1"]);
}

#[test]
fn a_spread_looks_at_what_the_clusters_it_may_use_can_hold() {
    let mut rooms: Vec<(String, u64)> = vec![("a-0".into(), 60), ("b-0".into(), 60)];
    rooms.extend((0..20).map(|n| (format!("{}-{n}", if n < 10 { "c" } else { "d" }), 10)));
    let fleet = Fleet::new(rooms.iter().map(|(name, room)| member(name, *room)));
    let mut tight = request(100);
    rules(&mut tight).spread = vec![
        Spread { key: Topology::Provider, min: 2, max: Some(2) },
        Spread { key: Topology::Cluster, min: 2, max: Some(2) },
    ];
    assert_eq!(placed(&fleet, &tight), map(&[("a-0", 50), ("b-0", 50)]));
}

#[test]
fn too_few_domains_are_named_with_the_key() {
    let fleet = fleet(&[("a-1", 9), ("a-2", 8)]);
    let mut wide = request(4);
    rules(&mut wide).spread = vec![Spread { key: Topology::Provider, min: 2, max: None }];
    let refused = schedule(&fleet, &wide, 0).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "4 replicas are not placed: spread over provider wants 2 domains, and 1 can hold replicas"
    );
    wide.replicas = 1;
    assert_eq!(placed(&fleet, &wide).total(), 1, "one replica cannot stand in two domains");
}

#[test]
fn a_spread_that_history_breaks_wins_and_says_what_it_displaces() {
    let fleet = fleet(&[("a-1", 9), ("b-1", 9)]);
    let mut kept = request(4);
    rules(&mut kept).spread = vec![Spread { key: Topology::Provider, min: 2, max: None }];
    kept.previous = map(&[("a-1", 4)]);
    let decision = schedule(&fleet, &kept, 0).unwrap();
    assert_eq!(decision.assignment, map(&[("a-1", 3), ("b-1", 1)]));
    assert_eq!(decision.notes, [Note::Displaced(1)]);
}

#[test]
fn pack_fills_members_to_the_brim_and_uses_no_more_than_it_needs() {
    let fleet = fleet(&[("a", 4), ("b", 7), ("c", 2)]);
    let mut packed = request(9);
    packed.mode = Mode::Divide(DivideBy::Pack);
    assert_eq!(placed(&fleet, &packed), map(&[("a", 2), ("b", 7)]));
    rules(&mut packed).bounds = vec![Bounds { clusters: named(&["a"]), min: 4, max: None }];
    assert_eq!(placed(&fleet, &packed), map(&[("a", 4), ("b", 5)]));
}

#[test]
fn counts_that_only_one_combination_reaches_are_found() {
    let fleet = fleet(&[("a", 9), ("b", 9), ("c", 9)]);
    let mut odd = request(8);
    rules(&mut odd).bounds = vec![
        Bounds { clusters: named(&["a"]), min: 7, max: Some(7) },
        Bounds { clusters: named(&["b"]), min: 5, max: Some(5) },
        Bounds { clusters: named(&["c"]), min: 3, max: Some(3) },
    ];
    assert_eq!(placed(&fleet, &odd), map(&[("b", 5), ("c", 3)]));
    odd.replicas = 9;
    assert_eq!(schedule(&fleet, &odd, 0).unwrap_err().why.as_str(), "BoundsUnsatisfiable");
}

#[test]
fn elastic_room_is_used_after_ready_room_and_said_to_be() {
    let mut grows = member("a", 2);
    let Room::Nodes(nodes) = &mut grows.room else { unreachable!("it has nodes") };
    Arc::make_mut(nodes).elastic = Some(Elastic {
        resources: Resources { cpu_milli: 4000, ..Resources::default() },
        pods: 10,
    });
    let fleet = Fleet::new([grows, member("b", 3)]);
    assert_eq!(placed(&fleet, &request(5)), map(&[("a", 2), ("b", 3)]));
    let decision = schedule(&fleet, &request(8), 0).unwrap();
    assert_eq!(decision.assignment, map(&[("a", 5), ("b", 3)]));
    assert_eq!(decision.notes, [Note::Elastic(3)]);
}

#[test]
fn near_and_away_rule_members_out() {
    let fleet = fleet(&[("a", 9), ("b", 9), ("c", 9)]);
    let mut picky = request(2);
    let near = Some(vec!["a".into(), "b".into()]);
    picky.others = Some(Arc::new(Others { near, away: vec!["a".into()] }));
    assert_eq!(placed(&fleet, &picky), map(&[("b", 2)]));
    let report = schedule(&fleet, &picky, 0).unwrap().report;
    assert_eq!(report.in_words(), "NotNear 1 (c); NotAway 1 (a)");
}

#[test]
fn a_tenant_has_its_clusters_and_its_quota() {
    let fleet = fleet(&[("a", 9), ("b", 9)]);
    let mut bounded = request(5);
    rules(&mut bounded).tenant = Some(named(&["b"]));
    assert_eq!(placed(&fleet, &bounded), map(&[("b", 5)]));
    bounded.quota = Some(4);
    let refused = schedule(&fleet, &bounded, 0).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "1 replicas are not placed: the tenant's quota leaves room for 4 replicas"
    );
    bounded.partial = true;
    assert_eq!(placed(&fleet, &bounded), map(&[("b", 4)]));
}

fn survive(standby: Standby, enforce: Enforce, min_percent: u32) -> Survive {
    Survive { domain: Topology::Provider, min_percent, standby, enforce }
}

#[test]
fn running_standby_keeps_enough_replicas_outside_any_one_domain() {
    let fleet = fleet(&[("a-1", 30), ("b-1", 6), ("c-1", 6)]);
    let mut safe = request(12);
    rules(&mut safe).survive = Some(survive(Standby::Running, Enforce::Require, 60));
    let counts = placed(&fleet, &safe);
    assert!(counts.iter().all(|(_, count)| count <= 4), "{counts:?}");
    rules(&mut safe).survive = Some(survive(Standby::Running, Enforce::Require, 90));
    let refused = schedule(&fleet, &safe, 0).unwrap_err();
    assert_eq!(refused.why.as_str(), "WouldNotSurvive");
}

#[test]
fn spare_standby_wants_room_elsewhere() {
    let fleet = fleet(&[("a-1", 10), ("b-1", 5)]);
    let mut safe = request(6);
    rules(&mut safe).survive = Some(survive(Standby::Spare, Enforce::Warn, 100));
    // a holds 4 and b 2; when a is lost, b has room for 3 of its 4.
    let decision = schedule(&fleet, &safe, 0).unwrap();
    assert_eq!(decision.assignment, map(&[("a-1", 4), ("b-1", 2)]));
    assert_eq!(decision.notes, [Note::WouldNotSurvive("a".into(), 1)]);
    safe.replicas = 5;
    assert_eq!(schedule(&fleet, &safe, 0).unwrap().notes, []);
}

#[test]
fn the_largest_weights_and_a_million_replicas_add_up() {
    let members = (0..500).map(|at| Member { room: Room::Unknown, ..member(&format!("m{at}"), 0) });
    let fleet = Fleet::new(members);
    let mut huge = request(1_000_000);
    let weight = (1 << 31) - 1;
    huge.mode = Mode::Divide(DivideBy::Weighted(Arc::new(vec![
        Weight { clusters: named(&["m0"]), weight: 1 },
        Weight { clusters: Selection::default(), weight },
    ])));
    let counts = placed(&fleet, &huge);
    assert_eq!(counts.total(), 1_000_000);
    let shares: std::collections::BTreeSet<u32> = counts.iter().map(|(_, count)| count).collect();
    assert!(shares.iter().all(|share| [2004, 2005].contains(share)), "{shares:?}");
}

/// With pods of one size room is a number, so that what a loss leaves without a place can be
/// counted without placing anything.
#[test]
fn a_ledger_promises_the_same_spare_room_once() {
    for seed in 0..500_u64 {
        let roll = |at: u64, most: u64| {
            let mixed = (seed * 31 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed >> 33) % (most + 1)
        };
        let names = ["a-1", "a-2", "b-1", "c-1", "c-2"];
        let free = |at: usize| roll(at as u64, 6);
        let rooms: Vec<(&str, u64)> =
            names.iter().enumerate().map(|(at, name)| (*name, free(at))).collect();
        let fleet = fleet(&rooms);
        let mut ledger = Ledger::new(Topology::Provider);
        let (mut missing, mut lost) = (0, 0);
        for work in 0..4_u64 {
            let counts = names.iter().enumerate();
            let placed: Assignment = counts
                .map(|(at, name)| {
                    (*name, u32::try_from(roll(10 + work * 7 + at as u64, 3)).unwrap())
                })
                .collect();
            let total = u32::try_from(placed.total()).unwrap();
            lost += placed.of("a-1") + placed.of("a-2");
            missing += ledger.lose(&fleet, "a", &request(total), &placed, work);
        }
        let outside: u64 = (2..5).map(free).sum();
        let expected = u64::from(lost).saturating_sub(outside);
        assert_eq!(u64::from(missing), expected, "seed {seed}");
    }
}

#[test]
fn the_same_spare_room_is_not_promised_twice() {
    // Six of eight places are taken by the first and second workload; the loss of any member
    // leaves two free places beside the lost one.
    let mut fleet = fleet(&[("a", 4), ("b", 4), ("c", 4)]);
    let mut asked = request(6);
    rules(&mut asked).survive = Some(survive(Standby::Spare, Enforce::Warn, 100));
    let first = schedule(&fleet, &asked, 1).unwrap();
    assert_eq!(first.notes, []);
    for (name, count) in first.assignment.iter() {
        fleet.reserve(name, &asked.needs, count);
    }
    let mut losses = Losses::new(Topology::Provider);
    let placed = first.assignment.clone();
    losses.note(&fleet, Loss { turn: Turn::new(0, 1, 1), request: Arc::new(asked), placed });
    let mut asked = request(3);
    rules(&mut asked).survive = Some(survive(Standby::Spare, Enforce::Warn, 100));
    // Three more leave one free place in each member: the two outside are promised to the first.
    let alone = schedule(&fleet, &asked, 2).unwrap();
    assert_eq!(alone.notes, []);
    let spare = |importance| Spare::new(Turn::new(importance, 2, 2), Arc::new(losses.clone()));
    asked.spare = Some(Arc::new(spare(1)));
    assert_eq!(schedule(&fleet, &asked, 2).unwrap().notes, [], "it is more important");
    asked.spare = Some(Arc::new(spare(0)));
    let beside = schedule(&fleet, &asked, 2).unwrap();
    assert!(matches!(beside.notes[..], [Note::WouldNotSurvive(_, 1)]), "{:?}", beside.notes);
}

#[test]
fn copies_that_a_spread_has_to_thin_out_stay_where_they_run() {
    let fleet = fleet(&[("a-1", 9), ("b-1", 9), ("b-2", 9), ("b-3", 9)]);
    let mut copies = request(3);
    copies.mode = Mode::Duplicate;
    let spread = |key, count| Spread { key, min: count, max: Some(count) };
    rules(&mut copies).spread = vec![spread(Topology::Provider, 2), spread(Topology::Cluster, 2)];
    for held in [["b-1", "b-2"], ["b-2", "b-3"], ["b-1", "b-3"]] {
        copies.previous = map(&held.map(|name| (name, 3)));
        let placed = placed(&fleet, &copies);
        assert_eq!((placed.len(), placed.of("a-1")), (2, 3));
        assert!(held.iter().any(|name| placed.contains(name)), "{held:?} {placed:?}");
    }
}

#[test]
fn in_a_crowded_domain_what_was_promised_at_last_counts() {
    let many = u64::try_from(Losses::MOST).unwrap() + 1;
    let fleet = fleet(&[("a", 0), ("b", many)]);
    let mut asked = request(1);
    rules(&mut asked).survive = Some(survive(Standby::Spare, Enforce::Warn, 100));
    let mut losses = Losses::new(Topology::Provider);
    let mut ledger = Ledger::new(Topology::Provider);
    for id in 0..many {
        assert!(!losses.is_crowded());
        let loss = Loss {
            turn: Turn::new(0, 0, id),
            request: Arc::new(asked.clone()),
            placed: map(&[("a", 1)]),
        };
        assert_eq!(ledger.promise(&fleet, &loss.request, &loss.placed, id), 0);
        losses.note(&fleet, loss);
    }
    assert!(losses.is_crowded());
    let losses = Arc::new(losses);
    let mut said = |id: u64| {
        let mut spare = Spare::new(Turn::new(0, 0, id), Arc::clone(&losses));
        ledger.fill(&mut spare);
        asked.spare = Some(Arc::new(spare));
        asked.previous = map(&[("a", 1)]);
        schedule(&fleet, &asked, id).unwrap().notes.len()
    };
    assert_eq!((said(3), said(many)), (0, 1), "one is known, the other comes on top");
}

#[test]
fn with_given_weights_the_heaviest_clusters_are_chosen() {
    let fleet = fleet(&[("a", 9), ("b", 20), ("c", 30), ("d", 40)]);
    let mut asked = request(8);
    let weight = |name: &str, weight| Weight { clusters: named(&[name]), weight };
    asked.mode = Mode::Divide(DivideBy::Weighted(Arc::new(vec![
        weight("a", 6),
        weight("b", 2),
        weight("c", 1),
        weight("d", 1),
    ])));
    rules(&mut asked).spread = vec![Spread { key: Topology::Cluster, min: 1, max: Some(2) }];
    assert_eq!(placed(&fleet, &asked), map(&[("a", 6), ("b", 2)]));
    // Where the heaviest cannot hold everything, others do.
    asked.replicas = 45;
    assert_eq!(placed(&fleet, &asked).total(), 45);
    asked.replicas = 8;
    // What runs stays.
    asked.previous = map(&[("c", 2)]);
    assert_eq!(placed(&fleet, &asked), map(&[("a", 6), ("c", 2)]));
    // The same over domains.
    asked.previous = Assignment::default();
    rules(&mut asked).spread = vec![Spread { key: Topology::Provider, min: 1, max: Some(1) }];
    assert_eq!(placed(&fleet, &asked), map(&[("a", 8)]));
    // Without weights room decides.
    asked.mode = Mode::Divide(DivideBy::Weighted(Arc::default()));
    assert_eq!(placed(&fleet, &asked), map(&[("d", 8)]));
}

#[test]
fn a_copy_goes_to_the_first_tier_that_takes_one() {
    let fleet = fleet(&[("a", 2), ("b", 5), ("c", 5), ("d", 5)]);
    let mut copies = request(3);
    copies.mode = Mode::Duplicate;
    rules(&mut copies).tiers = vec![named(&["a"]), named(&["b", "c"]), named(&["d"])];
    let decision = schedule(&fleet, &copies, 7).unwrap();
    assert_eq!(decision.assignment, map(&[("b", 3), ("c", 3)]));
    assert_eq!(decision.notes, [Note::LaterTier(1)]);
    // An earlier tier that has room again takes nothing from where the copies run.
    copies.replicas = 2;
    copies.previous = map(&[("b", 3), ("c", 3)]);
    assert_eq!(placed(&fleet, &copies), map(&[("b", 2), ("c", 2)]));
    rules(&mut copies).steady = false;
    assert_eq!(placed(&fleet, &copies), map(&[("a", 2)]));
    // A copy does not flow over, unless the spread asks for more.
    copies.previous = Assignment::default();
    rules(&mut copies).tier_mode = TierMode::Overflow;
    assert_eq!(placed(&fleet, &copies), map(&[("a", 2)]));
    rules(&mut copies).spread = vec![Spread { key: Topology::Cluster, min: 3, max: None }];
    assert_eq!(placed(&fleet, &copies), map(&[("a", 2), ("b", 2), ("c", 2)]));
    copies.replicas = 6;
    assert!(schedule(&fleet, &copies, 7).is_err());
}

#[test]
fn among_equal_members_the_nearer_to_the_other_replicas_comes_first() {
    let at = |name: &str, zone: &str, rooms: u64| {
        let place = member(name, rooms);
        Member { zone: zone.into(), region: name.split('/').next().unwrap().into(), ..place }
    };
    // One member is full; all others have the same room.
    let all = [
        at("x-1/full", "a", 0),
        at("x-1/same-zone", "a", 4),
        at("x-1/same-region", "b", 4),
        at("x-2/same-provider", "a", 4),
        at("y-1/elsewhere", "a", 4),
    ];
    let fleet = Fleet::new(all.clone());
    let mut packed = request(4 + 4);
    packed.mode = Mode::Divide(DivideBy::Pack);
    packed.previous = map(&[("x-1/full", 4)]);
    let second = |fleet: &Fleet, key: u64| {
        let placed = schedule(fleet, &packed, key).unwrap().assignment;
        let new = placed.iter().find(|(name, _)| ***name != *"x-1/full");
        new.map(|(name, _)| name.to_string()).unwrap()
    };
    let nearest = ["x-1/same-zone", "x-1/same-region", "x-2/same-provider", "y-1/elsewhere"];
    for (gone, expected) in nearest.iter().enumerate() {
        let left = fleet.without(|member| nearest[..gone].contains(&&*member.name));
        for key in 0..32 {
            assert_eq!(second(&left, key), *expected);
        }
    }
    // A fresh request gathers around its first member, whichever that is.
    packed.previous = Assignment::default();
    let fleet = Fleet::new(["x-1", "x-2", "y-1", "y-2", "z-1", "z-2"].map(|name| member(name, 4)));
    let mut seen = std::collections::BTreeSet::new();
    for key in 0..64 {
        let placed = schedule(&fleet, &packed, key).unwrap().assignment;
        let providers: std::collections::BTreeSet<String> =
            placed.iter().map(|(name, _)| name.chars().take(1).collect()).collect();
        assert_eq!(providers.len(), 1, "{placed:?}");
        seen.extend(providers);
    }
    assert_eq!(seen.len(), 3, "no provider is preferred for itself");
}
