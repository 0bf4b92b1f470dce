//! Propagation: which policy decides about a template, and which workloads a companion follows.
//! Writes a ResourceBinding for each handled template, but of its decision nothing except what
//! placement says of a new one; and what became of each policy.

mod apply;
mod observe;
mod plan;
mod verdicts;

use std::{sync::Arc, time::Duration};

use hanse_render::Kind;
use hanse_rt::TaskSet;
use tracing::Instrument as _;

pub use plan::{Plan, Seen, binding_key, plan};

use crate::{
    Key, Queue, TemplateKey, World,
    placement::Placement,
    policies::{Policies, Policy, PolicyKey, PolicyKind},
    templates::{COMPANION_KINDS, Template},
};

/// How long changes are collected before a policy's status is counted again.
const COUNT_DELAY: Duration = Duration::from_secs(1);
/// How many templates are worked on at once.
const AT_ONCE: usize = 32;

/// The propagation controller.
#[derive(Clone, Debug)]
pub(crate) struct Propagation {
    world: World,
    policies: Policies,
    placement: Placement,
    templates: Queue<TemplateKey>,
    counts: Queue<PolicyKey>,
}

impl Propagation {
    pub(crate) fn new(world: World, policies: Policies, placement: Placement) -> Self {
        let rng = &world.means().rng;
        let templates = Queue::new(rng.fork("queue", "propagation"));
        let counts = Queue::new(rng.fork("queue", "policies"));
        let this = Self { world, policies, placement, templates, counts };
        this.listen();
        this
    }

    /// Templates whose bindings are looked at.
    pub(crate) fn templates(&self) -> Queue<TemplateKey> {
        self.templates.clone()
    }

    pub(crate) fn start(&self, tasks: &TaskSet) {
        let this = self.clone();
        crate::work(tasks, "propagation", self.templates.clone(), AT_ONCE, move |key| {
            let this = this.clone();
            async move { this.reconcile(&key).await }
        });
        let this = self.clone();
        crate::work(tasks, "policies", self.counts.clone(), 1, move |key| {
            let this = this.clone();
            async move { this.count(&key).await }
        });
    }

    fn listen(&self) {
        let this = self.clone();
        self.world.objects().policies.on_change(move |key, _, new| {
            let key = PolicyKey::namespaced(&key.namespace, &key.name);
            this.policy_changed(&key, new.map(|policy| Policy::of_namespaced(policy)).as_ref());
        });
        let this = self.clone();
        self.world.objects().cluster_policies.on_change(move |key, _, new| {
            let key = PolicyKey::cluster(&key.name);
            this.policy_changed(&key, new.map(|policy| Policy::of_cluster(policy)).as_ref());
        });
        let this = self.clone();
        self.world.templates().on_change(move |key, old, new| this.template_changed(key, old, new));
        let this = self.clone();
        self.world.templates().on_synced(move |kind| {
            // What went while nobody looked is noticed by the bindings that are left.
            for binding in this.world.objects().bindings.all() {
                let key = plan::template_key(&binding.spec.template);
                if key.kind_id() == kind {
                    this.templates.add(key);
                }
            }
        });
        let this = self.clone();
        self.world.objects().bindings.on_change(move |_, old, new| {
            let Some(binding) = new.or(old) else { return };
            let key = plan::template_key(&binding.spec.template);
            let of_hub = binding.spec.template.manifest.is_empty();
            if of_hub && old.is_none() && !this.world.templates().want(&key.api_version, &key.kind)
            {
                tracing::warn!(template = %key, "the kind of a binding is not served by the hub");
            }
            // A binding that goes makes way for a new template of the same name.
            if new.is_none() || old.is_none() {
                this.templates.add(key);
            }
        });
    }

    fn policy_changed(&self, key: &PolicyKey, policy: Option<&Policy>) {
        let before = self.policies.get(key);
        if let (Some(before), Some(policy)) = (&before, policy)
            && before.generation == policy.generation
            && before.uid == policy.uid
        {
            return;
        }
        self.policies.set(key, policy.cloned());
        self.counts.add(key.clone());
        let selectors = policy.into_iter().chain(before.as_deref()).flat_map(|p| &p.selectors);
        let mut kinds: std::collections::BTreeSet<(String, String)> = selectors
            .map(|selector| (selector.api_version.clone(), selector.kind.clone()))
            .collect();
        kinds.extend(COMPANION_KINDS.map(|(api, kind)| (api.to_owned(), kind.to_owned())));
        for (api_version, kind) in kinds {
            self.world.templates().want(&api_version, &kind);
            for template in self.world.templates().of_kind(&api_version, &kind) {
                self.templates.add(template.key.clone());
            }
        }
        for other in self.policies.all().iter().filter(|p| p.key.kind != PolicyKind::Manifest) {
            self.counts.add_after(other.key.clone(), COUNT_DELAY);
        }
    }

    fn template_changed(
        &self,
        key: &TemplateKey,
        old: Option<&Arc<Template>>,
        new: Option<&Arc<Template>>,
    ) {
        self.templates.add(key.clone());
        for workload in old.into_iter().chain(new).filter(|t| t.is_workload()) {
            // Interpreters may name kinds that nobody has asked for yet.
            for named in workload.names.iter().filter(|_| workload.kind == Kind::Other) {
                self.world.templates().want(&named.api_version, &named.kind);
            }
            for companion in self.world.templates().companions(workload) {
                self.templates.add(companion);
            }
        }
        let relabelled = match (old, new) {
            (Some(old), Some(new)) => old.labels != new.labels,
            _ => true,
        };
        if relabelled {
            let selects = |policy: &&Arc<Policy>| {
                policy.selectors.iter().any(|selector| selector.kind == key.kind)
            };
            for policy in self.policies.all().iter().filter(selects) {
                self.counts.add_after(policy.key.clone(), COUNT_DELAY);
            }
        }
    }

    async fn reconcile(&self, key: &TemplateKey) -> Result<(), kube::Error> {
        let seen = observe::observe(&self.world, &self.policies, key);
        let plan = plan(&seen);
        let span = self.world.traces().propagation(&binding_key(key), key, plan != Plan::Nothing);
        apply::apply(&self.world, &self.placement, key, plan).instrument(span).await
    }

    async fn count(&self, key: &PolicyKey) -> Result<(), kube::Error> {
        verdicts::write(&self.world, &self.policies, key, &self.counts).await
    }
}

/// The key of the binding of a template.
pub fn key_of_binding(template: &TemplateKey) -> Key {
    binding_key(template)
}

/// The key of the template that a binding is about.
pub(crate) fn key_of_template(template: &hanse_api::TemplateRef) -> TemplateKey {
    plan::template_key(template)
}
