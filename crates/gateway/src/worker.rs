//! The gateway's life: the last snapshot from disk, then what the relay sends; each set becomes
//! a table, listeners and probes. One task writes; requests read.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use hanse_rt::{Mono, ReadyHold, Rng, Shutdown, TaskSet, Wall, net};
use hanse_xds::{
    AdsClient, ClientConfig, Observation, Resources, StoreError, View, decode, load, report, save,
};
use tokio::sync::{Semaphore, watch};

use crate::{
    choice::Picked,
    config::{Gateway, GatewayConfig, StartError},
    listeners::{DRAIN, Listeners, serve_hop},
    metrics::Counts,
    pages,
    pool::Dialer,
    probe,
    table::{Load, PeerAddress, Registry, Table},
};

/// Connections of clients and other gateways at most.
const MAX_CONNECTIONS: usize = 20_000;
/// Ports that could not be opened are tried again after this time.
const REOPEN: Duration = Duration::from_secs(1);
/// Name of the snapshot in the data folder.
const SNAPSHOT: &str = "gateway.snapshot";

/// What requests read.
pub(crate) struct Shared {
    pub(crate) cluster: String,
    pub(crate) table: ArcSwap<Table>,
    pub(crate) dialer: Dialer,
    pub(crate) wall: Wall,
    pub(crate) counts: Counts,
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) load: Arc<Load>,
    pub(crate) failed_ports: Mutex<BTreeMap<u16, String>>,
    rng: Mutex<Rng>,
}

impl Shared {
    pub(crate) fn with_rng<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.rng.lock().expect("no holder of this lock panics"))
    }

    /// The cluster that `picked` is in.
    pub(crate) fn name<'a>(&'a self, picked: &'a Picked) -> &'a str {
        match picked {
            Picked::Pod(_) => &self.cluster,
            Picked::Peer(peer, _) => &peer.cluster,
        }
    }
}

/// Starts a gateway in `tasks`.
///
/// # Errors
/// When the hop or the admin pages cannot listen. Service ports that cannot are tried again.
pub fn run(tasks: &TaskSet, config: GatewayConfig) -> Result<Gateway, StartError> {
    let hold = config.readiness.hold("first route snapshot");
    let at = SocketAddr::new(config.bind, config.hop_port);
    let listener = net::listen(at).and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (hop, listener) = listener.map_err(|source| StartError::Listen {
        what: "hop between gateways",
        address: at,
        source,
    })?;
    let dialer = Dialer { tasks: tasks.child("outgoing"), addresses: config.addresses.clone() };
    let shared = Arc::new(Shared {
        cluster: config.cluster.clone(),
        table: ArcSwap::default(),
        dialer: dialer.clone(),
        wall: config.wall.clone(),
        counts: Counts::new(&config.metrics),
        connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        load: Arc::default(),
        failed_ports: Mutex::default(),
        rng: Mutex::new(config.rng.fork("gateway", &config.cluster)),
    });
    let admin = pages::serve(tasks, &config, &shared)?;
    let hop_tasks = tasks.child("hop");
    serve_hop(&shared, &hop_tasks, listener);
    let changes = watch::Sender::new(0);
    report_upward(tasks, &config, &shared, changes.subscribe());
    let worker = Worker {
        shared: Arc::clone(&shared),
        registry: Registry::new(dialer, changes),
        listeners: Listeners::new(Arc::clone(&shared), tasks.child("ports"), config.bind),
        probes: BTreeMap::new(),
        probe_tasks: tasks.child("probes"),
        hop_tasks,
        snapshot: config.data.join(SNAPSHOT),
        hold: Some(hold),
        shutdown: tasks.shutdown(),
    };
    let client = ClientConfig {
        node: format!("gateway.{}", config.cluster),
        server: config.relay,
        token: config.token,
    };
    let relay = AdsClient::spawn(tasks, client, &config.rng, &config.metrics);
    tasks.spawn("gateway", worker.run(relay));
    Ok(Gateway { hop, admin, shared })
}

