//! Readiness by holds: a process is ready when nobody holds it back any more.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::sync::watch;

/// Collects the reasons why a process is not ready yet.
#[derive(Clone, Debug)]
pub struct Readiness {
    holds: Arc<Mutex<BTreeMap<String, usize>>>,
    changed: watch::Sender<bool>,
}

/// Holds readiness back until it is dropped.
#[derive(Debug)]
#[must_use = "readiness is held back only while this value lives"]
pub struct ReadyHold {
    readiness: Readiness,
    what: String,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Ready, until somebody holds.
    pub fn new() -> Self {
        Self { holds: Arc::default(), changed: watch::Sender::new(true) }
    }

    /// Holds readiness back; `what` is shown to whoever asks.
    pub fn hold(&self, what: &str) -> ReadyHold {
        let mut holds = self.holds.lock().expect("no holder of this lock panics");
        *holds.entry(what.to_owned()).or_default() += 1;
        self.changed.send_replace(false);
        ReadyHold { readiness: self.clone(), what: what.to_owned() }
    }

    /// What is still waited for, in order of name; empty when ready.
    pub fn waiting_for(&self) -> Vec<String> {
        self.holds.lock().expect("no holder of this lock panics").keys().cloned().collect()
    }

    /// Resolves when ready.
    pub async fn ready(&self) {
        let mut changes = self.changed.subscribe();
        while !*changes.borrow_and_update() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Drop for ReadyHold {
    fn drop(&mut self) {
        let mut holds = self.readiness.holds.lock().expect("no holder of this lock panics");
        if let Some(count) = holds.get_mut(&self.what) {
            *count -= 1;
            if *count == 0 {
                holds.remove(&self.what);
            }
        }
        self.readiness.changed.send_replace(holds.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_only_when_the_last_hold_is_gone() {
        let readiness = Readiness::new();
        let (store, listener) = (readiness.hold("store"), readiness.hold("listener"));
        assert_eq!(readiness.waiting_for(), ["listener", "store"]);
        drop(listener);
        assert_eq!(readiness.waiting_for(), ["store"]);
        drop(store);
        readiness.ready().await;
    }
}
