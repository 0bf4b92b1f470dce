//! What is measured of a hub with all its members and bindings, in the order in which it is done.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use hanse_api::{MoveReason, ResourceBinding};
use hanse_hub::{Evacuation, Evacuations, Key, TemplateKey, propagation::key_of_binding};
use hanse_rt::Mono;
use hanse_sim::faults::Faults;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    board::{self, Lost},
    figures::{Rows, number, say},
    machine::{peak, processor_time, resident},
    stage::{AT_ONCE, Stage},
    workload,
};

/// Statuses that change in members for one figure.
const UPDATES: usize = 1000;
/// How long nothing happens for one figure.
const IDLE: Duration = Duration::from_secs(5);

/// Seconds in which all that a lost domain held is placed and applied elsewhere.
const EVACUATED: f64 = 10.0;
/// The same for a restart with so many bindings at most, until what came meanwhile is done.
const RESTARTED: f64 = 10.0;
const RESTARTED_WITH: u64 = 10_000;

/// Seconds that a restart with so many bindings may take, where that is bounded.
pub(crate) fn restart_target(bindings: u64) -> Option<f64> {
    (bindings <= RESTARTED_WITH).then_some(RESTARTED)
}

/// All rows.
pub(crate) async fn run(members: u64, rows: &mut Rows<'_>) -> Result<()> {
    say(&format!("hub: {members} members, {} bindings", rows.bindings()));
    let mut stage = Stage::new(members).await?;
    connect(&mut stage, rows).await?;
    place(&stage, rows).await?;
    idle(&stage, rows).await?;
    restart(&mut stage, rows).await?;
    let mut orders = Evacuations::new();
    lose_member(&stage, rows, &mut orders).await?;
    lose_region(&stage, rows, &mut orders).await?;
    rows.show("most memory of the process at any time", peak(), "MiB");
    Ok(())
}

async fn connect(stage: &mut Stage, rows: &mut Rows<'_>) -> Result<()> {
    let count = number(stage.world.topology().clusters.len());
    let each = |mib: f64| mib * 1024.0 / count;
    rows.show("a simulated member, without a hub", each(stage.powered - stage.empty), "KiB");
    let (before, start) = (resident(), Mono::now());
    stage.start_hub().await?;
    stage.wait_for_members().await?;
    rows.show("members joined", seconds(start), "s");
    hanse_rt::sleep(IDLE).await;
    rows.keep("an idle member, in the hub", each(resident() - before), "KiB", 200.0);
    Ok(())
}

async fn place(stage: &Stage, rows: &mut Rows<'_>) -> Result<()> {
    let count = rows.bindings();
    let bindings = usize::try_from(count)?;
    let (start, used, asked) = (Mono::now(), processor_time(), stage.requests());
    let created = async {
        stage.create_all((0..count).map(workload::deployment)).await?;
        Ok::<_, anyhow::Error>(seconds(start))
    };
    let scheduled = async {
        let told = |_: &_, known: &ResourceBinding| board::is_scheduled(known);
        board::wait(stage, "scheduled", (None, bindings), told).await?;
        Ok(seconds(start))
    };
    let applied = async {
        let none = Lost::new();
        board::wait(stage, "applied", (None, bindings), |hub, known| {
            !known.spec.clusters.is_empty() && board::is_applied(hub, known, &none)
        })
        .await?;
        Ok(seconds(start))
    };
    let (created, scheduled, applied) = futures::try_join!(created, scheduled, applied)?;
    rows.show("Deployments created", created, "s");
    rows.show("first placement: all decided and told", scheduled, "s");
    rows.show("first placement: all applied in their members", applied, "s");
    let told = |_: &_, known: &ResourceBinding| board::is_available(known);
    board::wait(stage, "available", (None, bindings), told).await?;
    rows.show("first placement: all ready by the hub's statuses", seconds(start), "s");
    let used = processor_time().saturating_sub(used).as_secs_f64();
    rows.show("processor time of all that, a binding", used * 1e3 / number(bindings), "ms");
    writes(stage, rows, &asked);
    let all = stage.hub()?.world().objects().bindings.all();
    let copies: usize = all.iter().map(|known| known.spec.clusters.len()).sum();
    rows.show("copies in members", number(copies), "");
    board::compare(stage, &Lost::new()).await?;
    memory(stage, rows);
    Ok(())
}

/// What was written to the hub's API for each binding; what is rarer than one in a hundred is not
/// shown.
fn writes(stage: &Stage, rows: &mut Rows<'_>, before: &BTreeMap<String, u64>) {
    let each = |count: u64| {
        number(usize::try_from(count).unwrap_or(usize::MAX))
            / number(usize::try_from(rows.bindings()).unwrap_or(usize::MAX))
    };
    let all = stage.requests().into_iter().map(|(name, count)| {
        let count = count - before.get(&name).copied().unwrap_or(0);
        (name, each(count))
    });
    let all: Vec<(String, f64)> = all.filter(|(_, each)| *each >= 0.01).collect();
    for (name, each) in all {
        rows.show(&format!("writes to the hub's API, a binding: {name}"), each, "");
    }
}

