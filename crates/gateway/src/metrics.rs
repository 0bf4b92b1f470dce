//! What the gateway counts. Label values are bounded: services beyond the first 500 share one.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_rt::{
    Metrics,
    metrics::{Counters, Gauges, Histograms},
};
use hanse_xds::Level;

/// Services with series of their own.
const MAX_SERVICES: usize = 500;

/// The series of one gateway.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    requests: Counters,
    seconds: Histograms,
    retries: Counters,
    peers: Gauges,
    snapshots: Counters,
    services: Arc<Mutex<BTreeSet<String>>>,
}

impl Counts {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            requests: metrics.counters(
                "hanse_gateway_requests",
                "answered requests and ended tunnels by service, cluster that answered, and code",
            ),
            seconds: metrics.histograms(
                "hanse_gateway_request_seconds",
                "time from request head to answer head by service",
            ),
            retries: metrics
                .counters("hanse_gateway_retries", "further attempts by service and reason"),
            peers: metrics.gauges(
                "hanse_gateway_peer_level",
                "transport evidence of other gateways by cluster: 0 unknown, 1 up, 2 down",
            ),
            snapshots: metrics
                .counters("hanse_gateway_snapshots", "route snapshots by what became of them"),
            services: Arc::default(),
        }
    }

    pub(crate) fn request(&self, service: &str, cluster: &str, code: &str, after: Duration) {
        let service = self.label(service);
        let labels = vec![
            ("service", service.clone()),
            ("cluster", cluster.to_owned()),
            ("code", code.to_owned()),
        ];
        self.requests.get_or_create(&labels).inc();
        self.seconds.get_or_create(&vec![("service", service)]).observe(after.as_secs_f64());
    }

    pub(crate) fn retry(&self, service: &str, reason: &'static str) {
        let labels = vec![("service", self.label(service)), ("reason", reason.to_owned())];
        self.retries.get_or_create(&labels).inc();
    }

    pub(crate) fn peer(&self, cluster: &str, level: Level) {
        let value = match level {
            Level::Unknown => 0,
            Level::Up => 1,
            Level::Down => 2,
        };
        self.peers.get_or_create(&vec![("peer", cluster.to_owned())]).set(value);
    }

    pub(crate) fn snapshot(&self, result: &'static str) {
        self.snapshots.get_or_create(&vec![("result", result.to_owned())]).inc();
    }

    fn label(&self, service: &str) -> String {
        let mut known = self.services.lock().expect("no holder of this lock panics");
        if known.contains(service) {
            return service.to_owned();
        }
        if known.len() >= MAX_SERVICES {
            return "other".to_owned();
        }
        known.insert(service.to_owned());
        service.to_owned()
    }
}
