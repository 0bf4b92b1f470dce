//! A whole federation over loopback: a hub on an API in process, members with an API, a relay
//! and a gateway each. Nothing schedules pods: the test starts them and writes their slices.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use hanse_api::{
    Federation as FederationObject, GlobalService, GlobalServiceStatus, MEMBER_LABEL,
    MemberCluster, RELAY_TOKEN_SECRET_TYPE, SYSTEM_NAMESPACE,
};
use hanse_apiserver::ApiServer;
use hanse_hub::{Hub, HubConfig, Traffic};
use hanse_member::{ConnectError, Connecting, Connection, Connector, Limits, bounded};
use hanse_routing::ServiceKey;
use hanse_rt::{Metrics, Readiness, Rng, TaskSet, Wall, net::AddressMap};
use k8s_openapi::{
    api::core::v1::Secret,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    fleet::own_block,
    objects,
    pods::{Behaviour, Pod},
    until,
};

const HOP: u16 = 15_443;

/// A federation.
pub struct Federation {
    /// Ends everything.
    pub tasks: TaskSet,
    /// Client of the hub's API.
    pub client: Client,
    /// Members by name.
    pub members: BTreeMap<String, Member>,
    hub: Option<TaskSet>,
    hub_address: SocketAddr,
    round_trips: BTreeMap<(String, String), u64>,
    connector: Arc<Clients>,
    folder: TempDir,
}

/// One member.
pub struct Member {
    /// Client of its API.
    pub client: Client,
    /// Address of its gateway.
    pub ip: IpAddr,
    /// Ends its relay.
    pub relay: TaskSet,
    /// Ends its gateway.
    pub gateway: TaskSet,
}

impl std::fmt::Debug for Federation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Federation").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").finish_non_exhaustive()
    }
}

/// Clients of members in this process.
struct Clients(BTreeMap<String, Client>);

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clients")
    }
}

impl Connector for Clients {
    fn connect<'a>(&'a self, name: &'a str, _: &'a Connection) -> Connecting<'a> {
        Box::pin(async move {
            let known = self.0.get(name).cloned();
            let known = known.map(|client| bounded(client, Limits::default()));
            known.ok_or_else(|| ConnectError::Unsupported(format!("no member {name} here")))
        })
    }
}

