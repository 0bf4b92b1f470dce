//! The hub as a whole: caches, controllers and the order in which they start.

use std::{fmt::Debug, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use hanse_api::{
    Federation, FederationSpec, FederationStatus, HubPlace,
    conditions::{self, federation::TEMPLATES_ACCEPTED, reason},
};
use hanse_member::{Connector, KindsPool, Limits, bounded};
use hanse_rt::{Metrics, Readiness, Rng, TaskSet, Wall, net::AddressMap, trace::Origins};
use hanse_xds::{AdsServer, ReportTable};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    Key, Objects, Policies, Queue, SessionLimits, Templates, TokenBucket, World,
    capacity::Capacity,
    drill,
    events::Recorder,
    explain::Explainer,
    failover,
    foreign::{ForeignError, ensure_namespace, refuse_foreign_controllers},
    health,
    manifests::Manifests,
    membership::Membership,
    metrics::HubMetrics,
    placement::{Placement, Waits},
    propagation::Propagation,
    rules::{RuleBook, Rules},
    status::Status,
    sync::{Sync, SyncTable},
    tenants::TenantControl,
    tokens,
    traces::Traces,
    traffic::{self, RoundTrips},
    world::Means,
    write::change_status,
};

/// What a hub needs.
#[derive(Clone)]
pub struct HubConfig {
    /// Client of the hub's API, with every call bounded.
    pub client: Client,
    /// Makes members' clients.
    pub connector: Arc<dyn Connector>,
    /// Wall clock.
    pub wall: Wall,
    /// Chance.
    pub rng: Rng,
    /// Metrics.
    pub metrics: Metrics,
    /// Held back until the hub knows its objects.
    pub readiness: Readiness,
    /// Where the hub runs, if that is known.
    pub place: Option<HubPlace>,
    /// Whether to look for foreign controllers before the first status is written.
    pub probe_foreign_controllers: bool,
    /// Status writes a second, at most. Default 1,000.
    pub status_writes_per_second: u32,
    /// Tunables of members' sessions.
    pub session_limits: SessionLimits,
    /// Tunables of failure detection.
    pub detection: hanse_detector::Settings,
    /// The hub's side of traffic: relays, and evidence that comes from them.
    pub traffic: Option<Traffic>,
    /// What gateways say of each other; relays write into it.
    pub reports: ReportTable,
    /// Orders to leave members come from the caller, by [`World::order_evacuations`]; the hub's own
    /// failover does not run. Default false.
    pub orders_from_caller: bool,
    /// Where writes to the hub's API came from, if that API is in this process: traces of changes
    /// begin there. Default: nothing is known, and they begin when the hub sees a template.
    pub origins: Origins,
    /// Where others ask this hub's [`Explainer`], as the Federation's status shall say it:
    /// `IP:PORT`, or `services/NAMESPACE/NAME:PORT` through the hub's own API. Default: nowhere.
    pub questions: Option<String>,
}

/// The hub's side of traffic.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Where relays reach the hub; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the hub's own requests in drills go.
    pub addresses: AddressMap,
    /// Round-trip times between regions in microseconds, where they are known. Between others
    /// those that gateways measure count.
    pub round_trips: RoundTrips,
}

impl Debug for HubConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubConfig").field("place", &self.place).finish_non_exhaustive()
    }
}

impl HubConfig {
    /// A configuration with defaults for everything that has one.
    pub fn new(client: Client, connector: Arc<dyn Connector>) -> Self {
        Self {
            client,
            connector,
            wall: Wall::system(),
            rng: Rng::from_entropy(),
            metrics: Metrics::new(),
            readiness: Readiness::new(),
            place: None,
            probe_foreign_controllers: false,
            status_writes_per_second: 1000,
            session_limits: SessionLimits::default(),
            detection: hanse_detector::Settings::default(),
            traffic: None,
            reports: ReportTable::default(),
            orders_from_caller: false,
            origins: Origins::default(),
            questions: None,
        }
    }
}

