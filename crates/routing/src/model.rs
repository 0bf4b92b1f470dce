//! What the engine is told: clusters, their places and evidence about them, services and policy.
//! Neutral types: it must not know Kubernetes objects or xDS resources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z. Deadlines of the operator are absolute, so that whoever
/// enforces them needs nobody else.
pub type UnixSeconds = i64;

/// Network name whose gateway addresses every member may use.
pub const PUBLIC_NETWORK: &str = "public";

/// A name is empty, too long or contains a character that names of Kubernetes do not have.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no name: 1 to 253 of a-z, 0-9, '-' and '.' are expected")]
pub struct InvalidName(pub String);

/// Name of a member cluster.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(String);

impl ClusterName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// When `name` cannot be the name of a Kubernetes object.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
        let name = name.into();
        if is_name(&name) { Ok(Self(name)) } else { Err(InvalidName(name)) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ClusterName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl From<ClusterName> for String {
    fn from(name: ClusterName) -> Self {
        name.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One port of one service, the same in all clusters (namespace sameness). Written
/// `namespace/name/port`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceKey {
    namespace: String,
    name: String,
    port: u16,
}

impl ServiceKey {
    /// Checks and takes the parts; `port` is the port of the Service, not of its pods.
    ///
    /// # Errors
    /// When a part cannot be the name of a Kubernetes object.
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        port: u16,
    ) -> Result<Self, InvalidName> {
        let (namespace, name) = (namespace.into(), name.into());
        for part in [&namespace, &name] {
            if !is_name(part) {
                return Err(InvalidName(part.clone()));
            }
        }
        Ok(Self { namespace, name, port })
    }

    /// Namespace of the service.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Name of the service.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Port of the Service object.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.name, self.port)
    }
}

impl FromStr for ServiceKey {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let mut parts = text.split('/');
        let (Some(namespace), Some(name), Some(port), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidName(text.to_owned()));
        };
        let port = port.parse().map_err(|_| InvalidName(text.to_owned()))?;
        Self::new(namespace, name, port)
    }
}

impl TryFrom<String> for ServiceKey {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<ServiceKey> for String {
    fn from(key: ServiceKey) -> Self {
        key.to_string()
    }
}

fn is_name(name: &str) -> bool {
    (1..=253).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte))
}

/// Where a cluster stands; its failure domains.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Place {
    /// Provider, for instance `aws`.
    pub provider: String,
    /// Region of that provider.
    pub region: String,
    /// Zone of that region, where one is declared.
    pub zone: Option<String>,
}

/// One address under which other clusters reach a cluster's gateway.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct GatewayAddress {
    /// Address and port of the hop between gateways.
    pub address: SocketAddr,
    /// Network in which the address is meaningful, or [`PUBLIC_NETWORK`].
    pub network: String,
}

/// What the health controller made of its observations.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
pub enum Verdict {
    /// Nothing is known yet.
    #[default]
    Unknown,
    /// Control and data are up.
    Healthy,
    /// Some observer lost it, without quorum.
    Suspect,
    /// The API server is unreachable; traffic is unchanged.
    ControlLost,
    /// The gateway is unreachable.
    DataLost,
    /// Control and data are down by quorum.
    Lost,
    /// Back, and soaking.
    Recovering,
}

impl Verdict {
    /// Whether a gateway without evidence of its own should leave the cluster out.
    pub const fn is_lost_for_traffic(self) -> bool {
        matches!(self, Self::DataLost | Self::Lost)
    }
}

/// What an operator, or a drill, asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Operator {
    /// Share of its usual traffic that the cluster keeps, 0 to 100 percent. A drain lowers it
    /// step by step, a return raises it from 10 to 100 over 30 s.
    pub share_percent: u8,
    /// Out until this moment, whatever anybody's own view. The moment is part of the snapshot, so
    /// that gateways end the isolation themselves.
    pub isolated_until: Option<UnixSeconds>,
}

