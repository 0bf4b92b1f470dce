//! A hub with its API server and its members in this process; the hub can be ended alone.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use hanse_api::HubPlace;
use hanse_apiserver::ApiServer;
use hanse_hub::{Hub, HubConfig};
use hanse_member::{ConnectError, Connecting, Connection, Connector, Limits, bounded_client};
use hanse_rt::{Metrics, Mono, Rng, TaskSet, Wall};
use hanse_sim::{member::Options, shallow::Shallow, world::World};
use http::{Method, Request};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
    client::Body,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{figures::say, fleet, machine::resident, workload};

/// How long the API servers of members remember changes.
const MEMBER_HISTORY: usize = 32;
/// The same for the hub's: its lists are long.
const HUB_HISTORY: usize = 16 * 1024;
/// Requests of the bench under way at once.
pub(crate) const AT_ONCE: usize = 32;
/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_mins(20);

/// Everything that outlives a hub process.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) api: ApiServer,
    /// Writes of hubs to members.
    pub(crate) writes: Writes,
    /// What the hub's API server counts of itself.
    counts: Metrics,
    rng: Rng,
    starts: u64,
    running: Option<(Hub, TaskSet)>,
    /// Resident memory before there were members, and with their power on, MiB.
    pub(crate) empty: f64,
    pub(crate) powered: f64,
}

/// Counts writes to members, and remembers the last ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes(Arc<Mutex<(u64, VecDeque<String>)>>);

/// How many writes are remembered.
const REMEMBERED: usize = 32;

impl Writes {
    pub(crate) fn count(&self) -> u64 {
        self.lock().0
    }

    /// The last ones, the newest first.
    pub(crate) fn last(&self, count: u64) -> Vec<String> {
        let count = usize::try_from(count).unwrap_or(REMEMBERED);
        self.lock().1.iter().rev().take(count).cloned().collect()
    }

    fn note(&self, member: &str, request: &Request<Body>) {
        let words = format!("{member}: {} {}", request.method(), request.uri());
        let mut writes = self.lock();
        writes.0 += 1;
        if writes.1.len() == REMEMBERED {
            writes.1.pop_front();
        }
        writes.1.push_back(words);
    }

    fn lock(&self) -> MutexGuard<'_, (u64, VecDeque<String>)> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Stage {
    /// Members with power and a hub's API, without a hub yet.
    pub(crate) async fn new(members: u64) -> Result<Self> {
        let (wall, rng, tasks) = (Wall::system(), Rng::from_seed(members), TaskSet::new("world"));
        let counts = Metrics::new();
        let api = ApiServer::builder().history(HUB_HISTORY).rng(rng.fork("api", "hub"));
        let api = api.metrics(counts.clone()).build()?;
        api.run(&tasks);
        let empty = resident();
        let shallow = Shallow::new(Duration::ZERO, wall.clone());
        shallow.run(&tasks);
        let options = Options { shallow: Some(shallow), ..Options::default() };
        let stores = |_: usize, name: &str| {
            ApiServer::builder().history(MEMBER_HISTORY).rng(rng.fork("api", name)).build()
        };
        let world = World::new(fleet::topology(members), &stores, (&wall, &rng), &options)?;
        for member in world.members() {
            member.run(&tasks, Arc::new(|_, _| {}));
        }
        let writes = Writes::default();
        let mut stage =
            Self { world, api, writes, counts, rng, starts: 0, running: None, empty, powered: 0.0 };
        stage.wait_for_nodes().await?;
        stage.powered = resident();
        stage.write_objects().await?;
        Ok(stage)
    }

    async fn wait_for_nodes(&self) -> Result<()> {
        let wanted: u32 =
            self.world.topology().clusters.iter().flat_map(|c| &c.nodes).map(|n| n.count).sum();
        let wanted = usize::try_from(wanted)?;
        until("nodes", Duration::from_millis(500), async || {
            let mut ready = 0;
            for member in self.world.members() {
                let api: Api<k8s_openapi::api::core::v1::Node> = Api::all(member.local_client());
                let nodes = api.list(&kube::api::ListParams::default()).await?;
                ready += nodes.iter().filter(|node| node.status.is_some()).count();
            }
            Ok((ready, wanted))
        })
        .await
    }

    async fn write_objects(&self) -> Result<()> {
        for definition in hanse_api::crds() {
            let api = Api::all(self.client());
            api.create(&PostParams::default(), &definition).await?;
        }
        // Nobody owns namespaces here.
        let federation = json!({"apiVersion": "hanse.dev/v1alpha1", "kind": "Federation",
            "metadata": {"name": "default"}, "spec": {"requireTenant": false}});
        self.create_all(std::iter::once(federation)).await?;
        let clusters = self.world.topology().clusters.iter().enumerate();
        let members = clusters.map(|(at, cluster)| fleet::member(cluster, at));
        self.create_all(members).await?;
        let teams = (0..workload::TEAMS).map(|number| {
            let name = workload::team(number);
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        });
        self.create_all(teams).await?;
        self.create_all(workload::policies().into_iter()).await
    }

    /// Creates objects in the hub, many at once.
    pub(crate) async fn create_all(&self, objects: impl Iterator<Item = Value>) -> Result<()> {
        let client = self.client();
        let created = futures::stream::iter(objects).map(|object| create(client.clone(), object));
        created.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// A client of the hub's API.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.api.as_user("bench"), "default")
    }

