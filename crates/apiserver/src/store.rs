//! The objects of one cluster: one revision counter, an ordered map per resource, a bounded
//! history that feeds watches, and the index that garbage collection and namespaces work from.
//!
//! Writers compute outside the lock and commit against the revision they read. A commit takes
//! effect for other writers at once; readers wait until it is settled, which with a durable
//! store means on disk (see [`disk`]). It knows no requests.

pub(crate) mod disk;
mod index;
mod object;
pub(crate) mod tree;
mod warm;

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard},
};

use hanse_rt::trace::{Origins, TraceParent};
use serde_json::Value;
use tokio::sync::Notify;

use self::{disk::Disk, index::Index};
pub(crate) use self::{
    index::Work,
    object::{Object, uid_number},
    tree::Tree,
};
use crate::{catalog::Kind, failure::Failure, metrics::StoreMetrics};

/// An object with its place in its resource: `namespace/name`, or `/name` without a namespace.
pub(crate) type Entry = (Arc<str>, Arc<Object>);

/// Which objects of a resource a list asks for.
pub(crate) struct Part<'a> {
    pub(crate) prefix: &'a str,
    /// The key to begin with.
    pub(crate) start: &'a str,
    /// The revision that is shown; absent: the newest.
    pub(crate) at: Option<u64>,
    /// Most of them; 0: all.
    pub(crate) limit: usize,
    /// Whether what is left after them is counted.
    pub(crate) counts: bool,
    pub(crate) chosen: &'a dyn Fn(&str, &Object) -> bool,
}

/// Objects of a resource at one revision.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) revision: u64,
    pub(crate) entries: Vec<Entry>,
    /// The key after them, where there are more.
    pub(crate) next: Option<Arc<str>>,
    /// How many there are from that key on.
    pub(crate) left: usize,
}

/// All objects of a cluster.
#[derive(Debug)]
pub(crate) struct Store {
    shared: Arc<Shared>,
    disk: Option<Disk>,
    history: usize,
    metrics: Option<StoreMetrics>,
    origins: Option<Origins>,
}

/// What the store shares with the disk's thread.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    settle: Notify,
    work: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Of the last commit.
    revision: u64,
    /// Up to which commits are durable; equal to `revision` in memory.
    settled: u64,
    /// Before the first commit of this process.
    opened_at: u64,
    failed: Option<String>,
    resources: BTreeMap<Arc<str>, Resource>,
    pending: Vec<Pending>,
    index: Index,
}

#[derive(Debug, Default)]
struct Resource {
    objects: BTreeMap<Arc<str>, Arc<Object>>,
    history: VecDeque<Arc<Event>>,
    /// Bytes that the history holds on to.
    weight: usize,
    /// The newest revision that the history no longer has.
    floor: u64,
    changed: Arc<Notify>,
}

/// A change of one object.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) change: Change,
    pub(crate) key: Arc<str>,
    /// The new state; the last one, with the revision of the deletion, when deleted.
    pub(crate) object: Arc<Object>,
    pub(crate) previous: Option<Arc<Object>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// A commit that waits for the disk.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) resource: Arc<str>,
    pub(crate) key: Arc<str>,
    pub(crate) revision: u64,
    pub(crate) json: Option<bytes::Bytes>,
}

/// What a writer read before it computed its write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expected {
    Absent,
    Revision(u64),
}

/// Somebody else wrote first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raced;

/// The history does not reach back to the asked revision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expired {
    pub(crate) oldest: u64,
}

/// Bytes of objects that the history of one resource holds at most, for each change it may hold.
const BYTES_A_CHANGE: usize = 2 << 10;

impl Store {
    /// An empty store in memory that remembers `history` changes per resource.
    pub(crate) fn memory(history: usize) -> Self {
        Self { shared: Arc::default(), disk: None, history, metrics: None, origins: None }
    }

    /// A store that keeps what `disk` holds, and writes to it.
    pub(crate) fn durable(history: usize, disk: Disk, shared: Arc<Shared>) -> Self {
        Self { shared, disk: Some(disk), history, metrics: None, origins: None }
    }

    /// The same store; its size is counted, and `origins` learns where writes came from.
    pub(crate) fn seen_by(self, metrics: StoreMetrics, origins: Option<Origins>) -> Self {
        {
            let state = self.lock();
            metrics.committed(state.revision);
            for (resource, place) in &state.resources {
                metrics.holds(resource, place.objects.len());
            }
        }
        Self { metrics: Some(metrics), origins, ..self }
    }

    /// Whether writes that belong to no trace begin one.
    pub(crate) const fn begins_traces(&self) -> bool {
        self.origins.is_some()
    }

