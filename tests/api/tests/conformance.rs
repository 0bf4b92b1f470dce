//! The body of API tests on each arm.

use anyhow::Result;
use hanse_tests_api::{Arm, Embedded, all, conform, divergences};
use hanse_tests_kubernetes::{ControlPlane, Controllers, peers};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

fn provider() {
    // Whoever was first in this process is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_server_conforms() -> Result<()> {
    provider();
    let server = Embedded::start()?;
    conform(server.client().await?, Arm::Embedded).await?;
    server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_conforms() -> Result<()> {
    provider();
    if let Some(path) = std::env::var_os("HANSE_TEST_KUBECONFIG") {
        let kubeconfig = Kubeconfig::read_from(path)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        return conform(Client::try_from(config)?, Arm::Real).await;
    }
    let Some(programs) = peers()? else {
        println!("skipped: neither HANSE_TEST_KUBECONFIG nor HANSE_PEERS is set");
        return Ok(());
    };
    let plane = ControlPlane::start("api", 61, Controllers::Hub, &programs).await?;
    conform(plane.client().await?, Arm::Real).await
}

#[test]
fn every_divergence_names_a_case() {
    for known in divergences::KNOWN {
        assert!(all().iter().any(|case| case.name == known.case), "{}", known.case);
        assert!(!known.why.is_empty());
    }
}