impl Federation {
    /// Members `(name, region)`, one provider per region; the hub is in the first region, and
    /// regions are the farther apart the farther they stand in the list.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start(members: &[(&str, &str)]) -> Self {
        let tasks = TaskSet::new("test");
        let [a, b] = own_block();
        let client = api(&tasks);
        let clients: BTreeMap<String, Client> =
            members.iter().map(|(name, _)| ((*name).to_owned(), api(&tasks))).collect();
        let mut round_trips = BTreeMap::new();
        for (index, (_, region)) in (0_u64..).zip(members) {
            for (other, (_, from)) in (0..index).zip(members) {
                let pair = ((*from).to_owned(), (*region).to_owned());
                round_trips.entry(pair).or_insert((index - other) * 40_000 + index);
            }
        }
        let mut federation = Self {
            tasks,
            client,
            members: BTreeMap::new(),
            hub: None,
            hub_address: SocketAddr::from(([127, a, b, 250], 0)),
            round_trips,
            connector: Arc::new(Clients(clients.clone())),
            folder: TempDir::new().expect("a folder"),
        };
        let place = members.first().map(|(_, region)| *region).unwrap_or_default();
        federation.describe(members, place, [a, b]).await;
        federation.start_hub().await;
        for (index, (name, _)) in (1_u8..).zip(members) {
            let client = clients[*name].clone();
            objects::namespace(&client, "shop").await;
            let ip = Ipv4Addr::new(127, a, b, index);
            federation.start_member(name, client, ip);
        }
        federation
    }

    async fn describe(&self, members: &[(&str, &str)], place: &str, [a, b]: [u8; 2]) {
        let client = &self.client;
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        for definition in hanse_api::crds() {
            let body = serde_json::to_value(&definition).expect("a definition is plain data");
            apply(&definitions, &definition.name_any(), body).await;
        }
        for name in [SYSTEM_NAMESPACE, "shop"] {
            objects::namespace(client, name).await;
        }
        let federations: Api<FederationObject> = Api::all(client.clone());
        let body = json!({
            "apiVersion": "hanse.dev/v1alpha1", "kind": "Federation", "metadata": {"name": "default"},
            "spec": {
                "hub": {"provider": format!("provider-of-{place}"), "region": place},
                "requireTenant": false,
            },
        });
        apply(&federations, "default", body).await;
        let clusters: Api<MemberCluster> = Api::all(client.clone());
        let secrets: Api<Secret> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
        for (index, (name, region)) in (1_u8..).zip(members) {
            let body = json!({
                "apiVersion": "hanse.dev/v1alpha1", "kind": "MemberCluster",
                "metadata": {"name": name},
                "spec": {
                    "connection": {"simulated": {}},
                    "provider": format!("provider-of-{region}"), "region": region,
                    "gateways": [{
                        "address": Ipv4Addr::new(127, a, b, index).to_string(),
                        "port": HOP, "network": "public",
                    }],
                },
            });
            apply(&clusters, name, body).await;
            let body = json!({
                "apiVersion": "v1", "kind": "Secret", "type": RELAY_TOKEN_SECRET_TYPE,
                "metadata": {
                    "name": format!("{name}-relay-token"), "labels": {MEMBER_LABEL: name},
                },
                "stringData": {"token": token(name)},
            });
            apply(&secrets, &format!("{name}-relay-token"), body).await;
        }
    }

    /// Starts the hub, again after a kill too: on the same API, under the same address.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_hub(&mut self) {
        let tasks = self.tasks.child("hub");
        let connector = Arc::<Clients>::clone(&self.connector);
        let mut config = HubConfig::new(self.client.clone(), connector);
        config.traffic = Some(Traffic {
            listen: self.hub_address,
            addresses: AddressMap::identity(),
            round_trips: self.round_trips.clone(),
        });
        let hub = Hub::run(&tasks, config).await.expect("the hub starts");
        self.hub_address = hub.relays().expect("a door for relays");
        self.hub = Some(tasks);
    }

    /// Kills the hub.
    ///
    /// # Panics
    /// When there is none.
    pub async fn kill_hub(&mut self) {
        self.hub.take().expect("a running hub").kill().await;
    }

    fn start_member(&mut self, name: &str, client: Client, ip: Ipv4Addr) {
        let (relay_tasks, gateway_tasks) = (self.tasks.child("relay"), self.tasks.child("gateway"));
        let folder = self.folder.path().join(name);
        let (metrics, readiness) = (Metrics::new(), Readiness::new());
        let relay = hanse_agent::run(
            &relay_tasks,
            hanse_agent::RelayConfig {
                member: name.to_owned(),
                client: client.clone(),
                hub: self.hub_address,
                hub_token: token(name),
                listen: SocketAddr::new(ip.into(), 0),
                gateway_token: token(name),
                gateways: vec!["10.64.254.1".parse().expect("an address")],
                data: folder.join("relay"),
                rng: Rng::from_seed(1).fork("relay", name),
                metrics: metrics.clone(),
                readiness: readiness.clone(),
            },
        );
        let relay = relay.expect("the relay starts");
        let gateway = hanse_gateway::run(
            &gateway_tasks,
            hanse_gateway::GatewayConfig {
                cluster: name.to_owned(),
                bind: ip.into(),
                hop_port: HOP,
                relay: relay.address,
                token: token(name),
                addresses: AddressMap::identity(),
                data: folder.join("gateway"),
                admin: None,
                rng: Rng::from_seed(2).fork("gateway", name),
                wall: Wall::system(),
                metrics,
                readiness,
            },
        );
        gateway.expect("the gateway starts");
        let member = Member { client, ip: ip.into(), relay: relay_tasks, gateway: gateway_tasks };
        self.members.insert(name.to_owned(), member);
    }

    /// Starts a pod named `name` in a member; it is in no slice yet.
    pub fn pod(&self, member: &str, name: &str) -> Pod {
        let ip = self.members[member].ip;
        Pod::start(&self.tasks, ip, name, Behaviour::default())
    }

    /// Makes these pods a member's endpoints of `key`.
    pub async fn endpoints(&self, member: &str, key: &ServiceKey, pods: &[&Pod]) {
        objects::endpoints(&self.members[member].client, key, pods).await;
    }

    /// Writes a GlobalService and its Service into the hub.
    ///
    /// # Panics
    /// When the API refuses.
    pub async fn global(&self, key: &ServiceKey, spec: Value) {
        objects::service(&self.client, key).await;
        let api: Api<GlobalService> = Api::namespaced(self.client.clone(), key.namespace());
        let body = json!({
            "apiVersion": "hanse.dev/v1alpha1", "kind": "GlobalService",
            "metadata": {"name": key.name(), "namespace": key.namespace()},
            "spec": spec,
        });
        apply(&api, key.name(), body).await;
    }

    /// Changes the Federation's spec.
    ///
    /// # Panics
    /// When the API refuses.
    pub async fn change_federation(&self, spec: Value) {
        let api: Api<FederationObject> = Api::all(self.client.clone());
        let body = json!({"spec": spec});
        api.patch("default", &PatchParams::default(), &Patch::Merge(body))
            .await
            .expect("a changed Federation");
    }

    /// What a GlobalService says now.
    ///
    /// # Panics
    /// When the API does not answer.
    pub async fn status(&self, key: &ServiceKey) -> GlobalServiceStatus {
        let api: Api<GlobalService> = Api::namespaced(self.client.clone(), key.namespace());
        let known = api.get_opt(key.name()).await.expect("the hub's API answers");
        known.and_then(|global| global.status).unwrap_or_default()
    }

    /// The addresses of a GlobalService in the order of its status, once every member is in it.
    ///
    /// # Panics
    /// When it does not come to that.
    pub async fn addresses(&self, key: &ServiceKey) -> Vec<(String, SocketAddr)> {
        let all = || async { self.status(key).await.addresses.len() == self.members.len() };
        until("an address in each member", all).await;
        let status = self.status(key).await;
        let read = |at: hanse_api::GlobalAddress| {
            let port = u16::try_from(at.port).expect("a port");
            (at.cluster, SocketAddr::new(at.address.parse().expect("an address"), port))
        };
        status.addresses.into_iter().map(read).collect()
    }
}

fn token(member: &str) -> String {
    format!("token-of-{member}")
}

fn api(tasks: &TaskSet) -> Client {
    let server = ApiServer::builder().build().expect("a memory server");
    server.run(tasks);
    Client::new(server.as_user("system:admin"), "default")
}

async fn apply<K>(api: &Api<K>, name: &str, body: Value)
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let parameters = PatchParams::apply("test").force();
    api.patch(name, &parameters, &Patch::Apply(body)).await.expect("the API takes it");
}
