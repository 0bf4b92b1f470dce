//! The rules by which templates become manifests: how kinds are understood, and what differs from
//! cluster to cluster. Everybody reads them here; the controller at the end fills them from the
//! hub's objects and says on each of these what became of it.

mod faults;
mod verdicts;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use hanse_api::{ClusterOverridePolicy, FederatedManifest, OverridePolicy, ResourceInterpreter};
use hanse_render::{InterpreterRefusal, Interpreters, Overrides, PolicyName};
use hanse_rt::TaskSet;
use kube::ResourceExt as _;

pub(crate) use faults::{Origin, Place};

use crate::{Key, Queue, Template, TemplateKey, World};
use faults::Faults;

/// How long changes are collected before the status of a rule's object is written again.
const TELL_DELAY: Duration = Duration::from_millis(100);

/// Uid and generation of the object that a rule stands in.
type Version = (String, i64);

type Listener = Box<dyn Fn(&TemplateKey) + Send + Sync>;
type OriginListener = Box<dyn Fn(&Origin) + Send + Sync>;

/// The rules as they are now. Cloning shares them.
#[derive(Clone, Default)]
pub struct RuleBook {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    kinds: RwLock<KindRules>,
    overrides: RwLock<OverrideRules>,
    faults: Mutex<Faults>,
    listeners: RwLock<Vec<Listener>>,
    hears: RwLock<Vec<OriginListener>>,
}

/// How kinds are understood.
struct KindRules {
    interpreters: Arc<Interpreters>,
    refused: BTreeMap<String, InterpreterRefusal>,
    versions: BTreeMap<String, Version>,
}

impl Default for KindRules {
    fn default() -> Self {
        Self {
            interpreters: Arc::new(Interpreters::shipped()),
            refused: BTreeMap::new(),
            versions: BTreeMap::new(),
        }
    }
}

/// What differs from cluster to cluster.
#[derive(Default)]
struct OverrideRules {
    cluster: BTreeMap<String, Arc<ClusterOverridePolicy>>,
    namespaced: BTreeMap<String, BTreeMap<String, Arc<OverridePolicy>>>,
    manifests: BTreeMap<Key, Arc<FederatedManifest>>,
    /// Read policies by namespace; the empty one stands for all without policies of their own.
    read: BTreeMap<String, Arc<ReadRules>>,
    /// The same by FederatedManifest.
    read_manifests: BTreeMap<Key, Arc<ReadRules>>,
}

#[derive(Debug, Default)]
struct ReadRules {
    overrides: Arc<Overrides>,
    versions: BTreeMap<PolicyName, Version>,
}

/// The rules that hold for one template.
#[derive(Clone, Debug, Default)]
pub struct Ruling {
    /// How kinds are understood.
    pub interpreters: Arc<Interpreters>,
    /// What differs from cluster to cluster.
    pub overrides: Arc<Overrides>,
    /// Another one is another manifest, perhaps; 0 where no rule concerns the template.
    pub revision: u64,
}

impl std::fmt::Debug for RuleBook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RuleBook")
    }
}

impl RuleBook {
    /// How kinds are understood.
    pub fn interpreters(&self) -> Arc<Interpreters> {
        let kinds = self.shared.kinds.read().expect("no holder of this lock panics");
        Arc::clone(&kinds.interpreters)
    }

    /// The rules that hold for a template.
    pub fn of(&self, template: &Template) -> Ruling {
        let key = &template.key;
        let manifest =
            template.manifest.as_ref().map(|manifest| Key::new(&key.namespace, manifest));
        let read = self.read(&key.namespace, manifest.as_ref());
        let mut hasher = DefaultHasher::new();
        let mut concerned = false;
        if !read.versions.is_empty() {
            let head = template.head();
            for name in read.overrides.selecting(&head) {
                concerned = true;
                (name.to_string(), read.versions.get(name)).hash(&mut hasher);
            }
        }
        let kinds = self.shared.kinds.read().expect("no holder of this lock panics");
        if let Some(name) = kinds.interpreters.name(&key.api_version, &key.kind) {
            concerned = true;
            (name, kinds.versions.get(name)).hash(&mut hasher);
        }
        Ruling {
            interpreters: Arc::clone(&kinds.interpreters),
            overrides: Arc::clone(&read.overrides),
            revision: if concerned { hasher.finish() } else { 0 },
        }
    }

