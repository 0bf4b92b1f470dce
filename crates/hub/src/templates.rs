//! Templates on the hub, of whatever kind policies and bindings name. Of each one the facts that
//! decisions need are kept, and its stripped form as bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, RwLock},
};

use hanse_member::{Kinds, Packed, Watched, run_watch};
use hanse_render::{
    Division, InterpretError, Interpreters, Kind, Labels, PodNeeds, Reference, Selects,
};
use hanse_rt::{Rng, TaskSet};
use kube::{
    Api, Client,
    core::{DynamicObject, ObjectMeta},
};
use serde_json::{Value, json};

use crate::{Key, rules::RuleBook, traces::Traces};

/// Identity of a template: kind, namespace and name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct TemplateKey {
    /// API version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for kinds without one.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl TemplateKey {
    /// `apiVersion/Kind`.
    pub fn kind_id(&self) -> String {
        format!("{}/{}", self.api_version, self.kind)
    }
}

impl std::fmt::Display for TemplateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// What is known about a template.
#[derive(Clone, Debug)]
pub struct Template {
    /// Its identity.
    pub key: TemplateKey,
    /// Its kind, as far as its fields matter.
    pub kind: Kind,
    /// Name of the FederatedManifest of its namespace that it stands in; absent: it is an object
    /// of the hub's API.
    pub manifest: Option<String>,
    /// Into how many clusters its replicas may go, unless a policy says otherwise.
    pub division: Division,
    /// Why its kind's interpreter does not understand it. Nothing is done about it then.
    pub fault: Option<Arc<InterpretError>>,
    /// Its uid.
    pub uid: String,
    /// Its generation; 0 for kinds without one.
    pub generation: i64,
    /// Its labels.
    pub labels: Labels,
    /// Whether a controller owns it.
    pub owned: bool,
    /// Type of a Secret.
    pub secret_type: Option<String>,
    /// Replicas that it asks for.
    pub replicas: Option<u32>,
    /// What one replica needs.
    pub needs: Arc<PodNeeds>,
    /// Labels of its pods, of each kind of pod that it makes.
    pub pod_labels: Vec<Labels>,
    /// Whether it mounts volumes whose data stays behind.
    pub holds_data: bool,
    /// What it names.
    pub names: BTreeSet<Reference>,
    /// What it selects or targets.
    pub selects: Option<Selects>,
    /// Its stripped form, JSON.
    pub stripped: Arc<[u8]>,
    /// Hash of uid and stripped form.
    pub hash: u64,
    /// The status that it has on the hub.
    pub status: Packed,
}

impl Template {
    /// Reads a template with the interpreters that ship.
    #[cfg(test)]
    pub(crate) fn read(key: TemplateKey, object: &Value) -> Self {
        Self::read_with(key, object, &Interpreters::shipped())
    }

    /// Reads a template; `interpreters` say what its fields mean.
    pub(crate) fn read_with(key: TemplateKey, object: &Value, interpreters: &Interpreters) -> Self {
        let metadata = &object["metadata"];
        let kind = Kind::of_object(object);
        let bare = hanse_render::strip(object);
        let stripped = serde_json::to_vec(&bare).expect("a JSON value can be written");
        let uid = metadata["uid"].as_str().unwrap_or_default().to_owned();
        let mut hasher = DefaultHasher::new();
        (&uid, &stripped).hash(&mut hasher);
        let owners = metadata["ownerReferences"].as_array();
        let labels = metadata["labels"].as_object().into_iter().flatten();
        let mut made = Self {
            kind,
            uid,
            manifest: None,
            generation: metadata["generation"].as_i64().unwrap_or(0),
            labels: labels
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
            owned: owners.into_iter().flatten().any(|owner| owner["controller"] == true),
            secret_type: object["type"].as_str().map(str::to_owned),
            division: Division::None,
            fault: None,
            replicas: None,
            needs: Arc::default(),
            pod_labels: Vec::new(),
            holds_data: false,
            names: BTreeSet::new(),
            selects: hanse_render::selects(object),
            stripped: stripped.into(),
            hash: hasher.finish(),
            status: Packed::of(&object["status"]),
            key,
        };
        made.interpret(&bare, interpreters);
        made
    }

