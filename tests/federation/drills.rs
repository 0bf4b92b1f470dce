//! Drills prove what they say, and say when something could not be proved.

use anyhow::{Context as _, Result, ensure};
use hanse_tests_bodies::{Fleet, fleet::LONG, loss, wait};
use serde_json::Value;

use crate::{
    endpoint,
    up::{Ran, Up},
};

/// A drill with bounds that a debug build on a busy machine keeps: figures are for benchmarks.
const DRILL: &str = r#"{
  "apiVersion": "hanse.dev/v1alpha1", "kind": "Drill", "metadata": {"name": "NAME"},
  "spec": {
    "target": TARGET, "durationSeconds": 20,
    "pass": {"maxErrorsPerMillion": 20000, "maxShiftMilliseconds": 8000},
    "probe": [{"globalService": "shop/frontend", "ratePerSecond": 50}]
  }
}"#;

async fn drill(up: &Up, fleet: &Fleet, name: &str, target: &str) -> Result<Value> {
    let path = up.data().join(format!("{name}.json"));
    std::fs::write(&path, DRILL.replace("NAME", name).replace("TARGET", target))?;
    fleet.kubectl.run(&["create", "-f", &path.to_string_lossy()]).await?;
    let look = || async {
        let text = fleet.kubectl.run(&["get", "drill", name, "-o", "json"]).await?;
        Ok(serde_json::from_str::<Value>(&text)?)
    };
    let judged = |drill: &Value| drill["status"]["verdict"].is_string();
    wait::until("a verdict", LONG * 4, look, judged).await.with_context(|| up.words())
}

/// A second drill, started while another one runs. Its target is another one: what the first took
/// away may stay away.
async fn on_paper_behind(up: &Up, fleet: &Fleet, other: &str) -> Result<Ran> {
    let started = ["get", "drill", other, "-o", "jsonpath={.status.startedAt}"];
    let look = async || fleet.kubectl.run(&started).await;
    wait::until("the first drill runs", LONG, look, |at: &String| !at.is_empty()).await?;
    up.hanse(&["drill", "run", "--region", "eu-west-1", "--fault", "Simulate"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_taken_out_is_replaced_elsewhere_and_put_back() -> Result<()> {
    let (up, fleet) = Up::start().await?;
    endpoint::shop(&fleet).await?;
    let (done, paper) = futures::join!(
        drill(&up, &fleet, "region", r#"{"region": "us-east1"}"#),
        on_paper_behind(&up, &fleet, "region"),
    );
    let (done, paper) = (done?, paper?);
    ensure!(paper.code == 0, "{paper:?}");
    ensure!(paper.stderr.contains("waits for drill region, which runs"), "{paper:?}");
    let text = "no request was sent, nothing was touched";
    ensure!(paper.stdout.contains(text), "{paper:?}");
    ensure!(paper.stdout.contains("- Deployment/frontend in shop: "), "{paper:?}");
    ensure!(done["status"]["verdict"] == "Passed", "{done:#}");
    let measured = &done["status"]["measured"];
    ensure!(measured["requests"].as_i64() > Some(500), "{measured:#}");
    ensure!(measured["detectedMilliseconds"].is_number(), "{measured:#}");
    ensure!(measured["replacedMilliseconds"]["max"].is_number(), "{measured:#}");
    loss::settled(&fleet, ("shop", "frontend"), 9).await?;
    let report = up.must(&["drill", "report", "region"]).await?;
    ensure!(report.starts_with("# Drill region: Passed"), "{report}");
    // Every region has pods of its own here, so that nobody elsewhere used the target.
    ensure!(measured["usedTargetBefore"] == 0, "{measured:#}");
    ensure!(report.contains("shift not exercised"), "{report}");
    let list = up.must(&["drill", "list"]).await?;
    ensure!(list.contains("Isolate") && list.contains("Passed"), "{list}");
    Ok(())
}

const FULL: &str = "
hub: {provider: aws, region: eu}
clusters:
  - {name: aws-eu, provider: aws, region: eu, nodes: [{count: 1, cpu: '2', memory: 4Gi}]}
  - {name: gcp-us, provider: gcp, region: us, nodes: [{count: 1, cpu: '2', memory: 4Gi}]}
  - {name: az-asia, provider: azure, region: asia, nodes: [{count: 1, cpu: '2', memory: 4Gi}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_without_room_elsewhere_fails_by_name_and_touches_nothing_healthy() -> Result<()> {
    let (up, fleet) = Up::start_with(Some(FULL)).await?;
    endpoint::shop(&fleet).await?;
    let scale = ["-n", "shop", "scale", "deployment", "frontend", "--replicas=15"];
    fleet.kubectl.run(&scale).await?;
    let rollout = ["-n", "shop", "rollout", "status", "deployment/frontend", "--timeout=60s"];
    fleet.kubectl.run(&rollout).await?;
    let before = fleet.spread("shop", "frontend", |member| member != "gcp-us").await?;
    let paper = ["drill", "run", "--region", "us", "--fault", "Simulate", "-o", "json"];
    let paper = up.hanse(&paper).await?;
    ensure!(paper.code == 1, "{paper:?}\n{}", up.words());
    let paper: Value = serde_json::from_str(&paper.stdout)?;
    let planned = &paper["status"]["perWorkload"][0];
    ensure!(planned["missing"]["cpu"].is_string(), "{paper:#}");
    let run = ["drill", "run", "--region", "us", "--duration", "15s", "--rate", "30", "-o", "json"];
    let ran = up.hanse(&run).await?;
    ensure!(ran.code == 1, "{ran:?}\n{}", up.words());
    let done: Value = serde_json::from_str(&ran.stdout)?;
    ensure!(done["status"]["verdict"] == "Failed", "{done:#}");
    let work = &done["status"]["perWorkload"][0];
    ensure!(work["shortfall"].as_i64() > Some(0), "{done:#}");
    ensure!(work["missing"]["cpu"].is_string(), "{done:#}");
    let short = |work: &Value| (work["binding"].clone(), work["shortfall"].clone());
    ensure!(short(work) == short(planned), "planned was {paper:#}, it became {done:#}");
    let after = fleet.spread("shop", "frontend", |member| member != "gcp-us").await?;
    for (member, count) in &before {
        ensure!(after.get(member) >= Some(count), "{member}: {before:?} became {after:?}");
    }
    Ok(())
}
