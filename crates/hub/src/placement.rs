//! Placement: feeds each binding and a snapshot of all members to the scheduler, and writes where
//! the replicas go. It alone writes `spec.clusters`, and with it the moves and the decision.
//!
//! Failover and drains are inputs: an order in [`crate::Evacuations`] takes a member's replicas
//! elsewhere. See [`moves`] for how a move goes.

mod apply;
mod convert;
pub mod fleet;
pub mod moves;
mod observe;
mod plan;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_api::{ClusterPropagationPolicy, PropagationPolicy, ResourceBinding};
use hanse_rt::TaskSet;
use hanse_scheduler::Planner;
use tracing::Instrument as _;

pub(crate) use convert::Compiled;
pub(crate) use observe::observe;
pub use plan::{Outcome, Placed, Seen, plan};
pub(crate) use plan::{key, request};

use crate::{
    Key, Queue, SessionEvent, TokenBucket, World,
    metrics::HubMetrics,
    policies::{Policies, PolicyKey},
    propagation::key_of_binding,
};
use fleet::FleetBook;

/// How many bindings are written at once; decisions are made one at a time.
const WORKERS: usize = 8;
/// Old copies that were replaced go at most so many bindings a second.
const REMOVALS_PER_SECOND: u32 = 50;
/// How long until a binding that waits for a removal's turn is looked at again.
const TURN_DELAY: Duration = Duration::from_millis(100);

/// The placement controller.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    world: World,
    policies: Policies,
    queue: Queue<Key>,
    fleet: Arc<Mutex<FleetBook>>,
    planner: Arc<Mutex<Planner>>,
    /// Bindings without a place for all their replicas: room anywhere wakes them.
    waiting: Arc<Mutex<BTreeSet<Key>>>,
    removals: TokenBucket,
    metrics: HubMetrics,
}

impl Placement {
    pub(crate) fn new(world: World, policies: Policies, metrics: HubMetrics) -> Self {
        let queue = Queue::new(world.means().rng.fork("queue", "placement"));
        let this = Self {
            world,
            policies,
            queue,
            fleet: Arc::default(),
            planner: Arc::default(),
            waiting: Arc::default(),
            removals: TokenBucket::new(REMOVALS_PER_SECOND),
            metrics,
        };
        this.listen();
        this
    }

    pub(crate) fn start(&self, tasks: &TaskSet) {
        for _ in 0..WORKERS {
            let this = self.clone();
            crate::work(tasks, "placement", self.queue.clone(), move |key| {
                let this = this.clone();
                async move { this.reconcile(&key).await }
            });
        }
        let this = self.clone();
        let shutdown = tasks.shutdown();
        tasks.spawn("evacuations", async move {
            let mut orders = this.world.follow_evacuations();
            loop {
                hanse_rt::select! {
                    () = shutdown.cancelled() => return,
                    changed = orders.changed() => if changed.is_err() { return },
                }
                for binding in this.world.objects().bindings.all() {
                    this.add(&binding);
                }
            }
        });
    }

    fn listen(&self) {
        let this = self.clone();
        self.world.objects().bindings.on_change(move |key, old, new| {
            this.book(|book| book.note_binding(key, new.map(Arc::as_ref), &this.world));
            let Some(new) = new else {
                this.waiting.lock().expect("no holder of this lock panics").remove(key);
                return;
            };
            let asks = |binding: &ResourceBinding| binding.spec.clone();
            if old.is_none_or(|old| asks(old) != asks(new)) {
                this.add(new);
                this.wake_companions(new);
            }
        });
        let this = self.clone();
        self.world.templates().on_change(move |key, _, new| {
            let Some(template) = new else { return };
            let key = key_of_binding(key);
            this.book(|book| book.note_needs(&key, &template.needs));
            if let Some(binding) = this.world.objects().bindings.get(&key) {
                this.add(&binding);
            }
        });
        let this = self.clone();
        self.world.objects().policies.on_change(move |key, old, new| {
            let written = |policy: &Arc<PropagationPolicy>| policy.metadata.generation;
            if old.map(written) != new.map(written) {
                this.wake_orphans(&PolicyKey {
                    cluster: false,
                    namespace: key.namespace.clone(),
                    name: key.name.clone(),
                });
            }
        });
        let this = self.clone();
        self.world.objects().cluster_policies.on_change(move |key, old, new| {
            let written = |policy: &Arc<ClusterPropagationPolicy>| policy.metadata.generation;
            if old.map(written) != new.map(written) {
                this.wake_orphans(&PolicyKey {
                    cluster: true,
                    namespace: String::new(),
                    name: key.name.clone(),
                });
            }
        });
        self.listen_to_members();
    }

    /// Bindings whose policy is gone, or may select them no longer, stay where they are and say so.
    fn wake_orphans(&self, policy: &PolicyKey) {
        for binding in self.world.objects().bindings.all() {
            let named = binding.spec.policy.as_ref().map(PolicyKey::of_ref);
            if named.as_ref() == Some(policy) {
                self.add(&binding);
            }
        }
    }

