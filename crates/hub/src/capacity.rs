//! Capacity: what each member's nodes hold and how much the federation placed there, written to
//! its status. Placement reads the session itself; this is for people.

use std::{sync::Arc, time::Duration};

use hanse_api::{
    MemberCapacity, MemberCluster, MemberClusterStatus, NodeCounts,
    conditions::{self, member, reason},
};
use hanse_rt::TaskSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;

use crate::{
    Key, Queue, SessionEvent, TokenBucket, World,
    room::RoomSeen,
    sync::{Stand, SyncTable},
    write::change_status,
};

/// Changes are collected for this long.
const DELAY: Duration = Duration::from_secs(2);
/// Members told of in a second: placing much work changes all of them all the time.
const TOLD_PER_SECOND: u32 = 50;

/// The capacity controller.
#[derive(Clone, Debug)]
pub(crate) struct Capacity {
    world: World,
    table: SyncTable,
    queue: Queue<Key>,
    pace: TokenBucket,
}

impl Capacity {
    pub(crate) fn new(world: World, table: SyncTable) -> Self {
        let queue = Queue::new(world.means().rng.fork("queue", "capacity"));
        let this = Self { world, table, queue, pace: TokenBucket::new(TOLD_PER_SECOND) };
        this.listen();
        this
    }

    pub(crate) fn start(&self, tasks: &TaskSet) {
        let this = self.clone();
        crate::work(tasks, "capacity", self.queue.clone(), 1, move |key| {
            let this = this.clone();
            async move { this.reconcile(&key).await }
        });
    }

    fn listen(&self) {
        let this = self.clone();
        self.world.on_session(move |member, event| match event {
            SessionEvent::Room => {
                // The first numbers are worth showing at once.
                let known = this.world.member(member);
                let shown =
                    known.is_some_and(|m| m.status.as_ref().is_some_and(|s| s.nodes.is_some()));
                let delay = if shown { DELAY } else { Duration::ZERO };
                this.queue.add_after(Key::new("", member), delay);
            }
            SessionEvent::Object(_) => this.queue.add_after(Key::new("", member), DELAY),
            _ => {}
        });
        let this = self.clone();
        self.world.objects().bindings.on_change(move |_, old, new| {
            for cluster in old.into_iter().chain(new).flat_map(|binding| &binding.spec.clusters) {
                this.queue.add_after(Key::new("", &cluster.name), DELAY);
            }
        });
    }

    async fn reconcile(&self, key: &Key) -> Result<(), kube::Error> {
        self.pace.take().await;
        let Some(cluster) = self.world.member(&key.name) else {
            return Ok(());
        };
        let room = self.world.session(&key.name).and_then(|session| session.room());
        let workloads = self.world.standing().counts(&key.name);
        let failure = self.table.first_failure(&key.name);
        let now = Time(self.world.means().wall.now());
        let generation = cluster.metadata.generation;
        let change = |status: &mut MemberClusterStatus| {
            status.workloads = Some(workloads);
            if let Some(room) = &room {
                fill(status, room, &now);
            }
            let (holds, why, words) = match &failure {
                None => (true, reason::SYNCED, format!("{} bindings", workloads.bindings)),
                Some((binding, Stand::Failed(why, words))) => {
                    (false, *why, format!("{binding}: {words}"))
                }
                Some((binding, Stand::Waiting(words))) => {
                    (false, reason::APPLYING, format!("{binding}: {words}"))
                }
                Some((binding, _)) => (false, reason::APPLYING, binding.to_string()),
            };
            let synced =
                conditions::condition(member::SYNCED, holds, why, words, generation, now.clone());
            conditions::set(&mut status.conditions, synced);
        };
        let api: Api<MemberCluster> = Api::all(self.world.means().client.clone());
        let bucket = &self.world.means().status_writes;
        change_status(&api, bucket, Arc::clone(&cluster), change).await.map(|_| ())
    }
}

fn fill(status: &mut MemberClusterStatus, room: &RoomSeen, now: &Time) {
    let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    status.nodes = Some(NodeCounts { total: count(room.nodes), ready: count(room.ready_nodes) });
    let free = room.allocatable.minus(&room.requested, 1);
    let free_pods = room.allocatable_pods.saturating_sub(room.pods);
    let mut capacity = MemberCapacity {
        allocatable: room.quantities(&room.allocatable, room.allocatable_pods),
        requested: room.quantities(&room.requested, room.pods),
        free: room.quantities(&free, free_pods),
        at: status.capacity.as_ref().and_then(|known| known.at.clone()),
    };
    if status.capacity.as_ref() != Some(&capacity) {
        capacity.at = Some(now.clone());
        status.capacity = Some(capacity);
    }
}
