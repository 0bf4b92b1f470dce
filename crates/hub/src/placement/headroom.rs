//! What may be lost with a domain, so that the same spare room is not promised to many bindings.
//! Each decision places again what stands in the domains that it looks at. Where that would be too
//! many, it takes what was promised to them at last. Nothing is kept while no policy asks to
//! survive.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hanse_api::ResourceBinding;
use hanse_rt::Mono;
use hanse_scheduler::{
    Fleet, Ledger, Loss, Losses, PodNeeds, Rules, Spare, Standby, Topology, Turn,
};

use crate::Key;

/// Promises are made anew at most this often; in between they follow what is decided, and not what
/// members show.
const ANEW: Duration = Duration::from_secs(5);

/// What may be lost, by kind of domain.
#[derive(Debug, Default)]
pub(super) struct Headroom {
    kinds: BTreeMap<Topology, Kind>,
    noted: BTreeMap<Key, Noted>,
    /// How many bindings were noted so far.
    count: u64,
}

/// Under what a binding is noted.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Noted {
    kind: Topology,
    id: u64,
    /// Which one it was: creation times are too coarse to tell who was first.
    number: u64,
}

/// One kind of domain.
#[derive(Debug)]
struct Kind {
    losses: Arc<Losses>,
    /// Promises, for domains with too many bindings.
    crowd: Option<Crowd>,
}

/// What is promised to many.
#[derive(Debug)]
struct Crowd {
    ledger: Ledger,
    made: Mono,
    /// Members have changed since then.
    stale: bool,
}

/// When a binding is placed again among others: the most important first, then the oldest.
pub(super) fn turn(binding: &ResourceBinding) -> Turn {
    let since = binding.metadata.creation_timestamp.as_ref();
    let since = since.map_or(i64::MAX, |time| time.0.as_second());
    Turn::new(binding.spec.importance, since, super::key(binding))
}

/// The kind of domain whose loss has to find spare room.
fn kind(rules: &Rules) -> Option<&Topology> {
    let survive = rules.survive.as_ref().filter(|survive| survive.standby == Standby::Spare);
    survive.map(|survive| &survive.domain)
}

impl Headroom {
    /// Notes that members are not as they were.
    pub(super) fn members_changed(&mut self) {
        for crowd in self.kinds.values_mut().filter_map(|kind| kind.crowd.as_mut()) {
            crowd.stale = true;
        }
    }

    /// Takes room for what a binding adds from what is promised.
    pub(super) fn reserve(&mut self, key: &Key, member: &str, needs: &PodNeeds, more: u32) {
        if self.kinds.is_empty() || more == 0 {
            return;
        }
        let id = self.noted.get(key).map_or(0, |noted| noted.id);
        for crowd in self.kinds.values_mut().filter_map(|kind| kind.crowd.as_mut()) {
            crowd.ledger.reserve(member, needs, more, id);
        }
    }

    /// What else may be lost, for a binding whose rules ask for spare room.
    pub(super) fn spare(
        &mut self,
        fleet: &Fleet,
        rules: &Rules,
        binding: &ResourceBinding,
    ) -> Option<Arc<Spare>> {
        let known = self.kinds.get_mut(kind(rules)?)?;
        known.follow(fleet);
        let number = self.noted.get(&Key::of(binding)).map_or(self.count, |noted| noted.number);
        let turn = turn(binding).numbered(number);
        let mut spare = Spare::new(turn, Arc::clone(&known.losses));
        if let Some(crowd) = &known.crowd {
            crowd.ledger.fill(&mut spare);
        }
        Some(Arc::new(spare))
    }

    /// Notes what may be lost of a binding now.
    pub(super) fn note(&mut self, fleet: &Fleet, key: &Key, loss: Option<Loss>) {
        let kind = loss.as_ref().and_then(|loss| kind(&loss.request.rules)).cloned();
        let (Some(mut loss), Some(kind)) = (loss, kind) else {
            self.forget(key);
            return;
        };
        let id = loss.turn.id();
        if self.noted.get(key).is_some_and(|noted| noted.kind != kind) {
            self.forget(key);
        }
        let number = self.noted.get(key).map_or(self.count, |noted| noted.number);
        self.count = self.count.max(number + 1);
        loss.turn = loss.turn.numbered(number);
        let known = self
            .kinds
            .entry(kind.clone())
            .or_insert_with(|| Kind { losses: Arc::new(Losses::new(kind.clone())), crowd: None });
        if let Some(crowd) = &mut known.crowd {
            crowd.ledger.promise(fleet, &loss.request, &loss.placed, id);
        }
        if !known.losses.has(fleet, &loss) {
            Arc::make_mut(&mut known.losses).note(fleet, loss);
        }
        self.noted.insert(key.clone(), Noted { kind, id, number });
    }

    /// Forgets a binding.
    pub(super) fn forget(&mut self, key: &Key) {
        let Some(Noted { kind, id, .. }) = self.noted.remove(key) else {
            return;
        };
        let Some(known) = self.kinds.get_mut(&kind) else {
            return;
        };
        Arc::make_mut(&mut known.losses).forget(id);
        if known.losses.is_empty() {
            self.kinds.remove(&kind);
        } else if let Some(crowd) = &mut known.crowd {
            // Its room is free with the next promises.
            crowd.stale = true;
        }
    }
}

impl Kind {
    /// Takes the domains from this fleet, and makes promises anew where it is time to.
    fn follow(&mut self, fleet: &Fleet) {
        if self.losses.is_behind(fleet) {
            Arc::make_mut(&mut self.losses).follow(fleet);
        }
        if !self.losses.is_crowded() {
            self.crowd = None;
            return;
        }
        if self.crowd.as_ref().is_some_and(|crowd| !crowd.stale || crowd.made.elapsed() < ANEW) {
            return;
        }
        let mut ledger = Ledger::new(self.losses.kind().clone());
        for loss in self.losses.in_turn() {
            ledger.promise(fleet, &loss.request, &loss.placed, loss.turn.id());
        }
        self.crowd = Some(Crowd { ledger, made: Mono::now(), stale: false });
    }
}

#[cfg(test)]
mod tests;