    /// Starts a hub process. Done when its controllers run.
    pub(crate) async fn start_hub(&mut self) -> Result<()> {
        self.starts += 1;
        let hub = &self.world.topology().hub;
        let place = HubPlace { provider: hub.provider.clone(), region: hub.region.clone() };
        let connector =
            Arc::new(Counted { links: self.world.clone(), writes: self.writes.clone() });
        let config = HubConfig {
            rng: self.rng.fork("hub", &self.starts.to_string()),
            place: Some(place),
            orders_from_caller: true,
            ..HubConfig::new(self.client(), connector)
        };
        let readiness = config.readiness.clone();
        let tasks = TaskSet::new("hub");
        let hub = Hub::run(&tasks, config).await?;
        readiness.ready().await;
        self.running = Some((hub, tasks));
        Ok(())
    }

    /// Ends the hub process as a crash would.
    pub(crate) async fn crash_hub(&mut self) -> Result<()> {
        let (hub, tasks) = self.running.take().context("a hub runs")?;
        for session in hub.world().sessions() {
            session.stop().await;
        }
        tasks.kill().await;
        Ok(())
    }

    /// The hub that runs.
    pub(crate) fn hub(&self) -> Result<&Hub> {
        self.running.as_ref().map(|(hub, _)| hub).context("a hub runs")
    }

    /// Waits until the hub knows room and kinds of every member, and all have joined.
    pub(crate) async fn wait_for_members(&self) -> Result<()> {
        let world = self.hub()?.world();
        until("members", Duration::from_millis(100), async || {
            let members = world.objects().members.all();
            let known = members.iter().filter(|member| {
                let name = member.metadata.name.as_deref().unwrap_or_default();
                let session = world.session(name);
                let seen = session.is_some_and(|s| s.fresh_room().is_some() && s.kinds().is_some());
                let status = member.status.as_ref();
                let joined = status.is_some_and(|status| {
                    let joined = hanse_api::conditions::member::JOINED;
                    hanse_api::conditions::is_true(&status.conditions, joined)
                });
                seen && joined
            });
            Ok((known.count(), self.world.topology().clusters.len()))
        })
        .await
    }

    /// Writes to the hub's API so far, refused ones too, by verb and resource.
    pub(crate) fn requests(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for line in self.counts.encode().lines() {
            let Some(rest) = line.strip_prefix("hanse_api_requests_total{") else { continue };
            let Some((labels, count)) = rest.split_once("} ") else { continue };
            let label = |name: &str| {
                let found = labels.split(',').find_map(|label| label.strip_prefix(name));
                found.map(|value| value.trim_matches(['=', '"'])).unwrap_or_default()
            };
            if matches!(label("verb"), "get" | "list" | "watch") {
                continue;
            }
            let refused = if label("code").starts_with('2') { "" } else { ", refused" };
            let name = format!("{} {}{refused}", label("verb"), label("resource"));
            *all.entry(name).or_default() += count.parse::<u64>().unwrap_or(0);
        }
        all
    }

    /// Bytes that the members' stores hold at least, MiB.
    pub(crate) fn members_hold(&self) -> f64 {
        let bytes: usize = self.world.members().map(|member| member.api().stored_bytes()).sum();
        f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0
    }
}

/// Waits until a count is whole; says from time to time how far it has come.
pub(crate) async fn until(
    what: &str,
    every: Duration,
    mut count: impl AsyncFnMut() -> Result<(usize, usize)>,
) -> Result<()> {
    let start = Mono::now();
    let mut said = start;
    loop {
        let (done, all) = count().await?;
        if done >= all {
            return Ok(());
        }
        if said.elapsed() >= Duration::from_secs(5) {
            said = Mono::now();
            say(&format!("  {what}: {done} of {all} after {} s", start.elapsed().as_secs()));
        }
        ensure!(start.elapsed() < PATIENCE, "{what}: only {done} of {all}");
        hanse_rt::sleep(every).await;
    }
}

async fn create(client: Client, object: Value) -> Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&object["apiVersion"]);
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let gvk = GroupVersionKind::gvk(group, version, &text(&object["kind"]));
    let resource = match gvk.kind.as_str() {
        "ClusterPropagationPolicy" => {
            ApiResource::from_gvk_with_plural(&gvk, "clusterpropagationpolicies")
        }
        _ => ApiResource::from_gvk(&gvk),
    };
    let namespace = text(&object["metadata"]["namespace"]);
    let api: Api<DynamicObject> = if namespace.is_empty() {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, &namespace, &resource)
    };
    let object: DynamicObject = serde_json::from_value(object)?;
    api.create(&PostParams::default(), &object).await.with_context(|| format!("{gvk:?}"))?;
    Ok(())
}

/// Connects simulated members over their links, and counts what is written to them.
#[derive(Debug)]
struct Counted {
    links: World,
    writes: Writes,
}

impl Connector for Counted {
    fn connect<'a>(&'a self, name: &'a str, _: &'a Connection) -> Connecting<'a> {
        Box::pin(async move {
            let service = self.links.hub_service(name);
            let service = service.ok_or_else(|| ConnectError::Unsupported(name.to_owned()))?;
            let (writes, name) = (self.writes.clone(), name.to_owned());
            let service = service.map_request(move |request: Request<Body>| {
                if !matches!(*request.method(), Method::GET | Method::HEAD) {
                    writes.note(&name, &request);
                }
                request
            });
            Ok(bounded_client(service, Limits::default(), "default"))
        })
    }
}
