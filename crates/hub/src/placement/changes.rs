//! Changes of members on their way to the bindings that they concern. A change may concern every
//! binding of a policy; where a thousand members come at once, after a start or a cut, each binding
//! is woken for many of them together.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use hanse_rt::Mono;
use hanse_scheduler::Member;
use tokio::sync::Notify;

/// Nothing more may come for this long, or what came is passed on.
const QUIET: Duration = Duration::from_millis(10);
/// While more comes, it is passed on so often.
const LONGEST: Duration = Duration::from_millis(500);

/// Members that have changed, with the states that they were in or are in now.
pub(super) type Changed = BTreeMap<String, Vec<Member>>;

/// What is on its way: at most each member once. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    noted: Notify,
}

#[derive(Debug, Default)]
struct State {
    changed: Changed,
    /// Counts what was noted.
    count: u64,
}

impl Changes {
    /// Notes that a member was or is in one of these states.
    pub(super) fn note(&self, member: &str, states: impl Iterator<Item = Member>) {
        {
            let mut state = self.lock();
            state.count += 1;
            let known = state.changed.entry(member.to_owned()).or_default();
            for state in states {
                if !known.contains(&state) {
                    known.push(state);
                }
            }
        }
        self.0.noted.notify_one();
    }

    /// Waits for changes, and takes all that have come together.
    pub(super) async fn next(&self) -> Changed {
        while self.lock().changed.is_empty() {
            self.0.noted.notified().await;
        }
        let since = Mono::now();
        let mut count = self.lock().count;
        loop {
            hanse_rt::sleep(QUIET).await;
            let mut state = self.lock();
            if state.count == count || since.elapsed() >= LONGEST {
                return std::mem::take(&mut state.changed);
            }
            count = state.count;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(zone: &str) -> Member {
        Member { zone: zone.into(), ..Member::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn one_change_is_passed_on_soon_and_many_together() {
        let changes = Changes::default();
        let start = Mono::now();
        changes.note("a", [state("x")].into_iter());
        assert_eq!(changes.next().await, Changed::from([("a".to_owned(), vec![state("x")])]));
        assert!(start.elapsed() < Duration::from_millis(20));
        let noting = async {
            for round in 0..200 {
                changes.note(&format!("m{}", round % 7), [state("x"), state("y")].into_iter());
                hanse_rt::sleep(QUIET / 2).await;
            }
        };
        let taking = async {
            let mut batches = Vec::new();
            let mut seen = 0;
            while seen < 2 {
                let batch = changes.next().await;
                seen += usize::from(batch.len() == 7);
                assert!(batch.values().all(|states| *states == [state("x"), state("y")]));
                batches.push(batch);
            }
            batches.len()
        };
        let ((), batches) = futures::join!(noting, taking);
        assert_eq!(batches, 2, "a second of changes goes on twice");
    }
}
