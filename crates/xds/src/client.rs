//! Client of the aggregated discovery service. It yields whole sets only: everything that is
//! referred to is there. While the server is away, or sends what cannot be used, the last good
//! set stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use envoy_types::pb::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            DiscoveryRequest, DiscoveryResponse,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    google::rpc,
};
use futures::stream;
use hanse_rt::{Backoff, Metrics, Rng, Shutdown, TaskSet, metrics::Counters};
use tokio::sync::{mpsc, watch};
use tonic::Status;

use crate::{
    decode::{self, DecodeError, decode},
    resources::{ByName, Kind, Resources},
    transport,
};

/// Requests that may wait for the connection: one acknowledgement and one subscription a kind.
const QUEUE: usize = 16;
/// First and longest wait between two attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// gRPC code of a refusal.
const INVALID_ARGUMENT: i32 = 3;

/// Whom to ask, and as whom.
#[derive(Clone)]
pub struct ClientConfig {
    /// Name shown in the server's logs; the server trusts only the token.
    pub node: String,
    /// The server.
    pub server: SocketAddr,
    /// Bearer token.
    pub token: String,
}

impl std::fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConfig")
            .field("node", &self.node)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// A running client.
#[derive(Clone, Debug)]
pub struct AdsClient {
    /// The last good set; none until the first is whole.
    pub resources: watch::Receiver<Option<Arc<Resources>>>,
    /// Whether a stream is open.
    pub connected: watch::Receiver<bool>,
}

impl AdsClient {
    /// Starts a client in `tasks`.
    pub fn spawn(tasks: &TaskSet, config: ClientConfig, rng: &Rng, metrics: &Metrics) -> Self {
        let (resources_tx, resources) = watch::channel(None);
        let (connected_tx, connected) = watch::channel(false);
        let refused = metrics.counters(
            "hanse_xds_refused",
            "responses of the discovery server that were refused, by type",
        );
        let worker = Worker {
            tasks: tasks.child("ads client"),
            shutdown: tasks.shutdown(),
            backoff: Backoff::new(rng.fork("ads", &config.node), BACKOFF.0, BACKOFF.1),
            config,
            resources: resources_tx,
            connected: connected_tx,
            refused,
        };
        tasks.spawn("ads client", worker.run());
        Self { resources, connected }
    }
}

struct Worker {
    tasks: TaskSet,
    shutdown: Shutdown,
    backoff: Backoff,
    config: ClientConfig,
    resources: watch::Sender<Option<Arc<Resources>>>,
    connected: watch::Sender<bool>,
    refused: Counters,
}

impl Worker {
    async fn run(mut self) {
        let shutdown = self.shutdown.clone();
        loop {
            let attempt = self.tasks.child("attempt");
            let ended = hanse_rt::select! {
                () = shutdown.cancelled() => return,
                ended = self.session(&attempt) => ended,
            };
            attempt.kill().await;
            self.connected.send_replace(false);
            if let Err(status) = ended {
                tracing::debug!(server = %self.config.server, %status, "discovery stream ended");
            }
            let delay = self.backoff.next_delay();
            hanse_rt::select! {
                () = shutdown.cancelled() => return,
                () = hanse_rt::sleep(delay) => {}
            }
        }
    }

    async fn session(&mut self, attempt: &TaskSet) -> Result<(), Status> {
        let channel = transport::channel(attempt, self.config.server);
        let mut client = AggregatedDiscoveryServiceClient::new(channel)
            .max_decoding_message_size(transport::MAX_MESSAGE);
        let (requests, mut queue) = mpsc::channel(QUEUE);
        let outbound = stream::poll_fn(move |context| queue.poll_recv(context));
        let mut session = Session::new(self.config.node.clone());
        for kind in [Kind::Cluster, Kind::Listener] {
            send(&requests, session.request(kind)).await?;
        }
        let opening = transport::authorized(outbound, &self.config.token)?;
        let mut inbound = client.stream_aggregated_resources(opening).await?.into_inner();
        self.connected.send_replace(true);
        while let Some(response) = inbound.message().await? {
            self.backoff.reset();
            for request in session.take(response, &self.refused) {
                send(&requests, request).await?;
            }
            if let Some(whole) = session.whole() {
                self.publish(whole);
            }
        }
        Ok(())
    }

    fn publish(&self, resources: Resources) {
        if let Err(error) = decode(&resources) {
            tracing::warn!(%error, "resources cannot be used; the last good ones stay");
            return;
        }
        self.resources.send_if_modified(|current| {
            let differs = current.as_deref() != Some(&resources);
            if differs {
                *current = Some(Arc::new(resources));
            }
            differs
        });
    }
}

