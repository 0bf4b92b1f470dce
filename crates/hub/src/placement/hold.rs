//! Room that is held for work of higher importance while it waits for more of it.

use hanse_scheduler::{Fleet, Planner, Request};

use super::{
    affected::Waiting,
    plan::{Outcome, Placed, Seen, plan},
};
use crate::Key;
use hanse_api::conditions::reason;

/// Room is held for so many at most.
const MOST: usize = 32;

/// Where the replicas go, when room is held for those who wait with higher importance.
pub(super) fn plan_beside(
    seen: &mut Seen,
    waiting: &[(Key, Waiting)],
    planner: &mut Planner,
    mut turn: impl FnMut() -> bool,
) -> Placed {
    if waiting.is_empty() {
        return plan(seen, planner, turn);
    }
    let free = plan(seen, planner, || false);
    if !adds(seen, &free) {
        return plan(seen, planner, turn);
    }
    seen.fleet = without_held(&seen.fleet, waiting, planner);
    let mut beside = plan(seen, planner, &mut turn);
    let fewer = total(&beside) < total(&free);
    if let (true, Outcome::Short(_, words)) = (fewer, &mut beside.outcome) {
        let names: Vec<String> = waiting
            .iter()
            .take(3)
            .map(|(key, who)| format!("{key} (importance {})", who.importance))
            .collect();
        let words = format!("room is held for {}; {words}", names.join(", "));
        beside.outcome = Outcome::Short(reason::HELD_FOR_HIGHER_IMPORTANCE, words);
    }
    beside
}

/// What is left of the fleet beside as much as each of these could take of it now.
fn without_held(fleet: &Fleet, waiting: &[(Key, Waiting)], planner: &mut Planner) -> Fleet {
    let mut left = fleet.clone();
    for (_, who) in waiting.iter().take(MOST) {
        let asked = Request { partial: true, ..Request::clone(&who.request) };
        let Ok(decision) = planner.schedule(&left, &asked, 0) else {
            continue;
        };
        for (member, count) in decision.assignment.iter() {
            let more = count.saturating_sub(asked.previous.of(member));
            left.reserve(member, &asked.needs, more);
        }
    }
    left
}

/// Whether a decision takes room.
fn adds(seen: &Seen, placed: &Placed) -> bool {
    let before = &seen.binding.spec.clusters;
    placed.clusters.iter().any(|after| {
        let known = before.iter().find(|cluster| cluster.name == after.name);
        after.replicas > known.map_or(0, |known| known.replicas)
    })
}

fn total(placed: &Placed) -> i64 {
    placed.clusters.iter().map(|cluster| i64::from(cluster.replicas)).sum()
}
