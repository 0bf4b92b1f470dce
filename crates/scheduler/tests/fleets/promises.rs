//! What must hold of every decision, by the number of the property in the design.

use std::{collections::BTreeSet, sync::Arc};

use hanse_scheduler::{
    Assignment, Decision, DivideBy, Enforce, Fleet, Mode, Note, Planner, Request, Row, Rules,
    Selection, Spread, TierMode, Topology, Unplaceable, Weight, checker, schedule,
};

use crate::{
    cases::{Case, Dice},
    solver,
};

pub(crate) fn all(case: &Case, seed: u64) {
    let fleet = case.fleet();
    let mut dice = Dice(seed ^ 0xabcd);
    let fresh = decide(&fleet, &case.request, case.key);
    order_does_not_matter(case, &fresh, &mut dice);
    warm_is_cold(case, &fleet, &fresh, &mut dice);
    odd_history(case, &fleet, &mut dice);
    let Ok(fresh) = fresh else {
        return;
    };
    if is_plain(&case.request) {
        house_monotone(case, &fleet, &fresh);
        population_monotone(case, &fleet, &mut dice);
        joining_takes_its_share(case, &fleet, &fresh, &mut dice);
    }
    packed(case, &fleet, &fresh);
    heaviest(case, &fleet, &fresh);
    copied(case, &fleet, &fresh);
    if case.request.rules.steady && matches!(case.request.mode, Mode::Divide(_)) {
        history(case, &fleet, &fresh, &mut dice);
    }
}

/// 1, 2, 11, 13, and 15 where enough has to run already: the independent checker.
pub(crate) fn decide(fleet: &Fleet, request: &Request, key: u64) -> Result<Decision, Unplaceable> {
    let decision = schedule(fleet, request, key)?;
    assert_eq!(checker::check(fleet, request, &decision), [], "{request:?}\n{decision:?}");
    Ok(decision)
}

/// 14: a fresh request that has a solution is placed. On fleets as small as these with two domain
/// keys too, of which the promise says nothing.
pub(crate) fn solvable(case: &Case) {
    let request = &case.request;
    if case.members.len() > 6
        || request.replicas == 0
        || !matches!(request.mode, Mode::Divide(_) | Mode::Whole)
    {
        return;
    }
    let fleet = case.fleet();
    let request = Request { partial: false, ..request.clone() };
    let found = schedule(&fleet, &request, case.key);
    assert_eq!(
        found.is_ok(),
        solver::is_feasible(&fleet, &request),
        "{request:?}\n{fleet:?}\n{found:?}"
    );
}

/// 5 and 18.
fn order_does_not_matter(case: &Case, fresh: &Result<Decision, Unplaceable>, dice: &mut Dice) {
    let mut members = case.members.clone();
    for at in (1..members.len()).rev() {
        members.swap(at, dice.within(0, u32::try_from(at).unwrap()) as usize);
    }
    let again = schedule(&Fleet::new(members), &case.request, case.key);
    assert_eq!(&again, fresh);
}

/// 18: what a planner remembers changes no answer.
fn warm_is_cold(
    case: &Case,
    fleet: &Fleet,
    fresh: &Result<Decision, Unplaceable>,
    dice: &mut Dice,
) {
    let mut planner = Planner::default();
    for turn in 0..2 {
        assert_eq!(&planner.schedule(fleet, &case.request, case.key), fresh, "turn {turn}");
    }
    let mut changed = fleet.clone();
    let member = dice.pick(&case.members);
    changed.reserve(&member.name, &case.request.needs, 2);
    let mut closed = changed.get(&member.name).unwrap().clone();
    closed.cordoned = !closed.cordoned;
    changed.set(closed);
    let warm = planner.schedule(&changed, &case.request, case.key);
    assert_eq!(warm, schedule(&changed, &case.request, case.key));
}

/// Histories that no decision of ours would have made are dealt with too.
fn odd_history(case: &Case, fleet: &Fleet, dice: &mut Dice) {
    let mut request = case.request.clone();
    let some = case.members.iter().filter(|_| dice.0 & 1 == 0 || dice.percent(40));
    let some: Vec<_> = some.map(|member| Arc::clone(&member.name)).collect();
    request.previous = some.into_iter().map(|name| (name, dice.within(0, 9))).collect();
    request.leaving.clear();
    drop(decide(fleet, &request, case.key));
}

/// Division over a fixed set of members: nothing but weights, room and upper bounds decides.
fn is_plain(request: &Request) -> bool {
    let rules = &request.rules;
    rules.spread.is_empty()
        && rules.survive.is_none()
        && rules.tiers.len() <= 1
        && rules.bounds.iter().all(|bounds| bounds.min <= 1)
        && matches!(&request.mode, Mode::Divide(DivideBy::Capacity | DivideBy::Weighted(_)))
        && request.replicas > 0
}

