//! Sync: makes every member's copies what the decisions say. Each member has a lane of its own,
//! so that one that hangs holds up nobody else.
//!
//! A copy that stands as rendered is never written, whatever restarts: the live object is compared
//! with the rendered one wherever it changed.

mod apply;
mod lanes;
mod namespace;
mod observe;
mod plan;
mod release;
mod start;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_api::{ResourceBinding, TemplateRef, conditions::reason};
use hanse_render::{RenderError, Share};
use hanse_rt::{Mono, Readiness, TaskSet};

pub use plan::{Action, Barrier, Place, Reach, Seen, Stand, plan, share_of};
pub use table::{SyncTable, Synced};

use lanes::Lanes;

use crate::{
    Key, Queue, Ruling, SessionEvent, Template, Worked, World,
    metrics::HubMetrics,
    policies::Policies,
    propagation::{key_of_binding, key_of_template},
    rules::{self, Origin},
    standing::left_by,
    status::collect,
};

/// How long until something that waits for another object is looked at without an event.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A copy that somebody else changes again and again is corrected once in this time.
const CORRECTION_PAUSE: Duration = Duration::from_secs(10);
/// So many corrections are remembered before old ones are forgotten.
const CORRECTIONS_KEPT: usize = 4096;

/// Hash of everything that a manifest is made from.
pub(crate) fn input(
    template: &Template,
    share: Option<Share>,
    ruling: &Ruling,
    place: &Place,
) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    template.hash.hash(&mut hasher);
    share.map(|share| (share.before, share.own, share.total, share.start)).hash(&mut hasher);
    if ruling.revision != 0 {
        (ruling.revision, place).hash(&mut hasher);
    }
    hasher.finish()
}

/// Whether a copy stays as it is because a rule forbids or fails to make it.
fn is_of_rules(why: &str) -> bool {
    [
        reason::OVERRIDE_FAILED,
        reason::INTERPRETER_FAILED,
        reason::NOT_IN_TENANT,
        reason::NOT_ALLOWED,
    ]
    .contains(&why)
}

/// Whether an apply puts back what somebody changed in the member, and brings nothing new.
fn is_correction(seen: &Seen, action: &Action) -> bool {
    let Action::Apply(manifest) = action else {
        return false;
    };
    let known = seen.copy.as_ref().map(|copy| &copy.digest.applied);
    known == Some(&manifest.digest)
}

/// The sync controller.
#[derive(Clone, Debug)]
pub(crate) struct Sync {
    world: World,
    policies: Policies,
    table: SyncTable,
    lanes: Lanes,
    /// Bindings that are being deleted.
    releases: Queue<Key>,
    /// Bindings whose status has to be told.
    status: Queue<Key>,
    metrics: HubMetrics,
    corrections: Corrections,
    holders: Holders,
}

/// Members by the binding of which they have copies.
#[derive(Clone, Debug, Default)]
struct Holders(Arc<Mutex<BTreeMap<Key, BTreeSet<Arc<str>>>>>);

impl Holders {
    /// Asks whether the member holds it while nobody else notes anything.
    fn note(&self, binding: &Key, member: &str, holds: impl FnOnce() -> bool) {
        let mut all = self.0.lock().expect("no holder of this lock panics");
        if holds() {
            let members = all.entry(binding.clone()).or_default();
            if !members.contains(member) {
                members.insert(member.into());
            }
        } else if let Some(members) = all.get_mut(binding) {
            members.remove(member);
            if members.is_empty() {
                all.remove(binding);
            }
        }
    }

    /// Forgets a member that has left.
    fn forget(&self, member: &str) {
        let mut all = self.0.lock().expect("no holder of this lock panics");
        all.retain(|_, members| {
            members.remove(member);
            !members.is_empty()
        });
    }

    fn of(&self, binding: &Key) -> Vec<Arc<str>> {
        let all = self.0.lock().expect("no holder of this lock panics");
        all.get(binding).into_iter().flatten().cloned().collect()
    }
}

/// When copies were last corrected: who fights with somebody over a field does it slowly.
#[derive(Clone, Debug, Default)]
struct Corrections(Arc<Mutex<BTreeMap<(Key, String), Mono>>>);

