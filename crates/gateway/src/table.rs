//! The configuration in force: what the view says, joined with what lives longer than one
//! configuration (health, load, connections, ledgers). Built off the request path and exchanged
//! whole; a request works on the table it began with.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hanse_rt::Mono;
use hanse_xds::{Level, Order, Protocol, View};
use tokio::sync::watch;

use crate::{
    health::{Outcome, PeerHealth},
    pool::{Dialer, H1Pool, H2Pool},
    retry::Ledger,
};

/// Requests under way, and how long answers take.
#[derive(Debug, Default)]
pub(crate) struct Load {
    in_flight: AtomicUsize,
    micros: AtomicU64,
}

/// Counts one request while it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Load>);

/// What a failure counts as in the average of answer times: a place that fails fast must not
/// look like a fast place.
const FAILURE_MICROS: u64 = 1_000_000;

impl Load {
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn answered(&self, after: Duration) {
        self.sample(u64::try_from(after.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn failed(&self) {
        self.sample(FAILURE_MICROS);
    }

    /// Expected cost of one more request.
    pub(crate) fn cost(&self) -> u64 {
        let waiting = u64::try_from(self.in_flight()).unwrap_or(u64::MAX).saturating_add(1);
        self.micros.load(Ordering::Relaxed).max(100).saturating_mul(waiting)
    }

    /// Moving average that rises at once and falls slowly (peak EWMA). A lost update between two
    /// threads costs one sample.
    fn sample(&self, micros: u64) {
        let before = self.micros.load(Ordering::Relaxed);
        let after = if micros > before { micros } else { before - (before - micros) / 8 };
        self.micros.store(after, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One pod of one service.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) load: Arc<Load>,
    pub(crate) outcome: Outcome,
    pub(crate) h1: H1Pool,
    pub(crate) h2: Arc<H2Pool>,
}

/// One address of another gateway, shared by all services.
#[derive(Debug)]
pub(crate) struct PeerAddress {
    pub(crate) cluster: String,
    pub(crate) address: SocketAddr,
    pub(crate) load: Arc<Load>,
    pub(crate) health: Arc<PeerHealth>,
    pub(crate) requests: Arc<H2Pool>,
    /// Tunnels have connections of their own: a stalled one must not slow requests.
    pub(crate) tunnels: Arc<H2Pool>,
}

/// Another cluster's gateways.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) observe: bool,
    pub(crate) probe: bool,
    pub(crate) addresses: Vec<Arc<PeerAddress>>,
}

impl Peer {
    /// Up when one address is, down when all are.
    pub(crate) fn level(&self) -> Level {
        let levels = || self.addresses.iter().map(|address| address.health.level());
        if levels().any(|level| level == Level::Up) {
            Level::Up
        } else if !self.addresses.is_empty() && levels().all(|level| level == Level::Down) {
            Level::Down
        } else {
            Level::Unknown
        }
    }

    /// To the nearest of its addresses, where it was measured.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.addresses.iter().filter_map(|address| address.health.round_trip()).min()
    }
}

/// One cluster within a priority.
#[derive(Debug)]
pub(crate) struct Hop {
    pub(crate) cluster: String,
    pub(crate) weight: u32,
    pub(crate) reason: String,
    pub(crate) lost: bool,
    /// None: the own cluster.
    pub(crate) peer: Option<Arc<Peer>>,
    pub(crate) outcome: Arc<Outcome>,
}

/// One service port.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    pub(crate) protocol: Protocol,
    pub(crate) timeout: Duration,
    pub(crate) retry_budget_percent: u8,
    /// Orders by the second from which they hold.
    orders: BTreeMap<i64, Vec<Vec<Hop>>>,
    pub(crate) local: Vec<Arc<Endpoint>>,
    pub(crate) excluded: BTreeMap<String, String>,
    pub(crate) ledger: Arc<Ledger>,
}

impl Route {
    /// The order that holds at `now`: isolations end here, without a word from anybody.
    pub(crate) fn order(&self, now: i64) -> &[Vec<Hop>] {
        self.orders.range(..=now).next_back().map_or(&[], |(_, order)| order.as_slice())
    }
}

/// Everything in force.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) routes: BTreeMap<String, Arc<Route>>,
    pub(crate) peers: BTreeMap<String, Arc<Peer>>,
    pub(crate) view: Arc<View>,
}

/// What lives longer than one table. One writer: the worker that builds tables.
pub(crate) struct Registry {
    dialer: Dialer,
    changes: watch::Sender<u64>,
    endpoints: BTreeMap<(String, SocketAddr), Arc<Endpoint>>,
    peers: BTreeMap<(String, SocketAddr), Arc<PeerAddress>>,
    outcomes: BTreeMap<(String, String), Arc<Outcome>>,
    ledgers: BTreeMap<String, Arc<Ledger>>,
}