    fn read(&self, namespace: &str, manifest: Option<&Key>) -> Arc<ReadRules> {
        {
            let rules = self.shared.overrides.read().expect("no holder of this lock panics");
            if let Some(read) = rules.known(namespace, manifest) {
                return Arc::clone(read);
            }
        }
        let mut rules = self.shared.overrides.write().expect("no holder of this lock panics");
        rules.make(namespace, manifest)
    }

    /// Calls `listener` with each template whose rules changed. It must only note it.
    pub(crate) fn on_change(&self, listener: impl Fn(&TemplateKey) + Send + Sync + 'static) {
        let mut all = self.shared.listeners.write().expect("no holder of this lock panics");
        all.push(Box::new(listener));
    }

    fn announce(&self, template: &TemplateKey) {
        let all = self.shared.listeners.read().expect("no holder of this lock panics");
        for listener in all.iter() {
            listener(template);
        }
    }

    /// Notes that a rule failed at a place, or that none does any more.
    pub(crate) fn note(&self, binding: &Key, place: Place, fault: Option<(Origin, String)>) {
        let touched = {
            let mut faults = self.shared.faults.lock().expect("no holder of this lock panics");
            faults.note(binding, place, fault)
        };
        let all = self.shared.hears.read().expect("no holder of this lock panics");
        for origin in &touched {
            for listener in all.iter() {
                listener(origin);
            }
        }
    }

    /// Forgets the faults of a binding.
    pub(crate) fn forget(&self, binding: &Key) {
        let places = {
            let faults = self.shared.faults.lock().expect("no holder of this lock panics");
            faults.places(binding)
        };
        for place in places {
            self.note(binding, place, None);
        }
    }

    fn faults_of(&self, origin: &Origin) -> (usize, Vec<String>) {
        self.shared.faults.lock().expect("no holder of this lock panics").of(origin)
    }

    /// Takes a FederatedManifest's overrides into force, or out of it.
    pub(crate) fn set_manifest(&self, key: &Key, manifest: Option<Arc<FederatedManifest>>) {
        let mut rules = self.shared.overrides.write().expect("no holder of this lock panics");
        rules.read_manifests.remove(key);
        match manifest {
            Some(manifest) => rules.manifests.insert(key.clone(), manifest),
            None => rules.manifests.remove(key),
        };
    }

    /// The FederatedManifest in force under this key: the newest that was accepted.
    pub(crate) fn manifest(&self, key: &Key) -> Option<Arc<FederatedManifest>> {
        let rules = self.shared.overrides.read().expect("no holder of this lock panics");
        rules.manifests.get(key).cloned()
    }

    fn change(&self, change: impl FnOnce(&mut OverrideRules)) {
        change(&mut self.shared.overrides.write().expect("no holder of this lock panics"));
    }

    fn set_interpreters(&self, all: &[Arc<ResourceInterpreter>]) {
        let (interpreters, refused) = Interpreters::new(all.iter().map(AsRef::as_ref));
        let versions = all.iter().map(|one| (one.name_any(), version(one.as_ref()))).collect();
        let made = KindRules { interpreters: Arc::new(interpreters), refused, versions };
        *self.shared.kinds.write().expect("no holder of this lock panics") = made;
    }

    fn refusal(&self, interpreter: &str) -> Option<String> {
        let kinds = self.shared.kinds.read().expect("no holder of this lock panics");
        kinds.refused.get(interpreter).map(ToString::to_string)
    }
}

