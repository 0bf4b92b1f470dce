//! The fleet: one gateway per site, and a discovery server that serves what the routing engine
//! says of a world that the test changes.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use hanse_gateway::{Gateway, GatewayConfig};
use hanse_routing::{
    self as routing, Cluster, ClusterName, GatewayAddress, Locality, Operator, Place, Protocol,
    ServiceKey, ServiceSpec, StayWithin, Timeouts, Verdict, World,
};
use hanse_rt::{Metrics, Readiness, Rng, TaskSet, Wall, net::AddressMap};
use hanse_xds::{AdsServer, ReportTable, compile, encode};
use tempfile::TempDir;

use crate::{
    link::Link,
    pods::{Behaviour, Pod},
};

/// Port of the hop between gateways.
const HOP: u16 = 15_443;
/// Service port of the first service.
const FIRST_PORT: u16 = 10_080;

static FLEETS: AtomicU8 = AtomicU8::new(1);

/// Everything of one test.
#[derive(Debug)]
pub struct Fleet {
    /// Ends everything.
    pub tasks: TaskSet,
    /// What the routing engine is told; [`Fleet::publish`] makes it known.
    pub world: World,
    /// Sites by name.
    pub sites: BTreeMap<String, Site>,
    /// Reports of the gateways.
    pub reports: ReportTable,
    /// Links by (from, to).
    pub links: BTreeMap<(String, String), Link>,
    discovery: AdsServer,
    discovery_tasks: TaskSet,
    discovery_address: SocketAddr,
    folder: TempDir,
    net: [u8; 2],
}

/// One cluster.
#[derive(Debug)]
pub struct Site {
    /// Its gateway's address.
    pub ip: IpAddr,
    /// Its gateway.
    pub gateway: Gateway,
    /// Its gateway's readiness.
    pub readiness: Readiness,
    /// Its pods by service.
    pub pods: BTreeMap<ServiceKey, Vec<Pod>>,
    /// Ends its gateway.
    pub tasks: TaskSet,
    addresses: AddressMap,
}

/// Second and third byte of a block of loopback addresses that no other fleet of this or another
/// process uses, outside the range of simulated members.
///
/// # Panics
/// Never.
pub fn own_block() -> [u8; 2] {
    let process = u8::try_from(std::process::id() % 100).expect("below 100");
    [130 + process, FLEETS.fetch_add(1, Ordering::SeqCst)]
}

/// The key of `shop/<name>/80`.
///
/// # Panics
/// When `name` is none.
pub fn key(name: &str) -> ServiceKey {
    ServiceKey::new("shop", name, 80).expect("a valid name")
}

fn cluster_name(name: &str) -> ClusterName {
    ClusterName::new(name).expect("a valid name")
}

impl Fleet {
    /// Sites `(name, region)`; the distance of two regions grows with that of their places in
    /// the list. Every connection between gateways runs over a link.
    ///
    /// # Panics
    /// When loopback addresses are taken.
    pub fn start(sites: &[(&str, &str)]) -> Self {
        let tasks = TaskSet::new("test");
        let net = own_block();
        let reports = ReportTable::default();
        let verifier: hanse_xds::Verifier =
            Arc::new(|token| token.strip_prefix("token-of-").map(ToOwned::to_owned));
        let discovery = AdsServer::new(verifier, reports.clone(), &Metrics::new());
        let discovery_tasks = tasks.child("discovery");
        let discovery_address = discovery
            .serve(&discovery_tasks, SocketAddr::from(([127, 0, 0, 1], 0)))
            .expect("a free port");
        let mut fleet = Self {
            tasks,
            world: World::default(),
            sites: BTreeMap::new(),
            reports,
            links: BTreeMap::new(),
            discovery,
            discovery_tasks,
            discovery_address,
            folder: TempDir::new().expect("a folder"),
            net,
        };
        for (index, (name, region)) in (1_u8..).zip(sites) {
            fleet.add_cluster(name, region, index);
            for (before, other) in (1_u8..).zip(sites.get(..usize::from(index) - 1).unwrap_or(&[]))
            {
                let pair = ((*region).to_owned(), other.1.to_owned());
                let distance = u64::from(index - before) * 40_000 + u64::from(index);
                fleet.world.round_trips.entry(pair).or_insert(distance);
            }
        }
        for (name, _) in sites {
            fleet.link_from(name, sites);
            fleet.start_gateway(name);
        }
        fleet
    }

    fn ip(&self, last: u8) -> IpAddr {
        Ipv4Addr::new(127, self.net[0], self.net[1], last).into()
    }

    fn add_cluster(&mut self, name: &str, region: &str, index: u8) {
        let address = SocketAddr::new(self.ip(index), HOP);
        let cluster = Cluster {
            name: cluster_name(name),
            place: Place {
                provider: format!("provider-of-{region}"),
                region: region.to_owned(),
                zone: None,
            },
            network: "default".to_owned(),
            gateways: vec![GatewayAddress { address, network: "default".to_owned() }],
            verdict: Verdict::Healthy,
            operator: Operator::default(),
        };
        self.world.clusters.insert(cluster.name.clone(), cluster);
    }

    fn gateway_address(&self, name: &str) -> SocketAddr {
        self.world.clusters[&cluster_name(name)].gateways[0].address
    }

