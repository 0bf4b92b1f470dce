//! A hub and three members for tests, with what tests ask of them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use hanse_apiserver::ApiServer;
use hanse_hub::{Hub, HubConfig};
use hanse_member::{
    ConnectError, Connecting, Connection, Connector, DirectConnector, Limits, bounded,
};
use hanse_rt::{Mono, Rng, TaskSet, Wall, trace::Origins};
use k8s_openapi::{
    api::apps::v1::Deployment,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};
use tokio::sync::watch;

pub(crate) const MEMBERS: [(&str, &str); 3] =
    [("aws-1", "eu-west-1"), ("gcp-1", "europe-west4"), ("az-1", "westeurope")];

/// A hub and its members.
pub(crate) struct Stage {
    pub(crate) hub: ApiServer,
    pub(crate) members: BTreeMap<String, Member>,
    pub(crate) wall: Wall,
    pub(crate) running: Option<(Hub, TaskSet)>,
    tasks: TaskSet,
    restarts: u64,
    origins: Origins,
    own_failover: bool,
}

/// A member's API server, and whether the hub can reach it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) server: ApiServer,
    pub(crate) cut: Arc<AtomicBool>,
    /// Path to which every answer is an error, and whose watches break off.
    pub(crate) refused: watch::Sender<Option<String>>,
    /// Requests of the hub that would change something, also where they change nothing.
    pub(crate) writes: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct InProcess(BTreeMap<String, Member>);

/// Nothing listens where tests send it: it is there to refuse kubeconfigs.
static DIRECT: LazyLock<DirectConnector> =
    LazyLock::new(|| DirectConnector { limits: Limits::default() });

impl Connector for InProcess {
    fn connect<'a>(&'a self, name: &'a str, connection: &'a Connection) -> Connecting<'a> {
        if matches!(connection, Connection::Direct { .. }) {
            return DIRECT.connect(name, connection);
        }
        Box::pin(async move {
            let member = self
                .0
                .get(name)
                .ok_or_else(|| ConnectError::Unsupported(format!("there is no member {name}")))?;
            let (server, cut) = (member.server.clone(), Arc::clone(&member.cut));
            let (refused, writes) = (member.refused.subscribe(), Arc::clone(&member.writes));
            let service = tower::service_fn(move |request: http::Request<_>| {
                let mut inner = server.as_user("hub");
                let (cut, refused) = (Arc::clone(&cut), refused.clone());
                if request.method() != http::Method::GET {
                    writes.fetch_add(1, Ordering::Relaxed);
                }
                async move {
                    if cut.load(Ordering::Relaxed) {
                        std::future::pending::<()>().await;
                    }
                    let path = request.uri().path().to_owned();
                    if refused.borrow().as_ref() == Some(&path) {
                        return Err(tower::BoxError::from("refused"));
                    }
                    tower::Service::call(&mut inner, request).await.map_err(Into::into)
                }
            });
            Ok(bounded(Client::new(service, "default"), Limits::default()))
        })
    }
}

impl Stage {
    /// A hub with three members of `nodes` nodes of 4 cores each, all joined.
    pub(crate) async fn with_nodes(nodes: usize) -> Self {
        Self::of(nodes, false).await
    }

    /// The same with the hub's own failover instead of orders that the test gives.
    pub(crate) async fn with_failover() -> Self {
        Self::of(4, true).await
    }

    async fn of(nodes: usize, own_failover: bool) -> Self {
        drop(
            tracing_subscriber::fmt()
                .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
                .with_test_writer()
                .try_init(),
        );
        let wall = Wall::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let tasks = TaskSet::new("stage");
        let origins = Origins::default();
        let start = |server: hanse_apiserver::Builder, seed: u64| {
            let server = server.wall(wall.clone()).rng(Rng::from_seed(seed)).build().unwrap();
            server.run(&tasks);
            server
        };
        let server = |seed: u64| start(ApiServer::builder(), seed);
        let hub = start(ApiServer::builder().origins(origins.clone()), 1);
        let mut members = BTreeMap::new();
        for (at, (name, _)) in MEMBERS.iter().enumerate() {
            let server = server(10 + at as u64);
            let refused = watch::Sender::new(None);
            let member = Member { server, cut: Arc::default(), refused, writes: Arc::default() };
            let client = member.client();
            for node in 0..nodes {
                add_node(&client, &format!("{name}-node-{node}")).await;
            }
            tasks.spawn("deployments", obey(client));
            members.insert((*name).to_owned(), member);
        }
        let mut stage =
            Self { hub, members, wall, running: None, tasks, restarts: 0, origins, own_failover };
        let client = stage.client();
        for crd in hanse_api::crds() {
            let api: Api<CustomResourceDefinition> = Api::all(client.clone());
            api.create(&PostParams::default(), &crd).await.unwrap();
        }
        let spec = json!({"requireTenant": false});
        stage
            .create(json!({"apiVersion": "hanse.dev/v1alpha1", "kind": "Federation",
            "metadata": {"name": "default"}, "spec": spec}))
            .await;
        stage.start().await;
        for (name, region) in MEMBERS {
            let provider = name.split('-').next().unwrap();
            stage.create(member(name, provider, region)).await;
        }
        stage.namespace("shop").await;
        for (name, _) in MEMBERS {
            stage
                .condition("hanse.dev/v1alpha1", "MemberCluster", "", name, "Joined", "True")
                .await;
        }
        stage
    }