/// Why a hub does not start.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Its API does not answer, or refuses.
    #[error("the hub's API does not answer as it should")]
    Api(#[from] kube::Error),
    /// Others run workloads there.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// Relays cannot be listened for.
    #[error("relays cannot be listened for on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Our kinds are not there.
    #[error("the hub's API does not serve hanse.dev/v1alpha1 {0}: apply manifests/crds first")]
    KindMissing(&'static str),
}

/// A running hub.
#[derive(Clone, Debug)]
pub struct Hub {
    world: World,
    policies: Policies,
    table: SyncTable,
    waits: Waits,
    relays: Option<SocketAddr>,
}

/// What the controllers of health and traffic need beside the world.
struct Senses {
    detection: hanse_detector::Settings,
    reports: ReportTable,
    traffic: Option<(AdsServer, Traffic)>,
    orders_from_caller: bool,
}

impl Hub {
    /// Starts the controllers; they run until `tasks` end. Our CRDs must be served already.
    ///
    /// # Errors
    /// The API does not answer, misses our kinds, or belongs to other controllers.
    pub async fn run(tasks: &TaskSet, config: HubConfig) -> Result<Self, HubError> {
        let config = HubConfig { client: bounded(config.client, Limits::default()), ..config };
        let client = config.client.clone();
        ensure_namespace(&client).await?;
        let hub_id = federation(&config).await?;
        let rng = &config.rng;
        let traces = Traces::new(config.origins.clone());
        let chance = rng.fork("hub", "templates");
        let templates = Templates::new(
            client.clone(),
            tasks.clone(),
            chance,
            traces.clone(),
            RuleBook::default(),
        );
        templates.rediscover().await?;
        check_kinds(&templates)?;
        let recorder =
            Recorder::start(client.clone(), config.wall.clone(), rng.fork("hub", "events"), tasks);
        let metrics = HubMetrics::new(&config.metrics);
        let means = Means {
            client: client.clone(),
            connector: Arc::clone(&config.connector),
            wall: config.wall.clone(),
            rng: rng.clone(),
            metrics: config.metrics.clone(),
            status_writes: TokenBucket::new(config.status_writes_per_second),
            recorder,
            hub_id,
            tasks: tasks.clone(),
            session_limits: config.session_limits,
            kinds: KindsPool::default(),
            traces,
        };
        let world = World::new(Objects::default(), templates, means);
        let mut hub = Self {
            world,
            policies: Policies::default(),
            table: SyncTable::default(),
            waits: Waits::default(),
            relays: None,
        };
        let senses = hub.listen(tasks, &config)?;
        hub.start(tasks, &config.readiness, metrics, senses);
        Ok(hub)
    }

    /// Where relays reach this hub.
    pub const fn relays(&self) -> Option<SocketAddr> {
        self.relays
    }

    /// Opens the door for relays, if there shall be one.
    fn listen(&mut self, tasks: &TaskSet, config: &HubConfig) -> Result<Senses, HubError> {
        let reports = config.reports.clone();
        let mut senses = Senses {
            detection: config.detection,
            reports: reports.clone(),
            traffic: None,
            orders_from_caller: config.orders_from_caller,
        };
        if let Some(traffic) = &config.traffic {
            let rng = config.rng.fork("hub", "tokens");
            let verifier = tokens::follow(tasks, &config.client, &config.readiness, rng);
            let server = AdsServer::new(verifier, reports, &config.metrics);
            let bound = server
                .serve(tasks, traffic.listen)
                .map_err(|source| HubError::Listen { address: traffic.listen, source })?;
            self.relays = Some(bound);
            senses.traffic = Some((server, traffic.clone()));
        }
        Ok(senses)
    }

    /// What every controller sees.
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// Answers questions about placement.
    pub fn explainer(&self) -> Explainer {
        Explainer::new(self.world.clone(), self.policies.clone(), self.waits.clone())
    }

    /// All policies in common form.
    pub const fn policies(&self) -> &Policies {
        &self.policies
    }

    /// How all copies stand.
    pub const fn sync_table(&self) -> &SyncTable {
        &self.table
    }

    /// Controllers listen before the caches fill, so that nothing is missed, and work after.
    fn start(&self, tasks: &TaskSet, readiness: &Readiness, metrics: HubMetrics, senses: Senses) {
        let world = &self.world;
        let told: Queue<Key> = Queue::new(world.means().rng.fork("queue", "status"));
        // Rules and tenants listen first: the others ask them.
        let rules = Rules::new(world.clone());
        let tenants = TenantControl::new(world.clone());
        let membership = Membership::new(world.clone());
        let placement = Placement::new(
            world.clone(),
            self.policies.clone(),
            self.waits.clone(),
            metrics.clone(),
        );
        let propagation = Propagation::new(world.clone(), self.policies.clone(), placement.clone());
        let manifests = Manifests::new(world.clone(), self.policies.clone());
        let sync = Sync::new(
            world.clone(),
            self.policies.clone(),
            self.table.clone(),
            told.clone(),
            metrics,
        );
        let status = Status::new(world.clone(), self.table.clone(), told, propagation.templates());
        let capacity = Capacity::new(world.clone(), self.table.clone());
        world.templates().want("v1", "Namespace");
        let ready = Readiness::new();
        let (world_of_tasks, policies) = (world.clone(), self.policies.clone());
        self.follow(tasks, &ready);
        let (tasks, shutdown) = (tasks.clone(), tasks.shutdown());
        let spawn = tasks.clone();
        let hold = readiness.hold("controllers");
        spawn.spawn("start", async move {
            hanse_rt::select! {
                () = shutdown.cancelled() => return,
                () = ready.ready() => {}
            }
            membership.start(&tasks);
            rules.start(&tasks);
            tenants.start(&tasks);
            manifests.start(&tasks);
            // It knows whom it waits for before anybody asks it for a first decision.
            placement.start(&tasks);
            propagation.start(&tasks);
            sync.start(&tasks, placement.members_known().clone());
            status.start(&tasks);
            capacity.start(&tasks);
            senses.start(&tasks, world_of_tasks, policies);
            drop(hold);
        });
    }

    fn follow(&self, tasks: &TaskSet, ready: &Readiness) {
        let objects = self.world.objects();
        let client = &self.world.means().client;
        let rng = |what: &str| self.world.means().rng.fork("cache", what);
        macro_rules! follow {
            ($($cache:ident),*) => {$(
                objects.$cache.follow(
                    tasks,
                    ready,
                    Api::all(client.clone()),
                    stringify!($cache),
                    rng(stringify!($cache)),
                );
            )*};
        }
        follow!(
            federations,
            members,
            policies,
            cluster_policies,
            bindings,
            global_services,
            drills,
            override_policies,
            cluster_override_policies,
            interpreters,
            manifests,
            tenants
        );
    }
}

impl Senses {
    fn start(self, tasks: &TaskSet, world: World, policies: Policies) {
        let until_end = |name: &'static str, task: BoxFuture<'static, ()>| {
            let shutdown = tasks.shutdown();
            tasks.spawn(name, async move {
                hanse_rt::select! {
                    () = shutdown.cancelled() => {}
                    () = task => {}
                }
            });
        };
        let Self { detection, reports, traffic, orders_from_caller } = self;
        until_end("health", health::run(world.clone(), reports.clone(), detection).boxed());
        if !orders_from_caller {
            until_end("failover", failover::run(world.clone(), detection).boxed());
        }
        let addresses = match traffic {
            Some((server, Traffic { addresses, round_trips, .. })) => {
                let run = traffic::run(world.clone(), tasks.clone(), server, round_trips, reports);
                until_end("traffic", run.boxed());
                addresses
            }
            None => AddressMap::identity(),
        };
        until_end("drills", drill::run(world, policies, tasks.clone(), addresses).boxed());
    }
}

/// What came of the work on a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Worked {
    /// It went well, or what it waits for brings it here again.
    Well,
    /// It failed: it is tried again after the next back-off.
    Again,
}

