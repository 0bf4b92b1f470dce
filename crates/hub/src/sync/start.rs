//! The start of a hub: thousands of copies are to be compared, and what was decided just now is to
//! be written. Members are looked at some at a time, those with new work first; all the rest waits
//! until the members have told of themselves, for decisions wait for that.

use std::{collections::VecDeque, time::Duration};

use hanse_rt::{Mono, Readiness, TaskSet};

use super::Sync;
use crate::{Key, Queue};

/// How many writes a member gets at once.
const AT_ONCE: usize = 24;
/// How many members have their copies read and compared at the same time.
const MEMBERS: usize = 32;
/// A member that takes longer is not waited for.
const LONGEST: Duration = Duration::from_secs(1);
/// How often it is looked who is through.
const TICK: Duration = Duration::from_millis(5);

impl Sync {
    /// The queue of a member; its workers start with it, once lanes are open.
    pub(super) fn lane(&self, member: &str) -> Queue<Key> {
        self.lanes.queue(member, |workers, queue| self.run_lane(member, workers, queue))
    }

    fn run_lane(&self, member: &str, workers: &TaskSet, queue: Queue<Key>) {
        let this = self.clone();
        let (name, lane) = (member.to_owned(), queue.clone());
        crate::work(workers, "sync", queue, AT_ONCE, move |key| {
            let (this, member, lane) = (this.clone(), name.clone(), lane.clone());
            async move { this.reconcile(&member, &key, &lane).await }
        });
    }

    fn open(&self, member: &str) {
        self.lanes.open(member, |workers, queue| self.run_lane(member, workers, queue));
        self.look_at_member(member);
    }

    /// Opens the lanes, once the members have told of themselves.
    pub(super) fn open_lanes(&self, tasks: &TaskSet, known: Readiness) {
        self.lanes.filled();
        let this = self.clone();
        let shutdown = tasks.shutdown();
        tasks.spawn("sync-start", async move {
            hanse_rt::select! {
                () = shutdown.cancelled() => {}
                () = this.open_all(known) => {}
            }
        });
    }

    async fn open_all(&self, known: Readiness) {
        known.ready().await;
        let members = || self.world.objects().members.keys().into_iter().map(|key| key.name);
        let mut left: VecDeque<String> = members().collect();
        let mut under_way: Vec<(String, Mono)> = Vec::new();
        while !left.is_empty() {
            under_way.retain(|(member, since)| since.elapsed() < LONGEST && !self.is_read(member));
            let free = MEMBERS.saturating_sub(under_way.len()).min(left.len());
            let next: Vec<String> =
                self.lanes.hurried().into_iter().chain(left.drain(..free)).collect();
            for member in next.into_iter().filter(|member| !self.lanes.is_open(member)) {
                self.open(&member);
                under_way.push((member, Mono::now()));
            }
            hanse_rt::sleep(TICK).await;
        }
        for member in self.lanes.opened(members()) {
            self.open(&member);
        }
    }

    /// Whether all that is known to be in a member has been read and compared, as far as it answers.
    fn is_read(&self, member: &str) -> bool {
        let session = self.world.session(member).filter(|session| session.is_up());
        session.is_none_or(|session| session.is_listed()) && self.lanes.is_through(member)
    }
}
