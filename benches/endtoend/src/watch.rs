//! Deployments of the hub and of all members as open watches show them, so that no figure holds
//! time for asking.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use hanse_rt::{Mono, TaskSet};
use hanse_tests_bodies::Fleet;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::watcher::{self, Event, watcher},
};
use tokio::sync::watch;

/// The hub among the places.
pub(crate) const HUB: &str = "hub";

/// So many names are looked at after each event.
const FEW: usize = 50;
/// More of them as often as that.
const PAUSE: Duration = Duration::from_millis(20);

/// What is seen of one Deployment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct State {
    /// Replicas it asks for.
    pub(crate) replicas: i32,
    /// Replicas that are ready.
    pub(crate) ready: i32,
}

/// Deployments by name, and by place in it.
pub(crate) type Seen = BTreeMap<String, BTreeMap<String, State>>;

/// Open watches.
#[derive(Debug)]
pub(crate) struct Watches {
    seen: watch::Receiver<Seen>,
    tasks: TaskSet,
    members: usize,
}

impl Watches {
    /// Opens a watch on the hub and on each member.
    pub(crate) fn open(fleet: &Fleet) -> Self {
        let (tell, seen) = watch::channel(Seen::new());
        let tasks = TaskSet::new("watches");
        let hub = std::iter::once((HUB.to_owned(), fleet.hub.clone()));
        let members = fleet.members.iter().map(|(name, client)| (name.clone(), client.clone()));
        for (place, client) in hub.chain(members) {
            tasks.spawn("watch", follow(place, client, tell.clone()));
        }
        Self { seen, tasks, members: fleet.members.len() }
    }

    /// Waits until the names hold what `holds` asks of each, and gives the instant.
    ///
    /// # Errors
    /// When they do not within the time; how many did is said.
    pub(crate) async fn until(
        &self,
        what: &str,
        names: &[String],
        limit: Duration,
        holds: impl Fn(&BTreeMap<String, State>) -> bool,
    ) -> Result<Mono> {
        let mut seen = self.seen.clone();
        let mut open: Vec<&String> = names.iter().collect();
        let all = async {
            loop {
                {
                    let seen = seen.borrow_and_update();
                    open.retain(|name| !seen.get(*name).is_some_and(&holds));
                }
                if open.is_empty() {
                    return Ok(Mono::now());
                }
                if open.len() > FEW {
                    // To look at all of them after each event would cost what is measured.
                    hanse_rt::sleep(PAUSE).await;
                }
                seen.changed().await?;
            }
        };
        let done: Result<Mono> =
            hanse_rt::timeout(limit, all).await.unwrap_or_else(|late| Err(late.into()));
        done.with_context(|| format!("{what}: not for {} of {}", open.len(), names.len()))
    }

    /// Waits until no member has any of them, and gives the instant.
    ///
    /// # Errors
    /// When one stays for so long.
    pub(crate) async fn until_gone(&self, names: &[String], limit: Duration) -> Result<Mono> {
        self.until("gone in members", names, limit, |at| at.keys().all(|place| place == HUB)).await
    }

    /// Whether all members have it, with so many replicas in sum.
    pub(crate) fn is_everywhere(&self, places: &BTreeMap<String, State>, replicas: i32) -> bool {
        let there = places.iter().filter(|(place, _)| *place != HUB);
        let sum: i32 = there.clone().map(|(_, state)| state.replicas).sum();
        there.count() == self.members && sum == replicas
    }

    /// Whether so many replicas are ready in the members.
    pub(crate) fn is_ready(places: &BTreeMap<String, State>, replicas: i32) -> bool {
        let there = places.iter().filter(|(place, _)| *place != HUB);
        there.map(|(_, state)| state.ready).sum::<i32>() == replicas
    }

    /// Whether the hub reports so many ready replicas.
    pub(crate) fn is_reported(places: &BTreeMap<String, State>, replicas: i32) -> bool {
        places.get(HUB).is_some_and(|state| state.ready == replicas)
    }

    /// Whether the hub has it.
    pub(crate) fn is_accepted(places: &BTreeMap<String, State>) -> bool {
        places.contains_key(HUB)
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

async fn follow(place: String, client: Client, tell: watch::Sender<Seen>) {
    let api: Api<Deployment> = Api::namespaced(client, "default");
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(found) | Event::InitApply(found)) => {
                let ready = found.status.as_ref().and_then(|status| status.ready_replicas);
                let state =
                    State { replicas: found.spec.replicas.unwrap_or(1), ready: ready.unwrap_or(0) };
                let name = found.name_any();
                tell.send_modify(|seen| {
                    seen.entry(name).or_default().insert(place.clone(), state);
                });
            }
            Ok(Event::Delete(gone)) => tell.send_modify(|seen| {
                if let Some(places) = seen.get_mut(&gone.name_any()) {
                    places.remove(&place);
                }
            }),
            Ok(Event::Init | Event::InitDone) => {}
            Err(_) => hanse_rt::sleep(Duration::from_millis(100)).await,
        }
    }
}
