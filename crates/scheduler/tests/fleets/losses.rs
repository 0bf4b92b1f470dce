//! Property 15: what is said of the loss of a domain is what happens when everything that stands
//! there is placed again without it, for fleets with several workloads.

use std::{collections::BTreeSet, sync::Arc};

use hanse_scheduler::{
    Assignment, DivideBy, Enforce, Fleet, Ledger, Member, Mode, NodeShape, Note, PodNeeds, Request,
    Resources, Room, Rules, Selection, Spare, Standby, Survive, Topology, Weight, schedule,
};

use crate::{cases::Dice, solver};

/// One workload and where it stands.
struct Placed {
    request: Request,
    at: Assignment,
}

/// A small fleet, and the workloads that are placed in it, one after the other.
pub(crate) fn check(seed: u64) {
    let mut dice = Dice(seed ^ 0x1515);
    let key = dice.pick(&[Topology::Region, Topology::Provider, Topology::Cluster]).clone();
    let mut fleet = fleet(&mut dice);
    let alike = dice.percent(50);
    let size = u64::from(dice.within(1, 4)) * 250;
    let mut all: Vec<Placed> = Vec::new();
    for id in 0..u64::from(dice.within(1, 4)) {
        let request = request(&mut dice, &fleet, &key, if alike { Some(size) } else { None });
        let spare = Arc::new(Ledger::new(key.clone()).filled(&fleet, &all).spare(id));
        let asked = Request { spare: Some(spare), ..request.clone() };
        let Ok(decision) = schedule(&fleet, &asked, id) else {
            continue;
        };
        for (name, count) in decision.assignment.iter() {
            fleet.reserve(name, &request.needs, count);
        }
        let said = decision.notes.iter().any(|note| matches!(note, Note::WouldNotSurvive(..)));
        if all.is_empty() {
            let alone = [Placed { request: request.clone(), at: decision.assignment.clone() }];
            assert_eq!(!said, lacks(&fleet, &alone, &key).iter().all(|lack| *lack == 0));
        }
        all.push(Placed { request, at: decision.assignment });
        whole_fleet(&fleet, &all, &key, alike);
    }
}

/// A ledger of everything says yes exactly when everything finds a place.
fn whole_fleet(fleet: &Fleet, all: &[Placed], key: &Topology, alike: bool) {
    let mut ledger = Ledger::new(key.clone());
    let mut missing = vec![0; all.len()];
    for (id, one) in (0..).zip(all) {
        let at = usize::try_from(id).unwrap();
        missing[at] = ledger.promise(fleet, &one.request, &one.at, id);
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

trait Filled {
    fn filled(self, fleet: &Fleet, all: &[Placed]) -> Self;
}

impl Filled for Ledger {
    fn filled(mut self, fleet: &Fleet, all: &[Placed]) -> Self {
        for (id, one) in (0..).zip(all) {
            self.promise(fleet, &one.request, &one.at, id);
        }
        self
    }
}

/// For each workload how many replicas find no place in its worst case, when all are placed again
/// in order, each domain by itself.
fn lacks(fleet: &Fleet, all: &[Placed], key: &Topology) -> Vec<u32> {
    let mut worst = vec![0; all.len()];
    for domain in domains(fleet, key) {
        let mut left = fleet.without(|member| domain_of(key, member) == domain);
        for (at, one) in all.iter().enumerate() {
            if lack(fleet, one, key, &domain) == 0 {
                continue;
            }
            let outside = outside(fleet, one, key, &domain);
            let needed = needed(&one.request);
            let rules = Rules { survive: None, ..Rules::clone(&one.request.rules) };
            let again = Request {
                rules: Arc::new(Rules { steady: true, ..rules }),
                replicas: needed,
                partial: true,
                previous: outside.clone(),
                spare: None::<Arc<Spare>>,
                ..one.request.clone()
            };
            let found = schedule(&left, &again, u64::try_from(at).unwrap());
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

/// How many have to find a place anew when a domain is lost.
fn lack(fleet: &Fleet, one: &Placed, key: &Topology, domain: &str) -> u64 {
    u64::from(needed(&one.request)).saturating_sub(outside(fleet, one, key, domain).total())
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
        Member {
            name: format!("m{at}").into(),
            provider: format!("p{provider}").into(),
            region: format!("p{provider}-r{region}").into(),
            room: Room::nodes(shapes.collect()),
            ..Member::default()
        }
    }))
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