impl Registry {
    pub(crate) fn new(dialer: Dialer, changes: watch::Sender<u64>) -> Self {
        Self {
            dialer,
            changes,
            endpoints: BTreeMap::new(),
            peers: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            ledgers: BTreeMap::new(),
        }
    }

    /// The table that says what `view` says.
    pub(crate) fn build(&mut self, view: Arc<View>) -> Table {
        let mut next = Self::new(self.dialer.clone(), self.changes.clone());
        let mut peers = BTreeMap::new();
        for (cluster, peer) in &view.peers {
            let addresses: Vec<Arc<PeerAddress>> = peer
                .addresses
                .iter()
                .map(|address| self.keep_peer(&mut next, cluster, *address))
                .collect();
            for address in &addresses {
                address.health.set_probed(peer.probe, Mono::now());
            }
            let peer = Peer { observe: peer.observe, probe: peer.probe, addresses };
            peers.insert(cluster.clone(), Arc::new(peer));
        }
        let mut routes = BTreeMap::new();
        for (name, service) in &view.services {
            let local = service
                .local
                .iter()
                .map(|address| self.keep_endpoint(&mut next, name, *address))
                .collect();
            let mut orders = BTreeMap::new();
            orders.insert(i64::MIN, self.hops(&mut next, name, &service.order, &peers));
            for later in &service.later {
                orders.insert(later.from, self.hops(&mut next, name, &later.order, &peers));
            }
            let ledger = self.ledgers.get(name).cloned().unwrap_or_default();
            next.ledgers.insert(name.clone(), Arc::clone(&ledger));
            let route = Route {
                name: name.as_str().into(),
                protocol: service.protocol,
                timeout: service.request_timeout,
                retry_budget_percent: service.retry_budget_percent,
                orders,
                local,
                excluded: service.excluded.clone(),
                ledger,
            };
            routes.insert(name.clone(), Arc::new(route));
        }
        *self = next;
        Table { routes, peers, view }
    }

    fn hops(
        &self,
        next: &mut Self,
        service: &str,
        order: &Order,
        peers: &BTreeMap<String, Arc<Peer>>,
    ) -> Vec<Vec<Hop>> {
        let mut hops = Vec::with_capacity(order.len());
        for priority in order {
            let mut targets = Vec::with_capacity(priority.len());
            for target in priority {
                let peer = peers.get(&target.cluster).cloned();
                if !target.own && peer.is_none() {
                    continue;
                }
                let key = (service.to_owned(), target.cluster.clone());
                let outcome = self.outcomes.get(&key).cloned().unwrap_or_default();
                next.outcomes.insert(key, Arc::clone(&outcome));
                targets.push(Hop {
                    cluster: target.cluster.clone(),
                    weight: target.weight,
                    reason: target.reason.clone(),
                    lost: target.lost,
                    peer: if target.own { None } else { peer },
                    outcome,
                });
            }
            hops.push(targets);
        }
        hops
    }

    fn keep_endpoint(&self, next: &mut Self, service: &str, address: SocketAddr) -> Arc<Endpoint> {
        let key = (service.to_owned(), address);
        let endpoint = self.endpoints.get(&key).cloned().unwrap_or_else(|| {
            Arc::new(Endpoint {
                address,
                load: Arc::default(),
                outcome: Outcome::default(),
                h1: H1Pool::new(self.dialer.clone(), address),
                h2: H2Pool::new(self.dialer.clone(), address, None),
            })
        });
        next.endpoints.insert(key, Arc::clone(&endpoint));
        endpoint
    }

    fn keep_peer(&self, next: &mut Self, cluster: &str, address: SocketAddr) -> Arc<PeerAddress> {
        let key = (cluster.to_owned(), address);
        let peer = self.peers.get(&key).cloned().unwrap_or_else(|| {
            let health = Arc::new(PeerHealth::new(Mono::now(), self.changes.clone()));
            let pool = || H2Pool::new(self.dialer.clone(), address, Some(Arc::clone(&health)));
            Arc::new(PeerAddress {
                cluster: cluster.to_owned(),
                address,
                load: Arc::default(),
                requests: pool(),
                tunnels: pool(),
                health: Arc::clone(&health),
            })
        });
        next.peers.insert(key, Arc::clone(&peer));
        peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_times_rise_at_once_and_fall_slowly_and_failures_count_as_slow() {
        let load = Arc::new(Load::default());
        load.answered(Duration::from_millis(1));
        let quick = load.cost();
        load.failed();
        let failing = load.cost();
        load.answered(Duration::from_millis(1));
        assert!(load.cost() < failing && load.cost() > quick * 100);
        let calm = load.cost();
        let under_way = load.begin();
        assert_eq!(load.cost(), calm * 2);
        drop(under_way);
        assert_eq!(load.in_flight(), 0);
    }
}