    /// The same template, understood anew.
    fn read_again(&self, interpreters: &Interpreters) -> Self {
        let mut made = self.clone();
        made.interpret(&self.object(), interpreters);
        made
    }

    fn interpret(&mut self, object: &Value, interpreters: &Interpreters) {
        self.division = interpreters.division(&self.key.api_version, &self.key.kind);
        let unreadable = interpreters.unreadable(&self.key.api_version, &self.key.kind).cloned();
        let fault = unreadable.or_else(|| self.facts(object, interpreters).err());
        self.fault = fault.map(Arc::new);
        if self.fault.is_some() {
            (self.replicas, self.holds_data) = (None, false);
            (self.needs, self.pod_labels, self.names) =
                (Arc::default(), Vec::new(), BTreeSet::new());
        }
    }

    fn facts(&mut self, object: &Value, kinds: &Interpreters) -> Result<(), InterpretError> {
        self.replicas = kinds.replicas(object)?;
        self.needs = Arc::new(kinds.pod_needs(object)?);
        self.pod_labels = kinds.pod_labels(object)?;
        self.holds_data = kinds.holds_data(object)?;
        self.names = kinds.named_by(object)?;
        Ok(())
    }

    /// Whether it runs pods.
    pub const fn is_workload(&self) -> bool {
        self.kind.is_workload() || !matches!(self.division, Division::None)
    }

    /// Whether its replicas are placed by their number.
    pub const fn counts_replicas(&self) -> bool {
        self.kind.has_replicas_field()
            || (matches!(self.kind, Kind::Other) && self.replicas.is_some())
    }

    /// The built-in kind whose replicas are handed out as those of this template are.
    pub const fn handed_out_as(&self) -> Kind {
        match (self.kind, self.division) {
            (Kind::Other, Division::Divide) => Kind::Deployment,
            (Kind::Other, Division::Whole) => Kind::StatefulSet,
            (Kind::Other, Division::Every) => Kind::DaemonSet,
            (kind, _) => kind,
        }
    }

    /// What selectors look at.
    pub(crate) fn head(&self) -> Value {
        json!({"apiVersion": self.key.api_version, "kind": self.key.kind, "metadata": {
            "name": self.key.name, "namespace": self.key.namespace, "labels": self.labels}})
    }

    /// Whether only the status differs from `other`.
    fn same_but_status(&self, other: &Self) -> bool {
        self.uid == other.uid
            && self.generation == other.generation
            && self.stripped == other.stripped
            && self.owned == other.owned
            && self.manifest == other.manifest
    }

    /// The stripped object.
    pub fn object(&self) -> Value {
        serde_json::from_slice(&self.stripped).expect("what was written as JSON can be read")
    }

    /// Whether this is one of the objects that no policy may take: the system's own, what belongs
    /// to a controller, and what every cluster makes for itself.
    pub fn is_never_selected(&self) -> bool {
        let TemplateKey { api_version, kind, namespace, name } = &self.key;
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let own_kind = matches!(
            (group, kind.as_str()),
            ("" | "events.k8s.io", "Event")
                | ("coordination.k8s.io", "Lease")
                | ("", "Endpoints" | "Node" | "Pod")
                | ("discovery.k8s.io", "EndpointSlice")
                | (hanse_api::GROUP, _)
        );
        let own_object = matches!(
            (kind.as_str(), name.as_str()),
            ("ConfigMap", "kube-root-ca.crt") | ("ServiceAccount", "default")
        );
        let secret = self.secret_type.as_deref().is_some_and(|type_| {
            type_.starts_with("kubernetes.io/service-account-token")
                || type_.starts_with("bootstrap.kubernetes.io/")
                || type_.starts_with("helm.sh/")
                || type_.starts_with("hanse.dev/")
        });
        own_kind
            || own_object
            || secret
            || self.owned
            || is_system_namespace(namespace)
            || (kind == "Namespace" && (is_system_namespace(name) || name == "default"))
    }
}

