//! One simulated member: an API server with everything that makes it alive, under power that
//! faults can take away. What it stored survives; what ran does not.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_apiserver::ApiServer;
use hanse_rt::{Rng, TaskSet, Wall, net::AddressMap};
use hanse_topology::Cluster;
use kube::Client;
use tokio::sync::watch;

use crate::{
    engine::{Controllers, Scope},
    faults::{Ends, Faults, Faulty},
    kubelet::{Addresses, Kubelet, Pace, Runtime},
    nodes,
    responder::{Mute, Responders},
    shallow::{Heard, Shallow},
};

/// The port gateways use among each other.
pub const HOP_PORT: u16 = 15443;

/// One simulated member.
#[derive(Clone, Debug)]
pub struct Member {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cluster: Cluster,
    index: usize,
    api: ApiServer,
    faults: watch::Sender<Faults>,
    lost_nodes: Arc<Mutex<BTreeSet<String>>>,
    wall: Wall,
    rng: Rng,
    options: Options,
}

/// How a member is simulated.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How long pods take.
    pub pace: Pace,
    /// Whether pods answer on sockets, and where their addresses are reached.
    pub sockets: Option<AddressMap>,
    /// No pods at all: this loop sets the status of workloads. The rest counts for nothing then.
    pub shallow: Option<Shallow>,
}

/// What else runs in a member while it has power, for instance its relay and gateway.
pub type Roles = Arc<dyn Fn(&Member, &TaskSet) + Send + Sync>;

impl Member {
    /// A member without power yet; [`Member::run`] switches it on.
    pub fn new(
        cluster: Cluster,
        index: usize,
        api: ApiServer,
        (wall, rng): (Wall, Rng),
        options: Options,
    ) -> Self {
        let faults = watch::Sender::new(Faults::default());
        let lost_nodes = Arc::default();
        let inner = Inner { cluster, index, api, faults, lost_nodes, wall, rng, options };
        Self { inner: Arc::new(inner) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.cluster.name
    }

    /// Its description in the topology.
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// Its API server.
    pub fn api(&self) -> &ApiServer {
        &self.inner.api
    }

    /// The address of its gateway: 127.(64+i).254.1.
    pub fn gateway_address(&self) -> Ipv4Addr {
        gateway_address(self.inner.index)
    }

    /// What is wrong with it now, to watch.
    pub fn faults(&self) -> watch::Receiver<Faults> {
        self.inner.faults.subscribe()
    }

    /// Changes what is wrong with it.
    pub fn set_faults(&self, faults: Faults) {
        let names = nodes::names(&self.inner.cluster);
        let kept = names.len().saturating_sub(faults.lost_nodes);
        let lost: BTreeSet<String> = names.into_iter().skip(kept).collect();
        *self.inner.lost_nodes.lock().expect("no holder of this lock panics") = lost;
        self.inner.faults.send_if_modified(|now| {
            let changed = *now != faults;
            *now = faults;
            changed
        });
    }

    /// A client of its API for those inside it: no distance, no faults.
    pub fn local_client(&self) -> Client {
        Client::new(self.service(), "default")
    }

    fn service(&self) -> Heard {
        let ears = self.inner.options.shallow.clone();
        let ears = ears.map(|shallow| (shallow, self.inner.index));
        Heard::new(self.inner.api.as_user("system:admin"), ears)
    }

    /// Its API as seen from elsewhere.
    pub(crate) fn service_over(
        &self,
        from: (String, watch::Receiver<Faults>),
        round_trip: Duration,
    ) -> Faulty<Heard> {
        let rng = self.inner.rng.fork("link", &from.0);
        let ends = Ends::new(from, (self.name().to_owned(), self.faults()));
        Faulty::new(self.service(), ends, round_trip, rng)
    }

    /// Runs it until `tasks` ends: switches off on a kill and on again when the kill is cleared.
    pub fn run(&self, tasks: &TaskSet, roles: Roles) {
        let member = self.clone();
        let (shutdown, parent) = (tasks.shutdown(), tasks.clone());
        let mut faults = self.faults();
        let mut powered = Some(self.switch_on(&parent, &roles));
        tasks.spawn("power", async move {
            loop {
                let killed = faults.borrow_and_update().killed;
                match (&powered, killed) {
                    (Some(running), true) => {
                        running.kill().await;
                        powered = None;
                    }
                    (None, false) => powered = Some(member.switch_on(&parent, &roles)),
                    _ => {}
                }
                hanse_rt::select! {
                    () = shutdown.cancelled() => return,
                    changed = faults.changed() => if changed.is_err() { return },
                }
            }
        });
    }

    fn switch_on(&self, tasks: &TaskSet, roles: &Roles) -> TaskSet {
        let running = tasks.child(self.name());
        self.inner.api.run(&running);
        match &self.inner.options.shallow {
            Some(shallow) => self.run_shallow(&running, shallow),
            None => self.run_controllers(&running),
        }
        roles(self, &running);
        running
    }

    /// Nodes, and nothing else.
    fn run_shallow(&self, running: &TaskSet, shallow: &Shallow) {
        let inner = &self.inner;
        let (shallow, index) = (shallow.clone(), inner.index);
        let total = nodes::names(&inner.cluster).len();
        let up = total.saturating_sub(self.lost_nodes().len());
        let power = shallow.power_on(index, inner.api.clone(), up);
        let (member, mut faults) = (self.clone(), self.faults());
        running.spawn("nodes", async move {
            let _power = power;
            loop {
                faults.borrow_and_update();
                let lost = member.lost_nodes();
                let inner = &member.inner;
                nodes::write_once(member.local_client(), &inner.cluster, &lost, &inner.wall).await;
                shallow.count_nodes(index, total.saturating_sub(lost.len()));
                if faults.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn lost_nodes(&self) -> BTreeSet<String> {
        self.inner.lost_nodes.lock().expect("no holder of this lock panics").clone()
    }

    fn run_controllers(&self, running: &TaskSet) {
        let inner = &self.inner;
        let runtime: Arc<dyn Runtime> = match &inner.options.sockets {
            Some(addresses) => Arc::new(Responders::new(self.name(), running, addresses.clone())),
            None => Arc::new(Mute),
        };
        let addresses = Addresses::of_member(inner.index);
        let lost_nodes = Arc::clone(&inner.lost_nodes);
        let kubelet = Kubelet::new(inner.options.pace, runtime, addresses, lost_nodes);
        let client = self.local_client();
        let lost = Arc::clone(&inner.lost_nodes);
        nodes::run(running, client.clone(), inner.cluster.clone(), lost, inner.wall.clone());
        let controllers = Controllers {
            client,
            scope: Scope::Everything,
            kubelet,
            wall: inner.wall.clone(),
            rng: inner.rng.fork("controllers", self.name()),
        };
        controllers.run(running);
    }
}

/// The gateway address of the member with this place in the topology's order.
pub fn gateway_address(index: usize) -> Ipv4Addr {
    let block = u8::try_from(64 + index % 64).expect("a number below 128 fits");
    Ipv4Addr::new(127, block, 254, 1)
}

/// The member whose gateway has this address, by its place in the topology's order.
pub fn member_of_gateway(address: SocketAddr) -> Option<usize> {
    let IpAddr::V4(ip) = address.ip() else {
        return None;
    };
    match ip.octets() {
        [127, block, 254, 1] if (64..128).contains(&block) => Some(usize::from(block) - 64),
        _ => None,
    }
}
