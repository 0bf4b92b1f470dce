//! One joined member as the hub sees it: its client, whether its API answers, the kinds it serves,
//! its free room, and digests of what Hanse applied there.

mod leftovers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hanse_member::{Digest, Kinds, KindsPool, Watched, digest, discover, run_watch};
use hanse_rt::{Elapsed, Mono, Rng, TaskSet};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt as _,
    core::{DynamicObject, PartialObjectMeta},
};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use crate::{
    Key, TemplateKey,
    marks::NAMES,
    room::{
        RoomBook, RoomSeen,
        kept::{self, Failing, KeptNode, KeptPod},
    },
};

/// Whether a member's API server answers the hub.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sight {
    /// Whether the last probe was answered; absent before the first one ended.
    pub up: Option<bool>,
    /// Since when that is so.
    pub since: Mono,
    /// What the last failed probe said.
    pub error: String,
}

/// What a session announces. It must only be noted: it is called inside the watch.
#[derive(Clone, Debug)]
pub enum SessionEvent {
    /// The API server answers again, or no more.
    Sight,
    /// The served kinds are known, or have changed.
    Kinds,
    /// Free room has changed.
    Room,
    /// The first list of a kind (`apiVersion/Kind`) is whole, or a look found no copy of it.
    Synced(String),
    /// The copy of a binding has changed.
    Object(Key),
}

/// Tunables of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Time between two probes of the API server. Default 500 ms.
    pub probe_period: Duration,
    /// Until a probe counts as failed. Default 1 s.
    pub probe_limit: Duration,
    /// Changes of nodes and pods are collected for this long. Default 50 ms.
    pub room_delay: Duration,
    /// When the member has not answered, or its nodes or pods could not be watched, for this long,
    /// its room counts as unknown. A watch that fell silent is found out after 70 s at most.
    /// Default 30 s.
    pub room_stale: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            probe_period: Duration::from_millis(500),
            probe_limit: Duration::from_secs(1),
            room_delay: Duration::from_millis(50),
            room_stale: Duration::from_secs(30),
        }
    }
}

/// Changes of definitions are collected for this long before the kinds are asked for again.
const KINDS_DELAY: Duration = Duration::from_millis(200);

/// How often a hub whose probe was not answered waits for its turn, to learn whether it is late.
const LOOKS_AT_ITSELF: u32 = 4;
/// How often it does so while the probe is under way.
const LOOKS_MEANWHILE: u32 = 4;
/// It is late when its turns took this part of a probe's limit.
const LATE: u32 = 8;

/// Watches that room is counted from.
const ROOM_WATCHES: [&str; 2] = ["nodes", "pods"];

type Listener = Arc<dyn Fn(&str, SessionEvent) + Send + Sync>;

/// One joined member.
pub struct Session {
    name: String,
    client: Client,
    hub_id: String,
    tasks: TaskSet,
    rng: Rng,
    limits: SessionLimits,
    listener: Listener,
    sight: watch::Sender<Sight>,
    /// Counts up when watches should begin anew.
    epoch: watch::Sender<u64>,
    kinds: RwLock<Option<Arc<Kinds>>>,
    /// What all members serve.
    all_kinds: KindsPool,
    room: RwLock<Option<Arc<RoomSeen>>>,
    /// Watches of nodes and pods that have failed lately.
    failing: Mutex<BTreeMap<&'static str, Failing>>,
    /// Whether the room is known well enough for new work, as it was told last.
    room_fresh: AtomicBool,
    book: Mutex<RoomBook>,
    book_changed: Notify,
    definitions_changed: Notify,
    copies: RwLock<Copies>,
    sought: leftovers::Sought,
}

#[derive(Debug, Default)]
struct Copies {
    by_key: BTreeMap<Arc<TemplateKey>, Noted>,
    /// How often a copy was noted.
    notes: u64,
    /// Nearly always one each.
    by_binding: BTreeMap<Key, Vec<Arc<TemplateKey>>>,
    watched: BTreeSet<String>,
    synced: BTreeSet<String>,
    /// Kinds of which there was no copy when it was looked for, and which are not watched.
    empty: BTreeSet<String>,
}

