//! The scheduler's view of all members, kept up to date: room as observed, less what is decided
//! but not running yet. A reservation is derived, never stored: replicas in the decision minus
//! pods bound in the member.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hanse_api::{
    ClusterReplicas, Effect, ElasticRoom, MemberCluster, MemberTaint, ResourceBinding,
    conditions::{is_true, member},
};
use hanse_rt::Mono;
use hanse_scheduler::{
    Elastic, Fleet, Health, Loss, Member, Nodes, PodNeeds, Room, Rules, Spare, Taint, TaintEffect,
};
use kube::ResourceExt as _;

use super::{headroom::Headroom, illusions::Illusions};
use crate::{
    Key, TemplateKey, World, demand,
    propagation::key_of_template,
    room::{Owner, RoomSeen, resources},
};

/// A member's room is counted again at most this often.
pub(super) const REFRESH: Duration = Duration::from_millis(100);

/// The fleet, and what is promised in it.
#[derive(Debug, Default)]
pub struct FleetBook {
    fleet: Fleet,
    promised: BTreeMap<Key, Promise>,
    /// Bindings by member.
    by_member: BTreeMap<String, BTreeSet<Key>>,
    /// Bindings by the workload that owns their pods.
    by_owner: BTreeMap<Owner, Key>,
    illusions: Illusions,
    leaving: BTreeSet<String>,
    headroom: Headroom,
    /// Members that are others than before.
    changed: BTreeSet<String>,
    /// Members whose room is to be counted again.
    stale: BTreeSet<String>,
    refreshed: BTreeMap<String, Mono>,
}

/// What one binding holds.
#[derive(Clone, Debug)]
struct Promise {
    owner: Owner,
    needs: Arc<PodNeeds>,
    clusters: BTreeMap<String, u32>,
}

impl FleetBook {
    /// A book of its own over the world as it is now, with some members lost: for plans that
    /// nobody carries out.
    pub(crate) fn without(world: &World, lost: &BTreeSet<String>) -> Self {
        let mut book = Self::default();
        for binding in world.objects().bindings.all() {
            book.note_binding(&Key::of(binding.as_ref()), Some(&binding), world);
        }
        for member in world.objects().members.all() {
            book.stale(&member.name_any());
        }
        book.refresh(world);
        for name in lost {
            if let Some(member) = book.fleet.get(name).cloned() {
                book.fleet.set(Member { health: Health::Lost, ..member });
            }
        }
        book
    }

    /// The fleet as of the last refresh.
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Bindings that stand in a member.
    pub fn holders(&self, member: &str) -> BTreeSet<Key> {
        self.by_member.get(member).cloned().unwrap_or_default()
    }

    /// Notes that a member is another one, and whether it leaves the federation.
    pub fn note_member(&mut self, member: &str, leaves: bool) {
        self.changed(member);
        if leaves {
            self.leaving.insert(member.to_owned());
        } else {
            self.leaving.remove(member);
        }
    }

    /// Members that leave the federation.
    pub const fn leaving(&self) -> &BTreeSet<String> {
        &self.leaving
    }

    /// The binding whose pods a workload owns.
    pub fn binding_of(&self, owner: &Owner) -> Option<&Key> {
        self.by_owner.get(owner)
    }

    /// Notes that pods of a workload found no node in a member, `bound` of them apart: no more of
    /// them fit there.
    pub fn correct(
        &mut self,
        member: &str,
        owner: &Owner,
        needs: &Arc<PodNeeds>,
        bound: u32,
        world: &World,
    ) {
        let Some((cluster, room)) = world.member(member).zip(fresh_room(member, world)) else {
            return;
        };
        let raw = with_room(&cluster, world, Some(&room));
        let shown = raw.seems_to_hold(needs).unwrap_or(0);
        if self.illusions.note(member, owner, needs, (shown, bound)) {
            tracing::info!(member, ?owner, shown, "room proved to be an illusion");
            self.look_at(&[cluster], world);
        }
    }

    /// Notes that a member is another one: the next decision shall see it.
    pub fn changed(&mut self, member: &str) {
        self.changed.insert(member.to_owned());
    }

    /// Notes that a member's room must be counted again.
    pub fn stale(&mut self, member: &str) {
        self.stale.insert(member.to_owned());
    }

