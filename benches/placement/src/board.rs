//! How far the hub has come with the bindings, by its own caches; and, independently of them, what
//! stands in the members.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use hanse_api::{
    ResourceBinding,
    conditions::{binding, is_true},
};
use hanse_hub::{Hub, Key, sync::Stand};
use hanse_rt::Mono;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::stage::{Stage, until};

/// Members that are lost, by name.
pub(crate) type Lost = BTreeSet<String>;

/// How often the bench looks whether one that is left is there.
const PACE: Duration = Duration::from_millis(20);
/// How often it looks at all of them: that takes processor time, which must not be part of a
/// figure.
const SWEEP: Duration = Duration::from_secs(10);

/// Whether every replica of a binding has a place in members that are not lost.
pub(crate) fn is_placed(known: &ResourceBinding, lost: &Lost) -> bool {
    let asked = i64::from(known.spec.replicas);
    let living = known.spec.clusters.iter().filter(|cluster| !lost.contains(&cluster.name));
    let placed: i64 = living.map(|cluster| i64::from(cluster.replicas)).sum();
    placed >= asked
}

/// Whether every cluster has all replicas: then nothing moves when one of them is lost.
pub(crate) fn is_duplicated(known: &ResourceBinding) -> bool {
    let decision = known.spec.decision.as_ref();
    decision.is_some_and(|decision| decision.duplicated)
}

/// Whether every copy of a binding stands as rendered, where the member is not lost.
pub(crate) fn is_applied(hub: &Hub, known: &ResourceBinding, lost: &Lost) -> bool {
    let key = Key::of(known);
    let mut living = known.spec.clusters.iter().filter(|cluster| !lost.contains(&cluster.name));
    living.all(|cluster| {
        let synced = hub.sync_table().get(&key, &cluster.name);
        synced.is_some_and(|synced| synced.stand == Stand::Applied)
    })
}

/// Whether the decision was told.
pub(crate) fn is_scheduled(known: &ResourceBinding) -> bool {
    says(known, binding::SCHEDULED)
}

/// Whether the hub says that everything is ready.
pub(crate) fn is_available(known: &ResourceBinding) -> bool {
    says(known, binding::APPLIED) && says(known, binding::AVAILABLE)
}

/// How many replicas are ready, as the hub says.
pub(crate) fn ready(known: &ResourceBinding) -> i32 {
    known.status.as_ref().map_or(0, |status| status.summary.ready)
}

fn says(known: &ResourceBinding, type_: &str) -> bool {
    known.status.as_ref().is_some_and(|status| is_true(&status.conditions, type_))
}

/// Waits until something holds for `keys`, or for all bindings of which there shall be `count`.
pub(crate) async fn wait(
    stage: &Stage,
    what: &str,
    (keys, count): (Option<&[Key]>, usize),
    holds: impl Fn(&Hub, &ResourceBinding) -> bool,
) -> Result<()> {
    let hub = stage.hub()?;
    let bindings = &hub.world().objects().bindings;
    let holds = |key: &Key| bindings.get(key).is_some_and(|known| holds(hub, &known));
    // Those that it did not hold for; absent while not all are there.
    let mut left: Option<Vec<Key>> = None;
    let (mut done, mut swept) = (0, None);
    until(what, PACE, async || {
        if let Some(left) = &mut left {
            while left.last().is_some_and(&holds) {
                left.pop();
            }
        }
        let through = left.as_ref().is_some_and(Vec::is_empty);
        if through || swept.is_none_or(|at: Mono| at.elapsed() >= SWEEP) {
            let all = keys.map_or_else(|| bindings.keys(), <[Key]>::to_vec);
            let known = all.len();
            let open: Vec<Key> = all.into_iter().filter(|key| !holds(key)).collect();
            done = known - open.len();
            left = (known >= count).then_some(open);
            swept = Some(Mono::now());
        }
        Ok((done, count))
    })
    .await
}

/// Replicas by binding and member, as the members' own objects say; lost ones are not asked.
type Copies = BTreeMap<(String, String), BTreeMap<String, i32>>;

async fn copies(stage: &Stage, lost: &Lost) -> Result<Copies> {
    let mut copies = Copies::new();
    for member in stage.world.members().filter(|member| !lost.contains(member.name())) {
        let api: Api<Deployment> = Api::all(member.local_client());
        for copy in api.list(&ListParams::default()).await? {
            let place = (copy.namespace().unwrap_or_default(), copy.name_any());
            let replicas = copy.spec.replicas.unwrap_or(1);
            copies.entry(place).or_default().insert(member.name().to_owned(), replicas);
        }
    }
    Ok(copies)
}

/// Compares all members with all decisions: every copy is there with its number, and no other.
pub(crate) async fn compare(stage: &Stage, lost: &Lost) -> Result<()> {
    let mut copies = copies(stage, lost).await?;
    for known in stage.hub()?.world().objects().bindings.all() {
        let template = &known.spec.template;
        let place = (template.namespace.clone(), template.name.clone());
        let there = copies.remove(&place).unwrap_or_default();
        let living = known.spec.clusters.iter().filter(|cluster| !lost.contains(&cluster.name));
        let wanted: BTreeMap<String, i32> =
            living.map(|cluster| (cluster.name.clone(), cluster.replicas)).collect();
        ensure!(there == wanted, "{place:?}: decided {wanted:?}, in members {there:?}");
    }
    ensure!(copies.is_empty(), "copies without a binding: {:?}", copies.keys().next());
    let broken = stage.hub()?.world().means().metrics.encode();
    let broken = broken.lines().find(|line| line.starts_with("hanse_placement_violations_total"));
    ensure!(broken.is_none(), "a decision broke a promise: {}", broken.context("checked")?);
    Ok(())
}
