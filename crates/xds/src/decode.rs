//! From resources to meaning. A resource that does not say what it must is named in the error,
//! so that a refusal names it too.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use envoy_types::pb::envoy::{
    config::{
        cluster::v3::Cluster,
        core::v3 as core,
        endpoint::v3::{self as eds, ClusterLoadAssignment},
        listener::v3::{self as lds, Listener},
        route::v3::{self as rds, RouteConfiguration},
    },
    extensions::filters::network::{
        http_connection_manager::v3 as hcm,
        tcp_proxy::v3::{self as tcp, TcpProxy},
    },
};
use prost::Message;
use serde::de::DeserializeOwned;

use crate::{
    encode::{
        HCM, LOCAL, PEER, PeerFacts, ServiceFacts, TCP_PROXY, TargetFacts, facts, later_name,
    },
    resources::{Kind, Resources},
    view::{Later, Order, Peer, Service, Target, View},
};

/// A resource cannot be used. The last good set stays in force.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no message of the type.
    #[error("resource {0}: not a message of its type")]
    Bytes(String),
    /// A field that is needed is absent or has a value without meaning here.
    #[error("resource {name}: {field} is missing or not usable")]
    Field {
        /// The resource.
        name: String,
        /// The field.
        field: &'static str,
    },
    /// It refers to a resource that is not in the set.
    #[error("resource {name} refers to {missing}, which is not there")]
    Dangling {
        /// The resource.
        name: String,
        /// The absent one.
        missing: String,
    },
}

fn field(name: &str, field: &'static str) -> DecodeError {
    DecodeError::Field { name: name.to_owned(), field }
}

fn parse<M: Message + Default>(name: &str, bytes: &[u8]) -> Result<M, DecodeError> {
    M::decode(bytes).map_err(|_| DecodeError::Bytes(name.to_owned()))
}

fn required_facts<T: DeserializeOwned>(
    name: &str,
    metadata: Option<&core::Metadata>,
) -> Result<T, DecodeError> {
    facts(metadata)
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or_else(|| field(name, "metadata hanse.dev"))
}

/// What the set says.
///
/// # Errors
/// When a resource cannot be read or refers to one that is absent.
pub fn decode(resources: &Resources) -> Result<View, DecodeError> {
    let clusters = resources.get(Kind::Cluster);
    let assignments = resources.get(Kind::Endpoints);
    let assignment = |by: &str, name: &str| -> Result<ClusterLoadAssignment, DecodeError> {
        let bytes = assignments.get(name).ok_or_else(|| dangling(by, name))?;
        parse(name, bytes)
    };
    let mut view = View::default();
    for (name, bytes) in clusters.iter() {
        if let Some(peer) = name.strip_prefix(PEER) {
            let cluster: Cluster = parse(name, bytes)?;
            let facts: PeerFacts = required_facts(name, cluster.metadata.as_ref())?;
            let peer_view = Peer {
                provider: facts.provider,
                region: facts.region,
                zone: facts.zone,
                addresses: addresses(name, &assignment(name, name)?)?,
                observe: facts.observe,
                probe: facts.probe,
            };
            view.peers.insert(peer.to_owned(), peer_view);
        }
    }
    for (name, bytes) in resources.get(Kind::Listener).iter() {
        let (service_port, upstream) = listener(name, &parse(name, bytes)?)?;
        let (target, timeout) = match upstream {
            Upstream::Cluster(target) => (target, Duration::ZERO),
            Upstream::Route(route) => {
                let routes = resources.get(Kind::Route);
                let bytes = routes.get(&route).ok_or_else(|| dangling(name, &route))?;
                route_target(&route, &parse(&route, bytes)?)?
            }
        };
        let bytes = clusters.get(&target).ok_or_else(|| dangling(name, &target))?;
        let cluster: Cluster = parse(&target, bytes)?;
        let facts: ServiceFacts = required_facts(&target, cluster.metadata.as_ref())?;
        let mut later = Vec::new();
        for from in facts.later {
            let assignment = assignment(&target, &later_name(&target, from))?;
            later.push(Later { from, order: order(&assignment)? });
        }
        let service = Service {
            protocol: facts.protocol,
            service_port,
            request_timeout: timeout,
            retry_budget_percent: retry_budget(&cluster),
            order: order(&assignment(&target, &target)?)?,
            excluded: facts.excluded,
            later,
            local: addresses(name, &assignment(&target, &format!("{target}{LOCAL}"))?)?,
        };
        view.services.insert(target, service);
    }
    Ok(view)
}

