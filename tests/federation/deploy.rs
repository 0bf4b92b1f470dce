//! Ordinary manifests in, replicas in members out.

use anyhow::{Result, ensure};
use hanse_tests_bodies::boutique;

use crate::up::Up;

#[tokio::test(flavor = "multi_thread")]
async fn a_published_application_is_divided_scaled_and_deleted() -> Result<()> {
    let (mut up, fleet) = Up::start().await?;
    boutique::deploy(&fleet, "Divide").await?;
    boutique::scale(&fleet, "frontend", 7).await?;
    let status = up.must(&["status"]).await?;
    ensure!(status.contains("aws-eu-west-1a"), "{status}");
    let tree = up.must(&["tree", "deployment/frontend"]).await?;
    ensure!(tree.contains("7 replicas"), "{tree}");
    let explain = up.must(&["explain", "deployment/frontend"]).await?;
    ensure!(explain.contains("considered  6 clusters"), "{explain}");
    ensure!(explain.contains("division    7 replicas, divided by free room"), "{explain}");
    let explain = up.must(&["explain", "service/frontend"]).await?;
    ensure!(explain.contains("follows     Deployment/frontend: it goes wherever"), "{explain}");
    boutique::delete(&fleet, "frontend", "cartservice").await?;
    ensure!(up.end().await? == Some(0), "{}", up.words());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicated_application_runs_whole_in_every_cluster() -> Result<()> {
    let (_up, fleet) = Up::start().await?;
    boutique::deploy(&fleet, "Duplicate").await
}
