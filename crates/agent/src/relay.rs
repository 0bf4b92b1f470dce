//! The relay: between the hub's view of other clusters and the member's gateways. Endpoints of
//! the own cluster never come from the hub, so that with the hub gone pods may come and go and
//! nothing breaks. Its state survives on disk in two files: what the hub said last, and what the
//! gateways were told last.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use hanse_rt::{
    Elapsed, Metrics, Mono, Readiness, ReadyHold, Rng, Shutdown, TaskSet, metrics::Counters,
};
use hanse_xds::{
    AdsClient, AdsServer, ClientConfig, Observation, ReportTable, Resources, StoreError, Verifier,
    View, decode, encode, load, report, save,
};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};

use crate::{
    derived::{self, Write},
    endpoints,
    mirror::{Key, Mirror},
};

/// Field manager of everything the relay writes.
const MANAGER: &str = "hanse-relay";
/// What could not be written is tried again after this time.
const RETRY: Duration = Duration::from_secs(2);
/// A namespace that was not there is looked for again after this time.
const ABSENT: Duration = Duration::from_secs(3);
/// Limit for one write.
const CALL: Duration = Duration::from_secs(10);
const HUB_SNAPSHOT: &str = "hub.snapshot";
const GATEWAY_SNAPSHOT: &str = "gateways.snapshot";

/// Start options of a relay.
#[derive(Clone)]
pub struct RelayConfig {
    /// Name of the member it stands in.
    pub member: String,
    /// Client of the member's own API.
    pub client: Client,
    /// Discovery address of the hub.
    pub hub: SocketAddr,
    /// Bearer token that the hub knows as this member's.
    pub hub_token: String,
    /// Where gateways ask; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Bearer token that the member's gateways show.
    pub gateway_token: String,
    /// Pod addresses of the member's gateways, as the API writes them.
    pub gateways: Vec<IpAddr>,
    /// Folder of the snapshots.
    pub data: PathBuf,
    /// Root of all chance.
    pub rng: Rng,
    /// Where metrics are registered.
    pub metrics: Metrics,
    /// Held back until gateways can be served, from disk or from the hub.
    pub readiness: Readiness,
}

impl std::fmt::Debug for RelayConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayConfig")
            .field("member", &self.member)
            .field("hub", &self.hub)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// A running relay.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Where it serves gateways.
    pub address: SocketAddr,
    /// Whether the hub's stream is open.
    pub hub_connected: tokio::sync::watch::Receiver<bool>,
}

/// Starts a relay in `tasks`.
///
/// # Errors
/// When it cannot listen.
pub fn run(tasks: &TaskSet, config: RelayConfig) -> std::io::Result<Relay> {
    let hold = config.readiness.hold("routes for the gateways");
    let reports = ReportTable::default();
    let server = AdsServer::new(verifier(&config), reports.clone(), &config.metrics);
    let address = server.serve(&tasks.child("gateways"), config.listen)?;
    forward_reports(tasks, &config, reports);
    let hub_client = ClientConfig {
        node: format!("relay.{}", config.member),
        server: config.hub,
        token: config.hub_token.clone(),
    };
    let hub = AdsClient::spawn(tasks, hub_client, &config.rng, &config.metrics);
    let hub_connected = hub.connected.clone();
    let writes =
        config.metrics.counters("hanse_relay_writes", "derived objects written, by result");
    let worker = Worker {
        services: Mirror::start(tasks, Api::all(config.client.clone()), "", &config.rng),
        slices: Mirror::start(tasks, Api::all(config.client.clone()), "", &config.rng),
        server,
        hub_view: None,
        served: None,
        hold: Some(hold),
        shutdown: tasks.shutdown(),
        writes,
        absent: BTreeMap::new(),
        config,
    };
    tasks.spawn("relay", worker.run(hub));
    Ok(Relay { address, hub_connected })
}

fn verifier(config: &RelayConfig) -> Verifier {
    let (token, member) = (config.gateway_token.clone(), config.member.clone());
    Arc::new(move |shown| (shown == token).then(|| member.clone()))
}

/// What the member's gateways see, and by its mere arrival that the relay lives. Ages are kept,
/// so that a gateway that went silent becomes unknown at the hub.
fn forward_reports(tasks: &TaskSet, config: &RelayConfig, reports: ReportTable) {
    let changed = reports.subscribe();
    let token = config.hub_token.clone();
    report::send(tasks, config.hub, token, &config.rng, changed, move || {
        let now = Mono::now();
        reports
            .all()
            .into_iter()
            .map(|((_, target), seen)| {
                let age = now.saturating_duration_since(seen.at);
                Observation::new(&target, seen.level, age).with_round_trip(seen.round_trip)
            })
            .collect()
    });
}

