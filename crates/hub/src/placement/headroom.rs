//! Room that is promised for the loss of a domain, so that the same spare room is not promised to
//! many bindings. Nothing is kept while no policy asks to survive.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hanse_rt::Mono;
use hanse_scheduler::{
    Assignment, Fleet, Ledger, PodNeeds, Request, Rules, Spare, Standby, Topology,
};

use crate::Key;

/// Promises are made anew, the most important bindings first, at most this often; in between
/// they follow what is decided, and not what members show.
const ANEW: Duration = Duration::from_secs(5);

/// Promises by kind of domain.
#[derive(Debug, Default)]
pub(super) struct Headroom {
    losses: BTreeMap<Key, Loss>,
    ledgers: BTreeMap<Topology, Ledger>,
    /// Members have changed since the promises were made.
    stale: bool,
    made: Option<Mono>,
}

/// What may be lost of one binding.
#[derive(Clone, Debug)]
pub(super) struct Loss {
    pub(super) importance: i32,
    pub(super) request: Arc<Request>,
    pub(super) placed: Assignment,
    /// Its key in ledgers.
    pub(super) id: u64,
}

/// The kind of domain whose loss has to find spare room.
fn kind(rules: &Rules) -> Option<&Topology> {
    let survive = rules.survive.as_ref().filter(|survive| survive.standby == Standby::Spare);
    survive.map(|survive| &survive.domain)
}

impl Headroom {
    /// Notes that members are not as they were.
    pub(super) fn members_changed(&mut self) {
        self.stale = true;
    }

    /// Takes room for what a binding adds.
    pub(super) fn reserve(&mut self, key: &Key, member: &str, needs: &PodNeeds, more: u32) {
        if self.ledgers.is_empty() || more == 0 {
            return;
        }
        let id = self.losses.get(key).map_or(0, |loss| loss.id);
        for ledger in self.ledgers.values_mut() {
            ledger.reserve(member, needs, more, id);
        }
    }

    /// What is left for a binding, if its rules ask for spare room.
    pub(super) fn spare(&mut self, fleet: &Fleet, rules: &Rules, id: u64) -> Option<Arc<Spare>> {
        let kind = kind(rules)?;
        if self.stale && self.made.is_none_or(|made| made.elapsed() >= ANEW) {
            self.make_anew(fleet);
        }
        let ledger = self.ledgers.get(kind)?;
        Some(Arc::new(ledger.spare(id)))
    }

    /// Notes what may be lost of a binding now, and promises room for it.
    pub(super) fn note(&mut self, fleet: &Fleet, key: &Key, loss: Option<Loss>) {
        let Some(loss) = loss.filter(|loss| kind(&loss.request.rules).is_some()) else {
            self.forget(key);
            return;
        };
        self.enter(fleet, &loss);
        self.losses.insert(key.clone(), loss);
    }

    /// Forgets a binding.
    pub(super) fn forget(&mut self, key: &Key) {
        if self.losses.remove(key).is_some() {
            // Its room is free with the next promises.
            self.stale = true;
            let kinds: BTreeSet<&Topology> =
                self.losses.values().filter_map(|loss| kind(&loss.request.rules)).collect();
            self.ledgers.retain(|known, _| kinds.contains(known));
        }
    }

    fn enter(&mut self, fleet: &Fleet, loss: &Loss) {
        if let Some(kind) = kind(&loss.request.rules) {
            let ledger =
                self.ledgers.entry(kind.clone()).or_insert_with(|| Ledger::new(kind.clone()));
            ledger.promise(fleet, &loss.request, &loss.placed, loss.id);
        }
    }

    fn make_anew(&mut self, fleet: &Fleet) {
        self.ledgers.clear();
        let mut losses: Vec<Loss> = self.losses.values().cloned().collect();
        losses.sort_by_key(|loss| (Reverse(loss.importance), loss.id));
        for loss in &losses {
            self.enter(fleet, loss);
        }
        self.stale = false;
        self.made = Some(Mono::now());
    }
}
