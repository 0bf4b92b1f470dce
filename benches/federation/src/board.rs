//! Deployments of all members as open watches show them, so that a figure holds no time for
//! asking.

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

/// Replicas by place and Deployment; the hub's place is `HUB`.
pub(crate) type Seen = BTreeMap<(String, String), i32>;

/// The hub's place.
pub(crate) const HUB: &str = "hub";

/// Open watches.
#[derive(Debug)]
pub(crate) struct Board {
    seen: watch::Receiver<Seen>,
    tasks: TaskSet,
}

impl Board {
    /// Watches a namespace of the hub and of every member.
    pub(crate) fn open(fleet: &Fleet, namespace: &str) -> Self {
        let (tell, seen) = watch::channel(Seen::new());
        let tasks = TaskSet::new("board");
        let hub = std::iter::once((HUB.to_owned(), fleet.hub.clone()));
        let members = fleet.members.iter().map(|(name, client)| (name.clone(), client.clone()));
        for (place, client) in hub.chain(members) {
            tasks.spawn("watch", follow(place, client, namespace.to_owned(), tell.clone()));
        }
        Self { seen, tasks }
    }

    /// Waits until `holds`; gives the instant.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub(crate) async fn until(&self, what: &str, holds: impl FnMut(&Seen) -> bool) -> Result<Mono> {
        let mut seen = self.seen.clone();
        let wait = seen.wait_for(holds);
        drop(
            hanse_rt::timeout(Duration::from_mins(1), wait)
                .await
                .with_context(|| what.to_owned())??,
        );
        Ok(Mono::now())
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

async fn follow(place: String, client: Client, namespace: String, tell: watch::Sender<Seen>) {
    let api: Api<Deployment> = Api::namespaced(client, &namespace);
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(found) | Event::InitApply(found)) => {
                let replicas = found.spec.replicas.unwrap_or(1);
                tell.send_modify(|seen| {
                    seen.insert((place.clone(), found.name_any()), replicas);
                });
            }
            Ok(Event::Delete(gone)) => tell.send_modify(|seen| {
                seen.remove(&(place.clone(), gone.name_any()));
            }),
            Ok(Event::Init | Event::InitDone) => {}
            Err(_) => hanse_rt::sleep(Duration::from_millis(100)).await,
        }
    }
}