impl Default for Operator {
    fn default() -> Self {
        Self { share_percent: 100, isolated_until: None }
    }
}

/// A member cluster as routing sees it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name.
    pub name: ClusterName,
    /// Where it stands.
    pub place: Place,
    /// Members of one network reach each other's addresses.
    pub network: String,
    /// Under which addresses other clusters reach its gateway; empty: it imports only.
    pub gateways: Vec<GatewayAddress>,
    /// Evidence of the health controller.
    pub verdict: Verdict,
    /// What an operator asked for.
    pub operator: Operator,
}

/// Protocol of a service port. Never sniffed: server-first protocols would hang.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
pub enum Protocol {
    /// HTTP/1.1 to the pods; HTTP/1.1 or HTTP/2 from clients.
    #[serde(rename = "HTTP")]
    Http,
    /// HTTP/2 to the pods.
    #[serde(rename = "GRPC")]
    Grpc,
    /// Opaque bytes.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
}

/// In which order a viewing cluster uses the others.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum Locality {
    /// Own cluster, zone, region, then by round-trip time.
    #[default]
    Nearest,
    /// By weight, wherever the caller is. Clusters without a weight follow, nearest first.
    Weighted(BTreeMap<ClusterName, u32>),
    /// Tier by tier. Clusters in no tier follow, nearest first.
    Ordered(Vec<BTreeSet<ClusterName>>),
}

/// Data residency: which border traffic never crosses, seen from the viewing cluster. It also
/// holds in failover and retry.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub enum StayWithin {
    /// No border.
    #[default]
    None,
    /// Stay within the provider of the viewing cluster.
    Provider,
    /// Stay within its region.
    Region,
}

/// Time limits and the retry budget of one service.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Timeouts {
    /// From the request's head to the answer's head, retries included. 1 ms to 1 h; default 15 s.
    pub request: Duration,
    /// Retries of sent requests as a share of all, 0 to 100 percent; default 20.
    pub retry_budget_percent: u8,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { request: Duration::from_secs(15), retry_budget_percent: 20 }
    }
}

/// One service port as the engine is told about it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Which one.
    pub key: ServiceKey,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// The number by which gateways know the service, the same in every cluster.
    pub service_port: u16,
    /// Ready endpoints by cluster; a cluster that is absent does not have the service.
    pub ready: BTreeMap<ClusterName, u32>,
    /// Order of clusters.
    pub locality: Locality,
    /// Residency.
    pub stay_within: StayWithin,
    /// Limits.
    pub timeouts: Timeouts,
}

/// Everything the engine decides from.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// Members by name.
    pub clusters: BTreeMap<ClusterName, Cluster>,
    /// Services by key.
    pub services: BTreeMap<ServiceKey, ServiceSpec>,
    /// Round-trip times between regions in microseconds, by (from, to); symmetric where only one
    /// direction is given.
    #[serde(with = "pairs")]
    pub round_trips: BTreeMap<(String, String), u64>,
}

impl World {
    /// Round-trip time in microseconds between two regions, where one is known.
    pub fn round_trip(&self, from: &str, to: &str) -> Option<u64> {
        let pair = |a: &str, b: &str| self.round_trips.get(&(a.to_owned(), b.to_owned())).copied();
        pair(from, to).or_else(|| pair(to, from))
    }
}

/// Pairs as keys have no JSON form; a list of triples has.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    type RoundTrips = BTreeMap<(String, String), u64>;

    pub(super) fn serialize<S: Serializer>(map: &RoundTrips, to: S) -> Result<S::Ok, S::Error> {
        let list: Vec<_> = map.iter().map(|((a, b), value)| (a, b, value)).collect();
        list.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<RoundTrips, D::Error> {
        let list = Vec::<(String, String, u64)>::deserialize(from)?;
        Ok(list.into_iter().map(|(a, b, value)| ((a, b), value)).collect())
    }
}