fn dangling(name: &str, missing: &str) -> DecodeError {
    DecodeError::Dangling { name: name.to_owned(), missing: missing.to_owned() }
}

/// Whether one resource can be used by itself; references are not followed.
pub(crate) fn check(kind: Kind, name: &str, bytes: &[u8]) -> Result<(), DecodeError> {
    match kind {
        Kind::Cluster => endpoint_names(name, bytes).map(drop),
        Kind::Endpoints => order(&parse(name, bytes)?).map(drop),
        Kind::Listener => listener(name, &parse(name, bytes)?).map(drop),
        Kind::Route => route_target(name, &parse(name, bytes)?).map(drop),
    }
}

/// The name that a resource gives itself.
pub(crate) fn own_name(kind: Kind, bytes: &[u8]) -> Result<String, DecodeError> {
    let unnamed = "without a name";
    let name = match kind {
        Kind::Cluster => parse::<Cluster>(unnamed, bytes)?.name,
        Kind::Endpoints => parse::<ClusterLoadAssignment>(unnamed, bytes)?.cluster_name,
        Kind::Listener => parse::<Listener>(unnamed, bytes)?.name,
        Kind::Route => parse::<RouteConfiguration>(unnamed, bytes)?.name,
    };
    if name.is_empty() {
        return Err(field(unnamed, "name"));
    }
    Ok(name)
}

/// Load assignments that a cluster resource needs.
pub(crate) fn endpoint_names(name: &str, bytes: &[u8]) -> Result<BTreeSet<String>, DecodeError> {
    let cluster: Cluster = parse(name, bytes)?;
    let mut names = BTreeSet::from([name.to_owned()]);
    if name.starts_with(PEER) {
        required_facts::<PeerFacts>(name, cluster.metadata.as_ref())?;
    } else if !name.ends_with(LOCAL) {
        let facts: ServiceFacts = required_facts(name, cluster.metadata.as_ref())?;
        names.extend(facts.later.into_iter().map(|from| later_name(name, from)));
    }
    Ok(names)
}

/// The route configuration that a listener needs, if it needs one.
pub(crate) fn route_name(name: &str, bytes: &[u8]) -> Result<Option<String>, DecodeError> {
    match listener(name, &parse(name, bytes)?)?.1 {
        Upstream::Route(route) => Ok(Some(route)),
        Upstream::Cluster(_) => Ok(None),
    }
}

enum Upstream {
    Route(String),
    Cluster(String),
}

fn listener(name: &str, listener: &Listener) -> Result<(u16, Upstream), DecodeError> {
    let at = listener.address.as_ref().and_then(socket_address);
    let port = at.ok_or_else(|| field(name, "address"))?.port();
    let config = listener
        .filter_chains
        .first()
        .and_then(|chain| chain.filters.first())
        .and_then(|filter| match filter.config_type.as_ref()? {
            lds::filter::ConfigType::TypedConfig(any) => Some(any),
            lds::filter::ConfigType::ConfigDiscovery(_) => None,
        })
        .ok_or_else(|| field(name, "filter_chains"))?;
    let unusable = || field(name, "filter");
    let upstream = if config.type_url.ends_with(HCM) {
        let manager: hcm::HttpConnectionManager = parse(name, &config.value)?;
        match manager.route_specifier.ok_or_else(unusable)? {
            hcm::http_connection_manager::RouteSpecifier::Rds(rds) => {
                Upstream::Route(rds.route_config_name)
            }
            _ => return Err(unusable()),
        }
    } else if config.type_url.ends_with(TCP_PROXY) {
        let proxy: TcpProxy = parse(name, &config.value)?;
        match proxy.cluster_specifier.ok_or_else(unusable)? {
            tcp::tcp_proxy::ClusterSpecifier::Cluster(cluster) => Upstream::Cluster(cluster),
            tcp::tcp_proxy::ClusterSpecifier::WeightedClusters(_) => return Err(unusable()),
        }
    } else {
        return Err(unusable());
    };
    Ok((port, upstream))
}

