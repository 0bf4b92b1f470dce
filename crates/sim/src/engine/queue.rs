//! What waits to be looked at: each thing once, now or later.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hanse_rt::Mono;

use super::Work;

#[derive(Debug, Default)]
pub(super) struct Queue {
    now: BTreeSet<Work>,
    later: BTreeMap<Work, Mono>,
}

impl Queue {
    pub(super) fn push(&mut self, work: Work) {
        self.now.insert(work);
    }

    /// Queues for later; an earlier date stands.
    pub(super) fn push_after(&mut self, work: Work, delay: Duration) {
        let at = Mono::now() + delay;
        let date = self.later.entry(work).or_insert(at);
        *date = at.min(*date);
    }

    /// Resolves when something is due.
    pub(super) async fn due(&self) {
        if !self.now.is_empty() {
            return;
        }
        match self.later.values().min() {
            Some(next) => hanse_rt::sleep_until(*next).await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn take_due(&mut self) -> BTreeSet<Work> {
        let now = Mono::now();
        let mut due = std::mem::take(&mut self.now);
        self.later.retain(|work, date| {
            let wait = *date > now;
            if !wait {
                due.insert(work.clone());
            }
            wait
        });
        due
    }
}
