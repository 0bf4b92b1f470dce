//! One API server: what it is made of, how it is built, and how it is called in process.

use std::{
    fmt,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, RwLock},
};

use hanse_rt::{Metrics, Rng, TaskSet, Wall, trace::Origins};
use serde_json::{Value, json};

use crate::{
    catalog::Catalog,
    control, crd,
    metrics::ApiMetrics,
    service::UserService,
    store::{Store, disk},
    user::User,
};

/// The Kubernetes API of one cluster. Clones share their state.
#[derive(Clone)]
pub struct ApiServer {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Arc<Store>,
    catalog: RwLock<Arc<Catalog>>,
    wall: Wall,
    rng: Mutex<Rng>,
    pub(crate) version: String,
    pub(crate) root_ca: String,
    pub(crate) service_range: ServiceRange,
    pub(crate) metrics: ApiMetrics,
    /// Held while an address or port is chosen and written.
    pub(crate) allocation: Mutex<()>,
}

/// Addresses for Services: a network of IPv4 and the length of its prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServiceRange {
    /// The first address of the network.
    pub network: Ipv4Addr,
    /// 8..=30 bits.
    pub prefix: u8,
}

/// Makes an [`ApiServer`].
#[derive(Clone, Debug)]
pub struct Builder {
    wall: Wall,
    rng: Option<Rng>,
    version: String,
    root_ca: String,
    service_range: ServiceRange,
    history: usize,
    path: Option<PathBuf>,
    metrics: Metrics,
    origins: Option<Origins>,
}

/// Why a server could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store file is not readable as one. It was left as it is.
    #[error("the store {path} is damaged ({why}); nothing was overwritten: restore it from a backup, or move it away to start empty", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another process has the store open.
    #[error("the store {path} is in use by another running instance", path = path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("the store {path} cannot be opened", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

/// Namespaces that exist from the start.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

impl Default for Builder {
    fn default() -> Self {
        Self {
            wall: Wall::system(),
            rng: None,
            version: "v1.37.1-hanse".to_owned(),
            root_ca: String::new(),
            service_range: ServiceRange::default(),
            history: 1024,
            path: None,
            metrics: Metrics::new(),
            origins: None,
        }
    }
}

impl Default for ServiceRange {
    /// 10.96.0.0/16.
    fn default() -> Self {
        Self { network: Ipv4Addr::new(10, 96, 0, 0), prefix: 16 }
    }
}

impl Builder {
    /// The clock for timestamps. Default: the system's.
    pub fn wall(mut self, wall: Wall) -> Self {
        self.wall = wall;
        self
    }

    /// The source of uids and generated names. Default: seeded by the operating system.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = Some(rng);
        self
    }

    /// What `/version` says.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// The PEM that every namespace's `kube-root-ca.crt` shows. Default: empty.
    pub fn root_ca(mut self, pem: impl Into<String>) -> Self {
        self.root_ca = pem.into();
        self
    }

    /// Where cluster IPs come from. Default: 10.96.0.0/16.
    pub const fn service_range(mut self, range: ServiceRange) -> Self {
        self.service_range = range;
        self
    }

    /// How many changes per resource a watch can catch up with, 1..; default 1,024. They hold at
    /// most 2 KiB each in the mean. A server whose lists take long under many writes needs more.
    pub fn history(mut self, changes: usize) -> Self {
        self.history = changes.max(1);
        self
    }

    /// Where requests, watches and the store are counted. Servers that share a registry need a
    /// scope each. Default: nowhere.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Writes that belong to no trace begin one, and `origins` learns which write gave an object
    /// its version. Default: traces that requests bring are continued, and none is begun.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = Some(origins);
        self
    }

    /// Keeps everything in memory. This is the default.
    pub fn memory(mut self) -> Self {
        self.path = None;
        self
    }

    /// Keeps everything in this file; a write is acknowledged when it is on disk.
    pub fn durable(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Opens the store and makes the server.
    ///
    /// # Errors
    /// See [`OpenError`]; a memory server never fails.
    pub fn build(self) -> Result<ApiServer, OpenError> {
        let store = match &self.path {
            None => Store::memory(self.history),
            Some(path) => disk::open(path, self.history)?,
        };
        let metrics = ApiMetrics::new(&self.metrics);
        let store = Arc::new(store.seen_by(metrics.of_store(), self.origins));
        let server = ApiServer {
            inner: Arc::new(Inner {
                catalog: RwLock::new(Arc::new(Catalog::default())),
                store,
                wall: self.wall,
                rng: Mutex::new(self.rng.unwrap_or_else(Rng::from_entropy)),
                version: self.version,
                root_ca: self.root_ca,
                service_range: self.service_range,
                metrics,
                allocation: Mutex::new(()),
            }),
        };
        server.inner.reload_kinds();
        server.inner.create_namespaces();
        Ok(server)
    }
}

