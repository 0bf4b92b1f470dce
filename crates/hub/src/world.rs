//! What every controller sees: the hub's own objects, the templates and the members' sessions.
//! Reading it is cheap and never waits; each controller writes only its own fields.

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
};

use hanse_api::{
    ClusterOverridePolicy, ClusterPropagationPolicy, Drill, FederatedManifest, Federation,
    GlobalService, MemberCluster, MoveReason, OverridePolicy, PropagationPolicy, ResourceBinding,
    ResourceInterpreter, Tenant,
};
use hanse_member::{Connector, KindsPool};
use hanse_rt::{Metrics, Rng, TaskSet, Wall};
use kube::Client;
use tokio::sync::watch;

use crate::{
    Cache, Key, Session, SessionEvent, SessionLimits, Templates, TokenBucket, demand::Decided,
    events::Recorder, rules::RuleBook, standing::Standing, tenants::Tenants, traces::Traces,
};

/// What every controller sees.
#[derive(Clone, Debug)]
pub struct World {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    objects: Objects,
    standing: Standing,
    templates: Templates,
    tenants: Tenants,
    decided: Decided,
    sessions: RwLock<BTreeMap<String, Arc<Session>>>,
    hears: SessionListeners,
    evacuations: watch::Sender<Arc<Evacuations>>,
    means: Means,
}

/// The hub's own objects.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// MemberClusters.
    pub members: Cache<MemberCluster>,
    /// The Federation.
    pub federations: Cache<Federation>,
    /// PropagationPolicies.
    pub policies: Cache<PropagationPolicy>,
    /// ClusterPropagationPolicies.
    pub cluster_policies: Cache<ClusterPropagationPolicy>,
    /// ResourceBindings.
    pub bindings: Cache<ResourceBinding>,
    /// GlobalServices.
    pub global_services: Cache<GlobalService>,
    /// Drills.
    pub drills: Cache<Drill>,
    /// OverridePolicies.
    pub override_policies: Cache<OverridePolicy>,
    /// ClusterOverridePolicies.
    pub cluster_override_policies: Cache<ClusterOverridePolicy>,
    /// ResourceInterpreters.
    pub interpreters: Cache<ResourceInterpreter>,
    /// FederatedManifests.
    pub manifests: Cache<FederatedManifest>,
    /// Tenants.
    pub tenants: Cache<Tenant>,
}

/// What controllers work with.
#[derive(Clone)]
pub struct Means {
    /// Client of the hub's API.
    pub client: Client,
    /// Makes members' clients.
    pub connector: Arc<dyn Connector>,
    /// Wall clock, for what is written down.
    pub wall: Wall,
    /// Chance.
    pub rng: Rng,
    /// Metrics.
    pub metrics: Metrics,
    /// Bound on status writes.
    pub status_writes: TokenBucket,
    /// Writes Kubernetes Events.
    pub recorder: Recorder,
    /// Id of this hub.
    pub hub_id: String,
    /// Tasks of the hub.
    pub tasks: TaskSet,
    /// Tunables of members' sessions.
    pub session_limits: SessionLimits,
    /// What members serve.
    pub kinds: KindsPool,
    /// Changes under way.
    pub(crate) traces: Traces,
}

/// Members that are to be left, by name.
pub type Evacuations = BTreeMap<String, Evacuation>;

/// An order to take the replicas of a member elsewhere. Who gives it has the evidence, and has
/// asked the brakes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evacuation {
    /// Id of the event; the ids of its moves begin with it.
    pub id: String,
    /// Why.
    pub reason: MoveReason,
    /// What was known, in words.
    pub evidence: String,
    /// Work whose failover is Manual goes too: an operator has ordered it.
    pub manual_too: bool,
    /// Taints for which the member is left: work that tolerates them all stays. Empty: all goes.
    pub tolerable: Vec<hanse_scheduler::Taint>,
}

impl std::fmt::Debug for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Means").field("hub_id", &self.hub_id).finish_non_exhaustive()
    }
}

type SessionListener = Box<dyn Fn(&str, &SessionEvent) + Send + Sync>;

#[derive(Default)]
struct SessionListeners(RwLock<Vec<SessionListener>>);