/// A copy, and its place among all that was noted.
#[derive(Clone, Debug)]
struct Noted {
    copy: Copy,
    number: u64,
}

/// The copy of a template in a member.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Its digest.
    pub digest: Arc<Digest>,
    /// The whole object, from a change until it has been compared.
    pub unseen: Option<Arc<Value>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Session {
    /// Starts to observe a member.
    pub fn start(
        name: &str,
        client: Client,
        hub_id: &str,
        tasks: &TaskSet,
        (rng, limits): (Rng, SessionLimits),
        all_kinds: KindsPool,
        listener: Listener,
    ) -> Arc<Self> {
        let sight = Sight { up: None, since: Mono::now(), error: String::new() };
        let session = Arc::new(Self {
            name: name.to_owned(),
            client,
            hub_id: hub_id.to_owned(),
            tasks: tasks.child(name),
            rng,
            limits,
            listener,
            sight: watch::Sender::new(sight),
            epoch: watch::Sender::new(0),
            kinds: RwLock::default(),
            all_kinds,
            room: RwLock::default(),
            failing: Mutex::default(),
            room_fresh: AtomicBool::new(false),
            book: Mutex::default(),
            book_changed: Notify::new(),
            definitions_changed: Notify::new(),
            copies: RwLock::default(),
            sought: leftovers::Sought::default(),
        });
        session.spawn("probe", Self::probe);
        session.spawn("nodes", Self::nodes);
        session.spawn("pods", Self::pods);
        session.spawn("room", Self::sum_room);
        session.spawn("definitions", Self::definitions);
        session.spawn("kinds", Self::follow_kinds);
        session.spawn("leftovers", Self::look);
        session
    }

    /// Ends all that the session does.
    pub async fn stop(&self) {
        self.tasks.kill().await;
    }

    /// Name of the member.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Client of the member; every call on it ends.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Whether its API server answers, followed.
    pub fn sight(&self) -> watch::Receiver<Sight> {
        self.sight.subscribe()
    }

    /// Whether its API server answered the last probe.
    pub fn is_up(&self) -> bool {
        self.sight.borrow().up == Some(true)
    }

    /// The kinds that it serves, once known.
    pub fn kinds(&self) -> Option<Arc<Kinds>> {
        self.kinds.read().expect("no holder of this lock panics").clone()
    }

    /// Its free room, unless it is not known or too old for new work to rely on.
    pub fn fresh_room(&self) -> Option<Arc<RoomSeen>> {
        self.room().filter(|_| self.is_room_fresh())
    }

    fn is_room_fresh(&self) -> bool {
        let (now, limit) = (Mono::now(), self.limits.room_stale);
        let (down, since) = {
            let sight = self.sight.borrow();
            (sight.up == Some(false), sight.since)
        };
        let failing = self.failing.lock().expect("no holder of this lock panics");
        let is_cut = down && now.duration_since(since) >= limit;
        !is_cut && failing.values().all(|failing| !failing.has_lasted(limit, now))
    }

    /// Tells when the room becomes too old, and when it is known again.
    fn judge_room(&self) {
        let fresh = self.fresh_room().is_some();
        if self.room_fresh.swap(fresh, Ordering::Relaxed) != fresh {
            self.announce(SessionEvent::Room);
        }
    }

    /// Its free room as it was seen last, once known.
    pub fn room(&self) -> Option<Arc<RoomSeen>> {
        self.room.read().expect("no holder of this lock panics").clone()
    }

    /// The copy of a template.
    pub fn copy(&self, key: &TemplateKey) -> Option<Copy> {
        self.read().by_key.get(key).map(|noted| noted.copy.clone())
    }

    /// All copies that a binding has here.
    pub fn copies_of(&self, binding: &Key) -> Vec<(TemplateKey, Copy)> {
        let copies = self.read();
        let keys = copies.by_binding.get(binding).into_iter().flatten();
        keys.filter_map(|key| Some((TemplateKey::clone(key), copies.by_key.get(key)?.copy.clone())))
            .collect()
    }

    /// Whether the autoscaler of a workload stands here and owns its count.
    pub(crate) fn scales(&self, autoscaler: Option<&TemplateKey>) -> bool {
        autoscaler.is_some_and(|key| self.read().by_key.contains_key(key))
    }

    /// Whether a binding has a copy here.
    pub(crate) fn has_copies(&self, binding: &Key) -> bool {
        self.read().by_binding.contains_key(binding)
    }

    /// All bindings that have copies here.
    pub fn bindings(&self) -> Vec<Key> {
        self.read().by_binding.keys().cloned().collect()
    }

    /// Whether a copy of this kind that is not known is not there.
    pub fn is_synced(&self, kind_id: &str) -> bool {
        let copies = self.read();
        copies.synced.contains(kind_id) || copies.empty.contains(kind_id)
    }

    /// Whether its kinds are known, and the lists of all that are followed are whole.
    pub(crate) fn is_listed(&self) -> bool {
        let copies = self.read();
        self.kinds().is_some() && copies.watched.is_subset(&copies.synced)
    }

    /// Follows the copies of a kind from now on. False while the kind is not known to be served.
    pub fn follow(self: &Arc<Self>, api_version: &str, kind: &str) -> bool {
        let Some(served) = self.kinds().and_then(|kinds| kinds.get(api_version, kind).cloned())
        else {
            return false;
        };
        let id = format!("{api_version}/{kind}");
        {
            let mut copies = self.write();
            copies.empty.remove(&id);
            if !copies.watched.insert(id) {
                return true;
            }
        }
        let api: Api<DynamicObject> = Api::all_with(self.client(), &served.resource);
        let (api_version, kind) = (api_version.to_owned(), kind.to_owned());
        self.spawn("copies", move |session| session.follow_copies(api, api_version, kind));
        true
    }

    /// Notes what a write to the member has answered, so that nothing waits for the watch.
    pub(crate) fn note_written(&self, key: &TemplateKey, object: &Value) {
        self.tell(self.put(key, digest(object, NAMES), None, None));
    }

    /// Notes that a copy is gone.
    pub(crate) fn note_gone(&self, key: &TemplateKey) {
        self.remove(key);
    }

    /// Notes that a copy has been compared as it was when it had this fingerprint.
    pub(crate) fn note_compared(&self, key: &TemplateKey, fingerprint: u64) {
        if let Some(noted) = self.write().by_key.get_mut(key)
            && noted.copy.digest.fingerprint == fingerprint
        {
            noted.copy.unseen = None;
        }
    }

    fn spawn<F>(self: &Arc<Self>, name: &'static str, task: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = self.tasks.shutdown();
        let task = Box::pin(task(Arc::clone(self)));
        self.tasks.spawn(name, async move {
            hanse_rt::select! {
                () = shutdown.cancelled() => {}
                () = task => {}
            }
        });
    }

    fn announce(&self, event: SessionEvent) {
        (self.listener)(&self.name, event);
    }

    async fn probe(self: Arc<Self>) {
        let mut failures = 0;
        loop {
            let (answer, late) = self.ask().await;
            if answer.is_err() && (late || self.is_hub_late().await) {
                // Who does not get to its answers cannot say that there are none.
                continue;
            }
            let error = match answer {
                Ok(Ok(())) => None,
                Ok(Err(kube::Error::Api(status))) if status.code < 500 => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(elapsed) => Some(elapsed.to_string()),
            };
            failures = if error.is_some() { failures + 1 } else { 0 };
            self.saw(error);
            self.judge_room();
            let kinds_wanted = self.kinds().is_none();
            if failures == 0 && kinds_wanted {
                self.learn_kinds().await;
            }
            hanse_rt::sleep(self.limits.probe_period).await;
        }
    }

    /// Probes the API server, and looks at how late this process is all the while: it may have
    /// caught up by the end.
    async fn ask(&self) -> (Result<Result<(), kube::Error>, Elapsed>, bool) {
        let limit = self.limits.probe_limit;
        let mut asked = Box::pin(self.client.apiserver_version());
        let (begun, step) = (Mono::now(), limit / LOOKS_MEANWHILE);
        let mut behind = Duration::ZERO;
        loop {
            let wakes = Mono::now() + step;
            hanse_rt::select! {
                answer = &mut asked => return (Ok(answer.map(drop)), false),
                () = hanse_rt::sleep_until(wakes) => {}
            }
            behind += wakes.elapsed() + hanse_rt::turn().await;
            if begun.elapsed() >= limit {
                return (Err(Elapsed(limit)), behind >= limit / LATE);
            }
        }
    }

    /// Whether this process is so far behind its work that an answer in time may lie unread: it
    /// passes some twenty tasks on its way. A member that refuses is heard all the same, and one
    /// that is silent is missed by the gateways of others.
    async fn is_hub_late(&self) -> bool {
        let mut behind = Duration::ZERO;
        for _ in 0..LOOKS_AT_ITSELF {
            behind += hanse_rt::turn().await;
        }
        behind >= self.limits.probe_limit / LATE
    }

    fn saw(&self, error: Option<String>) {
        let before = self.sight.borrow().up;
        let up = error.is_none();
        let error = error.unwrap_or_default();
        if before == Some(up) {
            return;
        }
        self.sight.send_replace(Sight { up: Some(up), since: Mono::now(), error });
        if up && before == Some(false) {
            // What the cut swallowed is only seen by listing again.
            self.epoch.send_modify(|epoch| *epoch += 1);
        }
        self.announce(SessionEvent::Sight);
    }

    /// Asks which kinds the member serves.
    pub(crate) async fn learn_kinds(&self) {
        match Box::pin(discover(&self.client)).await {
            Ok(kinds) => {
                let kinds = Some(self.all_kinds.share(kinds));
                let changed = {
                    let mut known = self.kinds.write().expect("no holder of this lock panics");
                    let changed = *known != kinds;
                    *known = kinds;
                    changed
                };
                if changed {
                    self.announce(SessionEvent::Kinds);
                }
            }
            Err(error) => {
                tracing::warn!(member = self.name, %error, "discovery failed");
                if self.kinds().is_none() {
                    self.announce(SessionEvent::Kinds);
                }
            }
        }
    }

    /// Runs a watch that begins anew with each epoch.
    async fn watch<K>(
        self: Arc<Self>,
        what: &'static str,
        api: Api<K>,
        labels: Option<String>,
        mut on: impl FnMut(Watched<K>) + Send,
    ) where
        K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    {
        let mut epoch = self.epoch.subscribe();
        loop {
            epoch.borrow_and_update();
            let rng = self.rng.fork("watch", what);
            let failed = |event: &Watched<K>| {
                let mut failing = self.failing.lock().expect("no holder of this lock panics");
                if let Watched::Failed(error) = event {
                    tracing::debug!(member = self.name, what, error, "a member's watch failed");
                    if ROOM_WATCHES.contains(&what) {
                        let known = failing.get(what).copied();
                        failing.insert(what, Failing::note(known, Mono::now()));
                    }
                } else {
                    failing.remove(what);
                }
            };
            let watch = Box::pin(run_watch(api.clone(), labels.clone(), rng, |event| {
                failed(&event);
                on(event);
            }));
            hanse_rt::select! {
                changed = epoch.changed() => if changed.is_err() { return },
                () = watch => return,
            }
        }
    }

    async fn nodes(self: Arc<Self>) {
        let session = Arc::clone(&self);
        let mut listed = BTreeSet::new();
        let api = kept::nodes(self.client());
        self.watch("nodes", api, None, move |event| {
            let mut book = session.book.lock().expect("no holder of this lock panics");
            let mut put = |node: KeptNode| {
                let name = node.name_any();
                book.set_node(&name, &serde_json::to_value(&node).unwrap_or_default());
                name
            };
            match event {
                Watched::Listing => listed.clear(),
                Watched::Listed(node) => {
                    let name = put(node);
                    listed.insert(name);
                }
                Watched::Synced => book.retain_nodes(&std::mem::take(&mut listed)),
                Watched::Applied(node) => {
                    put(node);
                }
                Watched::Deleted(node) => book.remove_node(&node.name_any()),
                Watched::Failed(_) => return,
            }
            session.book_changed.notify_one();
        })
        .await;
    }

    async fn pods(self: Arc<Self>) {
        let session = Arc::clone(&self);
        let mut listed = BTreeSet::new();
        let api = kept::pods(self.client());
        self.watch("pods", api, None, move |event| {
            let mut book = session.book.lock().expect("no holder of this lock panics");
            let now = Mono::now();
            let mut put = |pod: KeptPod| {
                let key = (pod.namespace().unwrap_or_default(), pod.name_any());
                book.set_pod(&key.0, &key.1, &serde_json::to_value(&pod).unwrap_or_default(), now);
                key
            };
            match event {
                Watched::Listing => listed.clear(),
                Watched::Listed(pod) => {
                    let key = put(pod);
                    listed.insert(key);
                }
                Watched::Synced => book.retain_pods(&std::mem::take(&mut listed)),
                Watched::Applied(pod) => {
                    put(pod);
                }
                Watched::Deleted(pod) => {
                    book.remove_pod(&pod.namespace().unwrap_or_default(), &pod.name_any());
                }
                Watched::Failed(_) => return,
            }
            session.book_changed.notify_one();
        })
        .await;
    }

    /// A new definition is a new kind, once it is established.
    async fn definitions(self: Arc<Self>) {
        let session = Arc::clone(&self);
        let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(self.client());
        self.watch("definitions", api, None, move |event| {
            if matches!(event, Watched::Applied(_) | Watched::Deleted(_)) {
                session.definitions_changed.notify_one();
            }
        })
        .await;
    }

    async fn follow_kinds(self: Arc<Self>) {
        loop {
            self.definitions_changed.notified().await;
            hanse_rt::sleep(KINDS_DELAY).await;
            self.learn_kinds().await;
        }
    }

    async fn sum_room(self: Arc<Self>) {
        loop {
            self.book_changed.notified().await;
            hanse_rt::sleep(self.limits.room_delay).await;
            let seen = {
                let book = self.book.lock().expect("no holder of this lock panics");
                book.is_whole().then(|| book.sum())
            };
            let Some(seen) = seen else { continue };
            let changed = {
                let mut room = self.room.write().expect("no holder of this lock panics");
                let changed = room.as_deref() != Some(&seen);
                if changed {
                    *room = Some(Arc::new(seen));
                }
                changed
            };
            self.room_fresh.store(self.is_room_fresh(), Ordering::Relaxed);
            if changed {
                self.announce(SessionEvent::Room);
            }
        }
    }

    async fn follow_copies(
        self: Arc<Self>,
        api: Api<DynamicObject>,
        api_version: String,
        kind: String,
    ) {
        let session = Arc::clone(&self);
        let labels = format!("{}={}", hanse_api::marks::HUB_LABEL, self.hub_id);
        let (mut listed, mut begun) = (BTreeSet::new(), 0);
        // A list is told when it is whole: what it says of one kind is looked at together.
        let mut untold = BTreeSet::new();
        let id = format!("{api_version}/{kind}");
        self.watch("copies", api, Some(labels), move |event| {
            let key = |object: &DynamicObject| TemplateKey {
                api_version: api_version.clone(),
                kind: kind.clone(),
                namespace: object.namespace().unwrap_or_default(),
                name: object.name_any(),
            };
            match event {
                Watched::Listing => {
                    listed.clear();
                    begun = session.read().notes;
                }
                Watched::Listed(object) => {
                    let key = key(&object);
                    untold.extend(session.seen(&key, object, Some(begun)));
                    listed.insert(key);
                }
                Watched::Synced => {
                    session.listed(&id, &std::mem::take(&mut listed));
                    session.tell(std::mem::take(&mut untold));
                }
                Watched::Applied(object) => session.tell(session.seen(&key(&object), object, None)),
                Watched::Deleted(object) => session.remove(&key(&object)),
                Watched::Failed(_) => {}
            }
        })
        .await;
    }

    /// Notes a copy as it was seen; gives the bindings that it concerns.
    fn seen(
        &self,
        key: &TemplateKey,
        mut object: DynamicObject,
        begun: Option<u64>,
    ) -> BTreeSet<Key> {
        // They are most of an object, and nobody asks for them.
        object.metadata.managed_fields = None;
        let mut value = object.data;
        value["metadata"] = serde_json::to_value(object.metadata).unwrap_or_default();
        // Of a built-in kind, what is listed does not say so itself.
        value["apiVersion"] = key.api_version.clone().into();
        value["kind"] = key.kind.clone().into();
        self.put(key, digest(&value, NAMES), Some(value), begun)
    }

    fn tell(&self, bindings: impl IntoIterator<Item = Key>) {
        for binding in bindings {
            self.announce(SessionEvent::Object(binding));
        }
    }

    /// Keeps the whole object only where something changed that a manifest could say. What a list
    /// says holds against all that was noted before it began, for a member that was restored from a
    /// backup counts its versions from an older one; `begun` is how much that was. Gives the bindings
    /// that it concerns.
    fn put(
        &self,
        key: &TemplateKey,
        digest: Digest,
        object: Option<Value>,
        begun: Option<u64>,
    ) -> BTreeSet<Key> {
        let binding = Key::parse(&digest.binding);
        let old_binding = {
            let mut copies = self.write();
            let old = copies.by_key.get(key).cloned();
            let overtaken = |old: &Noted| {
                old.copy.digest.is_newer_than(&digest)
                    && begun.is_none_or(|begun| old.number > begun)
            };
            if old.as_ref().is_some_and(overtaken) {
                return BTreeSet::new();
            }
            let old = old.map(|noted| noted.copy);
            let same = old.as_ref().is_some_and(|old| {
                old.digest.fingerprint == digest.fingerprint && old.digest.uid == digest.uid
            });
            let unseen = match (&old, object) {
                (Some(old), Some(_)) if same => old.unseen.clone(),
                (_, object) => object.map(Arc::new),
            };
            let old_binding = old.as_ref().and_then(|old| Key::parse(&old.digest.binding));
            if let Some(binding) = old_binding.as_ref().filter(|old| binding.as_ref() != Some(*old))
            {
                copies.unlink(binding, key);
            }
            let known = copies.by_key.get_key_value(key).map(|(known, _)| Arc::clone(known));
            let key = known.unwrap_or_else(|| Arc::new(key.clone()));
            if let Some(binding) = &binding {
                copies.link(binding, &key);
            }
            copies.notes += 1;
            let number = copies.notes;
            let copy = Copy { digest: Arc::new(digest), unseen };
            copies.by_key.insert(key, Noted { copy, number });
            old_binding
        };
        old_binding.into_iter().chain(binding).collect()
    }

    fn remove(&self, key: &TemplateKey) {
        let binding = {
            let mut copies = self.write();
            let Some(old) = copies.by_key.remove(key) else {
                return;
            };
            let binding = Key::parse(&old.copy.digest.binding);
            if let Some(binding) = &binding {
                copies.unlink(binding, key);
            }
            binding
        };
        if let Some(binding) = binding {
            self.announce(SessionEvent::Object(binding));
        }
    }

    fn listed(&self, kind_id: &str, listed: &BTreeSet<TemplateKey>) {
        let gone: Vec<TemplateKey> = {
            let copies = self.read();
            let of_kind = copies.by_key.keys().filter(|key| key.kind_id() == kind_id);
            let gone = of_kind.filter(|key| !listed.contains(&***key));
            gone.map(|key| TemplateKey::clone(key)).collect()
        };
        for key in gone {
            self.remove(&key);
        }
        self.write().synced.insert(kind_id.to_owned());
        self.announce(SessionEvent::Synced(kind_id.to_owned()));
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Copies> {
        self.copies.read().expect("no holder of this lock panics")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Copies> {
        self.copies.write().expect("no holder of this lock panics")
    }
}

impl Copies {
    fn link(&mut self, binding: &Key, key: &Arc<TemplateKey>) {
        if let Some(keys) = self.by_binding.get_mut(binding) {
            if !keys.contains(key) {
                keys.push(Arc::clone(key));
                keys.sort_unstable();
            }
        } else {
            self.by_binding.insert(binding.clone(), vec![Arc::clone(key)]);
        }
    }

    fn unlink(&mut self, binding: &Key, key: &TemplateKey) {
        if let Some(keys) = self.by_binding.get_mut(binding) {
            keys.retain(|known| **known != *key);
            if keys.is_empty() {
                self.by_binding.remove(binding);
            }
        }
    }
}

#[cfg(test)]
mod tests;
