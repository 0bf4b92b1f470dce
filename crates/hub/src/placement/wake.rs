//! What wakes a binding: each event wakes those that it can affect.

use std::{collections::BTreeSet, sync::Arc};

use hanse_api::{
    ClusterPropagationPolicy, ClusterReplicas, MemberCluster, PropagationPolicy, ResourceBinding,
    ResourceBindingSpec,
};
use hanse_render::Labels;
use hanse_rt::TaskSet;
use hanse_scheduler::Member;

use super::{
    Placement, STUCK_DELAY,
    changes::Changed,
    first::LOOK_AGAIN,
    fleet::{self, member_of},
    moves,
};
use crate::{
    Evacuations, Key, SessionEvent, Template,
    policies::PolicyKey,
    propagation::{key_of_binding, key_of_template},
};

impl Placement {
    pub(super) fn listen(&self) {
        self.listen_to_bindings();
        self.listen_to_policies();
        self.listen_to_members();
        self.listen_to_tenants();
        let this = self.clone();
        self.world.templates().on_change(move |key, old, new| {
            let labels = |template: &Arc<Template>| template.labels.clone();
            if let (Some(old), Some(new)) = (old.map(labels), new.map(labels))
                && old != new
            {
                this.wake_looking(&key.namespace, Some(&old));
                this.wake_looking(&key.namespace, Some(&new));
            }
            let Some(template) = new else { return };
            let key = key_of_binding(key);
            this.book(|book| book.note_needs(&key, &template.needs));
            if let Some(binding) = this.world.objects().bindings.get(&key) {
                this.add(&binding);
            }
        });
    }

    /// Wakes who is affected by orders to leave members.
    pub(super) fn follow_orders(&self, tasks: &TaskSet) {
        let this = self.clone();
        let shutdown = tasks.shutdown();
        tasks.spawn("evacuations", async move {
            let mut orders = this.world.follow_evacuations();
            // What was ordered before this start is looked at with everything else.
            let mut before: Arc<Evacuations> = Arc::default();
            loop {
                hanse_rt::select! {
                    () = shutdown.cancelled() => return,
                    changed = orders.changed() => if changed.is_err() { return },
                }
                let after = Arc::clone(&orders.borrow_and_update());
                let names = before.keys().chain(after.keys());
                let changed = names.filter(|name| before.get(*name) != after.get(*name));
                let changed: Changed = changed.map(|name| (name.clone(), Vec::new())).collect();
                for name in changed.keys() {
                    this.book(|book| book.changed(name));
                }
                this.wake_for(&changed);
                before = after;
            }
        });
    }

    fn listen_to_bindings(&self) {
        let this = self.clone();
        self.world.objects().bindings.on_change(move |key, old, new| {
            if !this.world.decided().hides(key, new.map(Arc::as_ref)) {
                this.book(|book| book.note_binding(key, new.map(Arc::as_ref), &this.world));
            }
            this.affected(|all| all.note_binding(key, new.map(Arc::as_ref)));
            let more = |cluster: &&ClusterReplicas| {
                let now = new.iter().flat_map(|binding| &binding.spec.clusters);
                let left = now.into_iter().find(|now| now.name == cluster.name);
                left.map_or(0, |left| left.replicas) < cluster.replicas
            };
            // What was promised and never ran comes free without any pod.
            for cluster in old.iter().flat_map(|old| old.spec.clusters.iter().filter(more)) {
                this.wake_for_room(&cluster.name);
            }
            this.wake_neighbours(old, new);
            let Some(new) = new else { return };
            // A decision is not looked at again because it was written; moves go on from there.
            if old.is_none() && this.is_fresh(key) {
                // What happened while it was being written has woken nobody.
                let rank = rank(new.spec.importance, true);
                this.queue.add_after_with(key.clone(), rank, LOOK_AGAIN);
            } else if old.is_none_or(|old| asks(&old.spec) != asks(&new.spec)) {
                this.add(new);
            }
            if old.is_none_or(|old| old.spec.clusters != new.spec.clusters) {
                this.wake_companions(new);
            }
        });
    }

