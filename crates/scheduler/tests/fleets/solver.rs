//! An exhaustive solver for small fleets. It tries every set of members and shares no code with
//! the engine.

use std::collections::BTreeMap;

use hanse_scheduler::{
    DivideBy, Enforce, Fleet, HOSTNAME, Health, Member, Mode, NodeShape, PodNeeds, Request,
    Resources, Room, Selection, Skew, Standby, TierMode, Topology,
};

/// Whether there is an assignment of all replicas for a fresh request.
pub(crate) fn is_feasible(fleet: &Fleet, request: &Request) -> bool {
    let rules = &request.rules;
    let divides = matches!(request.mode, Mode::Divide(_));
    if divides && request.quota.is_some_and(|quota| quota < request.replicas) {
        return false;
    }
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
        && enough_runs_elsewhere(request, used)
        && request.rules.spread.iter().all(|spread| {
            let mut domains: Vec<&str> = used.iter().map(|entry| spread.key.of(entry.0)).collect();
            domains.sort_unstable();
            domains.dedup();
            domains.len() >= spread.min.min(request.replicas) as usize
                && spread.max.is_none_or(|max| domains.len() <= max as usize)
        })
}

/// Whether replicas can stand so that no domain holds more than may be lost, where a policy
/// requires it.
fn enough_runs_elsewhere(request: &Request, used: &[&(&Member, u64, u64)]) -> bool {
    let survive = request.rules.survive.as_ref();
    let survive =
        survive.filter(|it| it.standby == Standby::Running && it.enforce == Enforce::Require);
    let Some(survive) = survive else {
        return true;
    };
    let replicas = u64::from(request.replicas);
    // The most that may be lost: what is left is still the share that has to run.
    let may_be_lost = (0..=replicas)
        .rev()
        .find(|lost| (replicas - lost) * 100 >= replicas * u64::from(survive.min_percent));
    let may_be_lost = may_be_lost.unwrap_or(0);
    let mut domains: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (member, low, high) in used {
        let domain = match survive.domain.of(member) {
            "" => &member.name,
            domain => domain,
        };
        let sums = domains.entry(domain).or_default();
        *sums = (sums.0 + low, sums.1 + high);
    }
    domains.values().all(|(low, _)| *low <= may_be_lost)
        && domains.values().map(|(_, high)| may_be_lost.min(*high)).sum::<u64>() >= replicas
}

/// Fewest and most replicas of a member that is used; absent when it cannot be.
fn range(member: &Member, request: &Request) -> Option<(u64, u64)> {
    let rules = &request.rules;
    let open = member.health == Health::Good
        && !member.cordoned
        && !request.leaving.contains(&member.name)
        && rules.tenant.as_ref().is_none_or(|tenant| tenant.admits(member))
        && request.others.as_ref().is_none_or(|others| {
            let near = others.near.as_ref().is_none_or(|near| near.contains(&member.name));
            near && !others.away.contains(&member.name)
        })
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
            let grown = nodes.elastic.as_ref().map_or(0, |elastic| {
                times(&elastic.resources, &request.needs.request, elastic.pods)
            });
            (places(member, request) + grown).min(apart(member, request))
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

/// Places in all for replicas that keep apart. Nodes that the member adds count for none: how many
/// there will be is not known.
fn apart(member: &Member, request: &Request) -> u64 {
    let needs = &request.needs;
    let Room::Nodes(nodes) = &member.room else {
        return u64::MAX;
    };
    let shapes = nodes.shapes.iter().filter(|shape| admits(shape, needs));
    let open: Vec<(&NodeShape, u64)> = shapes.map(|shape| (shape, 1)).collect();
    let places = needs.apart.iter().map(|label| by_domain(&open, label).len() as u64);
    places.min().unwrap_or(u64::MAX)
}

/// How many replicas of a request fit on the nodes of a member.
pub(crate) fn places(member: &Member, request: &Request) -> u64 {
    let Room::Nodes(nodes) = &member.room else {
        return 0;
    };
    let needs = &request.needs;
    let shapes = nodes.shapes.iter().filter(|shape| admits(shape, needs));
    let open: Vec<(&NodeShape, u64)> =
        shapes.map(|shape| (shape, on_node(shape, member, needs))).collect();
    let all = open.iter().map(|(shape, each)| shape.nodes * each).sum();
    let apart = needs
        .apart
        .iter()
        .map(|label| by_domain(&open, label).into_iter().filter(|room| *room > 0).count() as u64);
    let even = needs.skews.iter().map(|skew| one_by_one(&by_domain(&open, &skew.label), skew));
    apart.chain(even).fold(all, u64::min)
}

/// Room by the value of a label of nodes.
fn by_domain(open: &[(&NodeShape, u64)], label: &str) -> Vec<u64> {
    let mut rooms = BTreeMap::new();
    for (at, (shape, each)) in open.iter().enumerate() {
        for node in 0..shape.nodes {
            let value = match shape.class.labels.get(label) {
                _ if label == HOSTNAME => format!("{at}-{node}"),
                Some(value) => value.clone(),
                None => continue,
            };
            *rooms.entry(value).or_default() += each;
        }
    }
    rooms.into_values().collect()
}

/// Puts one replica after the other into a domain that has room and may take it.
fn one_by_one(rooms: &[u64], skew: &Skew) -> u64 {
    let mut held = vec![0; rooms.len()];
    loop {
        let absent = rooms.len() < skew.min_domains as usize;
        let emptiest = if absent { 0 } else { held.iter().copied().min().unwrap_or(0) };
        let takes = |at: usize| held[at] < rooms[at] && held[at] < emptiest + u64::from(skew.most);
        let Some(at) = (0..rooms.len()).find(|at| takes(*at)) else {
            return held.iter().sum();
        };
        held[at] += 1;
    }
}

fn admits(shape: &NodeShape, needs: &PodNeeds) -> bool {
    needs.node_selector.iter().all(|(key, value)| shape.class.labels.get(key) == Some(value))
        && shape.class.taints.iter().all(|t| needs.tolerations.iter().any(|own| own.tolerates(t)))
}

fn on_node(shape: &NodeShape, member: &Member, needs: &PodNeeds) -> u64 {
    let part = |amount: u64| (amount * u64::from(member.reserve_percent)).div_ceil(100);
    let mut free = shape.free.clone();
    free.cpu_milli = free.cpu_milli.saturating_sub(part(shape.allocatable.cpu_milli));
    free.memory_bytes = free.memory_bytes.saturating_sub(part(shape.allocatable.memory_bytes));
    for (name, amount) in &mut free.others {
        let all = shape.allocatable.others.get(name).copied().unwrap_or(0);
        *amount = amount.saturating_sub(part(all));
    }
    times(&free, &needs.request, shape.free_pods)
}

/// How many fit, up to a number of pods, tried one after the other.
fn times(free: &Resources, need: &Resources, pods: u64) -> u64 {
    let holds = |count: &u64| {
        let others = |name: &String| free.others.get(name).copied().unwrap_or(0);
        need.cpu_milli * count <= free.cpu_milli
            && need.memory_bytes * count <= free.memory_bytes
            && need.others.iter().all(|(name, amount)| amount * count <= others(name))
    };
    (1..=pods).take_while(holds).count() as u64
}
