//! Tenants: which namespaces belong together, what they may have of the members, and what they
//! use. Use is derived from bindings and decisions, never stored; placement asks here.

mod book;
mod verdicts;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use hanse_api::{
    ClusterReplicas, ClusterSelection, Federation, Member, ResourceBinding, conditions::reason,
};
use hanse_rt::TaskSet;
use kube::ResourceExt as _;

use crate::{Key, Queue, World, demand};
use book::{Amounts, Book, Owner};

/// How long changes are collected before a tenant's status is written again.
const TELL_DELAY: Duration = Duration::from_secs(1);

/// What a namespace may have of the members.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Tenancy {
    /// Everything: it belongs to no tenant, and the federation asks for none.
    #[default]
    Free,
    /// What its tenant may have.
    Of(Lease),
    /// Nothing new: reason and words.
    Refused(&'static str, String),
}

/// What a tenant leaves to one workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lease {
    /// Name of the tenant.
    pub tenant: String,
    /// Generation of its spec.
    pub generation: i64,
    /// Members that it may use.
    pub clusters: ClusterSelection,
    /// The highest importance that counts.
    pub max_importance: i32,
    /// Most replicas of this workload that the quota leaves, those it has counted in; absent: no
    /// limit.
    pub replicas: Option<u32>,
}

impl Tenancy {
    /// What the tenant leaves, if there is one.
    pub const fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Of(lease) => Some(lease),
            Self::Free | Self::Refused(..) => None,
        }
    }

    /// The highest importance that counts; absent: any.
    pub fn max_importance(&self) -> Option<i32> {
        self.lease().map(|lease| lease.max_importance)
    }

    /// Whether nothing new may be put into a member.
    pub fn forbids(&self, member: Member<'_>) -> bool {
        self.lease().is_some_and(|lease| !lease.clusters.admits(member))
    }
}

/// What changed for some namespaces.
#[derive(Clone, Debug)]
pub(crate) struct TenantChange {
    /// The namespaces; absent: all.
    namespaces: Option<BTreeSet<String>>,
    rule: bool,
}

impl TenantChange {
    /// Whether a namespace is among them.
    pub(crate) fn concerns(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|all| all.contains(namespace))
    }

    /// Whether a tenant's spec changed, and not only what it has left.
    pub(crate) const fn is_rule(&self) -> bool {
        self.rule
    }
}

type Listener = Box<dyn Fn(&TenantChange) + Send + Sync>;

/// All tenants. Cloning shares them.
#[derive(Clone, Default)]
pub struct Tenants {
    book: Arc<Mutex<Book>>,
    listeners: Arc<RwLock<Vec<Listener>>>,
}

impl std::fmt::Debug for Tenants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tenants")
    }
}

impl Tenants {
    /// What a namespace may have of the members, its quota aside.
    pub fn of(&self, namespace: &str) -> Tenancy {
        let book = self.lock();
        match book.owner(namespace) {
            // What has no namespace is placed by cluster policies only.
            _ if namespace.is_empty() => Tenancy::Free,
            Owner::Nobody if book.required => Tenancy::Refused(
                reason::NO_TENANT,
                format!(
                    "namespace {namespace} belongs to no Tenant: name it in one, or write \
                     requireTenant: false in the Federation"
                ),
            ),
            Owner::Nobody => Tenancy::Free,
            Owner::Several(names) => Tenancy::Refused(
                reason::NAMESPACE_TAKEN,
                format!(
                    "namespace {namespace} stands in the Tenants {}: take it out of all but one",
                    names.join(", ")
                ),
            ),
            Owner::One(name, terms) => Tenancy::Of(Lease {
                tenant: name.to_owned(),
                generation: terms.generation,
                clusters: terms.clusters.clone(),
                max_importance: terms.max_importance,
                replicas: None,
            }),
        }
    }

    /// What is left to one workload.
    pub(crate) fn lease(&self, binding: &ResourceBinding) -> Tenancy {
        let mut tenancy = self.of(&binding.spec.template.namespace);
        if let Tenancy::Of(lease) = &mut tenancy {
            let needs = book::needs_of(&binding.spec.replica_request);
            lease.replicas = self.lock().replicas(&lease.tenant, &Key::of(binding), &needs);
        }
        tenancy
    }

    /// Notes a decision before it is written, so that nothing is handed out twice.
    pub(crate) fn note(&self, key: &Key, binding: &ResourceBinding, clusters: &[ClusterReplicas]) {
        let replicas: i64 = clusters.iter().map(|cluster| i64::from(cluster.replicas)).sum();
        let needs = book::needs_of(&binding.spec.replica_request);
        let namespace = &binding.spec.template.namespace;
        let freed = self.lock().note(key, namespace, &needs, replicas);
        if freed {
            self.announce(&TenantChange { namespaces: Some(self.beside(namespace)), rule: false });
        }
    }

