//! The hub's view of one kind of its own objects: filled by one watch, read by everybody,
//! announced to whoever has to react. Objects are held without their managed fields.
//!
//! What a write of the hub's own has answered may be noted before the watch brings it, so that
//! nobody works with what the hub itself has changed. Versions of one kind are in order, so an
//! event that is older than what is known says nothing new.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, RwLock},
};

use hanse_member::{Watched, run_watch};
use hanse_rt::{Readiness, Rng, TaskSet};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

/// Namespace (empty for kinds without one) and name.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Key {
    /// Namespace; empty for kinds without one.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// The key of a name in a namespace.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The key of an object.
    pub fn of<K: kube::ResourceExt>(object: &K) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }

    /// Reads `namespace/name`.
    pub fn parse(text: &str) -> Option<Self> {
        text.split_once('/').map(|(namespace, name)| Self::new(namespace, name))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

type Listener<K> = Box<dyn Fn(&Key, Option<&Arc<K>>, Option<&Arc<K>>) + Send + Sync>;

/// All objects of one kind. Cloning shares it.
pub struct Cache<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    objects: RwLock<BTreeMap<Key, Arc<K>>>,
    listeners: RwLock<Vec<Listener<K>>>,
    /// Serialises changes, so that listeners hear them in order.
    writer: Mutex<Heard>,
}

/// How far the watch is.
#[derive(Debug, Default)]
struct Heard {
    /// The newest version that it brought.
    version: u64,
    /// How often it has begun to list everything, and ended: odd while it lists.
    lists: u64,
}

