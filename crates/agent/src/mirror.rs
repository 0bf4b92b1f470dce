//! A copy of one kind of a member's objects, kept up to date by list and watch. While the API
//! server is away the copy stays as it was. Every call has a time-out of its own: the client
//! library bounds none, and a list lost in a cut is never answered.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _};
use hanse_rt::{Backoff, Elapsed, Rng, TaskSet};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// Limit for one page of a list, and for the opening of a watch.
const CALL: Duration = Duration::from_secs(15);
/// A watch ends by itself after this many seconds, so that a dead connection is noticed.
const WATCH_SECONDS: u32 = 60;
/// An event or the end of a watch comes within this time.
const EVENT: Duration = Duration::from_secs(70);
/// Objects of one page of a list.
const PAGE: u32 = 500;
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// `(namespace, name)`.
pub(crate) type Key = (String, String);
type Objects<K> = Arc<BTreeMap<Key, Arc<K>>>;

/// The copy.
#[derive(Clone, Debug)]
pub(crate) struct Mirror<K> {
    objects: Arc<Mutex<Objects<K>>>,
    /// Counts changes; above zero once the first list has arrived.
    changes: watch::Sender<u64>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Client(#[from] kube::Error),
    #[error(transparent)]
    Slow(#[from] Elapsed),
    #[error("the watch ended with {code}: {message}")]
    Watch { code: u16, message: String },
}

impl<K> Mirror<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Begins to copy what `api` shows under `labels` (empty: everything).
    pub(crate) fn start(tasks: &TaskSet, api: Api<K>, labels: &'static str, rng: &Rng) -> Self {
        let mirror = Self { objects: Arc::default(), changes: watch::Sender::new(0) };
        let (copy, shutdown) = (mirror.clone(), tasks.shutdown());
        let mut backoff = Backoff::new(rng.fork("mirror", &K::kind(&())), BACKOFF.0, BACKOFF.1);
        tasks.spawn("mirror", async move {
            loop {
                let ended = hanse_rt::select! {
                    () = shutdown.cancelled() => return,
                    ended = copy.follow(&api, labels, &mut backoff) => ended,
                };
                if let Err(error) = ended {
                    tracing::debug!(kind = %K::kind(&()), %error, "list or watch failed");
                }
                hanse_rt::select! {
                    () = shutdown.cancelled() => return,
                    () = hanse_rt::sleep(backoff.next_delay()) => {}
                }
            }
        });
        mirror
    }

    /// Everything known now.
    pub(crate) fn objects(&self) -> Objects<K> {
        Arc::clone(&self.objects.lock().expect("no holder of this lock panics"))
    }

    /// Whether the first list has arrived.
    pub(crate) fn is_synced(&self) -> bool {
        *self.changes.borrow() > 0
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Lists, then watches until something fails.
    async fn follow(
        &self,
        api: &Api<K>,
        labels: &str,
        backoff: &mut Backoff,
    ) -> Result<(), Failure> {
        let mut version = self.list(api, labels).await?;
        backoff.reset();
        loop {
            let parameters = WatchParams::default().labels(labels).timeout(WATCH_SECONDS);
            let opened = hanse_rt::timeout(CALL, api.watch(&parameters, &version)).await??;
            let mut events = opened.boxed();
            while let Some(event) = hanse_rt::timeout(EVENT, events.try_next()).await?? {
                match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        version = object.resource_version().unwrap_or(version);
                        self.change(|objects| {
                            objects.insert(key(&object), Arc::new(object));
                        });
                    }
                    WatchEvent::Deleted(object) => {
                        version = object.resource_version().unwrap_or(version);
                        self.change(|objects| {
                            objects.remove(&key(&object));
                        });
                    }
                    WatchEvent::Bookmark(bookmark) => {
                        version = bookmark.metadata.resource_version;
                    }
                    WatchEvent::Error(status) => {
                        return Err(Failure::Watch {
                            code: status.code,
                            message: status.message.clone(),
                        });
                    }
                }
            }
        }
    }

    async fn list(&self, api: &Api<K>, labels: &str) -> Result<String, Failure> {
        let mut found = BTreeMap::new();
        let mut parameters = ListParams::default().labels(labels).limit(PAGE);
        loop {
            let page = hanse_rt::timeout(CALL, api.list(&parameters)).await??;
            for object in page.items {
                found.insert(key(&object), Arc::new(object));
            }
            let more = page.metadata.continue_.filter(|token| !token.is_empty());
            if more.is_none() {
                self.change(|objects| *objects = found);
                return Ok(page.metadata.resource_version.unwrap_or_default());
            }
            parameters.continue_token = more;
        }
    }

    fn change(&self, apply: impl FnOnce(&mut BTreeMap<Key, Arc<K>>)) {
        apply(Arc::make_mut(&mut self.objects.lock().expect("no holder of this lock panics")));
        self.changes.send_modify(|count| *count += 1);
    }
}

fn key<K: Resource>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}
