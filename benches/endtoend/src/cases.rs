//! What is measured, as the peer was: the same work on control planes of the same make.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use hanse_rt::Mono;
use hanse_tests_bodies::{Fleet, boutique};
use hanse_tests_kubernetes::Real;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::PostParams};
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

async fn create(fleet: &Fleet, name: &str, replicas: i32, paused: bool) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(fleet.hub.clone(), "default");
    api.create(&PostParams::default(), &deployment(name, replicas, paused)?).await?;
    Ok(())
}

/// One Deployment of six replicas, again and again.
pub(crate) async fn one(real: &Real, watches: &Watches, times: u32) -> Result<Vec<Row>> {
    let (mut members, mut status, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    let kubectl = &real.fleet.kubectl;
    for turn in 0..times {
        let name = vec![format!("one-{turn}")];
        let file = real.folder().join("one.json");
        let mut object = serde_json::to_value(deployment(&name[0], 6, false)?)?;
        object["apiVersion"] = json!("apps/v1");
        object["kind"] = json!("Deployment");
        std::fs::write(&file, object.to_string())?;
        let file = file.to_string_lossy();
        let apply = ["apply", "-f", &file];
        let seen = async {
            let accepted = watches.until("accepted", &name, LIMIT, Watches::is_accepted).await?;
            let everywhere = watches
                .until("in all members", &name, LIMIT, |places| watches.is_everywhere(places, 6))
                .await?;
            let ready = watches
                .until("ready in members", &name, LIMIT, |places| Watches::is_ready(places, 6))
                .await?;
            let reported = watches
                .until("reported on the hub", &name, LIMIT, |at| Watches::is_reported(at, 6))
                .await?;
            Ok((everywhere.duration_since(accepted), reported.duration_since(ready)))
        };
        let (_, (everywhere, reported)) = futures::try_join!(kubectl.run(&apply), seen)?;
        members.push(everywhere);
        status.push(reported);
        hanse_rt::sleep(Duration::from_millis(500)).await;
        let deleted = Mono::now();
        kubectl.run(&["delete", "deployment", &name[0], "--wait=false"]).await?;
        gone.push(watches.until_gone(&name, LIMIT).await?.duration_since(deleted));
        hanse_rt::sleep(Duration::from_secs(1)).await;
    }
    Ok(vec![
        Row::millis("one Deployment, acceptance to all members", &members, 50, "180"),
        Row::millis("last ready replica to status on the hub", &status, 100, "290"),
        Row::shown("kubectl delete to gone in members", &gone, "160"),
    ])
}

/// The published application, a copy in each member, made and deleted again.
pub(crate) async fn application(real: &Real, watches: &Watches, times: u32) -> Result<Vec<Row>> {
    boutique::send_policy(&real.fleet, "Duplicate").await?;
    let names = boutique::workloads()?;
    // Every Deployment of it asks for one replica, as published.
    let sum = i32::try_from(real.fleet.members.len())?;
    let (mut applied, mut everywhere, mut ready, mut reported, mut gone) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..times {
        let started = Mono::now();
        let send = async {
            boutique::send(&real.fleet).await?;
            Ok(Mono::now())
        };
        let (done, there, running, told) = futures::try_join!(
            send,
            watches.until("in all members", &names, LIMIT, |at| watches.is_everywhere(at, sum)),
            watches.until("ready in members", &names, LIMIT, |at| Watches::is_ready(at, sum)),
            watches.until("reported", &names, LIMIT, |at| Watches::is_reported(at, sum)),
        )?;
        applied.push(done.duration_since(started));
        everywhere.push(there.duration_since(started));
        ready.push(running.duration_since(started));
        reported.push(told.duration_since(started));
        let deleted = Mono::now();
        boutique::take_back(&real.fleet).await?;
        gone.push(watches.until_gone(&names, LIMIT).await?.duration_since(deleted));
        hanse_rt::sleep(Duration::from_secs(3)).await;
    }
    let (tuned, both) = ("22000 / 11900", "23900 / 13000");
    Ok(vec![
        Row::shown("Online Boutique, kubectl apply itself", &applied, "1900 / 9500"),
        Row::millis("Online Boutique in all members", &everywhere, 3000, tuned),
        Row::shown("Online Boutique, ready in all members", &ready, "23000 / 12900"),
        Row::millis("Online Boutique, status on the hub", &reported, 5000, both),
        Row::shown("Online Boutique, kubectl delete to gone", &gone, "8900 / 4200"),
    ])
}

/// Many Deployments at once, paused so that no pods run.
pub(crate) async fn many(real: &Real, watches: &Watches, count: u32) -> Result<Vec<Row>> {
    let names: Vec<String> = (0..count).map(|number| format!("many-{number}")).collect();
    let started = Mono::now();
    let fleet = &real.fleet;
    let send = async {
        futures::stream::iter(&names)
            .map(Ok::<_, anyhow::Error>)
            .try_for_each_concurrent(16, |name| create(fleet, name, 3, true))
            .await?;
        Ok(Mono::now())
    };
    let all = watches.until("in all members", &names, LIMIT, |at| watches.is_everywhere(at, 3));
    let (accepted, everywhere) = futures::try_join!(send, all)?;
    let (accepted, took) = (accepted.duration_since(started), everywhere.duration_since(started));
    let rate = u128::from(count) * 1000 / took.as_millis().max(1);
    Ok(vec![
        Row::shown(&format!("{count} Deployments, all accepted"), &[accepted], "4200 / 7500"),
        Row::shown(&format!("{count} Deployments, in all members"), &[took], "-"),
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
    create(&real.fleet, &name[0], 3, false).await?;
    let everywhere = watches
        .until("in all members", &name, LIMIT, |places| watches.is_everywhere(places, 3))
        .await
        .with_context(|| real.words("hub"))?;
    let took = everywhere.duration_since(started);
    Ok(vec![Row::millis(
        "restart of the hub, to the next apply in all members",
        &[took],
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
