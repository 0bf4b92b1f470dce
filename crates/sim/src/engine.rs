//! The loop that makes controllers of pure functions: watches feed one picture of the member, a
//! change wakes only what it can affect, plans are carried out, and their results are known at
//! once. It runs against any Kubernetes API; which controllers run is the caller's choice.

mod queue;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _};
use hanse_rt::{Backoff, Rng, TaskSet, Wall};
use kube::{
    Client,
    api::DynamicObject,
    runtime::watcher::{self, Event, watcher},
};
use tokio::sync::mpsc;

use crate::{
    action::{self, Action, Outcome},
    controllers::{daemonset, deployment, endpoints, job, replicaset, scheduler, statefulset},
    kubelet::Kubelet,
    objects::{self, Key, Kind, Objects},
};
use queue::Queue;

/// Watch events that may wait for the loop; a full queue holds the watches back.
const EVENTS: usize = 1024;
/// Writes under way at once.
const WRITES: usize = 16;
/// How long a refused write waits before its controller plans anew.
const RETRY: Duration = Duration::from_millis(200);
/// A scheduler that found no room looks again when something changes, or after this long.
const UNSCHEDULABLE: Duration = Duration::from_secs(5);

/// One thing to look at.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Work {
    /// Pods without a node.
    Schedule,
    /// One pod on a node of ours.
    Kubelet(Key),
    /// One object of a workload kind.
    Workload(Kind, Key),
    /// The slices of one Service.
    Endpoints(Key),
}

/// Which controllers run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// All of them: the API server has none of its own.
    Everything,
    /// Scheduler and kubelet only: a controller manager runs the rest.
    NodesOnly,
}

/// What the loop needs.
pub struct Controllers {
    /// The member's API.
    pub client: Client,
    /// Which controllers run.
    pub scope: Scope,
    /// The member's nodes.
    pub kubelet: Kubelet,
    /// Wall-clock time for what is written down.
    pub wall: Wall,
    /// Chance, for back-off.
    pub rng: Rng,
}

impl std::fmt::Debug for Controllers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controllers").field("scope", &self.scope).finish_non_exhaustive()
    }
}

type Change = (Kind, Event<DynamicObject>);

impl Controllers {
    /// Starts watches and the loop.
    pub fn run(self, tasks: &TaskSet) {
        let kinds: &[Kind] = match self.scope {
            Scope::Everything => &Kind::ALL,
            Scope::NodesOnly => &[Kind::Node, Kind::Pod],
        };
        let (sender, events) = mpsc::channel(EVENTS);
        for kind in kinds {
            let changes = watch(&self.client, *kind, &self.rng);
            tasks.spawn("watch", forward(changes, sender.clone()));
        }
        let engine = Engine {
            controllers: self,
            objects: Objects::default(),
            queue: Queue::default(),
            initial: BTreeMap::new(),
        };
        tasks.spawn("controllers", engine.run(events));
    }
}

fn watch(
    client: &Client,
    kind: Kind,
    rng: &Rng,
) -> impl futures::Stream<Item = Change> + Send + 'static {
    let backoff = Backoff::new(
        rng.fork("watch", &format!("{kind:?}")),
        Duration::from_millis(100),
        Duration::from_secs(10),
    );
    let api = action::api(client, kind, "");
    watcher(api, watcher::Config::default())
        .map_ok(move |event| (kind, event))
        // An error is followed by a new try; the back-off of the stream slows it down.
        .scan(backoff, |backoff, event| {
            let delay = match &event {
                Ok(_) => {
                    backoff.reset();
                    Duration::ZERO
                }
                Err(error) => {
                    tracing::debug!(%error, "watch interrupted");
                    backoff.next_delay()
                }
            };
            async move {
                if !delay.is_zero() {
                    hanse_rt::sleep(delay).await;
                }
                Some(event)
            }
        })
        .filter_map(|event| async move { event.ok() })
}

async fn forward(changes: impl futures::Stream<Item = Change>, sender: mpsc::Sender<Change>) {
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        if sender.send(change).await.is_err() {
            return;
        }
    }
}

struct Engine {
    controllers: Controllers,
    objects: Objects,
    queue: Queue,
    initial: BTreeMap<Kind, BTreeSet<Key>>,
}

impl Engine {
    async fn run(mut self, mut events: mpsc::Receiver<Change>) {
        let mut batch = Vec::with_capacity(EVENTS);
        loop {
            hanse_rt::select! {
                received = events.recv_many(&mut batch, EVENTS) => if received == 0 { return },
                () = self.queue.due() => {}
            }
            for (kind, event) in batch.drain(..) {
                self.take(kind, event);
            }
            self.work().await;
        }
    }

    fn take(&mut self, kind: Kind, event: Event<DynamicObject>) {
        match event {
            Event::Init => drop(self.initial.insert(kind, BTreeSet::new())),
            Event::InitApply(object) => {
                if let Some(seen) = self.initial.get_mut(&kind) {
                    seen.insert(objects::key_of(&object));
                }
                self.learn(kind, object);
            }
            Event::InitDone => {
                let seen = self.initial.remove(&kind).unwrap_or_default();
                let gone: Vec<Key> = self
                    .objects
                    .all(kind)
                    .map(|(key, _)| key.clone())
                    .filter(|key| !seen.contains(key))
                    .collect();
                for key in gone {
                    self.forget(kind, &key, None);
                }
            }
            Event::Apply(object) => self.learn(kind, object),
            Event::Delete(object) => {
                let uid = object.metadata.uid.clone();
                self.forget(kind, &objects::key_of(&object), uid.as_deref());
            }
        }
    }

