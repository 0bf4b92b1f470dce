//! The aggregated discovery service, state of the world: each client gets the set of its
//! identity, never of what it claims to be.
//!
//! One response of a kind is under way at a time. What is referred to goes first: clusters, load
//! assignments, then, when those are acknowledged, listeners and routes. A cluster that is gone
//! is withdrawn only after nothing refers to it any more. A refusal keeps what the client has;
//! the same content is not sent to it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use envoy_types::pb::{
    envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
        aggregated_discovery_service_server::{
            AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
        },
    },
    google::protobuf,
};
use futures::{Stream, stream};
use hanse_rt::{Metrics, TaskSet, metrics::Counters, net};
use http::{Request, Response as HttpResponse};
use hyper::body::Incoming;
use tokio::sync::watch;
use tonic::{Response, Status, Streaming, body::Body};
use tower::Service as _;

use crate::{
    report::{self, ReportTable},
    resources::{ByName, Kind, Resources},
    transport,
};

/// Bearer token to the name of the member it belongs to.
pub type Verifier = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

type Published = Option<Arc<Resources>>;

/// Serves resources and takes reports.
#[derive(Clone)]
pub struct AdsServer {
    nodes: Arc<Mutex<BTreeMap<String, Node>>>,
    verifier: Verifier,
    reports: ReportTable,
    refusals: Counters,
}

#[derive(Default)]
struct Node {
    published: watch::Sender<Published>,
    streams: usize,
    refused: Option<String>,
}

/// What is known of a client.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientState {
    /// Open streams.
    pub streams: usize,
    /// Text of the last refusal, until something is acknowledged.
    pub refused: Option<String>,
}

impl std::fmt::Debug for AdsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdsServer").finish_non_exhaustive()
    }
}

impl AdsServer {
    /// A server without any set yet; clients wait until theirs is published.
    pub fn new(verifier: Verifier, reports: ReportTable, metrics: &Metrics) -> Self {
        Self {
            nodes: Arc::default(),
            verifier,
            reports,
            refusals: metrics.counters(
                "hanse_xds_refusals",
                "resources that a client refused, by client and type",
            ),
        }
    }

    /// Replaces the set of `node`. Equal content sends nothing.
    pub fn publish(&self, node: &str, resources: Arc<Resources>) {
        self.with_node(node, |node| {
            node.published.send_if_modified(|published| {
                let differs = published.as_ref() != Some(&resources);
                if differs {
                    *published = Some(resources);
                }
                differs
            });
        });
    }

    /// Forgets `node`; what it has stays with it.
    pub fn remove(&self, node: &str) {
        self.nodes.lock().expect("no holder of this lock panics").remove(node);
    }

    /// What is known of `node`.
    pub fn client(&self, node: &str) -> ClientState {
        let nodes = self.nodes.lock().expect("no holder of this lock panics");
        nodes.get(node).map_or_else(ClientState::default, |node| ClientState {
            streams: node.streams,
            refused: node.refused.clone(),
        })
    }

    /// Serves on `address` until `tasks` ends; returns the bound address.
    ///
    /// # Errors
    /// The listener's error.
    pub fn serve(&self, tasks: &TaskSet, address: SocketAddr) -> std::io::Result<SocketAddr> {
        let listener = net::listen(address)?;
        let bound = listener.local_addr()?;
        let server = self.clone();
        transport::serve(tasks, listener, move |request| server.clone().answer(request));
        Ok(bound)
    }