impl Corrections {
    /// Whether this copy may be corrected now, and not only after `CORRECTION_PAUSE`.
    fn may(&self, binding: &Key, member: &str) -> bool {
        let now = Mono::now();
        let is_recent = |at: &Mono| now.duration_since(*at) < CORRECTION_PAUSE;
        let mut all = self.0.lock().expect("no holder of this lock panics");
        if all.len() >= CORRECTIONS_KEPT {
            all.retain(|_, at| is_recent(at));
        }
        let key = (binding.clone(), member.to_owned());
        if all.get(&key).is_some_and(is_recent) {
            return false;
        }
        all.insert(key, now);
        true
    }
}

impl Sync {
    pub(crate) fn new(
        world: World,
        policies: Policies,
        table: SyncTable,
        status: Queue<Key>,
        metrics: HubMetrics,
    ) -> Self {
        let releases = Queue::new(world.means().rng.fork("queue", "releases"));
        let lanes = Lanes::new(world.means().tasks.child("sync"), &world.means().rng);
        let this = Self {
            world,
            policies,
            table,
            lanes,
            releases,
            status,
            metrics,
            corrections: Corrections::default(),
            holders: Holders::default(),
        };
        this.listen();
        this
    }

    /// Starts to work, member by member once `known` says that the members have told of themselves.
    pub(crate) fn start(&self, tasks: &TaskSet, known: Readiness) {
        self.open_lanes(tasks, known);
        let this = self.clone();
        crate::work(tasks, "releases", self.releases.clone(), 1, move |key| {
            let this = this.clone();
            async move { release::release(&this.world, &this.table, &key, &this.releases).await }
        });
        let this = self.clone();
        let shutdown = tasks.shutdown();
        tasks.spawn("sync-orders", async move {
            let mut orders = this.world.follow_evacuations();
            let mut before = this.world.evacuations();
            loop {
                hanse_rt::select! {
                    () = shutdown.cancelled() => return,
                    changed = orders.changed() => if changed.is_err() { return },
                }
                let now = this.world.evacuations();
                for member in before.keys().chain(now.keys()) {
                    this.member_changed(member);
                }
                before = now;
            }
        });
    }

    fn listen(&self) {
        let this = self.clone();
        self.world.objects().bindings.on_change(move |key, old, new| {
            let deleting = new.is_some_and(|b| b.metadata.deletion_timestamp.is_some());
            if new.is_none() {
                this.table.forget(key);
            }
            if deleting {
                this.releases.add(key.clone());
            }
            if let (Some(old), Some(new)) = (old, new)
                && old.spec == new.spec
                && old.metadata.deletion_timestamp == new.metadata.deletion_timestamp
            {
                return;
            }
            let both = old.into_iter().chain(new).flat_map(|binding| &binding.spec.clusters);
            let held = this.holders.of(key);
            let held = held.iter().filter(|member| this.world.session(member).is_some());
            let members: BTreeSet<&str> = both
                .map(|cluster| cluster.name.as_str())
                .chain(new.into_iter().flat_map(|binding| left_by(binding)))
                .chain(held.map(|member| &**member))
                .collect();
            for member in members {
                this.add(member, key.clone());
                this.lanes.hurry(member);
            }
            // A companion is removed after its workload, and an autoscaler follows its shares.
            if let Some(binding) = new.or(old) {
                this.add_companions(&key_of_template(&binding.spec.template), None);
            }
        });
        let this = self.clone();
        self.world.templates().on_change(move |key, _, new| {
            if new.is_some() {
                this.binding_changed(&key_of_binding(key));
            }
        });
        let this = self.clone();
        self.world.rules().on_change(move |key| {
            let key = key_of_binding(key);
            this.binding_changed(&key);
            collect(&this.status, key);
        });
        self.listen_to_members();
    }