impl OverrideRules {
    /// The name under which the policies of a namespace are read.
    fn place<'a>(&self, namespace: &'a str) -> &'a str {
        if self.namespaced.contains_key(namespace) { namespace } else { "" }
    }

    fn known(&self, namespace: &str, manifest: Option<&Key>) -> Option<&Arc<ReadRules>> {
        manifest.filter(|key| self.manifests.contains_key(*key)).map_or_else(
            || self.read.get(self.place(namespace)),
            |key| self.read_manifests.get(key),
        )
    }

    fn make(&mut self, namespace: &str, manifest: Option<&Key>) -> Arc<ReadRules> {
        let place = self.place(namespace);
        let own = self.namespaced.get(place);
        let base = if let Some(base) = self.read.get(place) {
            Arc::clone(base)
        } else {
            let namespaced = || own.into_iter().flat_map(BTreeMap::values);
            let overrides = Overrides::new(
                self.cluster.values().map(AsRef::as_ref),
                namespaced().map(AsRef::as_ref),
            );
            let wide = self
                .cluster
                .iter()
                .map(|(name, policy)| (PolicyName::Cluster(name.clone()), version(&**policy)));
            let narrow = namespaced().map(|policy| (name_of(policy), version(&**policy)));
            let versions = wide.chain(narrow).collect();
            let made = Arc::new(ReadRules { overrides: Arc::new(overrides), versions });
            self.read.insert(place.to_owned(), Arc::clone(&made));
            made
        };
        let found = manifest.and_then(|key| Some((key, self.manifests.get(key)?)));
        let Some((key, manifest)) = found else {
            return base;
        };
        let mut versions = base.versions.clone();
        let name = PolicyName::Manifest(key.namespace.clone(), key.name.clone());
        versions.insert(name, version(&**manifest));
        let overrides = Arc::new(base.overrides.with_manifest(manifest));
        let made = Arc::new(ReadRules { overrides, versions });
        self.read_manifests.insert(key.clone(), Arc::clone(&made));
        made
    }

    /// Drops what was read for a namespace, or for all.
    fn reread(&mut self, namespace: Option<&str>) {
        if let Some(namespace) = namespace {
            self.read.remove(namespace);
            self.read_manifests.retain(|key, _| key.namespace != namespace);
        } else {
            self.read.clear();
            self.read_manifests.clear();
        }
    }
}

fn name_of(policy: &Arc<OverridePolicy>) -> PolicyName {
    PolicyName::Namespaced(policy.namespace().unwrap_or_default(), policy.name_any())
}

fn version(object: &impl kube::ResourceExt) -> Version {
    (object.uid().unwrap_or_default(), object.meta().generation.unwrap_or(0))
}

/// The controller: fills the rule book, and tells what became of each rule.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    world: World,
    queue: Queue<Origin>,
}

impl Rules {
    pub(crate) fn new(world: World) -> Self {
        let queue = Queue::new(world.means().rng.fork("queue", "rules"));
        let this = Self { world, queue };
        this.listen();
        this
    }

    pub(crate) fn start(&self, tasks: &TaskSet) {
        let this = self.clone();
        crate::work(tasks, "rules", self.queue.clone(), 1, move |origin| {
            let this = this.clone();
            async move { verdicts::write(&this.world, &origin).await }
        });
    }

    fn book(&self) -> &RuleBook {
        self.world.rules()
    }

    fn listen(&self) {
        let objects = self.world.objects();
        let this = self.clone();
        objects.override_policies.on_change(move |key, old, new| {
            if is_same(old, new) {
                return;
            }
            this.book().change(|rules| {
                rules.reread(Some(&key.namespace));
                let all = rules.namespaced.entry(key.namespace.clone()).or_default();
                match new {
                    Some(new) => all.insert(key.name.clone(), Arc::clone(new)),
                    None => all.remove(&key.name),
                };
                if all.is_empty() {
                    rules.namespaced.remove(&key.namespace);
                }
            });
            let both = [old, new].into_iter().flatten().map(AsRef::as_ref);
            let selectors = [old, new].into_iter().flatten();
            let kinds = selectors.flat_map(|policy| &policy.spec.resource_selectors);
            let kinds = kinds.map(|one| (one.api_version.clone(), one.kind.clone())).collect();
            this.overrides_changed(&Overrides::new([], both), kinds);
            let name = PolicyName::Namespaced(key.namespace.clone(), key.name.clone());
            this.queue.add_after(Origin::Override(name), TELL_DELAY);
        });
        let this = self.clone();
        objects.cluster_override_policies.on_change(move |key, old, new| {
            if is_same(old, new) {
                return;
            }
            this.book().change(|rules| {
                rules.reread(None);
                match new {
                    Some(new) => rules.cluster.insert(key.name.clone(), Arc::clone(new)),
                    None => rules.cluster.remove(&key.name),
                };
            });
            let both = [old, new].into_iter().flatten().map(AsRef::as_ref);
            let selectors = [old, new].into_iter().flatten();
            let kinds = selectors.flat_map(|policy| &policy.spec.resource_selectors);
            let kinds = kinds.map(|one| (one.api_version.clone(), one.kind.clone())).collect();
            this.overrides_changed(&Overrides::new(both, []), kinds);
            let name = PolicyName::Cluster(key.name.clone());
            this.queue.add_after(Origin::Override(name), TELL_DELAY);
        });
        let this = self.clone();
        objects.interpreters.on_change(move |_, old, new| {
            if !is_same(old, new) {
                this.interpreters_changed(old.into_iter().chain(new));
            }
        });
        let this = self.clone();
        self.world.objects().bindings.on_change(move |key, old, new| {
            if new.is_none() {
                this.book().forget(key);
            }
            if let (Some(binding), None) | (None, Some(binding)) = (old, new) {
                this.count_again(&crate::propagation::key_of_template(&binding.spec.template));
            }
        });
        let this = self.clone();
        self.world.templates().on_change(move |key, old, new| this.template_changed(key, old, new));
        let this = self.clone();
        let mut listeners =
            self.book().shared.hears.write().expect("no holder of this lock panics");
        listeners.push(Box::new(move |origin| this.queue.add_after(origin.clone(), TELL_DELAY)));
    }

