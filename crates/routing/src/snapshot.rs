//! What the engine answers: one immutable snapshot per viewing cluster, with its reasons. The
//! same value feeds xDS, `explain` and status; it must not know how any of them is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{Hash, Hasher},
    net::SocketAddr,
};

use serde::{Deserialize, Serialize};

use crate::model::{ClusterName, Place, Protocol, ServiceKey, StayWithin, Timeouts, UnixSeconds};

/// Why a cluster is where it is in the order.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Reason {
    /// The viewing cluster itself.
    Own,
    /// Same zone as the viewing cluster.
    SameZone,
    /// Same region.
    SameRegion,
    /// By round-trip time.
    RoundTrip,
    /// Another region, and no round-trip time is known.
    UnknownDistance,
    /// Share given by the policy.
    Weighted,
    /// Tier given by the policy.
    Ordered,
}

/// Why a cluster is not in the order at all.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Exclusion {
    /// Data residency forbids it.
    StayWithin(Border),
    /// Isolated by an operator or a drill until this moment.
    Isolated {
        /// When gateways let it back by themselves.
        until: UnixSeconds,
    },
    /// Drained by an operator.
    Drained,
    /// The service is not in that cluster.
    NotThere,
    /// The service is there, without a ready endpoint.
    NoReadyEndpoints,
    /// No gateway address that the viewing cluster can reach.
    NoGateway,
}

/// A border that [`StayWithin`] names.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Border {
    /// The provider of the viewing cluster.
    Provider,
    /// The region of the viewing cluster.
    Region,
}

impl Border {
    /// The border of a policy, where it has one.
    pub const fn of(policy: StayWithin) -> Option<Self> {
        match policy {
            StayWithin::None => None,
            StayWithin::Provider => Some(Self::Provider),
            StayWithin::Region => Some(Self::Region),
        }
    }
}

impl Reason {
    /// Stable name for labels and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "Own",
            Self::SameZone => "SameZone",
            Self::SameRegion => "SameRegion",
            Self::RoundTrip => "RoundTrip",
            Self::UnknownDistance => "UnknownDistance",
            Self::Weighted => "Weighted",
            Self::Ordered => "Ordered",
        }
    }
}

impl Exclusion {
    /// Stable name for labels and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StayWithin(Border::Provider) => "StayWithinProvider",
            Self::StayWithin(Border::Region) => "StayWithinRegion",
            Self::Isolated { .. } => "Isolated",
            Self::Drained => "Drained",
            Self::NotThere => "NotThere",
            Self::NoReadyEndpoints => "NoReadyEndpoints",
            Self::NoGateway => "NoGateway",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One cluster within a priority.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Its part of the priority's traffic, relative to the others; at least 1.
    pub weight: u32,
    /// Why it stands here.
    pub reason: Reason,
    /// Ready endpoints that were known.
    pub ready: u32,
    /// The verdict says lost: out for a gateway without evidence of its own, and one priority
    /// lower than it would stand otherwise.
    pub lost: bool,
}

/// Clusters that share traffic while this priority is the best usable one.
pub type Priority = BTreeMap<ClusterName, Target>;

/// The order that holds from a moment on without any further message.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Later {
    /// From when on.
    pub from: UnixSeconds,
    /// The order then.
    pub priorities: Vec<Priority>,
}

/// Where requests for one service port go, seen from one cluster.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// What is spoken.
    pub protocol: Protocol,
    /// The number of the service's listener.
    pub service_port: u16,
    /// Limits.
    pub timeouts: Timeouts,
    /// Best first. The viewing cluster's own entry is here whether or not the hub knows ready
    /// endpoints there: its relay knows better, and drops the entry when there are none.
    pub priorities: Vec<Priority>,
    /// Who is not in the order, and why.
    pub excluded: BTreeMap<ClusterName, Exclusion>,
    /// Orders that follow when isolations end, earliest first.
    pub later: Vec<Later>,
}

/// Another cluster's gateway.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Where it stands.
    pub place: Place,
    /// Addresses that the viewing cluster can reach.
    pub addresses: Vec<SocketAddr>,
    /// The viewing cluster's gateway is one of its observers and reports what it sees.
    pub observe: bool,
    /// The viewing cluster's gateway must know its health: it observes it, or it is in the first
    /// two priorities elsewhere of a service. The others are judged by the requests sent to them.
    pub probe: bool,
}

/// Everything one cluster's gateways need to know.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// For whom.
    pub viewer: ClusterName,
    /// Where the viewer stands.
    pub place: Place,
    /// Routes by service port.
    pub routes: BTreeMap<ServiceKey, Route>,
    /// Other gateways that the viewer uses or observes.
    pub peers: BTreeMap<ClusterName, Peer>,
}

/// What changed between two snapshots.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Diff {
    /// Services that are new.
    pub added: BTreeSet<ServiceKey>,
    /// Services that are gone.
    pub removed: BTreeSet<ServiceKey>,
    /// Services whose route changed.
    pub changed: BTreeSet<ServiceKey>,
    /// Peers that are new, gone or changed.
    pub peers: BTreeSet<ClusterName>,
}

impl Diff {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.changed.is_empty()
            && self.peers.is_empty()
    }
}

impl Snapshot {
    /// Equal content has an equal version, in any process and run.
    pub fn version(&self) -> u64 {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        self.hash(&mut hash);
        hash.finish()
    }

    /// What one has to learn who knows `older`.
    pub fn diff(&self, older: &Self) -> Diff {
        let mut diff = Diff::default();
        for (key, route) in &self.routes {
            match older.routes.get(key) {
                None => drop(diff.added.insert(key.clone())),
                Some(before) if before != route => drop(diff.changed.insert(key.clone())),
                Some(_) => {}
            }
        }
        for key in older.routes.keys() {
            if !self.routes.contains_key(key) {
                diff.removed.insert(key.clone());
            }
        }
        for name in self.peers.keys().chain(older.peers.keys()) {
            if self.peers.get(name) != older.peers.get(name) {
                diff.peers.insert(name.clone());
            }
        }
        diff
    }
}

/// FNV-1a: the same on every machine, unlike the standard library's hasher.
pub(crate) struct Fnv(pub(crate) u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_usize(&mut self, value: usize) {
        self.write(&u64::try_from(value).unwrap_or(u64::MAX).to_le_bytes());
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