    pub(crate) async fn new() -> Self {
        Self::with_nodes(4).await
    }

    /// Lets a member refuse all requests to a path from now on, or none.
    pub(crate) fn refuse(&self, member: &str, path: Option<&str>) {
        self.members[member].refused.send_replace(path.map(str::to_owned));
    }

    /// Starts a hub process.
    pub(crate) async fn start(&mut self) {
        self.restarts += 1;
        let connector = Arc::new(InProcess(self.members.clone()));
        let config = HubConfig {
            wall: self.wall.clone(),
            rng: Rng::from_seed(100 + self.restarts),
            orders_from_caller: !self.own_failover,
            origins: self.origins.clone(),
            ..HubConfig::new(self.client(), connector)
        };
        let readiness = config.readiness.clone();
        let tasks = TaskSet::new("hub");
        let hub = Hub::run(&tasks, config).await.unwrap();
        readiness.ready().await;
        self.running = Some((hub, tasks));
    }

    /// Ends the hub process as a crash would.
    pub(crate) async fn crash(&mut self) {
        let (hub, tasks) = self.running.take().unwrap();
        for session in hub.world().sessions() {
            session.stop().await;
        }
        tasks.kill().await;
    }

    /// Ends everything. Whatever a test was about, no decision broke a promise.
    pub(crate) async fn end(mut self) {
        let page = self.hub().world().means().metrics.encode();
        let broken = page.lines().find(|line| line.starts_with(hanse_hub::VIOLATIONS));
        assert_eq!(broken, None, "a decision broke a promise");
        self.crash().await;
        self.tasks.kill().await;
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.running.as_ref().unwrap().0
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.hub.as_user("admin"), "default")
    }

    pub(crate) fn member(&self, name: &str) -> Client {
        self.members[name].client()
    }

    pub(crate) async fn create(&self, object: Value) -> Value {
        create(&self.client(), object).await
    }

    pub(crate) async fn namespace(&self, name: &str) {
        let labels = json!({"team": "shop"});
        let metadata = json!({"name": name, "labels": labels});
        self.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})).await;
    }

    pub(crate) async fn patch(&self, api: &str, kind: &str, name: &str, body: Value) {
        let api = dynamic(&self.client(), api, kind, "shop");
        api.patch(name, &PatchParams::default(), &Patch::Merge(&body)).await.unwrap();
    }

    pub(crate) async fn get(&self, api: &str, kind: &str, name: &str) -> Option<Value> {
        get(&self.client(), api, kind, "shop", name).await
    }

    /// The binding of a template in `shop`.
    pub(crate) async fn binding(&self, api: &str, kind: &str, name: &str) -> Value {
        let key = hanse_hub::TemplateKey {
            api_version: api.to_owned(),
            kind: kind.to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        };
        let key = hanse_hub::propagation::key_of_binding(&key);
        self.get("hanse.dev/v1alpha1", "ResourceBinding", &key.name).await.unwrap_or_default()
    }

    /// Replicas by member, as the members' own objects say.
    pub(crate) async fn replicas(&self, name: &str) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for member in self.members.keys() {
            let copy = get(&self.member(member), "apps/v1", "Deployment", "shop", name).await;
            if let Some(copy) = copy {
                counts.insert(member.clone(), copy["spec"]["replicas"].as_u64().unwrap());
            }
        }
        counts
    }

    /// Members that hold an object.
    pub(crate) async fn holders(&self, api: &str, kind: &str, name: &str) -> Vec<String> {
        let mut names = Vec::new();
        for member in self.members.keys() {
            if get(&self.member(member), api, kind, "shop", name).await.is_some() {
                names.push(member.clone());
            }
        }
        names
    }

    /// Waits until a condition of an object has this status; gives the condition.
    pub(crate) async fn condition(
        &self,
        api: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        type_: &str,
        status: &str,
    ) -> Value {
        let client = self.client();
        let what = format!("{kind} {name} to be {type_}={status}");
        let found = eventually(&what, async || {
            let object = get(&client, api, kind, namespace, name).await?;
            let found = condition_of(&object, type_)?;
            (found["status"] == status).then_some(found)
        });
        found.await
    }
}