    fn listen_to_members(&self) {
        let this = self.clone();
        self.world.objects().members.on_change(move |key, old, new| {
            this.book(|book| book.stale(&key.name));
            // Only what placement looks at: conditions and counts change all the time.
            let look = |member: &hanse_api::MemberCluster| {
                (
                    member.spec.clone(),
                    member.metadata.labels.clone(),
                    member.metadata.deletion_timestamp.is_some(),
                    member.status.as_ref().and_then(|status| status.verdict.clone()),
                    fleet::is_joined(member),
                )
            };
            if old.map(|m| look(m)) != new.map(|m| look(m)) {
                this.wake_all();
            }
        });
        let this = self.clone();
        self.world.on_session(move |member, event| match event {
            SessionEvent::Room | SessionEvent::Kinds => {
                this.book(|book| book.stale(member));
                this.wake_waiting();
            }
            SessionEvent::Sight => {
                this.book(|book| book.stale(member));
                this.wake_for(member);
            }
            SessionEvent::Object(binding) => {
                // Moves wait for replicas to be ready.
                if let Some(binding) = this.world.objects().bindings.get(binding)
                    && moves::has_open(&binding)
                {
                    this.add(&binding);
                }
            }
            SessionEvent::Synced(_) => {}
        });
    }

    fn book<R>(&self, change: impl FnOnce(&mut FleetBook) -> R) -> R {
        change(&mut self.fleet.lock().expect("no holder of this lock panics"))
    }

    fn add(&self, binding: &ResourceBinding) {
        self.queue.add_with(Key::of(binding), binding.spec.importance);
    }

    /// Companions go where their workload goes.
    fn wake_companions(&self, workload: &ResourceBinding) {
        let key = crate::propagation::key_of_template(&workload.spec.template);
        let Some(template) = self.world.templates().get(&key) else {
            return;
        };
        if !template.kind.is_workload() {
            return;
        }
        for companion in self.world.templates().companions(&template) {
            let key = key_of_binding(&companion);
            if let Some(binding) = self.world.objects().bindings.get(&key) {
                self.add(&binding);
            }
        }
    }

    /// A member came, went, or is another one to placement: anything may follow from it.
    fn wake_all(&self) {
        for binding in self.world.objects().bindings.all() {
            self.add(&binding);
        }
    }

    /// A member answers or does not: what it holds, what wants a place, and what goes everywhere.
    fn wake_for(&self, member: &str) {
        for binding in self.world.objects().bindings.all() {
            let holds = binding.spec.clusters.iter().any(|cluster| cluster.name == member);
            if holds || binding.spec.replicas == 0 || moves::has_open(&binding) {
                self.add(&binding);
            }
        }
        self.wake_waiting();
    }

    fn wake_waiting(&self) {
        let waiting: Vec<Key> = {
            let waiting = self.waiting.lock().expect("no holder of this lock panics");
            waiting.iter().cloned().collect()
        };
        for key in waiting {
            // Room is counted again at most so often: earlier there would be nothing new.
            self.queue.add_after(key, fleet::REFRESH);
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<(), kube::Error> {
        let Some(binding) = self.world.objects().bindings.get(key) else {
            return Ok(());
        };
        if binding.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let placed = self.decide(key, &binding);
        self.metrics.decided(placed.outcome.reason());
        {
            let mut waiting = self.waiting.lock().expect("no holder of this lock panics");
            if placed.outcome.is_complete() {
                waiting.remove(key);
            } else {
                waiting.insert(key.clone());
            }
        }
        if placed.waits_for_turn {
            self.queue.add_after(key.clone(), TURN_DELAY);
        }
        let changes = placed.clusters != binding.spec.clusters;
        let span = self.world.traces().decision(key, placed.outcome.reason(), changes);
        let written = apply::apply(&self.world, &binding, &placed).instrument(span).await;
        if written.is_err() {
            // What was reserved for this decision is taken back with the next look.
            let binding = self.world.objects().bindings.get(key);
            self.book(|book| book.note_binding(key, binding.as_deref(), &self.world));
        }
        written
    }

    /// One decision at a time, so that no room is promised twice.
    fn decide(&self, key: &Key, binding: &Arc<ResourceBinding>) -> Placed {
        self.book(|book| {
            book.refresh(&self.world);
            let seen = observe(&self.world, &self.policies, Arc::clone(binding), book);
            let mut planner = self.planner.lock().expect("no holder of this lock panics");
            let placed = plan(&seen, &mut planner, || self.removals.try_take());
            let needs = Arc::clone(&seen.needs);
            // Its view of the fleet goes first, or the reservation would copy whole members.
            drop(seen);
            book.reserve(key, &placed.clusters, &needs);
            placed
        })
    }
}
