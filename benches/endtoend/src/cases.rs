//! What is measured, as the peer was: the same work on control planes of the same make.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use hanse_rt::Mono;
use hanse_tests_bodies::{Fleet, boutique};
use hanse_tests_kubernetes::Real;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::{Row, watch::Watches};

const LIMIT: Duration = Duration::from_mins(5);
const POLICY: &str = "
apiVersion: hanse.dev/v1alpha1
kind: PropagationPolicy
metadata: {name: bench, namespace: default}
spec:
  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, labelSelector: {matchLabels: {bench: 'yes'}}}]
";

/// Makes the policy of all single Deployments.
pub(crate) async fn policy(real: &Real) -> Result<()> {
    let file = real.folder().join("policy.yaml");
    std::fs::write(&file, POLICY)?;
    real.fleet.kubectl.run(&["apply", "-f", &file.to_string_lossy()]).await.map(drop)
}

fn deployment(name: &str, replicas: i32, paused: bool) -> Result<Deployment> {
    let labels = json!({"app": name, "bench": "yes"});
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": replicas, "paused": paused,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "example.com/main:1",
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}]}}}}))?)
}

async fn create(fleet: &Fleet, name: &str, replicas: i32, paused: bool) -> Result<Mono> {
    let api: Api<Deployment> = Api::namespaced(fleet.hub.clone(), "default");
    api.create(&PostParams::default(), &deployment(name, replicas, paused)?).await?;
    Ok(Mono::now())
}

async fn delete(fleet: &Fleet, name: &str) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(fleet.hub.clone(), "default");
    api.delete(name, &DeleteParams::default()).await?;
    Ok(())
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

/// One Deployment of six replicas, again and again.
pub(crate) async fn one(real: &Real, watches: &Watches, times: u32) -> Result<Vec<Row>> {
    let (mut members, mut status, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..times {
        let name = vec![format!("one-{turn}")];
        let accepted = create(&real.fleet, &name[0], 6, false).await?;
        let everywhere = watches
            .until("in all members", &name, LIMIT, |places| watches.is_everywhere(places, 6))
            .await?;
        let ready = watches
            .until("ready in members", &name, LIMIT, |places| Watches::is_ready(places, 6))
            .await?;
        let reported = watches
            .until("reported on the hub", &name, LIMIT, |places| Watches::is_reported(places, 6))
            .await?;
        members.push(everywhere.duration_since(accepted));
        status.push(reported.duration_since(ready));
        let deleted = Mono::now();
        delete(&real.fleet, &name[0]).await?;
        while !watches.is_gone(&name[0]) && deleted.elapsed() < LIMIT {
            hanse_rt::sleep(Duration::from_millis(1)).await;
        }
        gone.push(deleted.elapsed());
    }
    Ok(vec![
        Row::millis("one Deployment, acceptance to all members", median(members), 50, "180"),
        Row::millis("last ready replica to status on the hub", median(status), 100, "290"),
        Row::shown("deleted to gone in members", median(gone), "160"),
    ])
}

/// The published application, a copy in each member.
pub(crate) async fn application(real: &Real, watches: &Watches) -> Result<Vec<Row>> {
    let started = Mono::now();
    boutique::send(&real.fleet, "Duplicate").await?;
    let applied = started.elapsed();
    let api: Api<Deployment> = Api::namespaced(real.fleet.hub.clone(), "default");
    let all = api.list(&kube::api::ListParams::default()).await?;
    let wanted: BTreeMap<String, i32> = all
        .into_iter()
        .filter_map(|found| Some((found.metadata.name?, found.spec.replicas.unwrap_or(1))))
        .collect();
    let names: Vec<String> = wanted.keys().cloned().collect();
    let copies = i32::try_from(real.fleet.members.len())?;
    // Every Deployment of it asks for one replica, as published.
    let sum = wanted.values().copied().max().unwrap_or(1) * copies;
    let everywhere = watches
        .until("in all members", &names, LIMIT, |places| watches.is_everywhere(places, sum))
        .await?;
    let reported = watches
        .until("reported on the hub", &names, LIMIT, |places| Watches::is_reported(places, sum))
        .await?;
    Ok(vec![
        Row::shown("Online Boutique, kubectl apply itself", applied, "1900"),
        Row::millis(
            "Online Boutique in all members",
            everywhere.duration_since(started),
            3000,
            "22000 / 11900",
        ),
        Row::millis(
            "Online Boutique, status on the hub",
            reported.duration_since(started),
            5000,
            "23900 / 13000",
        ),
    ])
}

/// Many Deployments at once, paused so that no pods run.
pub(crate) async fn many(real: &Real, watches: &Watches, count: u32) -> Result<Vec<Row>> {
    let names: Vec<String> = (0..count).map(|number| format!("many-{number}")).collect();
    let started = Mono::now();
    let fleet = &real.fleet;
    futures::stream::iter(&names)
        .map(Ok::<_, anyhow::Error>)
        .try_for_each_concurrent(
            32,
            |name| async move { create(fleet, name, 6, true).await.map(drop) },
        )
        .await?;
    let accepted = started.elapsed();
    let everywhere = watches
        .until("in all members", &names, LIMIT, |places| watches.is_everywhere(places, 6))
        .await?;
    let took = everywhere.duration_since(started);
    let rate = u128::from(count) * 1000 / took.as_millis().max(1);
    Ok(vec![
        Row::shown(&format!("{count} Deployments, all accepted"), accepted, "4200 / 7500"),
        Row::shown(&format!("{count} Deployments, in all members"), took, "-"),
        Row::rate(
            &format!("{count} Deployments, each second in all members"),
            u64::try_from(rate)?,
            40,
            "1.2 / 4.0",
        ),
    ])
}

/// The hub's process killed and started with all these bindings; a Deployment that is made then.
pub(crate) async fn restart(real: &mut Real, watches: &Watches) -> Result<Vec<Row>> {
    real.kill("hub").await?;
    let started = Mono::now();
    real.start_hub()?;
    let name = vec!["after-restart".to_owned()];
    create(&real.fleet, &name[0], 6, true).await?;
    let everywhere = watches
        .until("in all members", &name, LIMIT, |places| watches.is_everywhere(places, 6))
        .await
        .with_context(|| real.words("hub"))?;
    let took = everywhere.duration_since(started);
    Ok(vec![Row::millis(
        "restart of the hub, to the next apply in all members",
        took,
        3000,
        "23000",
    )])
}

/// Memory of the federation's own processes: proportional set size, so that what they share, the
/// program itself above all, counts once and not seven times. The peer's programs share nothing:
/// their recorded resident sizes compare.
pub(crate) fn memory(real: &Real, when: &str, most: u64, peer: &'static str) -> Result<Vec<Row>> {
    let mut sum = 0;
    let mut hub = 0;
    for (role, id) in real.process_ids() {
        let text = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let words = line.and_then(|line| line.split_whitespace().next());
        let kib: u64 = words.context("a process has memory")?.parse()?;
        sum += kib;
        if role == "hub" {
            hub = kib;
        }
    }
    Ok(vec![
        Row::mebibytes(&format!("memory of the hub, {when}"), hub / 1024, None, "-"),
        Row::mebibytes(
            &format!("memory of hub, relays, gateways, {when}"),
            sum / 1024,
            Some(most),
            peer,
        ),
    ])
}