impl From<()> for Worked {
    fn from((): ()) -> Self {
        Self::Well
    }
}

/// Runs a controller: takes keys, works on so many `at_once`, and tries again what failed. Nobody
/// else counts the failures of these keys. One task does it all, for what takes time is the answers
/// of API servers, and a task that waits for nothing but a key is small.
pub(crate) fn work<K, F, T>(
    tasks: &TaskSet,
    name: &'static str,
    queue: Queue<K>,
    at_once: usize,
    work: impl Fn(K) -> F + Send + 'static,
) where
    K: Ord + Clone + Debug + Send + 'static,
    F: Future<Output = Result<T, kube::Error>> + Send + 'static,
    T: Into<Worked> + Send,
{
    let shutdown = tasks.shutdown();
    tasks.spawn(name, async move {
        let mut running = FuturesUnordered::new();
        loop {
            let has_work = !running.is_empty();
            let has_room = running.len() < at_once;
            let (key, result): (K, Result<T, _>) = hanse_rt::select! {
                () = shutdown.cancelled() => break,
                Some(ended) = running.next(), if has_work => ended,
                key = queue.next(), if has_room => {
                    let work = work(key.clone());
                    // Its room is given back with it: most controllers are idle most of the time.
                    running.push(Box::pin(async move { (key, work.await) }));
                    continue;
                }
            };
            settle(name, &queue, &key, result.map(Into::into));
        }
        while let Some((key, result)) = running.next().await {
            settle(name, &queue, &key, result.map(Into::into));
        }
    });
}