struct Worker {
    config: RelayConfig,
    services: Mirror<Service>,
    slices: Mirror<EndpointSlice>,
    server: AdsServer,
    hub_view: Option<View>,
    served: Option<View>,
    hold: Option<ReadyHold>,
    shutdown: Shutdown,
    writes: Counters,
    /// Namespaces that were not there, and when to look again.
    absent: BTreeMap<String, Mono>,
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Client(#[from] kube::Error),
    #[error(transparent)]
    Slow(#[from] Elapsed),
}

impl Worker {
    async fn run(mut self, mut hub: AdsClient) {
        self.restore();
        let shutdown = self.shutdown.clone();
        let (mut services, mut slices) = (self.services.subscribe(), self.slices.subscribe());
        let mut retry = hanse_rt::interval(RETRY, RETRY);
        let mut unwritten = true;
        loop {
            hanse_rt::select! {
                () = shutdown.cancelled() => return,
                changed = hub.resources.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let resources = hub.resources.borrow_and_update().clone();
                    if let Some(resources) = resources {
                        self.take(&resources);
                    }
                }
                _ = services.changed() => {}
                _ = slices.changed() => {}
                _ = retry.tick() => if !unwritten { continue },
            }
            self.serve();
            unwritten = hanse_rt::select! {
                () = shutdown.cancelled() => return,
                complete = self.write() => !complete,
            };
        }
    }

    /// Serves what was served before a restart, until hub or API server say more.
    fn restore(&mut self) {
        let folder = &self.config.data;
        if let Some(view) = stored(&folder.join(GATEWAY_SNAPSHOT)) {
            self.publish(view);
        }
        self.hub_view = stored(&self.config.data.join(HUB_SNAPSHOT));
    }

    fn take(&mut self, resources: &Resources) {
        match decode(resources) {
            Ok(view) => {
                self.hub_view = Some(view);
                self.keep(HUB_SNAPSHOT, resources);
            }
            Err(error) => tracing::warn!(%error, "the hub's snapshot is refused"),
        }
    }

    /// Joins the hub's view with the own endpoints. Before the own endpoints were listed once,
    /// what was served before the restart is nearer to the truth than none.
    fn serve(&mut self) {
        let synced = self.services.is_synced() && self.slices.is_synced();
        let Some(hub) = self.hub_view.as_ref().filter(|_| synced) else {
            return;
        };
        let wanted = hub.services.keys().map(String::as_str);
        let own = endpoints::own(wanted, &self.services.objects(), &self.slices.objects());
        let view = hub.clone().with_own_endpoints(&own);
        if self.served.as_ref() != Some(&view) {
            self.keep(GATEWAY_SNAPSHOT, &encode(&view));
            self.publish(view);
        }
    }

    fn publish(&mut self, view: View) {
        self.server.publish(&self.config.member, Arc::new(encode(&view)));
        self.served = Some(view);
        self.hold = None;
    }

    fn keep(&self, name: &str, resources: &Resources) {
        if let Err(error) = save(&self.config.data.join(name), resources) {
            tracing::warn!(%error, "a snapshot is not on disk");
        }
    }

    /// Writes what is missing; true when nothing is left to write.
    async fn write(&mut self) -> bool {
        let synced = self.services.is_synced() && self.slices.is_synced();
        let Some(hub) = self.hub_view.as_ref().filter(|_| synced) else {
            return true;
        };
        let gateways = &self.config.gateways;
        let plan = derived::plan(hub, gateways, &self.services.objects(), &self.slices.objects());
        let mut complete = true;
        self.absent.retain(|_, until| *until > Mono::now());
        for write in plan {
            let namespace = write.namespace().to_owned();
            if self.absent.contains_key(&namespace) {
                complete = false;
                continue;
            }
            let result = match self.apply(&write).await {
                Ok(result) => result,
                Err(WriteError::Client(kube::Error::Api(status))) if status.code == 404 => {
                    // No such namespace here: nobody in it could call the service.
                    self.absent.insert(namespace, Mono::now() + ABSENT);
                    complete = false;
                    "NoNamespace"
                }
                Err(error) => {
                    tracing::warn!(?write, %error, "a derived object is not written");
                    complete = false;
                    "Failed"
                }
            };
            let labels = vec![("result", result.to_owned())];
            self.writes.get_or_create(&labels).inc();
        }
        complete
    }

    async fn apply(&self, write: &Write) -> Result<&'static str, WriteError> {
        let parameters = PatchParams::apply(MANAGER);
        match write {
            Write::Foreign((namespace, name)) => {
                tracing::debug!(%namespace, %name, "a Service of this name exists already; nothing is derived");
                return Ok("Foreign");
            }
            Write::ApplyService(key, object) => {
                let api: Api<Service> = Api::namespaced(self.config.client.clone(), &key.0);
                let patch = Patch::Apply(object);
                hanse_rt::timeout(CALL, api.patch(&key.1, &parameters, &patch)).await??;
            }
            Write::ApplySlice(key, object) => {
                let api: Api<EndpointSlice> = Api::namespaced(self.config.client.clone(), &key.0);
                let patch = Patch::Apply(object);
                hanse_rt::timeout(CALL, api.patch(&key.1, &parameters, &patch)).await??;
            }
            Write::DeleteService(key, uid) => self.delete::<Service>(key, uid).await?,
            Write::DeleteSlice(key, uid) => self.delete::<EndpointSlice>(key, uid).await?,
        }
        Ok("Written")
    }

    async fn delete<K>(&self, (namespace, name): &Key, uid: &str) -> Result<(), WriteError>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.config.client.clone(), namespace);
        let parameters = DeleteParams::default()
            .preconditions(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        hanse_rt::timeout(CALL, api.delete(name, &parameters)).await??;
        Ok(())
    }
}

fn stored(path: &std::path::Path) -> Option<View> {
    match load(path) {
        Ok(resources) => decode(&resources).ok(),
        Err(StoreError::Read(error)) => {
            tracing::debug!(%error, "no snapshot on disk");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "starting without this snapshot");
            None
        }
    }
}
