//! The hub explains what it did, and says what a changed policy would do without doing it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use hanse_tests_bodies::{Fleet, fleet::LONG, wait};
use serde_json::Value;

use crate::up::Up;

const POLICY: &str = "
apiVersion: hanse.dev/v1alpha1
kind: PropagationPolicy
metadata: {name: web, namespace: default}
spec:
  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment}]
  placement:
    clusters: [{names: [NAMES]}]
";
const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 6
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: registry.example/web:1
          envFrom: [{configMapRef: {name: settings}}]
          resources: {requests: {cpu: 100m, memory: 64Mi}}
";
const HERE: &str = "aws-eu-west-1a, gcp-us-east1-b";
const THERE: &str = "aws-eu-west-1a, gcp-us-east1-c";

async fn deployed() -> Result<(Up, Fleet, tempfile::TempDir)> {
    let (up, fleet) = Up::start().await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("web.yaml");
    std::fs::write(&path, format!("{}\n---\n{DEPLOYMENT}", POLICY.replace("NAMES", HERE)))?;
    fleet.kubectl.run(&["apply", "-f", &path.to_string_lossy()]).await?;
    let spread = async || fleet.spread("default", "web", |_| true).await;
    wait::until("6 replicas", LONG, spread, |spread| spread.values().sum::<i32>() == 6).await?;
    Ok((up, fleet, folder))
}

async fn diff(up: &Up, folder: &Path, names: &str, form: &str) -> Result<(i32, String, String)> {
    let path = folder.join("changed.yaml");
    std::fs::write(&path, POLICY.replace("NAMES", names))?;
    let ran = up.hanse(&["plan", "--diff", "-f", &path.to_string_lossy(), "-o", form]).await?;
    Ok((ran.code, ran.stdout, ran.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_explains_its_decision_and_what_another_policy_would_move() -> Result<()> {
    let (up, fleet, folder) = deployed().await?;
    let text = up.must(&["explain", "deployment/web", "-o", "json"]).await?;
    let explained: Value = serde_json::from_str(&text)?;
    let funnel = &explained["funnel"];
    ensure!(funnel["considered"] == 6, "{explained:#}");
    let rejected = &funnel["rejected"][0];
    ensure!(rejected["reason"] == "NotSelected" && rejected["count"] == 4, "{funnel:#}");
    let rows = funnel["clusters"].as_array().context("rows")?;
    let sum = |field: &str| rows.iter().filter_map(|row| row[field].as_i64()).sum::<i64>();
    ensure!(rows.len() == 2 && sum("held") == 6 && sum("count") == 6, "{funnel:#}");
    ensure!(rows.iter().all(|row| row["fits"].as_i64() > Some(0)), "{funnel:#}");
    let picture = up.must(&["explain", "deployment/web", "-o", "svg"]).await?;
    ensure!(picture.starts_with("<svg ") && picture.contains("gcp-us-east1-b"), "{picture}");

    let (code, text, errors) = diff(&up, folder.path(), HERE, "table").await?;
    ensure!(code == 0 && text.starts_with("nothing would change"), "{code} {text} {errors}");
    let (code, text, errors) = diff(&up, folder.path(), THERE, "json").await?;
    ensure!(code == 4, "{code} {text} {errors}");
    let changes: Value = serde_json::from_str(&text)?;
    let steps = changes["workloads"][0]["steps"].as_array().context("steps")?;
    let left: i64 = steps.iter().filter_map(|step| step["replicas"].as_i64()).sum();
    let held = rows.iter().find(|row| row["name"] == "gcp-us-east1-b").context("b")?;
    ensure!(Some(left) == held["held"].as_i64(), "{changes:#}");
    ensure!(steps.iter().all(|step| step["from"] == "gcp-us-east1-b"), "{changes:#}");
    let why = "no entry of placement.clusters selects gcp-us-east1-b";
    ensure!(steps.iter().all(|step| step["why"] == why), "{changes:#}");
    let (code, text, errors) = diff(&up, folder.path(), "nowhere", "table").await?;
    ensure!(code == 1 && text.contains("what stands stays"), "{code} {text} {errors}");

    // Nothing of it was done.
    let spread = fleet.spread("default", "web", |_| true).await?;
    let still: i32 = spread.values().sum();
    ensure!(!spread.contains_key("gcp-us-east1-c") && still == 6, "{spread:?}");
    Ok(())
}
