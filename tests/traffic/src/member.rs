//! One member with a real API in process, its relay and its gateway, below a hub that the test
//! plays.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use hanse_agent::{Relay, RelayConfig};
use hanse_apiserver::ApiServer;
use hanse_gateway::{Gateway, GatewayConfig};
use hanse_routing::ServiceKey;
use hanse_rt::{Metrics, Readiness, Rng, TaskSet, Wall, net::AddressMap};
use hanse_xds::{AdsServer, Protocol, ReportTable, Service, Target, View, encode};
use kube::Client;
use tempfile::TempDir;

use crate::{fleet::own_block, objects, pods::Pod};

const HUB_TOKEN: &str = "of the member";
const GATEWAY_TOKEN: &str = "of its gateways";
/// What the API calls the gateway's address.
pub const GATEWAY_POD: &str = "10.64.254.1";

/// The member `eu`.
pub struct Member {
    /// Ends everything.
    pub tasks: TaskSet,
    /// The hub's discovery.
    pub hub: AdsServer,
    /// Ends the hub.
    pub hub_tasks: TaskSet,
    /// What arrives at the hub.
    pub reports: ReportTable,
    /// The member's API.
    pub client: Client,
    /// Its relay, once started.
    pub relay: Option<(Relay, TaskSet)>,
    /// Its gateway, once started.
    pub gateway: Option<(Gateway, TaskSet)>,
    hub_address: SocketAddr,
    relay_address: SocketAddr,
    ip: IpAddr,
    folder: TempDir,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").finish_non_exhaustive()
    }
}

impl Member {
    /// Hub and API, relay and gateway.
    ///
    /// # Panics
    /// When addresses are taken.
    pub async fn start() -> Self {
        let tasks = TaskSet::new("test");
        let [a, b] = own_block();
        let ip: IpAddr = Ipv4Addr::new(127, a, b, 1).into();
        let api = ApiServer::builder().build().expect("a memory server");
        api.run(&tasks);
        let client = Client::new(api.as_user("system:admin"), "default");
        let reports = ReportTable::default();
        let verifier: hanse_xds::Verifier =
            Arc::new(|token| (token == HUB_TOKEN).then(|| "eu".to_owned()));
        let hub = AdsServer::new(verifier, reports.clone(), &Metrics::new());
        let hub_tasks = tasks.child("hub");
        let hub_address = hub.serve(&hub_tasks, SocketAddr::new(ip, 0)).expect("a free port");
        let mut member = Self {
            tasks,
            hub,
            hub_tasks,
            reports,
            client,
            relay: None,
            gateway: None,
            hub_address,
            relay_address: SocketAddr::new(ip, 0),
            ip,
            folder: TempDir::new().expect("a folder"),
        };
        objects::namespace(&member.client, "shop").await;
        member.start_relay();
        member.start_gateway();
        member
    }

    /// Starts the relay, again after a kill too: under the same address, from the same folder.
    ///
    /// # Panics
    /// When its address is taken.
    pub fn start_relay(&mut self) {
        let tasks = self.tasks.child("relay");
        let config = RelayConfig {
            member: "eu".to_owned(),
            client: self.client.clone(),
            hub: self.hub_address,
            hub_token: HUB_TOKEN.to_owned(),
            listen: self.relay_address,
            gateway_token: GATEWAY_TOKEN.to_owned(),
            gateways: vec![GATEWAY_POD.parse().expect("an address")],
            data: self.folder.path().join("relay"),
            rng: Rng::from_seed(1),
            metrics: Metrics::new(),
            readiness: Readiness::new(),
        };
        let relay = hanse_agent::run(&tasks, config).expect("the relay starts");
        self.relay_address = relay.address;
        self.relay = Some((relay, tasks));
    }

    /// Starts the gateway, again after a kill too.
    ///
    /// # Panics
    /// When its addresses are taken.
    pub fn start_gateway(&mut self) {
        let tasks = self.tasks.child("gateway");
        let config = GatewayConfig {
            cluster: "eu".to_owned(),
            bind: self.ip,
            hop_port: 0,
            relay: self.relay_address,
            token: GATEWAY_TOKEN.to_owned(),
            addresses: AddressMap::identity(),
            data: self.folder.path().join("gateway"),
            admin: None,
            rng: Rng::from_seed(2),
            wall: Wall::system(),
            metrics: Metrics::new(),
            readiness: Readiness::new(),
        };
        let gateway = hanse_gateway::run(&tasks, config).expect("the gateway starts");
        self.gateway = Some((gateway, tasks));
    }

    /// Kills the relay.
    ///
    /// # Panics
    /// When there is none.
    pub async fn kill_relay(&mut self) {
        let (_, tasks) = self.relay.take().expect("a running relay");
        tasks.kill().await;
    }

    /// Kills the gateway.
    ///
    /// # Panics
    /// When there is none.
    pub async fn kill_gateway(&mut self) {
        let (_, tasks) = self.gateway.take().expect("a running gateway");
        tasks.kill().await;
    }

    /// Has the hub say that these services exist; the own cluster is the only place.
    pub fn publish(&self, services: &[(&ServiceKey, u16)]) {
        let service = |service_port| Service {
            protocol: Protocol::Http,
            service_port,
            request_timeout: std::time::Duration::from_secs(15),
            retry_budget_percent: 20,
            order: vec![vec![Target {
                cluster: "eu".to_owned(),
                weight: 1,
                reason: "Own".to_owned(),
                lost: false,
                own: true,
            }]],
            excluded: BTreeMap::new(),
            later: Vec::new(),
            local: Vec::new(),
        };
        let view = View {
            services: services
                .iter()
                .map(|(key, port)| (key.to_string(), service(*port)))
                .collect(),
            peers: BTreeMap::new(),
        };
        self.hub.publish("eu", Arc::new(encode(&view)));
    }

    /// Address of a service port.
    pub fn at(&self, service_port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, service_port)
    }

    /// Starts a pod; it is in no slice yet.
    pub fn pod(&self, name: &str) -> Pod {
        Pod::start(&self.tasks, self.ip, name, crate::Behaviour::default())
    }

    /// Writes the Service of `key` and one slice per pod.
    pub async fn endpoints(&self, key: &ServiceKey, pods: &[&Pod]) {
        objects::endpoints(&self.client, key, pods).await;
    }
}
