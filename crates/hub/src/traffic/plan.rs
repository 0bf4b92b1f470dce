//! From what is seen to what every gateway should know and every GlobalService should say. Pure:
//! the decision itself is the routing engine's; here the API's words are turned into its words
//! and back.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use hanse_api::{
    ClusterEndpoints, ClusterOrder, ClusterSelection, GlobalAddress, GlobalService, Member,
    MemberCluster, conditions::reason,
};
use hanse_routing::{
    self as routing, ClusterName, GatewayAddress, Locality, Operator, Place, ServiceKey,
    ServiceSpec, Snapshot, StayWithin, Timeouts, UnixSeconds, Verdict, ports,
};
use k8s_openapi::api::core::v1::{Service, ServicePort};

use crate::Key;

/// Annotation of a GlobalService that keeps its service ports: `80=10080,443=10443`.
pub(crate) const PORTS_ANNOTATION: &str = "hanse.dev/service-ports";
/// Clusters that the status names per viewing cluster, and viewing clusters that it names.
const ORDER_LENGTH: usize = 10;
const ORDER_VIEWERS: usize = 100;

/// Ready endpoints of one member by namespace and name of the Service, then name of the port.
pub(crate) type Ready = BTreeMap<Key, BTreeMap<String, u32>>;

/// Everything that the traffic controllers look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) members: Vec<Arc<MemberCluster>>,
    pub(crate) services: Vec<Arc<GlobalService>>,
    /// Services of the hub's own API: they say what the ports are.
    pub(crate) templates: BTreeMap<Key, Arc<Service>>,
    /// Of members that were listed since the hub's start. For the others the last written
    /// status counts.
    pub(crate) ready: BTreeMap<String, Ready>,
    /// Share of its usual traffic that a member keeps, where it is not all.
    pub(crate) shares: BTreeMap<String, u8>,
    /// Isolated members, and until when.
    pub(crate) isolated: BTreeMap<String, UnixSeconds>,
    /// Microseconds between regions.
    pub(crate) round_trips: BTreeMap<(String, String), u64>,
    /// Provider and region of the hub.
    pub(crate) hub: Option<(String, String)>,
    pub(crate) now: UnixSeconds,
}

/// A condition without its times.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Says {
    pub(crate) status: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// What a GlobalService should say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Told {
    pub(crate) programmed: Says,
    pub(crate) healthy: Says,
    pub(crate) addresses: Vec<GlobalAddress>,
    pub(crate) endpoints: Vec<ClusterEndpoints>,
    pub(crate) order: Vec<ClusterOrder>,
    /// Value of [`PORTS_ANNOTATION`].
    pub(crate) ports: String,
}

/// What should be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) snapshots: BTreeMap<ClusterName, Snapshot>,
    pub(crate) told: BTreeMap<Key, Told>,
}

/// Plans the traffic of the federation.
pub(crate) fn plan(seen: &Seen) -> Plan {
    let clusters = clusters(seen);
    let mut offers: BTreeMap<Key, Result<Vec<Offer>, Says>> = BTreeMap::new();
    for service in &seen.services {
        offers.insert(Key::of(service.as_ref()), offers_of(seen, service));
    }
    let allocation = allocate(seen, &offers);
    let mut services = BTreeMap::new();
    for service in &seen.services {
        let Some(Ok(offered)) = offers.get(&Key::of(service.as_ref())) else {
            continue;
        };
        for offer in offered {
            if let Some(port) = allocation.ports.get(&offer.key) {
                let spec = spec(seen, service, offer, *port);
                services.insert(offer.key.clone(), spec);
            }
        }
    }
    let world = routing::World { clusters, services, round_trips: seen.round_trips.clone() };
    let snapshots: BTreeMap<ClusterName, Snapshot> = world
        .clusters
        .keys()
        .filter_map(|name| Some((name.clone(), routing::plan(&world, name, seen.now)?)))
        .collect();
    let told = seen
        .services
        .iter()
        .filter_map(|service| {
            let key = Key::of(service.as_ref());
            let told = match offers.get(&key)? {
                Ok(offered) => tell(seen, &world, &snapshots, offered, &allocation),
                Err(says) => refused(says.clone(), service),
            };
            Some((key, told))
        })
        .collect();
    Plan { snapshots, told }
}

/// One port that a GlobalService offers.
#[derive(Clone, Debug)]
struct Offer {
    key: ServiceKey,
    /// Name of the Service's port; empty where it has none.
    port_name: String,
    protocol: routing::Protocol,
}

