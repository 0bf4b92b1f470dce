//! Placement: feeds each binding and a snapshot of all members to the scheduler, and writes where
//! the replicas go. It alone writes `spec.clusters`, and with it the moves and the decision.
//!
//! Failover and drains are inputs: an order in [`crate::Evacuations`] takes a member's replicas
//! elsewhere. See [`moves`] for how a move goes.

mod affected;
mod apply;
mod changes;
mod convert;
mod first;
mod first_look;
pub mod fleet;
mod headroom;
mod hold;
mod illusions;
mod jobs;
pub mod moves;
mod observe;
mod ordinals;
mod plan;
mod verdict;
mod wake;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_api::{
    ResourceBinding,
    conditions::{self, reason},
};
use hanse_rt::{Mono, TaskSet};
use hanse_scheduler::{Loss, Planner, Request};
use jiff::Timestamp;
use tracing::Instrument as _;

pub(crate) use affected::Waits;
pub(crate) use convert::Compiled;
pub(crate) use hold::leave_out_held;
pub(crate) use jobs::is_divided;
pub(crate) use observe::observe;
pub use plan::{Outcome, Placed, Seen, Stuck, Survival, plan};
pub(crate) use plan::{key, request};
pub(crate) use verdict::{conditions, in_words};

use crate::{
    Key, Queue, TokenBucket, World, demand, metrics::HubMetrics, policies::Policies,
    propagation::key_of_template,
};
use affected::Affected;
use changes::Changes;
use first_look::FirstLook;
use fleet::FleetBook;

/// How many bindings are written at once; decisions are made one at a time.
const AT_ONCE: usize = 32;
/// Old copies that were replaced go at most so many bindings a second.
const REMOVALS_PER_SECOND: u32 = 50;
/// How long until a binding that waits for a removal's turn is looked at again.
const TURN_DELAY: Duration = Duration::from_millis(100);

/// Bindings with pods that wait for a node are looked at so soon after.
const STUCK_DELAY: Duration = Duration::from_secs(1);

/// The placement controller.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    world: World,
    policies: Policies,
    queue: Queue<Key>,
    fleet: Arc<Mutex<FleetBook>>,
    planner: Arc<Mutex<Planner>>,
    waits: Waits,
    first_look: FirstLook,
    changes: Changes,
    /// Bindings that are made with their decision, until they are seen.
    fresh: Arc<Mutex<BTreeSet<Key>>>,
    removals: TokenBucket,
    metrics: HubMetrics,
}

impl Placement {
    pub(crate) fn new(world: World, policies: Policies, waits: Waits, metrics: HubMetrics) -> Self {
        let queue = Queue::new(world.means().rng.fork("queue", "placement"));
        let this = Self {
            world,
            policies,
            queue,
            fleet: Arc::default(),
            planner: Arc::default(),
            waits,
            first_look: FirstLook::default(),
            changes: Changes::default(),
            fresh: Arc::default(),
            removals: TokenBucket::new(REMOVALS_PER_SECOND),
            metrics,
        };
        this.listen();
        this
    }

    pub(crate) fn start(&self, tasks: &TaskSet) {
        self.look_first(tasks);
        let (this, spawn, shutdown) = (self.clone(), tasks.clone(), tasks.shutdown());
        tasks.spawn("placement-start", async move {
            hanse_rt::select! {
                () = shutdown.cancelled() => return,
                () = this.members_known().ready() => {}
            }
            let queue = this.queue.clone();
            crate::work(&spawn, "placement", queue, AT_ONCE, move |key| {
                let this = this.clone();
                async move { this.reconcile(&key).await }
            });
        });
        self.follow_orders(tasks);
        self.follow_changes(tasks);
    }

    fn book<R>(&self, change: impl FnOnce(&mut FleetBook) -> R) -> R {
        change(&mut self.fleet.lock().expect("no holder of this lock panics"))
    }

    fn affected<R>(&self, change: impl FnOnce(&mut Affected) -> R) -> R {
        self.waits.with(change)
    }

    async fn reconcile(&self, key: &Key) -> Result<(), kube::Error> {
        let Some(binding) = self.world.objects().bindings.get(key) else {
            return Ok(());
        };
        let template = key_of_template(&binding.spec.template);
        let is_unread = self.world.templates().get(&template).is_none()
            && !self.world.templates().is_synced(&template.kind_id());
        if binding.metadata.deletion_timestamp.is_some() || is_unread {
            // What is being read yet brings its binding here again.
            return Ok(());
        }
        let Some((placed, look_again)) = self.decide(key, &binding) else {
            return Ok(());
        };
        self.count(key, &placed);
        self.note(key, &binding, &placed);
        if let Some(delay) = look_again {
            self.queue.add_after(key.clone(), delay);
        }
        if placed.waits_for_turn {
            self.queue.add_after(key.clone(), TURN_DELAY);
        }
        let changes = placed.clusters != binding.spec.clusters;
        let span = self.world.traces().decision(key, placed.outcome.reason(), changes);
        let written = apply::apply(&self.world, &binding, &placed).instrument(span).await;
        if written.is_err() {
            // What was reserved for this decision is taken back with the next look.
            self.take_back(key);
        }
        written
    }

