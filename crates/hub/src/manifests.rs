//! FederatedManifests: judges each one, makes templates of its objects and a policy of its rules,
//! and tells what became of them. What is refused changes nothing: what stood, stands.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_api::{
    FederatedManifest, FederatedManifestStatus, ManifestInForce,
    conditions::{self, binding::AVAILABLE, is_true, policy, reason},
};
use hanse_render::{Interpreters, ManifestCause, check_manifest, unreadable};
use hanse_rt::TaskSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::{
    Key, Queue, SessionEvent, Template, TemplateKey, World,
    policies::{Policies, Policy, PolicyKey, winner},
    propagation::key_of_binding,
    write::{change_status, namespaced},
};

/// How long changes of bindings are collected before the status is written again.
const TELL_DELAY: Duration = Duration::from_millis(50);
/// Label of a namespace whose users may do everything in pods.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

type Objects = Vec<(TemplateKey, Value)>;

/// The controller of FederatedManifests.
#[derive(Clone, Debug)]
pub(crate) struct Manifests {
    world: World,
    policies: Policies,
    queue: Queue<Key>,
    /// FederatedManifests by the objects that they name.
    naming: Arc<Mutex<BTreeMap<TemplateKey, BTreeSet<Key>>>>,
}

impl Manifests {
    pub(crate) fn new(world: World, policies: Policies) -> Self {
        let queue = Queue::new(world.means().rng.fork("queue", "manifests"));
        let this = Self { world, policies, queue, naming: Arc::default() };
        this.listen();
        this
    }

    pub(crate) fn start(&self, tasks: &TaskSet) {
        let this = self.clone();
        crate::work(tasks, "manifests", self.queue.clone(), 1, move |key| {
            let this = this.clone();
            async move { this.reconcile(&key).await }
        });
    }

    fn listen(&self) {
        let this = self.clone();
        self.world.objects().manifests.on_change(move |key, old, new| {
            let version = |one: &Arc<FederatedManifest>| {
                (one.uid(), one.metadata.generation, one.metadata.deletion_timestamp.is_some())
            };
            if old.map(version) == new.map(version) {
                return;
            }
            {
                let mut naming = this.naming.lock().expect("no holder of this lock panics");
                for named in old.iter().flat_map(|one| named_by(one)) {
                    if let Some(all) = naming.get_mut(&named) {
                        all.remove(key);
                        if all.is_empty() {
                            naming.remove(&named);
                        }
                    }
                }
                for named in new.iter().flat_map(|one| named_by(one)) {
                    naming.entry(named).or_default().insert(key.clone());
                }
            }
            for named in old.iter().chain(new.iter()).flat_map(|one| named_by(one)) {
                this.add_naming(&named);
            }
            this.queue.add(key.clone());
        });
        let this = self.clone();
        self.world.templates().on_change(move |key, _, _| {
            this.add_naming(key);
            if key.kind == "Namespace" && key.api_version == "v1" {
                this.add_where(|manifest| manifest.namespace == key.name);
            }
        });
        let this = self.clone();
        self.world.objects().bindings.on_change(move |_, old, new| {
            for binding in old.into_iter().chain(new) {
                let template = &binding.spec.template;
                if !template.manifest.is_empty() {
                    let key = Key::new(&template.namespace, &template.manifest);
                    this.queue.add_after(key, TELL_DELAY);
                }
            }
        });
        let this = self.clone();
        self.world.objects().cluster_policies.on_change(move |_, old, new| {
            // One that is mandatory may win over a manifest.
            if old.into_iter().chain(new).any(|policy| policy.spec.mandatory) {
                this.add_where(|_| true);
            }
        });
        let this = self.clone();
        self.world.on_session(move |_, event| {
            // Whether a kind lives in namespaces may be known now.
            if matches!(event, SessionEvent::Kinds) {
                this.add_where(|_| true);
            }
        });
    }

    fn add_naming(&self, template: &TemplateKey) {
        for manifest in self.naming(template) {
            self.queue.add_after(manifest, TELL_DELAY);
        }
    }

    /// The FederatedManifests that name an object.
    fn naming(&self, template: &TemplateKey) -> Vec<Key> {
        let naming = self.naming.lock().expect("no holder of this lock panics");
        naming.get(template).into_iter().flatten().cloned().collect()
    }