    pub(crate) fn get(&self, resource: &str, key: &str) -> Option<Arc<Object>> {
        let state = self.lock();
        state.resources.get(resource)?.objects.get(key).cloned()
    }

    /// The objects whose key begins with `prefix`, and the revision at which that is true.
    pub(crate) fn snapshot(&self, resource: &str, prefix: &str) -> (u64, Vec<Entry>) {
        let state = self.lock();
        let place = state.resources.get(resource);
        let objects = place.into_iter().flat_map(|place| place.past(prefix, "", state.revision));
        let entries = objects.map(|(key, object)| (Arc::clone(key), Arc::clone(object)));
        (state.revision, entries.collect())
    }

    /// A part of a resource's objects, as they were at a revision that the history reaches.
    pub(crate) fn page(&self, resource: &str, part: &Part<'_>) -> Result<Page, Expired> {
        let state = self.lock();
        let revision = part.at.unwrap_or(state.revision);
        let Some(place) = state.resources.get(resource) else {
            return Ok(Page { revision, entries: Vec::new(), next: None, left: 0 });
        };
        if part.at.is_some() && place.floor > revision {
            return Err(Expired { oldest: place.floor });
        }
        let mut entries = Vec::new();
        let mut objects = place.past(part.prefix, part.start, revision);
        for (key, object) in &mut objects {
            if part.limit > 0 && entries.len() == part.limit {
                let next = Some(Arc::clone(key));
                let left = if part.counts { 1 + objects.count() } else { 0 };
                return Ok(Page { revision, entries, next, left });
            }
            if (part.chosen)(key, object) {
                entries.push((Arc::clone(key), Arc::clone(object)));
            }
        }
        drop(objects);
        Ok(Page { revision, entries, next: None, left: 0 })
    }