    fn listen_to_members(&self) {
        let this = self.clone();
        self.world.on_session(move |member, event| match event {
            // Of one that answers the kinds are told next: before that there is nothing to do.
            SessionEvent::Sight
                if this.world.session(member).is_some_and(|s| s.is_up() && s.kinds().is_none()) => {
            }
            SessionEvent::Sight | SessionEvent::Kinds => this.look_at_member(member),
            SessionEvent::Synced(kind) => {
                // Who does not name the member waits for nothing there but its own copies.
                this.touch_all(member, |binding| {
                    let TemplateRef { api_version, kind: own, .. } = &binding.spec.template;
                    kind.strip_prefix(api_version.as_str())
                        .and_then(|rest| rest.strip_prefix('/'))
                        .is_some_and(|kind| kind == own)
                });
            }
            SessionEvent::Object(binding) => {
                let session = this.world.session(member);
                let holds = || session.is_some_and(|session| session.has_copies(binding));
                this.holders.note(binding, member, holds);
                this.touch(member, binding);
            }
            SessionEvent::Room => {}
        });
        let this = self.clone();
        self.world.objects().members.on_change(move |key, old, new| {
            let verdict = |member: Option<&Arc<hanse_api::MemberCluster>>| {
                member.map(|member| {
                    let status = member.status.as_ref();
                    (
                        status.and_then(|status| status.verdict.clone()),
                        member.metadata.deletion_timestamp.is_some(),
                        Place::of(member),
                    )
                })
            };
            if new.is_none() {
                this.forget(&key.name);
            } else if verdict(old) != verdict(new) {
                this.member_changed(&key.name);
            }
        });
    }

    fn binding_changed(&self, key: &Key) {
        let Some(binding) = self.world.objects().bindings.get(key) else {
            return;
        };
        for cluster in &binding.spec.clusters {
            self.add(&cluster.name, key.clone());
        }
    }

    /// Ends the work on a member that is in the federation no more.
    fn forget(&self, member: &str) {
        self.lanes.remove(member);
        self.holders.forget(member);
        for binding in self.table.forget_member(member) {
            collect(&self.status, binding.clone());
            self.releases_if_deleting(&binding);
        }
    }

    /// Looks at all that a member has, or should have.
    fn look_at_member(&self, member: &str) {
        if !self.lanes.is_open(member) {
            return;
        }
        self.touch_all(member, |_| true);
        // Nobody names what a former process left behind.
        let session = self.world.session(member).filter(|session| session.is_up());
        if let Some(session) = session.filter(|session| session.kinds().is_some()) {
            session.look_for(self.world.standing().kinds());
        }
    }

    fn member_changed(&self, member: &str) {
        if self.lanes.is_open(member) {
            self.touch_all(member, |_| true);
        }
    }

    /// Touches what names a member, has copies there or is still to leave it, as far as it is
    /// chosen.
    fn touch_all(&self, member: &str, chosen: impl Fn(&ResourceBinding) -> bool) {
        let held = self.world.session(member).map(|session| session.bindings());
        let mut keys: BTreeSet<Arc<Key>> = held.into_iter().flatten().map(Arc::new).collect();
        keys.extend(self.world.standing().bindings(member));
        keys.extend(self.world.standing().leaving(member));
        for key in keys {
            let known = self.world.objects().bindings.get(&key);
            if known.is_none_or(|binding| chosen(&binding)) {
                self.touch(member, &key);
            }
        }
    }

    fn touch(&self, member: &str, binding: &Key) {
        self.add(member, binding.clone());
        collect(&self.status, binding.clone());
        let known = self.world.objects().bindings.get(binding);
        if known.is_some_and(|binding| binding.metadata.deletion_timestamp.is_some()) {
            self.releases.add(binding.clone());
        }
    }

    fn add_companions(&self, template: &crate::TemplateKey, member: Option<&str>) {
        let Some(template) = self.world.templates().get(template) else {
            return;
        };
        if !template.is_workload() {
            return;
        }
        for companion in self.world.templates().companions(&template) {
            let key = key_of_binding(&companion);
            match member {
                Some(member) => self.add(member, key),
                None => self.binding_changed(&key),
            }
        }
    }

    fn add(&self, member: &str, binding: Key) {
        // Who is not in the federation has no lane; all is looked at when it comes.
        if self.world.member(member).is_none() {
            return;
        }
        let known = self.world.objects().bindings.get(&binding);
        let importance = known.map_or(0, |known| plan::importance(&known, member));
        self.lane(member).add_with(binding, importance);
    }