    fn link_from(&mut self, name: &str, sites: &[(&str, &str)]) {
        for (other, _) in sites.iter().filter(|(other, _)| *other != name) {
            let link = Link::start(&self.tasks, self.gateway_address(other));
            self.links.insert((name.to_owned(), (*other).to_owned()), link);
        }
    }

    /// Starts the gateway of `name`, again after a kill too.
    ///
    /// # Panics
    /// When its addresses are taken.
    pub fn start_gateway(&mut self, name: &str) {
        let at = self.gateway_address(name);
        let before = self.sites.remove(name);
        let addresses = AddressMap::identity();
        for ((from, to), link) in &self.links {
            if from == name {
                addresses.insert(self.gateway_address(to), link.address);
            }
        }
        let tasks = self.tasks.child(name);
        let readiness = Readiness::new();
        let config = GatewayConfig {
            cluster: name.to_owned(),
            bind: at.ip(),
            hop_port: HOP,
            relay: self.discovery_address,
            token: format!("token-of-{name}"),
            addresses: addresses.clone(),
            data: self.folder.path().join(name),
            admin: Some(SocketAddr::new(at.ip(), 0)),
            rng: Rng::from_seed(u64::from(self.net[1])),
            wall: Wall::system(),
            metrics: Metrics::new(),
            readiness: readiness.clone(),
        };
        let gateway = hanse_gateway::run(&tasks, config).expect("the gateway starts");
        let site = Site {
            ip: at.ip(),
            gateway,
            readiness,
            pods: before.map(|site| site.pods).unwrap_or_default(),
            tasks,
            addresses,
        };
        self.sites.insert(name.to_owned(), site);
    }

    /// Adds a service; the first has port 10080.
    ///
    /// # Panics
    /// When there are too many.
    pub fn add_service(&mut self, key: &ServiceKey, protocol: Protocol) {
        let count = u16::try_from(self.world.services.len()).expect("few services");
        let spec = ServiceSpec {
            key: key.clone(),
            protocol,
            service_port: FIRST_PORT + count,
            ready: BTreeMap::new(),
            locality: Locality::Nearest,
            stay_within: StayWithin::None,
            timeouts: Timeouts::default(),
        };
        self.world.services.insert(key.clone(), spec);
    }

    /// Starts `count` pods of a service in a cluster.
    ///
    /// # Panics
    /// When the cluster or the service is unknown.
    pub fn add_pods(&mut self, cluster: &str, key: &ServiceKey, count: usize, how: Behaviour) {
        let tasks = self.tasks.child("pods");
        let site = self.sites.get_mut(cluster).expect("a known cluster");
        let pods = site.pods.entry(key.clone()).or_default();
        for _ in 0..count {
            pods.push(Pod::start(&tasks, site.ip, cluster, how));
        }
        let ready = u32::try_from(pods.len()).expect("few pods");
        let spec = self.world.services.get_mut(key).expect("a known service");
        spec.ready.insert(cluster_name(cluster), ready);
    }

    /// The cluster as the routing engine sees it.
    ///
    /// # Panics
    /// When it is unknown.
    pub fn cluster(&mut self, name: &str) -> &mut Cluster {
        self.world.clusters.get_mut(&cluster_name(name)).expect("a known cluster")
    }

    /// Serves what follows from the world to every gateway.
    ///
    /// # Panics
    /// Never.
    pub fn publish(&self) {
        let now = Wall::system().now().as_second();
        for (name, site) in &self.sites {
            let own: BTreeMap<String, Vec<SocketAddr>> = site
                .pods
                .iter()
                .map(|(key, pods)| (key.to_string(), pods.iter().map(|pod| pod.address).collect()))
                .collect();
            let snapshot = routing::plan(&self.world, &cluster_name(name), now).expect("a member");
            let view = compile(&snapshot).with_own_endpoints(&own);
            self.discovery.publish(name, Arc::new(encode(&view)));
        }
    }

    /// Address of a service in a cluster.
    pub fn at(&self, cluster: &str, key: &ServiceKey) -> SocketAddr {
        let port = self.world.services[key].service_port;
        SocketAddr::new(self.sites[cluster].ip, port)
    }

    /// Overwrites the snapshot that the gateway of `name` keeps on disk.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn damage_snapshot(&self, name: &str) {
        let path = self.folder.path().join(name).join("gateway.snapshot");
        hanse_rt::disk::read(&path).expect("a snapshot is there");
        hanse_rt::disk::write_atomically(&path, b"hansexd1 torn").expect("a writable folder");
    }

    /// Takes discovery away for good.
    pub async fn stop_discovery(&self) {
        self.discovery_tasks.kill().await;
    }

    /// Ends a cluster at once: its gateway and its pods.
    pub async fn kill(&self, cluster: &str) {
        let site = &self.sites[cluster];
        site.tasks.kill().await;
        for pod in site.pods.values().flatten() {
            pod.kill().await;
        }
    }

    /// Reaches `to` from `from` without the link between them, so that a dead gateway refuses.
    pub fn unlink(&self, from: &str, to: &str) {
        self.sites[from].addresses.remove(self.gateway_address(to));
    }
}
