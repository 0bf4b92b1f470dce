//! The decision: in which order one cluster uses the others for each service, and why.
//!
//! Who overrides whom, as far as the hub decides it: residency, Isolate and drain take a cluster
//! out for everybody; a verdict of loss only lowers it by one priority and marks it, because a
//! gateway's own evidence is better; readiness bounds the set. The gateway does the rest.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{
        Cluster, ClusterName, Locality, PUBLIC_NETWORK, ServiceKey, ServiceSpec, StayWithin,
        UnixSeconds, World,
    },
    observers::observers,
    snapshot::{Border, Exclusion, Later, Peer, Priority, Reason, Route, Snapshot, Target},
};

/// Ends of isolations that one snapshot looks ahead to; later ones come with a later snapshot.
const MAX_LATER: usize = 4;
/// Priorities of a service whose gateways the viewer probes without being an observer.
const PROBED_PRIORITIES: usize = 2;
/// Resolution of weights where two priorities are blended.
const BLEND: u64 = 10_000;

/// The snapshot for `viewer` at `now`, or nothing when the viewer is no member.
pub fn plan(world: &World, viewer: &ClusterName, now: UnixSeconds) -> Option<Snapshot> {
    let viewer = world.clusters.get(viewer)?;
    let routes: BTreeMap<ServiceKey, Route> = world
        .services
        .values()
        .map(|service| (service.key.clone(), route(world, viewer, service, now)))
        .collect();
    let observed: BTreeSet<ClusterName> = observers(world)
        .into_iter()
        .filter(|(_, by)| by.contains(&viewer.name))
        .map(|(target, _)| target)
        .collect();
    let peers = peers(world, viewer, &routes, &observed);
    Some(Snapshot { viewer: viewer.name.clone(), place: viewer.place.clone(), routes, peers })
}

fn route(world: &World, viewer: &Cluster, service: &ServiceSpec, now: UnixSeconds) -> Route {
    let (priorities, excluded) = order(world, viewer, service, now);
    let ends: BTreeSet<UnixSeconds> = world
        .clusters
        .values()
        .filter_map(|cluster| cluster.operator.isolated_until)
        .filter(|until| *until > now)
        .collect();
    let mut later = Vec::new();
    let mut last = &priorities;
    let orders: Vec<(UnixSeconds, Vec<Priority>)> = ends
        .into_iter()
        .take(MAX_LATER)
        .map(|end| (end, order(world, viewer, service, end).0))
        .collect();
    for (from, priorities) in &orders {
        if priorities != last {
            later.push(Later { from: *from, priorities: priorities.clone() });
        }
        last = priorities;
    }
    Route {
        protocol: service.protocol,
        service_port: service.service_port,
        timeouts: service.timeouts,
        priorities,
        excluded,
        later,
    }
}

