//! Named tasks that end together.
//!
//! A [`TaskSet`] is a tree: shutting a set down asks its tasks and its children's tasks to end
//! (drain); killing it drops their futures at once, as a crash would.

use std::{future::Future, sync::Arc, time::Duration};

use futures::FutureExt as _;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

/// Tasks that belong together.
#[derive(Clone, Debug)]
pub struct TaskSet {
    name: Arc<str>,
    drain: CancellationToken,
    kill: CancellationToken,
    tracker: TaskTracker,
}

/// Tells a task that it should end.
#[derive(Clone, Debug)]
pub struct Shutdown(CancellationToken);

impl TaskSet {
    /// An empty set; `name` appears in logs.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            drain: CancellationToken::new(),
            kill: CancellationToken::new(),
            tracker: TaskTracker::new(),
        }
    }

    /// A set that ends when this one does, and can end earlier by itself.
    pub fn child(&self, name: &str) -> Self {
        Self {
            name: format!("{}/{name}", self.name).into(),
            drain: self.drain.child_token(),
            kill: self.kill.child_token(),
            tracker: TaskTracker::new(),
        }
    }

    /// Starts a task. A panic in it is logged and ends the task only.
    #[expect(clippy::disallowed_methods, reason = "the one door to spawning tasks")]
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let kill = self.kill.clone();
        let set = Arc::clone(&self.name);
        let span = tracing::debug_span!("task", set = %set, task = name);
        // What follows moves it about, and would hold its size again at each step.
        let task = Box::pin(task);
        let future = async move {
            let task = std::panic::AssertUnwindSafe(task).catch_unwind();
            crate::select! {
                () = kill.cancelled() => {}
                ended = task => if ended.is_err() {
                    tracing::error!(set = %set, task = name, "task ended by a panic");
                },
            }
        };
        tokio::spawn(self.tracker.track_future(future.instrument(span)));
    }

    /// The signal that this set's tasks watch.
    pub fn shutdown(&self) -> Shutdown {
        Shutdown(self.drain.clone())
    }

    /// How many tasks of this set run now, children not counted.
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Asks all tasks to end, without waiting for them.
    pub fn end(&self) {
        self.drain.cancel();
        self.tracker.close();
    }

    /// Asks all tasks to end and waits for this set's own; what still runs after `deadline` is
    /// dropped. Returns how many had to be.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.end();
        if crate::timeout(deadline, self.tracker.wait()).await.is_ok() {
            return 0;
        }
        let stuck = self.tracker.len();
        self.kill().await;
        stuck
    }

    /// Drops all tasks at once, as a crash would, without waiting for them.
    pub fn abort(&self) {
        self.kill.cancel();
        self.tracker.close();
    }

    /// Drops all tasks at once, as a crash would, and waits until this set's own are gone.
    pub async fn kill(&self) {
        self.abort();
        self.tracker.wait().await;
    }
}

/// What hyper and tonic spawn by themselves ends with the set too, also by a kill.
impl<F> hyper::rt::Executor<F> for TaskSet
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.spawn("http stream", async move { drop(future.await) });
    }
}

impl Shutdown {
    /// Resolves when the task should end.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }

    /// Whether the task should end.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn draining_ends_tasks_that_listen_and_drops_those_that_do_not() {
        let set = TaskSet::new("test");
        let shutdown = set.shutdown();
        set.spawn("polite", async move { shutdown.cancelled().await });
        set.spawn("deaf", std::future::pending());
        assert_eq!(set.drain(Duration::from_secs(1)).await, 1);
        assert_eq!(set.running(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_ends_with_its_parent_and_not_the_other_way_round() {
        let parent = TaskSet::new("parent");
        let child = parent.child("child");
        let sibling = parent.child("sibling");
        child.kill().await;
        assert!(!parent.shutdown().is_cancelled());
        assert_eq!(parent.drain(Duration::from_secs(1)).await, 0);
        assert!(sibling.shutdown().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_library_spawns_by_the_set_dies_with_it() {
        let set = TaskSet::new("test");
        hyper::rt::Executor::execute(&set, std::future::pending::<()>());
        assert_eq!(set.running(), 1);
        set.kill().await;
        assert_eq!(set.running(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_ends_only_its_own_task() {
        let set = TaskSet::new("test");
        set.spawn("bad", async { panic!("on purpose") });
        set.spawn("good", crate::sleep(Duration::from_millis(10)));
        assert_eq!(set.drain(Duration::from_secs(1)).await, 0);
    }
}