impl Member {
    pub(crate) fn client(&self) -> Client {
        Client::new(self.server.as_user("admin"), "default")
    }
}

pub(crate) fn condition_of(object: &Value, type_: &str) -> Option<Value> {
    let list = object["status"]["conditions"].as_array()?;
    list.iter().find(|condition| condition["type"] == type_).cloned()
}

/// Asks until there is an answer; 60 s of virtual time are enough for everything here.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Mono::now() + Duration::from_mins(1);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Mono::now() < deadline, "waited in vain for {what}");
        hanse_rt::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn dynamic(
    client: &Client,
    api: &str,
    kind: &str,
    namespace: &str,
) -> Api<DynamicObject> {
    let (group, version) = api.split_once('/').unwrap_or(("", api));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}

pub(crate) async fn get(
    client: &Client,
    api: &str,
    kind: &str,
    namespace: &str,
    name: &str,
) -> Option<Value> {
    let object = dynamic(client, api, kind, namespace).get_opt(name).await.unwrap()?;
    Some(serde_json::to_value(object).unwrap())
}

pub(crate) async fn create(client: &Client, object: Value) -> Value {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let namespace = text(&object["metadata"]["namespace"]);
    let api = dynamic(client, &text(&object["apiVersion"]), &text(&object["kind"]), &namespace);
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    serde_json::to_value(api.create(&PostParams::default(), &object).await.unwrap()).unwrap()
}

pub(crate) fn member(name: &str, provider: &str, region: &str) -> Value {
    json!({"apiVersion": "hanse.dev/v1alpha1", "kind": "MemberCluster",
        "metadata": {"name": name},
        "spec": {"provider": provider, "region": region, "connection": {"simulated": {}}}})
}

pub(crate) fn deployment(name: &str, replicas: u32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{
                "name": "main", "image": "registry/main:1",
                "envFrom": [{"configMapRef": {"name": format!("{name}-settings")}}],
                "resources": {"requests": {"cpu": "500m", "memory": "64Mi"}}}]}}}})
}

#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
pub(crate) fn policy(name: &str, spec: Value) -> Value {
    let mut whole = json!({"resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}]});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"apiVersion": "hanse.dev/v1alpha1", "kind": "PropagationPolicy",
        "metadata": {"name": name, "namespace": "shop"}, "spec": whole})
}

async fn add_node(client: &Client, name: &str) {
    let status = json!({"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "50"},
        "conditions": [{"type": "Ready", "status": "True"}]});
    let metadata = json!({"name": name});
    create(client, json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata})).await;
    dynamic(client, "v1", "Node", "")
        .patch_status(name, &PatchParams::default(), &Patch::Merge(&json!({"status": status})))
        .await
        .unwrap();
}

/// Says of each Deployment that it is as it was asked, 20 ms later.
async fn obey(client: Client) {
    let all: Api<Deployment> = Api::all(client.clone());
    let mut events = std::pin::pin!(watcher(all, watcher::Config::default()).applied_objects());
    while let Some(event) = events.next().await {
        let Ok(object) = event else { continue };
        let generation = object.metadata.generation;
        let observed = object.status.as_ref().and_then(|status| status.observed_generation);
        if observed == generation {
            continue;
        }
        hanse_rt::sleep(Duration::from_millis(20)).await;
        let count = object.spec.replicas.unwrap_or(1);
        let status = json!({"observedGeneration": generation, "replicas": count,
            "updatedReplicas": count, "readyReplicas": count, "availableReplicas": count});
        let api: Api<Deployment> =
            Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
        let patch = Patch::Merge(json!({"status": status}));
        let written = api.patch_status(&object.name_any(), &PatchParams::default(), &patch).await;
        drop(written);
    }
}
