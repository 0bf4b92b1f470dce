//! What a gateway needs to know, in neutral words: the meaning of a set of resources. Encoding
//! and decoding are each other's inverse; the relay works on this form.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

/// What is spoken on a service port.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1 to the pods; HTTP/1.1 or HTTP/2 from clients.
    #[serde(rename = "HTTP")]
    Http,
    /// HTTP/2 to the pods.
    #[serde(rename = "GRPC")]
    Grpc,
    /// Opaque bytes.
    #[serde(rename = "TCP")]
    Tcp,
}

/// One cluster within a priority.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The cluster.
    pub cluster: String,
    /// Its part of the priority's traffic, relative to the others; at least 1.
    pub weight: u32,
    /// Why it stands here; for people.
    pub reason: String,
    /// Out for a gateway without evidence of its own.
    pub lost: bool,
    /// The viewing cluster itself: its pods, not its gateway.
    pub own: bool,
}

/// Priorities, best first.
pub type Order = Vec<Vec<Target>>;

/// The order that holds from a moment on without a further message.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Later {
    /// Seconds since 1970.
    pub from: i64,
    /// The order then.
    pub order: Order,
}

/// One service port.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// What is spoken.
    pub protocol: Protocol,
    /// Number of its listener.
    pub service_port: u16,
    /// From request head to answer head, retries included.
    pub request_timeout: Duration,
    /// Retries of sent requests as a share of all requests.
    pub retry_budget_percent: u8,
    /// Where requests go.
    pub order: Order,
    /// Who is left out, and why; for people.
    pub excluded: BTreeMap<String, String>,
    /// Orders that follow by themselves, earliest first.
    pub later: Vec<Later>,
    /// Ready pods of the viewing cluster, sorted.
    pub local: Vec<SocketAddr>,
}

/// Another cluster's gateway.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Its provider.
    pub provider: String,
    /// Its region.
    pub region: String,
    /// Its zone, or empty.
    pub zone: String,
    /// Its reachable addresses, sorted.
    pub addresses: Vec<SocketAddr>,
    /// This gateway reports what it sees of it.
    pub observe: bool,
    /// This gateway probes it.
    pub probe: bool,
}

/// Everything one cluster's gateways need to know.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Services by `namespace/name/port`.
    pub services: BTreeMap<String, Service>,
    /// Other gateways by cluster.
    pub peers: BTreeMap<String, Peer>,
}

impl View {
    /// Puts the viewing cluster's own pods in: they never come from the hub. A service without
    /// any loses its own target, so that what is left is true in plain xDS too.
    pub fn with_own_endpoints(mut self, own: &BTreeMap<String, Vec<SocketAddr>>) -> Self {
        for (key, service) in &mut self.services {
            service.local = own.get(key).cloned().unwrap_or_default();
            service.local.sort_unstable();
            service.local.dedup();
            if service.local.is_empty() {
                drop_own(&mut service.order);
                for later in &mut service.later {
                    drop_own(&mut later.order);
                }
            }
        }
        self
    }
}

fn drop_own(order: &mut Order) {
    for priority in order.iter_mut() {
        priority.retain(|target| !target.own);
    }
    order.retain(|priority| !priority.is_empty());
}