async fn send(
    requests: &mpsc::Sender<DiscoveryRequest>,
    request: DiscoveryRequest,
) -> Result<(), Status> {
    requests.send(request).await.map_err(|_| Status::unavailable("the stream is closed"))
}

/// What one stream has received.
struct Session {
    node: String,
    received: BTreeMap<Kind, ByName>,
    /// Names to subscribe to, from the resources that refer to them.
    wanted: BTreeMap<Kind, BTreeSet<String>>,
    last: BTreeMap<Kind, (String, String)>,
}

impl Session {
    fn new(node: String) -> Self {
        Self { node, received: BTreeMap::new(), wanted: BTreeMap::new(), last: BTreeMap::new() }
    }

    /// A subscription, which is an acknowledgement too once something was received.
    fn request(&self, kind: Kind) -> DiscoveryRequest {
        let (version_info, response_nonce) = self.last.get(&kind).cloned().unwrap_or_default();
        DiscoveryRequest {
            version_info,
            response_nonce,
            node: Some(Node {
                id: self.node.clone(),
                user_agent_name: "hanse".to_owned(),
                ..Default::default()
            }),
            type_url: kind.type_url().to_owned(),
            resource_names: self.wanted.get(&kind).into_iter().flatten().cloned().collect(),
            ..Default::default()
        }
    }

    /// Takes a response in; returns what to send. A subscription to what a response refers to
    /// goes out before its acknowledgement, so that the server knows it is needed first.
    fn take(&mut self, response: DiscoveryResponse, refused: &Counters) -> Vec<DiscoveryRequest> {
        let Some(kind) = Kind::of(&response.type_url) else {
            return Vec::new();
        };
        let version_before = self.last.get(&kind).map(|(version, _)| version.clone());
        let accepted =
            self.accept(kind, response.resources.into_iter().map(|any| any.value.into()));
        let version = match &accepted {
            Ok(_) => response.version_info,
            Err(_) => version_before.unwrap_or_default(),
        };
        self.last.insert(kind, (version, response.nonce));
        match accepted {
            Ok(referred) => {
                let mut requests: Vec<_> =
                    referred.map(|kind| self.request(kind)).into_iter().collect();
                requests.push(self.request(kind));
                requests
            }
            Err(error) => {
                tracing::warn!(%error, "response refused");
                let labels = vec![("type", format!("{kind:?}"))];
                refused.get_or_create(&labels).inc();
                let mut request = self.request(kind);
                request.error_detail = Some(rpc::Status {
                    code: INVALID_ARGUMENT,
                    message: error.to_string(),
                    details: Vec::new(),
                });
                vec![request]
            }
        }
    }

    /// All or nothing of one response; returns the kind whose subscription changed.
    fn accept(
        &mut self,
        kind: Kind,
        resources: impl Iterator<Item = Bytes>,
    ) -> Result<Option<Kind>, DecodeError> {
        let mut checked = ByName::new();
        for bytes in resources {
            let name = decode::own_name(kind, &bytes)?;
            decode::check(kind, &name, &bytes)?;
            checked.insert(name, bytes);
        }
        let received = self.received.entry(kind).or_default();
        if kind.is_whole() {
            *received = checked;
        } else {
            received.extend(checked);
        }
        let mut names = BTreeSet::new();
        let referred = match kind {
            Kind::Cluster => {
                for (name, bytes) in received.iter() {
                    names.extend(decode::endpoint_names(name, bytes)?);
                }
                Kind::Endpoints
            }
            Kind::Listener => {
                for (name, bytes) in received.iter() {
                    names.extend(decode::route_name(name, bytes)?);
                }
                Kind::Route
            }
            Kind::Endpoints | Kind::Route => return Ok(None),
        };
        if let Some(held) = self.received.get_mut(&referred) {
            held.retain(|name, _| names.contains(name));
        }
        let before = self.wanted.insert(referred, names);
        Ok((before != self.wanted.get(&referred).cloned()).then_some(referred))
    }

    /// The set, when everything that is referred to is there.
    fn whole(&self) -> Option<Resources> {
        if !(self.last.contains_key(&Kind::Cluster) && self.last.contains_key(&Kind::Listener)) {
            return None;
        }
        let has = |kind: Kind, name: &String| {
            self.received.get(&kind).is_some_and(|held| held.contains_key(name))
        };
        for (kind, names) in &self.wanted {
            if !names.iter().all(|name| has(*kind, name)) {
                return None;
            }
        }
        let mut resources = Resources::default();
        for kind in Kind::ALL {
            resources.set(kind, self.received.get(&kind).cloned().unwrap_or_default());
        }
        Some(resources)
    }
}
