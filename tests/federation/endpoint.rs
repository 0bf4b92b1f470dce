//! One address: answered by the nearest cluster that can.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use hanse_tests_bodies::{Fleet, fleet::LONG, traffic, wait};

use crate::up::Up;

const SHOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/examples/shop/");

/// Applies the sample shop and waits until its endpoint is served by every cluster's gateway.
pub(crate) async fn shop(fleet: &Fleet) -> Result<Vec<(String, SocketAddr)>> {
    fleet.kubectl.run(&["apply", "-f", SHOP]).await?;
    let rollout = ["-n", "shop", "rollout", "status", "deployment/frontend", "--timeout=60s"];
    fleet.kubectl.run(&rollout).await?;
    let addresses = fleet.addresses("shop", "frontend", fleet.members.len()).await?;
    addresses
        .into_iter()
        .map(|at| {
            let port = u16::try_from(at.port)?;
            Ok((at.cluster, SocketAddr::new(at.address.parse()?, port)))
        })
        .collect()
}

/// Who answers at an address, once it is one of those that may.
pub(crate) async fn answered_by(
    address: SocketAddr,
    expected: impl Fn(&str) -> bool,
) -> Result<String> {
    let look = || async {
        let (status, cluster) = traffic::get(address).await?;
        ensure!(status == 200, "status {status}");
        Ok(cluster)
    };
    let expected = |cluster: &String| expected(cluster);
    wait::until("the expected cluster answers", LONG, look, expected).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gateway_answers_from_its_own_cluster_and_skips_one_without_endpoints() -> Result<()> {
    let (_up, fleet) = Up::start().await?;
    let addresses = shop(&fleet).await?;
    for (cluster, address) in &addresses {
        answered_by(*address, |answered| answered == cluster).await?;
    }
    let (near, address) = addresses.first().context("no address")?;
    ensure!(near.starts_with("aws-eu-west-1"), "{near} is not near the hub");
    let policy = format!(
        r#"{{"spec":{{"placement":{{"clusters":[{{"exclude":["{near}"]}}],"replicas":{{"steady":false}}}}}}}}"#
    );
    let patch = ["-n", "shop", "patch", "pp", "shop", "--type=merge", "-p", &policy];
    fleet.kubectl.run(&patch).await?;
    let neighbour = answered_by(*address, |answered| answered != near).await?;
    ensure!(neighbour.starts_with("aws-eu-west-1"), "{neighbour} answered for {near}");
    Ok(())
}