    /// A workload is in other clusters than before: that concerns who wants to be near to it, or
    /// away from it.
    fn wake_neighbours(
        &self,
        old: Option<&Arc<ResourceBinding>>,
        new: Option<&Arc<ResourceBinding>>,
    ) {
        let clusters = |binding: Option<&Arc<ResourceBinding>>| -> BTreeSet<String> {
            let clusters = binding.into_iter().flat_map(|binding| &binding.spec.clusters);
            let held = clusters.filter(|cluster| cluster.replicas > 0);
            held.map(|cluster| cluster.name.clone()).collect()
        };
        let Some(binding) = new.or(old).filter(|_| clusters(old) != clusters(new)) else {
            return;
        };
        let template = &binding.spec.template;
        let known = self.world.templates().get(&key_of_template(template));
        self.wake_looking(&template.namespace, known.as_ref().map(|known| &known.labels));
    }

    fn wake_looking(&self, namespace: &str, labels: Option<&Labels>) {
        self.wake(self.affected(|all| all.looking_at(namespace, labels)));
    }

    /// Bindings whose policy is gone, or may select them no longer, stay where they are and say so.
    fn listen_to_policies(&self) {
        let this = self.clone();
        self.world.objects().policies.on_change(move |key, old, new| {
            let written = |policy: &Arc<PropagationPolicy>| policy.metadata.generation;
            if old.map(written) != new.map(written) {
                this.wake_orphans(&PolicyKey::namespaced(&key.namespace, &key.name));
            }
        });
        let this = self.clone();
        self.world.objects().cluster_policies.on_change(move |key, old, new| {
            let written = |policy: &Arc<ClusterPropagationPolicy>| policy.metadata.generation;
            if old.map(written) != new.map(written) {
                this.wake_orphans(&PolicyKey::cluster(&key.name));
            }
        });
    }

    fn wake_orphans(&self, policy: &PolicyKey) {
        self.wake(self.affected(|all| all.of_policy(policy)));
    }

    /// A rule of a tenant concerns all that stands in its namespaces; quota that comes free, who
    /// waits there.
    fn listen_to_tenants(&self) {
        let this = self.clone();
        self.world.tenants().on_change(move |change| {
            let concerned: Vec<Key> = if change.is_rule() {
                this.world.objects().bindings.keys().into_iter().collect()
            } else {
                this.affected(|all| all.waiting(None)).into_iter().map(|(key, _, _)| key).collect()
            };
            this.wake(concerned.into_iter().filter(|key| change.concerns(&key.namespace)));
        });
    }

    fn listen_to_members(&self) {
        let this = self.clone();
        self.world.objects().members.on_change(move |key, old, new| {
            // Only what placement looks at: conditions and counts change all the time.
            let look = |member: &MemberCluster| {
                (
                    member.spec.clone(),
                    member.metadata.labels.clone(),
                    member.metadata.deletion_timestamp.is_some(),
                    member.status.as_ref().and_then(|status| status.verdict.clone()),
                    fleet::is_joined(member),
                )
            };
            if old.map(|m| look(m)) != new.map(|m| look(m)) {
                let leaves = new.is_some_and(|member| member.metadata.deletion_timestamp.is_some());
                this.book(|book| book.note_member(&key.name, leaves));
                let states: Vec<&MemberCluster> =
                    old.into_iter().chain(new).map(Arc::as_ref).collect();
                this.note_change(&key.name, &states);
            }
        });
        let this = self.clone();
        self.world.on_session(move |member, event| match event {
            SessionEvent::Room => {
                this.book(|book| book.stale(member));
                this.wake_for_room(member);
                this.watch_stuck(member);
            }
            SessionEvent::Sight | SessionEvent::Kinds => {
                this.book(|book| book.changed(member));
                let cluster = this.world.member(member);
                this.note_change(member, &cluster.as_deref().into_iter().collect::<Vec<_>>());
            }
            SessionEvent::Object(binding) => {
                // Moves wait for replicas to be ready.
                if let Some(binding) = this.world.objects().bindings.get(binding)
                    && moves::has_open(&binding)
                {
                    this.add(&binding);
                }
            }
            SessionEvent::Synced(_) => {
                // Moves wait for old copies to be gone.
                let leaving = this.world.standing().leaving(member);
                this.wake(leaving.iter().map(|key| Key::clone(key)));
            }
        });
    }