fn clusters(seen: &Seen) -> BTreeMap<ClusterName, routing::Cluster> {
    let mut found = BTreeMap::new();
    for member in &seen.members {
        let Some(name) = member.metadata.name.as_deref() else {
            continue;
        };
        // An API server admits no other names.
        let Ok(cluster) = ClusterName::new(name) else {
            continue;
        };
        let gateways = member.spec.gateways.iter().filter_map(|gateway| {
            let ip: IpAddr = gateway.address.parse().ok()?;
            Some(GatewayAddress {
                address: SocketAddr::new(ip, u16::try_from(gateway.port).ok()?),
                network: gateway.network.clone(),
            })
        });
        let verdict = member.status.as_ref().and_then(|status| status.verdict.as_deref());
        let cluster = routing::Cluster {
            name: cluster,
            place: Place {
                provider: member.spec.provider.clone(),
                region: member.spec.region.clone(),
                zone: member.spec.zone.clone(),
            },
            network: member.spec.network.clone(),
            gateways: gateways.collect(),
            verdict: verdict.map_or(Verdict::Unknown, verdict_of),
            operator: Operator {
                share_percent: seen.shares.get(name).copied().unwrap_or(100),
                isolated_until: seen.isolated.get(name).copied(),
            },
        };
        found.insert(cluster.name.clone(), cluster);
    }
    found
}

/// The engine's word for a printed verdict; one it does not know changes nothing.
pub(crate) fn verdict_of(text: &str) -> Verdict {
    match text {
        "Healthy" => Verdict::Healthy,
        "Suspect" => Verdict::Suspect,
        "ControlLost" => Verdict::ControlLost,
        "DataLost" => Verdict::DataLost,
        "Lost" => Verdict::Lost,
        "Recovering" => Verdict::Recovering,
        _ => Verdict::Unknown,
    }
}

fn offers_of(seen: &Seen, global: &GlobalService) -> Result<Vec<Offer>, Says> {
    let namespace = global.metadata.namespace.clone().unwrap_or_default();
    let name = &global.spec.service;
    let says = |reason, message| Says { status: false, reason, message };
    let not_found = || {
        let message = format!("no Service {name} in namespace {namespace}");
        says(reason::SERVICE_NOT_FOUND, message)
    };
    let template = seen.templates.get(&Key::new(&namespace, name)).ok_or_else(not_found)?;
    let known = template.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let tcp = |port: &&ServicePort| port.protocol.as_deref().is_none_or(|p| p == "TCP");
    let wanted: Vec<(&ServicePort, Option<hanse_api::Protocol>)> = if global.spec.ports.is_empty() {
        known.iter().filter(tcp).map(|port| (port, None)).collect()
    } else {
        let find = |wanted: &hanse_api::ServicePort| {
            let found = known.iter().filter(tcp).find(|port| {
                port.port == wanted.port
                    && wanted.name.as_ref().is_none_or(|name| port.name.as_ref() == Some(name))
            });
            found.map(|port| (port, wanted.protocol)).ok_or_else(|| {
                let message = format!("Service {name} has no TCP port {}", wanted.port);
                says(reason::PORT_NOT_FOUND, message)
            })
        };
        global.spec.ports.iter().map(find).collect::<Result<_, _>>()?
    };
    if wanted.is_empty() {
        let message = format!("Service {name} has no TCP port");
        return Err(says(reason::PORT_NOT_FOUND, message));
    }
    let offer = |(port, protocol): (&ServicePort, Option<hanse_api::Protocol>)| {
        let number = u16::try_from(port.port).ok()?;
        Some(Offer {
            key: ServiceKey::new(namespace.clone(), name.clone(), number).ok()?,
            port_name: port.name.clone().unwrap_or_default(),
            protocol: protocol_of(protocol, port.app_protocol.as_deref()),
        })
    };
    Ok(wanted.into_iter().filter_map(offer).collect())
}

/// What the GlobalService says, else the Service's appProtocol, else opaque bytes: protocols in
/// which the server speaks first would hang on any guess.
fn protocol_of(said: Option<hanse_api::Protocol>, app: Option<&str>) -> routing::Protocol {
    match (said, app) {
        (Some(hanse_api::Protocol::Http), _) | (None, Some("http" | "kubernetes.io/ws")) => {
            routing::Protocol::Http
        }
        (Some(hanse_api::Protocol::Grpc), _) | (None, Some("grpc" | "kubernetes.io/h2c")) => {
            routing::Protocol::Grpc
        }
        (Some(hanse_api::Protocol::Tcp) | None, _) => routing::Protocol::Tcp,
    }
}

