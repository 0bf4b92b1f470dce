//! What `hanse up` writes into its hub before the hub's controllers start: the kinds, the
//! Federation, one MemberCluster per simulated member, and the relays' tokens.

use std::{collections::BTreeMap, net::SocketAddr};
use std::{net::Ipv4Addr, sync::Arc};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use hanse_api::{FederationSpec, HubPlace};
use hanse_hub::{Hub, HubConfig, Traffic, traffic::RoundTrips};
use hanse_member::{Connecting, Connection, Connector, DirectConnector};
use hanse_rt::{Metrics, Readiness, Rng, TaskSet, Wall, net::AddressMap, trace::Origins};
use hanse_sim::{
    connector::SimulatedConnector,
    faults::HUB,
    member::{HOP_PORT, Member},
    world::World,
};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

/// Who writes them.
const MANAGER: &str = "hanse-up";

/// Writes everything; returns the relays' tokens by member.
///
/// # Errors
/// When the hub's API refuses.
pub(crate) async fn write(client: &Client, world: &World) -> Result<BTreeMap<String, String>> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in hanse_api::crds() {
        apply(&definitions, &definition.name_any(), serde_json::to_value(&definition)?).await?;
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": hanse_api::SYSTEM_NAMESPACE},
    });
    apply(&namespaces, hanse_api::SYSTEM_NAMESPACE, namespace).await?;
    let hub = world.topology().hub.clone();
    let federations: Api<hanse_api::Federation> = Api::all(client.clone());
    // Whoever tries a federation alone needs no Tenants. What they write later stays.
    let spec = FederationSpec {
        hub: Some(HubPlace { provider: hub.provider, region: hub.region }),
        require_tenant: false,
        ..FederationSpec::default()
    };
    let federation = hanse_api::Federation::new("default", spec);
    match federations.create(&PostParams::default(), &federation).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        other => drop(other.context("writing the Federation into the hub")?),
    }
    let members: Api<hanse_api::MemberCluster> = Api::all(client.clone());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), hanse_api::SYSTEM_NAMESPACE);
    let tokens = futures::stream::iter(world.members()).map(|member| {
        let (members, secrets) = (members.clone(), secrets.clone());
        async move {
            apply(&members, member.name(), describe(member)).await?;
            let token = crate::join::relay_token(&secrets, member.name()).await?;
            Ok::<_, anyhow::Error>((member.name().to_owned(), token))
        }
    });
    tokens.buffer_unordered(16).try_collect().await
}

fn describe(member: &Member) -> Value {
    let cluster = member.cluster();
    let mut spec = json!({
        "connection": {"simulated": {}}, "provider": cluster.provider, "region": cluster.region,
        "network": cluster.network,
        "gateways": [{
            "address": member.gateway_address().to_string(), "port": HOP_PORT, "network": "public",
        }],
    });
    if !cluster.zone.is_empty() {
        spec["zone"] = json!(cluster.zone);
    }
    json!({
        "apiVersion": "hanse.dev/v1alpha1", "kind": "MemberCluster",
        "metadata": {"name": member.name()}, "spec": spec,
    })
}

async fn apply<K>(api: &Api<K>, name: &str, body: Value) -> Result<()>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let params = PatchParams::apply(MANAGER).force();
    api.patch(name, &params, &Patch::Apply(body))
        .await
        .with_context(|| format!("writing {name} into the hub"))?;
    Ok(())
}

/// Connects simulated members over their links, and real ones by their kubeconfig.
#[derive(Debug)]
struct Mixed {
    simulated: SimulatedConnector,
    direct: DirectConnector,
}

impl Connector for Mixed {
    fn connect<'a>(&'a self, name: &'a str, connection: &'a Connection) -> Connecting<'a> {
        match connection {
            Connection::Direct { .. } => self.direct.connect(name, connection),
            Connection::Simulated => self.simulated.connect(name, connection),
        }
    }
}

/// What the hub of one process is told beside its world.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// When the changes came that its templates carry.
    pub(crate) origins: Origins,
    /// Where it is asked for reasons.
    pub(crate) questions: Option<String>,
}

/// Starts the hub's controllers.
///
/// # Errors
/// When the hub's API does not serve what it needs, or no port can be had.
pub(crate) async fn hub(
    tasks: &TaskSet,
    client: &Client,
    world: &World,
    addresses: &AddressMap,
    (wall, rng): (&Wall, &Rng),
    ((metrics, readiness), asked): ((&Metrics, &Readiness), Asked),
) -> Result<Hub> {
    let simulated = SimulatedConnector { world: world.clone() };
    let connector = Arc::new(Mixed { simulated, direct: DirectConnector::default() });
    let topology = world.topology();
    let mut round_trips = RoundTrips::new();
    for from in &topology.clusters {
        for to in &topology.clusters {
            let distance = topology.round_trip(&from.place(), &to.place(), false);
            let micros = u64::try_from(distance.as_micros()).unwrap_or(u64::MAX);
            round_trips.insert((from.region.clone(), to.region.clone()), micros);
        }
    }
    let place =
        HubPlace { provider: topology.hub.provider.clone(), region: topology.hub.region.clone() };
    let config = HubConfig {
        wall: wall.clone(),
        rng: rng.fork("hub", ""),
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        place: Some(place),
        traffic: Some(Traffic {
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
            addresses: world.addresses(HUB, tasks, addresses, None),
            round_trips,
        }),
        origins: asked.origins,
        questions: asked.questions,
        ..HubConfig::new(client.clone(), connector)
    };
    Ok(Hub::run(tasks, config).await?)
}
