//! Which bindings name which member, as they are written: an index over the cache of bindings, so
//! that what concerns one member costs by what stands there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, RwLock},
};

use hanse_api::{ResourceBinding, WorkloadCounts};

use crate::{Cache, Key};

/// Bindings by member. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<RwLock<BTreeMap<String, Stood>>>);

/// What stands in one member.
#[derive(Debug, Default)]
struct Stood {
    bindings: BTreeSet<Arc<Key>>,
    replicas: i64,
}

impl Standing {
    /// The index of a cache; it is right before any listener hears that comes after this.
    pub(crate) fn of(bindings: &Cache<ResourceBinding>) -> Self {
        let standing = Self::default();
        let this = standing.clone();
        bindings.on_change(move |key, old, new| {
            let before = old.map(|binding| &binding.spec.clusters);
            let after = new.map(|binding| &binding.spec.clusters);
            if before == after {
                return;
            }
            let mut all = this.0.write().expect("no holder of this lock panics");
            for cluster in before.into_iter().flatten() {
                if let Some(stood) = all.get_mut(&cluster.name) {
                    stood.bindings.remove(key);
                    stood.replicas -= i64::from(cluster.replicas);
                    if stood.bindings.is_empty() {
                        all.remove(&cluster.name);
                    }
                }
            }
            let key = Arc::new(key.clone());
            for cluster in after.into_iter().flatten() {
                let stood = all.entry(cluster.name.clone()).or_default();
                if stood.bindings.insert(Arc::clone(&key)) {
                    stood.replicas += i64::from(cluster.replicas);
                }
            }
        });
        standing
    }

    /// Bindings that name a member, in order.
    pub fn bindings(&self, member: &str) -> Vec<Arc<Key>> {
        let all = self.0.read().expect("no holder of this lock panics");
        all.get(member).into_iter().flat_map(|stood| &stood.bindings).cloned().collect()
    }

    /// How many bindings name a member, with how many replicas there.
    pub fn counts(&self, member: &str) -> WorkloadCounts {
        let all = self.0.read().expect("no holder of this lock panics");
        let stood = all.get(member);
        let bindings = stood.map_or(0, |stood| stood.bindings.len());
        WorkloadCounts {
            bindings: i32::try_from(bindings).unwrap_or(i32::MAX),
            replicas: stood.map_or(0, |stood| stood.replicas),
        }
    }
}

#[cfg(test)]
mod tests {
    use hanse_api::{ClusterReplicas, ResourceBindingSpec};

    use super::*;

    fn binding(clusters: &[(&str, i32)]) -> ResourceBinding {
        let clusters = clusters
            .iter()
            .map(|(name, replicas)| ClusterReplicas {
                name: (*name).to_owned(),
                replicas: *replicas,
            })
            .collect();
        ResourceBinding::new("b", ResourceBindingSpec { clusters, ..Default::default() })
    }

    fn names(standing: &Standing, member: &str) -> Vec<String> {
        standing.bindings(member).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_member_knows_what_names_it_through_every_change() {
        let cache = Cache::default();
        let standing = Standing::of(&cache);
        let (web, db) = (Key::new("shop", "web"), Key::new("shop", "db"));
        cache.set(&web, binding(&[("a", 2), ("b", 1)]));
        cache.set(&db, binding(&[("a", 5)]));
        assert_eq!(names(&standing, "a"), ["shop/db", "shop/web"]);
        assert_eq!(standing.counts("a"), WorkloadCounts { bindings: 2, replicas: 7 });
        cache.set(&web, binding(&[("a", 3), ("c", 1)]));
        assert_eq!(standing.counts("a"), WorkloadCounts { bindings: 2, replicas: 8 });
        assert_eq!((names(&standing, "b").len(), names(&standing, "c").len()), (0, 1));
        cache.remove(&web);
        cache.remove(&db);
        assert_eq!(standing.counts("a"), WorkloadCounts::default());
        assert_eq!(names(&standing, "c"), Vec::<String>::new());
    }
}