/// Service ports as the objects keep them, and new ones for what has none.
fn allocate(seen: &Seen, offers: &BTreeMap<Key, Result<Vec<Offer>, Says>>) -> ports::Allocation {
    let mut held = BTreeMap::new();
    for global in &seen.services {
        let namespace = global.metadata.namespace.clone().unwrap_or_default();
        for (port, service_port) in kept_ports(global) {
            if let Ok(key) = ServiceKey::new(&namespace, &global.spec.service, port) {
                held.insert(key, service_port);
            }
        }
    }
    // Two GlobalServices of one Service share its ports.
    let wanted: BTreeSet<ServiceKey> =
        offers.values().flatten().flatten().map(|offer| offer.key.clone()).collect();
    ports::allocate(&held, &wanted, &BTreeSet::new())
}

/// What [`PORTS_ANNOTATION`] keeps; what cannot be read is as if it were not there.
fn kept_ports(global: &GlobalService) -> BTreeMap<u16, u16> {
    let annotations = global.metadata.annotations.as_ref();
    annotations
        .and_then(|annotations| annotations.get(PORTS_ANNOTATION))
        .into_iter()
        .flat_map(|text| text.split(','))
        .filter_map(|pair| {
            let (port, service_port) = pair.split_once('=')?;
            Some((port.parse().ok()?, service_port.parse().ok()?))
        })
        .collect()
}

fn spec(seen: &Seen, global: &GlobalService, offer: &Offer, service_port: u16) -> ServiceSpec {
    let mut ready = BTreeMap::new();
    for member in &seen.members {
        let Some(name) = member.metadata.name.as_deref() else {
            continue;
        };
        if let (Some(count), Ok(cluster)) =
            (ready_in(seen, global, offer, name), ClusterName::new(name))
        {
            ready.insert(cluster, count);
        }
    }
    let routing = &global.spec.routing;
    ServiceSpec {
        key: offer.key.clone(),
        protocol: offer.protocol,
        service_port,
        ready,
        locality: match routing.locality {
            hanse_api::Locality::Nearest => Locality::Nearest,
            hanse_api::Locality::Weighted => Locality::Weighted(weights(seen, global)),
            hanse_api::Locality::Ordered => {
                Locality::Ordered(routing.order.iter().map(|tier| admitted(seen, tier)).collect())
            }
        },
        stay_within: match routing.stay_within {
            hanse_api::StayWithin::None => StayWithin::None,
            hanse_api::StayWithin::Provider => StayWithin::Provider,
            hanse_api::StayWithin::Region => StayWithin::Region,
        },
        timeouts: Timeouts::default(),
    }
}

/// Ready endpoints in a member; none when the service is not there.
fn ready_in(seen: &Seen, global: &GlobalService, offer: &Offer, member: &str) -> Option<u32> {
    let Some(ready) = seen.ready.get(member) else {
        // Not listed since the hub's start: what was true last is better than nothing.
        let status = global.status.as_ref()?;
        let last = status.endpoints.iter().find(|entry| entry.cluster == member)?;
        return u32::try_from(last.ready).ok();
    };
    let key = Key::new(offer.key.namespace(), offer.key.name());
    Some(ready.get(&key)?.get(&offer.port_name).copied().unwrap_or(0))
}

fn weights(seen: &Seen, global: &GlobalService) -> BTreeMap<ClusterName, u32> {
    let mut weights = BTreeMap::new();
    for entry in &global.spec.routing.weights {
        for cluster in admitted(seen, &entry.clusters) {
            // The first entry that names a cluster counts.
            let weight = u32::try_from(entry.weight).unwrap_or(0);
            weights.entry(cluster).or_insert(weight);
        }
    }
    weights
}

fn admitted(seen: &Seen, selection: &ClusterSelection) -> BTreeSet<ClusterName> {
    let none = BTreeMap::new();
    seen.members
        .iter()
        .filter_map(|member| {
            let name = member.metadata.name.as_deref()?;
            let look = Member {
                name,
                provider: &member.spec.provider,
                region: &member.spec.region,
                zone: member.spec.zone.as_deref().unwrap_or_default(),
                labels: member.metadata.labels.as_ref().unwrap_or(&none),
            };
            selection.admits(look).then(|| ClusterName::new(name).ok())?
        })
        .collect()
}

fn refused(programmed: Says, global: &GlobalService) -> Told {
    let kept = global.metadata.annotations.as_ref();
    Told {
        healthy: Says {
            status: false,
            reason: programmed.reason,
            message: programmed.message.clone(),
        },
        programmed,
        addresses: Vec::new(),
        endpoints: Vec::new(),
        order: Vec::new(),
        // The ports stay its own: the Service may come back.
        ports: kept
            .and_then(|annotations| annotations.get(PORTS_ANNOTATION))
            .cloned()
            .unwrap_or_default(),
    }
}

