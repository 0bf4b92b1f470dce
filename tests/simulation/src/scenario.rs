//! One scenario drawn from the seed: a fleet of three regions, a workload, one member cut off or
//! killed, the hub killed and restarted in the middle, then calm; and what must hold.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hanse_api::{HubPlace, MemberCluster};
use hanse_apiserver::ApiServer;
use hanse_hub::{Hub, HubConfig};
use hanse_member::{ConnectError, Connecting, Connection, Connector, Limits, bounded};
use hanse_rt::{Mono, Rng, TaskSet, Wall};
use hanse_sim::{
    faults::{Ends, Faults, Faulty, HUB},
    member::Options,
    world::World,
};
use hanse_topology::Topology;
use hanse_xds::ReportTable;
use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    checkers, gateways,
    trace::{Trace, Traced},
};

const FLEET: &str = "
hub: {provider: aws, region: eu}
clusters:
  - {name: aws-eu, provider: aws, region: eu, nodes: [{count: 2, cpu: '4', memory: 8Gi}]}
  - {name: gcp-us, provider: gcp, region: us, nodes: [{count: 2, cpu: '4', memory: 8Gi}]}
  - {name: az-asia, provider: azure, region: asia, nodes: [{count: 2, cpu: '4', memory: 8Gi}]}
roundTripMilliseconds:
  - {from: eu, to: us, value: 80}
  - {from: eu, to: asia, value: 160}
  - {from: us, to: asia, value: 220}
";
const REPLICAS: i32 = 6;
/// After the last fault everything must have settled in this time.
const CALM: Duration = Duration::from_mins(3);

/// What one run came to.
pub(crate) struct Outcome {
    seed: u64,
    hash: u64,
    records: u64,
    simulated: Duration,
    moves: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {} hash {:016x} records {} simulated {} s moves {}",
            self.seed,
            self.hash,
            self.records,
            self.simulated.as_secs(),
            self.moves
        )
    }
}

/// Everything that survives a killed hub.
struct Case {
    world: World,
    api: ApiServer,
    trace: Trace,
    reports: ReportTable,
    wall: Wall,
    rng: Rng,
    tasks: TaskSet,
}

/// Runs the scenario of a seed.
pub(crate) async fn run(seed: u64) -> Result<Outcome> {
    let started = Mono::now();
    let case = Case::new(seed).await?;
    let mut rng = case.rng.fork("scenario", "");
    let mut hub = case.start_hub(1).await?;
    case.healthy().await.context("before any fault")?;
    case.deploy().await?;
    let mut before = case.placed().await?;
    let victims = ["gcp-us", "az-asia"];
    let victim = victims[usize::try_from(rng.below(2))?];
    let killed = rng.chance(500_000);
    let faults = Faults { killed, blackhole: !killed, ..Faults::default() };
    case.world.member(victim).context("a member")?.set_faults(faults);
    let hub_dies = Duration::from_millis(2000 + rng.below(6000));
    let hub_back = hub_dies + Duration::from_millis(1000 + rng.below(10_000));
    let healed = hub_back + Duration::from_millis(20_000 + rng.below(40_000));
    let origin = Mono::now();
    let (mut died, mut returned, mut mended) = (false, false, false);
    while !mended || origin.elapsed() < healed + CALM {
        hanse_rt::sleep(Duration::from_millis(250)).await;
        let now = origin.elapsed();
        if now >= hub_dies && !died {
            hub.kill().await;
            died = true;
        }
        if now >= hub_back && !returned {
            hub = case.start_hub(2).await?;
            returned = true;
        }
        if now >= healed && !mended {
            case.world.member(victim).context("a member")?.set_faults(Faults::default());
            mended = true;
        }
        let after = checkers::look(&case.world, "default", "web").await?;
        checkers::removed_only_when_replaced(&before, &after, REPLICAS)
            .with_context(|| format!("{} s after the fault", now.as_secs()))?;
        before = after;
    }
    case.settled().await?;
    let moves = case.moves().await?;
    ensure!(moves > 0, "nothing was moved off {victim}");
    hub.kill().await;
    case.tasks.kill().await;
    let (hash, records) = case.trace.hash();
    Ok(Outcome { seed, hash, records, simulated: started.elapsed(), moves })
}

impl Case {
    async fn new(seed: u64) -> Result<Self> {
        let rng = Rng::from_seed(seed);
        let wall = Wall::starting_at(Timestamp::from_second(1_800_000_000)?);
        let trace = Trace::new();
        let tasks = TaskSet::new("world");
        let server = |name: &str| {
            let server = ApiServer::builder().wall(wall.clone()).rng(rng.fork("api", name));
            server.memory().build()
        };
        let api = server(HUB)?;
        api.run(&tasks);
        let options = Options::default();
        let topology = Topology::parse(FLEET)?;
        let stores = |_: usize, name: &str| server(name);
        let world = World::new(topology, &stores, (&wall, &rng), &options)?;
        for member in world.members() {
            member.run(&tasks, Arc::new(|_, _| {}));
        }
        let reports = ReportTable::default();
        gateways::run(&tasks, world.clone(), reports.clone());
        let case = Self { world, api, trace, reports, wall, rng, tasks };
        case.write_objects().await?;
        Ok(case)
    }

    fn client(&self) -> Client {
        Client::new(self.api.as_user("system:admin"), "default")
    }