/// Whether a namespace belongs to the system.
pub(crate) fn is_system_namespace(namespace: &str) -> bool {
    namespace.starts_with("kube-") || namespace == hanse_api::SYSTEM_NAMESPACE
}

/// What owns the count of a workload in each member, as `(apiVersion, kind)`.
const AUTOSCALER: (&str, &str) = ("autoscaling/v2", "HorizontalPodAutoscaler");

/// Kinds that may travel with a workload, as `(apiVersion, kind)`.
pub(crate) const COMPANION_KINDS: [(&str, &str); 8] = [
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "ServiceAccount"),
    ("v1", "PersistentVolumeClaim"),
    AUTOSCALER,
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
];

type Listener =
    Box<dyn Fn(&TemplateKey, Option<&Arc<Template>>, Option<&Arc<Template>>) + Send + Sync>;
type SyncedListener = Box<dyn Fn(&str) + Send + Sync>;

/// All templates that anybody needs. Cloning shares them.
#[derive(Clone)]
pub struct Templates {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    tasks: TaskSet,
    rng: Rng,
    traces: Traces,
    rules: RuleBook,
    objects: RwLock<Objects>,
    watched: Mutex<BTreeSet<String>>,
    kinds: RwLock<Arc<Kinds>>,
    listeners: RwLock<Vec<Listener>>,
    synced_listeners: RwLock<Vec<SyncedListener>>,
}

#[derive(Default)]
struct Objects {
    by_key: BTreeMap<TemplateKey, Arc<Template>>,
    /// Workloads by what they name in their namespace.
    namers: BTreeMap<(String, Reference), BTreeSet<TemplateKey>>,
    /// Workloads by namespace.
    workloads: BTreeMap<String, BTreeSet<TemplateKey>>,
    /// What stands in each FederatedManifest, by namespace and name of it.
    manifests: BTreeMap<Key, BTreeSet<TemplateKey>>,
    /// Kinds whose first list is whole.
    synced: BTreeSet<String>,
}

impl std::fmt::Debug for Templates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Templates").field("objects", &self.read().by_key.len()).finish()
    }
}