    fn count(&self, key: &Key, placed: &Placed) {
        self.metrics.decided(placed.outcome.reason());
        for violation in &placed.violations {
            tracing::error!(%key, %violation, "the scheduler broke a promise");
            self.metrics.violated(violation.as_str());
        }
    }

    /// Notes what will wake the binding again.
    fn note(&self, key: &Key, binding: &ResourceBinding, placed: &Placed) {
        self.affected(|all| {
            all.note_roaming(key, placed.roams.clone());
            match &placed.asked {
                Some(request) if !placed.outcome.is_complete() => {
                    let since = waiting_since(binding, self.world.means().wall.now());
                    all.wait(key, binding.spec.importance, Arc::clone(request), since);
                }
                _ => all.placed(key),
            }
        });
    }

    /// One decision at a time, so that no room is promised twice. None while the members are not
    /// known that it has to choose from.
    fn decide(
        &self,
        key: &Key,
        binding: &Arc<ResourceBinding>,
    ) -> Option<(Placed, Option<Duration>)> {
        self.book(|book| {
            book.refresh(&self.world);
            let mut seen = observe(&self.world, &self.policies, Arc::clone(binding), book);
            let mut planner = self.planner.lock().expect("no holder of this lock panics");
            let hold = hold::length(&self.world);
            let waiting = self.affected(|all| {
                all.note_looking(key, seen.policy.as_ref());
                all.held(binding.spec.importance, hold)
            });
            let named = |key: &Key| hold::named(&self.world, key);
            let turn = || self.removals.try_take();
            let mut placed = hold::plan_beside(&mut seen, &waiting, named, &mut planner, turn);
            if let Some(asked) = &placed.asked
                && (hold::adds(&seen, &placed)
                    || !placed.outcome.is_complete()
                    || matches!(placed.survival, Survival::WouldNot(_)))
                && self.first_look.waits(key, &asked.rules, &self.world)
            {
                return None;
            }
            placed.asked = placed.asked.map(without_spare);
            let needs = Arc::clone(&seen.needs);
            if placed.clusters != binding.spec.clusters {
                self.world.decided().begin(key, binding);
            }
            let taken = demand::taken(binding, &placed.clusters);
            self.world.tenants().note(key, binding, &taken);
            let held = placed.outcome.reason() == reason::HELD_FOR_HIGHER_IMPORTANCE;
            let ends = waiting
                .iter()
                .filter(|_| held)
                .map(|(_, who)| hold.saturating_sub(who.since.elapsed()) + fleet::REFRESH);
            let look_again = ends.chain(seen.stuck_in).min();
            // Its view of the fleet, and of what others may lose, goes first, or what follows would
            // copy whole members.
            drop(seen);
            book.reserve(key, &taken, &needs);
            book.note_loss(key, loss(binding, &placed));
            Some((placed, look_again))
        })
    }
}

/// Since when a binding that has no place waits for one: a restart of the hub changes nothing.
fn waiting_since(binding: &ResourceBinding, now: Timestamp) -> Mono {
    let known = binding.status.iter().flat_map(|status| &status.conditions);
    let unplaced = known
        .into_iter()
        .find(|known| known.type_ == conditions::binding::SCHEDULED && known.status == "False");
    let waits = unplaced.and_then(|known| {
        Duration::try_from(now.duration_since(known.last_transition_time.0)).ok()
    });
    waits.and_then(|waits| Mono::now().checked_sub(waits)).unwrap_or_else(Mono::now)
}

/// What was asked, without what others might have lost then.
fn without_spare(asked: Arc<Request>) -> Arc<Request> {
    if asked.spare.is_none() {
        return asked;
    }
    Arc::new(Request { spare: None, ..Request::clone(&asked) })
}

/// What may be lost of a binding, as it is decided.
fn loss(binding: &ResourceBinding, placed: &Placed) -> Option<Loss> {
    let asked = placed.asked.as_ref().filter(|asked| asked.rules.survive.is_some())?;
    let count = |replicas: i32| u32::try_from(replicas).unwrap_or(0);
    let clusters = placed.clusters.iter();
    Some(Loss {
        turn: headroom::turn(binding),
        request: Arc::clone(asked),
        placed: clusters.map(|c| (c.name.as_str(), count(c.replicas))).collect(),
    })
}
