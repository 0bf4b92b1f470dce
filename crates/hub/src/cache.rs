//! The hub's view of one kind of its own objects: filled by one watch, read by everybody,
//! announced to whoever has to react. Objects are held without their managed fields.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, RwLock},
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
    writer: Mutex<()>,
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
        let key = key.borrow();
        let object = Arc::new(object);
        let _turn = self.shared.writer.lock().expect("no holder of this lock panics");
        let old = self.write().insert(key.clone(), Arc::clone(&object));
        self.announce(key, old.as_ref(), Some(&object));
    }

    /// Takes an object out.
    pub fn remove(&self, key: &Key) {
        let _turn = self.shared.writer.lock().expect("no holder of this lock panics");
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

/// Turns the events of a watch into changes of a cache.
struct Filler<K> {
    cache: Cache<K>,
    /// Keys of the list under way.
    listed: Option<std::collections::BTreeSet<Key>>,
}

impl<K: Resource + Clone> Filler<K> {
    fn take(&mut self, event: Watched<K>, what: &str) {
        match event {
            Watched::Listing => self.listed = Some(std::collections::BTreeSet::new()),
            Watched::Listed(object) => {
                let key = Key::of(&object);
                if let Some(listed) = &mut self.listed {
                    listed.insert(key.clone());
                }
                self.put(&key, object);
            }
            Watched::Synced => {
                if let Some(listed) = self.listed.take() {
                    for key in self.cache.keys() {
                        if !listed.contains(&key) {
                            self.cache.remove(&key);
                        }
                    }
                }
            }
            Watched::Applied(object) => self.put(&Key::of(&object), object),
            Watched::Deleted(object) => self.cache.remove(&Key::of(&object)),
            Watched::Failed(error) => tracing::warn!(kind = what, error, "the hub's watch failed"),
        }
    }

    fn put(&self, key: &Key, mut object: K) {
        object.managed_fields_mut().clear();
        let known = self.cache.get(key).and_then(|old| old.resource_version());
        if known.is_none() || known != object.resource_version() {
            self.cache.set(key, object);
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
}
