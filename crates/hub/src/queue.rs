//! A work queue of keys: each key waits at most once, is handed to one worker at a time, and is
//! handed out again when it was added while being worked on. Its bound is the number of keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_rt::{Mono, Rng};
use tokio::sync::Notify;

/// A work queue. Higher priorities leave first; within one priority the longest waiting key.
#[derive(Clone, Debug)]
pub struct Queue<K> {
    inner: Arc<Inner<K>>,
}

#[derive(Debug)]
struct Inner<K> {
    state: Mutex<State<K>>,
    wake: Notify,
}

#[derive(Debug)]
struct State<K> {
    /// Waiting keys with their place.
    waiting: BTreeMap<K, Place>,
    /// The same by place.
    order: BTreeSet<(Place, K)>,
    /// Keys in the hands of a worker, with their importance.
    busy: BTreeMap<K, i32>,
    /// Keys that were added while busy.
    again: BTreeMap<K, i32>,
    /// Keys that come back later.
    later: BTreeMap<K, (Mono, i32)>,
    due: BTreeSet<(Mono, K)>,
    failures: BTreeMap<K, u32>,
    next: u64,
    rng: Rng,
}

/// Reversed importance, then order of arrival.
type Place = (i32, u64);

impl<K: Ord + Clone + Debug + Send + 'static> Queue<K> {
    /// An empty queue; `rng` spreads retries.
    pub fn new(rng: Rng) -> Self {
        let state = State {
            waiting: BTreeMap::new(),
            order: BTreeSet::new(),
            busy: BTreeMap::new(),
            again: BTreeMap::new(),
            later: BTreeMap::new(),
            due: BTreeSet::new(),
            failures: BTreeMap::new(),
            next: 0,
            rng,
        };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), wake: Notify::new() }) }
    }

    /// Adds a key, unless it waits already.
    pub fn add(&self, key: K) {
        self.add_with(key, 0);
    }

    /// Adds a key of some importance, higher first.
    pub fn add_with(&self, key: K, importance: i32) {
        self.state().push(key, importance);
        self.inner.wake.notify_one();
    }

    /// Adds a key after a while, unless it waits already; an earlier time for the same key holds.
    /// A key that is worked on stays as important as it was.
    pub fn add_after(&self, key: K, delay: Duration) {
        let own = self.state().busy.get(&key).copied();
        self.add_after_with(key, own.unwrap_or(0), delay);
    }

    /// Adds a key of some importance after a while.
    pub fn add_after_with(&self, key: K, importance: i32, delay: Duration) {
        let mut state = self.state();
        if state.waiting.contains_key(&key) {
            return;
        }
        let at = Mono::now() + delay;
        let mut importance = importance;
        match state.later.get_mut(&key) {
            Some((earlier, known)) if *earlier <= at => {
                *known = importance.max(*known);
                return;
            }
            Some((later, known)) => {
                importance = importance.max(*known);
                let later = *later;
                state.due.remove(&(later, key.clone()));
            }
            None => {}
        }
        state.later.insert(key.clone(), (at, importance));
        state.due.insert((at, key));
        drop(state);
        self.inner.wake.notify_one();
    }

    /// Adds a key after its next back-off: 50 ms, doubling to 30 s.
    pub fn retry(&self, key: K) {
        let delay = {
            let mut state = self.state();
            let failures = state.failures.entry(key.clone()).or_default();
            *failures = failures.saturating_add(1);
            let step = Duration::from_millis(50)
                .saturating_mul(1 << (*failures - 1).min(10))
                .min(Duration::from_secs(30));
            let micros = u64::try_from(step.as_micros() / 2).unwrap_or(u64::MAX);
            step / 2 + Duration::from_micros(state.rng.below(micros + 1))
        };
        self.add_after(key, delay);
    }

    /// Forgets the failures of a key.
    pub fn succeeded(&self, key: &K) {
        self.state().failures.remove(key);
    }

    /// The next key; it stays with the caller until [`Queue::done`].
    pub async fn next(&self) -> K {
        loop {
            let wait = {
                let mut state = self.state();
                state.ripen(Mono::now());
                if let Some((place, key)) = state.order.pop_first() {
                    state.waiting.remove(&key);
                    state.busy.insert(key.clone(), place.0.saturating_neg());
                    let more = !state.order.is_empty();
                    drop(state);
                    if more {
                        self.inner.wake.notify_one();
                    }
                    tracing::trace!(?key, ?place, "taken");
                    return key;
                }
                state.due.first().map(|(at, _)| *at)
            };
            match wait {
                None => self.inner.wake.notified().await,
                Some(at) => hanse_rt::select! {
                    () = self.inner.wake.notified() => {}
                    () = hanse_rt::sleep_until(at) => {}
                },
            }
        }
    }

    /// The worker is through with a key.
    pub fn done(&self, key: &K) {
        let mut state = self.state();
        state.busy.remove(key);
        if let Some(importance) = state.again.remove(key) {
            state.push(key.clone(), importance);
            drop(state);
            self.inner.wake.notify_one();
        }
    }

    /// How many keys wait, those for later not counted.
    pub fn len(&self) -> usize {
        self.state().waiting.len()
    }

    /// How many wait or are being worked on, those for later not counted.
    pub fn load(&self) -> usize {
        let state = self.state();
        state.waiting.len() + state.busy.len()
    }

    /// Whether none wait, those for later not counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing waits and nothing is being worked on.
    pub fn is_idle(&self) -> bool {
        let state = self.state();
        state.waiting.is_empty() && state.busy.is_empty() && state.due.is_empty()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State<K>> {
        self.inner.state.lock().expect("no holder of this lock panics")
    }
}

