//! Every bad input gets an error that names the field, the value and the remedy.

use anyhow::{Result, bail, ensure};
use hanse_tests_bodies::Fleet;

use crate::up::{Up, hanse};

/// Applies a manifest that must be refused, and returns what kubectl says.
async fn refused(fleet: &Fleet, up: &Up, manifest: &str) -> Result<String> {
    let path = up.data().join("refused.yaml");
    std::fs::write(&path, manifest)?;
    match fleet.kubectl.run(&["apply", "-f", &path.to_string_lossy()]).await {
        Ok(text) => bail!("accepted: {text}"),
        Err(error) => Ok(error.to_string()),
    }
}

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: hanse.dev/v1alpha1\nkind: PropagationPolicy\nmetadata: {{name: p}}\nspec:\n  \
         resourceSelectors: [{{apiVersion: apps/v1, kind: Deployment}}]\n{spec}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_refused_when_they_are_applied() -> Result<()> {
    let (up, fleet) = Up::start().await?;
    let text = refused(&fleet, &up, &policy("  colour: blue")).await?;
    ensure!(text.contains(r#"unknown field "spec.colour""#), "{text}");
    let bounds = "  placement: {replicas: {bounds: [{min: 5, max: 2}]}}";
    let text = refused(&fleet, &up, &policy(bounds)).await?;
    ensure!(text.contains("min is above max: write a min that is at most max"), "{text}");
    let weights = "  placement: {replicas: {strategy: Weighted, weights: [{weight: 0}]}}";
    let text = refused(&fleet, &up, &policy(weights)).await?;
    ensure!(text.contains("spec.placement.replicas.weights[0].weight"), "{text}");
    let cluster = "apiVersion: hanse.dev/v1alpha1\nkind: ClusterPropagationPolicy\n\
                   metadata: {name: p}\nspec:\n  \
                   resourceSelectors: [{apiVersion: apps/v1, kind: Deployment}]\n";
    let text = refused(&fleet, &up, cluster).await?;
    ensure!(text.contains("this kind lives in namespaces: write namespaces: [names]"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_federation_is_told_what_is_taken() -> Result<()> {
    let (up, _fleet) = Up::start().await?;
    let data = up.data();
    let data = data.to_string_lossy();
    let second = hanse(&["up", "--listen", "127.0.0.1:0", "--data", &data], None).await?;
    ensure!(second.code == 1, "{second:?}");
    ensure!(second.stderr.contains("runs with the data directory"), "{second:?}");
    let taken = hanse_rt::net::listen("127.0.0.1:0".parse()?)?;
    let port = taken.local_addr()?.to_string();
    let other = tempfile::tempdir()?;
    let other = other.path().to_string_lossy().into_owned();
    let second = hanse(&["up", "--listen", &port, "--data", &other], None).await?;
    ensure!(second.code == 1, "{second:?}");
    let text =
        format!("{port} cannot be listened on; choose another address with --listen IP:PORT");
    ensure!(second.stderr.contains(&text), "{second:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_reported_and_left_as_it_is() -> Result<()> {
    let (mut up, _fleet) = Up::start().await?;
    up.end().await?;
    let store = up.data().join("hub.redb");
    std::fs::write(&store, b"this is no store")?;
    let data = up.data();
    let again = ["up", "--listen", "127.0.0.1:0", "--data", &data.to_string_lossy()];
    let ran = hanse(&again, None).await?;
    ensure!(ran.code == 1, "{ran:?}");
    ensure!(ran.stderr.contains("is damaged"), "{ran:?}");
    ensure!(std::fs::read(&store)? == b"this is no store", "it was overwritten");
    Ok(())
}

#[tokio::test]
async fn a_broken_topology_file_is_refused_by_path() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("t.yaml");
    let text = "hub: {provider: a, region: x}\n\
                clusters: [{name: c, provider: a, region: r, nodes: []}]";
    std::fs::write(&path, text)?;
    let ran = hanse(&["topology", "check", &path.to_string_lossy()], None).await?;
    ensure!(ran.code == 1, "{ran:?}");
    let said = "hub.region: unknown region `x`; the clusters are in r";
    ensure!(ran.stderr.contains(said), "{ran:?}");
    Ok(())
}
