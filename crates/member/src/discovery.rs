//! Which kinds a cluster serves. One snapshot per cluster; the caller asks again when it changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, Weak},
};

use kube::{
    Client, Discovery,
    discovery::{ApiResource, Scope},
};

/// The kinds that a cluster serves.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Kinds {
    served: BTreeMap<String, Served>,
    names: Arc<BTreeSet<String>>,
}

/// What many clusters serve, each set kept once: clusters of one version serve the same.
#[derive(Clone, Debug, Default)]
pub struct KindsPool(Arc<Mutex<Vec<Weak<Kinds>>>>);

impl KindsPool {
    /// The one copy of a set.
    pub fn share(&self, kinds: Kinds) -> Arc<Kinds> {
        let mut known = self.0.lock().expect("no holder of this lock panics");
        known.retain(|one| one.strong_count() > 0);
        if let Some(same) = known.iter().filter_map(Weak::upgrade).find(|one| **one == kinds) {
            return same;
        }
        let kinds = Arc::new(kinds);
        known.push(Arc::downgrade(&kinds));
        kinds
    }
}

/// One served kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Served {
    /// Its resource.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether it has a status subresource.
    pub has_status: bool,
}

impl Kinds {
    /// The kind of an API version and a kind's name.
    pub fn get(&self, api_version: &str, kind: &str) -> Option<&Served> {
        self.served.get(&format!("{api_version}/{kind}"))
    }

    /// All kinds as `apiVersion/Kind`.
    pub fn names(&self) -> Arc<BTreeSet<String>> {
        Arc::clone(&self.names)
    }
}

/// Asks a cluster for its kinds.
///
/// # Errors
/// The cluster does not answer; ask again later.
pub async fn discover(client: &Client) -> Result<Kinds, kube::Error> {
    // Two requests where the server aggregates, one for each group where it does not.
    let found = match Discovery::new(client.clone()).run_aggregated().await {
        Ok(found) if found.groups().next().is_some() => found,
        _ => Discovery::new(client.clone()).run().await?,
    };
    let mut kinds = BTreeMap::new();
    for group in found.groups() {
        for version in group.versions() {
            for (resource, capabilities) in group.versioned_resources(version) {
                let has_status =
                    capabilities.subresources.iter().any(|(sub, _)| sub.plural.ends_with("status"));
                let key = format!("{}/{}", resource.api_version, resource.kind);
                kinds.insert(
                    key,
                    Served {
                        resource,
                        namespaced: capabilities.scope == Scope::Namespaced,
                        has_status,
                    },
                );
            }
        }
    }
    let names = Arc::new(kinds.keys().cloned().collect());
    Ok(Kinds { served: kinds, names })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_one_and_a_set_that_nobody_has_is_forgotten() {
        let set =
            |name: &str| Kinds { names: Arc::new([name.to_owned()].into()), ..Kinds::default() };
        let pool = KindsPool::default();
        let (a, b) = (pool.share(set("v1/Pod")), pool.share(set("v1/Pod")));
        assert!(Arc::ptr_eq(&a, &b));
        assert!(!Arc::ptr_eq(&a, &pool.share(set("v1/Node"))));
        drop((a, b));
        pool.share(set("v1/Pod"));
        assert_eq!(pool.0.lock().unwrap().len(), 1);
    }
}