/// Reachable gateway addresses of `cluster`: those of the viewer's network, else public ones.
fn reachable(viewer: &Cluster, cluster: &Cluster) -> Vec<std::net::SocketAddr> {
    let of = |network: &str| -> Vec<_> {
        let mut found: Vec<_> = cluster
            .gateways
            .iter()
            .filter(|gateway| gateway.network == network)
            .map(|gateway| gateway.address)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    let own = of(&viewer.network);
    if own.is_empty() { of(PUBLIC_NETWORK) } else { own }
}

fn peers(
    world: &World,
    viewer: &Cluster,
    routes: &BTreeMap<ServiceKey, Route>,
    observed: &BTreeSet<ClusterName>,
) -> BTreeMap<ClusterName, Peer> {
    let mut used = BTreeSet::new();
    let mut probed = observed.clone();
    for route in routes.values() {
        let elsewhere =
            route.priorities.iter().filter(|priority| !priority.keys().eq([&viewer.name]));
        probed.extend(elsewhere.take(PROBED_PRIORITIES).flat_map(|p| p.keys().cloned()));
        let orders = std::iter::once(&route.priorities)
            .chain(route.later.iter().map(|later| &later.priorities));
        for priority in orders.flatten() {
            used.extend(priority.keys().cloned());
        }
    }
    used.union(observed)
        .filter(|name| **name != viewer.name)
        .filter_map(|name| world.clusters.get(name))
        .map(|cluster| {
            let peer = Peer {
                place: cluster.place.clone(),
                addresses: reachable(viewer, cluster),
                observe: observed.contains(&cluster.name),
                probe: probed.contains(&cluster.name),
            };
            (cluster.name.clone(), peer)
        })
        .filter(|(_, peer)| !peer.addresses.is_empty())
        .collect()
}

type Excluded = BTreeMap<ClusterName, Exclusion>;

fn order(
    world: &World,
    viewer: &Cluster,
    service: &ServiceSpec,
    now: UnixSeconds,
) -> (Vec<Priority>, Excluded) {
    let mut excluded = Excluded::new();
    let mut candidates = Vec::new();
    for cluster in world.clusters.values() {
        match exclusion(viewer, cluster, service, now) {
            Some(why) => drop(excluded.insert(cluster.name.clone(), why)),
            None => candidates.push(cluster),
        }
    }
    // A drain of everything must not become an outage: nobody else could answer.
    let drained = |cluster: &&Cluster| cluster.operator.share_percent == 0;
    if !candidates.iter().all(drained) {
        for cluster in candidates.iter().filter(|cluster| drained(cluster)) {
            excluded.insert(cluster.name.clone(), Exclusion::Drained);
        }
        candidates.retain(|cluster| !drained(cluster));
    }
    let ranked = rank(world, viewer, service, &candidates);
    let lowered = lower_lost(ranked);
    (blend(world, lowered), excluded)
}

fn exclusion(
    viewer: &Cluster,
    cluster: &Cluster,
    service: &ServiceSpec,
    now: UnixSeconds,
) -> Option<Exclusion> {
    let (home, place) = (&viewer.place, &cluster.place);
    let inside = match service.stay_within {
        StayWithin::None => true,
        StayWithin::Provider => home.provider == place.provider,
        StayWithin::Region => home.provider == place.provider && home.region == place.region,
    };
    if let (false, Some(border)) = (inside, Border::of(service.stay_within)) {
        return Some(Exclusion::StayWithin(border));
    }
    if let Some(until) = cluster.operator.isolated_until.filter(|until| *until > now) {
        return Some(Exclusion::Isolated { until });
    }
    if cluster.name == viewer.name {
        return None;
    }
    match service.ready.get(&cluster.name) {
        None => Some(Exclusion::NotThere),
        Some(0) => Some(Exclusion::NoReadyEndpoints),
        Some(_) if reachable(viewer, cluster).is_empty() => Some(Exclusion::NoGateway),
        Some(_) => None,
    }
}

/// Sort key of a priority: the policy's tier, then distance.
type Rank = (usize, u8, u64, String);

fn rank(
    world: &World,
    viewer: &Cluster,
    service: &ServiceSpec,
    candidates: &[&Cluster],
) -> Vec<Priority> {
    let mut ranked: BTreeMap<Rank, Priority> = BTreeMap::new();
    for cluster in candidates {
        let ready = service.ready.get(&cluster.name).copied().unwrap_or(0);
        let (rank, reason, weight) = match &service.locality {
            Locality::Weighted(weights) if weights.get(&cluster.name).is_some_and(|w| *w > 0) => (
                (0, 0, 0, String::new()),
                Reason::Weighted,
                weights.get(&cluster.name).copied().unwrap_or(1),
            ),
            Locality::Ordered(tiers) => {
                match tiers.iter().position(|tier| tier.contains(&cluster.name)) {
                    Some(tier) => ((tier, 0, 0, String::new()), Reason::Ordered, ready),
                    None => nearest(world, viewer, cluster, tiers.len(), ready),
                }
            }
            Locality::Weighted(_) => nearest(world, viewer, cluster, 1, ready),
            Locality::Nearest => nearest(world, viewer, cluster, 0, ready),
        };
        let target = Target {
            weight: weight.max(1),
            reason,
            ready,
            lost: cluster.verdict.is_lost_for_traffic() && cluster.name != viewer.name,
        };
        ranked.entry(rank).or_default().insert(cluster.name.clone(), target);
    }
    ranked.into_values().collect()
}

fn nearest(
    world: &World,
    viewer: &Cluster,
    cluster: &Cluster,
    tier: usize,
    ready: u32,
) -> (Rank, Reason, u32) {
    let (home, place) = (&viewer.place, &cluster.place);
    let same_region = home.provider == place.provider && home.region == place.region;
    let (class, distance, reason) = if cluster.name == viewer.name {
        (0, 0, Reason::Own)
    } else if same_region && home.zone.is_some() && home.zone == place.zone {
        (1, 0, Reason::SameZone)
    } else if same_region {
        (2, 0, Reason::SameRegion)
    } else {
        match world.round_trip(&home.region, &place.region) {
            Some(micros) => (3, micros, Reason::RoundTrip),
            None => (4, 0, Reason::UnknownDistance),
        }
    };
    let region =
        if same_region { String::new() } else { format!("{}/{}", place.provider, place.region) };
    ((tier, class, distance, region), reason, ready)
}

/// Lost clusters stand one priority lower than they would.
fn lower_lost(ranked: Vec<Priority>) -> Vec<Priority> {
    let mut lowered = Vec::with_capacity(ranked.len());
    let mut carried = Priority::new();
    for priority in ranked {
        let (lost, usable): (Priority, Priority) =
            priority.into_iter().partition(|(_, target)| target.lost);
        lowered.extend([usable, std::mem::replace(&mut carried, lost)]);
    }
    lowered.push(carried);
    lowered.retain(|priority| !priority.is_empty());
    lowered
}

/// A cluster that drains or returns keeps its share only; the rest goes to those beside it in
/// its priority, or, where all beside it are limited too, to the next priority.
fn blend(world: &World, ranked: Vec<Priority>) -> Vec<Priority> {
    let share = |name: &ClusterName| {
        world.clusters.get(name).map_or(100, |cluster| cluster.operator.share_percent.min(100))
    };
    let mut blended: Vec<Priority> = Vec::with_capacity(ranked.len());
    let mut rest = ranked.into_iter().peekable();
    while let Some(mut priority) = rest.next() {
        if priority.keys().all(|name| share(name) == 100) {
            blended.push(priority);
            continue;
        }
        let full = priority.keys().any(|name| share(name) == 100);
        let next = if full { None } else { rest.next() };
        let total: u64 = priority.values().map(|target| u64::from(target.weight)).sum();
        let mut kept = 0;
        for (name, target) in &mut priority {
            let part = BLEND * u64::from(target.weight) / total.max(1);
            let part = (part * u64::from(share(name)) / 100).max(1);
            kept += part;
            target.weight = u32::try_from(part).unwrap_or(u32::MAX);
        }
        if let Some(next) = next {
            let left = BLEND.saturating_sub(kept).max(1);
            let total: u64 = next.values().map(|target| u64::from(target.weight)).sum();
            for (name, mut target) in next {
                let part = (left * u64::from(target.weight) / total.max(1)).max(1);
                target.weight = u32::try_from(part).unwrap_or(u32::MAX);
                priority.insert(name, target);
            }
        }
        blended.push(priority);
    }
    blended
}

#[cfg(test)]
mod tests;
