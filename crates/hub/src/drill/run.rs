//! Runs drills, one at a time, in order of their age.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use hanse_api::{
    Drill, DrillFault, DrillStatus, DrillVerdict, DrillWorkload, TimelineEntry,
    conditions::{self, condition, drill as types, reason},
};
use hanse_rt::{Mono, TaskSet, net::AddressMap};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt as _};
use tokio::sync::mpsc;

use super::{
    inside, is_faulted,
    measure::{Measure, Sample},
    observe::{self, Affected},
    probe::{self, Entry, Sent},
    simulate,
};
use crate::{Key, Policies, World, write::change_status};

/// How often a running drill is looked at; instants are measured to this.
const LOOK: Duration = Duration::from_millis(50);
/// Traffic runs this long before the fault, so that connections are warm.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long a target may take to be whole again: its soak, and the removal of old copies.
const RESTORE: Duration = Duration::from_mins(2);
/// Samples that may wait to be summed up.
const SAMPLES: usize = 65_536;

/// Runs every drill that has no verdict, until the task ends.
pub(crate) async fn run(world: World, policies: Policies, tasks: TaskSet, addresses: AddressMap) {
    abort_leftovers(&world).await;
    let (wake, mut woken) = mpsc::channel(1);
    world.objects().drills.on_change(move |_, _, _| _ = wake.try_send(()));
    loop {
        let mut waiting: Vec<Arc<Drill>> = world.objects().drills.all();
        waiting.retain(|drill| drill.status.as_ref().is_none_or(|s| s.verdict.is_none()));
        waiting.sort_by_key(|drill| (drill.creation_timestamp().map(|at| at.0), drill.name_any()));
        let now = world.means().wall.now();
        let due = waiting
            .into_iter()
            .find(|drill| drill.spec.start_at.as_ref().is_none_or(|start| start.0 <= now));
        let Some(drill) = due else {
            hanse_rt::select! {
                _ = woken.recv() => {}
                () = hanse_rt::sleep(Duration::from_secs(1)) => {}
            }
            continue;
        };
        let name = drill.name_any();
        let mut running = Running::new(&world, drill, &tasks, addresses.clone());
        let ran = match running.drill.spec.fault {
            DrillFault::Simulate => running.simulate(&policies).await,
            DrillFault::Isolate | DrillFault::Evacuate => running.run().await,
        };
        if let Err(error) = ran {
            tracing::warn!(drill = name, %error, "drill interrupted; tried again");
            hanse_rt::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// A drill that ran when the hub died has lost its measurements.
async fn abort_leftovers(world: &World) {
    for drill in world.objects().drills.all() {
        let status = drill.status.clone().unwrap_or_default();
        if status.verdict.is_some() || status.started_at.is_none() {
            continue;
        }
        let api: Api<Drill> = Api::all(world.means().client.clone());
        let now = Time(world.means().wall.now());
        let text = "the hub restarted while it ran";
        let first = world.means().status_writes.first();
        let done = change_status(&api, &first, drill, |status| {
            finish(status, DrillVerdict::Aborted, reason::HUB_RESTARTED, text, &now);
        });
        if let Err(error) = done.await {
            tracing::warn!(%error, "a leftover drill could not be aborted");
        }
    }
}

/// When a fault that begins now ends. The API keeps whole seconds and drops what is less: an end
/// that is not whole would come up to a second before its time.
fn fault_end(now: Timestamp, seconds: i32) -> Timestamp {
    let end = now.checked_add(SignedDuration::from_secs(seconds.into())).unwrap_or(now);
    let whole = end.as_second() + i64::from(end.subsec_nanosecond() > 0);
    Timestamp::from_second(whole).unwrap_or(end)
}

fn finish(status: &mut DrillStatus, verdict: DrillVerdict, why: &str, text: &str, now: &Time) {
    status.verdict = Some(verdict);
    note(status, now, format!("{verdict:?}: {text}"));
    let wanted = condition(types::FINISHED, true, why, text.to_owned(), None, now.clone());
    conditions::set(&mut status.conditions, wanted);
}

fn note(status: &mut DrillStatus, now: &Time, event: String) {
    if status.timeline.len() < 200 {
        status.timeline.push(TimelineEntry { at: now.clone(), event });
    }
}

/// Why a drill ends early.
struct Abort {
    why: &'static str,
    text: String,
}

struct Running<'a> {
    world: &'a World,
    drill: Arc<Drill>,
    tasks: TaskSet,
    addresses: AddressMap,
    target: BTreeSet<String>,
    affected: BTreeMap<Key, Affected>,
    measure: Measure,
    detected: Option<Duration>,
    replaced: BTreeMap<Key, Duration>,
    /// How each workload stood when it was last looked at under the fault.
    standings: BTreeMap<Key, DrillWorkload>,
}

impl<'a> Running<'a> {
    fn new(world: &'a World, drill: Arc<Drill>, tasks: &TaskSet, addresses: AddressMap) -> Self {
        let members = world.objects().members.all();
        let hit = members.iter().filter(|member| inside(&drill.spec.target, member));
        let target: BTreeSet<String> = hit.map(|member| member.name_any()).collect();
        Self {
            world,
            tasks: tasks.child("drill"),
            addresses,
            measure: Measure::of(target.clone()),
            target,
            affected: BTreeMap::new(),
            detected: None,
            replaced: BTreeMap::new(),
            standings: BTreeMap::new(),
            drill,
        }
    }

    async fn run(&mut self) -> Result<(), kube::Error> {
        if let Some(abort) = self.refusal() {
            return self.end(DrillVerdict::Aborted, abort.why, &abort.text, &[]).await;
        }
        let (affected, not_exercised) = observe::affected(self.world, &self.target);
        self.affected = affected;
        let (sender, mut samples) = mpsc::channel(SAMPLES);
        let entries = self.entries();
        for entry in entries {
            probe::run(&self.tasks, entry, self.addresses.clone(), sender.clone());
        }
        drop(sender);
        hanse_rt::sleep(WARM_UP).await;
        let (origin, lasts) = self.begin(not_exercised).await?;
        let aborted = self.fault(origin, lasts, &mut samples).await?;
        self.tasks.abort();
        while let Ok(sent) = samples.try_recv() {
            self.take(&sent, origin);
        }
        if let Some(abort) = aborted {
            return self.end(DrillVerdict::Aborted, abort.why, &abort.text, &[]).await;
        }
        let short = self.short();
        self.note("fault ended; waiting until the target is whole again").await?;
        let whole = self.restored().await;
        self.judge(&short, whole).await
    }

    /// Plans the loss and says what came of it.
    async fn simulate(&mut self, policies: &Policies) -> Result<(), kube::Error> {
        if let Some(abort) = self.refusal() {
            let now = Time(self.world.means().wall.now());
            let (why, text) = (abort.why, abort.text);
            return self
                .change(|status| finish(status, DrillVerdict::Aborted, why, &text, &now))
                .await;
        }
        let (affected, not_exercised) = observe::affected(self.world, &self.target);
        let workloads = simulate::lose(self.world, policies, &self.target, &affected);
        let (no_room, kept): (Vec<_>, Vec<_>) = workloads
            .iter()
            .filter(|work| work.shortfall > 0)
            .partition(|work| !work.missing.is_empty() || !work.would_go.is_empty());
        let names = |list: &[&DrillWorkload]| {
            list.iter().map(|work| work.binding.clone()).collect::<Vec<_>>().join(", ")
        };
        let mut faults = Vec::new();
        if !no_room.is_empty() {
            faults.push(format!("no room elsewhere for {}", names(&no_room)));
        }
        if !kept.is_empty() {
            faults.push(format!("would not be moved: {}", names(&kept)));
        }
        let (verdict, why, text) = if faults.is_empty() {
            let text = format!("all replicas of {} workloads have a place", workloads.len());
            (DrillVerdict::Passed, reason::PASSED, text)
        } else {
            (DrillVerdict::Failed, reason::NO_ROOM, faults.join("; "))
        };
        let now = Time(self.world.means().wall.now());
        self.change(|status| {
            status.not_exercised.clone_from(&not_exercised);
            status.per_workload = workloads.iter().take(100).cloned().collect();
            finish(status, verdict, why, &text, &now);
        })
        .await
    }

    /// Why the drill must not start.
    fn refusal(&self) -> Option<Abort> {
        if self.target.is_empty() {
            let text = "no member belongs to the target".to_owned();
            return Some(Abort { why: reason::NO_TARGET, text });
        }
        // On paper a loss comes on top of what is lost already; what is not known cannot be planned.
        let on_paper = self.drill.spec.fault == DrillFault::Simulate;
        let members = self.world.objects().members.all();
        let sick: Vec<String> = members
            .iter()
            .map(|member| (member.name_any(), self.world.verdict(&member.name_any())))
            .filter(|(_, verdict)| verdict != "Healthy" && (!on_paper || verdict == "Unknown"))
            .map(|(name, verdict)| format!("{name} is {verdict}"))
            .collect();
        (!sick.is_empty()).then(|| Abort { why: reason::NOT_HEALTHY, text: sick.join(", ") })
    }

    /// Every way into the services that are to be probed.
    fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let services = self.world.objects().global_services.all();
        for service in services {
            let name = Key::of(service.as_ref()).to_string();
            let probes = &self.drill.spec.probe;
            let rate = match probes.iter().find(|probe| probe.global_service == name) {
                Some(probe) => probe.rate_per_second,
                None if probes.is_empty() => 100,
                None => continue,
            };
            let addresses = service.status.as_ref().map(|status| status.addresses.clone());
            let addresses = addresses.unwrap_or_default();
            let each = u32::try_from(rate).unwrap_or(1)
                / u32::try_from(addresses.len()).unwrap_or(1).max(1);
            for address in addresses {
                let ip = address.address.parse();
                let (Ok(ip), Ok(port)) = (ip, u16::try_from(address.port)) else {
                    continue;
                };
                let cluster = address.cluster.clone();
                entries.push(Entry {
                    cluster,
                    address: SocketAddr::new(ip, port),
                    rate: each.max(1),
                });
            }
        }
        entries
    }

    /// Writes that the fault begins; it is in force from then on, and lasts as long as is given
    /// back with its begin.
    async fn begin(&mut self, not_exercised: Vec<String>) -> Result<(Mono, Duration), kube::Error> {
        let origin = Mono::now();
        let now = self.world.means().wall.now();
        let ends = fault_end(now, self.drill.spec.duration_seconds);
        let lasts = Duration::try_from(ends.duration_since(now)).unwrap_or_default();
        self.measure.fault_lasts(lasts);
        let ends = Time(ends);
        let now = Time(now);
        let targets = self.target.iter().cloned().collect::<Vec<_>>().join(", ");
        let text = format!(
            "{:?} of {targets}; {} workloads have replicas there",
            self.drill.spec.fault,
            self.affected.len()
        );
        self.change(|status| {
            status.started_at = Some(now.clone());
            status.ends_at = Some(ends.clone());
            status.not_exercised.clone_from(&not_exercised);
            note(status, &now, text.clone());
            let began =
                condition(types::STARTED, true, reason::STARTED, text.clone(), None, now.clone());
            conditions::set(&mut status.conditions, began);
        })
        .await?;
        Ok((origin, lasts))
    }

    /// Watches while the fault lasts; says why when it ends early.
    async fn fault(
        &mut self,
        origin: Mono,
        lasts: Duration,
        samples: &mut mpsc::Receiver<Sent>,
    ) -> Result<Option<Abort>, kube::Error> {
        let end = origin + lasts;
        let mut ticks = hanse_rt::interval(LOOK, Duration::ZERO);
        while Mono::now() < end {
            ticks.tick().await;
            while let Ok(sent) = samples.try_recv() {
                self.take(&sent, origin);
            }
            for event in self.look(origin) {
                self.note(&event).await?;
            }
            if let Some(abort) = self.guard() {
                return Ok(Some(abort));
            }
        }
        // The fault's end is a time on the wall, which may be set; wait until it has passed there too.
        while is_faulted(&self.current(), self.world.means().wall.now()) {
            hanse_rt::sleep(LOOK).await;
        }
        Ok(None)
    }

    fn take(&mut self, sent: &Sent, origin: Mono) {
        if sent.due < origin {
            return self.measure.take_before(&sent.entered, sent.answered.as_deref());
        }
        self.measure.take(&Sample {
            due: sent.due - origin,
            entered: sent.entered.clone(),
            answered: sent.answered.clone(),
            took: sent.took,
        });
    }

    /// Notes what has come true since the last look.
    fn look(&mut self, origin: Mono) -> Vec<String> {
        let since = Mono::now() - origin;
        let mut events = Vec::new();
        let isolate = self.drill.spec.fault == DrillFault::Isolate;
        let lost = self.target.iter().all(|name| self.world.verdict(name) == "Lost");
        if isolate && self.detected.is_none() && lost {
            self.detected = Some(since);
            events.push(format!("every target is Lost after {} ms", since.as_millis()));
        }
        let begun = !isolate || self.detected.is_some();
        for (key, affected) in &self.affected {
            if self.replaced.contains_key(key) || !begun {
                continue;
            }
            let standing = observe::standing(self.world, key, affected, &self.target);
            let Some(standing) = standing else { continue };
            if standing.shortfall > 0 {
                // What is missing is known while the order to leave stands, not after it.
                let told = self.standings.get(key).is_some_and(|told| !told.missing.is_empty());
                if !told || !standing.missing.is_empty() {
                    self.standings.insert(key.clone(), standing);
                }
                continue;
            }
            self.replaced.insert(key.clone(), since);
            if self.replaced.len() == self.affected.len() {
                let text = format!("all replicas ready elsewhere after {} ms", since.as_millis());
                events.push(text);
            }
        }
        events
    }

    fn guard(&self) -> Option<Abort> {
        let guards = &self.drill.spec.guards;
        if guards.abort_on_other_loss {
            let members = self.world.objects().members.all();
            let other = members
                .iter()
                .map(|member| member.name_any())
                .find(|name| !self.target.contains(name) && self.world.verdict(name) == "Lost");
            if let Some(name) = other {
                let text = format!("{name} was lost meanwhile");
                return Some(Abort { why: reason::OTHER_LOSS, text });
            }
        }
        if let Some(bound) = guards.min_ready_percent {
            let ready = observe::ready_percent(self.world, &self.target);
            if ready < i64::from(bound) {
                let text =
                    format!("{ready} % of all replicas are ready, the guard wants {bound} %");
                return Some(Abort { why: reason::GUARD, text });
            }
        }
        let bound = guards.max_errors_per_million?;
        let errors = self.measure.errors_per_million()?;
        (errors > bound.into()).then(|| Abort {
            why: reason::GUARD,
            text: format!("{errors} errors in a million, the guard allows {bound}"),
        })
    }

    /// Workloads that are not whole without the target.
    fn short(&self) -> Vec<DrillWorkload> {
        let short = self.standings.iter().filter(|(key, _)| !self.replaced.contains_key(*key));
        short.map(|(_, standing)| standing.clone()).collect()
    }

    async fn restored(&self) -> bool {
        let deadline = Mono::now() + RESTORE;
        while !observe::whole(self.world) {
            if Mono::now() > deadline {
                return false;
            }
            hanse_rt::sleep(LOOK).await;
        }
        true
    }

    async fn judge(&mut self, short: &[DrillWorkload], whole: bool) -> Result<(), kube::Error> {
        let pass = self.drill.spec.pass.clone();
        let times: Vec<Duration> = self.replaced.values().copied().collect();
        let figures = self.measure.figures(self.detected, &times);
        let errors = self.measure.errors_per_million().unwrap_or_default();
        let shift = figures.traffic_shifted_milliseconds.unwrap_or_default();
        let mut faults = Vec::new();
        if !short.is_empty() {
            let names: Vec<_> = short.iter().map(|work| work.binding.clone()).collect();
            faults.push(format!("no room elsewhere for {}", names.join(", ")));
        }
        let unreplaced = self.affected.len() - self.replaced.len();
        if short.is_empty() && unreplaced > 0 {
            faults.push(format!("{unreplaced} workloads were not moved: the loss was not noticed"));
        }
        if errors > pass.max_errors_per_million.into() {
            faults.push(format!(
                "{errors} errors in a million, allowed are {}",
                pass.max_errors_per_million
            ));
        }
        if shift > pass.max_shift_milliseconds.into() {
            faults.push(format!(
                "traffic shifted after {shift} ms, allowed are {} ms",
                pass.max_shift_milliseconds
            ));
        }
        if !whole {
            faults.push(format!("the target was not whole again after {} s", RESTORE.as_secs()));
        }
        if faults.is_empty() {
            let text = if figures.used_target_before > 0 {
                "traffic and replicas moved within the bounds"
            } else {
                "replicas moved within the bounds; no traffic had to shift"
            };
            return self.end(DrillVerdict::Passed, reason::PASSED, text, short).await;
        }
        let why = if short.is_empty() { reason::BOUND_MISSED } else { reason::NO_ROOM };
        self.end(DrillVerdict::Failed, why, &faults.join("; "), short).await
    }

    async fn end(
        &mut self,
        verdict: DrillVerdict,
        why: &str,
        text: &str,
        short: &[DrillWorkload],
    ) -> Result<(), kube::Error> {
        let times: Vec<Duration> = self.replaced.values().copied().collect();
        let figures = self.measure.figures(self.detected, &times);
        let now = Time(self.world.means().wall.now());
        self.change(|status| {
            status.measured = Some(figures.clone());
            status.per_workload = short.iter().take(100).cloned().collect();
            finish(status, verdict, why, text, &now);
        })
        .await
    }

    async fn note(&mut self, event: &str) -> Result<(), kube::Error> {
        let now = Time(self.world.means().wall.now());
        self.change(|status| note(status, &now, event.to_owned())).await
    }

    async fn change(&mut self, change: impl FnMut(&mut DrillStatus)) -> Result<(), kube::Error> {
        let api: Api<Drill> = Api::all(self.world.means().client.clone());
        let known = Arc::clone(&self.drill);
        if let Some(now) =
            change_status(&api, &self.world.means().status_writes.first(), known, change).await?
        {
            self.drill = now;
        }
        Ok(())
    }

    fn current(&self) -> Arc<Drill> {
        Arc::clone(&self.drill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_lasts_its_whole_duration_in_an_api_of_whole_seconds() {
        for now in ["2026-11-22T10:00:00Z", "2026-11-22T10:00:00.001Z", "2026-11-22T10:00:00.999Z"]
        {
            let now: Timestamp = now.parse().unwrap();
            let kept = serde_json::to_string(&Time(fault_end(now, 20))).unwrap();
            let kept: Time = serde_json::from_str(&kept).unwrap();
            let lasts = kept.0.duration_since(now);
            let wanted = SignedDuration::from_secs(20);
            assert!(lasts >= wanted && lasts < wanted + SignedDuration::from_secs(1), "{lasts:?}");
        }
    }
}