/// Taken before a write, so that its answer can be told from an older one.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    lists: u64,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> Debug for Cache<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("objects", &self.read().len()).finish()
    }
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        let shared = Shared {
            objects: RwLock::default(),
            listeners: RwLock::default(),
            writer: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl<K> Cache<K> {
    /// The object of a key.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read().get(key).cloned()
    }

    /// All objects in order of key.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.read().values().cloned().collect()
    }

    /// All keys in order.
    pub fn keys(&self) -> Vec<Key> {
        self.read().keys().cloned().collect()
    }

    /// Calls `listener` with key, old and new object at each change. It must only note what
    /// changed and return: it runs inside the watch.
    pub fn on_change(
        &self,
        listener: impl Fn(&Key, Option<&Arc<K>>, Option<&Arc<K>>) + Send + Sync + 'static,
    ) {
        let mut listeners = self.shared.listeners.write().expect("no holder of this lock panics");
        listeners.push(Box::new(listener));
    }

    /// Adds or replaces an object.
    pub fn set(&self, key: impl std::borrow::Borrow<Key>, object: K) {
        self.set_with(&self.turn(), key.borrow(), object);
    }

    /// Takes an object out.
    pub fn remove(&self, key: &Key) {
        self.remove_with(&self.turn(), key);
    }

    /// Whoever writes an object takes a ticket first.
    pub fn ticket(&self) -> Ticket {
        Ticket { lists: self.turn().lists }
    }

    fn turn(&self) -> MutexGuard<'_, Heard> {
        self.shared.writer.lock().expect("no holder of this lock panics")
    }

    fn set_with(&self, _turn: &MutexGuard<'_, Heard>, key: &Key, object: K) {
        let object = Arc::new(object);
        let old = self.write().insert(key.clone(), Arc::clone(&object));
        self.announce(key, old.as_ref(), Some(&object));
    }

    fn remove_with(&self, _turn: &MutexGuard<'_, Heard>, key: &Key) {
        let old = self.write().remove(key);
        if old.is_some() {
            self.announce(key, old.as_ref(), None);
        }
    }

    fn announce(&self, key: &Key, old: Option<&Arc<K>>, new: Option<&Arc<K>>) {
        let listeners = self.shared.listeners.read().expect("no holder of this lock panics");
        for listener in listeners.iter() {
            listener(key, old, new);
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Key, Arc<K>>> {
        self.shared.objects.read().expect("no holder of this lock panics")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<Key, Arc<K>>> {
        self.shared.objects.write().expect("no holder of this lock panics")
    }
}

impl<K> Cache<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Fills the cache from a watch until `tasks` end. Readiness waits for the first whole list.
    pub fn follow(
        &self,
        tasks: &TaskSet,
        readiness: &Readiness,
        api: Api<K>,
        what: &'static str,
        rng: Rng,
    ) {
        let cache = self.clone();
        let mut hold = Some(readiness.hold(what));
        let shutdown = tasks.shutdown();
        tasks.spawn(what, async move {
            let mut filler = Filler { cache, listed: None };
            let watch = run_watch(api, None, rng, move |event| {
                if matches!(event, Watched::Synced) {
                    hold.take();
                }
                filler.take(event, what);
            });
            hanse_rt::select! {
                () = shutdown.cancelled() => {}
                () = watch => {}
            }
        });
    }
}

impl<K: Resource + Clone> Cache<K> {
    /// Notes what a write has answered. Nothing is noted that the watch has brought already, or
    /// may have brought: then it is the watch that knows.
    pub fn note_written(&self, ticket: Ticket, mut object: K) {
        let turn = self.turn();
        let Some(version) = version(&object) else {
            return;
        };
        let listed = turn.lists != ticket.lists || turn.lists % 2 == 1;
        if listed || version <= turn.version {
            return;
        }
        let key = Key::of(&object);
        if self.get(&key).is_some_and(|known| !is_older(&*known, version)) {
            return;
        }
        object.managed_fields_mut().clear();
        self.set_with(&turn, &key, object);
    }
}

/// The version of an object, where it is a number: servers promise it to be one in order of writes.
fn version<K: Resource>(object: &K) -> Option<u64> {
    object.meta().resource_version.as_ref()?.parse().ok()
}

/// Whether an object is older than a version.
fn is_older<K: Resource>(object: &K, than: u64) -> bool {
    version(object).is_none_or(|known| known < than)
}

/// Turns the events of a watch into changes of a cache.
struct Filler<K> {
    cache: Cache<K>,
    /// Keys of the list under way.
    listed: Option<std::collections::BTreeSet<Key>>,
}

impl<K: Resource + Clone> Filler<K> {
    fn take(&mut self, event: Watched<K>, what: &str) {
        match event {
            Watched::Listing => {
                self.turn_of_list(true);
                self.listed = Some(std::collections::BTreeSet::new());
            }
            Watched::Listed(object) => {
                let key = Key::of(&object);
                if let Some(listed) = &mut self.listed {
                    listed.insert(key.clone());
                }
                self.put(&key, object, true);
            }
            Watched::Synced => {
                if let Some(listed) = self.listed.take() {
                    for key in self.cache.keys() {
                        if !listed.contains(&key) {
                            self.cache.remove(&key);
                        }
                    }
                }
                self.turn_of_list(false);
            }
            Watched::Applied(object) => self.put(&Key::of(&object), object, false),
            Watched::Deleted(object) => {
                let mut turn = self.cache.turn();
                let key = Key::of(&object);
                if let Some(gone) = version(&object) {
                    turn.version = turn.version.max(gone);
                    // One that was made anew under its name has been noted already.
                    if self.cache.get(&key).is_some_and(|known| !is_older(&*known, gone + 1)) {
                        return;
                    }
                }
                self.cache.remove_with(&turn, &key);
            }
            Watched::Failed(error) => tracing::warn!(kind = what, error, "the hub's watch failed"),
        }
    }

    fn turn_of_list(&self, begins: bool) {
        let mut turn = self.cache.turn();
        if begins {
            // The server may have been set back to an earlier state.
            turn.version = 0;
        }
        if (turn.lists % 2 == 1) != begins {
            turn.lists += 1;
        } else if begins {
            // The one before was cut off.
            turn.lists += 2;
        }
    }

    /// What a list says holds, whatever was known.
    fn put(&self, key: &Key, mut object: K, listed: bool) {
        object.managed_fields_mut().clear();
        let mut turn = self.cache.turn();
        let known = self.cache.get(key);
        if let Some(new) = version(&object) {
            turn.version = turn.version.max(new);
            let newer = |known: &Arc<K>| version(&**known).is_some_and(|known| known > new);
            if !listed && known.as_ref().is_some_and(newer) {
                return;
            }
        }
        let known = known.and_then(|old| old.resource_version());
        if known.is_none() || known != object.resource_version() {
            self.cache.set_with(&turn, key, object);
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str, version: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.namespace = Some("shop".to_owned());
        object.metadata.resource_version = Some(version.to_owned());
        object
    }

    #[test]
    fn a_new_list_takes_out_what_it_does_not_name_and_announces_changes_only() {
        let cache = Cache::default();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&heard);
        cache.on_change(move |key, old: Option<&Arc<ConfigMap>>, new| {
            ears.lock().unwrap().push((key.name.clone(), old.is_some(), new.is_some()));
        });
        let mut filler = Filler { cache: cache.clone(), listed: None };
        filler.take(Watched::Listing, "x");
        for name in ["a", "b"] {
            filler.take(Watched::Listed(object(name, "1")), "x");
        }
        filler.take(Watched::Synced, "x");
        filler.take(Watched::Listing, "x");
        filler.take(Watched::Listed(object("b", "1")), "x");
        filler.take(Watched::Synced, "x");
        assert_eq!(cache.keys(), [Key::new("shop", "b")]);
        let heard = heard.lock().unwrap();
        let expected = [("a", false, true), ("b", false, true), ("a", true, false)];
        assert!(heard.iter().map(|(n, o, w)| (n.as_str(), *o, *w)).eq(expected));
    }

    fn filler() -> Filler<ConfigMap> {
        let mut filler = Filler { cache: Cache::default(), listed: None };
        for event in [Watched::Listing, Watched::Listed(object("a", "5")), Watched::Synced] {
            filler.take(event, "x");
        }
        filler
    }

    fn known(cache: &Cache<ConfigMap>, name: &str) -> Option<String> {
        cache.get(&Key::new("shop", name)).and_then(|found| found.resource_version())
    }

    #[test]
    fn an_answer_is_known_before_its_event_and_older_events_do_not_undo_it() {
        let mut filler = filler();
        let cache = filler.cache.clone();
        let heard = Arc::new(Mutex::new(0));
        let ears = Arc::clone(&heard);
        cache.on_change(move |_, _, _| *ears.lock().unwrap() += 1);
        cache.note_written(cache.ticket(), object("a", "9"));
        assert_eq!(known(&cache, "a").as_deref(), Some("9"));
        for version in ["7", "9"] {
            filler.take(Watched::Applied(object("a", version)), "x");
            assert_eq!(known(&cache, "a").as_deref(), Some("9"));
        }
        assert_eq!(*heard.lock().unwrap(), 1, "it is announced once");
        filler.take(Watched::Applied(object("a", "10")), "x");
        assert_eq!(known(&cache, "a").as_deref(), Some("10"));
    }

    #[test]
    fn a_late_answer_brings_nothing_back_that_is_gone() {
        let mut filler = filler();
        let cache = filler.cache.clone();
        let ticket = cache.ticket();
        filler.take(Watched::Deleted(object("a", "8")), "x");
        cache.note_written(ticket, object("a", "7"));
        assert_eq!(known(&cache, "a"), None);
        for event in [Watched::Listing, Watched::Synced] {
            filler.take(event, "x");
        }
        cache.note_written(ticket, object("b", "9"));
        assert_eq!(known(&cache, "b"), None, "whether it went meanwhile is not known");
        cache.note_written(cache.ticket(), object("b", "9"));
        assert_eq!(known(&cache, "b").as_deref(), Some("9"));
    }

    #[test]
    fn one_that_was_made_anew_does_not_go_with_the_old_one() {
        let mut filler = filler();
        let cache = filler.cache.clone();
        cache.note_written(cache.ticket(), object("a", "9"));
        filler.take(Watched::Deleted(object("a", "8")), "x");
        assert_eq!(known(&cache, "a").as_deref(), Some("9"));
        filler.take(Watched::Deleted(object("a", "12")), "x");
        assert_eq!(known(&cache, "a"), None);
    }

    #[test]
    fn a_list_holds_even_where_the_server_was_set_back() {
        let mut filler = filler();
        for event in [Watched::Listing, Watched::Listed(object("a", "2")), Watched::Synced] {
            filler.take(event, "x");
        }
        assert_eq!(known(&filler.cache, "a").as_deref(), Some("2"));
        filler.take(Watched::Applied(object("a", "3")), "x");
        assert_eq!(known(&filler.cache, "a").as_deref(), Some("3"));
    }

    #[test]
    fn nothing_is_noted_while_everything_is_listed() {
        let mut filler = filler();
        let cache = filler.cache.clone();
        filler.take(Watched::Listing, "x");
        cache.note_written(cache.ticket(), object("b", "9"));
        assert_eq!(known(&cache, "b"), None);
    }
}
