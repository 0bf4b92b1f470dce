//! An exhaustive solver for small fleets. It tries every set of members and shares no code with
//! the engine.

use hanse_scheduler::{
    DivideBy, Fleet, Health, Member, Mode, Request, Room, Selection, TierMode, Topology,
};

/// Whether there is an assignment of all replicas for a fresh request.
pub(crate) fn is_feasible(fleet: &Fleet, request: &Request) -> bool {
    let rules = &request.rules;
    let everyone = Selection::default();
    let groups: Vec<Vec<&Selection>> = if rules.tiers.is_empty() {
        vec![vec![&everyone]]
    } else if rules.tier_mode == TierMode::Fallback {
        rules.tiers.iter().map(|tier| vec![tier]).collect()
    } else {
        vec![rules.tiers.iter().collect()]
    };
    groups.iter().enumerate().any(|(number, group)| {
        let members: Vec<(&Member, u64, u64)> = fleet
            .iter()
            .filter(|member| group.iter().any(|tier| tier.admits(member)))
            // With Fallback a member belongs to the first tier that admits it.
            .filter(|member| {
                rules.tier_mode == TierMode::Overflow
                    || !rules.tiers.iter().take(number).any(|tier| tier.admits(member))
            })
            .filter_map(|member| range(member, request).map(|(low, high)| (member, low, high)))
            .collect();
        (1_u32..1 << members.len()).any(|set| {
            let used: Vec<_> = members
                .iter()
                .enumerate()
                .filter(|(at, _)| set >> at & 1 == 1)
                .map(|(_, entry)| entry)
                .collect();
            fits(request, &used)
        })
    })
}

fn fits(request: &Request, used: &[&(&Member, u64, u64)]) -> bool {
    let replicas = u64::from(request.replicas);
    if matches!(request.mode, Mode::Whole) {
        return used.len() == 1
            && used[0].2 >= replicas
            && request.rules.spread.iter().all(|spread| spread.min <= 1);
    }
    let low: u64 = used.iter().map(|entry| entry.1).sum();
    let high: u64 = used.iter().map(|entry| entry.2).sum();
    low <= replicas
        && replicas <= high
        && request.rules.spread.iter().all(|spread| {
            let mut domains: Vec<&str> = used.iter().map(|entry| spread.key.of(entry.0)).collect();
            domains.sort_unstable();
            domains.dedup();
            domains.len() >= spread.min.min(request.replicas) as usize
                && spread.max.is_none_or(|max| domains.len() <= max as usize)
        })
}

/// Fewest and most replicas of a member that is used; absent when it cannot be.
fn range(member: &Member, request: &Request) -> Option<(u64, u64)> {
    let rules = &request.rules;
    let open = member.health == Health::Good
        && !member.cordoned
        && !request.leaving.contains(&member.name)
        && member.taints.iter().all(|t| rules.tolerations.iter().any(|own| own.tolerates(t)))
        && member.kinds.as_ref().is_none_or(|kinds| kinds.contains(&*request.kind))
        && rules
            .spread
            .iter()
            .all(|spread| spread.key == Topology::Cluster || !spread.key.of(member).is_empty());
    if !open {
        return None;
    }
    let mut room_matters = true;
    if let Mode::Divide(DivideBy::Weighted(weights)) = &request.mode {
        room_matters = false;
        if !weights.is_empty() {
            weights.iter().find(|entry| entry.clusters.admits(member)).filter(|e| e.weight > 0)?;
        }
    }
    let room = match &member.room {
        Room::Unknown if room_matters && matches!(request.mode, Mode::Divide(_)) => return None,
        Room::Unknown => u64::MAX >> 8,
        Room::Nodes(nodes) => {
            let needs = &request.needs;
            let ready: u64 =
                nodes.shapes.iter().map(|s| s.nodes * on_node(s, member, request)).sum();
            let grown = nodes.elastic.as_ref().map_or(0, |elastic| {
                (1..=elastic.pods)
                    .take_while(|pods| {
                        needs.request.cpu_milli * pods <= elastic.resources.cpu_milli
                            && needs.request.memory_bytes * pods <= elastic.resources.memory_bytes
                    })
                    .count() as u64
            });
            ready + grown
        }
    };
    let bounds = rules.bounds.iter().find(|entry| entry.clusters.admits(member));
    let low = match request.mode {
        Mode::Divide(_) => bounds.map_or(1, |bounds| u64::from(bounds.min.max(1))),
        _ => 0,
    };
    let high = bounds.and_then(|bounds| bounds.max).map_or(room, |max| room.min(max.into()));
    (low <= high && high > 0).then_some((low, high))
}

/// How many replicas of a request fit on the nodes of a member.
pub(crate) fn places(member: &Member, request: &Request) -> u64 {
    let Room::Nodes(nodes) = &member.room else {
        return 0;
    };
    nodes.shapes.iter().map(|shape| shape.nodes * on_node(shape, member, request)).sum()
}

fn on_node(shape: &hanse_scheduler::NodeShape, member: &Member, request: &Request) -> u64 {
    let (needs, class) = (&request.needs, &shape.class);
    if !needs.node_selector.iter().all(|(key, value)| class.labels.get(key) == Some(value))
        || !class.taints.iter().all(|t| needs.tolerations.iter().any(|own| own.tolerates(t)))
    {
        return 0;
    }
    let part = |amount: u64| (amount * u64::from(member.reserve_percent)).div_ceil(100);
    let cpu = shape.free.cpu_milli.saturating_sub(part(shape.allocatable.cpu_milli));
    let memory = shape.free.memory_bytes.saturating_sub(part(shape.allocatable.memory_bytes));
    (1..=shape.free_pods)
        .take_while(|pods| {
            needs.request.cpu_milli * pods <= cpu && needs.request.memory_bytes * pods <= memory
        })
        .count() as u64
}