fn tell(
    seen: &Seen,
    world: &routing::World,
    snapshots: &BTreeMap<ClusterName, Snapshot>,
    offered: &[Offer],
    allocation: &ports::Allocation,
) -> Told {
    let first = offered.first().and_then(|offer| world.services.get(&offer.key));
    let endpoints: Vec<ClusterEndpoints> = first
        .iter()
        .flat_map(|spec| &spec.ready)
        .map(|(cluster, ready)| ClusterEndpoints {
            cluster: cluster.to_string(),
            ready: i32::try_from(*ready).unwrap_or(i32::MAX),
        })
        .collect();
    let ready: i64 = endpoints.iter().map(|entry| i64::from(entry.ready)).sum();
    let places = endpoints.iter().filter(|entry| entry.ready > 0).count();
    let exhausted = offered.iter().any(|offer| allocation.exhausted.contains(&offer.key));
    let ports: Vec<String> = offered
        .iter()
        .filter_map(|offer| {
            Some(format!("{}={}", offer.key.port(), allocation.ports.get(&offer.key)?))
        })
        .collect();
    Told {
        programmed: if exhausted {
            Says {
                status: false,
                reason: reason::PORTS_EXHAUSTED,
                message: format!("no service port is left in {}-{}", ports::FIRST, ports::LAST),
            }
        } else {
            Says {
                status: true,
                reason: reason::PROGRAMMED,
                message: format!("{} port(s) on {} gateways", ports.len(), snapshots.len()),
            }
        },
        healthy: if ready > 0 {
            Says {
                status: true,
                reason: reason::ENDPOINTS_READY,
                message: format!("{ready} ready endpoints in {places} clusters"),
            }
        } else {
            Says {
                status: false,
                reason: reason::NO_READY_ENDPOINTS,
                message: "no cluster has a ready endpoint".to_owned(),
            }
        },
        addresses: addresses(seen, world, offered, allocation),
        endpoints,
        order: order(snapshots, offered),
        ports: ports.join(","),
    }
}

/// Gateways that answer, nearest to the hub first.
fn addresses(
    seen: &Seen,
    world: &routing::World,
    offered: &[Offer],
    allocation: &ports::Allocation,
) -> Vec<GlobalAddress> {
    let distance = |cluster: &routing::Cluster| {
        let Some((provider, region)) = &seen.hub else {
            return (2, 0);
        };
        let place = &cluster.place;
        if place.provider == *provider && place.region == *region {
            return (0, 0);
        }
        world.round_trip(region, &place.region).map_or((2, 0), |micros| (1, micros))
    };
    let mut gateways: Vec<(&routing::Cluster, SocketAddr)> = world
        .clusters
        .values()
        .filter(|cluster| !cluster.verdict.is_lost_for_traffic())
        .filter(|cluster| cluster.operator.isolated_until.is_none_or(|until| until <= seen.now))
        .filter_map(|cluster| Some((cluster, cluster.gateways.first()?.address)))
        .collect();
    gateways.sort_by_key(|(cluster, _)| (distance(cluster), cluster.name.clone()));
    let mut addresses = Vec::new();
    for (cluster, gateway) in gateways {
        for offer in offered {
            if let Some(port) = allocation.ports.get(&offer.key) {
                addresses.push(GlobalAddress {
                    cluster: cluster.name.to_string(),
                    address: gateway.ip().to_string(),
                    port: i32::from(*port),
                    protocol: match offer.protocol {
                        routing::Protocol::Http => hanse_api::Protocol::Http,
                        routing::Protocol::Grpc => hanse_api::Protocol::Grpc,
                        routing::Protocol::Tcp => hanse_api::Protocol::Tcp,
                    },
                });
            }
        }
    }
    addresses.truncate(1000);
    addresses
}

fn order(snapshots: &BTreeMap<ClusterName, Snapshot>, offered: &[Offer]) -> Vec<ClusterOrder> {
    let Some(offer) = offered.first() else {
        return Vec::new();
    };
    snapshots
        .iter()
        .take(ORDER_VIEWERS)
        .filter_map(|(viewer, snapshot)| {
            let route = snapshot.routes.get(&offer.key)?;
            let clusters = route.priorities.iter().flatten();
            // The viewer's own place is in the order for its relay's sake; people are told who
            // would answer.
            let answering = clusters.filter(|(_, target)| target.ready > 0);
            Some(ClusterOrder {
                from: viewer.to_string(),
                clusters: answering.map(|(name, _)| name.to_string()).take(ORDER_LENGTH).collect(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
