//! How kinds are understood: built-in ones by code, custom ones by ResourceInterpreters. Callers
//! ask here and see no difference. An interpreter that fails stops its own kind and no other.

mod custom;
mod shipped;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use hanse_api::ResourceInterpreter;
use serde_json::Value;

use crate::{
    CelError, Folded, Health, Kind, Labels, Manifest, Marks, MemberState, PodNeeds, PointerError,
    Reference, Share, Template, companions, manifest, needs, pointer, status,
};

use custom::Interpreter;

/// An expression of an interpreter that has no use.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("ResourceInterpreter {interpreter} for {kind}: {field} `{expression}`: {cause}")]
pub struct InterpretError {
    /// Name of the interpreter.
    pub interpreter: String,
    /// The kind, as `group/kind`.
    pub kind: String,
    /// Field of the interpreter, for example `replicas.cel`.
    pub field: &'static str,
    /// The expression or path, cut to 128 characters.
    pub expression: String,
    /// Why.
    pub cause: Box<InterpretCause>,
}

/// Why an expression has no use.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InterpretCause {
    /// It has no value, or one of the wrong type.
    #[error(transparent)]
    Cel(#[from] CelError),
    /// The place cannot be reached.
    #[error(transparent)]
    Pointer(#[from] PointerError),
}

/// An interpreter that is not used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InterpreterRefusal {
    /// An expression cannot be read.
    #[error(transparent)]
    Unreadable(#[from] InterpretError),
    /// Its kind is understood by code.
    #[error("{0} is a built-in kind: it is understood already")]
    BuiltIn(String),
    /// Another one explains the same kind and version.
    #[error("ResourceInterpreter {0} explains the same kind: delete one of them")]
    Taken(String),
}

/// Into how many clusters the replicas of an object may go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Division {
    /// Several clusters share them.
    Divide,
    /// One cluster has all of them.
    Whole,
    /// Each cluster has its own: nothing is counted.
    Every,
    /// It runs none.
    None,
}

/// Pods of one template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PodSet {
    /// How many, in the whole object.
    pub count: u32,
    /// The pod template.
    pub template: Value,
}

impl PodSet {
    /// What one of these pods needs of a node.
    pub fn needs(&self) -> PodNeeds {
        needs::needs_of(&self.template["spec"])
    }
}

/// The interpreters of a federation.
#[derive(Clone, Debug, Default)]
pub struct Interpreters {
    kinds: BTreeMap<(String, String), Vec<Arc<Interpreter>>>,
    /// Kinds whose own interpreter cannot be read.
    unreadable: BTreeMap<(String, String), InterpretError>,
}

impl Interpreters {
    /// Those that ship with Hanse.
    pub fn shipped() -> Self {
        Self::new([]).0
    }