    /// Notes what a binding holds as it is written.
    pub fn note_binding(&mut self, key: &Key, binding: Option<&ResourceBinding>, world: &World) {
        let Some(binding) = binding else {
            self.forget(key);
            return;
        };
        let taken = demand::taken(binding, &binding.spec.clusters);
        let clusters: BTreeMap<String, u32> =
            taken.into_iter().map(|c| (c.name, count(c.replicas))).collect();
        if self.promised.get(key).is_some_and(|known| known.clusters == clusters) {
            return;
        }
        let template = key_of_template(&binding.spec.template);
        let needs = needs_of(world, &template);
        self.promise(key, owner(&template), needs, clusters);
    }

    /// Notes what one replica of a binding needs: its template may be known later than itself.
    pub fn note_needs(&mut self, key: &Key, needs: &hanse_render::PodNeeds) {
        let needs = super::convert::needs(needs);
        if let Some(promise) = self.promised.get_mut(key).filter(|known| known.needs != needs) {
            promise.needs = needs;
            self.stale.extend(promise.clusters.keys().cloned());
        }
    }

    /// Notes a decision before it is written, and takes its room from the fleet at once.
    pub fn reserve(&mut self, key: &Key, clusters: &[ClusterReplicas], needs: &Arc<PodNeeds>) {
        let before = self.promised.get(key).map(|p| p.clusters.clone()).unwrap_or_default();
        let after: BTreeMap<String, u32> =
            clusters.iter().map(|c| (c.name.clone(), count(c.replicas))).collect();
        if before == after {
            return;
        }
        for (member, replicas) in &after {
            let more = replicas.saturating_sub(before.get(member).copied().unwrap_or(0));
            self.fleet.reserve(member, needs, more);
            self.headroom.reserve(key, member, needs, more);
        }
        // Room that comes free is counted with the next look at the member.
        for member in before.keys().filter(|member| before.get(*member) > after.get(*member)) {
            self.stale.insert(member.clone());
        }
        if let Some(promise) = self.promised.get_mut(key) {
            promise.clusters.clone_from(&after);
            promise.needs = Arc::clone(needs);
        }
        self.index(key, &before, &after);
    }

    fn promise(
        &mut self,
        key: &Key,
        owner: Owner,
        needs: Arc<PodNeeds>,
        clusters: BTreeMap<String, u32>,
    ) {
        let before = self.promised.get(key).map(|p| p.clusters.clone()).unwrap_or_default();
        self.stale.extend(before.keys().chain(clusters.keys()).cloned());
        self.index(key, &before, &clusters);
        self.by_owner.insert(owner.clone(), key.clone());
        self.promised.insert(key.clone(), Promise { owner, needs, clusters });
    }

    /// What else may be lost with a domain, if a binding's rules ask for spare room.
    pub fn spare(&mut self, rules: &Rules, binding: &ResourceBinding) -> Option<Arc<Spare>> {
        self.headroom.spare(&self.fleet, rules, binding)
    }

    /// Notes what may be lost of a binding as it is decided.
    pub(super) fn note_loss(&mut self, key: &Key, loss: Option<Loss>) {
        self.headroom.note(&self.fleet, key, loss);
    }

    fn forget(&mut self, key: &Key) {
        self.headroom.forget(key);
        if let Some(promise) = self.promised.remove(key) {
            self.stale.extend(promise.clusters.keys().cloned());
            self.index(key, &promise.clusters, &BTreeMap::new());
            if self.by_owner.get(&promise.owner) == Some(key) {
                self.by_owner.remove(&promise.owner);
            }
        }
    }

    fn index(&mut self, key: &Key, before: &BTreeMap<String, u32>, after: &BTreeMap<String, u32>) {
        for member in before.keys().filter(|member| !after.contains_key(*member)) {
            if let Some(keys) = self.by_member.get_mut(member) {
                keys.remove(key);
            }
        }
        for member in after.keys() {
            self.by_member.entry(member.clone()).or_default().insert(key.clone());
        }
    }

