//! An independent check of a decision. It shares no code with the engine: it counts again, by the
//! definitions, so that a mistake there is not repeated here.

use crate::{Decision, Fleet, Member, Mode, NodeShape, PodNeeds, Request, Room, TierMode};

/// A promise that a decision breaks.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Violation {
    /// The counts do not add up to what was asked, and no shortfall says so.
    #[error("{placed} placed and {short} short of {asked} replicas")]
    Sum {
        /// Replicas placed.
        placed: u64,
        /// Replicas that the shortfall names.
        short: u64,
        /// Replicas asked for.
        asked: u64,
    },
    /// A member holds fewer or more than its bounds admit.
    #[error("{member} holds {count}, outside its bounds")]
    Bounds {
        /// The member.
        member: String,
        /// What it holds.
        count: u32,
    },
    /// A member takes more than fits.
    #[error("{member} takes {more} more, and {fits} fit")]
    Room {
        /// The member.
        member: String,
        /// What is added there.
        more: u64,
        /// What fits there.
        fits: u64,
    },
    /// A member that takes no new work was given some.
    #[error("{member} takes no new work and was given some")]
    Closed {
        /// The member.
        member: String,
    },
    /// A later tier was given replicas while an earlier one had room.
    #[error("{member} in a later tier was given replicas while {earlier} had room")]
    Tier {
        /// The member in the later tier.
        member: String,
        /// The member with room.
        earlier: String,
    },
}

/// All promises that a decision breaks; empty for a good one.
pub fn check(fleet: &Fleet, request: &Request, decision: &Decision) -> Vec<Violation> {
    let mut found = Vec::new();
    check_sum(request, decision, &mut found);
    for (name, count) in &decision.assignment {
        let before = request.previous.get(name).copied().unwrap_or(0);
        let Some(member) = fleet.get(name) else {
            found.push(Violation::Closed { member: name.clone() });
            continue;
        };
        if *count > before || !request.previous.contains_key(name) {
            check_open(member, request, &mut found);
        }
        if *count > before {
            check_room(member, request, u64::from(count - before), &mut found);
        }
        check_bounds(member, request, *count, before, &mut found);
    }
    if request.tier_mode == TierMode::Overflow && matches!(request.mode, Mode::Divide(_)) {
        check_tiers(fleet, request, decision, &mut found);
    }
    found
}

fn check_sum(request: &Request, decision: &Decision, found: &mut Vec<Violation>) {
    if !matches!(request.mode, Mode::Divide(_) | Mode::Whole) {
        return;
    }
    let placed = decision.assignment.values().map(|count| u64::from(*count)).sum::<u64>();
    let short = decision.shortfall.as_ref().map_or(0, |shortfall| u64::from(shortfall.replicas));
    let asked = u64::from(request.replicas);
    if placed + short != asked {
        found.push(Violation::Sum { placed, short, asked });
    }
}

fn check_open(member: &Member, request: &Request, found: &mut Vec<Violation>) {
    let tainted = member
        .taints
        .iter()
        .any(|taint| !request.tolerations.iter().any(|toleration| toleration.tolerates(taint)));
    let selected = request.tiers.is_empty() || request.tiers.iter().any(|tier| tier.admits(member));
    let closed = member.health != crate::Health::Good
        || member.cordoned
        || tainted
        || !selected
        || request.leaving.contains(&member.name)
        || member.kinds.as_ref().is_some_and(|kinds| !kinds.contains(&request.kind));
    if closed {
        found.push(Violation::Closed { member: member.name.clone() });
    }
}

fn check_room(member: &Member, request: &Request, more: u64, found: &mut Vec<Violation>) {
    if let Some(fits) = room(member, &request.needs)
        && more > fits
    {
        found.push(Violation::Room { member: member.name.clone(), more, fits });
    }
}

