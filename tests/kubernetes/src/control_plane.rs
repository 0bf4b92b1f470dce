//! One control plane: starts its processes, waits until it is ready, ends them when dropped.

use std::{
    collections::BTreeMap,
    fs::File,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tempfile::TempDir;

/// The administrator's token of every test control plane.
const TOKEN: &str = "test-administrator";
/// The first start reads cold binaries; later ones take 3 s.
const READY: Duration = Duration::from_mins(2);

/// Which controllers the controller manager runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Controllers {
    /// Those of an ordinary cluster.
    Member,
    /// Those of a hub with native templates: nothing that runs workloads.
    Hub,
}

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    name: String,
    ip: Ipv4Addr,
    folder: TempDir,
    programs: PathBuf,
    controllers: Controllers,
    etcd: Process,
    apiserver: Option<Process>,
    manager: Option<Process>,
}

/// A child process that ends with its owner.
#[derive(Debug)]
struct Process(Child);

impl Process {
    fn ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The folder with the programs: `HANSE_PEERS`. None when it is not set, outside of continuous
/// integration; there it is an error.
///
/// # Errors
/// When tests run in continuous integration without the programs.
pub fn peers() -> Result<Option<PathBuf>> {
    match std::env::var_os("HANSE_PEERS") {
        Some(folder) => Ok(Some(PathBuf::from(folder))),
        None if std::env::var_os("CI").is_some() => {
            bail!("HANSE_PEERS is not set; run the tests by `cargo xtask test`")
        }
        None => Ok(None),
    }
}

impl ControlPlane {
    /// Starts a control plane on 127.10.`number`.1.
    ///
    /// # Errors
    /// When a program is missing, does not start, or is not ready in time; its log is quoted.
    pub async fn start(
        name: &str,
        number: u8,
        controllers: Controllers,
        programs: &Path,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let ip = Ipv4Addr::new(127, 10, number, 1);
        write_keys(folder.path())?;
        let etcd = start_etcd(folder.path(), ip, programs)?;
        let mut plane = Self {
            name: name.to_owned(),
            ip,
            folder,
            programs: programs.to_owned(),
            controllers,
            etcd,
            apiserver: None,
            manager: None,
        };
        plane.start_apiserver()?;
        plane.ready().await?;
        plane.write_kubeconfig()?;
        plane.start_manager()?;
        Ok(plane)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kubeconfig, with the authority's certificate and a token inside.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// A client of its API.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(Client::try_from(config)?)
    }

    /// Ends the API server at once, as a crash would; etcd keeps what it acknowledged.
    pub fn kill_apiserver(&mut self) {
        self.apiserver = None;
    }

    /// Starts the API server again after [`ControlPlane::kill_apiserver`].
    ///
    /// # Errors
    /// When it is not ready in time.
    pub async fn revive_apiserver(&mut self) -> Result<()> {
        self.start_apiserver()?;
        self.ready().await
    }

    /// Ids of its processes by what they are: `etcd`, `API server`, `controller manager`.
    pub fn process_ids(&self) -> BTreeMap<&'static str, u32> {
        let all = [
            ("etcd", Some(&self.etcd)),
            ("API server", self.apiserver.as_ref()),
            ("controller manager", self.manager.as_ref()),
        ];
        all.into_iter().filter_map(|(name, process)| Some((name, process?.0.id()))).collect()
    }