fn used_elastic(decision: &Decision) -> bool {
    decision.notes.iter().any(|note| matches!(note, Note::Elastic(_)))
}

/// 3: one replica more never takes one from a member.
fn house_monotone(case: &Case, fleet: &Fleet, fresh: &Decision) {
    let replicas = case.request.replicas + 1;
    let more = Request { replicas, ..case.request.clone() };
    let Ok(more) = decide(fleet, &more, case.key) else {
        return;
    };
    if used_elastic(&more) || more.shortfall.is_some() {
        return;
    }
    for (name, count) in fresh.assignment.iter() {
        assert!(more.assignment.of(name) >= count, "{name} lost one");
    }
}

/// 4: a higher weight never lowers the share.
fn population_monotone(case: &Case, fleet: &Fleet, dice: &mut Dice) {
    let weights = |raised: Option<(usize, u32)>| {
        let entries = case.members.iter().enumerate().map(|(at, member)| Weight {
            clusters: Selection { names: vec![member.name.to_string()], ..Selection::default() },
            weight: 1
                + u32::try_from(at % 7).unwrap()
                + raised.filter(|(which, _)| *which == at).map_or(0, |(_, more)| more),
        });
        Mode::Divide(DivideBy::Weighted(Arc::new(entries.collect())))
    };
    let at = usize::try_from(dice.next() % case.members.len() as u64).unwrap();
    let name = &case.members[at].name;
    let before = Request { mode: weights(None), ..case.request.clone() };
    let after = Request { mode: weights(Some((at, dice.within(1, 30)))), ..case.request.clone() };
    if let (Ok(before), Ok(after)) =
        (decide(fleet, &before, case.key), decide(fleet, &after, case.key))
    {
        assert!(after.assignment.of(name) >= before.assignment.of(name), "{name} lost by weight");
    }
}

/// 10, without steady: a new member takes its share, and nobody gains by it.
fn joining_takes_its_share(case: &Case, fleet: &Fleet, with: &Decision, dice: &mut Dice) {
    let mut loose = case.request.clone();
    Arc::make_mut(&mut loose.rules).steady = false;
    let joining = &dice.pick(&case.members).name;
    let without = fleet.without(|member| member.name == *joining);
    let Ok(before) = decide(&without, &loose, case.key) else {
        return;
    };
    if used_elastic(&before) != used_elastic(with) || before.shortfall.is_some() {
        return;
    }
    loose.previous = before.assignment.clone();
    let mut holding = fleet.clone();
    for (name, count) in before.assignment.iter() {
        holding.reserve(name, &loose.needs, count);
    }
    // The same room is free beside what runs: the division is that of a fresh request.
    loose.previous = Assignment::default();
    let after = decide(fleet, &loose, case.key).unwrap();
    for (name, count) in after.assignment.iter().filter(|(name, _)| *name != joining) {
        assert!(count <= before.assignment.of(name), "{name} gained by a member that joined");
    }
}

/// 12: as few members as will do, all but one of them full.
fn packed(case: &Case, fleet: &Fleet, fresh: &Decision) {
    let rules = &case.request.rules;
    if !matches!(case.request.mode, Mode::Divide(DivideBy::Pack))
        || !rules.spread.is_empty()
        || rules.tiers.len() > 1
        || rules.bounds.iter().any(|bounds| bounds.min > 1)
        || rules.survive.is_some()
        || used_elastic(fresh)
        || fresh.shortfall.is_some()
        || case.request.replicas == 0
    {
        return;
    }
    let explained = Planner::default().explain(fleet, &case.request, case.key);
    let mut uppers: Vec<u32> = explained
        .rows
        .iter()
        .filter(|row| !row.closed)
        .map(|row| row.fits.unwrap_or(0).min(row.max.unwrap_or(u32::MAX)))
        .collect();
    uppers.sort_unstable_by_key(|upper| std::cmp::Reverse(*upper));
    let mut sum = 0;
    let least = uppers.iter().take_while(|upper| {
        let short = sum < case.request.replicas;
        sum += **upper;
        short
    });
    let least = least.count();
    assert_eq!(fresh.assignment.len(), least, "{:?} {uppers:?}", fresh.assignment);
}

/// Given weights choose where a spread limits the clusters: nobody is used while a heavier one is
/// not, unless those that weigh most are too small together.
fn heaviest(case: &Case, fleet: &Fleet, fresh: &Decision) {
    let rules = &case.request.rules;
    let [Spread { key: Topology::Cluster, max: Some(most), .. }] = rules.spread[..] else {
        return;
    };
    let Mode::Divide(DivideBy::Weighted(weights)) = &case.request.mode else {
        return;
    };
    if weights.is_empty()
        || rules.tiers.len() > 1
        || !rules.bounds.is_empty()
        || rules.survive.is_some()
        || used_elastic(fresh)
        || fresh.shortfall.is_some()
    {
        return;
    }
    let explained = Planner::default().explain(fleet, &case.request, case.key);
    let fits = |row: &Row| u64::from(row.fits.unwrap_or(u32::MAX));
    let mut rows: Vec<&Row> = explained.rows.iter().filter(|row| fits(row) > 0).collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.weight, row.fits.unwrap_or(u32::MAX))));
    rows.truncate(most as usize);
    if rows.iter().map(|row| fits(row)).sum::<u64>() < u64::from(case.request.replicas) {
        return;
    }
    let least = rows.last().map_or(0, |row| row.weight);
    let used = explained.rows.iter().filter(|row| row.count > 0);
    used.for_each(|row| assert!(row.weight >= least, "{row:?} is lighter than {least}"));
}

