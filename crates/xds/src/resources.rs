//! A set of xDS resources as bytes, by type and name.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

/// The resource types in use, in the order of make before break: what is referred to is sent
/// before what refers to it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// `envoy.config.cluster.v3.Cluster`
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment`
    Endpoints,
    /// `envoy.config.listener.v3.Listener`
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration`
    Route,
}

impl Kind {
    /// All of them, in the order in which they are sent.
    pub const ALL: [Self; 4] = [Self::Cluster, Self::Endpoints, Self::Listener, Self::Route];

    /// The type URL of the discovery protocol.
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The kind of a type URL.
    pub fn of(type_url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == type_url)
    }

    /// Whether a response carries every resource of the kind, so that absence means removal.
    pub const fn is_whole(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }
}

/// Resources of one kind by name, encoded.
pub type ByName = BTreeMap<String, Bytes>;

/// One consistent set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resources {
    kinds: BTreeMap<Kind, Arc<ByName>>,
}

impl Default for Resources {
    fn default() -> Self {
        // Every kind is present, so that sets with equal content are equal.
        let kinds = Kind::ALL.map(|kind| (kind, Arc::default()));
        Self { kinds: kinds.into() }
    }
}

impl Resources {
    /// The resources of a kind.
    pub fn get(&self, kind: Kind) -> Arc<ByName> {
        self.kinds.get(&kind).cloned().unwrap_or_default()
    }

    /// Replaces the resources of a kind.
    pub fn set(&mut self, kind: Kind, resources: ByName) {
        self.kinds.insert(kind, Arc::new(resources));
    }

    /// Adds one resource.
    pub fn insert(&mut self, kind: Kind, name: impl Into<String>, encoded: Vec<u8>) {
        let by_name = Arc::make_mut(self.kinds.entry(kind).or_default());
        by_name.insert(name.into(), encoded.into());
    }

    /// Number of resources of all kinds.
    pub fn len(&self) -> usize {
        self.kinds.values().map(|by_name| by_name.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