fn memory(stage: &Stage, rows: &mut Rows<'_>) {
    let (all, members) = (resident(), stage.members_hold());
    rows.show("memory of the process: hub, its API server, members", all, "MiB");
    rows.show("of it the objects in members' stores", members, "MiB");
    let hub = all - members - (stage.powered - stage.empty);
    rows.keep("memory of the hub and its API server", hub, "MiB", 3072.0);
}

async fn idle(stage: &Stage, rows: &mut Rows<'_>) -> Result<()> {
    // What is collected for a second has been written by then.
    hanse_rt::sleep(IDLE).await;
    let (start, used) = (Mono::now(), processor_time());
    hanse_rt::sleep(IDLE).await;
    let rest = processor_time().saturating_sub(used).as_secs_f64() / seconds(start);
    rows.show("processor time while nothing happens, a second", rest * 1e3, "ms");
    let hub = stage.hub()?;
    let all = hub.world().objects().bindings.all();
    let step = (all.len() / UPDATES).max(1);
    let chosen: Vec<_> = all.iter().step_by(step).filter(|known| known.spec.replicas > 1).collect();
    let (start, used) = (Mono::now(), processor_time());
    let updates = chosen.iter().map(|known| tell(stage, known));
    let updates = futures::stream::iter(updates).buffer_unordered(AT_ONCE);
    updates.try_collect::<()>().await?;
    let keys: Vec<Key> = chosen.iter().map(|known| Key::of(known.as_ref())).collect();
    let before: BTreeMap<Key, i32> =
        chosen.iter().map(|known| (Key::of(known.as_ref()), board::ready(known))).collect();
    board::wait(stage, "told", (Some(&keys), keys.len()), |_, known| {
        before.get(&Key::of(known)).is_some_and(|before| board::ready(known) < *before)
    })
    .await?;
    let used = processor_time().saturating_sub(used).as_secs_f64();
    let each = (used - rest * seconds(start)) * 1e6 / number(keys.len());
    rows.show("a member's status update, processor time with its own API", each, "us");
    Ok(())
}