/// Copies go to one tier with Fallback, and to the first that takes one where no spread asks for
/// more.
fn copied(case: &Case, fleet: &Fleet, fresh: &Decision) {
    let rules = &case.request.rules;
    if case.request.mode != Mode::Duplicate || rules.tiers.len() < 2 {
        return;
    }
    let explained = Planner::default().explain(fleet, &case.request, case.key);
    let used = explained.rows.iter().filter(|row| fresh.assignment.contains(&row.member));
    let tiers: BTreeSet<u16> = used.map(|row| row.tier).collect();
    assert!(rules.tier_mode == TierMode::Overflow || tiers.len() <= 1, "{tiers:?}");
    let takes = |row: &Row| {
        let fits = row.fits.map_or(u32::MAX, |fits| fits.saturating_add(row.elastic));
        fits.min(row.max.unwrap_or(u32::MAX)) >= case.request.replicas
    };
    let first = explained.rows.iter().filter(|row| takes(row)).map(|row| row.tier).min();
    if rules.spread.is_empty() {
        assert_eq!(tiers.into_iter().collect::<Vec<_>>(), first.into_iter().collect::<Vec<_>>());
    }
}

fn history(case: &Case, fleet: &Fleet, fresh: &Decision, dice: &mut Dice) {
    let placed = &fresh.assignment;
    let mut settled = fleet.clone();
    for (name, count) in placed.iter() {
        settled.reserve(name, &case.request.needs, count);
    }
    let stands = Request { previous: placed.clone(), ..case.request.clone() };
    // 7: fed back, the result is unchanged.
    if fresh.shortfall.is_none() {
        let again = decide(&settled, &stands, case.key).unwrap();
        assert_eq!(&again.assignment, placed);
    }
    // 8: up only adds, down only removes.
    let total = u32::try_from(placed.total()).unwrap();
    let up = Request { replicas: total + dice.within(1, 9), ..stands.clone() };
    if let Ok(more) = decide(&settled, &up, case.key)
        && !displaces(&up.rules, &more)
    {
        assert!(placed.iter().all(|(n, c)| more.assignment.of(n) >= c), "{more:?}");
    }
    let down = Request { replicas: dice.within(0, total), ..stands.clone() };
    if let Ok(fewer) = decide(&settled, &down, case.key)
        && !displaces(&down.rules, &fewer)
    {
        assert!(fewer.assignment.iter().all(|(n, c)| c <= placed.of(n)), "{placed:?} {fewer:?}");
    }
    if total > 0 {
        losing(case, &settled, &stands, dice);
    }
    // 10: a member that joins moves nothing.
    let mut joined = settled.clone();
    let mut new = dice.pick(&case.members).clone();
    new.name = "new".into();
    joined.set(new);
    if fresh.shortfall.is_none() {
        assert_eq!(&decide(&joined, &stands, case.key).unwrap().assignment, placed);
    }
}

/// 9: the loss of a member moves its replicas and no others, unless the spread asks for more,
/// which is told then. 17: where they find no place, the answer holds no assignment at all.
fn losing(case: &Case, settled: &Fleet, stands: &Request, dice: &mut Dice) {
    let names: Vec<_> = stands.previous.iter().map(|(name, _)| Arc::clone(name)).collect();
    let lost = dice.pick(&names);
    let left = settled.without(|member| member.name == *lost);
    let rest = stands.previous.iter().filter(|(name, _)| *name != lost);
    let rest: Assignment = rest.map(|(name, count)| (Arc::clone(name), count)).collect();
    let request = Request { previous: rest.clone(), ..stands.clone() };
    if let Ok(moved) = decide(&left, &request, case.key)
        && !displaces(&request.rules, &moved)
    {
        let kept = rest.iter().all(|(name, count)| moved.assignment.of(name) >= count);
        assert!(kept, "{rest:?} {moved:?}");
    }
}

/// Whether a spread, or that a loss has to be survived, moved running replicas, and the decision
/// says so.
fn displaces(rules: &Rules, decision: &Decision) -> bool {
    let required = rules.survive.as_ref().is_some_and(|it| it.enforce == Enforce::Require);
    (required || !rules.spread.is_empty())
        && decision.notes.iter().any(|note| matches!(note, Note::Displaced(_)))
}
