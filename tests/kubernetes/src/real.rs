//! A federation of real control planes: a hub's API and three members in three regions, with
//! `hanse hub`, `agent` and `gateway` as processes of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, ensure};
use hanse_rt::{Rng, TaskSet, Wall, net::AddressMap};
use hanse_sim::{
    engine::{Controllers as Nodes, Scope},
    kubelet::{Addresses, Kubelet, Pace},
    member::gateway_address,
    nodes,
    responder::Responders,
};
use hanse_tests_bodies::{Fleet, Turn, fleet::LONG, wait};
use hanse_topology::Topology;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{ControlPlane, Controllers};

const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/crds");
const ROLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/hub");
/// Whoever runs a federation says whose the namespaces are.
const TENANT: &str = "
apiVersion: hanse.dev/v1alpha1
kind: Tenant
metadata: {name: tests}
spec: {namespaces: [default]}
";
const HUB_XDS: &str = "127.0.0.1:25010";
/// A few small nodes for each member, as a topology file names them.
pub const NODES: &str = "{count: 2, cpu: '8', memory: 32Gi}";

fn fleet(nodes: &str) -> String {
    format!(
        "
hub: {{provider: aws, region: eu}}
clusters:
  - {{name: aws-eu, provider: aws, region: eu, nodes: [{nodes}]}}
  - {{name: gcp-us, provider: gcp, region: us, nodes: [{nodes}]}}
  - {{name: az-asia, provider: azure, region: asia, nodes: [{nodes}]}}
"
    )
}

/// A federation of real control planes.
#[derive(Debug)]
pub struct Real {
    /// Clients of the hub and of the members.
    pub fleet: Fleet,
    /// The members' control planes.
    pub planes: BTreeMap<String, ControlPlane>,
    hanse: PathBuf,
    folder: TempDir,
    hub: ControlPlane,
    processes: BTreeMap<String, Child>,
    tasks: TaskSet,
    _turn: Turn,
}