    /// Wakes the templates that a changed policy selects, or did.
    fn overrides_changed(&self, both: &Overrides, kinds: BTreeSet<(String, String)>) {
        for (api_version, kind) in kinds {
            for template in self.world.templates().of_kind(&api_version, &kind) {
                if !both.selecting(&template.head()).is_empty() {
                    self.book().announce(&template.key);
                }
            }
        }
    }

    fn interpreters_changed<'a>(
        &self,
        changed: impl Iterator<Item = &'a Arc<ResourceInterpreter>>,
    ) {
        let all = self.world.objects().interpreters.all();
        self.book().set_interpreters(&all);
        for one in changed {
            let target = &one.spec.target;
            self.world.templates().reread(&target.group, &target.kind);
        }
        // One that goes may make way for another.
        for one in all {
            self.queue.add_after(Origin::Interpreter(one.name_any()), TELL_DELAY);
        }
    }

    /// Notes whether the interpreter of a template understands it, and counts again.
    fn template_changed(
        &self,
        key: &TemplateKey,
        old: Option<&Arc<Template>>,
        new: Option<&Arc<Template>>,
    ) {
        let binding = crate::propagation::key_of_binding(key);
        let fault = new.and_then(|template| template.fault.as_ref()).map(|fault| {
            (Origin::Interpreter(fault.interpreter.clone()), format!("{key}: {fault}"))
        });
        self.book().note(&binding, Place::Template, fault);
        let labels = |one: Option<&Arc<Template>>| one.map(|template| template.labels.clone());
        if labels(old) != labels(new) {
            self.count_again(key);
        }
    }

    /// Counts again what the policies select that name the kind of a template.
    fn count_again(&self, key: &TemplateKey) {
        let book = &self.book().shared.overrides;
        let rules = book.read().expect("no holder of this lock panics");
        let names = |api: &String, kind: &String| *api == key.api_version && *kind == key.kind;
        for (name, policy) in &rules.cluster {
            let mut selectors = policy.spec.resource_selectors.iter();
            if selectors.any(|one| names(&one.api_version, &one.kind)) {
                let origin = Origin::Override(PolicyName::Cluster(name.clone()));
                self.queue.add_after(origin, TELL_DELAY);
            }
        }
        for policy in rules.namespaced.get(&key.namespace).into_iter().flat_map(BTreeMap::values) {
            let mut selectors = policy.spec.resource_selectors.iter();
            if selectors.any(|one| names(&one.api_version, &one.kind)) {
                self.queue.add_after(Origin::Override(name_of(policy)), TELL_DELAY);
            }
        }
    }
}

/// Whether the spec of an object is as it was.
fn is_same<K: kube::ResourceExt>(old: Option<&Arc<K>>, new: Option<&Arc<K>>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => version(old.as_ref()) == version(new.as_ref()),
        _ => false,
    }
}