impl Templates {
    pub(crate) fn new(
        client: Client,
        tasks: TaskSet,
        rng: Rng,
        traces: Traces,
        rules: RuleBook,
    ) -> Self {
        let shared = Shared {
            client,
            tasks,
            rng,
            traces,
            rules,
            objects: RwLock::default(),
            watched: Mutex::default(),
            kinds: RwLock::default(),
            listeners: RwLock::default(),
            synced_listeners: RwLock::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The rules by which templates become manifests.
    pub fn rules(&self) -> &RuleBook {
        &self.shared.rules
    }

    /// The template of a key.
    pub fn get(&self, key: &TemplateKey) -> Option<Arc<Template>> {
        self.read().by_key.get(key).cloned()
    }

    /// All templates of a kind.
    pub fn of_kind(&self, api_version: &str, kind: &str) -> Vec<Arc<Template>> {
        let objects = self.read();
        let matching = objects.by_key.values().filter(|template| {
            template.key.kind == kind && template.key.api_version == api_version
        });
        matching.cloned().collect()
    }

    /// All workloads of a namespace.
    pub fn workloads(&self, namespace: &str) -> Vec<Arc<Template>> {
        let objects = self.read();
        let keys = objects.workloads.get(namespace).into_iter().flatten();
        keys.filter_map(|key| objects.by_key.get(key).cloned()).collect()
    }

    /// Workloads that name this object.
    pub fn namers(&self, key: &TemplateKey) -> Vec<Arc<Template>> {
        let reference = Reference {
            api_version: key.api_version.clone(),
            kind: key.kind.clone(),
            name: key.name.clone(),
        };
        let objects = self.read();
        let keys = objects.namers.get(&(key.namespace.clone(), reference)).into_iter().flatten();
        keys.filter_map(|key| objects.by_key.get(key).cloned()).collect()
    }

    /// What travels with a workload: objects that exist on the hub and may be taken.
    pub fn companions(&self, workload: &Template) -> BTreeSet<TemplateKey> {
        let namespace = &workload.key.namespace;
        let objects = self.read();
        let mut found: BTreeSet<TemplateKey> = workload
            .names
            .iter()
            .map(|reference| TemplateKey {
                api_version: reference.api_version.clone(),
                kind: reference.kind.clone(),
                namespace: namespace.clone(),
                name: reference.name.clone(),
            })
            .filter(|key| objects.by_key.get(key).is_some_and(|found| !found.is_never_selected()))
            .collect();
        for (api_version, kind) in COMPANION_KINDS {
            let from = TemplateKey {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                namespace: namespace.clone(),
                name: String::new(),
            };
            let same = |key: &TemplateKey| {
                key.kind == kind && key.api_version == api_version && key.namespace == *namespace
            };
            let list = objects.by_key.range(from..).take_while(|(key, _)| same(key));
            found.extend(
                list.filter(|(_, template)| selects(template, workload))
                    .map(|(key, _)| key.clone()),
            );
        }
        found
    }

    /// The autoscaler that owns the count of a workload.
    pub fn autoscaler(&self, workload: &Template) -> Option<TemplateKey> {
        let (api_version, kind) = AUTOSCALER;
        let from = TemplateKey {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: workload.key.namespace.clone(),
            name: String::new(),
        };
        let objects = self.read();
        let same = |key: &TemplateKey| key.kind == kind && key.namespace == from.namespace;
        let mut list = objects.by_key.range(from.clone()..).take_while(|(key, _)| same(key));
        list.find(|(_, template)| selects(template, workload)).map(|(key, _)| key.clone())
    }

    /// The kinds that the hub's API serves, as of the last look.
    pub fn kinds(&self) -> Arc<Kinds> {
        let kinds = self.shared.kinds.read().expect("no holder of this lock panics");
        Arc::clone(&kinds)
    }

    /// Whether the first list of a kind is whole, so that what is not known is not there.
    pub fn is_synced(&self, kind_id: &str) -> bool {
        self.read().synced.contains(kind_id)
    }

    /// Asks the hub's API again which kinds it serves.
    ///
    /// # Errors
    /// The API does not answer.
    pub async fn rediscover(&self) -> Result<(), kube::Error> {
        let kinds = hanse_member::discover(&self.shared.client).await?;
        *self.shared.kinds.write().expect("no holder of this lock panics") = Arc::new(kinds);
        Ok(())
    }

    /// Watches a kind from now on. False when the hub's API does not serve it.
    pub fn want(&self, api_version: &str, kind: &str) -> bool {
        let id = format!("{api_version}/{kind}");
        let Some(served) = self.kinds().get(api_version, kind).cloned() else {
            return false;
        };
        if !self.shared.watched.lock().expect("no holder of this lock panics").insert(id.clone()) {
            return true;
        }
        let api: Api<DynamicObject> = Api::all_with(self.shared.client.clone(), &served.resource);
        let rng = self.shared.rng.fork("templates", &id);
        let shutdown = self.shared.tasks.shutdown();
        let templates = self.clone();
        let (api_version, kind) = (api_version.to_owned(), kind.to_owned());
        self.shared.tasks.spawn("templates", async move {
            let mut listed = BTreeSet::new();
            let watch = run_watch(api, None, rng, move |event| {
                let key = |meta: &ObjectMeta| TemplateKey {
                    api_version: api_version.clone(),
                    kind: kind.clone(),
                    namespace: meta.namespace.clone().unwrap_or_default(),
                    name: meta.name.clone().unwrap_or_default(),
                };
                match event {
                    Watched::Listing => listed.clear(),
                    Watched::Listed(object) => {
                        let key = key(&object.metadata);
                        listed.insert(key.clone());
                        templates.put(&key, &object);
                    }
                    Watched::Synced => {
                        templates.synced(&api_version, &kind, &std::mem::take(&mut listed));
                    }
                    Watched::Applied(object) => templates.put(&key(&object.metadata), &object),
                    Watched::Deleted(object) => {
                        templates.remove(&key(&object.metadata), Some(&object));
                    }
                    Watched::Failed(error) => {
                        tracing::warn!(kind, error, "the watch of templates failed");
                    }
                }
            });
            hanse_rt::select! {
                () = shutdown.cancelled() => {}
                () = watch => {}
            }
        });
        true
    }

    /// Calls `listener` at each change but of status alone.
    pub(crate) fn on_change(
        &self,
        listener: impl Fn(&TemplateKey, Option<&Arc<Template>>, Option<&Arc<Template>>)
        + Send
        + Sync
        + 'static,
    ) {
        let mut all = self.shared.listeners.write().expect("no holder of this lock panics");
        all.push(Box::new(listener));
    }

    /// Calls `listener` with `apiVersion/Kind` when the list of a kind is whole.
    pub(crate) fn on_synced(&self, listener: impl Fn(&str) + Send + Sync + 'static) {
        let mut all = self.shared.synced_listeners.write().expect("no holder of this lock panics");
        all.push(Box::new(listener));
    }

    fn put(&self, key: &TemplateKey, object: &DynamicObject) {
        let mut value = serde_json::to_value(object).expect("an object is plain data");
        value["apiVersion"] = key.api_version.clone().into();
        value["kind"] = key.kind.clone().into();
        if !value["metadata"]["deletionTimestamp"].is_null() {
            // It is on its way out; nothing new is decided about it.
            self.remove(key, Some(object));
            return;
        }
        let interpreters = self.shared.rules.interpreters();
        let template = Arc::new(Template::read_with(key.clone(), &value, &interpreters));
        let old = self.write().put(&template);
        if old.as_ref().is_some_and(|old| old.same_but_status(&template)) {
            return;
        }
        self.trace(key, object);
        self.announce(key, old.as_ref(), Some(&template));
    }

    fn trace(&self, key: &TemplateKey, object: &DynamicObject) {
        let version = object.metadata.resource_version.as_deref().unwrap_or_default();
        self.shared.traces.observed(key, version);
    }

    /// Forgets a template; `last` is the state that its deletion left.
    fn remove(&self, key: &TemplateKey, last: Option<&DynamicObject>) {
        let old = {
            let mut objects = self.write();
            // What stands in a FederatedManifest does not go with an object of the same name.
            let is_own = objects.by_key.get(key).is_some_and(|known| known.manifest.is_none());
            if is_own { objects.take(key) } else { None }
        };
        if old.is_some() {
            if let Some(last) = last {
                self.trace(key, last);
            }
            self.announce(key, old.as_ref(), None);
        }
    }

    fn synced(&self, api_version: &str, kind: &str, listed: &BTreeSet<TemplateKey>) {
        let gone: Vec<TemplateKey> = self
            .of_kind(api_version, kind)
            .into_iter()
            .filter(|template| template.manifest.is_none())
            .map(|template| template.key.clone())
            .filter(|key| !listed.contains(key))
            .collect();
        for key in gone {
            self.remove(&key, None);
        }
        let id = format!("{api_version}/{kind}");
        self.write().synced.insert(id.clone());
        let listeners = self.shared.synced_listeners.read().expect("no holder of this lock panics");
        for listener in listeners.iter() {
            listener(&id);
        }
    }

    /// Puts the objects of a FederatedManifest in the place of those that it had; an object of
    /// the hub's API is never displaced. Each is announced, changed or not: its rules may be new.
    pub(crate) fn set_manifest(&self, manifest: &Key, objects: &[(TemplateKey, Value)]) {
        let interpreters = self.shared.rules.interpreters();
        let mut said = Vec::new();
        {
            let mut known = self.write();
            let before = known.manifests.get(manifest).cloned().unwrap_or_default();
            let wanted: BTreeSet<&TemplateKey> = objects.iter().map(|(key, _)| key).collect();
            for key in before.iter().filter(|key| !wanted.contains(key)) {
                said.push((key.clone(), known.take(key), None));
            }
            for (key, object) in objects {
                if known.by_key.get(key).is_some_and(|other| other.manifest.is_none()) {
                    continue;
                }
                let mut made = Template::read_with(key.clone(), object, &interpreters);
                made.manifest = Some(manifest.name.clone());
                let made = Arc::new(made);
                let old = known.put(&made);
                said.push((key.clone(), old, Some(made)));
            }
        }
        for (key, old, new) in said {
            self.announce(&key, old.as_ref(), new.as_ref());
        }
    }

    /// Understands all templates of a custom kind anew.
    pub(crate) fn reread(&self, group: &str, kind: &str) {
        let interpreters = self.shared.rules.interpreters();
        let mut said = Vec::new();
        {
            let mut known = self.write();
            let of_kind = |template: &&Arc<Template>| {
                let (theirs, _) = template.key.api_version.split_once('/').unwrap_or_default();
                template.key.kind == kind && theirs == group
            };
            let all: Vec<_> = known.by_key.values().filter(of_kind).cloned().collect();
            for old in all {
                let new = Arc::new(old.read_again(&interpreters));
                known.put(&new);
                said.push((old, new));
            }
        }
        for (old, new) in said {
            self.announce(&new.key, Some(&old), Some(&new));
        }
    }

    fn announce(
        &self,
        key: &TemplateKey,
        old: Option<&Arc<Template>>,
        new: Option<&Arc<Template>>,
    ) {
        let listeners = self.shared.listeners.read().expect("no holder of this lock panics");
        for listener in listeners.iter() {
            listener(key, old, new);
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Objects> {
        self.shared.objects.read().expect("no holder of this lock panics")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Objects> {
        self.shared.objects.write().expect("no holder of this lock panics")
    }
}

/// Whether an object selects or targets a workload of its namespace.
pub(crate) fn selects(object: &Template, workload: &Template) -> bool {
    let target = &workload.key;
    !object.is_never_selected()
        && object.selects.as_ref().is_some_and(|selects| {
            let includes = |labels| selects.includes(&target.kind, &target.name, labels);
            if workload.pod_labels.is_empty() {
                return includes(&Labels::new());
            }
            workload.pod_labels.iter().any(includes)
        })
}

impl Objects {
    /// Puts a template in; gives the one that it displaces.
    fn put(&mut self, template: &Arc<Template>) -> Option<Arc<Template>> {
        let old = self.by_key.insert(template.key.clone(), Arc::clone(template));
        if let Some(old) = &old {
            self.unindex(old);
        }
        self.index(template);
        old
    }

    /// Takes a template out.
    fn take(&mut self, key: &TemplateKey) -> Option<Arc<Template>> {
        let old = self.by_key.remove(key);
        if let Some(old) = &old {
            self.unindex(old);
        }
        old
    }

    fn index(&mut self, template: &Arc<Template>) {
        let namespace = &template.key.namespace;
        if let Some(manifest) = &template.manifest {
            let all = self.manifests.entry(Key::new(namespace, manifest)).or_default();
            all.insert(template.key.clone());
        }
        if !template.is_workload() {
            return;
        }
        self.workloads.entry(namespace.clone()).or_default().insert(template.key.clone());
        for reference in &template.names {
            let key = (namespace.clone(), reference.clone());
            self.namers.entry(key).or_default().insert(template.key.clone());
        }
    }

    fn unindex(&mut self, template: &Arc<Template>) {
        let namespace = &template.key.namespace;
        if let Some(manifest) = &template.manifest {
            let key = Key::new(namespace, manifest);
            if let Some(all) = self.manifests.get_mut(&key) {
                all.remove(&template.key);
                if all.is_empty() {
                    self.manifests.remove(&key);
                }
            }
        }
        if let Some(all) = self.workloads.get_mut(namespace) {
            all.remove(&template.key);
        }
        for reference in &template.names {
            let key = (namespace.clone(), reference.clone());
            if let Some(all) = self.namers.get_mut(&key) {
                all.remove(&template.key);
                if all.is_empty() {
                    self.namers.remove(&key);
                }
            }
        }
    }
}
