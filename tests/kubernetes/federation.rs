//! The same bodies as on simulated members, on real control planes: a hub's API and three members
//! in three regions, with `hanse hub`, `agent` and `gateway` as processes of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
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
use hanse_tests_bodies::{Fleet, Turn, boutique, fleet::LONG, loss, traffic, wait};
use hanse_tests_kubernetes::{ControlPlane, Controllers, peers};
use hanse_topology::Topology;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

const HANSE: &str = env!("CARGO_BIN_EXE_hanse");
const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/crds");
const HUB_XDS: &str = "127.0.0.1:25010";
const FLEET: &str = "
hub: {provider: aws, region: eu}
clusters:
  - {name: aws-eu, provider: aws, region: eu, nodes: [{count: 2, cpu: '8', memory: 32Gi}]}
  - {name: gcp-us, provider: gcp, region: us, nodes: [{count: 2, cpu: '8', memory: 32Gi}]}
  - {name: az-asia, provider: azure, region: asia, nodes: [{count: 2, cpu: '8', memory: 32Gi}]}
";
const SERVICE: &str = "
apiVersion: hanse.dev/v1alpha1
kind: GlobalService
metadata: {name: frontend, namespace: default}
spec: {service: frontend, ports: [{port: 80, protocol: HTTP}]}
";

/// A federation of real control planes.
struct Real {
    folder: TempDir,
    planes: BTreeMap<String, ControlPlane>,
    hub: ControlPlane,
    processes: BTreeMap<String, Child>,
    tasks: TaskSet,
    fleet: Fleet,
    _turn: Turn,
}

