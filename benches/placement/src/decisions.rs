//! Placement of a whole fleet by the scheduler alone: every binding once, then a member's update,
//! the loss of a member and of a region, and a restart. Decisions and their reservations only: no
//! API, no members, no writes.

use std::{collections::BTreeSet, sync::Arc};

use hanse_bench_scheduler::fleet::{self, Dice};
use hanse_scheduler::{
    Assignment, Fleet, Health, Member, Note, Planner, PodNeeds, Request, Resources, Room,
};

use crate::{
    cases::restart_target,
    figures::{Rows, number},
    machine::{processor_time, resident},
};

/// A workload that is placed.
struct Binding {
    request: Request,
    key: u64,
}

/// All rows.
pub(crate) fn run(members: u64, rows: &mut Rows<'_>) {
    let count = rows.bindings();
    let ten = count == 10_000;
    let mut note = |name, value: f64, unit, target: Option<f64>, karmada: Option<f64>| {
        rows.add(name, value, unit, (target, karmada.filter(|_| ten)));
    };
    let before = resident();
    let empty = roomy(&fleet::fleet(members), count.div_ceil(10_000));
    let mut bindings = bindings(count);
    let mut planner = Planner::default();
    let mut fleet = empty.clone();
    let start = processor_time();
    let placed = place(&mut planner, &mut fleet, &mut bindings);
    note("first placement of all", seconds(start), "s", None, Some(187.0));
    note("of these placed", placed, "", None, None);
    note("memory that it took", resident() - before, "MiB", None, Some(250.0));

    let start = processor_time();
    let names: Vec<Arc<str>> = fleet.iter().map(|member| Arc::clone(&member.name)).collect();
    for name in &names {
        if let Some(member) = fleet.get(name) {
            let mut member = member.clone();
            member.reserve_percent = 1;
            fleet.set(member);
        }
    }
    let each = seconds(start) * 1e6 / f64::from(u32::try_from(names.len()).unwrap_or(1));
    note("a member's update", each, "us", Some(100.0), None);

    let start = processor_time();
    let (moved, _) =
        lose(&mut planner, &mut fleet, &mut bindings, |member| *member.name == *names[0]);
    note("one member lost: bindings decided again", moved, "", None, None);
    note("one member lost", seconds(start), "s", Some(1.0), None);

    let start = processor_time();
    let region = fleet.get(&names[1]).map(|member| Arc::clone(&member.region)).unwrap_or_default();
    let (moved, short) = lose(&mut planner, &mut fleet, &mut bindings, |m| m.region == region);
    note("a region of 100 lost: bindings decided again", moved, "", None, Some(5406.0));
    note("of these without room", short, "", None, None);
    // Ten thousand in ten seconds.
    let target = 10.0 * (moved / 10_000.0).max(1.0);
    note("a region of 100 lost", seconds(start), "s", Some(target), Some(107.0));

    let start = processor_time();
    let members: Vec<Member> = empty.iter().cloned().collect();
    let mut again = Fleet::new(members);
    for binding in &bindings {
        for (name, count) in binding.request.previous.iter() {
            again.reserve(name, &binding.request.needs, count);
        }
    }
    let mut fresh = Planner::default();
    let decided =
        bindings.iter().map(|binding| fresh.schedule(&again, &binding.request, binding.key));
    let kept = decided
        .filter(|decision| {
            decision.as_ref().is_ok_and(|decision| decision.notes.contains(&Note::Unchanged))
        })
        .count();
    note("restart: unchanged bindings", number(kept), "", None, None);
    let target = restart_target(count);
    note("restart, every binding decided once", seconds(start), "s", target, None);
}

/// The fleet with so many times its nodes: room grows with what is to be placed.
fn roomy(fleet: &Fleet, times: u64) -> Fleet {
    Fleet::new(fleet.iter().map(|member| {
        let mut member = member.clone();
        if let Room::Nodes(nodes) = &mut member.room {
            Arc::make_mut(nodes).shapes.iter_mut().for_each(|shape| shape.nodes *= times);
        }
        member
    }))
}

/// A fifth of each of the scenarios a to e, 1 to 50 replicas (a: 1 to 5) of 20 shapes.
fn bindings(count: u64) -> Vec<Binding> {
    let mut dice = Dice(count);
    let scenarios: Vec<Request> =
        fleet::scenarios(10).into_iter().take(5).map(|scenario| scenario.request).collect();
    let shapes: Vec<Arc<PodNeeds>> = (1..=20)
        .map(|size| {
            let request = Resources {
                cpu_milli: size * 10,
                memory_bytes: (size * 20) << 20,
                ..Resources::default()
            };
            Arc::new(PodNeeds { request, ..PodNeeds::default() })
        })
        .collect();
    (0..count)
        .map(|key| {
            let which = usize::try_from(key % 5).unwrap_or(0);
            let most = if which == 0 { 5 } else { 50 };
            let shape = usize::try_from(dice.within(0, 19)).unwrap_or(0);
            let request = Request {
                replicas: u32::try_from(dice.within(1, most)).unwrap_or(1),
                needs: Arc::clone(&shapes[shape]),
                ..scenarios[which].clone()
            };
            Binding { request, key }
        })
        .collect()
}

fn place(planner: &mut Planner, fleet: &mut Fleet, bindings: &mut [Binding]) -> f64 {
    let mut placed = 0;
    for binding in bindings {
        if let Ok(decision) = planner.schedule(fleet, &binding.request, binding.key) {
            for (name, count) in decision.assignment.iter() {
                fleet.reserve(name, &binding.request.needs, count);
            }
            binding.request.previous = decision.assignment;
            placed += 1;
        }
    }
    number(placed)
}

/// Takes members away and decides again what stood there, and nothing else.
fn lose(
    planner: &mut Planner,
    fleet: &mut Fleet,
    bindings: &mut [Binding],
    lost: impl Fn(&Member) -> bool,
) -> (f64, f64) {
    let gone: Vec<Member> = fleet.iter().filter(|member| lost(member)).cloned().collect();
    let mut touched: BTreeSet<Arc<str>> = BTreeSet::new();
    for mut member in gone {
        member.health = Health::Lost;
        touched.insert(Arc::clone(&member.name));
        fleet.set(member);
    }
    let (mut moved, mut short) = (0, 0);
    for binding in bindings {
        let held = &binding.request.previous;
        let leaving: Vec<Arc<str>> = held
            .iter()
            .filter(|(name, _)| touched.contains(*name))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        if leaving.is_empty() {
            continue;
        }
        moved += 1;
        let rest: Assignment = held
            .iter()
            .filter(|(name, _)| !touched.contains(*name))
            .map(|(name, count)| (Arc::clone(name), count))
            .collect();
        let request = Request { previous: rest, leaving, partial: true, ..binding.request.clone() };
        let Ok(decision) = planner.schedule(fleet, &request, binding.key) else {
            short += 1;
            binding.request.previous = request.previous;
            continue;
        };
        for (name, count) in decision.assignment.iter() {
            let more = count.saturating_sub(request.previous.of(name));
            fleet.reserve(name, &request.needs, more);
        }
        short += usize::from(decision.shortfall.is_some());
        binding.request.previous = decision.assignment;
    }
    (number(moved), number(short))
}

fn seconds(start: std::time::Duration) -> f64 {
    processor_time().checked_sub(start).unwrap_or_default().as_secs_f64()
}
