//! A lane for each member: what is to be looked at there, and those who do it. When a hub starts,
//! lanes are closed: they fill, and nobody works on them yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use hanse_rt::{Rng, TaskSet};

use crate::{Key, Queue};

/// All lanes. Cloning shares them.
#[derive(Clone, Debug)]
pub(super) struct Lanes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    tasks: TaskSet,
    rng: Rng,
}

#[derive(Debug, Default)]
struct State {
    lanes: BTreeMap<String, Lane>,
    phase: Phase,
    /// Members that got work of which nobody knew before the hub started, and are closed yet.
    hurried: BTreeSet<String>,
}

/// What is to be looked at in one member.
#[derive(Debug)]
struct Lane {
    queue: Queue<Key>,
    /// Those who do it, once it is open.
    workers: Option<TaskSet>,
}

/// Whether lanes open by themselves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Phase {
    /// The caches fill: what is new cannot be told from what is read.
    #[default]
    Filling,
    /// Members are opened one after another.
    Opening,
    /// All lanes are open.
    Open,
}

impl Lanes {
    pub(super) fn new(tasks: TaskSet, rng: &Rng) -> Self {
        let (state, rng) = (Mutex::default(), rng.fork("sync", "lanes"));
        Self(Arc::new(Inner { state, tasks, rng }))
    }

    /// The queue of a member; `run` starts those who work on it when its lane is open.
    pub(super) fn queue(&self, member: &str, run: impl FnOnce(&TaskSet, Queue<Key>)) -> Queue<Key> {
        let mut state = self.lock();
        let is_open = state.phase == Phase::Open;
        let lane = state.lane(member, &self.0.rng);
        if is_open {
            lane.start(&self.0.tasks, member, run);
        }
        lane.queue.clone()
    }

    /// Opens the lane of a member, where that is not done.
    pub(super) fn open(&self, member: &str, run: impl FnOnce(&TaskSet, Queue<Key>)) {
        self.lock().lane(member, &self.0.rng).start(&self.0.tasks, member, run);
    }

    /// Whether somebody works on the lane of a member.
    pub(super) fn is_open(&self, member: &str) -> bool {
        self.lock().is_open(member)
    }

    /// Whether nothing waits in the lane of a member and nobody works on it.
    pub(super) fn is_through(&self, member: &str) -> bool {
        self.lock().lanes.get(member).is_none_or(|lane| lane.queue.load() == 0)
    }

    /// From now on, work that is added is new.
    pub(super) fn filled(&self) {
        self.lock().phase = Phase::Opening;
    }

    /// Notes that a member has got work: if that is new, its lane opens before others.
    pub(super) fn hurry(&self, member: &str) {
        let mut state = self.lock();
        if state.phase == Phase::Opening && !state.is_open(member) {
            state.hurried.insert(member.to_owned());
        }
    }

    /// Members whose lanes are to be opened first.
    pub(super) fn hurried(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.lock().hurried)
    }

    /// From now on all lanes are open; gives those of these members that are not yet.
    pub(super) fn opened(&self, members: impl Iterator<Item = String>) -> Vec<String> {
        let mut state = self.lock();
        let closed = members.filter(|member| !state.is_open(member)).collect();
        state.phase = Phase::Open;
        closed
    }

    /// Ends the work on a member.
    pub(super) fn remove(&self, member: &str) {
        if let Some(workers) = self.lock().lanes.remove(member).and_then(|lane| lane.workers) {
            workers.end();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of this lock panics")
    }
}

impl State {
    fn is_open(&self, member: &str) -> bool {
        self.phase == Phase::Open
            || self.lanes.get(member).is_some_and(|lane| lane.workers.is_some())
    }

    fn lane(&mut self, member: &str, rng: &Rng) -> &mut Lane {
        self.lanes
            .entry(member.to_owned())
            .or_insert_with(|| Lane { queue: Queue::new(rng.fork("lane", member)), workers: None })
    }
}

impl Lane {
    /// Starts those who work on it, where that is not done.
    fn start(&mut self, tasks: &TaskSet, member: &str, run: impl FnOnce(&TaskSet, Queue<Key>)) {
        if self.workers.is_none() {
            let workers = self.workers.insert(tasks.child(member));
            run(workers, self.queue.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lane_fills_until_it_is_opened_and_new_work_is_told_from_what_was_read() {
        let tasks = TaskSet::new("test");
        let lanes = Lanes::new(tasks.child("sync"), &Rng::from_seed(1));
        let closed = |_: &TaskSet, _: Queue<Key>| panic!("nobody works on a closed lane");
        lanes.hurry("a");
        assert!(lanes.hurried().is_empty(), "what a cache fills with is not new");
        lanes.queue("a", closed).add(Key::new("shop", "web"));
        assert!(!lanes.is_open("a") && !lanes.is_through("a"));
        lanes.filled();
        lanes.hurry("a");
        lanes.hurry("b");
        assert_eq!(lanes.hurried(), BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        assert!(lanes.hurried().is_empty(), "they are told once");
        let mut waiting = 0;
        lanes.open("a", |_, queue| waiting = queue.len());
        assert_eq!(waiting, 1, "what came before is there");
        lanes.open("a", closed);
        lanes.hurry("a");
        assert!(lanes.is_open("a") && lanes.hurried().is_empty());
        lanes.queue("c", closed);
        let members = ["a", "c", "e"].map(str::to_owned);
        assert_eq!(lanes.opened(members.into_iter()), ["c", "e"], "one without work is told too");
        let mut started = false;
        lanes.queue("d", |_, _| started = true);
        assert!(started && lanes.is_open("d"), "one that comes later is open from the start");
        tasks.kill().await;
    }
}
