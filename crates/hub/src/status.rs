//! Status: folds what the members say into the binding and into the template's own status, so that
//! the tools that wait for a rollout work on the hub.

mod apply;
mod observe;
mod plan;
mod rush;
mod turns;

use std::time::Duration;

use hanse_rt::{Mono, TaskSet};
use tracing::{Instrument as _, Span};

pub use plan::{MemberSeen, Seen, Told, plan};
use rush::Rush;
use turns::Turns;

use crate::{
    Key, Queue, TemplateKey, World,
    propagation::key_of_template,
    rules::{Origin, Place},
    sync::SyncTable,
};

/// What members say is collected for this long, so that one change of many copies is one write.
const COLLECT: Duration = Duration::from_millis(10);
/// And this long where more wait than are told in that time: at a start every binding changes
/// several times.
const COLLECT_MANY: Duration = Duration::from_millis(500);
/// So many are more.
const MANY: usize = 100;
/// A hub that starts has seen all members that answer after so long at the latest.
const FIRST_LOOK: Duration = Duration::from_mins(1);
/// How many bindings are told at once.
const AT_ONCE: usize = 8;

/// Has a binding looked at when what there is to say of it is collected.
pub(crate) fn collect(queue: &Queue<Key>, key: Key) {
    queue.add_after(key, if queue.load() > MANY { COLLECT_MANY } else { COLLECT });
}

/// The status controller.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    world: World,
    table: SyncTable,
    queue: Queue<Key>,
    turns: Turns,
    rush: Rush,
    /// Until when a new hub may still have to look at members for the first time.
    looked: Mono,
}

impl Status {
    /// Tells of the bindings in `queue`; `templates` are those whose bindings are being made.
    pub(crate) fn new(
        world: World,
        table: SyncTable,
        queue: Queue<Key>,
        templates: Queue<TemplateKey>,
    ) -> Self {
        let looked = Mono::now() + FIRST_LOOK;
        let (turns, rush) = (Turns::default(), Rush::new(templates));
        let this = Self { world, table, queue, turns, rush, looked };
        this.listen();
        this
    }

    pub(crate) fn start(&self, tasks: &TaskSet) {
        self.rush.follow(tasks, self.queue.clone());
        let this = self.clone();
        crate::work(tasks, "status", self.queue.clone(), AT_ONCE, move |key| {
            let this = this.clone();
            async move { this.reconcile(&key).await }
        });
    }

    fn listen(&self) {
        let this = self.clone();
        self.world.objects().bindings.on_change(move |key, old, new| {
            let Some(new) = new else {
                return this.turns.forget(key);
            };
            if old.is_none_or(|old| old.spec != new.spec) {
                collect(&this.queue, key.clone());
            }
        });
        let this = self.clone();
        self.world.templates().on_change(move |key, _, _| {
            collect(&this.queue, crate::propagation::key_of_binding(key));
        });
    }

    async fn reconcile(&self, key: &Key) -> Result<(), kube::Error> {
        let left = self.looked.saturating_duration_since(Mono::now());
        if !left.is_zero() && observe::knows_less(&self.world, &self.table, key) {
            // What the last hub told stands until this one has seen as much.
            self.queue.add_after(key.clone(), left);
            return Ok(());
        }
        let Some(seen) = observe::observe(&self.world, &self.table, key) else {
            return Ok(());
        };
        let told = plan(&seen);
        let fault = told.fault.as_ref().map(|fault| {
            let words = format!("{}: {fault}", key_of_template(&seen.binding.spec.template));
            (Origin::Interpreter(fault.interpreter.clone()), words)
        });
        self.world.rules().note(key, Place::Status, fault);
        let change = apply::Change::new(&self.world, &seen, told);
        let urgency = turns::urgency(&seen, &change);
        let bucket = &self.world.means().status_writes;
        let rush = self.rush.is_on();
        if let Some(wait) = self.turns.wait(key, urgency, change.writes(), bucket, rush) {
            if rush {
                self.rush.hold(key);
            }
            self.queue.add_after(key.clone(), wait);
            return Ok(());
        }
        let span = self.answered(key, &seen);
        apply::apply(&self.world, &seen, change).instrument(span).await
    }

    /// Traces what members have answered; the status is written under the last of the answers.
    fn answered(&self, key: &Key, seen: &Seen) -> Span {
        let traces = self.world.traces();
        let mut last = Span::none();
        for member in seen.members.iter().filter(|member| plan::has_answered(seen, member)) {
            last = traces.answer(key, &member.name).unwrap_or(last);
        }
        if plan::is_through(seen) {
            traces.ended(key);
        }
        last
    }
}
