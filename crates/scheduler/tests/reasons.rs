//! Every reason that a decision can give is given by some placement here. A new one does not
//! compile until it stands in the lists below.

use std::{collections::BTreeSet, sync::Arc};

use hanse_scheduler::{
    Assignment, Bounds, Cause, DivideBy, Elastic, Enforce, Fleet, Health, Member, Mode, NodeShape,
    Note, Others, PodNeeds, Refusal, Request, Resources, Room, Rules, Selection, Spread, Standby,
    Survive, Taint, TaintEffect, TierMode, Topology, Weight, schedule,
};

fn member(name: &str, room: u64) -> Member {
    let free = Resources { cpu_milli: 1000, ..Resources::default() };
    let shape = NodeShape { nodes: room, free, free_pods: 10, ..NodeShape::default() };
    let room = Room::nodes(vec![shape]);
    Member { name: name.into(), region: format!("{name}-r").into(), room, ..Member::default() }
}

/// One replica fills one node.
fn request(replicas: u32) -> Request {
    let request = Resources { cpu_milli: 1000, ..Resources::default() };
    let needs = Arc::new(PodNeeds { request, ..PodNeeds::default() });
    Request { replicas, needs, kind: "apps/v1/Deployment".into(), ..Request::default() }
}

fn ruled(replicas: u32, rules: Rules) -> Request {
    Request { rules: Arc::new(rules), ..request(replicas) }
}

fn named(name: &str) -> Selection {
    Selection { names: vec![name.to_owned()], ..Selection::default() }
}

fn spread(key: Topology, min: u32) -> Vec<Spread> {
    vec![Spread { key, min, max: Some(min.max(1)) }]
}

fn held(counts: &[(&str, u32)]) -> Assignment {
    counts.iter().copied().collect()
}

/// A fleet of `a`, changed, and an untouched `b`, with a request for one replica.
fn refused(refusal: Refusal) -> (Fleet, Request) {
    let mut a = member("a", 5);
    let mut asked = request(1);
    let rules = Arc::make_mut(&mut asked.rules);
    match refusal {
        Refusal::NotInTenant => rules.tenant = Some(named("b")),
        Refusal::NotSelected => rules.tiers = vec![named("b")],
        Refusal::NotJoined => a.health = Health::NotJoined,
        Refusal::ControlLost => a.health = Health::ControlLost,
        Refusal::DataLost => a.health = Health::DataLost,
        Refusal::Lost => a.health = Health::Lost,
        Refusal::Recovering => a.health = Health::Recovering,
        Refusal::Cordoned => a.cordoned = true,
        Refusal::Tainted => a.taints.push(Taint {
            key: "gpu".to_owned(),
            value: String::new(),
            effect: TaintEffect::NoSchedule,
        }),
        Refusal::KindNotServed => a.kinds = Some(Arc::default()),
        Refusal::NoWeight => {
            let weights = vec![Weight { clusters: named("b"), weight: 1 }];
            asked.mode = Mode::Divide(DivideBy::Weighted(Arc::new(weights)));
        }
        Refusal::NoDomain => {
            a.region = "".into();
            rules.spread = spread(Topology::Region, 1);
        }
        Refusal::MovingAway => asked.leaving = vec!["a".into()],
        Refusal::NotNear => {
            let near = Some(vec!["b".into()]);
            asked.others = Some(Arc::new(Others { near, away: Vec::new() }));
        }
        Refusal::NotAway => {
            asked.others = Some(Arc::new(Others { near: None, away: vec!["a".into()] }));
        }
        Refusal::RoomUnknown => a.room = Room::Unknown,
        Refusal::NoRoom => a = member("a", 0),
    }
    (Fleet::new([a, member("b", 5)]), asked)
}

#[test]
fn every_member_that_is_ruled_out_is_counted_under_its_reason() {
    let all = [
        Refusal::NotInTenant,
        Refusal::NotSelected,
        Refusal::NotJoined,
        Refusal::ControlLost,
        Refusal::DataLost,
        Refusal::Lost,
        Refusal::Recovering,
        Refusal::Cordoned,
        Refusal::Tainted,
        Refusal::KindNotServed,
        Refusal::NoWeight,
        Refusal::NoDomain,
        Refusal::MovingAway,
        Refusal::NotNear,
        Refusal::NotAway,
        Refusal::RoomUnknown,
        Refusal::NoRoom,
    ];
    for refusal in all {
        let (fleet, asked) = refused(refusal);
        let decision = schedule(&fleet, &asked, 7).unwrap();
        assert_eq!(decision.assignment, held(&[("b", 1)]), "{refusal:?}");
        let told: Vec<_> = decision.report.rejected.iter().map(|r| (r.reason, r.count)).collect();
        assert_eq!(told, [(refusal, 1)]);
        assert_eq!(&*decision.report.rejected[0].examples[0], "a");
    }
    let names: BTreeSet<&str> = all.iter().map(|refusal| refusal.as_str()).collect();
    assert_eq!(names.len(), all.len(), "each has a name of its own");
}

fn survive(enforce: Enforce) -> Survive {
    let (domain, standby) = (Topology::Cluster, Standby::Spare);
    Survive { domain, min_percent: 100, standby, enforce }
}

