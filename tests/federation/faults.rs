//! Members die, are cut off, and the hub is: traffic and replicas follow, nothing is doubled.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hanse_tests_bodies::{fleet::LONG, loss, traffic, wait};

use crate::{endpoint, up::Up};

const FRONTEND: (&str, &str, &str) = ("shop", "frontend", "app=frontend");
const REPLICAS: usize = 9;

async fn a_lost_cluster_is_replaced_and_returns(fault: &str) -> Result<()> {
    let (up, fleet) = Up::start().await?;
    let addresses = endpoint::shop(&fleet).await?;
    let lost = "gcp-us-east1-b";
    let elsewhere = addresses.iter().find(|(cluster, _)| cluster == "gcp-us-east1-c");
    let (_, address) = *elsewhere.context("the neighbour has no address")?;
    let client = traffic::Train::start(address, 50);
    up.must(&["fault", "set", lost, fault]).await?;
    loss::replaced(&fleet, FRONTEND, REPLICAS, &[lost]).await.with_context(|| up.words())?;
    let outcome = client.stop().await?;
    // The neighbour has replicas of its own: its clients should not notice.
    ensure!(outcome.errors == 0, "{outcome:?}\n{}", up.words());
    up.must(&["fault", "clear", lost]).await?;
    fleet.healthy().await?;
    loss::settled(&fleet, (FRONTEND.0, FRONTEND.1), 9).await.with_context(|| up.words())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_cluster_is_replaced_and_nothing_is_doubled_when_it_returns() -> Result<()> {
    a_lost_cluster_is_replaced_and_returns("kill").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blackholed_cluster_is_replaced_and_nothing_is_doubled_when_it_returns() -> Result<()> {
    a_lost_cluster_is_replaced_and_returns("blackhole").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_cut_off_from_every_member_moves_nothing_and_says_so() -> Result<()> {
    let (up, fleet) = Up::start().await?;
    let addresses = endpoint::shop(&fleet).await?;
    let before = fleet.spread("shop", "frontend", |_| true).await?;
    for member in fleet.members.keys() {
        up.must(&["fault", "set", member, "cut-link", "hub"]).await?;
    }
    let connected = |status: &'static str| {
        let fleet = fleet.clone();
        async move {
            let path = "jsonpath={.status.conditions[?(@.type=='Connected')].status}";
            let look =
                async || fleet.kubectl.run(&["get", "federation", "default", "-o", path]).await;
            wait::until("Connected", LONG, look, |seen: &String| seen == status).await
        }
    };
    connected("False").await?;
    // Longer than any time-out that could tempt the hub to act.
    hanse_rt::sleep(Duration::from_mins(1)).await;
    let during = fleet.spread("shop", "frontend", |_| true).await?;
    ensure!(before == during, "{before:?} became {during:?}");
    for (cluster, address) in &addresses {
        endpoint::answered_by(*address, |answered| answered == cluster).await?;
    }
    for member in fleet.members.keys() {
        up.must(&["fault", "clear", member]).await?;
    }
    connected("True").await?;
    fleet.healthy().await?;
    let after = fleet.spread("shop", "frontend", |_| true).await?;
    ensure!(before == after, "{before:?} became {after:?}");
    Ok(())
}