/// One of the copies of a binding has a replica less that is ready. The status is written past
/// the loop that sets it.
async fn tell(stage: &Stage, known: &ResourceBinding) -> Result<()> {
    let cluster = known.spec.clusters.first().context("it has a place")?;
    let member = stage.world.member(&cluster.name).context("it is a member")?;
    let client = Client::new(member.api().as_user("bench"), "default");
    let template = &known.spec.template;
    let api: Api<Deployment> = Api::namespaced(client, &template.namespace);
    let ready = cluster.replicas - 1;
    let status = json!({"readyReplicas": ready, "availableReplicas": ready,
        "unavailableReplicas": 1});
    let patch = Patch::Merge(json!({ "status": status }));
    api.patch_status(&template.name, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn restart(stage: &mut Stage, rows: &mut Rows<'_>) -> Result<()> {
    let bindings = usize::try_from(rows.bindings())?;
    stage.crash_hub().await?;
    // Written while no hub runs: the first decision that is due.
    let new = workload::deployment(rows.bindings());
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let key = key_of_binding(&TemplateKey {
        api_version: text(&new["apiVersion"]),
        kind: text(&new["kind"]),
        namespace: text(&new["metadata"]["namespace"]),
        name: text(&new["metadata"]["name"]),
    });
    stage.create_all(std::iter::once(new)).await?;
    let (start, used, writes) = (Mono::now(), processor_time(), stage.writes.count());
    stage.start_hub().await?;
    rows.show("restart: controllers run", seconds(start), "s");
    let none = Lost::new();
    let asked = (Some(std::slice::from_ref(&key)), 1);
    let is_decided =
        |known: &ResourceBinding| !known.spec.clusters.is_empty() && board::is_placed(known, &none);
    let decided = async {
        board::wait(stage, "first decision", asked, |_, known| is_decided(known)).await?;
        Ok::<_, anyhow::Error>(seconds(start))
    };
    let first = async {
        board::wait(stage, "first decision applied", asked, |hub, known| {
            is_decided(known) && board::is_applied(hub, known, &none)
        })
        .await?;
        Ok::<_, anyhow::Error>(seconds(start))
    };
    let all = async {
        let all = |hub: &_, known: &ResourceBinding| board::is_applied(hub, known, &none);
        board::wait(stage, "looked at", (None, bindings + 1), all).await?;
        Ok(seconds(start))
    };
    let (decided, first, all) = futures::try_join!(decided, first, all)?;
    let used = processor_time().saturating_sub(used).as_secs_f64();
    let target = restart_target(rows.bindings());
    rows.add("restart: what came meanwhile is decided", decided, "s", (target, None));
    rows.add("restart: what came meanwhile is decided and applied", first, "s", (target, None));
    rows.show("restart: every copy compared", all, "s");
    rows.show("restart: processor time until then", used, "s");
    // What would be written late is written by then.
    hanse_rt::sleep(IDLE).await;
    let own = stage.hub()?.world().objects().bindings.get(&key);
    let own = own.map_or(0, |known| known.spec.clusters.len());
    let written = usize::try_from(stage.writes.count() - writes)?;
    rows.show("restart: writes for what came meanwhile", number(own), "");
    let redundant = written.saturating_sub(own);
    if redundant > 0 {
        let last = stage.writes.last(stage.writes.count() - writes);
        for write in last {
            say(&format!("  written after the start: {write}"));
        }
    }
    rows.keep("restart: other writes to members", number(redundant), "", 0.0);
    board::compare(stage, &none).await
}

async fn lose_member(stage: &Stage, rows: &mut Rows<'_>, orders: &mut Evacuations) -> Result<()> {
    // One of middling load.
    let standing = stage.hub()?.world().standing();
    let mut members: Vec<(usize, &str)> =
        stage.world.members().map(|m| (standing.bindings(m.name()).len(), m.name())).collect();
    members.retain(|(bindings, _)| *bindings > 0);
    members.sort_unstable();
    let (_, name) = members.get(members.len() / 2).copied().context("there are members")?;
    lose(stage, rows, ("a member", vec![name.to_owned()]), orders).await
}

async fn lose_region(stage: &Stage, rows: &mut Rows<'_>, orders: &mut Evacuations) -> Result<()> {
    let clusters = &stage.world.topology().clusters;
    let gone = clusters.iter().find(|cluster| orders.contains_key(&cluster.name));
    let gone = gone.map(|cluster| cluster.region.clone()).unwrap_or_default();
    let region = clusters.iter().map(|c| &c.region).find(|region| **region != gone);
    let region = region.context("there is another region")?;
    let inside = clusters.iter().filter(|cluster| cluster.region == *region);
    let names = inside.map(|cluster| cluster.name.clone()).collect();
    lose(stage, rows, ("a region", names), orders).await
}

/// Members lose their power, and the verdict comes at the same moment.
async fn lose(
    stage: &Stage,
    rows: &mut Rows<'_>,
    (what, names): (&str, Vec<String>),
    orders: &mut Evacuations,
) -> Result<()> {
    let hub = stage.hub()?;
    let mut keys: Vec<Key> = Vec::new();
    for name in &names {
        keys.extend(hub.world().standing().bindings(name).iter().map(|key| Key::clone(key)));
        stage
            .world
            .member(name)
            .context("a member")?
            .set_faults(Faults { killed: true, ..Faults::default() });
        orders.insert(name.clone(), order(what));
    }
    keys.sort();
    keys.dedup();
    let members = names.len();
    let bindings = &hub.world().objects().bindings;
    rows.show(
        &format!("{what} of {members} lost: bindings that stand there"),
        number(keys.len()),
        "",
    );
    keys.retain(|key| bindings.get(key).is_some_and(|known| !board::is_duplicated(&known)));
    let lost: &Lost = &orders.keys().cloned().collect();
    let (start, used) = (Mono::now(), processor_time());
    hub.world().order_evacuations(orders.clone());
    let asked = (Some(keys.as_slice()), keys.len());
    let decided = async {
        let placed = |_: &_, known: &ResourceBinding| board::is_placed(known, lost);
        board::wait(stage, "placed anew", asked, placed).await?;
        Ok::<_, anyhow::Error>(seconds(start))
    };
    let applied = async {
        board::wait(stage, "applied anew", asked, |hub, known| {
            board::is_placed(known, lost) && board::is_applied(hub, known, lost)
        })
        .await?;
        Ok(seconds(start))
    };
    let (decided, applied) = futures::try_join!(decided, applied)?;
    let used = processor_time().saturating_sub(used).as_secs_f64();
    let divided = "of these divided, to be placed anew";
    rows.show(&format!("{what} lost: {divided}"), number(keys.len()), "");
    rows.show(&format!("{what} lost, from the verdict: all placed anew"), decided, "s");
    rows.keep(&format!("{what} lost, from the verdict: all applied anew"), applied, "s", EVACUATED);
    rows.show(&format!("{what} lost: processor time until then"), used, "s");
    board::compare(stage, lost).await
}

fn order(what: &str) -> Evacuation {
    Evacuation {
        id: format!("{}-lost", what.replace(' ', "-")),
        reason: MoveReason::MemberLost,
        evidence: "no power".to_owned(),
        manual_too: false,
        tolerable: Vec::new(),
    }
}

fn seconds(start: Mono) -> f64 {
    start.elapsed().as_secs_f64()
}
