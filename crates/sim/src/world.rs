//! All members of a topology, the hub's place among them, and the links between.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hanse_apiserver::{ApiServer, OpenError};
use hanse_rt::{Rng, TaskSet, Wall, net::AddressMap};
use hanse_topology::{Place, Topology};
use http::{Request, Response};
use kube::{Client, client::Body};
use tokio::sync::watch;
use tower::{BoxError, Service};

use crate::{
    faults::{Ends, Faults, Faulty, FaultyBody, HUB},
    links::{self, Route},
    member::{self, Member, Options},
    shallow::Heard,
};

/// A simulated fleet.
#[derive(Clone, Debug)]
pub struct World {
    topology: Arc<Topology>,
    members: Arc<BTreeMap<String, Member>>,
    hub: watch::Sender<Faults>,
}

/// A member's API over the hub's link to it.
#[derive(Clone, Debug)]
pub struct HubService(Faulty<Heard>);

impl Service<Request<Body>> for HubService {
    type Response = Response<FaultyBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::<Request<Body>>::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

/// Makes the API server of one member: where it stores is the caller's choice.
pub type Stores<'a> = &'a dyn Fn(usize, &str) -> Result<ApiServer, OpenError>;

impl World {
    /// The members of a topology, without power yet.
    ///
    /// # Errors
    /// The first store that cannot be opened.
    pub fn new(
        topology: Topology,
        stores: Stores<'_>,
        (wall, rng): (&Wall, &Rng),
        options: &Options,
    ) -> Result<Self, OpenError> {
        let mut members = BTreeMap::new();
        for (index, cluster) in topology.clusters.iter().enumerate() {
            let name = cluster.name.clone();
            let api = stores(index, &name)?;
            let chance = (wall.clone(), rng.fork("member", &name));
            let member = Member::new(cluster.clone(), index, api, chance, options.clone());
            members.insert(name, member);
        }
        let (topology, members) = (Arc::new(topology), Arc::new(members));
        Ok(Self { topology, members, hub: watch::Sender::new(Faults::default()) })
    }

    /// The topology.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// All members in order of name.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// One member.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }

    /// What is wrong with the hub's own place, to change; a cut there is a cut from a member.
    pub fn hub_faults(&self) -> &watch::Sender<Faults> {
        &self.hub
    }

    /// A member's API as the hub sees it, over the link between them.
    pub fn hub_service(&self, name: &str) -> Option<HubService> {
        let member = self.members.get(name)?;
        let from = (HUB.to_owned(), self.hub.subscribe());
        Some(HubService(member.service_over(from, self.distance(HUB, name))))
    }

    /// The hub's client of a member's API, over the link between them.
    pub fn hub_client(&self, name: &str) -> Option<Client> {
        Some(Client::new(self.hub_service(name)?, "default"))
    }

    /// Addresses as seen from a member (or from the hub, by [`HUB`]): other members' gateways are
    /// reached over links, and so is what `further` names.
    pub fn addresses(
        &self,
        from: &str,
        tasks: &TaskSet,
        base: &AddressMap,
        further: Option<(SocketAddr, &str)>,
    ) -> AddressMap {
        let (world, from) = (self.clone(), from.to_owned());
        let further = further.map(|(address, to)| (address, to.to_owned()));
        let routes = move |target: SocketAddr| {
            let to = match &further {
                Some((address, to)) if *address == target => to.clone(),
                _ => {
                    let index = member::member_of_gateway(target)?;
                    world.topology.clusters.get(index)?.name.clone()
                }
            };
            (to != from).then(|| world.route(&from, &to)).flatten()
        };
        links::over_links(tasks, base, Arc::new(routes))
    }

    fn route(&self, from: &str, to: &str) -> Option<Route> {
        let ends = Ends::new(self.end(from)?, self.end(to)?);
        Some(Route { ends, round_trip: self.distance(from, to) })
    }

    fn end(&self, name: &str) -> Option<(String, watch::Receiver<Faults>)> {
        let faults =
            if name == HUB { self.hub.subscribe() } else { self.members.get(name)?.faults() };
        Some((name.to_owned(), faults))
    }

    /// The round-trip time between two members, or one and the hub.
    pub fn distance(&self, from: &str, to: &str) -> Duration {
        let place = |name: &str| -> Place {
            if name == HUB {
                self.topology.hub_place()
            } else {
                self.topology.place(name).unwrap_or_default()
            }
        };
        self.topology.round_trip(&place(from), &place(to), from == to)
    }
}
