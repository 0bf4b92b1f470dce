//! The members of `hanse up`: their stores, their own APIs, and in each a relay and a gateway.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use hanse_agent::RelayConfig;
use hanse_apiserver::{ApiServer, ServiceRange};
use hanse_gateway::GatewayConfig;
use hanse_rt::{
    Metrics, Readiness, Rng, TaskSet, Wall,
    net::{self, AddressMap, Reserved},
};
use hanse_sim::{
    faults::HUB,
    member::{HOP_PORT, Member, Options, Roles, gateway_address},
    world::World,
};
use hanse_topology::Topology;

use super::{pki::Pki, state::Data};

/// The members of a topology with their stores, without power yet.
///
/// # Errors
/// The first store that cannot be opened.
pub(super) fn world(
    data: &Data,
    topology: Topology,
    chance: (&Wall, &Rng),
    pki: &Pki,
    (options, metrics): (&Options, &Metrics),
) -> Result<World> {
    let store = |index: usize, name: &str| {
        let block = u8::try_from(64 + index % 64).unwrap_or(64);
        ApiServer::builder()
            .metrics(metrics.scoped("server", name))
            .wall(chance.0.clone())
            .rng(chance.1.fork("api", name))
            .root_ca(pki.authority.clone())
            .service_range(ServiceRange { network: Ipv4Addr::new(10, block, 128, 0), prefix: 18 })
            .durable(data.member_store(name))
            .build()
    };
    Ok(World::new(topology, &store, chance, options)?)
}

/// Members for which 10.64.0.0/10 has a block each.
const MEMBERS: usize = 64;

/// Whether the members' gateways can be had: their addresses are the same in every `hanse up`.
///
/// # Errors
/// Which address is taken, and what to do.
pub(super) fn check_gateways(topology: &Topology) -> Result<()> {
    let count = topology.clusters.len();
    ensure!(
        count <= MEMBERS,
        "the topology has {count} clusters; `hanse up` has addresses for {MEMBERS}"
    );
    for index in 0..count {
        let address = SocketAddr::new(gateway_address(index).into(), HOP_PORT);
        net::listen(address).with_context(|| {
            format!(
                "{address} cannot be listened on: end the other `hanse up` of this machine, \
                 whose simulated gateways have the same addresses"
            )
        })?;
    }
    Ok(())
}

/// Addresses for the members' own APIs. They stay theirs while the APIs come and go with their
/// power.
///
/// # Errors
/// When no port can be had.
pub(super) fn api_addresses(world: &World) -> Result<BTreeMap<String, Reserved>> {
    let free = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let take = |member: &Member| Ok((member.name().to_owned(), Reserved::take(free)?));
    world.members().map(take).collect()
}

/// Serves a member's own API to the administrator, as long as it has power.
pub(super) fn serve(member: &Member, tasks: &TaskSet, at: &Reserved, pki: &Pki) {
    let served = at
        .listen()
        .map_err(anyhow::Error::from)
        .and_then(|listener| super::serve(member.api(), tasks, listener, pki));
    if let Err(error) = served {
        tracing::error!(member = member.name(), at = %at.address(), %error, "its API is not served");
    }
}

/// What runs in each member beside its API: relay and gateway.
pub(super) fn roles(
    world: &World,
    data: &Data,
    addresses: &AddressMap,
    hub: SocketAddr,
    tokens: BTreeMap<String, String>,
    (metrics, readiness): (&Metrics, &Readiness),
) -> Roles {
    let (world, addresses) = (world.clone(), addresses.clone());
    let folders: BTreeMap<String, _> =
        world.members().map(|m| (m.name().to_owned(), data.snapshots(m.name()))).collect();
    let (metrics, readiness) = (metrics.clone(), readiness.clone());
    Arc::new(move |member, tasks| {
        let name = member.name();
        let (Some(token), Some(folder)) = (tokens.get(name), folders.get(name)) else {
            return;
        };
        let links = world.addresses(name, tasks, &addresses, Some((hub, HUB)));
        let gateway_ip = member.gateway_address();
        let [_, block, c, d] = gateway_ip.octets();
        let metrics = metrics.scoped("cluster", name);
        let rng = Rng::from_entropy();
        let relay = hanse_agent::run(
            tasks,
            RelayConfig {
                member: name.to_owned(),
                client: member.local_client(),
                hub: links.resolve(hub),
                hub_token: token.clone(),
                listen: SocketAddr::new(gateway_ip.into(), 0),
                gateway_token: token.clone(),
                // The API knows the gateway by an address that it accepts in an EndpointSlice.
                gateways: vec![IpAddr::V4(Ipv4Addr::new(10, block, c, d))],
                data: folder.join("relay"),
                rng: rng.fork("relay", name),
                metrics: metrics.clone(),
                readiness: readiness.clone(),
            },
        );
        let relay = match relay {
            Ok(relay) => relay,
            Err(error) => return tracing::error!(member = name, %error, "relay not started"),
        };
        let gateway = hanse_gateway::run(
            tasks,
            GatewayConfig {
                cluster: name.to_owned(),
                bind: gateway_ip.into(),
                hop_port: HOP_PORT,
                relay: relay.address,
                token: token.clone(),
                addresses: links,
                data: folder.join("gateway"),
                admin: None,
                rng: rng.fork("gateway", name),
                wall: Wall::system(),
                metrics,
                readiness: readiness.clone(),
            },
        );
        if let Err(error) = gateway {
            tracing::error!(member = name, %error, "gateway not started");
        }
    })
}
