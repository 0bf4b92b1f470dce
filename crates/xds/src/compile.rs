//! From the routing engine's snapshot to what a gateway needs to know.

use hanse_routing::{self as routing, Priority, Snapshot};

use crate::view::{Later, Order, Peer, Protocol, Service, Target, View};

/// The view of the snapshot's viewer, without its own endpoints: those are the relay's.
pub fn compile(snapshot: &Snapshot) -> View {
    let services = snapshot.routes.iter().map(|(key, route)| {
        let service = Service {
            protocol: match route.protocol {
                routing::Protocol::Http => Protocol::Http,
                routing::Protocol::Grpc => Protocol::Grpc,
                routing::Protocol::Tcp => Protocol::Tcp,
            },
            service_port: route.service_port,
            // A TCP proxy has no request whose time could be limited.
            request_timeout: match route.protocol {
                routing::Protocol::Tcp => std::time::Duration::ZERO,
                routing::Protocol::Http | routing::Protocol::Grpc => route.timeouts.request,
            },
            retry_budget_percent: route.timeouts.retry_budget_percent,
            order: order(snapshot, &route.priorities),
            excluded: route
                .excluded
                .iter()
                .map(|(cluster, why)| (cluster.to_string(), why.to_string()))
                .collect(),
            later: route
                .later
                .iter()
                .map(|later| Later { from: later.from, order: order(snapshot, &later.priorities) })
                .collect(),
            local: Vec::new(),
        };
        (key.to_string(), service)
    });
    let peers = snapshot.peers.iter().map(|(name, peer)| {
        let view = Peer {
            provider: peer.place.provider.clone(),
            region: peer.place.region.clone(),
            zone: peer.place.zone.clone().unwrap_or_default(),
            addresses: peer.addresses.clone(),
            observe: peer.observe,
            probe: peer.probe,
        };
        (name.to_string(), view)
    });
    View { services: services.collect(), peers: peers.collect() }
}

fn order(snapshot: &Snapshot, priorities: &[Priority]) -> Order {
    priorities
        .iter()
        .map(|priority| {
            priority
                .iter()
                .map(|(name, target)| Target {
                    cluster: name.to_string(),
                    weight: target.weight,
                    reason: target.reason.to_string(),
                    lost: target.lost,
                    own: *name == snapshot.viewer,
                })
                .collect()
        })
        .collect()
}
