//! The choice: priority, cluster, then endpoint by power of two choices. Own evidence overrides
//! the verdict: down is out, up is in, and only without evidence the verdict counts.

use std::{net::SocketAddr, sync::Arc};

use hanse_rt::{Mono, Rng};
use hanse_xds::Level;

use crate::{
    health::Outcome,
    table::{Endpoint, Hop, PeerAddress, Route},
};

/// Where one attempt goes.
#[derive(Clone, Debug)]
pub(crate) enum Picked {
    /// A pod of the own cluster.
    Pod(Arc<Endpoint>),
    /// Another cluster's gateway.
    Peer(Arc<PeerAddress>, Arc<Outcome>),
}

/// Where a request was already.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    pods: Vec<SocketAddr>,
    clusters: Vec<String>,
}

impl Tried {
    pub(crate) fn add(&mut self, picked: &Picked) {
        match picked {
            Picked::Pod(endpoint) => self.pods.push(endpoint.address),
            Picked::Peer(peer, _) => self.clusters.push(peer.cluster.clone()),
        }
    }
}

/// Why a cluster is not used now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unusable {
    TransportDown,
    VerdictLost,
    NoPod,
    Ejected,
    Tried,
}

impl Unusable {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::TransportDown => "TransportDown",
            Self::VerdictLost => "VerdictLost",
            Self::NoPod => "NoPod",
            Self::Ejected => "Ejected",
            Self::Tried => "Tried",
        }
    }
}

/// Whether `hop` may be used now, its past outcomes aside.
pub(crate) fn transport(route: &Route, hop: &Hop, tried: &Tried) -> Result<(), Unusable> {
    let Some(peer) = &hop.peer else {
        if route.local.is_empty() {
            return Err(Unusable::NoPod);
        }
        let fresh = |pod: &Arc<Endpoint>| !tried.pods.contains(&pod.address);
        return route.local.iter().any(fresh).then_some(()).ok_or(Unusable::Tried);
    };
    if tried.clusters.contains(&hop.cluster) {
        return Err(Unusable::Tried);
    }
    match peer.level() {
        Level::Down => Err(Unusable::TransportDown),
        Level::Unknown if hop.lost => Err(Unusable::VerdictLost),
        Level::Up | Level::Unknown => Ok(()),
    }
}

/// Whether its outcomes put `hop` out now.
pub(crate) fn ejected(route: &Route, hop: &Hop, now: Mono) -> bool {
    match hop.peer {
        Some(_) => hop.outcome.is_out(now),
        None => route.local.iter().all(|pod| pod.outcome.is_out(now)),
    }
}

/// Whether a second place could take the request that is about to go to `picked`.
pub(crate) fn has_alternative(
    route: &Route,
    tried: &Tried,
    picked: &Picked,
    wall: i64,
    now: Mono,
) -> bool {
    route.order(wall).iter().flatten().any(|hop| {
        let same = match (picked, &hop.peer) {
            (Picked::Peer(peer, _), Some(_)) => peer.cluster == hop.cluster,
            (Picked::Pod(_), None) => route.local.len() < 2,
            _ => false,
        };
        !same && transport(route, hop, tried).is_ok() && !ejected(route, hop, now)
    })
}

/// Chooses for one attempt; none when nothing is usable.
pub(crate) fn choose(
    route: &Route,
    tried: &Tried,
    wall: i64,
    now: Mono,
    rng: &mut Rng,
) -> Option<Picked> {
    let order = route.order(wall);
    let usable = |hop: &&Hop| transport(route, hop, tried).is_ok();
    for priority in order {
        let admitted: Vec<&Hop> =
            priority.iter().filter(usable).filter(|hop| !ejected(route, hop, now)).collect();
        if let Some(hop) = by_weight(&admitted, rng)
            && let Some(picked) = endpoint(route, hop, tried, now, rng, true)
        {
            return Some(picked);
        }
    }
    // Every place fails: past outcomes no longer tell them apart, and none may starve for it.
    let rest: Vec<&Hop> = order.iter().flatten().filter(usable).collect();
    rest.first().and_then(|hop| endpoint(route, hop, tried, now, rng, false))
}

/// Chooses a pod of the own cluster, for a request that came over a hop already.
pub(crate) fn choose_local(
    route: &Route,
    tried: &Tried,
    now: Mono,
    rng: &mut Rng,
) -> Option<Picked> {
    pod(route, tried, now, rng, true).or_else(|| pod(route, tried, now, rng, false))
}

fn by_weight<'a>(hops: &[&'a Hop], rng: &mut Rng) -> Option<&'a Hop> {
    let total: u64 = hops.iter().map(|hop| u64::from(hop.weight)).sum();
    let mut at = rng.below(total.max(1));
    for hop in hops {
        let weight = u64::from(hop.weight);
        if at < weight {
            return Some(hop);
        }
        at -= weight;
    }
    hops.first().copied()
}

fn endpoint(
    route: &Route,
    hop: &Hop,
    tried: &Tried,
    now: Mono,
    rng: &mut Rng,
    strict: bool,
) -> Option<Picked> {
    let Some(peer) = &hop.peer else {
        return pod(route, tried, now, rng, strict);
    };
    if strict && !hop.outcome.admits(now) {
        return None;
    }
    let alive: Vec<&Arc<PeerAddress>> =
        peer.addresses.iter().filter(|address| address.health.level() != Level::Down).collect();
    let best = two_choices(&alive, rng, |address| address.load.cost())?;
    Some(Picked::Peer(Arc::clone(best), Arc::clone(&hop.outcome)))
}

fn pod(route: &Route, tried: &Tried, now: Mono, rng: &mut Rng, strict: bool) -> Option<Picked> {
    let fresh: Vec<&Arc<Endpoint>> = route
        .local
        .iter()
        .filter(|pod| !tried.pods.contains(&pod.address))
        .filter(|pod| !strict || !pod.outcome.is_out(now))
        .collect();
    let best = two_choices(&fresh, rng, |pod| pod.load.cost())?;
    if strict && !best.outcome.admits(now) {
        return None;
    }
    Some(Picked::Pod(Arc::clone(best)))
}

fn two_choices<'a, T>(from: &[&'a T], rng: &mut Rng, cost: impl Fn(&T) -> u64) -> Option<&'a T> {
    let count = u64::try_from(from.len()).unwrap_or(u64::MAX);
    let mut draw = || usize::try_from(rng.below(count)).unwrap_or(0);
    let (a, b) = (*from.get(draw())?, *from.get(draw())?);
    Some(if cost(b) < cost(a) { b } else { a })
}