fn check_bounds(
    member: &Member,
    request: &Request,
    count: u32,
    before: u32,
    found: &mut Vec<Violation>,
) {
    if !matches!(request.mode, Mode::Divide(_)) {
        return;
    }
    let Some(bounds) = request.bounds.iter().find(|bounds| bounds.clusters.admits(member)) else {
        return;
    };
    let above = bounds.max.is_some_and(|max| count > max);
    // Fewer than the minimum may stay where they were, or where there are not enough for all.
    let below = count > 0 && count < bounds.min && count > before;
    if above || below {
        found.push(Violation::Bounds { member: member.name.clone(), count });
    }
}

fn check_tiers(fleet: &Fleet, request: &Request, decision: &Decision, found: &mut Vec<Violation>) {
    let tier = |member: &Member| request.tiers.iter().position(|tier| tier.admits(member));
    let count = |name: &str| decision.assignment.get(name).copied().unwrap_or(0);
    let before = |name: &str| request.previous.get(name).copied().unwrap_or(0);
    for later in fleet.iter().filter(|member| count(&member.name) > before(&member.name)) {
        let earlier = fleet.iter().find(|member| {
            let mut complaints = Vec::new();
            check_open(member, request, &mut complaints);
            let bounded =
                request.bounds.iter().find(|bounds| bounds.clusters.admits(member)).is_some_and(
                    |b| b.min > 0 || b.max.is_some_and(|max| count(&member.name) >= max),
                );
            let weightless = match &request.mode {
                Mode::Divide(crate::DivideBy::Weighted(weights)) => {
                    !weights.is_empty()
                        && weights
                            .iter()
                            .find(|entry| entry.clusters.admits(member))
                            .is_none_or(|entry| entry.weight == 0)
                }
                _ => member.room == Room::Unknown,
            };
            let added = u64::from(count(&member.name).saturating_sub(before(&member.name)));
            let roomy = room(member, &request.needs).is_none_or(|fits| fits > added);
            tier(member) < tier(later) && complaints.is_empty() && !bounded && !weightless && roomy
        });
        if let Some(earlier) = earlier {
            found.push(Violation::Tier {
                member: later.name.clone(),
                earlier: earlier.name.clone(),
            });
        }
    }
}

/// Room counted by putting one replica after the other on the nodes.
fn room(member: &Member, needs: &PodNeeds) -> Option<u64> {
    let Room::Nodes(shapes) = &member.room else {
        return None;
    };
    Some(shapes.iter().map(|shape| shape.nodes * on_one_node(shape, member, needs)).sum())
}

fn on_one_node(shape: &NodeShape, member: &Member, needs: &PodNeeds) -> u64 {
    let labelled = needs.node_selector.iter().all(|(k, v)| shape.labels.get(k) == Some(v));
    let tolerated = shape
        .taints
        .iter()
        .all(|taint| needs.tolerations.iter().any(|toleration| toleration.tolerates(taint)));
    if !labelled || !tolerated {
        return 0;
    }
    let kept = |amount: u64| (amount * u64::from(member.reserve_percent)).div_ceil(100);
    let mut pods = 0;
    let mut used = (0_u64, 0_u64);
    loop {
        let next = (used.0 + needs.request.cpu_milli, used.1 + needs.request.memory_bytes);
        let others = needs.request.others.iter().all(|(name, amount)| {
            let free = shape.free.others.get(name).copied().unwrap_or(0);
            let all = shape.allocatable.others.get(name).copied().unwrap_or(0);
            amount * (pods + 1) + kept(all) <= free || *amount == 0
        });
        let cpu = next.0 + kept(shape.allocatable.cpu_milli) <= shape.free.cpu_milli
            || needs.request.cpu_milli == 0;
        let memory = next.1 + kept(shape.allocatable.memory_bytes) <= shape.free.memory_bytes
            || needs.request.memory_bytes == 0;
        if pods >= shape.free_pods || !cpu || !memory || !others {
            return pods;
        }
        used = next;
        pods += 1;
    }
}
