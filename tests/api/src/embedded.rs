//! The embedded server on a TLS listener, for tests.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Result;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hanse_apiserver::{ApiServer, TlsConfig, Tokens};
use hanse_rt::{TaskSet, disk, net, rng};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use rcgen::{CertificateParams, KeyPair, SanType};
use serde_json::json;
use tempfile::TempDir;

/// A server that listens on loopback; it ends with this value's tasks.
#[derive(Debug)]
pub struct Embedded {
    folder: TempDir,
    tasks: TaskSet,
}

impl Embedded {
    /// Starts an empty server.
    ///
    /// # Errors
    /// When keys, listener or files cannot be made.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        let loopback = std::net::Ipv4Addr::LOCALHOST.into();
        params.subject_alt_names.push(SanType::IpAddress(loopback));
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        let server = ApiServer::builder().root_ca(&certificate).build()?;
        let tasks = TaskSet::new("test");
        server.run(&tasks);
        let listener = net::listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = listener.local_addr()?;
        let token = rng::secret_token();
        let tls = TlsConfig {
            certificate: certificate.clone(),
            key: key.serialize_pem(),
            client_authority: None,
        };
        let tokens = Tokens::new().with(&token, "system:admin", &["system:masters"]);
        server.serve(&tasks, listener, &tls, tokens)?;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{ "name": "test", "cluster": {
                "server": format!("https://{address}"),
                "certificate-authority-data": BASE64_STANDARD.encode(&certificate),
            }}],
            "users": [{ "name": "test", "user": { "token": token } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        });
        let made = Self { folder, tasks };
        disk::write_atomically(&made.kubeconfig(), config.to_string().as_bytes())?;
        Ok(made)
    }

    /// Its kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// A client over TLS.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(Client::try_from(config)?)
    }

    /// Ends the server.
    pub async fn stop(self) {
        self.tasks.drain(Duration::from_secs(2)).await;
    }
}