fn report_upward(
    tasks: &TaskSet,
    config: &GatewayConfig,
    shared: &Arc<Shared>,
    changes: watch::Receiver<u64>,
) {
    let seen = Arc::clone(shared);
    let token = config.token.clone();
    report::send(tasks, config.relay, token, &config.rng, changes, move || {
        let (table, now) = (seen.table.load(), Mono::now());
        let mut observations = Vec::new();
        for (cluster, peer) in &table.peers {
            let level = peer.level();
            seen.counts.peer(cluster, level);
            if peer.observe {
                // The level is true now: silence is measured against this clock all the time.
                let seen = Observation::new(cluster, level, Duration::ZERO);
                observations.push(seen.with_round_trip(peer.round_trip()));
            }
        }
        tracing::trace!(?now, count = observations.len(), "observations");
        observations
    });
}

struct Worker {
    shared: Arc<Shared>,
    registry: Registry,
    listeners: Listeners,
    probes: BTreeMap<(String, SocketAddr), TaskSet>,
    probe_tasks: TaskSet,
    hop_tasks: TaskSet,
    snapshot: PathBuf,
    hold: Option<ReadyHold>,
    shutdown: Shutdown,
}

impl Worker {
    async fn run(mut self, mut relay: AdsClient) {
        match load(&self.snapshot) {
            Ok(resources) => self.take(&resources).await,
            Err(StoreError::Read(error)) => {
                tracing::debug!(%error, "no snapshot on disk");
            }
            Err(error) => {
                self.shared.counts.snapshot("damaged");
                tracing::warn!(%error, "starting without a snapshot");
            }
        }
        let shutdown = self.shutdown.clone();
        let mut reopen = hanse_rt::interval(REOPEN, REOPEN);
        loop {
            hanse_rt::select! {
                () = shutdown.cancelled() => break,
                changed = relay.resources.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let resources = relay.resources.borrow_and_update().clone();
                    if let Some(resources) = resources {
                        self.take(&resources).await;
                        self.keep(&resources);
                    }
                }
                _ = reopen.tick() => self.reopen(),
            }
        }
        let Self { listeners, hop_tasks, probe_tasks, probes, shared, .. } = self;
        futures::future::join(listeners.drain(), hop_tasks.drain(DRAIN)).await;
        for probe in probes.into_values() {
            probe.kill().await;
        }
        probe_tasks.kill().await;
        shared.dialer.tasks.kill().await;
    }

    /// Puts a set in force. What it cannot say leaves everything as it is.
    async fn take(&mut self, resources: &Resources) {
        let view = match decode(resources) {
            Ok(view) => view,
            Err(error) => {
                self.shared.counts.snapshot("refused");
                tracing::warn!(%error, "snapshot refused; the last good one stays");
                return;
            }
        };
        self.apply(Arc::new(view)).await;
        self.shared.counts.snapshot("applied");
        self.hold = None;
    }

    async fn apply(&mut self, view: Arc<View>) {
        let table = self.registry.build(Arc::clone(&view));
        self.probe(&table).await;
        // Routes first, then ports: whoever can connect finds a route.
        self.shared.table.store(Arc::new(table));
        self.open_ports(&view);
    }

    fn open_ports(&mut self, view: &View) {
        let failed = self.listeners.apply(view);
        *self.shared.failed_ports.lock().expect("no holder of this lock panics") = failed;
    }

    fn reopen(&mut self) {
        let failed = {
            let failed = self.shared.failed_ports.lock();
            !failed.expect("no holder of this lock panics").is_empty()
        };
        if failed {
            let view = Arc::clone(&self.shared.table.load().view);
            self.open_ports(&view);
        }
    }

    async fn probe(&mut self, table: &Table) {
        let wanted: BTreeMap<(String, SocketAddr), Arc<PeerAddress>> = table
            .peers
            .values()
            .filter(|peer| peer.probe)
            .flat_map(|peer| &peer.addresses)
            .map(|address| {
                let key = (address.cluster.clone(), address.address);
                (key, Arc::clone(address))
            })
            .collect();
        let before = std::mem::take(&mut self.probes);
        for (key, tasks) in before {
            if wanted.contains_key(&key) {
                self.probes.insert(key, tasks);
            } else {
                tasks.kill().await;
            }
        }
        for (key, address) in wanted {
            if !self.probes.contains_key(&key) {
                let tasks = self.probe_tasks.child(&key.0);
                probe::start(&tasks, &self.shared, address);
                self.probes.insert(key, tasks);
            }
        }
    }

    fn keep(&self, resources: &Resources) {
        if let Err(error) = save(&self.snapshot, resources) {
            self.shared.counts.snapshot("notSaved");
            tracing::warn!(%error, "the snapshot is not on disk");
        }
    }
}