impl Real {
    async fn start(programs: &Path) -> Result<Self> {
        drop(rustls::crypto::ring::default_provider().install_default());
        let turn = Turn::take().await?;
        let topology = Topology::parse(FLEET)?;
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
        let mut real =
            Self { folder, planes, hub, processes: BTreeMap::new(), tasks, fleet, _turn: turn };
        real.fleet.kubectl.run(&["apply", "--server-side", "-f", CRDS]).await?;
        real.start_hub()?;
        for (index, cluster) in topology.clusters.iter().enumerate() {
            real.run_nodes(index, cluster).await?;
            real.join(index, cluster).await?;
        }
        real.fleet.healthy().await.with_context(|| real.words("hub"))?;
        Ok(real)
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

    fn start_hub(&mut self) -> Result<()> {
        let kubeconfig = self.hub.kubeconfig();
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
        let mut join = Command::new(HANSE);
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

    /// Relay and gateway of a member.
    fn start_member(&mut self, index: usize, name: &str) -> Result<()> {
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
        let mut command = Command::new(HANSE);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        command.spawn().with_context(|| format!("{role} cannot be started"))
    }

    /// Ends a role as a crash would.
    async fn kill(&mut self, role: &str) -> Result<()> {
        self.processes.remove(role).context("it does not run")?.kill().await?;
        Ok(())
    }

    fn token(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.token"))
    }

    fn words(&self, role: &str) -> String {
        let path = self.folder.path().join(format!("{role}.log"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let tail: Vec<_> = text.lines().rev().take(60).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    async fn until_verdict(&self, member: &str, wanted: &str) -> Result<()> {
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

#[tokio::test(flavor = "multi_thread")]
async fn real_control_planes_are_a_federation_like_any_other() -> Result<()> {
    let Some(programs) = peers()? else {
        println!("skipped: HANSE_PEERS is not set");
        return Ok(());
    };
    let mut real = Real::start(&programs).await?;
    let fleet = real.fleet.clone();
    boutique::deploy(&fleet, "Divide").await.with_context(|| real.words("hub"))?;
    boutique::scale(&fleet, "frontend", 6).await?;
    boutique::delete(&fleet, "adservice", "cartservice").await?;
    let service = real.folder.path().join("service.yaml");
    std::fs::write(&service, SERVICE)?;
    fleet.kubectl.run(&["apply", "-f", &service.to_string_lossy()]).await?;
    let addresses = fleet.addresses("default", "frontend", 3).await?;
    for at in &addresses {
        let address = SocketAddr::new(at.address.parse()?, u16::try_from(at.port)?);
        let look = || async {
            let (status, cluster) = traffic::get(address).await?;
            ensure!(status == 200, "status {status}");
            Ok(cluster)
        };
        let own = |cluster: &String| *cluster == at.cluster;
        wait::until("the nearest cluster answers", LONG, look, own).await.with_context(|| {
            let (relay, gateway) =
                (format!("relay-{}", at.cluster), format!("gateway-{}", at.cluster));
            format!("{}\n{}\n{}", real.words("hub"), real.words(&relay), real.words(&gateway))
        })?;
    }
    api_server_alone_moves_nothing(&mut real).await?;
    hub_away_while_pods_are_replaced(&mut real, &addresses).await?;
    a_member_dies_and_returns(&mut real).await
}

async fn api_server_alone_moves_nothing(real: &mut Real) -> Result<()> {
    let before = real.fleet.spread("default", "frontend", |_| true).await?;
    let plane = real.planes.get_mut("gcp-us").context("a member")?;
    plane.kill_apiserver();
    real.until_verdict("gcp-us", "ControlLost").await?;
    hanse_rt::sleep(Duration::from_secs(15)).await;
    let others = |member: &str| member != "gcp-us";
    let during = real.fleet.spread("default", "frontend", others).await?;
    for (member, count) in &during {
        ensure!(before.get(member) == Some(count), "{before:?} became {during:?}");
    }
    real.planes.get_mut("gcp-us").context("a member")?.revive_apiserver().await?;
    real.until_verdict("gcp-us", "Healthy").await?;
    let after = real.fleet.spread("default", "frontend", |_| true).await?;
    ensure!(before == after, "{before:?} became {after:?}");
    Ok(())
}

/// Traffic follows pods that come and go while the hub is away, and nothing is moved.
async fn hub_away_while_pods_are_replaced(
    real: &mut Real,
    addresses: &[hanse_api::GlobalAddress],
) -> Result<()> {
    let before = real.fleet.spread("default", "frontend", |_| true).await?;
    real.kill("hub").await?;
    let near = addresses.first().context("an address")?;
    let address = SocketAddr::new(near.address.parse()?, u16::try_from(near.port)?);
    let client = traffic::Train::start(address, 20);
    for client in real.fleet.members.values() {
        replace_pods(client).await?;
    }
    hanse_rt::sleep(Duration::from_mins(1)).await;
    let outcome = client.stop().await?;
    ensure!(
        outcome.errors == 0,
        "{outcome:?}\n{}",
        real.words(&format!("gateway-{}", near.cluster))
    );
    real.start_hub()?;
    real.fleet.healthy().await.with_context(|| real.words("hub"))?;
    let after = real.fleet.spread("default", "frontend", |_| true).await?;
    ensure!(before == after, "{before:?} became {after:?}");
    Ok(())
}

/// Deletes the frontend's pods one by one, each after its successor is ready.
async fn replace_pods(client: &kube::Client) -> Result<()> {
    use k8s_openapi::api::core::v1::Pod;
    use kube::{Api, ResourceExt, api::ListParams};
    let api: Api<Pod> = Api::namespaced(client.clone(), "default");
    let all = ListParams::default().labels("app=frontend");
    let old: Vec<String> = api.list(&all).await?.iter().map(ResourceExt::name_any).collect();
    for name in &old {
        api.delete(name, &kube::api::DeleteParams::default()).await?;
        let look = || async {
            let pods = api.list(&all).await?;
            let ready = pods.iter().filter(|pod| hanse_tests_bodies::fleet::is_ready(pod));
            Ok(ready.filter(|pod| pod.name_any() != *name).count())
        };
        wait::until("the successor is ready", LONG, look, |ready| *ready >= old.len()).await?;
    }
    Ok(())
}

async fn a_member_dies_and_returns(real: &mut Real) -> Result<()> {
    let (lost, index) = ("gcp-us", 1);
    real.planes.get_mut(lost).context("a member")?.kill_apiserver();
    real.kill(&format!("gateway-{lost}")).await?;
    real.kill(&format!("relay-{lost}")).await?;
    real.until_verdict(lost, "Lost").await?;
    let frontend = ("default", "frontend", "app=frontend");
    loss::replaced(&real.fleet, frontend, 6, &[lost]).await.with_context(|| real.words("hub"))?;
    real.planes.get_mut(lost).context("a member")?.revive_apiserver().await?;
    real.start_member(index, lost)?;
    real.fleet.healthy().await.with_context(|| real.words("hub"))?;
    let settled = loss::settled(&real.fleet, ("default", "frontend"), 6).await;
    settled.map(drop).with_context(|| real.words("hub"))
}