    fn add_where(&self, concerned: impl Fn(&Key) -> bool) {
        let all = self.world.objects().manifests.keys();
        for key in all.into_iter().filter(concerned) {
            self.queue.add_after(key, TELL_DELAY);
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<(), kube::Error> {
        let known = self.world.objects().manifests.get(key);
        let known = known.filter(|known| known.metadata.deletion_timestamp.is_none());
        let Some(known) = known else {
            self.policies.set(&PolicyKey::manifest(&key.namespace, &key.name), None);
            self.world.rules().set_manifest(key, None);
            self.world.templates().set_manifest(key, &[]);
            return Ok(());
        };
        let judged = self.judge(&known);
        match &judged {
            Ok(objects) => self.put_into_force(key, &known, objects),
            Err(_) => self.go_on_with_the_last(key, &known),
        }
        self.tell(key, &known, judged.map(|objects| objects.len())).await
    }

    fn put_into_force(&self, key: &Key, known: &Arc<FederatedManifest>, objects: &Objects) {
        let version = |one: &FederatedManifest| (one.uid(), one.metadata.generation);
        let in_force = self.world.rules().manifest(key);
        let templates = self.world.templates();
        let whole = objects.iter().all(|(object, _)| {
            let template = templates.get(object);
            template.is_some_and(|one| one.manifest.as_deref() == Some(&key.name))
        });
        if whole && in_force.is_some_and(|one| version(&one) == version(known)) {
            return;
        }
        let policy = Policy::of_manifest(known);
        self.policies.set(&policy.key.clone(), Some(policy));
        self.world.rules().set_manifest(key, Some(Arc::clone(known)));
        templates.set_manifest(key, objects);
    }

    /// After a start nothing is in force yet. What was, when the spec was refused, is judged again
    /// and goes on.
    fn go_on_with_the_last(&self, key: &Key, known: &FederatedManifest) {
        if self.world.rules().manifest(key).is_some() {
            return;
        }
        let kept = known.status.as_ref().and_then(|status| status.in_force.as_ref());
        let Some(last) = kept.and_then(|kept| kept.of_now(known)) else {
            return;
        };
        match self.judge(&last) {
            Ok(objects) => self.put_into_force(key, &Arc::new(last), &objects),
            Err((why, words)) => tracing::warn!(%key, why, words, "nothing of it is in force"),
        }
    }

    /// Its objects as templates, or why it is refused: reason and words.
    fn judge(&self, known: &FederatedManifest) -> Result<Objects, (&'static str, String)> {
        let namespace = known.namespace().unwrap_or_default();
        let privileged = self.world.templates().get(&namespace_key(&namespace));
        let privileged = privileged
            .is_some_and(|one| one.labels.get(ENFORCE).is_some_and(|level| level == "privileged"));
        let objects = check_manifest(known, |api, kind| self.is_namespaced(api, kind), privileged)
            .map_err(|error| {
                let why = match &error.cause {
                    ManifestCause::Namespace(_)
                    | ManifestCause::ClusterScoped(_)
                    | ManifestCause::Rights(_)
                    | ManifestCause::Restricted(_) => reason::NOT_ALLOWED,
                    ManifestCause::List | ManifestCause::Unnamed(_) | ManifestCause::Twice(_) => {
                        reason::INVALID
                    }
                };
                (why, error.to_string())
            })?;
        if let Some((rule, field, error)) =
            unreadable(known.spec.overrides.iter().map(|one| &one.rule)).into_iter().next()
        {
            let words = format!("spec.overrides[{rule}].{field}.cel: {error}");
            return Err((reason::INVALID, words));
        }
        let mut made = Objects::new();
        for (at, mut object) in objects.into_iter().enumerate() {
            object["metadata"]["uid"] = json!(known.uid());
            object["metadata"]["generation"] = json!(known.metadata.generation);
            let key = key_of(&object, &namespace);
            self.admit(known, &key, &object)
                .map_err(|(why, words)| (why, format!("spec.manifests[{at}]: {words}")))?;
            made.push((key, object));
        }
        Ok(made)
    }

    /// Whether one object may be a template.
    fn admit(
        &self,
        known: &FederatedManifest,
        key: &TemplateKey,
        object: &Value,
    ) -> Result<(), (&'static str, String)> {
        let read = Template::read_with(key.clone(), object, &Interpreters::default());
        if read.is_never_selected() {
            let words = format!("{key} is the system's own, or each cluster's: leave it out");
            return Err((reason::NOT_ALLOWED, words));
        }
        let taken = |by: &str| {
            let words = format!("{key} is {by} already: take it out of one of the two");
            Err((reason::CONFLICT, words))
        };
        let held = self.world.templates().get(key);
        if held.is_some_and(|other| other.manifest.is_none()) {
            return taken("an object of the hub");
        }
        let age = |one: &FederatedManifest| {
            let created = one.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (created, one.name_any())
        };
        let rivals = self.naming(key).into_iter();
        let older = rivals
            .filter_map(|rival| self.world.objects().manifests.get(&rival))
            .find(|rival| age(rival) < age(known));
        match older {
            Some(rival) => taken(&format!("in FederatedManifest {}", rival.name_any())),
            None => Ok(()),
        }
    }

    /// Whether a kind lives in namespaces, as the hub or else a member says.
    fn is_namespaced(&self, api_version: &str, kind: &str) -> Option<bool> {
        let of_hub = self.world.templates().kinds();
        if let Some(served) = of_hub.get(api_version, kind) {
            return Some(served.namespaced);
        }
        let sessions = self.world.sessions();
        let mut members = sessions.iter().filter_map(|session| {
            session.kinds()?.get(api_version, kind).map(|served| served.namespaced)
        });
        let first = members.next()?;
        Some(first && members.all(|namespaced| namespaced))
    }

    async fn tell(
        &self,
        key: &Key,
        known: &Arc<FederatedManifest>,
        judged: Result<usize, (&'static str, String)>,
    ) -> Result<(), kube::Error> {
        let (generation, now) = (known.metadata.generation, Time(self.world.means().wall.now()));
        let made = |type_: &str, holds: bool, why: &str, words: String| {
            conditions::condition(type_, holds, why, words, generation, now.clone())
        };
        let in_force = judged.is_err().then(|| self.world.rules().manifest(key)).flatten();
        let in_force = in_force.as_deref().and_then(ManifestInForce::of);
        let refused = judged.is_err();
        let accepted = match judged.map(|_| self.outranked(key, known)) {
            Err((why, words)) => made(policy::ACCEPTED, false, why, words),
            Ok(Some(words)) => made(policy::ACCEPTED, false, reason::OUTRANKED, words),
            Ok(None) => made(policy::ACCEPTED, true, reason::ACCEPTED, String::new()),
        };
        let available = match self.first_unavailable(key, known) {
            None => made(AVAILABLE, true, reason::AVAILABLE, String::new()),
            Some(words) => made(AVAILABLE, false, reason::UNAVAILABLE, words),
        };
        let change = |status: &mut FederatedManifestStatus| {
            status.observed_generation = generation;
            if !refused || in_force.is_some() {
                status.in_force.clone_from(&in_force);
            }
            conditions::set(&mut status.conditions, accepted.clone());
            conditions::set(&mut status.conditions, available.clone());
        };
        let api: Api<FederatedManifest> = namespaced(&self.world.means().client, key);
        let bucket = &self.world.means().status_writes;
        change_status(&api, bucket, Arc::clone(known), change).await.map(|_| ())
    }

    /// An object about which a mandatory policy decides instead.
    fn outranked(&self, key: &Key, known: &FederatedManifest) -> Option<String> {
        let all = self.policies.all();
        let own = PolicyKey::manifest(&key.namespace, &key.name);
        named_by(known).into_iter().find_map(|object| {
            let template = self.world.templates().get(&object)?;
            let winner = winner(&all, &template)?;
            (winner.key != own).then(|| format!("lost {object} to {}", winner.key))
        })
    }

    fn first_unavailable(&self, key: &Key, known: &FederatedManifest) -> Option<String> {
        named_by(known).into_iter().find_map(|object| {
            let binding = self.world.objects().bindings.get(&key_of_binding(&object));
            let own = binding.filter(|one| one.spec.template.manifest == key.name);
            let Some(own) = own else {
                return Some(format!("{object} is not placed yet"));
            };
            let status = own.status.as_ref().map(|status| status.conditions.as_slice());
            let told = status.unwrap_or_default();
            if is_true(told, AVAILABLE) {
                return None;
            }
            let mut told =
                told.iter().filter(|one| one.status != "True" && !one.message.is_empty());
            let words = told.next().map_or_else(String::new, |one| format!(": {}", one.message));
            Some(format!("{object}{words}"))
        })
    }
}

/// The objects that a FederatedManifest names, good or not.
fn named_by(manifest: &FederatedManifest) -> Vec<TemplateKey> {
    let namespace = manifest.namespace().unwrap_or_default();
    manifest.spec.manifests.iter().map(|object| key_of(object, &namespace)).collect()
}

fn key_of(object: &Value, namespace: &str) -> TemplateKey {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    TemplateKey {
        api_version: text(&object["apiVersion"]),
        kind: text(&object["kind"]),
        namespace: namespace.to_owned(),
        name: text(&object["metadata"]["name"]),
    }
}

fn namespace_key(name: &str) -> TemplateKey {
    TemplateKey {
        api_version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    }
}
