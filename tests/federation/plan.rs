//! Placement as a dry run: no hub, no sockets that anybody else could need.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::up::{Ran, hanse};

const FLEET: &str = "
hub: {provider: aws, region: eu}
clusters:
  - {name: aws-eu, provider: aws, region: eu, nodes: [{count: 1, cpu: '2', memory: 4Gi}]}
  - {name: gcp-us, provider: gcp, region: us, nodes: [{count: 1, cpu: '2', memory: 4Gi}]}
";
const WEB: &str = "
apiVersion: hanse.dev/v1alpha1
kind: PropagationPolicy
metadata: {name: all}
spec: {resourceSelectors: [{apiVersion: apps/v1, kind: Deployment}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1', resources: {requests: {cpu: '1'}}}]}
";

async fn plan(folder: &Path, manifests: &str, namespace: &str) -> Result<Ran> {
    let (fleet, web) = (folder.join("fleet.yaml"), folder.join("web.yaml"));
    std::fs::write(&fleet, FLEET)?;
    std::fs::write(&web, manifests)?;
    let (fleet, web) = (fleet.to_string_lossy(), web.to_string_lossy());
    let words = ["plan", "-n", namespace, "-f", &web, "--topology", &fleet, "-o", "json"];
    hanse(&words, None).await
}

#[tokio::test]
async fn a_plan_is_made_in_the_namespace_that_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ran = plan(folder.path(), &WEB.replace("REPLICAS", "3"), "shop").await?;
    ensure!(ran.code == 0, "{ran:?}");
    let bindings: Value = serde_json::from_str(&ran.stdout)?;
    let web = &bindings[0];
    ensure!(web["metadata"]["namespace"] == "shop", "{bindings:#}");
    let replicas = web["spec"]["clusters"].as_array().into_iter().flatten();
    let sum: i64 = replicas.filter_map(|cluster| cluster["replicas"].as_i64()).sum();
    ensure!(sum == 3, "{bindings:#}");
    let funnel = &web["explained"]["funnel"];
    ensure!(funnel["considered"] == 2 && funnel["outcome"]["reason"] == "Scheduled", "{funnel:#}");
    let rows = funnel["clusters"].as_array().into_iter().flatten();
    let gets: i64 = rows.filter_map(|row| row["count"].as_i64()).sum();
    ensure!(gets == 3, "{funnel:#}");
    let own = WEB.replace("REPLICAS", "3").replace("{name: web}", "{name: web, namespace: other}");
    let ran = plan(folder.path(), &own, "shop").await?;
    ensure!(ran.code == 1, "{ran:?}");
    let text = "Deployment/web is in namespace `other`, and -n says `shop`; leave one out";
    ensure!(ran.stderr.contains(text), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn a_plan_without_room_fails_and_says_what_is_missing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ran = plan(folder.path(), &WEB.replace("REPLICAS", "9"), "shop").await?;
    ensure!(ran.code == 1, "{ran:?}");
    ensure!(ran.stderr.contains("no room for Deployment/web in shop: "), "{ran:?}");
    ensure!(ran.stderr.contains("missing: cpu "), "{ran:?}");
    let bindings: Value = serde_json::from_str(&ran.stdout)?;
    let conditions = bindings[0]["status"]["conditions"].as_array().into_iter().flatten();
    let scheduled = conditions.into_iter().find(|condition| condition["type"] == "Scheduled");
    ensure!(scheduled.is_some_and(|condition| condition["status"] == "False"), "{bindings:#}");
    Ok(())
}
