//! What decisions see of the losses of others.

use hanse_scheduler::{
    Assignment, DivideBy, Enforce, Fleet, Loss, Member, Mode, NodeShape, Note, PodNeeds, Request,
    Resources, Room, Survive, schedule,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;

fn room(places: u64) -> Room {
    let free = Resources { cpu_milli: 1000, memory_bytes: 1 << 30, ..Resources::default() };
    Room::nodes(vec![NodeShape {
        nodes: places,
        allocatable: free.clone(),
        free,
        free_pods: 1,
        ..NodeShape::default()
    }])
}

fn fleet(places: [u64; 3]) -> Fleet {
    let members = ["a", "b", "c"].into_iter().zip(places);
    Fleet::new(members.map(|(name, places)| Member {
        name: name.into(),
        region: name.into(),
        room: room(places),
        ..Member::default()
    }))
}

fn binding(name: &str, created: i64, importance: i32) -> ResourceBinding {
    let mut binding = ResourceBinding::default();
    binding.metadata.name = Some(name.to_owned());
    binding.metadata.namespace = Some("shop".to_owned());
    binding.metadata.creation_timestamp = Some(Time(Timestamp::from_second(created).unwrap()));
    binding.spec.importance = importance;
    binding
}

fn request(replicas: u32) -> Request {
    let survive = Survive {
        domain: Topology::Region,
        min_percent: 100,
        standby: Standby::Spare,
        enforce: Enforce::Warn,
    };
    let request = Resources { cpu_milli: 1000, ..Resources::default() };
    Request {
        rules: Arc::new(Rules { survive: Some(survive), ..Rules::default() }),
        needs: Arc::new(PodNeeds { request, ..PodNeeds::default() }),
        replicas,
        mode: Mode::Divide(DivideBy::Pack),
        ..Request::default()
    }
}

/// Notes that a binding stands in `a`, with room for it taken.
fn stands(headroom: &mut Headroom, fleet: &Fleet, binding: &ResourceBinding, replicas: u32) {
    let placed: Assignment = [("a", replicas)].into_iter().collect();
    let loss = Loss { turn: turn(binding), request: Arc::new(request(replicas)), placed };
    headroom.note(fleet, &Key::of(binding), Some(loss));
}

/// How many replicas of a binding that stands in `a` would find no place.
fn missing(headroom: &mut Headroom, fleet: &Fleet, binding: &ResourceBinding, held: u32) -> u32 {
    let asked = request(held);
    let spare = headroom.spare(fleet, &asked.rules, binding);
    let previous = [("a", held)].into_iter().collect();
    let asked = Request { spare, previous, ..asked };
    let decision = schedule(fleet, &asked, turn(binding).id()).unwrap();
    decision
        .notes
        .iter()
        .map(|note| match note {
            Note::WouldNotSurvive(_, missing) => *missing,
            _ => 0,
        })
        .sum()
}

#[test]
fn a_decision_sees_at_once_what_members_and_others_take() {
    let mut headroom = Headroom::default();
    let mut fleet = fleet([0, 2, 3]);
    let (old, young) = (binding("old", 1, 0), binding("young", 2, 0));
    stands(&mut headroom, &fleet, &old, 3);
    assert_eq!(missing(&mut headroom, &fleet, &young, 2), 0);
    stands(&mut headroom, &fleet, &young, 2);
    fleet.set_room("c", room(1));
    assert_eq!(missing(&mut headroom, &fleet, &young, 2), 2);
    assert_eq!(missing(&mut headroom, &fleet, &old, 3), 0);
    fleet.set_room("c", room(3));
    assert_eq!(missing(&mut headroom, &fleet, &young, 2), 0);
    // A region that members join or leave is another one at once.
    let moved = Member { region: "a".into(), ..fleet.get("c").unwrap().clone() };
    fleet.set(moved);
    assert_eq!(missing(&mut headroom, &fleet, &old, 3), 1);
    headroom.forget(&Key::of(&old));
    assert_eq!(missing(&mut headroom, &fleet, &young, 2), 0);
    headroom.forget(&Key::of(&young));
    assert!(headroom.kinds.is_empty() && headroom.noted.is_empty());
}

#[test]
fn the_important_and_then_the_first_ones_are_placed_again_first() {
    let mut headroom = Headroom::default();
    let fleet = fleet([0, 3, 0]);
    let bindings = [binding("z", 5, 0), binding("b", 5, 0), binding("important", 9, 7)];
    for binding in &bindings {
        stands(&mut headroom, &fleet, binding, 2);
    }
    let lacks = bindings.each_ref().map(|binding| missing(&mut headroom, &fleet, binding, 2));
    assert_eq!(lacks, [1, 2, 0]);
}

#[test]
fn too_many_bindings_share_promises_that_are_made_from_time_to_time() {
    let mut headroom = Headroom::default();
    let many = Losses::MOST + 1;
    let mut fleet = fleet([0, u64::try_from(many).unwrap(), 0]);
    for at in 0..many {
        let one = binding(&format!("w{at}"), 1, 0);
        stands(&mut headroom, &fleet, &one, 1);
    }
    let first = binding("w0", 1, 0);
    assert_eq!(missing(&mut headroom, &fleet, &first, 1), 0);
    assert!(headroom.kinds[&Topology::Region].crowd.is_some());
    assert_eq!(missing(&mut headroom, &fleet, &binding("new", 1, 9), 1), 1);
    headroom.members_changed();
    fleet.set_room("c", room(5));
    assert_eq!(missing(&mut headroom, &fleet, &binding("new", 1, 9), 1), 1, "not yet");
}
