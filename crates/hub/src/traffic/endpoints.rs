//! Ready endpoints of each member, counted from its EndpointSlices. Only counts are kept: which
//! pods they are is the relay's business.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use hanse_member::{Watched, run_watch};
use hanse_rt::{Rng, TaskSet};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, ResourceExt as _};
use tokio::sync::Notify;

use super::plan::Ready;
use crate::{Key, Session, World};

/// Label of a slice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The counts of all members, and the watches behind them.
#[derive(Debug)]
pub(crate) struct Endpoints {
    book: Arc<Mutex<BTreeMap<String, Counts>>>,
    wake: Arc<Notify>,
    watches: BTreeMap<String, Watch>,
    tasks: TaskSet,
    rng: Rng,
}

#[derive(Debug)]
struct Watch {
    session: Arc<Session>,
    tasks: TaskSet,
}

/// What counts of a slice: its Service, and ready endpoints by name of the port.
type Slice = (String, BTreeMap<String, u32>);

/// The slices of one member.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Counts {
    slices: BTreeMap<Key, Slice>,
    /// The list under way.
    listing: Option<BTreeMap<Key, Slice>>,
    synced: bool,
}

impl Endpoints {
    pub(crate) fn new(tasks: &TaskSet, rng: &Rng, wake: Arc<Notify>) -> Self {
        Self {
            book: Arc::default(),
            wake,
            watches: BTreeMap::new(),
            tasks: tasks.child("endpoints"),
            rng: rng.fork("traffic", "endpoints"),
        }
    }

    /// Watches the members that have a session now, and no others.
    pub(crate) async fn follow(&mut self, world: &World) {
        let sessions: BTreeMap<String, Arc<Session>> = world
            .sessions()
            .into_iter()
            .map(|session| (session.name().to_owned(), session))
            .collect();
        for (name, watch) in std::mem::take(&mut self.watches) {
            let same =
                sessions.get(&name).is_some_and(|session| Arc::ptr_eq(session, &watch.session));
            if same {
                self.watches.insert(name, watch);
                continue;
            }
            watch.tasks.kill().await;
            if !sessions.contains_key(&name) {
                self.book.lock().expect("no holder of this lock panics").remove(&name);
            }
        }
        for (name, session) in sessions {
            if !self.watches.contains_key(&name) {
                let tasks = self.tasks.child(&name);
                self.start(&tasks, &session);
                self.watches.insert(name, Watch { session, tasks });
            }
        }
    }

    /// Counts of the members that were listed once.
    pub(crate) fn ready(&self) -> BTreeMap<String, Ready> {
        let book = self.book.lock().expect("no holder of this lock panics");
        book.iter()
            .filter(|(_, counts)| counts.synced)
            .map(|(member, counts)| (member.clone(), counts.sum()))
            .collect()
    }

    fn start(&self, tasks: &TaskSet, session: &Arc<Session>) {
        let (member, session) = (session.name().to_owned(), Arc::clone(session));
        let (book, wake) = (Arc::clone(&self.book), Arc::clone(&self.wake));
        let rng = self.rng.fork("member", &member);
        let shutdown = tasks.shutdown();
        tasks.spawn("endpoints", async move {
            let mut sight = session.sight();
            loop {
                let api: Api<EndpointSlice> = Api::all(session.client());
                let watch = run_watch(api, Some(SERVICE_NAME.to_owned()), rng.clone(), |event| {
                    let mut book = book.lock().expect("no holder of this lock panics");
                    if book.entry(member.clone()).or_default().take(event) {
                        wake.notify_one();
                    }
                });
                // What a cut swallowed is only seen by listing again.
                let returns = async {
                    sight.borrow_and_update();
                    while sight.changed().await.is_ok() {
                        if sight.borrow_and_update().up == Some(true) {
                            return;
                        }
                    }
                    std::future::pending::<()>().await;
                };
                hanse_rt::select! {
                    () = shutdown.cancelled() => return,
                    () = watch => {}
                    () = returns => {}
                }
            }
        });
    }
}

impl Counts {
    /// Takes an event in; true when a count may have changed.
    fn take(&mut self, event: Watched<EndpointSlice>) -> bool {
        match event {
            Watched::Listing => self.listing = Some(BTreeMap::new()),
            Watched::Listed(slice) => {
                if let (Some(listing), Some((key, entry))) = (&mut self.listing, count(&slice)) {
                    listing.insert(key, entry);
                }
            }
            Watched::Synced => {
                let listed = self.listing.take().unwrap_or_default();
                let changed = !self.synced || self.slices != listed;
                self.slices = listed;
                self.synced = true;
                return changed;
            }
            Watched::Applied(slice) => {
                if let Some((key, entry)) = count(&slice) {
                    return self.slices.insert(key, entry.clone()) != Some(entry);
                }
            }
            Watched::Deleted(slice) => {
                return self.slices.remove(&Key::of(&slice)).is_some();
            }
            Watched::Failed(error) => tracing::debug!(error, "a watch of endpoints failed"),
        }
        false
    }

    fn sum(&self) -> Ready {
        let mut ready = Ready::new();
        for (key, (service, ports)) in &self.slices {
            let sums = ready.entry(Key::new(&key.namespace, service)).or_default();
            for (port, count) in ports {
                *sums.entry(port.clone()).or_default() += count;
            }
        }
        ready
    }
}

fn count(slice: &EndpointSlice) -> Option<(Key, Slice)> {
    let service = slice.labels().get(SERVICE_NAME)?.clone();
    let ready = slice
        .endpoints
        .iter()
        .flatten()
        .filter(|endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready) != Some(false))
        .count();
    let ready = u32::try_from(ready).unwrap_or(u32::MAX);
    let ports = slice
        .ports
        .iter()
        .flatten()
        .filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
        .map(|port| (port.name.clone().unwrap_or_default(), ready))
        .collect();
    Some((Key::of(slice), (service, ports)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slice(name: &str, ready: &[bool]) -> EndpointSlice {
        let endpoints: Vec<_> = ready
            .iter()
            .map(|ready| json!({"addresses": ["10.64.0.1"], "conditions": {"ready": ready}}))
            .collect();
        let slice = json!({
            "metadata": {"namespace": "shop", "name": name, "labels": {SERVICE_NAME: "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": endpoints,
        });
        serde_json::from_value(slice).unwrap()
    }

    #[test]
    fn counts_are_summed_over_slices_and_a_new_list_replaces_them_whole() {
        let mut counts = Counts::default();
        assert!(!counts.take(Watched::Listing));
        assert!(!counts.take(Watched::Listed(slice("a", &[true, false]))));
        assert!(!counts.synced, "half a list says nothing");
        assert!(counts.take(Watched::Synced));
        assert!(counts.take(Watched::Applied(slice("b", &[true, true]))));
        assert!(!counts.take(Watched::Applied(slice("b", &[true, true]))), "nothing new");
        let web = Key::new("shop", "web");
        assert_eq!(counts.sum()[&web]["http"], 3);
        assert!(!counts.take(Watched::Failed("cut".to_owned())));
        assert_eq!(counts.sum()[&web]["http"], 3, "silence changes nothing");
        counts.take(Watched::Listing);
        counts.take(Watched::Listed(slice("b", &[true])));
        assert_eq!(counts.sum()[&web]["http"], 3, "not before the list is whole");
        assert!(counts.take(Watched::Synced));
        assert_eq!(counts.sum()[&web]["http"], 1);
    }
}
