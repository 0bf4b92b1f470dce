//! `hanse plan`: where templates would go on a fleet of a topology file. It runs the hub itself,
//! in memory, over simulated members without pods, so that what it prints is what a hub would
//! write and say. With `--diff` it asks the hub that runs.

mod diff;

use std::{collections::BTreeSet, io::Read as _, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use hanse_api::{ResourceBinding, conditions::binding::SCHEDULED};
use hanse_apiserver::ApiServer;
use hanse_hub::{Key, explain::Explained};
use hanse_rt::{Metrics, Readiness, Rng, TaskSet, Wall, net::AddressMap};
use hanse_sim::{faults::HUB, member::Options, world::World};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams},
    core::discovery::Scope,
    discovery::Discovery,
};
use serde_json::{Value, json};

use crate::{
    args::{Global, Output, Plan},
    explain, output, topology, up,
};

/// Decisions take milliseconds; a hub that is silent for this long has nothing more to say.
const QUIET: Duration = Duration::from_millis(400);
/// A template that has no decision by then has none coming.
const PATIENCE: Duration = Duration::from_secs(15);

/// How a plan ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    /// All has a place; of `--diff`: and nothing would change.
    Nothing,
    /// Something has no place.
    Short,
    /// All has a place, and something would change.
    Changes,
}

/// Plans and prints. What has no place is said on standard error, whatever form the result has.
///
/// # Errors
/// Which file or object cannot be used.
pub(crate) async fn run(global: &Global, wanted: &Plan) -> Result<Ended> {
    let mut objects = Vec::new();
    for file in &wanted.files {
        objects.extend(read(file)?);
    }
    let Some(topology) = wanted.topology.as_deref() else {
        return diff::run(global, objects).await;
    };
    let topology = topology::read(Some(topology))?;
    let tasks = TaskSet::new("plan");
    let (bindings, explained) = place(&tasks, topology, objects, global).await?;
    tasks.abort();
    show(global.output, &bindings, &explained)?;
    let unplaced: Vec<String> = bindings.iter().filter_map(unplaced).collect();
    for line in &unplaced {
        output::say(line);
    }
    Ok(if unplaced.is_empty() { Ended::Nothing } else { Ended::Short })
}

/// Runs a hub over the topology; gives what it wrote, and why.
async fn place(
    tasks: &TaskSet,
    topology: hanse_topology::Topology,
    objects: Vec<Value>,
    global: &Global,
) -> Result<(Vec<ResourceBinding>, Vec<Explained>)> {
    let (wall, rng) = (Wall::system(), Rng::from_seed(1));
    let (metrics, readiness) = (Metrics::new(), Readiness::new());
    let api = |name: &str| {
        let server = ApiServer::builder().wall(wall.clone()).rng(rng.fork("api", name));
        server.memory().build()
    };
    let server = api(HUB)?;
    server.run(tasks);
    let world = World::new(topology, &|_, name| api(name), (&wall, &rng), &Options::default())?;
    for member in world.members() {
        member.run(tasks, Arc::new(|_, _| {}));
    }
    let client = Client::new(server.as_user("system:admin"), "default");
    up::objects::write(&client, &world).await?;
    let seen = ((&metrics, &readiness), up::objects::Asked::default());
    let identity = AddressMap::identity();
    let hub = up::objects::hub(tasks, &client, &world, &identity, (&wall, &rng), seen).await?;
    readiness.ready().await;
    rooms_known(&client, world.members().count()).await?;
    for object in objects {
        apply(&client, object, global.namespace.as_deref()).await?;
    }
    let bindings = settled(&client).await?;
    let explainer = hub.explainer();
    let key = |binding: &ResourceBinding| {
        Key::new(&binding.namespace().unwrap_or_default(), &binding.name_any())
    };
    let explained = bindings.iter().filter_map(|binding| explainer.explain(&key(binding)));
    let explained = explained.collect();
    Ok((bindings, explained))
}

/// A table first, then the reasons of each workload; companions have their table line only.
fn show(form: Output, bindings: &[ResourceBinding], explained: &[Explained]) -> Result<()> {
    let deciding: Vec<Explained> =
        explained.iter().filter(|one| one.follows.is_empty()).cloned().collect();
    if form == Output::Svg {
        return explain::show(form, &deciding);
    }
    let names = || bindings.iter().map(ResourceExt::name_any).collect();
    let items: Vec<Value> = bindings
        .iter()
        .map(|binding| {
            let key = format!("{}/{}", binding.namespace().unwrap_or_default(), binding.name_any());
            let mut item = json!(binding);
            item["explained"] = json!(explained.iter().find(|one| one.binding == key));
            item
        })
        .collect();
    output::print(form, &items, names, |wide| {
        let mut parts = vec![table(bindings)];
        parts.extend(deciding.iter().map(|one| explain::words(one, wide)));
        parts.join("\n\n")
    })
}

