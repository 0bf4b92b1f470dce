//! From meaning to resources. Every routing fact is plain xDS: order is priority, share is
//! weight, residency and isolation are absence. What has no field of its own stands as JSON in
//! `filter_metadata["hanse.dev"].facts`: one string, because maps of protobuf have no stable
//! order and unchanged resources must have unchanged bytes.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use envoy_types::pb::{
    envoy::{
        config::{
            cluster::v3 as cds, core::v3 as core, endpoint::v3 as eds, listener::v3 as lds,
            route::v3 as rds,
        },
        extensions::filters::network::{
            http_connection_manager::v3 as hcm,
            tcp_proxy::v3::{self as tcp, TcpProxy},
        },
    },
    google::protobuf,
};
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::{
    resources::{Kind, Resources},
    view::{Order, Peer, Protocol, Service, Target, View},
};

/// Key of our facts in `filter_metadata`.
pub(crate) const METADATA: &str = "hanse.dev";
const FACTS: &str = "facts";
/// Ends the name of the cluster that holds a service's own pods only.
pub(crate) const LOCAL: &str = "|local";
/// Begins the name of the cluster that stands for another cluster's gateway.
pub(crate) const PEER: &str = "peer/";
/// Carries the service between gateways.
pub(crate) const SERVICE_HEADER: &str = "x-hanse-service";
/// Limit for connecting across regions.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Facts of a service's cluster resource.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServiceFacts {
    pub(crate) protocol: Protocol,
    pub(crate) excluded: std::collections::BTreeMap<String, String>,
    /// Moments whose order stands in the load assignment [`later_name`].
    pub(crate) later: Vec<i64>,
}

/// Facts of a peer's cluster resource.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PeerFacts {
    pub(crate) provider: String,
    pub(crate) region: String,
    pub(crate) zone: String,
    pub(crate) observe: bool,
    pub(crate) probe: bool,
}

/// Facts of a locality.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TargetFacts {
    pub(crate) reason: String,
    pub(crate) lost: bool,
    pub(crate) own: bool,
}

/// Name of the load assignment that holds from a moment on.
pub(crate) fn later_name(service: &str, from: i64) -> String {
    format!("{service}@{from}")
}

/// The resources that say what `view` says.
pub fn encode(view: &View) -> Resources {
    let mut resources = Resources::default();
    for (name, peer) in &view.peers {
        let name = format!("{PEER}{name}");
        let facts = PeerFacts {
            provider: peer.provider.clone(),
            region: peer.region.clone(),
            zone: peer.zone.clone(),
            observe: peer.observe,
            probe: peer.probe,
        };
        put(&mut resources, Kind::Cluster, &name, &cluster(&name, Some(metadata(&facts)), 100));
        let locality = locality(peer, &name, 0, 1, &peer.addresses, None);
        put(&mut resources, Kind::Endpoints, &name, &assignment(&name, vec![locality]));
    }
    for (key, service) in &view.services {
        encode_service(&mut resources, view, key, service);
    }
    resources
}

fn encode_service(resources: &mut Resources, view: &View, key: &str, service: &Service) {
    let facts = ServiceFacts {
        protocol: service.protocol,
        excluded: service.excluded.clone(),
        later: service.later.iter().map(|later| later.from).collect(),
    };
    let budget = u32::from(service.retry_budget_percent);
    put(resources, Kind::Cluster, key, &cluster(key, Some(metadata(&facts)), budget));
    put(resources, Kind::Endpoints, key, &order_assignment(view, key, service, &service.order));
    for later in &service.later {
        let name = later_name(key, later.from);
        let assignment = order_assignment(view, &name, service, &later.order);
        put(resources, Kind::Endpoints, &name, &assignment);
    }
    let local = format!("{key}{LOCAL}");
    put(resources, Kind::Cluster, &local, &cluster(&local, None, 0));
    let own = eds::LocalityLbEndpoints {
        lb_endpoints: service.local.iter().map(|address| endpoint(*address)).collect(),
        load_balancing_weight: Some(protobuf::UInt32Value { value: 1 }),
        ..Default::default()
    };
    put(resources, Kind::Endpoints, &local, &assignment(&local, vec![own]));
    put(resources, Kind::Listener, key, &listener(key, service));
    if service.protocol != Protocol::Tcp {
        put(resources, Kind::Route, key, &route(key, service));
    }
}