    /// Looks at members again whose turn has come.
    pub fn refresh(&mut self, world: &World) {
        let now = Mono::now();
        let is_due = |name: &String| {
            let last = self.refreshed.get(name);
            last.is_none_or(|at| now.duration_since(*at) >= REFRESH)
                || self.fleet.get(name).is_some_and(|member| member.room == Room::Unknown)
                    && fresh_room(name, world).is_some()
        };
        let mut due: BTreeSet<String> =
            self.stale.iter().filter(|name| is_due(name)).cloned().collect();
        due.append(&mut self.changed);
        let mut there = Vec::new();
        for name in due {
            self.stale.remove(&name);
            self.headroom.members_changed();
            self.refreshed.insert(name.clone(), now);
            if let Some(member) = world.member(&name) {
                there.push(member);
            } else {
                self.fleet.remove(&name);
                self.illusions.forget(&name);
            }
        }
        self.look_at(&there, world);
    }

    /// Pods of a workload that stand on nodes. Those of a CronJob belong to the Jobs that it made.
    fn bound_to(&self, owner: &Owner, bound: &BTreeMap<Owner, u32>) -> u32 {
        let own = bound.get(owner).copied().unwrap_or(0);
        let (namespace, kind, name) = owner;
        if kind != "CronJob" {
            return own;
        }
        let first = (namespace.clone(), "Job".to_owned(), format!("{name}-"));
        let runs = bound
            .range(first..)
            .take_while(|((space, kind, job), _)| {
                space == namespace && kind == "Job" && job.starts_with(name.as_str())
            })
            .filter(|(job, _)| is_run_of(name, &job.2) && !self.by_owner.contains_key(*job));
        own + runs.map(|(_, count)| count).sum::<u32>()
    }

    fn look_at(&mut self, clusters: &[Arc<MemberCluster>], world: &World) {
        let (mut members, mut rooms) = (Vec::new(), Vec::new());
        for cluster in clusters {
            let name = cluster.name_any();
            let room = fresh_room(&name, world);
            let mut member = with_room(cluster, world, room.as_deref());
            if let Some(room) = &room {
                let corrections = self.illusions.corrections(&member, room);
                if let (false, Room::Nodes(nodes)) = (corrections.is_empty(), &mut member.room) {
                    Arc::make_mut(nodes).corrections = corrections;
                }
            }
            members.push(member);
            rooms.push((name, room));
        }
        self.fleet.set_all(members);
        for (name, room) in &rooms {
            self.reserve_promised(name, room.as_deref());
        }
    }

    /// Takes what is promised in a member, and does not run there yet, from its room.
    fn reserve_promised(&mut self, name: &str, room: Option<&RoomSeen>) {
        let none = BTreeMap::new();
        let bound = room.map_or(&none, |room| &room.bound);
        for key in self.by_member.get(name).into_iter().flatten() {
            let Some(promise) = self.promised.get(key) else {
                continue;
            };
            let there = self.bound_to(&promise.owner, bound);
            let spec = promise.clusters.get(name).copied().unwrap_or(0);
            self.fleet.reserve(name, &promise.needs, spec.saturating_sub(there));
        }
    }
}