/// What of a binding has no place, in words. A policy that takes what fits is content with less.
fn unplaced(binding: &ResourceBinding) -> Option<String> {
    let template = &binding.spec.template;
    let subject = format!("{}/{} in {}", template.kind, template.name, template.namespace);
    let conditions = binding.status.iter().flat_map(|status| &status.conditions);
    match conditions.into_iter().find(|condition| condition.type_ == SCHEDULED) {
        Some(condition) if condition.status == "False" => {
            Some(format!("no room for {subject}: {}", condition.message))
        }
        Some(_) => None,
        None => Some(format!("no decision about {subject} within {} s", PATIENCE.as_secs())),
    }
}

fn read(file: &Path) -> Result<Vec<Value>> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
    } else {
        text = String::from_utf8(hanse_rt::disk::read(file)?)
            .with_context(|| format!("{} is not text", file.display()))?;
    }
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
        .with_context(|| format!("{} does not parse", file.display()))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Every member has told its room, so that the plan does not depend on who came first.
async fn rooms_known(client: &Client, members: usize) -> Result<()> {
    let api: Api<hanse_api::MemberCluster> = Api::all(client.clone());
    let deadline = hanse_rt::Mono::now() + PATIENCE;
    loop {
        let known = api.list(&ListParams::default()).await?;
        let told = known.iter().filter(|member| {
            let nodes = member.status.as_ref().and_then(|status| status.nodes);
            nodes.is_some_and(|nodes| nodes.total > 0 && nodes.ready == nodes.total)
        });
        if told.count() == members {
            return Ok(());
        }
        if hanse_rt::Mono::now() > deadline {
            bail!("some clusters of the topology have no nodes; give each at least one");
        }
        hanse_rt::sleep(Duration::from_millis(20)).await;
    }
}

/// Applies an object as kubectl would, with `-n` for what names no namespace of its own.
async fn apply(client: &Client, object: Value, wanted: Option<&str>) -> Result<()> {
    let parsed: DynamicObject = serde_json::from_value(object.clone())
        .context("a document is no Kubernetes object: it needs apiVersion, kind and metadata")?;
    let types = parsed.types.clone().context("a document has no apiVersion and kind")?;
    let subject = format!("{}/{}", types.kind, parsed.name_any());
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
    let gvk = kube::api::GroupVersionKind::gvk(group, version, &types.kind);
    let (resource, capabilities) = discovery
        .resolve_gvk(&gvk)
        .with_context(|| format!("{subject}: no kind {} in {}", types.kind, types.api_version))?;
    let params = PatchParams::apply("hanse-plan").force();
    let api: Api<DynamicObject> = if capabilities.scope == Scope::Namespaced {
        let namespace = match (parsed.namespace(), wanted) {
            (Some(own), Some(wanted)) if own != wanted => {
                bail!("{subject} is in namespace `{own}`, and -n says `{wanted}`; leave one out")
            }
            (Some(own), _) => own,
            (None, wanted) => wanted.unwrap_or("default").to_owned(),
        };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let body = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace},
        });
        namespaces.patch(&namespace, &params, &Patch::Apply(body)).await?;
        Api::namespaced_with(client.clone(), &namespace, &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    };
    api.patch(&parsed.name_any(), &params, &Patch::Apply(object))
        .await
        .with_context(|| format!("{subject} is refused"))?;
    Ok(())
}

/// The bindings, once every one has a decision and nothing changes any more.
async fn settled(client: &Client) -> Result<Vec<ResourceBinding>> {
    let api: Api<ResourceBinding> = Api::all(client.clone());
    let deadline = hanse_rt::Mono::now() + PATIENCE;
    let mut last = (BTreeSet::new(), hanse_rt::Mono::now());
    loop {
        let mut bindings = api.list(&ListParams::default()).await?.items;
        let decided = bindings.iter().all(|binding| {
            let conditions = binding.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|condition| condition.type_ == SCHEDULED)
        });
        let state: BTreeSet<_> = bindings
            .iter()
            .map(|binding| (binding.name_any(), binding.spec.clusters.clone()))
            .collect();
        let now = hanse_rt::Mono::now();
        if state != last.0 {
            last = (state, now);
        }
        if (decided && now - last.1 > QUIET) || now > deadline {
            for binding in &mut bindings {
                binding.metadata.managed_fields = None;
            }
            return Ok(bindings);
        }
        hanse_rt::sleep(Duration::from_millis(50)).await;
    }
}

fn table(bindings: &[ResourceBinding]) -> String {
    let header = ["namespace", "kind", "name", "replicas", "clusters"];
    let rows = bindings.iter().map(|binding| {
        let template = &binding.spec.template;
        let clusters: Vec<_> = binding
            .spec
            .clusters
            .iter()
            .map(|cluster| match cluster.replicas {
                0 => cluster.name.clone(),
                replicas => format!("{}={replicas}", cluster.name),
            })
            .collect();
        vec![
            template.namespace.clone(),
            template.kind.clone(),
            template.name.clone(),
            binding.spec.replicas.to_string(),
            clusters.join(" "),
        ]
    });
    output::table(&header, rows)
}