fn put(resources: &mut Resources, kind: Kind, name: &str, message: &impl Message) {
    resources.insert(kind, name, message.encode_to_vec());
}

fn metadata(facts: &impl Serialize) -> core::Metadata {
    let text = serde_json::to_string(facts).expect("facts are plain structs with text keys");
    let value = protobuf::Value { kind: Some(protobuf::value::Kind::StringValue(text)) };
    let fields = protobuf::Struct { fields: HashMap::from([(FACTS.to_owned(), value)]) };
    core::Metadata {
        filter_metadata: HashMap::from([(METADATA.to_owned(), fields)]),
        ..Default::default()
    }
}

/// The text of our facts, where a resource has any.
pub(crate) fn facts(metadata: Option<&core::Metadata>) -> Option<&str> {
    let value = metadata?.filter_metadata.get(METADATA)?.fields.get(FACTS)?;
    match value.kind.as_ref()? {
        protobuf::value::Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

fn ads() -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource {},
        )),
        ..Default::default()
    }
}

pub(crate) fn duration(value: Duration) -> protobuf::Duration {
    protobuf::Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or(0),
    }
}

fn cluster(
    name: &str,
    metadata: Option<core::Metadata>,
    retry_budget_percent: u32,
) -> cds::Cluster {
    let budget = cds::circuit_breakers::thresholds::RetryBudget {
        budget_percent: Some(envoy_types::pb::envoy::r#type::v3::Percent {
            value: f64::from(retry_budget_percent),
        }),
        ..Default::default()
    };
    cds::Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(cds::cluster::ClusterDiscoveryType::Type(
            cds::cluster::DiscoveryType::Eds.into(),
        )),
        eds_cluster_config: Some(cds::cluster::EdsClusterConfig {
            eds_config: Some(ads()),
            service_name: String::new(),
        }),
        connect_timeout: Some(duration(CONNECT_TIMEOUT)),
        lb_policy: cds::cluster::LbPolicy::LeastRequest.into(),
        circuit_breakers: (retry_budget_percent > 0).then(|| cds::CircuitBreakers {
            thresholds: vec![cds::circuit_breakers::Thresholds {
                retry_budget: Some(budget),
                ..Default::default()
            }],
            ..Default::default()
        }),
        metadata,
        ..Default::default()
    }
}

fn order_assignment(
    view: &View,
    name: &str,
    service: &Service,
    order: &Order,
) -> eds::ClusterLoadAssignment {
    let nowhere = Peer {
        provider: String::new(),
        region: String::new(),
        zone: String::new(),
        addresses: Vec::new(),
        observe: false,
        probe: false,
    };
    let mut localities = Vec::new();
    for (priority, targets) in (0_u32..).zip(order) {
        for target in targets {
            let peer = view.peers.get(&target.cluster).unwrap_or(&nowhere);
            let addresses = if target.own { &service.local } else { &peer.addresses };
            localities.push(locality(
                peer,
                &target.cluster,
                priority,
                target.weight,
                addresses,
                Some(target),
            ));
        }
    }
    assignment(name, localities)
}

fn assignment(name: &str, endpoints: Vec<eds::LocalityLbEndpoints>) -> eds::ClusterLoadAssignment {
    eds::ClusterLoadAssignment { cluster_name: name.to_owned(), endpoints, ..Default::default() }
}