    fn learn(&mut self, kind: Kind, mut object: DynamicObject) {
        object.metadata.managed_fields = None;
        let key = objects::key_of(&object);
        let before = self.objects.get(kind, &key).cloned();
        if self.objects.apply(kind, object) {
            if let Some(before) = before {
                self.wake(kind, &key, &before);
            }
            if let Some(now) = self.objects.get(kind, &key).cloned() {
                self.wake(kind, &key, &now);
            }
        }
    }

    fn forget(&mut self, kind: Kind, key: &Key, uid: Option<&str>) {
        if let Some(object) = self.objects.delete(kind, key, uid) {
            self.wake(kind, key, &object);
        }
    }

    /// Queues what a change of one object can affect.
    fn wake(&mut self, kind: Kind, key: &Key, object: &Arc<DynamicObject>) {
        match kind {
            Kind::Node => {
                self.queue.push(Work::Schedule);
                let sets: Vec<Key> =
                    self.objects.all(Kind::DaemonSet).map(|(key, _)| key.clone()).collect();
                for set in sets {
                    self.queue.push(Work::Workload(Kind::DaemonSet, set));
                }
                let pods: Vec<Key> = self
                    .objects
                    .all(Kind::Pod)
                    .filter(|(_, pod)| objects::text(pod, "/spec/nodeName") == Some(&key.1))
                    .map(|(key, _)| key.clone())
                    .collect();
                for pod in pods {
                    self.queue.push(Work::Kubelet(pod));
                }
            }
            Kind::Pod => {
                self.wake_owner(object);
                self.queue.push(Work::Kubelet(key.clone()));
                self.queue.push(Work::Schedule);
                let services: Vec<Key> = self
                    .objects
                    .all(Kind::Service)
                    .filter(|((namespace, _), _)| *namespace == key.0)
                    .filter(|(_, service)| {
                        let selector = service.data["spec"]["selector"].as_object();
                        crate::controllers::selects(selector, object)
                    })
                    .map(|(key, _)| key.clone())
                    .collect();
                for service in services {
                    self.queue.push(Work::Endpoints(service));
                }
            }
            Kind::Service => self.queue.push(Work::Endpoints(key.clone())),
            Kind::EndpointSlice => self.wake_owner(object),
            Kind::ReplicaSet => {
                self.wake_owner(object);
                self.queue.push(Work::Workload(kind, key.clone()));
            }
            Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::Job => {
                self.queue.push(Work::Workload(kind, key.clone()));
            }
        }
    }

    fn wake_owner(&mut self, object: &DynamicObject) {
        let owners = object.metadata.owner_references.iter().flatten();
        let namespace = object.metadata.namespace.clone().unwrap_or_default();
        for owner in owners.filter(|owner| owner.controller == Some(true)) {
            let key = (namespace.clone(), owner.name.clone());
            let kind = match owner.kind.as_str() {
                "ReplicaSet" => Kind::ReplicaSet,
                "Deployment" => Kind::Deployment,
                "StatefulSet" => Kind::StatefulSet,
                "DaemonSet" => Kind::DaemonSet,
                "Job" => Kind::Job,
                "Service" => {
                    self.queue.push(Work::Endpoints(key));
                    continue;
                }
                _ => continue,
            };
            self.queue.push(Work::Workload(kind, key));
        }
    }

    /// Plans everything that is due and carries the plans out.
    async fn work(&mut self) {
        let due = self.queue.take_due();
        if due.is_empty() {
            return;
        }
        let mut planned: Vec<(Work, Action)> = Vec::new();
        for work in due {
            for action in self.plan(&work) {
                planned.push((work.clone(), action));
            }
        }
        let client = self.controllers.client.clone();
        let done: Vec<_> = futures::stream::iter(planned)
            .map(|(work, action)| {
                let client = client.clone();
                async move { (work, action.perform(&client).await) }
            })
            .buffered(WRITES)
            .collect()
            .await;
        for (work, outcome) in done {
            match outcome {
                Ok(Outcome::Now(kind, object)) => self.learn(kind, *object),
                Ok(Outcome::Done) => {}
                Err(error) => {
                    tracing::debug!(?work, %error, "refused; planned anew");
                    self.queue.push_after(work, RETRY);
                }
            }
        }
    }

    fn plan(&mut self, work: &Work) -> Vec<Action> {
        let now = self.controllers.wall.now();
        let everything = self.controllers.scope == Scope::Everything;
        match work {
            Work::Schedule => {
                let actions = scheduler::plan(&self.objects, now);
                if actions.iter().any(|action| matches!(action, Action::Status { .. })) {
                    self.queue.push_after(Work::Schedule, UNSCHEDULABLE);
                }
                actions
            }
            Work::Kubelet(key) => {
                let step = self.controllers.kubelet.step(&self.objects, key, now);
                if let Some(again) = step.again {
                    self.queue.push_after(work.clone(), again);
                }
                step.actions
            }
            Work::Workload(kind, key) if everything => match kind {
                Kind::Deployment => deployment::plan(&self.objects, key, now),
                Kind::ReplicaSet => replicaset::plan(&self.objects, key, now),
                Kind::StatefulSet => statefulset::plan(&self.objects, key, now),
                Kind::DaemonSet => daemonset::plan(&self.objects, key, now),
                Kind::Job => job::plan(&self.objects, key, now),
                Kind::Node | Kind::Pod | Kind::Service | Kind::EndpointSlice => Vec::new(),
            },
            Work::Endpoints(key) if everything => endpoints::plan(&self.objects, key, now),
            Work::Workload(..) | Work::Endpoints(_) => Vec::new(),
        }
    }
}