impl std::fmt::Debug for SessionListeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionListeners")
    }
}

impl World {
    pub(crate) fn new(objects: Objects, templates: Templates, means: Means) -> Self {
        let shared = Shared {
            standing: Standing::of(&objects.bindings),
            objects,
            templates,
            tenants: Tenants::default(),
            decided: Decided::default(),
            sessions: RwLock::default(),
            hears: SessionListeners::default(),
            evacuations: watch::Sender::new(Arc::default()),
            means,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The hub's own objects.
    pub fn objects(&self) -> &Objects {
        &self.shared.objects
    }

    /// Which bindings name which member.
    pub fn standing(&self) -> &Standing {
        &self.shared.standing
    }

    /// The templates.
    pub fn templates(&self) -> &Templates {
        &self.shared.templates
    }

    /// The rules by which templates become manifests.
    pub fn rules(&self) -> &RuleBook {
        self.templates().rules()
    }

    /// The tenants, and what they use.
    pub fn tenants(&self) -> &Tenants {
        &self.shared.tenants
    }

    /// Decisions that are on their way to the API.
    pub(crate) fn decided(&self) -> &Decided {
        &self.shared.decided
    }

    /// What controllers work with.
    pub fn means(&self) -> &Means {
        &self.shared.means
    }

    /// Changes under way.
    pub(crate) fn traces(&self) -> &Traces {
        &self.shared.means.traces
    }

    /// The MemberCluster of this name.
    pub fn member(&self, name: &str) -> Option<Arc<MemberCluster>> {
        self.objects().members.get(&Key::new("", name))
    }

    /// The Federation, once there is one.
    pub fn federation(&self) -> Option<Arc<Federation>> {
        self.objects().federations.get(&Key::new("", "default"))
    }

    /// The session of a joined member.
    pub fn session(&self, name: &str) -> Option<Arc<Session>> {
        self.sessions_read().get(name).cloned()
    }

    /// All sessions in order of name.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.sessions_read().values().cloned().collect()
    }

    pub(crate) fn add_session(&self, session: Arc<Session>) {
        let name = session.name().to_owned();
        self.sessions_write().insert(name, session);
    }

    pub(crate) fn take_session(&self, name: &str) -> Option<Arc<Session>> {
        self.sessions_write().remove(name)
    }

    /// Calls `listener` with the member and what its session announces. It must only note it.
    pub fn on_session(&self, listener: impl Fn(&str, &SessionEvent) + Send + Sync + 'static) {
        let mut all = self.shared.hears.0.write().expect("no holder of this lock panics");
        all.push(Box::new(listener));
    }

    pub(crate) fn announce(&self, member: &str, event: &SessionEvent) {
        let all = self.shared.hears.0.read().expect("no holder of this lock panics");
        for listener in all.iter() {
            listener(member, event);
        }
    }

    /// Orders in force: members that are to be left.
    pub fn evacuations(&self) -> Arc<Evacuations> {
        Arc::clone(&self.shared.evacuations.borrow())
    }

    /// Follows the orders in force.
    pub fn follow_evacuations(&self) -> watch::Receiver<Arc<Evacuations>> {
        self.shared.evacuations.subscribe()
    }

    /// Replaces the orders in force. Placement moves replicas away from every member in it as
    /// room allows, and takes old copies out once their replacement is ready and the member is
    /// healthy again. Ending an order stops new moves; moves under way go on.
    pub fn order_evacuations(&self, orders: Evacuations) {
        self.shared.evacuations.send_if_modified(|current| {
            let changed = **current != orders;
            if changed {
                *current = Arc::new(orders);
            }
            changed
        });
    }

    /// The verdict about a member; Unknown when there is none.
    pub fn verdict(&self, name: &str) -> String {
        self.member(name)
            .and_then(|member| member.status.as_ref()?.verdict.clone())
            .unwrap_or_else(|| "Unknown".to_owned())
    }

    fn sessions_read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Session>>> {
        self.shared.sessions.read().expect("no holder of this lock panics")
    }

    fn sessions_write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Arc<Session>>> {
        self.shared.sessions.write().expect("no holder of this lock panics")
    }
}