fn locality(
    peer: &Peer,
    sub_zone: &str,
    priority: u32,
    weight: u32,
    addresses: &[SocketAddr],
    target: Option<&Target>,
) -> eds::LocalityLbEndpoints {
    eds::LocalityLbEndpoints {
        locality: Some(core::Locality {
            region: peer.region.clone(),
            zone: peer.zone.clone(),
            sub_zone: sub_zone.to_owned(),
        }),
        lb_endpoints: addresses.iter().map(|address| endpoint(*address)).collect(),
        load_balancing_weight: Some(protobuf::UInt32Value { value: weight }),
        priority,
        metadata: target.map(|target| {
            metadata(&TargetFacts {
                reason: target.reason.clone(),
                lost: target.lost,
                own: target.own,
            })
        }),
        ..Default::default()
    }
}

fn address(at: SocketAddr) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: at.ip().to_string(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(at.port().into())),
            ..Default::default()
        })),
    }
}

fn endpoint(at: SocketAddr) -> eds::LbEndpoint {
    eds::LbEndpoint {
        host_identifier: Some(eds::lb_endpoint::HostIdentifier::Endpoint(eds::Endpoint {
            address: Some(address(at)),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn any(type_name: &str, message: &impl Message) -> protobuf::Any {
    protobuf::Any {
        type_url: format!("type.googleapis.com/{type_name}"),
        value: message.encode_to_vec(),
    }
}

pub(crate) const HCM: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
pub(crate) const TCP_PROXY: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";

fn listener(key: &str, service: &Service) -> lds::Listener {
    let (name, config) = if service.protocol == Protocol::Tcp {
        let proxy = TcpProxy {
            stat_prefix: key.to_owned(),
            cluster_specifier: Some(tcp::tcp_proxy::ClusterSpecifier::Cluster(key.to_owned())),
            ..Default::default()
        };
        ("envoy.filters.network.tcp_proxy", any(TCP_PROXY, &proxy))
    } else {
        let router = any(
            ROUTER,
            &envoy_types::pb::envoy::extensions::filters::http::router::v3::Router::default(),
        );
        let manager = hcm::HttpConnectionManager {
            codec_type: hcm::http_connection_manager::CodecType::Auto.into(),
            stat_prefix: key.to_owned(),
            route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(hcm::Rds {
                config_source: Some(ads()),
                route_config_name: key.to_owned(),
            })),
            http_filters: vec![hcm::HttpFilter {
                name: "envoy.filters.http.router".to_owned(),
                config_type: Some(hcm::http_filter::ConfigType::TypedConfig(router)),
                ..Default::default()
            }],
            ..Default::default()
        };
        ("envoy.filters.network.http_connection_manager", any(HCM, &manager))
    };
    lds::Listener {
        name: key.to_owned(),
        address: Some(address(SocketAddr::from(([0, 0, 0, 0], service.service_port)))),
        filter_chains: vec![lds::FilterChain {
            filters: vec![lds::Filter {
                name: name.to_owned(),
                config_type: Some(lds::filter::ConfigType::TypedConfig(config)),
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn route(key: &str, service: &Service) -> rds::RouteConfiguration {
    let action = rds::RouteAction {
        cluster_specifier: Some(rds::route_action::ClusterSpecifier::Cluster(key.to_owned())),
        timeout: Some(duration(service.request_timeout)),
        ..Default::default()
    };
    let every_path = rds::RouteMatch {
        path_specifier: Some(rds::route_match::PathSpecifier::Prefix("/".to_owned())),
        ..Default::default()
    };
    rds::RouteConfiguration {
        name: key.to_owned(),
        virtual_hosts: vec![rds::VirtualHost {
            name: key.to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![rds::Route {
                r#match: Some(every_path),
                action: Some(rds::route::Action::Route(action)),
                ..Default::default()
            }],
            ..Default::default()
        }],
        request_headers_to_add: vec![core::HeaderValueOption {
            header: Some(core::HeaderValue {
                key: SERVICE_HEADER.to_owned(),
                value: key.to_owned(),
                ..Default::default()
            }),
            append_action: core::header_value_option::HeaderAppendAction::OverwriteIfExistsOrAdd
                .into(),
            ..Default::default()
        }],
        ..Default::default()
    }
}
