//! Which bindings name which member, as they are written, and which kinds they have: an index over
//! the cache of bindings, so that what concerns one member costs by what stands there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, RwLock},
};

use hanse_api::{ResourceBinding, WorkloadCounts};

use crate::{Cache, Key};

/// Bindings by member. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<RwLock<Index>>);

#[derive(Debug, Default)]
struct Index {
    members: BTreeMap<String, Stood>,
    /// How many bindings have a kind, by API version and kind.
    kinds: BTreeMap<(String, String), usize>,
}

/// What stands in one member.
#[derive(Debug, Default)]
struct Stood {
    bindings: BTreeSet<Arc<Key>>,
    replicas: i64,
    /// Bindings with open moves out of it.
    left: BTreeSet<Arc<Key>>,
}

/// Members that open moves lead out of.
pub(crate) fn left_by(binding: &ResourceBinding) -> impl Iterator<Item = &str> {
    let open = binding.spec.moves.iter().filter(|item| !item.state.is_final());
    open.map(|item| item.from.as_str())
}

impl Standing {
    /// The index of a cache; it is right before any listener hears that comes after this.
    pub(crate) fn of(bindings: &Cache<ResourceBinding>) -> Self {
        let standing = Self::default();
        let this = standing.clone();
        bindings.on_change(move |key, old, new| {
            let before = old.map(|binding| (&binding.spec.clusters, &binding.spec.moves));
            let after = new.map(|binding| (&binding.spec.clusters, &binding.spec.moves));
            if before == after {
                return;
            }
            let mut all = this.0.write().expect("no holder of this lock panics");
            if let Some(old) = old {
                all.forget(key, old);
            }
            if let Some(new) = new {
                all.note(&Arc::new(key.clone()), new);
            }
        });
        standing
    }

    /// Kinds that any binding has, as API version and kind.
    pub fn kinds(&self) -> Vec<(String, String)> {
        let all = self.0.read().expect("no holder of this lock panics");
        all.kinds.keys().cloned().collect()
    }

    /// Bindings with open moves out of a member, in order.
    pub fn leaving(&self, member: &str) -> Vec<Arc<Key>> {
        let all = self.0.read().expect("no holder of this lock panics");
        all.members.get(member).into_iter().flat_map(|stood| &stood.left).cloned().collect()
    }

    /// Bindings that name a member, in order.
    pub fn bindings(&self, member: &str) -> Vec<Arc<Key>> {
        let all = self.0.read().expect("no holder of this lock panics");
        all.members.get(member).into_iter().flat_map(|stood| &stood.bindings).cloned().collect()
    }

    /// How many bindings name a member, with how many replicas there.
    pub fn counts(&self, member: &str) -> WorkloadCounts {
        let all = self.0.read().expect("no holder of this lock panics");
        let stood = all.members.get(member);
        let bindings = stood.map_or(0, |stood| stood.bindings.len());
        WorkloadCounts {
            bindings: i32::try_from(bindings).unwrap_or(i32::MAX),
            replicas: stood.map_or(0, |stood| stood.replicas),
        }
    }
}

impl Index {
    fn note(&mut self, key: &Arc<Key>, binding: &ResourceBinding) {
        *self.kinds.entry(kind(binding)).or_default() += 1;
        for cluster in &binding.spec.clusters {
            let stood = self.members.entry(cluster.name.clone()).or_default();
            if stood.bindings.insert(Arc::clone(key)) {
                stood.replicas += i64::from(cluster.replicas);
            }
        }
        for member in left_by(binding) {
            self.members.entry(member.to_owned()).or_default().left.insert(Arc::clone(key));
        }
    }

    fn forget(&mut self, key: &Key, binding: &ResourceBinding) {
        let kind = kind(binding);
        if let Some(count) = self.kinds.get_mut(&kind) {
            *count -= 1;
            if *count == 0 {
                self.kinds.remove(&kind);
            }
        }
        for cluster in &binding.spec.clusters {
            self.change(&cluster.name, |stood| {
                if stood.bindings.remove(key) {
                    stood.replicas -= i64::from(cluster.replicas);
                }
            });
        }
        for member in left_by(binding) {
            self.change(member, |stood| {
                stood.left.remove(key);
            });
        }
    }

    fn change(&mut self, member: &str, change: impl FnOnce(&mut Stood)) {
        if let Some(stood) = self.members.get_mut(member) {
            change(stood);
            if stood.bindings.is_empty() && stood.left.is_empty() {
                self.members.remove(member);
            }
        }
    }
}

fn kind(binding: &ResourceBinding) -> (String, String) {
    let template = &binding.spec.template;
    (template.api_version.clone(), template.kind.clone())
}

#[cfg(test)]
mod tests {
    use hanse_api::{ClusterReplicas, Move, MoveReason, MoveState, ResourceBindingSpec};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

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

    #[test]
    fn a_member_knows_what_is_still_to_leave_it_and_all_kinds_are_known() {
        let cache = Cache::default();
        let standing = Standing::of(&cache);
        let (web, db) = (Key::new("shop", "web"), Key::new("shop", "db"));
        let mut moving = binding(&[("b", 2)]);
        moving.spec.template.kind = "Deployment".to_owned();
        let mut item = Move {
            id: "m".to_owned(),
            from: "a".to_owned(),
            to: "b".to_owned(),
            replicas: 2,
            reason: MoveReason::PolicyChanged,
            evidence: String::new(),
            state: MoveState::Removing,
            started_at: Time(jiff::Timestamp::UNIX_EPOCH),
        };
        moving.spec.moves = vec![item.clone()];
        cache.set(&web, moving.clone());
        cache.set(&db, binding(&[("b", 1)]));
        assert_eq!(standing.leaving("a").len(), 1);
        assert_eq!(
            (standing.counts("a"), names(&standing, "a").len()),
            (WorkloadCounts::default(), 0)
        );
        assert_eq!(standing.kinds().len(), 2);
        item.state = MoveState::Done;
        moving.spec.moves = vec![item];
        cache.set(&web, moving);
        assert!(standing.leaving("a").is_empty());
        cache.remove(&web);
        assert_eq!(standing.kinds().len(), 1);
    }
}