    async fn reconcile(
        &self,
        member: &str,
        key: &Key,
        lane: &Queue<Key>,
    ) -> Result<Worked, kube::Error> {
        let Some(session) = self.world.session(member) else {
            self.stands(member, key, 0, Stand::Waiting("the member is not connected".into()));
            return Ok(Worked::Well);
        };
        let Some(seen) = observe::observe(&self.world, &self.policies, &self.table, &session, key)
        else {
            return Ok(Worked::Well);
        };
        let mut action = plan(&seen);
        if is_correction(&seen, &action) && !self.corrections.may(key, member) {
            let words = "somebody else changes it: it is corrected every 10 seconds";
            action = Action::Stands(Stand::Waiting(words.to_owned()));
        }
        // Whether a member is in reach, which kinds it has and that a list is whole are told by
        // events; the rest is looked at again.
        let waits = seen.reach == Reach::Up
            && seen.synced
            && matches!(&action, Action::Stands(Stand::Waiting(_)));
        let stand = apply::apply(&self.world, &session, &seen, action, &self.metrics).await;
        self.note_rules(member, &seen, &stand);
        self.tell_of_kept(member, &seen, &stand);
        let failed = matches!(stand, Stand::Failed(..));
        let settled = !matches!(stand, Stand::Waiting(_));
        let news = self.stands(member, key, seen.input, stand);
        if waits {
            lane.add_after(key.clone(), LOOK_AGAIN);
        }
        if settled {
            // Workloads wait for their companions, and companions for workloads that go.
            self.wake_related(member, &seen, news);
        }
        Ok(if failed { Worked::Again } else { Worked::Well })
    }

    /// Notes for whom it may concern whether a rule fails here.
    fn note_rules(&self, member: &str, seen: &Seen, stand: &Stand) {
        let failed = match stand {
            Stand::Failed(why, words) => is_of_rules(why).then_some((*why, words)),
            _ => None,
        };
        let origin = failed.and_then(|_| seen.fault()).map(|error| match error {
            RenderError::Override(error) => Origin::Override(error.policy),
            RenderError::Interpret(error) => Origin::Interpreter(error.interpreter),
        });
        if let Some((why, words)) = failed {
            let known = self.table.get(&seen.key, member).map(|synced| synced.stand);
            if known.as_ref() != Some(stand) {
                self.metrics.refused(why);
                apply::tell(&self.world, seen, why, words);
            }
        }
        let fault = origin
            .zip(failed)
            .map(|(origin, (_, words))| (origin, format!("{}: {words}", seen.template_key)));
        self.world.rules().note(&seen.key, rules::Place::Member(member.to_owned()), fault);
    }

    /// Says once on the template that a copy stays for its data.
    fn tell_of_kept(&self, member: &str, seen: &Seen, stand: &Stand) {
        let known = self.table.get(&seen.key, member).map(|synced| synced.stand);
        if let Stand::Kept(words) = stand
            && known.as_ref() != Some(stand)
        {
            apply::tell(&self.world, seen, reason::HOLDS_DATA, words);
        }
    }

    /// Notes how a copy stands; says whether that is new.
    fn stands(&self, member: &str, key: &Key, input: u64, stand: Stand) -> bool {
        let news = self.table.set(key, member, Synced { input, stand });
        if news {
            collect(&self.status, key.clone());
            self.releases_if_deleting(key);
        }
        news
    }

    fn releases_if_deleting(&self, key: &Key) {
        let binding = self.world.objects().bindings.get(key);
        if binding.is_some_and(|binding| binding.metadata.deletion_timestamp.is_some()) {
            self.releases.add(key.clone());
        }
    }

    fn wake_related(&self, member: &str, seen: &Seen, news: bool) {
        let namespace = &seen.key.namespace;
        // Whether it stands there or not: the count of its workload has another owner.
        let hands_over = news && seen.template_key.kind == "HorizontalPodAutoscaler";
        for name in &seen.binding.spec.follows {
            let key = Key::new(namespace, name);
            let waits = self
                .table
                .get(&key, member)
                .is_some_and(|synced| matches!(synced.stand, Stand::Waiting(_)));
            if waits || hands_over {
                self.add(member, key);
            }
        }
        if !seen.is_wanted {
            self.add_companions(&seen.template_key, Some(member));
        }
    }
}