    /// Notes what a binding holds as it is written.
    pub(crate) fn note_binding(&self, key: &Key, binding: Option<&ResourceBinding>) {
        if let Some(binding) = binding {
            self.note(key, binding, &demand::taken(binding, &binding.spec.clusters));
            return;
        }
        let gone = self.lock().forget(key);
        if let Some(namespace) = gone {
            self.announce(&TenantChange { namespaces: Some(self.beside(&namespace)), rule: false });
        }
    }

    /// Calls `listener` when tenants change, or have more left. It must only note it.
    pub(crate) fn on_change(&self, listener: impl Fn(&TenantChange) + Send + Sync + 'static) {
        let mut all = self.listeners.write().expect("no holder of this lock panics");
        all.push(Box::new(listener));
    }

    /// The namespaces that share a quota with this one; none where there is no quota.
    fn beside(&self, namespace: &str) -> BTreeSet<String> {
        let book = self.lock();
        match book.owner(namespace) {
            Owner::One(_, terms) if terms.has_quota() => terms.namespaces.clone(),
            _ => BTreeSet::new(),
        }
    }

    fn used(&self, tenant: &str) -> Amounts {
        self.lock().used(tenant)
    }

    /// The first namespace of a tenant that stands in another one too, with the names of all.
    fn disputed(&self, tenant: &str) -> Option<(String, Vec<String>)> {
        let book = self.lock();
        let terms = book.terms(tenant)?;
        terms.namespaces.iter().find_map(|namespace| match book.owner(namespace) {
            Owner::Several(names) => {
                Some((namespace.clone(), names.into_iter().map(str::to_owned).collect()))
            }
            Owner::Nobody | Owner::One(..) => None,
        })
    }

    fn announce(&self, change: &TenantChange) {
        if change.namespaces.as_ref().is_some_and(BTreeSet::is_empty) {
            return;
        }
        let all = self.listeners.read().expect("no holder of this lock panics");
        for listener in all.iter() {
            listener(change);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().expect("no holder of this lock panics")
    }
}

/// The controller: follows tenants and bindings, and tells what tenants use.
#[derive(Clone, Debug)]
pub(crate) struct TenantControl {
    world: World,
    queue: Queue<Key>,
}

impl TenantControl {
    pub(crate) fn new(world: World) -> Self {
        let queue = Queue::new(world.means().rng.fork("queue", "tenants"));
        let this = Self { world, queue };
        this.listen();
        this
    }

    pub(crate) fn start(&self, tasks: &TaskSet) {
        let this = self.clone();
        crate::work(tasks, "tenants", self.queue.clone(), 1, move |key| {
            let this = this.clone();
            async move { verdicts::write(&this.world, &key).await }
        });
    }

    fn listen(&self) {
        let this = self.clone();
        self.world.objects().tenants.on_change(move |key, old, new| {
            let spec = |tenant: &Arc<hanse_api::Tenant>| (tenant.uid(), tenant.spec.clone());
            if old.map(spec) == new.map(spec) {
                return;
            }
            let tenants = this.world.tenants();
            tenants.lock().set(&key.name, new.map(AsRef::as_ref));
            let both = old.into_iter().chain(new).flat_map(|tenant| &tenant.spec.namespaces);
            let namespaces = Some(both.cloned().collect());
            tenants.announce(&TenantChange { namespaces, rule: true });
            // A namespace may be disputed now, or no longer.
            for tenant in this.world.objects().tenants.all() {
                this.queue.add_after(Key::of(&*tenant), TELL_DELAY);
            }
        });
        let this = self.clone();
        self.world.objects().bindings.on_change(move |key, _, new| {
            let tenants = this.world.tenants();
            if !this.world.decided().hides(key, new.map(AsRef::as_ref)) {
                tenants.note_binding(key, new.map(AsRef::as_ref));
            }
            if let Owner::One(name, _) = tenants.lock().owner(&key.namespace) {
                this.queue.add_after(Key::new("", name), TELL_DELAY);
            }
        });
        let this = self.clone();
        self.world.objects().federations.on_change(move |_, old, new| {
            let required = |federation: &Arc<Federation>| federation.spec.require_tenant;
            let (before, now) = (old.is_some_and(required), new.is_some_and(required));
            if before != now {
                this.world.tenants().lock().required = now;
                let change = TenantChange { namespaces: None, rule: true };
                this.world.tenants().announce(&change);
            }
        });
    }
}
