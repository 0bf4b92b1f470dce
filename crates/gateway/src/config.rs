//! What a gateway is told at its start, and what its owner gets back.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use hanse_rt::{Metrics, Readiness, Rng, Wall, net::AddressMap};

use crate::worker::Shared;

/// Start options. Everything else comes by xDS.
#[derive(Clone)]
pub struct GatewayConfig {
    /// Name of the cluster that this gateway stands in.
    pub cluster: String,
    /// Address of the service ports and of the hop between gateways.
    pub bind: IpAddr,
    /// Port of the hop between gateways; usually 15443, 0 takes a free one.
    pub hop_port: u16,
    /// Discovery address of the relay.
    pub relay: SocketAddr,
    /// Bearer token for the relay.
    pub token: String,
    /// Where addresses of pods and of other gateways are really reached.
    pub addresses: AddressMap,
    /// Folder of the last good snapshot.
    pub data: PathBuf,
    /// Address of the admin pages, if any.
    pub admin: Option<SocketAddr>,
    /// Root of all chance.
    pub rng: Rng,
    /// Clock against which isolations end.
    pub wall: Wall,
    /// Where metrics are registered.
    pub metrics: Metrics,
    /// Held back until the first snapshot, from disk or relay, is in force.
    pub readiness: Readiness,
}

impl std::fmt::Debug for GatewayConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayConfig")
            .field("cluster", &self.cluster)
            .field("bind", &self.bind)
            .field("hop_port", &self.hop_port)
            .field("relay", &self.relay)
            .finish_non_exhaustive()
    }
}

/// The gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken or not ours.
    #[error("cannot listen on {address} ({what})")]
    Listen {
        /// Which listener.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// A running gateway.
#[derive(Clone)]
pub struct Gateway {
    /// Bound address of the hop between gateways.
    pub hop: SocketAddr,
    /// Bound address of the admin pages.
    pub admin: Option<SocketAddr>,
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("hop", &self.hop)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// Where a request for `service` (`namespace/name/port`) would go now, as JSON, with the
    /// reason for each cluster; nothing for an unknown service.
    pub fn why(&self, service: &str) -> Option<serde_json::Value> {
        crate::pages::why(&self.shared, service)
    }
}