    fn start_apiserver(&mut self) -> Result<()> {
        let at = |name: &str| self.folder.path().join(name).to_string_lossy().into_owned();
        let arguments = [
            format!("--etcd-servers=http://{}:2379", self.ip),
            format!("--bind-address={}", self.ip),
            format!("--advertise-address={}", self.ip),
            "--secure-port=6443".to_owned(),
            format!("--cert-dir={}", at("certs")),
            format!("--token-auth-file={}", at("tokens")),
            format!("--service-account-key-file={}", at("accounts.pub")),
            format!("--service-account-signing-key-file={}", at("accounts.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/12".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
        ];
        let log = self.folder.path().join("apiserver.log");
        self.apiserver = Some(spawn(&self.programs.join("kube-apiserver"), &arguments, &log)?);
        Ok(())
    }

    fn start_manager(&mut self) -> Result<()> {
        let controllers = match self.controllers {
            Controllers::Member => {
                "*,-node-ipam-controller,-node-route-controller,-service-lb-controller"
            }
            Controllers::Hub => {
                "namespace-controller,garbage-collector-controller,\
                 serviceaccount-token-controller,ttl-after-finished-controller,\
                 clusterrole-aggregation-controller"
            }
        };
        let at = |name: &str| self.folder.path().join(name).to_string_lossy().into_owned();
        let arguments = [
            format!("--kubeconfig={}", at("kubeconfig")),
            format!("--service-account-private-key-file={}", at("accounts.key")),
            format!("--bind-address={}", self.ip),
            "--leader-elect=false".to_owned(),
            "--use-service-account-credentials=false".to_owned(),
            format!("--controllers={controllers}"),
            // A member's own pace shall not bound what is measured.
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=200".to_owned(),
            "--concurrent-deployment-syncs=20".to_owned(),
            "--concurrent-replicaset-syncs=20".to_owned(),
        ];
        let log = self.folder.path().join("manager.log");
        let program = self.programs.join("kube-controller-manager");
        self.manager = Some(spawn(&program, &arguments, &log)?);
        Ok(())
    }

    async fn ready(&mut self) -> Result<()> {
        let deadline = hanse_rt::Mono::now() + READY;
        while !self.answers().await {
            let ended = self.apiserver.as_mut().is_none_or(Process::ended);
            if ended || hanse_rt::Mono::now() > deadline {
                let log = std::fs::read_to_string(self.folder.path().join("apiserver.log"))?;
                let tail: Vec<_> = log.lines().rev().take(20).collect();
                bail!("the API server of {} is not ready:\n{}", self.name, tail.join("\n"));
            }
            hanse_rt::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn answers(&self) -> bool {
        let Ok(certificate) = std::fs::read(self.folder.path().join("certs/apiserver.crt")) else {
            return false;
        };
        let Ok(kubeconfig) = self.render_kubeconfig(&certificate) else {
            return false;
        };
        let Ok(kubeconfig) = Kubeconfig::from_yaml(&kubeconfig) else {
            return false;
        };
        let options = KubeConfigOptions::default();
        let Ok(mut config) = Config::from_custom_kubeconfig(kubeconfig, &options).await else {
            return false;
        };
        config.connect_timeout = Some(Duration::from_secs(1));
        let Ok(client) = Client::try_from(config) else {
            return false;
        };
        let request = kube::api::Request::new("/readyz").list(&kube::api::ListParams::default());
        let Ok(request) = request else { return false };
        let answer = hanse_rt::timeout(Duration::from_secs(2), client.request_text(request)).await;
        matches!(answer, Ok(Ok(text)) if text == "ok")
    }

    fn write_kubeconfig(&self) -> Result<()> {
        let certificate = std::fs::read(self.folder.path().join("certs/apiserver.crt"))?;
        std::fs::write(self.kubeconfig(), self.render_kubeconfig(&certificate)?)?;
        Ok(())
    }

    fn render_kubeconfig(&self, certificate: &[u8]) -> Result<String> {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        let cluster = serde_json::json!({
            "server": format!("https://{}:6443", self.ip),
            "certificate-authority-data": BASE64_STANDARD.encode(certificate),
        });
        let file = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": self.name,
            "clusters": [{"name": self.name, "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": self.name, "context": {"cluster": self.name, "user": "admin"}}],
        });
        Ok(serde_json::to_string_pretty(&file)?)
    }
}

fn write_keys(folder: &Path) -> Result<()> {
    std::fs::write(folder.join("tokens"), format!("{TOKEN},admin,admin,system:masters\n"))?;
    let key = rcgen::KeyPair::generate().context("a key for service accounts")?;
    std::fs::write(folder.join("accounts.key"), key.serialize_pem())?;
    std::fs::write(folder.join("accounts.pub"), key.public_key_pem())?;
    Ok(())
}

fn start_etcd(folder: &Path, ip: Ipv4Addr, programs: &Path) -> Result<Process> {
    let arguments = [
        format!("--data-dir={}", folder.join("etcd").to_string_lossy()),
        format!("--listen-client-urls=http://{ip}:2379"),
        format!("--advertise-client-urls=http://{ip}:2379"),
        format!("--listen-peer-urls=http://{ip}:2380"),
        format!("--initial-advertise-peer-urls=http://{ip}:2380"),
        format!("--initial-cluster=default=http://{ip}:2380"),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    spawn(&programs.join("etcd"), &arguments, &folder.join("etcd.log"))
}

fn spawn(program: &Path, arguments: &[String], log: &Path) -> Result<Process> {
    let log = File::options().create(true).append(true).open(log)?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    Ok(Process(child))
}
