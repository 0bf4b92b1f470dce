//! Who owns whom, which namespaces and CRDs are going away, and what the background controllers
//! have to look at because of the last commits.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Object;

/// Resource and key of an object.
pub(crate) type Place = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
pub(super) struct Index {
    places: BTreeMap<u128, Place>,
    dependents: BTreeMap<u128, BTreeSet<Place>>,
    /// Namespaces with a deletion timestamp.
    closing_namespaces: BTreeSet<Arc<str>>,
    /// CRDs with a deletion timestamp; their name is the resource of their instances.
    closing_kinds: BTreeSet<Arc<str>>,
    work: Work,
}

/// What the background controllers should look at.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// Objects whose owners may be gone.
    pub(crate) dependents: BTreeSet<Place>,
    /// Objects that are being deleted and may have dependents to care for.
    pub(crate) owners: BTreeSet<Place>,
    pub(crate) namespaces: BTreeSet<Arc<str>>,
    pub(crate) kinds: BTreeSet<Arc<str>>,
}

const NAMESPACES: &str = "namespaces";
const KINDS: &str = "customresourcedefinitions.apiextensions.k8s.io";

impl Work {
    fn is_empty(&self) -> bool {
        self.dependents.is_empty()
            && self.owners.is_empty()
            && self.namespaces.is_empty()
            && self.kinds.is_empty()
    }
}

impl Index {
    pub(super) fn added(
        &mut self,
        resource: &Arc<str>,
        key: &Arc<str>,
        object: &Object,
        previous: Option<&Object>,
    ) {
        let place = (Arc::clone(resource), Arc::clone(key));
        self.places.insert(object.uid, place.clone());
        let before = previous.map_or(&[][..], |previous| &previous.owners);
        if before != &*object.owners {
            for owner in before {
                self.forget(*owner, &place);
            }
            for owner in &object.owners {
                self.dependents.entry(*owner).or_default().insert(place.clone());
            }
            if !object.owners.is_empty() {
                self.work.dependents.insert(place.clone());
            }
        }
        if object.deleting {
            self.work.owners.insert(place);
            self.closing(resource, key);
        }
        if &**resource == NAMESPACES && (previous.is_none() || object.deleting) {
            self.work.namespaces.insert(name(key));
        }
    }

    pub(super) fn removed(&mut self, resource: &Arc<str>, key: &Arc<str>, object: &Object) {
        let place = (Arc::clone(resource), Arc::clone(key));
        self.places.remove(&object.uid);
        for owner in &object.owners {
            self.forget(*owner, &place);
            if let Some(owner) = self.places.get(owner) {
                self.work.owners.insert(owner.clone());
            }
        }
        if let Some(dependents) = self.dependents.get(&object.uid) {
            self.work.dependents.extend(dependents.iter().cloned());
        }
        match &**resource {
            NAMESPACES => {
                self.closing_namespaces.remove(&*name(key));
            }
            KINDS => {
                self.closing_kinds.remove(&*name(key));
            }
            _ => {}
        }
        let namespace = key.split_once('/').map_or("", |(namespace, _)| namespace);
        // What every namespace holds comes back.
        let own = matches!(
            (&**resource, &*name(key)),
            ("serviceaccounts", "default") | ("configmaps", "kube-root-ca.crt")
        );
        if own {
            self.work.namespaces.insert(namespace.into());
        }
        if let Some(namespace) = self.closing_namespaces.get(namespace) {
            self.work.namespaces.insert(Arc::clone(namespace));
        }
        if let Some(kind) = self.closing_kinds.get(resource) {
            self.work.kinds.insert(Arc::clone(kind));
        }
    }

    pub(super) fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    pub(super) fn take(&mut self) -> Option<Work> {
        (!self.work.is_empty()).then(|| std::mem::take(&mut self.work))
    }

    pub(super) fn place(&self, uid: u128) -> Option<&Place> {
        self.places.get(&uid)
    }

    pub(super) fn dependents(&self, uid: u128) -> Vec<Place> {
        let found = self.dependents.get(&uid);
        found.map_or_else(Vec::new, |places| places.iter().cloned().collect())
    }

    fn closing(&mut self, resource: &Arc<str>, key: &Arc<str>) {
        match &**resource {
            NAMESPACES => {
                self.closing_namespaces.insert(name(key));
            }
            KINDS => {
                self.closing_kinds.insert(name(key));
                self.work.kinds.insert(name(key));
            }
            _ => {}
        }
    }

    fn forget(&mut self, owner: u128, place: &Place) {
        if let Some(places) = self.dependents.get_mut(&owner) {
            places.remove(place);
            if places.is_empty() {
                self.dependents.remove(&owner);
            }
        }
    }
}

fn name(key: &str) -> Arc<str> {
    key.split_once('/').map_or(key, |(_, name)| name).into()
}