/// Gives a key back with what came of the work on it.
fn settle<K>(name: &str, queue: &Queue<K>, key: &K, result: Result<Worked, kube::Error>)
where
    K: Ord + Clone + Debug + Send + 'static,
{
    match result {
        Ok(Worked::Well) => queue.succeeded(key),
        Ok(Worked::Again) => queue.retry(key.clone()),
        Err(kube::Error::Api(status)) if status.is_conflict() => {
            tracing::debug!(controller = name, ?key, "somebody else wrote first");
            queue.add_after(key.clone(), Duration::from_millis(5));
        }
        Err(error) => {
            tracing::warn!(controller = name, ?key, %error, "tried again later");
            queue.retry(key.clone());
        }
    }
    queue.done(key);
}

/// Makes sure that there is a Federation, and gives the id of this hub. The id is made once; before
/// it is, nobody else may run workloads on this API.
async fn federation(config: &HubConfig) -> Result<String, HubError> {
    let api: Api<Federation> = Api::all(config.client.clone());
    let known = if let Some(known) = api.get_opt("default").await? {
        known
    } else {
        let spec = FederationSpec { hub: config.place.clone(), ..FederationSpec::default() };
        api.create(&PostParams::default(), &Federation::new("default", spec)).await?
    };
    if config.place.is_some() && known.spec.hub != config.place {
        let body = json!({"spec": {"hub": config.place}});
        api.patch("default", &PatchParams::default(), &Patch::Merge(&body)).await?;
    }
    let status = known.status.clone().unwrap_or_default();
    if let Some(id) = status.id {
        if status.questions != config.questions {
            let body = json!({"status": {"questions": config.questions}});
            api.patch_status("default", &PatchParams::default(), &Patch::Merge(&body)).await?;
        }
        return Ok(id);
    }
    let mut accepted = (true, reason::NATIVE, String::new());
    let probe = if config.probe_foreign_controllers {
        refuse_foreign_controllers(&config.client).await
    } else {
        Ok(())
    };
    if let Err(error) = &probe {
        accepted = (false, reason::FOREIGN_CONTROLLERS_ACTIVE, error.to_string());
    }
    let id = config.rng.fork("hub", "id").uuid().to_string();
    let now = Time(config.wall.now());
    let known = Arc::new(api.get("default").await?);
    let generation = known.metadata.generation;
    let change = |status: &mut FederationStatus| {
        if probe.is_ok() {
            status.id = Some(id.clone());
        }
        status.version = Some(env!("CARGO_PKG_VERSION").to_owned());
        status.questions.clone_from(&config.questions);
        let (holds, why, words) = accepted.clone();
        let type_ = TEMPLATES_ACCEPTED;
        let made = conditions::condition(type_, holds, why, words, generation, now.clone());
        conditions::set(&mut status.conditions, made);
    };
    change_status(&api, &TokenBucket::new(10), known, change).await?;
    probe?;
    Ok(id)
}