impl ApiServer {
    /// Starts to make a server.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The API as this user, with all rights (`system:masters`), for clients in the same process.
    pub fn as_user(&self, name: &str) -> UserService {
        UserService::new(self.clone(), User::master(name))
    }

    /// Lets go of the store's file; everything that is asked from now on is refused. Clients that
    /// still live do not keep a closed file open, while they do keep one that was only dropped.
    pub fn close(&self) {
        self.inner.store.close();
    }

    /// Bytes that the objects and the remembered changes take as JSON. What is kept beside them,
    /// mostly indices, is not counted.
    pub fn stored_bytes(&self) -> usize {
        self.inner.store.bytes()
    }

    /// Starts the background controllers: namespaces, ownership, and what each namespace holds
    /// from its start. They end with `tasks`.
    pub fn run(&self, tasks: &TaskSet) {
        let server = Arc::clone(&self.inner);
        let shutdown = tasks.shutdown();
        tasks.spawn("api controllers", async move {
            hanse_rt::select! {
                () = shutdown.cancelled() => {}
                () = control::run(server) => {}
            }
        });
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer").finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        let catalog = self.catalog.read();
        Arc::clone(&catalog.expect("no holder of this lock panics"))
    }

    /// Reads the CRDs again after one of them changed.
    pub(crate) fn reload_kinds(&self) {
        let mut catalog = self.catalog.write().expect("no holder of this lock panics");
        let (_, definitions) = self.store.snapshot(crd::STORAGE, "");
        let kinds = definitions
            .iter()
            .flat_map(|(_, object)| crd::kinds(&object.value(), catalog.custom()))
            .collect::<Vec<_>>();
        for kind in &kinds {
            let known = catalog.custom().iter().any(|one| Arc::ptr_eq(one, kind));
            if !known && !kind.fields.is_empty() {
                self.store.digest_again(kind);
            }
        }
        let before = std::mem::replace(&mut *catalog, Arc::new(Catalog::with(kinds)));
        drop(catalog);
        // Watches of a kind that is gone find that out now.
        for kind in before.custom() {
            self.store.changes(&kind.storage).notify_waiters();
        }
    }

    /// The time as objects carry it: whole seconds.
    pub(crate) fn now(&self) -> String {
        self.timestamp(0)
    }

    /// The time in some seconds.
    pub(crate) fn timestamp(&self, seconds: i64) -> String {
        let now = self.wall.now();
        let then = now.checked_add(jiff::SignedDuration::from_secs(seconds));
        let then = then.unwrap_or(now);
        then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    pub(crate) fn wall(&self) -> &Wall {
        &self.wall
    }

    pub(crate) fn random<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.rng.lock().expect("no holder of this lock panics"))
    }

    fn create_namespaces(self: &Arc<Self>) {
        for name in NAMESPACES {
            let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            // It exists already in a store that was used before.
            drop(self.create_own("", "v1", "namespaces", None, body));
        }
    }

    /// Creates an object in the server's own name.
    pub(crate) fn create_own(
        self: &Arc<Self>,
        group: &str,
        version: &str,
        resource: &str,
        namespace: Option<&str>,
        body: Value,
    ) -> Result<(), crate::failure::Failure> {
        let call = crate::request::Call::own(self, group, version, resource, namespace, None)?;
        crate::write::create_value(&call, body).map(drop)
    }
}