    /// A hub with tasks of its own, so that it can be killed alone.
    async fn start_hub(&self, incarnation: u64) -> Result<TaskSet> {
        let tasks = TaskSet::new("hub");
        let service = Traced::new(self.api.as_user("system:admin"), HUB, &self.trace);
        let connector =
            Linked { world: self.world.clone(), trace: self.trace.clone(), rng: self.rng.clone() };
        let config = HubConfig {
            wall: self.wall.clone(),
            rng: self.rng.fork("hub", &incarnation.to_string()),
            place: Some(HubPlace { provider: "aws".to_owned(), region: "eu".to_owned() }),
            reports: self.reports.clone(),
            ..HubConfig::new(Client::new(service, "default"), Arc::new(connector))
        };
        Hub::run(&tasks, config).await?;
        Ok(tasks)
    }

    async fn write_objects(&self) -> Result<()> {
        for definition in hanse_api::crds() {
            let body = serde_json::to_value(&definition)?;
            self.apply("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, body).await?;
        }
        for member in self.world.members() {
            let cluster = member.cluster();
            let body = json!({
                "apiVersion": "hanse.dev/v1alpha1", "kind": "MemberCluster",
                "metadata": {"name": cluster.name},
                "spec": {
                    "connection": {"simulated": {}}, "provider": cluster.provider,
                    "region": cluster.region, "network": cluster.network,
                    "gateways": [{"address": member.gateway_address().to_string(), "port": 15443}],
                },
            });
            self.apply("hanse.dev/v1alpha1", "MemberCluster", None, body).await?;
        }
        Ok(())
    }

    async fn deploy(&self) -> Result<()> {
        let policy = json!({
            "apiVersion": "hanse.dev/v1alpha1", "kind": "PropagationPolicy",
            "metadata": {"name": "all", "namespace": "default"},
            "spec": {"resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}]},
        });
        self.apply("hanse.dev/v1alpha1", "PropagationPolicy", Some("default"), policy).await?;
        let web = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "replicas": REPLICAS, "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{
                        "name": "web", "image": "web:1",
                        "resources": {"requests": {"cpu": "500m", "memory": "64Mi"}},
                    }]},
                },
            },
        });
        self.apply("apps/v1", "Deployment", Some("default"), web).await
    }

    async fn apply(
        &self,
        version: &str,
        kind: &str,
        namespace: Option<&str>,
        body: Value,
    ) -> Result<()> {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client(), namespace, &resource),
            None => Api::all_with(self.client(), &resource),
        };
        let name = body["metadata"]["name"].as_str().context("a name")?.to_owned();
        let params = PatchParams::apply("test").force();
        api.patch(&name, &params, &Patch::Apply(body))
            .await
            .with_context(|| format!("{kind} {name}"))?;
        Ok(())
    }

    async fn healthy(&self) -> Result<()> {
        let api: Api<MemberCluster> = Api::all(self.client());
        let deadline = Mono::now() + Duration::from_mins(1);
        loop {
            let members = api.list(&ListParams::default()).await?;
            let verdicts: Vec<_> = members
                .iter()
                .map(|member| {
                    let verdict = member.status.as_ref().and_then(|status| status.verdict.clone());
                    (member.name_any(), verdict.unwrap_or_default())
                })
                .collect();
            if verdicts.len() == 3 && verdicts.iter().all(|(_, verdict)| verdict == "Healthy") {
                return Ok(());
            }
            ensure!(Mono::now() < deadline, "verdicts: {verdicts:?}");
            hanse_rt::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Waits until all replicas are ready in the members.
    async fn placed(&self) -> Result<checkers::Holding> {
        let deadline = Mono::now() + Duration::from_mins(1);
        loop {
            let holding = checkers::look(&self.world, "default", "web").await?;
            if holding.ready.values().sum::<i32>() == REPLICAS {
                return Ok(holding);
            }
            ensure!(Mono::now() < deadline, "not placed: {holding:?}");
            hanse_rt::sleep(Duration::from_millis(250)).await;
        }
    }

    /// In the end the sum is exact, everything is ready, and every member is healthy.
    async fn settled(&self) -> Result<()> {
        self.healthy().await.context("after the calm")?;
        let holding = checkers::look(&self.world, "default", "web").await?;
        let sum: i32 = holding.replicas.values().sum();
        ensure!(sum == REPLICAS, "{sum} replicas instead of {REPLICAS}: {holding:?}");
        let ready: i32 = holding.ready.values().sum();
        ensure!(ready == REPLICAS, "{ready} ready instead of {REPLICAS}: {holding:?}");
        Ok(())
    }

    async fn moves(&self) -> Result<usize> {
        let api: Api<hanse_api::ResourceBinding> = Api::namespaced(self.client(), "default");
        let bindings = api.list(&ListParams::default()).await?;
        let status = bindings.iter().filter_map(|binding| binding.status.as_ref());
        Ok(status.map(|status| status.moves.len()).sum())
    }
}

/// Connects members over their links, with everything traced.
#[derive(Debug)]
struct Linked {
    world: World,
    trace: Trace,
    rng: Rng,
}

impl Connector for Linked {
    fn connect<'a>(&'a self, name: &'a str, _: &'a Connection) -> Connecting<'a> {
        Box::pin(async move {
            let unknown = || ConnectError::Unsupported(format!("no member {name}"));
            let member = self.world.member(name).ok_or_else(unknown)?;
            let from = (HUB.to_owned(), self.world.hub_faults().subscribe());
            let ends = Ends::new(from, (name.to_owned(), member.faults()));
            let distance = self.world.distance(HUB, name);
            let service = member.api().as_user("system:admin");
            let service = Faulty::new(service, ends, distance, self.rng.fork("link", name));
            let client = Client::new(Traced::new(service, name, &self.trace), "default");
            Ok(bounded(client, Limits::default()))
        })
    }
}
