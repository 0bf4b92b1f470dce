//! Property 16: weights to 2^31 - 1 and millions of replicas neither overflow nor round.

use std::{collections::BTreeSet, sync::Arc};

use hanse_scheduler::{
    DivideBy, Fleet, Member, Mode, NodeShape, Planner, PodNeeds, Request, Room, Rules, Selection,
    TierMode, Weight,
};

use crate::{
    cases::{Case, Dice},
    promises::decide,
};

/// The case's members with room for millions, and huge weights.
pub(crate) fn check(case: &Case, seed: u64) {
    let mut dice = Dice(seed ^ 0x1616);
    let fleet = Fleet::new(case.members.iter().map(|member| roomy(member, &mut dice)));
    let mode = mode(case, &mut dice);
    let replicas = match dice.within(0, 3) {
        0 => 1_000_000,
        1 => dice.within(1, 1000),
        _ => dice.within(500_000, 10_000_000),
    };
    let plain = dice.percent(60);
    let rules = if plain {
        Rules { tolerations: case.request.rules.tolerations.clone(), ..Rules::default() }
    } else {
        Rules::clone(&case.request.rules)
    };
    let request = Request {
        rules: Arc::new(rules),
        needs: Arc::new(PodNeeds::default()),
        kind: Arc::clone(&case.request.kind),
        replicas,
        mode,
        partial: dice.percent(30),
        ..Request::default()
    };
    let Ok(placed) = decide(&fleet, &request, case.key) else {
        return;
    };
    if plain && matches!(request.mode, Mode::Divide(DivideBy::Weighted(_))) {
        shares_are_exact(&fleet, &request, case.key);
    }
    // With history: down to a part of it, and up again.
    let mut settled = fleet.clone();
    for (name, count) in placed.assignment.iter() {
        settled.reserve(name, &request.needs, count);
    }
    for replicas in [dice.within(1, replicas), replicas.saturating_add(dice.within(1, replicas))] {
        let again = Request { replicas, previous: placed.assignment.clone(), ..request.clone() };
        drop(decide(&settled, &again, case.key));
    }
}

/// Most members take billions; some are small, so that bounds are met too.
fn roomy(member: &Member, dice: &mut Dice) -> Member {
    let nodes =
        if dice.percent(80) { dice.within(1 << 20, u32::MAX) } else { dice.within(1, 2000) };
    let shape = NodeShape {
        nodes: u64::from(nodes),
        free_pods: u64::from(dice.within(1, 250)),
        ..NodeShape::default()
    };
    let room = if dice.percent(10) { Room::Unknown } else { Room::nodes(vec![shape]) };
    Member { room, reserve_percent: 0, ..member.clone() }
}

fn mode(case: &Case, dice: &mut Dice) -> Mode {
    let most = u32::MAX >> 1;
    match dice.within(0, 9) {
        0 => Mode::Divide(DivideBy::Capacity),
        1 => Mode::Divide(DivideBy::Pack),
        2 => Mode::Duplicate,
        _ => {
            let weights = case.members.iter().map(|member| Weight {
                clusters: Selection {
                    names: vec![member.name.to_string()],
                    ..Selection::default()
                },
                weight: match dice.within(0, 3) {
                    0 => most,
                    1 => dice.within(1, 9),
                    _ => dice.within(1, most),
                },
            });
            Mode::Divide(DivideBy::Weighted(Arc::new(weights.collect())))
        }
    }
}

/// Webster's condition, in whole numbers: no member that could take one more had a better claim to
/// it than any other had to its last one.
fn shares_are_exact(fleet: &Fleet, request: &Request, key: u64) {
    assert_eq!(request.rules.tier_mode, TierMode::Fallback);
    let told = Planner::default().explain(fleet, request, key);
    let elastic = told.rows.iter().any(|row| row.elastic > 0);
    if elastic || told.outcome.is_err() {
        return;
    }
    let open = told.rows.iter().filter(|row| !row.closed);
    let takers = open.clone().filter(|row| row.count < row.fits.unwrap_or(u32::MAX));
    let claims: BTreeSet<Claim> =
        takers.map(|row| Claim(row.weight, 2 * u64::from(row.count) + 1)).collect();
    let lasts: BTreeSet<Claim> = open
        .filter(|row| row.count > 0)
        .map(|row| Claim(row.weight, 2 * u64::from(row.count) - 1))
        .collect();
    if let (Some(best), Some(worst)) = (claims.last(), lasts.first()) {
        assert!(best <= worst, "{best:?} {worst:?}");
    }
}

/// A weight over an odd number.
#[derive(Clone, Copy, Debug)]
struct Claim(u32, u64);

impl Ord for Claim {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let cross = |a: &Self, b: &Self| u128::from(a.0) * u128::from(b.1);
        cross(self, other).cmp(&cross(other, self))
    }
}

impl PartialOrd for Claim {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Claim {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Claim {}
