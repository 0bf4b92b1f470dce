//! Property 15: what is said of the loss of a domain is what happens when everything that stands
//! there is placed again without it, for fleets with several workloads.

use std::{collections::BTreeSet, sync::Arc};

use hanse_scheduler::{
    Assignment, DivideBy, Enforce, Fleet, Ledger, Loss, Losses, Member, Mode, NodeShape, Note,
    Planner, PodNeeds, Request, Resources, Room, Rules, Selection, Spare, Standby, Survive,
    Topology, Turn, Weight, schedule,
};

use crate::{cases::Dice, solver};

/// One workload and where it stands.
struct Placed {
    request: Request,
    at: Assignment,
    turn: Turn,
}

/// A small fleet, and the workloads that are placed in it, one after the other. Each decision says
/// yes exactly when everything finds a place again, whatever has happened since the last one.
pub(crate) fn check(seed: u64) {
    let mut dice = Dice(seed ^ 0x1515);
    let key = dice.pick(&[Topology::Region, Topology::Provider, Topology::Cluster]).clone();
    let mut fleet = fleet(&mut dice);
    let alike = dice.percent(50);
    let size = u64::from(dice.within(1, 4)) * 250;
    let mut all: Vec<Placed> = Vec::new();
    let mut losses = Losses::new(key.clone());
    let mut planner = Planner::default();
    for id in 0..u64::from(dice.within(2, 6)) {
        let mut one = if all.is_empty() || dice.percent(50) {
            let request = request(&mut dice, &fleet, &key, if alike { Some(size) } else { None });
            let turn = Turn::new(i32::try_from(dice.within(0, 1)).unwrap(), 0, id);
            Placed { request, at: Assignment::default(), turn }
        } else {
            let at = usize::try_from(dice.next() % all.len() as u64).unwrap();
            let mut known = all.swap_remove(at);
            known.request.replicas = match dice.within(0, 2) {
                0 => known.request.replicas,
                1 => dice.within(1, 12),
                _ => known.request.replicas + 1,
            };
            known
        };
        if !alike && dice.percent(20) {
            a_member_changes(&mut fleet, &mut dice);
        }
        one.request.previous = one.at.clone();
        let spare = Spare::new(one.turn, Arc::new(losses.clone()));
        let asked = Request { spare: Some(Arc::new(spare)), ..one.request.clone() };
        let decision = planner.schedule(&fleet, &asked, one.turn.id());
        if let Ok(decision) = &decision {
            for (name, count) in decision.assignment.iter() {
                fleet.reserve(name, &asked.needs, count.saturating_sub(one.at.of(name)));
            }
            one.at = decision.assignment.clone();
        }
        let turn = one.turn;
        let request = Arc::new(one.request.clone());
        losses.note(&fleet, Loss { turn, request, placed: one.at.clone() });
        all.push(one);
        all.sort_by_key(|one| one.turn);
        if let Ok(decision) = &decision {
            let missing = decision.notes.iter().find_map(|note| match note {
                Note::WouldNotSurvive(_, missing) => Some(*missing),
                _ => None,
            });
            let own = all.iter().position(|one| one.turn == turn).unwrap();
            assert_eq!(missing.unwrap_or(0), lacks(&fleet, &all, &key)[own], "{key:?} {fleet:?}");
        }
        whole_fleet(&fleet, &all, &key, alike);
    }
}

/// What members show of their room changes without a decision.
fn a_member_changes(fleet: &mut Fleet, dice: &mut Dice) {
    let names: Vec<_> = fleet.iter().map(|member| Arc::clone(&member.name)).collect();
    let name = Arc::clone(dice.pick(&names));
    let mut member = fleet.get(&name).unwrap().clone();
    if dice.percent(50) {
        member.room = room(dice);
    } else {
        member.cordoned = !member.cordoned;
    }
    fleet.set(member);
}

/// A ledger of everything says yes exactly when everything finds a place.
fn whole_fleet(fleet: &Fleet, all: &[Placed], key: &Topology, alike: bool) {
    let mut ledger = Ledger::new(key.clone());
    let mut missing = vec![0; all.len()];
    for (missing, one) in missing.iter_mut().zip(all) {
        *missing = ledger.promise(fleet, &one.request, &one.at, one.turn.id());
    }
    let expected = lacks(fleet, all, key);
    assert_eq!(missing, expected, "{key:?} {fleet:?}");
    if alike {
        // Places that are alike can be counted, whoever takes them.
        let survives = domains(fleet, key).iter().all(|domain| {
            let lost: u64 = all.iter().map(|one| lack(fleet, one, key, domain)).sum();
            let free = fleet.iter().filter(|member| domain_of(key, member) != *domain);
            lost <= free.map(|member| solver::places(member, &all[0].request)).sum()
        });
        assert_eq!(survives, missing.iter().all(|lack| *lack == 0), "{key:?} {fleet:?}");
    }
}