/// A placement that fails for this cause.
fn failing(cause: &Cause) -> (Fleet, Request) {
    let two = |a, b| Fleet::new([member("a", a), member("b", b)]);
    match cause {
        Cause::NoClusterFits => (two(0, 0), request(1)),
        Cause::NoRoom => (two(1, 1), request(3)),
        Cause::BoundsUnsatisfiable => {
            let bounds = Bounds { min: 3, max: Some(3), ..Bounds::default() };
            (two(5, 5), ruled(4, Rules { bounds: vec![bounds], ..Rules::default() }))
        }
        Cause::TooFewDomains { .. } => {
            (two(5, 5), ruled(4, Rules { spread: spread(Topology::Region, 3), ..Rules::default() }))
        }
        Cause::SpreadUnsatisfiable => {
            (two(3, 3), ruled(5, Rules { spread: spread(Topology::Region, 1), ..Rules::default() }))
        }
        Cause::FitsOnlyByMoving => {
            // A StatefulSet stands in `a`, and only `b` could hold it whole.
            let previous = held(&[("a", 1)]);
            (two(0, 5), Request { mode: Mode::Whole, previous, ..request(3) })
        }
        Cause::TenantQuota(_) => (two(5, 5), Request { quota: Some(2), ..request(3) }),
        Cause::WouldNotSurvive { .. } => (
            two(2, 2),
            ruled(3, Rules { survive: Some(survive(Enforce::Require)), ..Rules::default() }),
        ),
    }
}

#[test]
fn every_cause_of_a_refusal_has_a_placement_that_fails_for_it() {
    let all = [
        Cause::NoClusterFits,
        Cause::NoRoom,
        Cause::BoundsUnsatisfiable,
        Cause::TooFewDomains { key: "region".to_owned(), need: 3, have: 2 },
        Cause::SpreadUnsatisfiable,
        Cause::FitsOnlyByMoving,
        Cause::TenantQuota(2),
        Cause::WouldNotSurvive { domain: "a".into(), missing: 1 },
    ];
    for cause in all {
        let (fleet, asked) = failing(&cause);
        let refusal = schedule(&fleet, &asked, 7).unwrap_err();
        match (&cause, &refusal.why) {
            (Cause::WouldNotSurvive { .. }, Cause::WouldNotSurvive { missing, .. }) => {
                assert!(*missing > 0);
            }
            (expected, found) => assert_eq!(found, expected),
        }
        assert!(refusal.to_string().ends_with(&refusal.why.to_string()));
    }
}

/// A placement that is made with this note.
fn noted(note: &Note) -> (Fleet, Request) {
    let two = |a, b| Fleet::new([member("a", a), member("b", b)]);
    match note {
        Note::Unchanged => (two(5, 5), Request { previous: held(&[("a", 2)]), ..request(2) }),
        Note::LaterTier(_) => {
            let tiers = vec![named("a"), named("b")];
            (two(1, 5), ruled(3, Rules { tiers, ..Rules::default() }))
        }
        Note::Displaced(_) => {
            let bounds = vec![Bounds { max: Some(1), ..Bounds::default() }];
            let rules = Rules { bounds, ..Rules::default() };
            (two(5, 5), Request { previous: held(&[("a", 2)]), ..ruled(2, rules) })
        }
        Note::Elastic(_) => {
            let mut a = member("a", 1);
            let Room::Nodes(nodes) = &mut a.room else { unreachable!("it has nodes") };
            let resources = Resources { cpu_milli: 9000, ..Resources::default() };
            Arc::make_mut(nodes).elastic = Some(Elastic { resources, pods: 9 });
            (Fleet::new([a]), request(3))
        }
        Note::SearchBounded => {
            // Two regions of each of twelve providers, most too small: more sets of providers than
            // are looked at.
            let members = (0..48_u64).map(|at| {
                let mut one = member(&format!("m{at:02}"), 1 + at % 7);
                one.provider = format!("p{}", at % 12).into();
                one.region = format!("p{}-r{}", at % 12, at % 24).into();
                one
            });
            let most = |key, min, max| Spread { key, min, max: Some(max) };
            let spread = vec![
                most(Topology::Provider, 2, 2),
                most(Topology::Region, 4, 4),
                most(Topology::Cluster, 4, 4),
            ];
            let rules = Rules { spread, tier_mode: TierMode::Fallback, ..Rules::default() };
            (Fleet::new(members), Request { partial: true, ..ruled(28, rules) })
        }
        Note::WouldNotSurvive(..) => (
            two(2, 2),
            ruled(3, Rules { survive: Some(survive(Enforce::Warn)), ..Rules::default() }),
        ),
    }
}

#[test]
fn every_note_has_a_placement_that_is_made_with_it() {
    let all = [
        Note::Unchanged,
        Note::LaterTier(1),
        Note::Displaced(1),
        Note::Elastic(2),
        Note::SearchBounded,
        Note::WouldNotSurvive("a".into(), 1),
    ];
    for note in all {
        let (fleet, asked) = noted(&note);
        let decision = schedule(&fleet, &asked, 7).unwrap();
        let found = decision.notes.iter().find(|found| found.as_str() == note.as_str());
        let found = found.unwrap_or_else(|| unreachable!("{note:?}: {:?}", decision.notes));
        if !matches!(note, Note::WouldNotSurvive(..)) {
            assert_eq!(*found, note);
        }
        assert!(!found.in_words().is_empty());
    }
}