impl Real {
    /// Starts everything and waits until every member is healthy. `hanse` is the program,
    /// `programs` the folder of the control planes' own, and `nodes` what each member has, like
    /// [`NODES`].
    ///
    /// # Errors
    /// When something does not start; with what the hub said.
    pub async fn start(hanse: &Path, programs: &Path, nodes: &str) -> Result<Self> {
        drop(rustls::crypto::ring::default_provider().install_default());
        let turn = Turn::take().await?;
        let topology = Topology::parse(&fleet(nodes))?;
        let hub = ControlPlane::start("federation", 20, Controllers::Hub, programs).await?;
        let mut planes = BTreeMap::new();
        for (index, cluster) in topology.clusters.iter().enumerate() {
            let number = 21 + u8::try_from(index)?;
            let name = &cluster.name;
            let plane = ControlPlane::start(name, number, Controllers::Member, programs).await?;
            planes.insert(name.clone(), plane);
        }
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, merge(&hub, &planes)?)?;
        let fleet = Fleet::connect(&kubeconfig).await?;
        let tasks = TaskSet::new("real");
        let processes = BTreeMap::new();
        let hanse = hanse.to_owned();
        let mut real = Self { fleet, planes, hanse, folder, hub, processes, tasks, _turn: turn };
        real.install().await?;
        real.start_hub()?;
        for (index, cluster) in topology.clusters.iter().enumerate() {
            real.run_nodes(index, cluster).await?;
            real.join(index, cluster).await?;
        }
        real.fleet.healthy().await.with_context(|| real.words("hub"))?;
        Ok(real)
    }

    /// Kinds, roles, the hub's own account and a Tenant, as a user would install them.
    async fn install(&self) -> Result<()> {
        let kubectl = &self.fleet.kubectl;
        kubectl.run(&["apply", "--server-side", "-f", CRDS]).await?;
        kubectl.run(&["apply", "--server-side", "-k", ROLES]).await?;
        let tenant = self.folder.path().join("tenant.yaml");
        std::fs::write(&tenant, TENANT)?;
        kubectl.run(&["apply", "-f", &tenant.to_string_lossy()]).await?;
        let create = ["create", "token", "hub", "-n", "hanse-system", "--duration", "24h"];
        let token = kubectl.run(&create).await?;
        let mut kubeconfig: Value = serde_json::from_slice(&std::fs::read(self.hub.kubeconfig())?)?;
        kubeconfig["users"][0]["user"] = json!({"token": token.trim()});
        std::fs::write(self.account(), kubeconfig.to_string())?;
        let hub = "system:serviceaccount:hanse-system:hub";
        let words = ["auth", "can-i", "create", "federations.hanse.dev", "--as", hub];
        let may = || kubectl.run(&words);
        wait::until("the hub's account to have its rights", LONG, may, |_| true).await.map(drop)
    }

    /// The kubeconfig of the hub's own account.
    fn account(&self) -> PathBuf {
        self.folder.path().join("hub.kubeconfig")
    }

    /// Nodes and pods of a member: the hollow kubelet and the scheduler, as ordinary clients.
    async fn run_nodes(&self, index: usize, cluster: &hanse_topology::Cluster) -> Result<()> {
        let client = self.planes[&cluster.name].client().await?;
        let lost: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let wall = Wall::system();
        nodes::run(&self.tasks, client.clone(), cluster.clone(), Arc::clone(&lost), wall.clone());
        let addresses = AddressMap::loopback();
        let runtime = Arc::new(Responders::new(&cluster.name, &self.tasks, addresses));
        let kubelet = Kubelet::new(Pace::default(), runtime, Addresses::of_member(index), lost);
        let rng = Rng::from_entropy();
        Nodes { client, scope: Scope::NodesOnly, kubelet, wall, rng }.run(&self.tasks);
        Ok(())
    }

    /// Starts the hub's process, with the rights that its account has and no others.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_hub(&mut self) -> Result<()> {
        let kubeconfig = self.account();
        let kubeconfig = kubeconfig.to_string_lossy();
        let arguments = [
            "hub",
            "--kubeconfig",
            &kubeconfig,
            "--provider",
            "aws",
            "--region",
            "eu",
            "--xds",
            HUB_XDS,
            "--admin",
            "127.0.0.1:0",
        ];
        let hub = self.spawn("hub", &arguments)?;
        self.processes.insert("hub".to_owned(), hub);
        Ok(())
    }

    async fn join(&mut self, index: usize, cluster: &hanse_topology::Cluster) -> Result<()> {
        let name = &cluster.name;
        let member = self.planes[name].kubeconfig();
        let token = self.token(name);
        let gateway = SocketAddr::new(gateway_address(index).into(), 15443).to_string();
        let kubeconfig = self.fleet.kubeconfig().to_owned();
        let mut join = Command::new(&self.hanse);
        join.args(["join", name, "--provider", &cluster.provider, "--region", &cluster.region])
            .args(["--gateway", &gateway])
            .arg("--member-kubeconfig")
            .arg(&member)
            .arg("--token-file")
            .arg(&token)
            .env("KUBECONFIG", kubeconfig);
        let joined = join.output().await?;
        ensure!(joined.status.success(), "{joined:?}\n{}", self.words("hub"));
        self.start_member(index, name)
    }

    /// Starts relay and gateway of a member.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start_member(&mut self, index: usize, name: &str) -> Result<()> {
        let ip = gateway_address(index);
        let [_, block, c, d] = ip.octets();
        let member = self.planes[name].kubeconfig();
        let (member, token) = (member.to_string_lossy(), self.token(name));
        let token = token.to_string_lossy().into_owned();
        let relay_at = SocketAddr::new(ip.into(), 15011).to_string();
        let in_api = Ipv4Addr::new(10, block, c, d).to_string();
        let data =
            |role: &str| self.folder.path().join(role).join(name).to_string_lossy().into_owned();
        let (relay_data, gateway_data) = (data("relay"), data("gateway"));
        let relay = [
            "agent",
            "--kubeconfig",
            &member,
            "--member",
            name,
            "--hub",
            HUB_XDS,
            "--token-file",
            &token,
            "--listen",
            &relay_at,
            "--gateway",
            &in_api,
            "--data",
            &relay_data,
            "--admin",
            "127.0.0.1:0",
        ];
        let relay = self.spawn(&format!("relay-{name}"), &relay)?;
        let bind = ip.to_string();
        let gateway = [
            "gateway",
            "--member",
            name,
            "--relay",
            &relay_at,
            "--token-file",
            &token,
            "--bind",
            &bind,
            "--data",
            &gateway_data,
            "--admin",
            "127.0.0.1:0",
            "--address-map",
            "loopback",
        ];
        let gateway = self.spawn(&format!("gateway-{name}"), &gateway)?;
        self.processes.insert(format!("relay-{name}"), relay);
        self.processes.insert(format!("gateway-{name}"), gateway);
        Ok(())
    }

    fn spawn(&self, role: &str, arguments: &[&str]) -> Result<Child> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join(format!("{role}.log")))?;
        let mut command = Command::new(&self.hanse);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        command.spawn().with_context(|| format!("{role} cannot be started"))
    }

    /// Ends a role as a crash would.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self, role: &str) -> Result<()> {
        self.processes.remove(role).context("it does not run")?.kill().await?;
        Ok(())
    }

    /// A folder that lives as long as the federation.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The control plane of the hub's API.
    pub const fn hub(&self) -> &ControlPlane {
        &self.hub
    }

    /// Ids of the federation's own processes by role: `hub`, `relay-NAME`, `gateway-NAME`.
    pub fn process_ids(&self) -> BTreeMap<&str, u32> {
        let known = self.processes.iter();
        known.filter_map(|(role, child)| Some((role.as_str(), child.id()?))).collect()
    }

    fn token(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.token"))
    }
    /// The last lines that a role wrote.
    pub fn words(&self, role: &str) -> String {
        let path = self.folder.path().join(format!("{role}.log"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let tail: Vec<_> = text.lines().rev().take(60).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
    /// Waits until the hub has this verdict of a member.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn until_verdict(&self, member: &str, wanted: &str) -> Result<()> {
        let what = format!("{member} is {wanted}");
        let is = |verdicts: &BTreeMap<String, String>| {
            verdicts.get(member).map(String::as_str) == Some(wanted)
        };
        let seen = wait::until(&what, LONG * 2, || self.fleet.verdicts(), is).await;
        seen.map(drop).with_context(|| self.words("hub"))
    }
}

/// One kubeconfig with the hub as `federation` and a context per member.
fn merge(hub: &ControlPlane, members: &BTreeMap<String, ControlPlane>) -> Result<String> {
    let mut merged: Value = serde_json::from_slice(&std::fs::read(hub.kubeconfig())?)?;
    for member in members.values() {
        let one: Value = serde_json::from_slice(&std::fs::read(member.kubeconfig())?)?;
        for list in ["clusters", "contexts"] {
            let more = one[list].as_array().cloned().unwrap_or_default();
            merged[list].as_array_mut().context("a kubeconfig has lists")?.extend(more);
        }
    }
    Ok(serde_json::to_string(&merged)?)
}