    /// The given ones, and those that ship with Hanse for kinds that the given ones leave. Of two
    /// for the same kind the one whose name comes first is used. Refusals are by name.
    pub fn new<'a>(
        given: impl IntoIterator<Item = &'a ResourceInterpreter>,
    ) -> (Self, BTreeMap<String, InterpreterRefusal>) {
        let mut all = Self::default();
        let mut refused = BTreeMap::new();
        let given: BTreeMap<&str, &ResourceInterpreter> = given
            .into_iter()
            .filter_map(|one| Some((one.metadata.name.as_deref()?, one)))
            .collect();
        for (name, one) in given {
            if let Err(refusal) = all.add(name, one) {
                if let InterpreterRefusal::Unreadable(error) = &refusal {
                    let target = (one.spec.target.group.clone(), one.spec.target.kind.clone());
                    all.unreadable.entry(target).or_insert_with(|| error.clone());
                }
                refused.insert(name.to_owned(), refusal);
            }
        }
        for (group, kind, one) in shipped::compiled() {
            let list = all.kinds.entry((group.clone(), kind.clone())).or_default();
            if !list.iter().any(|other| other.overlaps(one)) {
                list.push(Arc::clone(one));
            }
        }
        (all, refused)
    }

    fn add(&mut self, name: &str, one: &ResourceInterpreter) -> Result<(), InterpreterRefusal> {
        let target = &one.spec.target;
        let api = format!("{}/v1", target.group);
        if Kind::of(&api, &target.kind) != Kind::Other {
            return Err(InterpreterRefusal::BuiltIn(target.kind.clone()));
        }
        let made = Interpreter::read(name, &one.spec)?;
        let list = self.kinds.entry((target.group.clone(), target.kind.clone())).or_default();
        if let Some(other) = list.iter().find(|other| other.overlaps(&made)) {
            return Err(InterpreterRefusal::Taken(other.name.clone()));
        }
        list.push(Arc::new(made));
        Ok(())
    }

    fn of(&self, api_version: &str, kind: &str) -> Option<&Interpreter> {
        let (group, version) = api_version.split_once('/')?;
        let list = self.kinds.get(&(group.to_owned(), kind.to_owned()))?;
        list.iter().find(|one| one.serves(version)).map(AsRef::as_ref)
    }

    fn of_object(&self, object: &Value) -> Option<&Interpreter> {
        self.of(object["apiVersion"].as_str()?, object["kind"].as_str()?)
    }

    /// Why nothing may be done about a kind: it has an interpreter that cannot be read. To go on
    /// as if there were none would give every cluster the whole of what was divided.
    pub fn unreadable(&self, api_version: &str, kind: &str) -> Option<&InterpretError> {
        let (group, _) = api_version.split_once('/')?;
        self.unreadable.get(&(group.to_owned(), kind.to_owned()))
    }

    /// Name of the interpreter of a kind, if it has one.
    pub fn name(&self, api_version: &str, kind: &str) -> Option<&str> {
        self.of(api_version, kind).map(|one| one.name.as_str())
    }

    /// How the replicas of a kind are divided, unless a policy says otherwise.
    pub fn division(&self, api_version: &str, kind: &str) -> Division {
        match Kind::of(api_version, kind) {
            Kind::Deployment | Kind::ReplicaSet => Division::Divide,
            Kind::StatefulSet | Kind::Job | Kind::CronJob => Division::Whole,
            Kind::DaemonSet => Division::Every,
            Kind::Other => self.of(api_version, kind).map_or(Division::None, Interpreter::division),
            _ => Division::None,
        }
    }

    /// Places where a kind keeps its replicas: JSON pointers.
    pub fn replica_paths(&self, api_version: &str, kind: &str) -> Vec<&str> {
        if Kind::of(api_version, kind).has_replicas_field() {
            return vec!["/spec/replicas"];
        }
        self.of(api_version, kind).map(Interpreter::replica_paths).unwrap_or_default()
    }

    /// Fields that belong to the member once the object stands there: JSON pointers.
    pub fn retained(&self, api_version: &str, kind: &str) -> &[String] {
        // API servers refuse to change how often a Job has to succeed.
        static COMPLETIONS: LazyLock<[String; 1]> =
            LazyLock::new(|| ["/spec/completions".to_owned()]);
        if Kind::of(api_version, kind) == Kind::Job {
            return COMPLETIONS.as_slice();
        }
        self.of(api_version, kind).map_or(&[], |one| &one.retain)
    }

    /// Replicas that a template asks for; see [`crate::replicas`].
    ///
    /// # Errors
    /// [`InterpretError`] when the interpreter of its kind fails.
    pub fn replicas(&self, template: &Value) -> Result<Option<u32>, InterpretError> {
        match self.of_object(template) {
            Some(one) => one.replicas(template),
            None => Ok(needs::replicas(template)),
        }
    }

    /// The pods of a template.
    ///
    /// # Errors
    /// [`InterpretError`] when the interpreter of its kind fails.
    pub fn pods(&self, template: &Value) -> Result<Vec<PodSet>, InterpretError> {
        match self.of_object(template) {
            Some(one) => one.pods(template),
            None => Ok(needs::pod_template(template)
                .map(|pod| PodSet {
                    count: needs::replicas(template).unwrap_or(1),
                    template: pod.clone(),
                })
                .into_iter()
                .collect()),
        }
    }

    /// What one pod of a template needs. Of pods that differ: as much of each resource as the one
    /// that asks for most, so that what is said to fit does fit; node labels that all ask for;
    /// taints that all tolerate.
    ///
    /// # Errors
    /// [`InterpretError`] when the interpreter of its kind fails.
    pub fn pod_needs(&self, template: &Value) -> Result<PodNeeds, InterpretError> {
        let mut sets = self.pods(template)?.into_iter().filter(|set| set.count > 0);
        let Some(first) = sets.next() else {
            return Ok(PodNeeds::default());
        };
        Ok(sets.fold(first.needs(), |mut all, set| {
            let other = set.needs();
            for (name, amount) in other.requests {
                let most = all.requests.entry(name).or_default();
                *most = (*most).max(amount);
            }
            all.node_selector.retain(|key, value| other.node_selector.get(key) == Some(value));
            all.tolerations.retain(|toleration| other.tolerations.contains(toleration));
            all
        }))
    }

    /// Labels of the pods that a template makes, one map for each kind of pod.
    ///
    /// # Errors
    /// [`InterpretError`] when the interpreter of its kind fails.
    pub fn pod_labels(&self, template: &Value) -> Result<Vec<Labels>, InterpretError> {
        let sets = self.pods(template)?;
        Ok(sets.iter().map(|set| needs::labels(&set.template["metadata"]["labels"])).collect())
    }

    /// Whether a template mounts volumes whose data stays behind when it moves.
    ///
    /// # Errors
    /// [`InterpretError`] when the interpreter of its kind fails.
    pub fn holds_data(&self, template: &Value) -> Result<bool, InterpretError> {
        let sets = self.pods(template)?;
        Ok(needs::holds_data(template)
            || sets.iter().any(|set| needs::mounts_claims(&set.template)))
    }

    /// What a template names: by its pods, and by what its interpreter says.
    ///
    /// # Errors
    /// [`InterpretError`] when the interpreter of its kind fails.
    pub fn named_by(&self, template: &Value) -> Result<BTreeSet<Reference>, InterpretError> {
        let Some(one) = self.of_object(template) else {
            return Ok(companions::named_by(template));
        };
        let mut found = one.dependencies(template)?;
        for set in one.pods(template)? {
            found.extend(companions::named_by_pod(&set.template));
        }
        Ok(found)
    }

    /// The manifest of a cluster; see [`crate::manifest`].
    ///
    /// # Errors
    /// [`InterpretError`] when the interpreter of its kind fails.
    pub fn manifest(
        &self,
        stripped: &Value,
        share: Option<Share>,
        marks: Marks<'_>,
    ) -> Result<Manifest, InterpretError> {
        let mut object = stripped.clone();
        self.take_share(&mut object, share)?;
        Ok(manifest::marked(object, marks))
    }

    /// Gives an object its cluster's share of the replicas.
    pub(crate) fn take_share(
        &self,
        object: &mut Value,
        share: Option<Share>,
    ) -> Result<(), InterpretError> {
        match (share, self.of_object(object)) {
            (Some(share), Some(one)) => one.take_share(object, share),
            (Some(share), None) => {
                manifest::take_share(object, share);
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    /// Ready replicas of one copy.
    ///
    /// # Errors
    /// [`InterpretError`] when the interpreter of its kind fails.
    pub fn ready_replicas(
        &self,
        api_version: &str,
        kind: &str,
        status: &Value,
    ) -> Result<u32, InterpretError> {
        match self.of(api_version, kind) {
            Some(one) => one.ready(status),
            None => Ok(status::ready_replicas(Kind::of(api_version, kind), status)),
        }
    }

    /// Replicas of the newest revision of one copy.
    ///
    /// # Errors
    /// [`InterpretError`] when the interpreter of its kind fails.
    pub fn updated_replicas(
        &self,
        api_version: &str,
        kind: &str,
        status: &Value,
    ) -> Result<u32, InterpretError> {
        match self.of(api_version, kind) {
            Some(one) => one.updated(status),
            None => Ok(status::updated_replicas(Kind::of(api_version, kind), status)),
        }
    }

    /// Health of one copy.
    ///
    /// # Errors
    /// [`InterpretError`] when the interpreter of its kind fails.
    pub fn member_health(
        &self,
        api_version: &str,
        kind: &str,
        state: MemberState<'_>,
    ) -> Result<Health, InterpretError> {
        match self.of(api_version, kind) {
            Some(one) => one.health(state),
            None => Ok(status::member_health(Kind::of(api_version, kind), state)),
        }
    }

    /// Folds the members that count; see [`crate::fold`].
    ///
    /// # Errors
    /// [`InterpretError`] when the interpreter of its kind fails.
    pub fn fold(
        &self,
        template: Template<'_>,
        members: &[MemberState<'_>],
    ) -> Result<Folded, InterpretError> {
        match self.of_object(template.object) {
            Some(one) => one.fold(template, members),
            None => Ok(status::fold(template, members)),
        }
    }
}

/// Puts what a live object has at these places into the rendered one, so that applying it changes
/// nothing there: what the member took away stays away. A place that cannot be reached is left as
/// it is rendered.
pub fn retain(rendered: &mut Value, live: &Value, paths: &[String]) {
    for path in paths {
        // What it lies in may not be there: then there is nothing to keep either.
        match live.pointer(path) {
            Some(value) => drop(pointer::set(rendered, path, value.clone())),
            None => drop(pointer::remove(rendered, path)),
        }
    }
}

#[cfg(test)]
mod tests;