    /// Keys of a resource, at most `limit`, with that prefix.
    pub(crate) fn keys(&self, resource: &str, prefix: &str, limit: usize) -> Vec<Arc<str>> {
        let state = self.lock();
        let place = state.resources.get(resource);
        place.map_or_else(Vec::new, |place| {
            place
                .objects
                .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix))
                .take(limit)
                .map(|(key, _)| Arc::clone(key))
                .collect()
        })
    }

    /// Bytes that the JSON of objects and history takes now, and keys; indices are not counted.
    pub(crate) fn bytes(&self) -> usize {
        let state = self.lock();
        let of_place = |place: &Resource| {
            let objects = place.objects.iter();
            let objects: usize = objects.map(|(key, object)| key.len() + object.size()).sum();
            // The newest state of an object is the same bytes as its last event.
            let past = place.history.iter().filter(|event| {
                let now = place.objects.get(&event.key);
                now.is_none_or(|now| now.revision != event.revision)
            });
            objects + past.map(|event| event.object.size()).sum::<usize>()
        };
        state.resources.values().map(of_place).sum()
    }

    /// The revision of the last commit.
    pub(crate) fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// Wakes whenever a change of the resource settles.
    pub(crate) fn changes(&self, resource: &Arc<str>) -> Arc<Notify> {
        let mut state = self.lock();
        Arc::clone(&state.place(resource).changed)
    }

    /// The settled changes after `cursor`, oldest first, and the next cursor.
    pub(crate) fn since(
        &self,
        resource: &Arc<str>,
        cursor: u64,
    ) -> Result<(u64, Vec<Arc<Event>>), Expired> {
        let mut state = self.lock();
        let settled = state.settled;
        let place = state.place(resource);
        if place.floor > cursor {
            let oldest = place.floor;
            return Err(Expired { oldest });
        }
        let start = place.history.partition_point(|event| event.revision <= cursor);
        let events = place.history.range(start..);
        let events: Vec<_> =
            events.take_while(|event| event.revision <= settled).cloned().collect();
        Ok((settled.max(cursor), events))
    }

    /// Writes an object; `resourceVersion` is set here. `origin` is the trace of the write.
    pub(crate) fn put(
        &self,
        kind: &Kind,
        key: &str,
        expected: Expected,
        tree: impl Into<Tree>,
        origin: Option<TraceParent>,
    ) -> Result<Arc<Object>, Raced> {
        let change = |previous: Option<&Arc<Object>>| match previous {
            None => Change::Added,
            Some(_) => Change::Modified,
        };
        let mut tree = tree.into();
        let object = self.write(kind, key, expected, &tree, origin, change)?;
        set_revision(&mut tree.value, object.revision);
        warm::keep(&object, tree);
        Ok(object)
    }

    /// Removes an object; `last` is the state that watchers see.
    pub(crate) fn remove(
        &self,
        kind: &Kind,
        key: &str,
        expected: Expected,
        last: impl Into<Tree>,
        origin: Option<TraceParent>,
    ) -> Result<Arc<Object>, Raced> {
        self.write(kind, key, expected, &last.into(), origin, |_| Change::Deleted)
    }

    fn write(
        &self,
        kind: &Kind,
        key: &str,
        expected: Expected,
        tree: &Tree,
        origin: Option<TraceParent>,
        change: impl Fn(Option<&Arc<Object>>) -> Change,
    ) -> Result<Arc<Object>, Raced> {
        // Others need not wait until the object is a text.
        let (object, draft) = Object::draft(kind, tree);
        let mut state = self.lock();
        let previous = state.expect(&kind.storage, key, expected)?;
        let revision = state.revision + 1;
        let object = Arc::new(object.settle(revision, draft));
        self.note(revision, origin);
        let change = change(previous.as_ref());
        self.commit(&mut state, kind, key, change, &object, previous.as_ref());
        drop(state);
        if let Some(previous) = previous {
            previous.replaced();
        }
        Ok(object)
    }

    /// Looks at all objects of a resource again, after the kind's selectable fields changed.
    pub(crate) fn digest_again(&self, kind: &Kind) {
        let mut state = self.lock();
        if let Some(place) = state.resources.get_mut(&kind.storage) {
            for object in place.objects.values_mut() {
                let json = object.json();
                *object = Arc::new(Object::load(Some(kind), object.revision, json));
            }
        }
    }

    /// Waits until what was read or written up to `revision` is settled.
    pub(crate) async fn wait_settled(&self, revision: u64) -> Result<(), Failure> {
        loop {
            let settle = self.shared.settle.notified();
            tokio::pin!(settle);
            settle.as_mut().enable();
            {
                let state = self.lock();
                if let Some(why) = &state.failed {
                    return Err(Failure::unavailable(format!("the store failed: {why}")));
                }
                if state.settled >= revision {
                    return Ok(());
                }
            }
            settle.await;
        }
    }

    /// Writes what waits, lets go of the file, and refuses everything from now on.
    pub(crate) fn close(&self) {
        if let Some(disk) = &self.disk {
            disk.close();
        }
        self.shared.fail("it was closed".to_owned());
    }

    /// Why the store takes no more writes.
    pub(crate) fn failure(&self) -> Option<String> {
        self.lock().failed.clone()
    }

    /// Waits for work of the background controllers and takes it.
    pub(crate) async fn work(&self) -> Work {
        loop {
            let ready = self.shared.work.notified();
            tokio::pin!(ready);
            ready.as_mut().enable();
            if let Some(work) = self.lock().index.take() {
                return work;
            }
            ready.await;
        }
    }

    /// Where the object with this uid lives.
    pub(crate) fn place_of(&self, uid: u128) -> Option<(Arc<str>, Arc<str>)> {
        self.lock().index.place(uid).cloned()
    }

    /// The objects that name this uid as an owner.
    pub(crate) fn dependents(&self, uid: u128) -> Vec<(Arc<str>, Arc<str>)> {
        self.lock().index.dependents(uid)
    }

    /// Before the commit: watchers may see it at once.
    fn note(&self, revision: u64, origin: Option<TraceParent>) {
        if let (Some(origins), Some(origin)) = (&self.origins, origin) {
            origins.note(revision, origin);
        }
    }

    fn commit(
        &self,
        state: &mut State,
        kind: &Kind,
        key: &str,
        change: Change,
        object: &Arc<Object>,
        previous: Option<&Arc<Object>>,
    ) {
        let resource = &kind.storage;
        let revision = object.revision;
        state.revision = revision;
        let place = state.place(resource);
        let key: Arc<str> = match place.objects.get_key_value(key) {
            Some((known, _)) => Arc::clone(known),
            None => key.into(),
        };
        if change == Change::Deleted {
            place.objects.remove(&key);
        } else {
            place.objects.insert(Arc::clone(&key), Arc::clone(object));
        }
        if let Some(metrics) = &self.metrics {
            metrics.committed(revision);
            if change != Change::Modified {
                metrics.holds(resource, place.objects.len());
            }
        }
        place.remember(
            Event {
                revision,
                change,
                key: Arc::clone(&key),
                object: Arc::clone(object),
                previous: previous.cloned(),
            },
            self.history,
        );
        let changed = Arc::clone(&place.changed);
        if change == Change::Deleted {
            state.index.removed(resource, &key, object);
        } else {
            state.index.added(resource, &key, object, previous.map(AsRef::as_ref));
        }
        let has_work = state.index.has_work();
        if let Some(disk) = &self.disk {
            let json = (change != Change::Deleted).then(|| object.json());
            state.pending.push(Pending { resource: Arc::clone(resource), key, revision, json });
            disk.wake();
        } else {
            state.settled = revision;
            changed.notify_waiters();
            if has_work {
                self.shared.work.notify_waiters();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl Shared {
    /// What a file held, as the state to begin with.
    pub(crate) fn loaded(
        loaded: disk::Loaded,
        kind_of: impl Fn(&str) -> Option<Arc<Kind>>,
    ) -> Self {
        let mut state = State {
            revision: loaded.revision,
            settled: loaded.revision,
            opened_at: loaded.revision,
            ..State::default()
        };
        for (resource, key, revision, json) in loaded.objects {
            let resource: Arc<str> = resource.into();
            let key: Arc<str> = key.into();
            let object = Object::load(kind_of(&resource).as_deref(), revision, json);
            state.index.added(&resource, &key, &object, None);
            let place = state.place(&resource);
            place.objects.insert(key, Arc::new(object));
        }
        Self { state: Mutex::new(state), ..Self::default() }
    }

    /// Hands over commits that wait for the disk; called by the disk's own thread.
    pub(crate) fn take_pending(&self) -> (u64, Vec<Pending>) {
        let mut state = self.lock();
        let pending = std::mem::take(&mut state.pending);
        (state.revision, pending)
    }

    /// Tells readers that commits up to `revision` are durable.
    pub(crate) fn settle(&self, revision: u64, touched: &[Pending]) {
        let mut state = self.lock();
        state.settled = state.settled.max(revision);
        for one in touched {
            if let Some(place) = state.resources.get(&one.resource) {
                place.changed.notify_waiters();
            }
        }
        drop(state);
        self.settle.notify_waiters();
        self.work.notify_waiters();
    }

    /// The disk refused: nothing is acknowledged from now on.
    pub(crate) fn fail(&self, why: String) {
        self.lock().failed = Some(why);
        self.settle.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl State {
    fn place(&mut self, resource: &Arc<str>) -> &mut Resource {
        let floor = self.opened_at;
        self.resources
            .entry(Arc::clone(resource))
            .or_insert_with(|| Resource { floor, ..Resource::default() })
    }

    fn expect(
        &self,
        resource: &str,
        key: &str,
        expected: Expected,
    ) -> Result<Option<Arc<Object>>, Raced> {
        let place = self.resources.get(resource);
        let current = place.and_then(|place| place.objects.get(key));
        match (current, expected) {
            (None, Expected::Absent) => Ok(None),
            (Some(object), Expected::Revision(revision)) if object.revision == revision => {
                Ok(Some(Arc::clone(object)))
            }
            _ => Err(Raced),
        }
    }
}

impl Resource {
    /// The objects from `start` on as they were at `revision`, in order. It costs what it yields,
    /// and what has changed since.
    fn past<'a>(
        &'a self,
        prefix: &'a str,
        start: &'a str,
        revision: u64,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<Object>)> {
        let start = start.max(prefix);
        let is_asked = move |key: &str| key >= start && key.starts_with(prefix);
        let mut undone: BTreeMap<&Arc<str>, Option<&Arc<Object>>> = BTreeMap::new();
        let since = self.history.iter().rev().take_while(|event| event.revision > revision);
        for event in since.filter(|event| is_asked(&event.key)) {
            undone.insert(&event.key, event.previous.as_ref());
        }
        let now = self.objects.range::<str, _>((Bound::Included(start), Bound::Unbounded));
        let mut now = now.take_while(move |(key, _)| key.starts_with(prefix)).peekable();
        let mut undone = undone.into_iter().peekable();
        std::iter::from_fn(move || {
            loop {
                let Some((key, _)) = undone.peek() else {
                    return now.next();
                };
                if let Some(earlier) = now.next_if(|(other, _)| other < key) {
                    return Some(earlier);
                }
                let (key, then) = undone.next()?;
                now.next_if(|(other, _)| *other == key);
                if let Some(object) = then {
                    return Some((key, object));
                }
            }
        })
    }

    fn remember(&mut self, event: Event, limit: usize) {
        self.weight += event.object.length;
        self.history.push_back(Arc::new(event));
        while self.history.len() > limit
            || (self.weight > limit.saturating_mul(BYTES_A_CHANGE) && self.history.len() > 1)
        {
            let Some(oldest) = self.history.pop_front() else {
                break;
            };
            self.weight -= oldest.object.length;
            self.floor = oldest.revision;
        }
    }
}

fn set_revision(value: &mut Value, revision: u64) {
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.insert("resourceVersion".to_owned(), revision.to_string().into());
    }
}

#[cfg(test)]
mod tests;
