//! The way of a change as one trace: the write of a template, propagation, decision, the writes to
//! members, and what they answer. Where the hub's API tells where a write came from, the trace
//! begins there, else when the hub sees the template.
//!
//! What is under way is kept in memory and nowhere else: nothing is written into objects for it,
//! and after a restart of the hub a change that was under way goes on untraced. Without an
//! exporter no span exists and nothing is kept.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use hanse_rt::trace::{Origins, TARGET, TraceParent};
use tracing::{Span, debug_span};

use crate::{Key, TemplateKey, propagation::key_of_binding};

/// Changes under way, by binding. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traces {
    origins: Origins,
    changes: Arc<Mutex<BTreeMap<Key, Change>>>,
}

/// One change under way.
#[derive(Debug)]
struct Change {
    /// The span of its write, or of propagation: decisions belong to it.
    cause: TraceParent,
    /// The span of the last decision: writes to members belong to it.
    at: TraceParent,
    stage: Stage,
    /// Writes to members that were not answered yet.
    applied: BTreeMap<String, TraceParent>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Stage {
    Observed,
    Propagated,
    Decided,
}

impl Traces {
    pub(crate) fn new(origins: Origins) -> Self {
        Self { origins, ..Self::default() }
    }

    /// A template was written: what was under way for it is another change.
    pub(crate) fn observed(&self, template: &TemplateKey, resource_version: &str) {
        let origin = self.origins.of(resource_version);
        if origin.is_none() && self.lock().is_empty() {
            return;
        }
        let key = key_of_binding(template);
        let mut changes = self.lock();
        match origin {
            Some(at) => {
                let applied = BTreeMap::new();
                let stage = Stage::Observed;
                changes.insert(key, Change { cause: at, at, stage, applied });
            }
            None => drop(changes.remove(&key)),
        }
    }

    /// The span of a look at a template that writes its binding, or is the first at a change.
    pub(crate) fn propagation(&self, key: &Key, template: &TemplateKey, writes: bool) -> Span {
        let new = self.stage(key) == Some(Stage::Observed);
        if !new && !writes {
            return Span::none();
        }
        let span = debug_span!(
            target: TARGET, parent: None, "propagate", %template, binding = %key
        );
        self.reached(key, Stage::Propagated, &span);
        span
    }

    /// The span of a decision that changes something, or is the first about a change.
    pub(crate) fn decision(&self, key: &Key, reason: &str, changes: bool) -> Span {
        let new = self.stage(key) == Some(Stage::Propagated);
        if !new && !changes {
            return Span::none();
        }
        let span = debug_span!(target: TARGET, parent: None, "decide", binding = %key, reason);
        self.reached(key, Stage::Decided, &span);
        span
    }

    /// The span of a write to a member.
    pub(crate) fn apply(&self, key: &Key, member: &str, verb: &'static str) -> Span {
        let span = debug_span!(
            target: TARGET, parent: None, "apply", binding = %key, member, verb,
            result = tracing::field::Empty
        );
        let mut changes = self.lock();
        let change = changes.get_mut(key);
        if let Some(change) = &change {
            change.at.adopt(&span);
        }
        if let (Some(change), Some(here)) = (change, TraceParent::of(&span)) {
            change.applied.insert(member.to_owned(), here);
        }
        span
    }

    /// The span of a member's answer to the last write, once.
    pub(crate) fn answer(&self, key: &Key, member: &str) -> Option<Span> {
        let parent = self.lock().get_mut(key)?.applied.remove(member)?;
        let span = debug_span!(target: TARGET, parent: None, "answer", binding = %key, member);
        parent.adopt(&span);
        Some(span)
    }

    /// The change has reached its end.
    pub(crate) fn ended(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn stage(&self, key: &Key) -> Option<Stage> {
        self.lock().get(key).map(|change| change.stage)
    }

    /// Makes `span` the place from which the change goes on. A decision that is made again stands
    /// beside the earlier one.
    fn reached(&self, key: &Key, stage: Stage, span: &Span) {
        let mut changes = self.lock();
        if let Some(change) = changes.get(key) {
            change.cause.adopt(span);
        }
        let Some(at) = TraceParent::of(span) else {
            return;
        };
        let fresh = || Change { cause: at, at, stage, applied: BTreeMap::new() };
        let change = changes.entry(key.clone()).or_insert_with(fresh);
        (change.at, change.stage) = (at, stage);
        if stage == Stage::Propagated {
            change.cause = at;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Change>> {
        self.changes.lock().expect("no holder of this lock panics")
    }
}