    fn add(&self, binding: &ResourceBinding) {
        let key = Key::of(binding);
        let has_place =
            !binding.spec.clusters.is_empty() && !self.affected(|all| all.is_waiting(&key));
        self.queue.add_with(key, rank(binding.spec.importance, has_place));
    }

    pub(super) fn wake(&self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            if let Some(binding) = self.world.objects().bindings.get(&key) {
                self.add(&binding);
            }
        }
    }

    /// Companions go where their workload goes.
    fn wake_companions(&self, workload: &ResourceBinding) {
        let key = key_of_template(&workload.spec.template);
        let Some(template) = self.world.templates().get(&key) else {
            return;
        };
        if !template.is_workload() {
            return;
        }
        let companions = self.world.templates().companions(&template);
        self.wake(companions.iter().map(key_of_binding));
    }

    /// Notes that a member came, went, answers, or is another one to placement: it was or is in one
    /// of these states.
    fn note_change(&self, member: &str, states: &[&MemberCluster]) {
        let states = states.iter().map(|m| member_of(m, &self.world));
        self.changes.note(member, states);
    }

    /// Wakes whom the changes of members concern: what stands there or is on its way from there,
    /// what waits, and what may go to a member in one of these states.
    pub(super) fn follow_changes(&self, tasks: &TaskSet) {
        let this = self.clone();
        let shutdown = tasks.shutdown();
        tasks.spawn("changes of members", async move {
            loop {
                let changed = hanse_rt::select! {
                    () = shutdown.cancelled() => return,
                    changed = this.changes.next() => changed,
                };
                this.wake_for(&changed);
            }
        });
    }

    fn wake_for(&self, changed: &Changed) {
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        for member in changed.keys() {
            keys.extend(self.book(|book| book.holders(member)));
        }
        let states: Vec<Member> = changed.values().flatten().cloned().collect();
        let waiting = self.affected(|all| {
            for member in changed.keys() {
                keys.extend(all.leaving(member));
            }
            keys.extend(all.roaming(&states));
            all.waiting(None)
        });
        self.wake(waiting.into_iter().map(|(key, _, _)| key));
        self.wake(keys);
    }

    /// Room has changed: that concerns who waits for such room.
    fn wake_for_room(&self, member: &str) {
        if self.affected(|all| all.nobody_waits()) {
            return;
        }
        let Some(cluster) = self.world.member(member) else {
            return;
        };
        let seen = fleet::observed(&cluster, &self.world);
        for (key, importance, delay) in self.affected(|all| all.waiting(Some(&seen))) {
            // Room is counted again at most so often: earlier there would be nothing new.
            self.queue.add_after_with(key, rank(importance, false), delay);
        }
    }

    /// Bindings whose pods wait for a node there: how long they may is looked up with them.
    fn watch_stuck(&self, member: &str) {
        let Some(room) = self.world.session(member).and_then(|session| session.room()) else {
            return;
        };
        for owner in room.waiting.keys() {
            if let Some(key) = self.book(|book| book.binding_of(owner).cloned()) {
                self.queue.add_after(key, STUCK_DELAY);
            }
        }
    }
}

/// Its importance decides when a binding is looked at; of equal ones, those without a place go
/// before those whose place is only looked at again, of which a start brings all.
const fn rank(importance: i32, has_place: bool) -> i32 {
    let last = if has_place { 0 } else { 1 };
    importance.saturating_mul(2).saturating_add(last)
}

/// What a binding asks of placement, and how far its moves are.
fn asks(spec: &ResourceBindingSpec) -> impl PartialEq {
    (
        (&spec.template, &spec.policy, spec.replicas, &spec.replica_request, spec.importance),
        (&spec.follows, &spec.finished, &spec.moves),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_place_goes_before_those_of_its_importance_and_after_more_important_ones() {
        assert!(rank(0, false) > rank(0, true));
        assert!(rank(0, false) < rank(1, true));
        assert!(rank(-1, false) < rank(0, true));
        assert!(rank(i32::MAX, true) >= rank(i32::MAX - 1, false), "the ends share a rank");
    }
}