/// For each workload how many replicas find no place in its worst case, when all are placed again
/// in order, each domain by itself.
fn lacks(fleet: &Fleet, all: &[Placed], key: &Topology) -> Vec<u32> {
    let mut worst = vec![0; all.len()];
    for domain in domains(fleet, key) {
        let mut left = fleet.without(|member| domain_of(key, member) == domain);
        for (at, one) in all.iter().enumerate() {
            let outside = outside(fleet, one, key, &domain);
            if lack(fleet, one, key, &domain) == 0 {
                continue;
            }
            let needed = needed(&one.request);
            let rules = Rules { survive: None, ..Rules::clone(&one.request.rules) };
            let again = Request {
                rules: Arc::new(Rules { steady: true, ..rules }),
                replicas: needed,
                partial: true,
                previous: outside.clone(),
                spare: None,
                ..one.request.clone()
            };
            let found = schedule(&left, &again, one.turn.id());
            let found = found.map_or_else(|_| outside.clone(), |decision| decision.assignment);
            for (name, count) in found.iter() {
                left.reserve(name, &again.needs, count.saturating_sub(outside.of(name)));
            }
            let missing = needed.saturating_sub(u32::try_from(found.total()).unwrap());
            worst[at] = worst[at].max(missing);
        }
    }
    worst
}

fn needed(request: &Request) -> u32 {
    let percent = request.rules.survive.as_ref().unwrap().min_percent;
    (request.replicas * percent).div_ceil(100)
}

fn outside(fleet: &Fleet, one: &Placed, key: &Topology, domain: &str) -> Assignment {
    let stays = |name: &str| fleet.get(name).is_some_and(|m| domain_of(key, m) != *domain);
    let left = one.at.iter().filter(|(name, _)| stays(name));
    left.map(|(name, count)| (Arc::clone(name), count)).collect()
}

/// How many have to find a place anew when a domain is lost: none where nothing stands in it.
fn lack(fleet: &Fleet, one: &Placed, key: &Topology, domain: &str) -> u64 {
    let outside = outside(fleet, one, key, domain).total();
    if outside == one.at.total() {
        return 0;
    }
    u64::from(needed(&one.request)).saturating_sub(outside)
}

fn domains(fleet: &Fleet, key: &Topology) -> BTreeSet<String> {
    fleet.iter().map(|member| domain_of(key, member)).collect()
}

fn domain_of(key: &Topology, member: &Member) -> String {
    key.of(member).to_owned()
}

fn fleet(dice: &mut Dice) -> Fleet {
    let count = dice.within(2, 6);
    Fleet::new((0..count).map(|at| {
        let provider = dice.within(0, 1);
        let region = dice.within(0, 2);
        Member {
            name: format!("m{at}").into(),
            provider: format!("p{provider}").into(),
            region: format!("p{provider}-r{region}").into(),
            room: room(dice),
            ..Member::default()
        }
    }))
}

fn room(dice: &mut Dice) -> Room {
    let shapes = (0..dice.within(1, 2)).map(|_| {
        let free = Resources {
            cpu_milli: 250 * u64::from(dice.within(0, 12)),
            memory_bytes: 1 << 36,
            ..Resources::default()
        };
        NodeShape {
            nodes: u64::from(dice.within(1, 3)),
            allocatable: free.clone(),
            free,
            free_pods: u64::from(dice.within(1, 12)),
            ..NodeShape::default()
        }
    });
    Room::nodes(shapes.collect())
}

/// A workload; with a size given all are alike, and go wherever there is room.
fn request(dice: &mut Dice, fleet: &Fleet, key: &Topology, size: Option<u64>) -> Request {
    let cpu_milli = size.unwrap_or_else(|| u64::from(dice.within(1, 5)) * 250);
    let names: Vec<String> = fleet.iter().map(|member| member.name.to_string()).collect();
    let survive = Survive {
        domain: key.clone(),
        min_percent: *dice.pick(&[100, 100, 80, 50]),
        standby: Standby::Spare,
        enforce: Enforce::Warn,
    };
    let mut rules = Rules { survive: Some(survive), ..Rules::default() };
    if size.is_none() && dice.percent(30) {
        let clusters =
            Selection { exclude: vec![dice.pick(&names).clone()], ..Selection::default() };
        rules.tiers = vec![clusters];
    }
    let weights = names.iter().map(|name| Weight {
        clusters: Selection { names: vec![name.clone()], ..Selection::default() },
        weight: dice.within(1, 9),
    });
    let weights = DivideBy::Weighted(Arc::new(weights.collect()));
    let by = match dice.within(0, 2) {
        0 => DivideBy::Capacity,
        1 => DivideBy::Pack,
        _ => weights,
    };
    let request = Resources { cpu_milli, ..Resources::default() };
    Request {
        rules: Arc::new(rules),
        needs: Arc::new(PodNeeds { request, ..PodNeeds::default() }),
        replicas: dice.within(1, 12),
        mode: Mode::Divide(by),
        partial: dice.percent(10),
        ..Request::default()
    }
}