/// Whether a Job is one that a CronJob made: these are named `<cronjob>-<minutes since 1970>`.
fn is_run_of(cron_job: &str, job: &str) -> bool {
    let number = job.strip_prefix(cron_job).and_then(|rest| rest.strip_prefix('-'));
    number
        .is_some_and(|number| number.len() >= 8 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A member as its nodes show it now, without what is promised there.
pub(super) fn observed(cluster: &MemberCluster, world: &World) -> Member {
    with_room(cluster, world, fresh_room(&cluster.name_any(), world).as_deref())
}

fn fresh_room(member: &str, world: &World) -> Option<Arc<RoomSeen>> {
    world.session(member).and_then(|session| session.fresh_room())
}

/// A member with the room that its nodes show, and what it adds by itself.
fn with_room(cluster: &MemberCluster, world: &World, room: Option<&RoomSeen>) -> Member {
    let room = room.map_or(Room::Unknown, |room| {
        Room::Nodes(Arc::new(Nodes {
            shapes: room.shapes.clone(),
            elastic: cluster.spec.elastic.as_ref().map(elastic),
            corrections: Vec::new(),
        }))
    });
    Member { room, ..member_of(cluster, world) }
}

/// Elastic room in the scheduler's terms. A quantity that cannot be read is none.
fn elastic(elastic: &ElasticRoom) -> Elastic {
    let milli = |text: &str| hanse_render::milli(text).unwrap_or(0);
    let amounts = [("cpu", milli(&elastic.cpu)), ("memory", milli(&elastic.memory))];
    let amounts = amounts.map(|(name, amount)| (name.to_owned(), amount));
    Elastic { resources: resources(&amounts.into()), pods: u64::from(count(elastic.pods)) }
}

fn count(replicas: i32) -> u32 {
    u32::try_from(replicas).unwrap_or(0)
}

/// The workload that owns the pods of a template.
pub(super) fn owner(template: &TemplateKey) -> Owner {
    (template.namespace.clone(), template.kind.clone(), template.name.clone())
}

fn needs_of(world: &World, template: &TemplateKey) -> Arc<PodNeeds> {
    let template = world.templates().get(template);
    template.map(|template| super::convert::needs(&template.needs)).unwrap_or_default()
}

/// Whether a member has joined.
pub(crate) fn is_joined(cluster: &MemberCluster) -> bool {
    let conditions = cluster.status.as_ref().map(|status| status.conditions.as_slice());
    is_true(conditions.unwrap_or_default(), member::JOINED)
}

fn health(cluster: &MemberCluster, world: &World) -> Health {
    let name = cluster.name_any();
    if cluster.metadata.deletion_timestamp.is_some() || !is_joined(cluster) {
        return Health::NotJoined;
    }
    let verdict = cluster.status.as_ref().and_then(|status| status.verdict.as_deref());
    match verdict {
        Some("Lost") => Health::Lost,
        Some("ControlLost") => Health::ControlLost,
        Some("DataLost") => Health::DataLost,
        Some("Recovering") => Health::Recovering,
        // Before there is a verdict the hub's own look is all there is.
        _ if world.session(&name).is_some_and(|session| session.is_up()) => Health::Good,
        _ => Health::ControlLost,
    }
}

/// A taint in the scheduler's terms.
pub(crate) fn taint(taint: &MemberTaint) -> Taint {
    Taint {
        key: taint.key.clone(),
        value: taint.value.clone(),
        effect: match taint.effect {
            Effect::NoSchedule => TaintEffect::NoSchedule,
            Effect::NoExecute => TaintEffect::NoExecute,
        },
    }
}

/// A member in the scheduler's terms, without its room.
pub fn member_of(cluster: &MemberCluster, world: &World) -> Member {
    let name = cluster.name_any();
    let spec = &cluster.spec;
    let kinds = world.session(&name).and_then(|session| session.kinds());
    // Taints are judged by what each workload tolerates.
    let drained = world.evacuations().get(&name).is_some_and(|order| order.tolerable.is_empty());
    Member {
        provider: spec.provider.as_str().into(),
        region: spec.region.as_str().into(),
        zone: spec.zone.as_deref().unwrap_or_default().into(),
        labels: Arc::new(cluster.labels().clone()),
        taints: spec.taints.iter().map(taint).collect(),
        health: health(cluster, world),
        cordoned: spec.unschedulable || drained,
        kinds: kinds.map(|kinds| kinds.names()),
        reserve_percent: u8::try_from(spec.reserve_percent).unwrap_or(0).min(100),
        room: Room::Unknown,
        name: name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_of_the_jobs_that_a_cron_job_made_are_its_own() {
        let owner = |kind: &str, name: &str| ("shop".to_owned(), kind.to_owned(), name.to_owned());
        let mut book = FleetBook::default();
        book.by_owner.insert(owner("Job", "report-29390400"), Key::new("shop", "report"));
        let bound = [
            ("CronJob", "import", 1),
            ("Job", "import-29390400", 2),
            ("Job", "import-29390401", 3),
            ("Job", "import-once", 10),
            ("Job", "import-more-29390400", 20),
            ("Job", "report-29390400", 40),
        ];
        let bound = bound.map(|(kind, name, count)| (owner(kind, name), count)).into();
        assert_eq!(book.bound_to(&owner("CronJob", "import"), &bound), 6);
        assert_eq!(book.bound_to(&owner("CronJob", "report"), &bound), 0, "it is bound by itself");
        assert_eq!(book.bound_to(&owner("Job", "import-once"), &bound), 10);
    }
}