impl<K: Ord + Clone> State<K> {
    fn push(&mut self, key: K, importance: i32) {
        if self.busy.contains_key(&key) {
            let entry = self.again.entry(key).or_insert(importance);
            *entry = (*entry).max(importance);
            return;
        }
        if let Some((at, _)) = self.later.remove(&key) {
            self.due.remove(&(at, key.clone()));
        }
        let mut place = (importance.saturating_neg(), self.next + 1);
        if let Some(known) = self.waiting.get(&key).copied() {
            if known.0 <= place.0 {
                return;
            }
            // It keeps its turn among those of its new importance.
            self.order.remove(&(known, key.clone()));
            place.1 = known.1;
        } else {
            self.next += 1;
        }
        self.waiting.insert(key.clone(), place);
        self.order.insert((place, key));
    }

    fn ripen(&mut self, now: Mono) {
        while let Some((at, key)) = self.due.first().cloned() {
            if at > now {
                return;
            }
            let importance = self.later.remove(&key).map_or(0, |(_, importance)| importance);
            self.due.remove(&(at, key.clone()));
            self.push(key, importance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue<&'static str> {
        Queue::new(Rng::from_seed(1))
    }

    #[tokio::test]
    async fn a_key_waits_once_and_important_keys_leave_first() {
        let queue = queue();
        for (key, importance) in [("a", 0), ("b", 0), ("a", 0), ("c", 5)] {
            queue.add_with(key, importance);
        }
        assert_eq!(queue.len(), 3);
        let mut taken = Vec::new();
        for _ in 0..3 {
            let key = queue.next().await;
            queue.done(&key);
            taken.push(key);
        }
        assert_eq!(taken, ["c", "a", "b"]);
        assert!(queue.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_tried_again_stays_as_important_as_it_was() {
        let queue = queue();
        queue.add_with("a", 5);
        let key = queue.next().await;
        queue.retry(key);
        queue.done(&key);
        hanse_rt::sleep(Duration::from_secs(1)).await;
        queue.add_with("b", 4);
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test]
    async fn a_key_added_while_busy_comes_again_and_not_before() {
        let queue = queue();
        queue.add("a");
        let key = queue.next().await;
        queue.add("a");
        assert_eq!(queue.len(), 0);
        queue.done(&key);
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_for_later_comes_at_its_time_or_earlier_when_added() {
        let queue = queue();
        queue.add_after("a", Duration::from_secs(5));
        queue.add_after("b", Duration::from_secs(1));
        let start = Mono::now();
        assert_eq!(queue.next().await, "b");
        assert!(start.elapsed() >= Duration::from_secs(1));
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        assert!(start.elapsed() < Duration::from_secs(2));
        queue.done(&"a");
        queue.done(&"b");
        assert!(queue.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn importance_counts_for_keys_that_come_later_and_may_rise_while_they_wait() {
        let queue = queue();
        queue.add_after_with("late", 3, Duration::from_secs(1));
        queue.add("a");
        queue.add("b");
        hanse_rt::sleep(Duration::from_secs(2)).await;
        queue.add_with("b", 1);
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(queue.next().await);
        }
        assert_eq!(taken, ["late", "b", "a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_wait_longer_each_time_until_one_succeeds() {
        let queue = queue();
        let mut last = Duration::ZERO;
        for _ in 0..4 {
            let start = Mono::now();
            queue.retry("a");
            let key = queue.next().await;
            queue.done(&key);
            assert!(start.elapsed() > last / 2, "{:?} after {last:?}", start.elapsed());
            last = start.elapsed();
        }
        queue.succeeded(&"a");
        let start = Mono::now();
        queue.retry("a");
        queue.next().await;
        assert!(start.elapsed() <= Duration::from_millis(51));
    }
}