    async fn answer(self, mut request: Request<Incoming>) -> HttpResponse<Body> {
        let identity =
            transport::bearer(request.headers()).and_then(|token| (self.verifier)(token));
        let Some(identity) = identity else {
            let refusal = Status::unauthenticated("a bearer token of a member is needed");
            return refusal.into_http();
        };
        if request.uri().path() == report::PATH {
            return report::receive(self.reports.clone(), identity, request).await;
        }
        request.extensions_mut().insert(Identity(identity));
        let mut service = AggregatedDiscoveryServiceServer::new(self)
            .max_decoding_message_size(transport::MAX_MESSAGE);
        let answered: Result<_, Infallible> = service.call(request.map(Body::new)).await;
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    fn with_node<T>(&self, node: &str, then: impl FnOnce(&mut Node) -> T) -> T {
        let mut nodes = self.nodes.lock().expect("no holder of this lock panics");
        then(nodes.entry(node.to_owned()).or_default())
    }
}

#[derive(Clone)]
struct Identity(String);

type Responses = Pin<Box<dyn Stream<Item = Result<DiscoveryResponse, Status>> + Send>>;
type DeltaResponses = Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for AdsServer {
    type StreamAggregatedResourcesStream = Responses;
    type DeltaAggregatedResourcesStream = DeltaResponses;

    async fn stream_aggregated_resources(
        &self,
        request: tonic::Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Responses>, Status> {
        let Some(Identity(node)) = request.extensions().get::<Identity>().cloned() else {
            return Err(Status::unauthenticated("no identity"));
        };
        let published = self.with_node(&node, |node| {
            node.streams += 1;
            node.published.subscribe()
        });
        let current = published.borrow().clone();
        let session = Session {
            open: OpenStream { server: self.clone(), node },
            inbound: request.into_inner(),
            state: State::new(current),
            published,
        };
        let responses = stream::try_unfold(session, |mut session| async move {
            Ok(session.next().await?.map(|response| (response, session)))
        });
        Ok(Response::new(Box::pin(responses)))
    }

    async fn delta_aggregated_resources(
        &self,
        _: tonic::Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<DeltaResponses>, Status> {
        Err(Status::unimplemented("state of the world only"))
    }
}

/// Counts a stream while it lives.
struct OpenStream {
    server: AdsServer,
    node: String,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.server.with_node(&self.node, |node| {
            node.streams = node.streams.saturating_sub(1);
        });
    }
}

struct Session {
    open: OpenStream,
    inbound: Streaming<DiscoveryRequest>,
    published: watch::Receiver<Published>,
    state: State,
}

impl Session {
    async fn next(&mut self) -> Result<Option<DiscoveryResponse>, Status> {
        loop {
            if let Some(response) = self.state.next_response() {
                return Ok(Some(response));
            }
            hanse_rt::select! {
                request = self.inbound.message() => match request? {
                    None => return Ok(None),
                    Some(request) => self.take(request)?,
                },
                changed = self.published.changed() => {
                    if changed.is_err() {
                        return Ok(None);
                    }
                    self.state.current.clone_from(&self.published.borrow_and_update());
                }
            }
        }
    }

    fn take(&mut self, request: DiscoveryRequest) -> Result<(), Status> {
        let Some(kind) = Kind::of(&request.type_url) else {
            return Err(Status::invalid_argument(format!(
                "resources of type {} are not served",
                request.type_url
            )));
        };
        let answers = self.state.take(kind, &request);
        let OpenStream { server, node } = &self.open;
        match (answers, request.error_detail) {
            (true, Some(error)) => {
                tracing::warn!(%node, kind = kind.type_url(), error = %error.message, "resources refused");
                let labels = vec![("client", node.clone()), ("type", format!("{kind:?}"))];
                server.refusals.get_or_create(&labels).inc();
                server.with_node(node, |node| node.refused = Some(error.message));
            }
            (true, None) => server.with_node(node, |node| node.refused = None),
            (false, _) => {}
        }
        Ok(())
    }
}

/// What one stream has subscribed to and was sent.
struct State {
    current: Published,
    subscriptions: BTreeMap<Kind, Subscription>,
    nonces: u64,
}

#[derive(Default)]
struct Subscription {
    /// None: everything.
    names: Option<BTreeSet<String>>,
    sent: Option<ByName>,
    pending: Option<String>,
}

impl State {
    fn new(current: Published) -> Self {
        Self { current, subscriptions: BTreeMap::new(), nonces: 0 }
    }

    /// Takes a request in; true when it answers the response that is under way.
    fn take(&mut self, kind: Kind, request: &DiscoveryRequest) -> bool {
        let subscription = self.subscriptions.entry(kind).or_default();
        let names: BTreeSet<String> = request.resource_names.iter().cloned().collect();
        subscription.names = if names.is_empty() && kind.is_whole() { None } else { Some(names) };
        if let (Some(sent), Some(names)) = (&mut subscription.sent, &subscription.names) {
            // Who subscribes again is told again.
            sent.retain(|name, _| names.contains(name));
        }
        let answers = subscription.pending.as_deref() == Some(&request.response_nonce);
        if answers {
            subscription.pending = None;
        }
        answers
    }

    fn next_response(&mut self) -> Option<DiscoveryResponse> {
        let current = self.current.clone()?;
        for kind in Kind::ALL {
            let waits = matches!(kind, Kind::Listener | Kind::Route)
                && !(self.settled(Kind::Cluster, &current)
                    && self.settled(Kind::Endpoints, &current));
            let idle = self.subscriptions.get(&kind).is_some_and(|s| s.pending.is_none());
            if waits || !idle {
                continue;
            }
            let desired = self.desired(kind, &current);
            if let Some(resources) = self.due(kind, &desired) {
                return Some(self.respond(kind, desired, resources));
            }
        }
        None
    }

    /// Whether the client has what it should have of `kind`, withdrawals aside.
    fn settled(&self, kind: Kind, current: &Resources) -> bool {
        let Some(subscription) = self.subscriptions.get(&kind) else {
            return true;
        };
        let sent = subscription.sent.as_ref();
        let has = |name: &String, bytes: &Bytes| sent.is_some_and(|s| s.get(name) == Some(bytes));
        subscription.pending.is_none()
            && current
                .get(kind)
                .iter()
                .filter(|(name, _)| subscription.wants(name))
                .all(|(name, bytes)| has(name, bytes))
    }

    fn desired(&self, kind: Kind, current: &Resources) -> ByName {
        let Some(subscription) = self.subscriptions.get(&kind) else {
            return ByName::new();
        };
        let mut desired: ByName = current
            .get(kind)
            .iter()
            .filter(|(name, _)| subscription.wants(name))
            .map(|(name, bytes)| (name.clone(), bytes.clone()))
            .collect();
        let referrers_settled = self.withdrawn(Kind::Listener, current)
            && self.settled(Kind::Listener, current)
            && self.settled(Kind::Route, current);
        if kind == Kind::Cluster && !referrers_settled {
            for (name, bytes) in subscription.sent.iter().flatten() {
                desired.entry(name.clone()).or_insert_with(|| bytes.clone());
            }
        }
        desired
    }

    /// Whether nothing is left at the client of `kind` that is not in `current`.
    fn withdrawn(&self, kind: Kind, current: &Resources) -> bool {
        let sent = self.subscriptions.get(&kind).and_then(|s| s.sent.as_ref());
        sent.is_none_or(|sent| {
            let current = current.get(kind);
            sent.keys().all(|name| current.contains_key(name))
        })
    }

    /// What has to be sent of `kind`, if anything.
    fn due(&self, kind: Kind, desired: &ByName) -> Option<ByName> {
        let sent = self.subscriptions.get(&kind)?.sent.as_ref();
        if kind.is_whole() {
            return (sent != Some(desired)).then(|| desired.clone());
        }
        let changed: ByName = desired
            .iter()
            .filter(|(name, bytes)| sent.is_none_or(|sent| sent.get(*name) != Some(*bytes)))
            .map(|(name, bytes)| (name.clone(), bytes.clone()))
            .collect();
        (!changed.is_empty()).then_some(changed)
    }

    fn respond(&mut self, kind: Kind, desired: ByName, resources: ByName) -> DiscoveryResponse {
        self.nonces += 1;
        let nonce = self.nonces.to_string();
        let version = version(&desired);
        let subscription = self.subscriptions.entry(kind).or_default();
        subscription.pending = Some(nonce.clone());
        subscription.sent = Some(desired);
        DiscoveryResponse {
            version_info: version,
            type_url: kind.type_url().to_owned(),
            nonce,
            resources: resources
                .into_values()
                .map(|bytes| protobuf::Any {
                    type_url: kind.type_url().to_owned(),
                    value: bytes.into(),
                })
                .collect(),
            ..Default::default()
        }
    }
}

impl Subscription {
    fn wants(&self, name: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.contains(name))
    }
}

/// Equal content has an equal version, also after a restart.
fn version(resources: &ByName) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (name, bytes) in resources {
        for byte in name.bytes().chain([0xff]).chain(bytes.iter().copied()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests;
