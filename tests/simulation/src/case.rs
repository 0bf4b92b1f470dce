//! A federation under virtual time: a fleet of three regions, a workload, and a hub that can die
//! alone. Every host has a clock of its own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use hanse_api::{HubPlace, MemberCluster, ResourceBinding};
use hanse_apiserver::ApiServer;
use hanse_hub::{Hub, HubConfig};
use hanse_member::{Connecting, Connection, Connector};
use hanse_rt::{Metrics, Mono, Rng, TaskSet, Wall};
use hanse_sim::{connector::SimulatedConnector, faults::HUB, member::Options, world::World};
use hanse_topology::Topology;
use hanse_xds::ReportTable;
use jiff::{SignedDuration, Timestamp};
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
/// Replicas of the workload `web`.
pub(crate) const REPLICAS: i32 = 6;
/// Clocks of hosts are off by this much at most, either way.
const SKEW: SignedDuration = SignedDuration::from_secs(30);

/// Everything that survives a killed hub.
pub(crate) struct Case {
    pub(crate) world: World,
    api: ApiServer,
    pub(crate) trace: Trace,
    reports: ReportTable,
    /// Metrics of each hub that has run.
    metrics: Mutex<Vec<Metrics>>,
    /// The hub's clock.
    wall: Wall,
    pub(crate) rng: Rng,
    pub(crate) tasks: TaskSet,
}

impl Case {
    pub(crate) async fn new(seed: u64) -> Result<Self> {
        let rng = Rng::from_seed(seed);
        let wall = clock(&rng, "hub process")?;
        let trace = Trace::new();
        let tasks = TaskSet::new("world");
        let mut clocks = BTreeMap::from([(HUB.to_owned(), clock(&rng, HUB)?)]);
        let topology = Topology::parse(FLEET)?;
        for cluster in &topology.clusters {
            clocks.insert(cluster.name.clone(), clock(&rng, &cluster.name)?);
        }
        let server = |name: &str| {
            let wall = clocks.get(name).unwrap_or(&wall).clone();
            ApiServer::builder().wall(wall).rng(rng.fork("api", name)).memory().build()
        };
        let api = server(HUB)?;
        api.run(&tasks);
        let options = Options::default();
        let stores = |_: usize, name: &str| server(name);
        let world = World::new(topology, &stores, (&wall, &rng), &options)?;
        for member in world.members() {
            member.run(&tasks, Arc::new(|_, _| {}));
        }
        let reports = ReportTable::default();
        gateways::run(&tasks, world.clone(), reports.clone());
        let metrics = Mutex::default();
        let case = Self { world, api, trace, reports, metrics, wall, rng, tasks };
        case.write_objects().await?;
        Ok(case)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.api.as_user("system:admin"), "default")
    }

    /// A hub with tasks of its own, so that it can be killed alone.
    pub(crate) async fn start_hub(&self, incarnation: u64) -> Result<TaskSet> {
        let tasks = TaskSet::new("hub");
        let service = Traced::new(self.api.as_user("system:admin"), HUB, &self.trace);
        let links = SimulatedConnector { world: self.world.clone() };
        let connector = Linked { links, trace: self.trace.clone() };
        let metrics = Metrics::new();
        self.metrics.lock().expect("no holder of this lock panics").push(metrics.clone());
        let config = HubConfig {
            metrics,
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
        let federation = json!({
            "apiVersion": "hanse.dev/v1alpha1", "kind": "Federation",
            "metadata": {"name": "default"}, "spec": {"requireTenant": false},
        });
        self.apply("hanse.dev/v1alpha1", "Federation", None, federation).await?;
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

    pub(crate) async fn deploy(&self) -> Result<()> {
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

    pub(crate) async fn apply(
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

    pub(crate) async fn healthy(&self) -> Result<()> {
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
    pub(crate) async fn placed(&self) -> Result<checkers::Holding> {
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

    /// In the end the sum is exact, everything is ready, every member is healthy, and no promise
    /// was broken on the way.
    pub(crate) async fn settled(&self) -> Result<()> {
        self.healthy().await.context("after the calm")?;
        let holding = checkers::look(&self.world, "default", "web").await?;
        let sum: i32 = holding.replicas.values().sum();
        ensure!(sum == REPLICAS, "{sum} replicas instead of {REPLICAS}: {holding:?}");
        let ready: i32 = holding.ready.values().sum();
        ensure!(ready == REPLICAS, "{ready} ready instead of {REPLICAS}: {holding:?}");
        self.promises_kept().await
    }

    /// No decision of any hub broke a promise, and what stands in the end breaks none.
    pub(crate) async fn promises_kept(&self) -> Result<()> {
        let pages: Vec<String> = {
            let all = self.metrics.lock().expect("no holder of this lock panics");
            all.iter().map(Metrics::encode).collect()
        };
        checkers::no_promise_broken(&pages)?;
        let api: Api<ResourceBinding> = Api::namespaced(self.client(), "default");
        let bindings = api.list(&ListParams::default()).await?;
        let is_web = |binding: &&ResourceBinding| binding.spec.template.kind == "Deployment";
        let web = bindings.iter().find(is_web).context("the binding of web")?;
        checkers::stands_well(self.world.topology(), &web.spec.clusters, REPLICAS)
    }

    pub(crate) async fn moves(&self) -> Result<usize> {
        let api: Api<ResourceBinding> = Api::namespaced(self.client(), "default");
        let bindings = api.list(&ListParams::default()).await?;
        Ok(bindings.iter().map(|binding| binding.spec.moves.len()).sum())
    }
}

/// The clock of a host: right but for its skew.
fn clock(rng: &Rng, host: &str) -> Result<Wall> {
    let mut rng = rng.fork("clock", host);
    let bound = u64::try_from(SKEW.as_millis())?;
    let off = i64::try_from(rng.below(2 * bound + 1))? - i64::try_from(bound)?;
    let right = Timestamp::from_second(1_800_000_000)?;
    Ok(Wall::starting_at(right.checked_add(SignedDuration::from_millis(off))?))
}

/// Connects members over their links, with everything traced.
#[derive(Debug)]
struct Linked {
    links: SimulatedConnector,
    trace: Trace,
}

impl Connector for Linked {
    fn connect<'a>(&'a self, name: &'a str, connection: &'a Connection) -> Connecting<'a> {
        Box::pin(async move {
            let client = self.links.connect(name, connection).await?;
            let service = tower::service_fn(move |request| {
                let client = client.clone();
                async move { client.send(request).await }
            });
            Ok(Client::new(Traced::new(service, name, &self.trace), "default"))
        })
    }
}
