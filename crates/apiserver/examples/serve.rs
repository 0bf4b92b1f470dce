//! Serves an empty cluster on a TLS listener and writes a kubeconfig for it:
//! `cargo run -p hanse-apiserver --example serve -- FOLDER [durable]`. The store of a durable one
//! is `FOLDER/store.redb`. It ends when its standard input does.
#![expect(clippy::print_stdout, reason = "an example talks to a person")]

use std::{io::Read as _, net::SocketAddr, path::PathBuf, time::Duration};

use hanse_apiserver::{ApiServer, TlsConfig, Tokens};
use hanse_rt::{TaskSet, disk, net, rng};
use rcgen::{CertificateParams, KeyPair, SanType};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("name a folder")?);
    let durable = arguments.next().as_deref() == Some("durable");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    let loopback = SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
    params.subject_alt_names.push(loopback);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    let mut builder = ApiServer::builder().root_ca(&certificate);
    if durable {
        builder = builder.durable(folder.join("store.redb"));
    }
    let server = builder.build()?;
    let tasks = TaskSet::new("example");
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
    let authority = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &certificate);
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "hanse",
        "clusters": [{"name": "hanse", "cluster": {
            "server": format!("https://{address}"),
            "certificate-authority-data": authority,
        }}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "hanse", "context": {"cluster": "hanse", "user": "admin"}}],
    });
    let path = folder.join("kubeconfig");
    disk::write_atomically(&path, config.to_string().as_bytes())?;
    println!("{}", path.display());
    let (sender, ended) = tokio::sync::oneshot::channel();
    disk::thread("input", move || {
        let mut rest = Vec::new();
        drop(std::io::stdin().read_to_end(&mut rest));
        sender.send(()).unwrap_or_default();
    })?;
    drop(ended.await);
    tasks.drain(Duration::from_secs(2)).await;
    Ok(())
}
