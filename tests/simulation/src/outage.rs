//! The hub is away for a minute while the pods of every member are replaced: nobody notices, and
//! nothing is moved when it is back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use hanse_rt::{Mono, Rng};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use serde_json::json;

use crate::{
    Outcome,
    case::{Case, REPLICAS},
    checkers,
    traffic::{self, Snapshot},
};

/// How long the hub is away.
const AWAY: Duration = Duration::from_mins(1);
/// How long it is watched afterwards: longer than anything could tempt it to move.
const CALM: Duration = Duration::from_mins(1);
/// Members lose their pods in turn; each has this long to bring new ones up.
const TURN: Duration = Duration::from_secs(15);

/// Runs the scenario of a seed.
pub(crate) async fn run(seed: u64) -> Result<Outcome> {
    let started = Mono::now();
    let case = Case::new(seed).await?;
    let mut rng = case.rng.fork("scenario", "outage");
    let hub = case.start_hub(1).await?;
    case.healthy().await.context("before the outage")?;
    case.deploy().await?;
    serve(&case).await?;
    let holding = case.placed().await?;
    let snapshot = Snapshot::default();
    traffic::publish(&hub, case.client(), Arc::clone(&snapshot));
    hanse_rt::sleep(Duration::from_secs(5)).await;
    let served = traffic::run(&case.tasks, &case.world, &snapshot);
    let (copies, first) = (copies(&case).await?, pods(&case).await?);
    hub.kill().await;
    let origin = Mono::now();
    let plan = plan(&case, &mut rng);
    let mut next = 0;
    let mut hub = None;
    while origin.elapsed() < AWAY + CALM {
        hanse_rt::sleep(Duration::from_millis(250)).await;
        if let Some((at, member, all)) = plan.get(next)
            && origin.elapsed() >= *at
        {
            replace(&case, member, *all).await?;
            next += 1;
        }
        if origin.elapsed() >= AWAY && hub.is_none() {
            let tasks = case.start_hub(2).await?;
            traffic::publish(&tasks, case.client(), Arc::clone(&snapshot));
            hub = Some(tasks);
        }
        let now = checkers::look(&case.world, "default", "web").await?;
        ensure!(
            now.replicas == holding.replicas,
            "{:?} became {:?} after {} s",
            holding.replicas,
            now.replicas,
            origin.elapsed().as_secs()
        );
    }
    ensure!(next == plan.len(), "only {next} of {} replacements were made", plan.len());
    case.settled().await?;
    let (now, last) = (self::copies(&case).await?, pods(&case).await?);
    ensure!(now == copies, "copies were written: {copies:?} became {now:?}");
    let kept: Vec<_> = first.intersection(&last).collect();
    ensure!(kept.is_empty() && !last.is_empty(), "pods that were not replaced: {kept:?}");
    ensure!(case.moves().await? == 0, "something was moved");
    let served = served.lock().expect("no holder of this lock panics").clone();
    ensure!(served.errors.is_empty(), "{} errors: {:?}", served.errors.len(), served.errors);
    ensure!(served.elsewhere > 0, "no request had to go elsewhere: {served:?}");
    if let Some(hub) = hub {
        hub.kill().await;
    }
    case.tasks.kill().await;
    let (hash, records) = case.trace.hash();
    let seen = format!(
        "pods replaced {} requests {} elsewhere {}",
        first.len(),
        served.requests,
        served.elsewhere
    );
    Ok(Outcome { seed, hash, records, simulated: started.elapsed(), seen })
}

/// A Service, so that there are endpoints.
async fn serve(case: &Case) -> Result<()> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    case.apply("v1", "Service", Some("default"), service).await
}

/// When which member loses its pods: all at once, or one after the other.
fn plan(case: &Case, rng: &mut Rng) -> Vec<(Duration, String, bool)> {
    let mut plan = Vec::new();
    let mut at = Duration::from_secs(3);
    for member in case.world.members() {
        let turn = at + Duration::from_millis(rng.below(3000));
        if rng.chance(500_000) {
            plan.push((turn, member.name().to_owned(), true));
        } else {
            for step in 0..u32::try_from(REPLICAS).unwrap_or_default() {
                let wait = Duration::from_millis(1500) * step;
                plan.push((turn + wait, member.name().to_owned(), false));
            }
        }
        at += TURN;
    }
    plan
}

/// Deletes all pods of a member, or its oldest one.
async fn replace(case: &Case, member: &str, all: bool) -> Result<()> {
    let member = case.world.member(member).context("a member")?;
    let api: Api<Pod> = Api::namespaced(member.local_client(), "default");
    let mut pods = api.list(&ListParams::default()).await?.items;
    pods.sort_by_key(|pod| (pod.creation_timestamp().map(|at| at.0), pod.name_any()));
    let count = if all { pods.len() } else { 1 };
    for pod in pods.iter().take(count) {
        api.delete(&pod.name_any(), &DeleteParams::default()).await?;
    }
    Ok(())
}

/// Uids of all pods.
async fn pods(case: &Case) -> Result<BTreeSet<String>> {
    let mut uids = BTreeSet::new();
    for member in case.world.members() {
        let api: Api<Pod> = Api::namespaced(member.local_client(), "default");
        uids.extend(api.list(&ListParams::default()).await?.iter().filter_map(Pod::uid));
    }
    Ok(uids)
}

/// Uid and generation of every copy.
async fn copies(case: &Case) -> Result<BTreeMap<String, (Option<String>, Option<i64>)>> {
    let mut copies = BTreeMap::new();
    for member in case.world.members() {
        let api: Api<Deployment> = Api::namespaced(member.local_client(), "default");
        if let Some(found) = api.get_opt("web").await? {
            copies.insert(member.name().to_owned(), (found.uid(), found.metadata.generation));
        }
    }
    Ok(copies)
}