fn route_target(name: &str, route: &RouteConfiguration) -> Result<(String, Duration), DecodeError> {
    let action = route
        .virtual_hosts
        .first()
        .and_then(|host| host.routes.first())
        .and_then(|route| match route.action.as_ref()? {
            rds::route::Action::Route(action) => Some(action),
            _ => None,
        })
        .ok_or_else(|| field(name, "route"))?;
    let Some(rds::route_action::ClusterSpecifier::Cluster(cluster)) = &action.cluster_specifier
    else {
        return Err(field(name, "route.cluster"));
    };
    let timeout = action.timeout.ok_or_else(|| field(name, "route.timeout"))?;
    let timeout = Duration::new(
        u64::try_from(timeout.seconds).map_err(|_| field(name, "route.timeout"))?,
        u32::try_from(timeout.nanos).map_err(|_| field(name, "route.timeout"))?,
    );
    Ok((cluster.clone(), timeout))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0..=100 just before"
)]
fn retry_budget(cluster: &Cluster) -> u8 {
    cluster
        .circuit_breakers
        .as_ref()
        .and_then(|breakers| breakers.thresholds.first())
        .and_then(|threshold| threshold.retry_budget.as_ref())
        .and_then(|budget| budget.budget_percent.as_ref())
        .map_or(0, |percent| percent.value.clamp(0.0, 100.0) as u8)
}

fn order(assignment: &ClusterLoadAssignment) -> Result<Order, DecodeError> {
    let name = &assignment.cluster_name;
    let mut by_priority: BTreeMap<u32, Vec<Target>> = BTreeMap::new();
    for locality in &assignment.endpoints {
        let Some(place) = &locality.locality else {
            continue;
        };
        if facts(locality.metadata.as_ref()).is_none() {
            continue;
        }
        let facts: TargetFacts = required_facts(name, locality.metadata.as_ref())?;
        if place.sub_zone.is_empty() {
            return Err(field(name, "locality.sub_zone"));
        }
        let target = Target {
            cluster: place.sub_zone.clone(),
            weight: locality.load_balancing_weight.map_or(1, |weight| weight.value.max(1)),
            reason: facts.reason,
            lost: facts.lost,
            own: facts.own,
        };
        by_priority.entry(locality.priority).or_default().push(target);
    }
    Ok(by_priority.into_values().collect())
}

fn addresses(
    name: &str,
    assignment: &ClusterLoadAssignment,
) -> Result<Vec<SocketAddr>, DecodeError> {
    let mut found = Vec::new();
    for endpoint in assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints) {
        let at = match &endpoint.host_identifier {
            Some(eds::lb_endpoint::HostIdentifier::Endpoint(endpoint)) => {
                endpoint.address.as_ref().and_then(socket_address)
            }
            _ => None,
        };
        found.push(at.ok_or_else(|| field(name, "endpoint.address"))?);
    }
    found.sort_unstable();
    Ok(found)
}

fn socket_address(address: &core::Address) -> Option<SocketAddr> {
    let core::address::Address::SocketAddress(socket) = address.address.as_ref()? else {
        return None;
    };
    let core::socket_address::PortSpecifier::PortValue(port) = socket.port_specifier.as_ref()?
    else {
        return None;
    };
    let ip: IpAddr = socket.address.parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(*port).ok()?))
}

#[cfg(test)]
mod tests;
