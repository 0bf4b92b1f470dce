//! `hanse up`: the whole federation in one process. Hub, simulated members with their relays and
//! gateways, and links between them; state on disk, a kubeconfig when everything is ready.

mod faults;
mod kubeconfig;
mod members;
pub(crate) mod objects;
mod pki;
mod state;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use hanse_apiserver::{ApiServer, TlsConfig, Tokens};
use hanse_hub::explain::Desk;
use hanse_rt::{
    Metrics, Readiness, Rng, TaskSet, Wall,
    admin::{self, Admin},
    net::{self, AddressMap, Reserved, TcpListener},
    telemetry,
    trace::Origins,
};
use hanse_sim::{
    faults::HUB,
    member::{Options, Roles},
    world::World,
};

use crate::{args::Up, connect, output, signals, topology};
use pki::Pki;
use state::Data;

/// A start takes 2 s; after this long somebody wonders what it waits for.
const SLOW: Duration = Duration::from_secs(5);
/// How long tasks may take to end when asked; then they are dropped.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs until a signal comes.
///
/// # Errors
/// What stands in the way of a start, and what to do about it.
pub(crate) async fn run(up: &Up) -> Result<()> {
    let started = hanse_rt::Mono::now();
    raise_file_limit();
    let topology = topology::read(up.topology.as_deref())?;
    let folder = match &up.data {
        Some(folder) => folder.clone(),
        None => connect::default_data()?,
    };
    let data = Data::open(&folder, &topology, up.fresh)?;
    let listener = listen(up.listen)?;
    members::check_gateways(&topology)?;
    let pki = Pki::load(data.folder())?;
    let tasks = TaskSet::new("up");
    let federation = start(&tasks, &data, &pki, topology, listener, up.admin).await?;
    ready(&federation.readiness).await;
    let path = data.kubeconfig();
    let text = kubeconfig::render(&pki, federation.address, &federation.members);
    hanse_rt::disk::write_atomically(&path, text.as_bytes())?;
    output::say(&format!(
        "federation of {} clusters ready in {:.1} s; state in {}, metrics on \
         http://{}/metrics\n\n  export PATH={}:$PATH\n  \
         export KUBECONFIG={}",
        federation.members.len(),
        started.elapsed().as_secs_f64(),
        data.folder().display(),
        federation.admin,
        program_folder().display(),
        path.display()
    ));
    signals::ended().await;
    output::say("ending");
    tasks.drain(DRAIN).await;
    drop(std::fs::remove_file(path));
    Ok(())
}

/// Waits until everything is ready; says what is waited for when it takes long.
async fn ready(readiness: &Readiness) {
    while hanse_rt::timeout(SLOW, readiness.ready()).await.is_err() {
        output::say(&format!("waiting for: {}", readiness.waiting_for().join(", ")));
    }
}

/// Where this program lies, so that a shell finds it by name.
fn program_folder() -> PathBuf {
    let program = std::env::current_exe().ok();
    program.as_deref().and_then(Path::parent).map_or_else(PathBuf::new, Path::to_owned)
}

/// A federation that runs.
struct Federation {
    address: SocketAddr,
    admin: SocketAddr,
    members: Vec<(String, SocketAddr)>,
    readiness: Readiness,
}

async fn start(
    tasks: &TaskSet,
    data: &Data,
    pki: &Pki,
    topology: hanse_topology::Topology,
    listener: TcpListener,
    admin: SocketAddr,
) -> Result<Federation> {
    let (wall, rng) = (Wall::system(), Rng::from_entropy());
    let (metrics, readiness) = (Metrics::new(), Readiness::new());
    let hold = readiness.hold("start");
    let origins = Origins::default();
    telemetry::push(tasks, "hanse", &metrics)?;
    let hub = ApiServer::builder()
        .metrics(metrics.scoped("server", HUB))
        .origins(origins.clone())
        .wall(wall.clone())
        .rng(rng.fork("api", HUB))
        .root_ca(pki.authority.clone())
        .durable(data.hub_store())
        .build()?;
    hub.run(tasks);
    let address = listener.local_addr()?;
    serve(&hub, tasks, listener, pki)?;
    let addresses = AddressMap::loopback();
    let options = Options { sockets: Some(addresses.clone()), ..Options::default() };
    let (chance, sight) = ((&wall, &rng), (&metrics, &readiness));
    let world = members::world(data, topology, chance, pki, (&options, &metrics))?;
    let client = kube::Client::new(hub.as_user("system:admin"), "default");
    let tokens = objects::write(&client, &world).await?;
    let desk = Desk::default();
    let pages = Admin { metrics: metrics.clone(), readiness: readiness.clone(), pages: None };
    let admin = admin::serve_with(tasks, admin, pages, crate::roles::answers(&desk))
        .with_context(|| format!("--admin {admin}"))?;
    let asked = objects::Asked { origins, questions: Some(admin.to_string()) };
    let hub = objects::hub(tasks, &client, &world, &addresses, chance, (sight, asked)).await?;
    desk.open(hub.explainer());
    let relays = hub.relays().context("the hub serves no relays")?;
    let served = members::api_addresses(&world)?;
    let roles = members::roles(&world, data, &addresses, relays, tokens, sight);
    let members = served.iter().map(|(name, at)| (name.clone(), at.address())).collect();
    power_on(&world, tasks, pki, served, roles);
    faults::follow(tasks, client, world, &rng);
    drop(hold);
    Ok(Federation { address, admin, members, readiness })
}

/// Switches every member on: its API for the administrator, and its other roles.
fn power_on(
    world: &World,
    tasks: &TaskSet,
    pki: &Pki,
    served: BTreeMap<String, Reserved>,
    others: Roles,
) {
    let keys = pki.clone();
    let roles: Roles = Arc::new(move |member, tasks| {
        if let Some(at) = served.get(member.name()) {
            members::serve(member, tasks, at, &keys);
        }
        others(member, tasks);
    });
    for member in world.members() {
        member.run(tasks, Arc::clone(&roles));
    }
}

/// Serves an API to the administrator.
fn serve(api: &ApiServer, tasks: &TaskSet, listener: TcpListener, pki: &Pki) -> Result<()> {
    let tls = TlsConfig {
        certificate: pki.certificate.clone(),
        key: pki.key.clone(),
        client_authority: None,
    };
    let tokens = Tokens::new().with(&pki.token, "admin", &["system:masters"]);
    Ok(api.serve(tasks, listener, &tls, tokens)?)
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    net::listen(address).with_context(|| {
        format!("{address} cannot be listened on; choose another address with --listen IP:PORT")
    })
}

/// Every simulated pod has listeners of its own; the usual soft limit of 1,024 is soon reached.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
