//! While many bindings are being made, status waits: the API server that takes it is the one that
//! has to take the bindings, and members have something to do only after those.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_rt::TaskSet;
use tokio::sync::Notify;

use crate::{Key, Queue, TemplateKey};

/// So many templates at once are a rush: more than somebody's application, sent one by one.
const MANY: usize = 8;
/// How often it is looked whether a rush is over; it is when two looks say so.
const LOOK: Duration = Duration::from_millis(250);

/// Whether there is a rush, and who waits for its end. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Rush {
    templates: Queue<TemplateKey>,
    held: Arc<Mutex<BTreeSet<Key>>>,
    begun: Arc<Notify>,
}

impl Rush {
    /// Of those whose templates pass through this queue.
    pub(super) fn new(templates: Queue<TemplateKey>) -> Self {
        Self { templates, held: Arc::default(), begun: Arc::default() }
    }

    /// Whether many bindings are being made just now.
    pub(super) fn is_on(&self) -> bool {
        self.templates.load() > MANY
    }

    /// Notes who waits for the end of it.
    pub(super) fn hold(&self, key: &Key) {
        self.held().insert(key.clone());
        self.begun.notify_one();
    }

    /// Sends all that waited to `queue` whenever a rush is over.
    pub(super) fn follow(&self, tasks: &TaskSet, queue: Queue<Key>) {
        let (this, shutdown) = (self.clone(), tasks.shutdown());
        tasks.spawn("status-rush", async move {
            hanse_rt::select! {
                () = shutdown.cancelled() => {}
                () = this.release(&queue) => {}
            }
        });
    }

    async fn release(&self, queue: &Queue<Key>) {
        loop {
            self.begun.notified().await;
            let mut calm = 0;
            while calm < 2 {
                hanse_rt::sleep(LOOK).await;
                calm = if self.is_on() { 0 } else { calm + 1 };
            }
            for key in std::mem::take(&mut *self.held()) {
                queue.add(key);
            }
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, BTreeSet<Key>> {
        self.held.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use hanse_rt::{Mono, Rng};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_waits_comes_when_the_rush_is_over_and_not_before() {
        let tasks = TaskSet::new("test");
        let templates = Queue::new(Rng::from_seed(1));
        let queue = Queue::new(Rng::from_seed(2));
        let rush = Rush::new(templates.clone());
        rush.follow(&tasks, queue.clone());
        let template = |number: usize| TemplateKey {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: format!("web-{number}"),
        };
        (0..MANY).for_each(|number| templates.add(template(number)));
        assert!(!rush.is_on(), "an application is none");
        templates.add(template(MANY));
        let first = templates.next().await;
        assert!(rush.is_on(), "what is being worked on counts");
        rush.hold(&Key::new("shop", "web"));
        hanse_rt::sleep(Duration::from_secs(5)).await;
        assert!(queue.is_idle());
        templates.done(&first);
        let calm = Mono::now();
        assert_eq!(queue.next().await, Key::new("shop", "web"));
        assert!(calm.elapsed() <= 3 * LOOK, "{:?}", calm.elapsed());
        tasks.kill().await;
    }
}