fn check_kinds(templates: &Templates) -> Result<(), HubError> {
    let kinds = templates.kinds();
    for kind in [
        "MemberCluster",
        "Federation",
        "PropagationPolicy",
        "ClusterPropagationPolicy",
        "ResourceBinding",
        "GlobalService",
        "Drill",
    ] {
        if kinds.get("hanse.dev/v1alpha1", kind).is_none() {
            return Err(HubError::KindMissing(kind));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hanse_rt::Mono;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_fails_waits_longer_each_time_until_it_goes_well() {
        let (tasks, queue) = (TaskSet::new("test"), Queue::new(Rng::from_seed(1)));
        let (tell, mut told) = mpsc::channel(16);
        let tries = Arc::new(std::sync::atomic::AtomicU32::new(0));
        work(&tasks, "test", queue.clone(), 1, move |_: u8| {
            let number = tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tell.try_send(Mono::now()).unwrap();
            async move { Ok(if number == 7 { Worked::Well } else { Worked::Again }) }
        });
        queue.add(1);
        let mut delays = Vec::new();
        let mut last = told.recv().await.unwrap();
        for _ in 0..7 {
            let next = told.recv().await.unwrap();
            delays.push(next.duration_since(last));
            last = next;
        }
        let limits = (0..7).map(|step| Duration::from_millis(50 << step));
        for (delay, limit) in delays.iter().zip(limits) {
            let slack = Duration::from_millis(2);
            assert!(*delay >= limit / 2 && *delay <= limit + slack, "{delays:?}");
        }
        queue.add(1);
        let first = told.recv().await.unwrap();
        let again = told.recv().await.unwrap().duration_since(first);
        assert!(again <= Duration::from_millis(52), "it begins anew: {again:?}");
        tasks.kill().await;
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_keys_are_worked_on_at_once_and_what_has_begun_is_ended() {
        let (tasks, queue) = (TaskSet::new("test"), Queue::new(Rng::from_seed(1)));
        let (begun, mut begins) = mpsc::channel(16);
        let (ended, mut ends) = mpsc::channel(16);
        work(&tasks, "test", queue.clone(), 3, move |key: u8| {
            begun.try_send(key).unwrap();
            let ended = ended.clone();
            async move {
                hanse_rt::sleep(Duration::from_secs(u64::from(key))).await;
                ended.try_send(key).unwrap();
                Ok(())
            }
        });
        for key in [3, 1, 2, 8, 9] {
            queue.add(key);
        }
        hanse_rt::sleep(Duration::from_millis(1500)).await;
        let taken: Vec<u8> = std::iter::from_fn(|| begins.try_recv().ok()).collect();
        assert_eq!(taken, [3, 1, 2, 8], "the fourth when the first is through");
        tasks.drain(Duration::from_mins(1)).await;
        let through: Vec<u8> = std::iter::from_fn(|| ends.try_recv().ok()).collect();
        assert_eq!(through, [1, 2, 3, 8], "the fifth was not begun");
    }
}
