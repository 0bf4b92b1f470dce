//! Room that is held for work of higher importance while it waits for more of it.

use std::time::Duration;

use hanse_api::conditions::reason;
use hanse_scheduler::{Fleet, Planner, Request};

use super::{
    affected::{Waiting, Waits},
    plan::{Outcome, Placed, Seen, plan},
};
use crate::{Key, World, propagation::key_of_template};

/// Room is held for so many at most.
const MOST: usize = 32;

/// How long room is held for work of higher importance.
pub(super) fn length(world: &World) -> Duration {
    let spec = world.federation().map(|federation| federation.spec.scheduling.clone());
    let seconds = spec.unwrap_or_default().hold_seconds;
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// The template of a binding in words.
pub(super) fn named(world: &World, key: &Key) -> String {
    let binding = world.objects().bindings.get(key);
    binding.map_or_else(
        || key.to_string(),
        |binding| key_of_template(&binding.spec.template).to_string(),
    )
}

/// Takes what is held for more important work out of the room that is seen, and says for whom.
pub(crate) fn leave_out_held(
    world: &World,
    waits: &Waits,
    seen: &mut Seen,
    planner: &mut Planner,
) -> Vec<String> {
    let importance = seen.binding.spec.importance;
    let waiting = waits.with(|all| all.held(importance, length(world)));
    seen.fleet = without_held(&seen.fleet, &waiting, planner);
    in_words(&waiting, |key| named(world, key))
}

fn in_words(waiting: &[(Key, Waiting)], named: impl Fn(&Key) -> String) -> Vec<String> {
    let first = waiting.iter().take(3);
    let words =
        |(key, who): &(Key, Waiting)| format!("{} (importance {})", named(key), who.importance);
    first.map(words).collect()
}

/// Where the replicas go, when room is held for those who wait with higher importance.
pub(super) fn plan_beside(
    seen: &mut Seen,
    waiting: &[(Key, Waiting)],
    named: impl Fn(&Key) -> String,
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
        let names = in_words(waiting, named);
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
pub(super) fn adds(seen: &Seen, placed: &Placed) -> bool {
    let before = &seen.binding.spec.clusters;
    placed.clusters.iter().any(|after| {
        let known = before.iter().find(|cluster| cluster.name == after.name);
        after.replicas > known.map_or(0, |known| known.replicas)
    })
}

fn total(placed: &Placed) -> i64 {
    placed.clusters.iter().map(|cluster| i64::from(cluster.replicas)).sum()
}
