//! The first decision about a binding, made before it is written, so that both are one write.

use std::{
    collections::BTreeSet,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use hanse_api::{ResourceBinding, ResourceBindingSpec};
use jiff::Timestamp;

use super::{Outcome, Placed, Placement, apply};
use crate::Key;

/// How soon after it was made a binding is looked at again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A first decision. Its room is taken until [`Placement::made`] hears what came of it.
#[derive(Debug)]
pub(crate) struct First {
    key: Key,
    /// The binding without it.
    bare: Arc<ResourceBinding>,
    placed: Placed,
    at: Timestamp,
}

impl First {
    /// Writes it into the binding that is about to be made.
    pub(crate) fn fill(&self, spec: &mut ResourceBindingSpec) {
        spec.clusters.clone_from(&self.placed.clusters);
        spec.ordinals.clone_from(&self.placed.ordinals);
        spec.moves.clone_from(&self.placed.moves);
        spec.decision = Some(apply::decided(None, &self.placed, self.at));
    }
}

impl Placement {
    /// Decides about a binding that is about to be made. Absent when others wait for their
    /// decision, which may be more important, or when there is nothing to decide yet: then it
    /// takes its turn like all others once it is there.
    pub(crate) fn first(&self, key: &Key, bare: &Arc<ResourceBinding>) -> Option<First> {
        if !self.queue.is_empty() || self.world.objects().bindings.get(key).is_some() {
            return None;
        }
        self.book(|book| book.note_binding(key, Some(bare), &self.world));
        let placed = self.decide(key, bare).map(|(placed, _)| placed);
        // What has no place yet waits as all others do, and companions wait for their workloads.
        let has_place =
            |placed: &Placed| placed.outcome == Outcome::Scheduled && !placed.clusters.is_empty();
        let Some(placed) = placed.filter(has_place) else {
            self.take_back(key);
            return None;
        };
        self.fresh().insert(key.clone());
        drop(self.world.traces().decision(key, placed.outcome.reason(), true));
        let (key, bare) = (key.clone(), Arc::clone(bare));
        Some(First { key, bare, placed, at: self.world.means().wall.now() })
    }

    /// Hears whether the binding was made with its first decision.
    pub(crate) fn made(&self, first: First, written: bool) {
        let First { key, bare, placed, .. } = first;
        if !written {
            self.fresh().remove(&key);
            self.take_back(&key);
            return;
        }
        self.count(&key, &placed);
        self.note(&key, &bare, &placed);
        apply::tell(&self.world, &bare, &placed);
    }

    /// Whether a binding that is seen for the first time was made with its decision by this hub.
    pub(super) fn is_fresh(&self, key: &Key) -> bool {
        self.fresh().remove(key)
    }

    fn fresh(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.fresh.lock().expect("no holder of this lock panics")
    }

    /// Takes back what was reserved for a decision that is not written.
    pub(super) fn take_back(&self, key: &Key) {
        let binding = self.world.objects().bindings.get(key);
        self.world.decided().give_up(key);
        self.world.tenants().note_binding(key, binding.as_deref());
        self.book(|book| book.note_binding(key, binding.as_deref(), &self.world));
        if binding.is_none() {
            self.affected(|all| all.note_binding(key, None));
        }
    }
}
