//! One interpreter: its expressions, read once, and what they say of objects.

use std::collections::BTreeSet;

use hanse_api::{InterpretedPods, InterpretedReplicas, ResourceInterpreterSpec};
use serde_json::{Map, Value, json};

use super::{Division, InterpretCause, InterpretError, PodSet};
use crate::{
    CelError, Folded, Health, MemberState, PointerError, Reference, Share, Template,
    cel::{Budget, Datum, Program, mismatch},
    pointer,
    status::{observed_generation, observes},
};

/// A compiled ResourceInterpreter.
#[derive(Clone, Debug)]
pub(super) struct Interpreter {
    pub(super) name: String,
    pub(super) retain: Vec<String>,
    kind: String,
    versions: Vec<String>,
    replicas: Option<Replicas>,
    pods: Option<Pods>,
    ready: Option<Program>,
    updated: Option<Program>,
    health: Option<Program>,
    status: Option<Program>,
    dependencies: Option<Program>,
}

#[derive(Clone, Debug)]
enum Replicas {
    Path(String, u32),
    Cel(Program, Vec<(String, Program)>),
}

#[derive(Clone, Debug)]
enum Pods {
    Path(String),
    Cel(Program),
}

type Names = [(&'static str, Datum)];

impl Interpreter {
    /// Reads all expressions.
    pub(super) fn read(name: &str, spec: &ResourceInterpreterSpec) -> Result<Self, InterpretError> {
        let mut made = Self {
            name: name.to_owned(),
            kind: format!("{}/{}", spec.target.group, spec.target.kind),
            versions: spec.target.versions.clone(),
            retain: spec.retain.clone(),
            replicas: None,
            pods: None,
            ready: None,
            updated: None,
            health: None,
            status: None,
            dependencies: None,
        };
        let read = |field, source: &str, names: &[&'static str]| {
            Program::compile(source, names).map_err(|cause| made.error(field, source, cause))
        };
        let optional = |field, source: &Option<String>, names: &[&'static str]| {
            source.as_deref().map(|source| read(field, source, names)).transpose()
        };
        let ready = optional("ready", &spec.ready, &["status"])?;
        let updated = optional("updated", &spec.updated, &["status"])?;
        let health = optional("health", &spec.health, &["status", "assigned", "observed"])?;
        let names = ["object", "members", "observedGeneration"];
        let status = optional("status", &spec.status, &names)?;
        let dependencies = optional("dependencies", &spec.dependencies, &["object"])?;
        let replicas = match &spec.replicas {
            None => None,
            Some(InterpretedReplicas { path: Some(path), default, .. }) => {
                let default = u32::try_from(default.unwrap_or(1)).unwrap_or(0);
                Some(Replicas::Path(path.clone(), default))
            }
            Some(InterpretedReplicas { cel, revise, .. }) => {
                let count = read("replicas.cel", cel.as_deref().unwrap_or_default(), &["object"])?;
                let mut revisions = Vec::new();
                for revision in revise {
                    let names = ["object", "replicas", "total"];
                    let program = read("replicas.revise", &revision.cel, &names)?;
                    revisions.push((revision.path.clone(), program));
                }
                Some(Replicas::Cel(count, revisions))
            }
        };
        let pods = match &spec.pods {
            None => None,
            Some(InterpretedPods { path: Some(path), .. }) => Some(Pods::Path(path.clone())),
            Some(InterpretedPods { cel, .. }) => {
                Some(Pods::Cel(read("pods.cel", cel.as_deref().unwrap_or_default(), &["object"])?))
            }
        };
        made = Self { replicas, pods, ready, updated, health, status, dependencies, ..made };
        Ok(made)
    }

    /// Whether it explains a version.
    pub(super) fn serves(&self, version: &str) -> bool {
        self.versions.is_empty() || self.versions.iter().any(|one| one == version)
    }

    /// Whether both explain some version.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.versions.is_empty()
            || other.versions.is_empty()
            || self.versions.iter().any(|version| other.serves(version))
    }

    fn error(
        &self,
        field: &'static str,
        expression: &str,
        cause: impl Into<InterpretCause>,
    ) -> InterpretError {
        InterpretError {
            interpreter: self.name.clone(),
            kind: self.kind.clone(),
            field,
            expression: expression.chars().take(128).collect(),
            cause: Box::new(cause.into()),
        }
    }

    /// The value of an expression, taken as a type.
    fn value<T>(
        &self,
        field: &'static str,
        program: &Program,
        names: &Names,
        mut budget: Budget,
        take: impl FnOnce(Datum) -> Result<T, CelError>,
    ) -> Result<T, InterpretError> {
        let value = program.evaluate(names, &mut budget).and_then(take);
        value.map_err(|cause| self.error(field, program.source(), cause))
    }

    fn object(&self, object: &Value) -> Result<Datum, InterpretError> {
        Datum::from_json(object).map_err(|cause| self.error("target", "object", cause))
    }

    pub(super) fn division(&self) -> Division {
        match (&self.replicas, &self.pods) {
            (Some(Replicas::Path(..)), _) => Division::Divide,
            (Some(Replicas::Cel(_, revise)), _) if !revise.is_empty() => Division::Divide,
            (Some(Replicas::Cel(..)), _) => Division::Whole,
            (None, Some(_)) => Division::Every,
            (None, None) => Division::None,
        }
    }

    pub(super) fn replica_paths(&self) -> Vec<&str> {
        match &self.replicas {
            Some(Replicas::Path(path, _)) => vec![path],
            Some(Replicas::Cel(_, revise)) => {
                revise.iter().map(|(path, _)| path.as_str()).collect()
            }
            None => Vec::new(),
        }
    }

    pub(super) fn replicas(&self, object: &Value) -> Result<Option<u32>, InterpretError> {
        match &self.replicas {
            None => Ok(None),
            Some(Replicas::Path(path, default)) => match object.pointer(path) {
                None | Some(Value::Null) => Ok(Some(*default)),
                Some(value) => {
                    let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
                    let wrong = || CelError::Result {
                        wanted: "a count from 0 to 4294967295",
                        found: value.to_string().chars().take(64).collect(),
                    };
                    count.map(Some).ok_or_else(|| self.error("replicas.path", path, wrong()))
                }
            },
            Some(Replicas::Cel(program, _)) => {
                let names = [("object", self.object(object)?)];
                self.value("replicas.cel", program, &names, Budget::OBJECT, count).map(Some)
            }
        }
    }

    pub(super) fn pods(&self, object: &Value) -> Result<Vec<PodSet>, InterpretError> {
        match &self.pods {
            None => Ok(Vec::new()),
            Some(Pods::Path(path)) => {
                let count = self.replicas(object)?.unwrap_or(1);
                let template = object.pointer(path).filter(|template| template.is_object());
                let set = template.map(|template| PodSet { count, template: template.clone() });
                Ok(set.into_iter().collect())
            }
            Some(Pods::Cel(program)) => {
                let names = [("object", self.object(object)?)];
                self.value("pods.cel", program, &names, Budget::OBJECT, |value| pod_sets(&value))
            }
        }
    }

    pub(super) fn dependencies(
        &self,
        object: &Value,
    ) -> Result<BTreeSet<Reference>, InterpretError> {
        let Some(program) = &self.dependencies else {
            return Ok(BTreeSet::new());
        };
        let names = [("object", self.object(object)?)];
        self.value("dependencies", program, &names, Budget::OBJECT, |value| references(&value))
    }

    pub(super) fn take_share(
        &self,
        object: &mut Value,
        share: Share,
    ) -> Result<(), InterpretError> {
        let at = |path: &str, cause: PointerError| self.error("replicas.path", path, cause);
        match &self.replicas {
            Some(Replicas::Path(path, _)) => {
                pointer::set(object, path, json!(share.own)).map_err(|cause| at(path, cause))
            }
            Some(Replicas::Cel(_, revise)) if !revise.is_empty() => {
                let names = [
                    ("object", self.object(object)?),
                    ("replicas", Datum::count(share.own.into())),
                    ("total", Datum::count(share.total.into())),
                ];
                for (path, program) in revise {
                    let json = |value: Datum| value.to_json();
                    let value =
                        self.value("replicas.revise", program, &names, Budget::OBJECT, json)?;
                    pointer::set(object, path, value).map_err(|cause| at(path, cause))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn ready(&self, status: &Value) -> Result<u32, InterpretError> {
        self.ready_of(&self.status_of(status)?)
    }

    pub(super) fn updated(&self, status: &Value) -> Result<u32, InterpretError> {
        self.updated_of(&self.status_of(status)?)
    }

    fn ready_of(&self, status: &Datum) -> Result<u32, InterpretError> {
        self.counted("ready", self.ready.as_ref(), "readyReplicas", status)
    }

    fn updated_of(&self, status: &Datum) -> Result<u32, InterpretError> {
        self.counted("updated", self.updated.as_ref(), "updatedReplicas", status)
    }

    fn counted(
        &self,
        field: &'static str,
        program: Option<&Program>,
        otherwise: &str,
        status: &Datum,
    ) -> Result<u32, InterpretError> {
        match (program, status) {
            (Some(program), status) => {
                let names = [("status", status.clone())];
                self.value(field, program, &names, Budget::OBJECT, count)
            }
            (None, Datum::Map(fields)) => match fields.get(otherwise) {
                Some(Datum::Int(count)) => Ok(u32::try_from(*count).unwrap_or(0)),
                _ => Ok(0),
            },
            (None, _) => Ok(0),
        }
    }

    /// A status that is not there yet is one without fields.
    fn status_of(&self, status: &Value) -> Result<Datum, InterpretError> {
        if status.is_null() { Ok(Datum::map([])) } else { self.object(status) }
    }

    pub(super) fn health(&self, state: MemberState<'_>) -> Result<Health, InterpretError> {
        self.health_of(state, &self.status_of(state.status)?)
    }

    fn health_of(&self, state: MemberState<'_>, status: &Datum) -> Result<Health, InterpretError> {
        let observed = observes(&state);
        let Some(program) = &self.health else {
            let enough = self.replicas.is_none() || self.ready_of(status)? >= state.assigned;
            return Ok(if observed && enough { Health::Healthy } else { Health::Progressing });
        };
        let names = [
            ("status", status.clone()),
            ("assigned", Datum::count(state.assigned.into())),
            ("observed", Datum::Bool(observed)),
        ];
        self.value("health", program, &names, Budget::OBJECT, |value| match &value {
            Datum::Text(text) if &**text == "Healthy" => Ok(Health::Healthy),
            Datum::Text(text) if &**text == "Progressing" => Ok(Health::Progressing),
            Datum::Text(text) if &**text == "Unhealthy" => Ok(Health::Unhealthy),
            other => Err(mismatch("\"Healthy\", \"Progressing\" or \"Unhealthy\"", other)),
        })
    }

    pub(super) fn fold(
        &self,
        template: Template<'_>,
        members: &[MemberState<'_>],
    ) -> Result<Folded, InterpretError> {
        let (mut ready, mut updated, mut assigned) = (0_u64, 0_u64, 0_u64);
        let mut healthy = true;
        let mut list = Vec::with_capacity(members.len());
        for member in members {
            let (status, observed) = (self.status_of(member.status)?, observes(member));
            ready += u64::from(self.ready_of(&status)?);
            assigned += u64::from(member.assigned);
            if observed {
                updated += u64::from(self.updated_of(&status)?);
            }
            healthy = healthy && self.health_of(*member, &status)? == Health::Healthy;
            list.push(Datum::map([
                ("status", status),
                ("assigned", Datum::count(member.assigned.into())),
                ("observed", Datum::Bool(observed)),
            ]));
        }
        let counted = self.replicas.is_some();
        let enough = if counted { ready >= assigned } else { healthy };
        Ok(Folded {
            status: self.folded(template, members, list)?,
            ready,
            updated,
            available: template.decided && !members.is_empty() && enough,
            finished: false,
        })
    }

    fn folded(
        &self,
        template: Template<'_>,
        members: &[MemberState<'_>],
        list: Vec<Datum>,
    ) -> Result<Option<Value>, InterpretError> {
        let Some(program) = &self.status else {
            return Ok(None);
        };
        let names = [
            ("object", self.object(template.object)?),
            ("members", Datum::list(list)),
            ("observedGeneration", Datum::Int(observed_generation(template, members, observes))),
        ];
        let take = |value: Datum| match value {
            Datum::Map(_) => value.to_json(),
            other => Err(mismatch("a map", &other)),
        };
        self.value("status", program, &names, Budget::FLEET, take).map(Some)
    }
}

fn count(value: Datum) -> Result<u32, CelError> {
    match value {
        Datum::Int(count) => {
            u32::try_from(count).map_err(|_| mismatch("a count from 0 to 4294967295", &value))
        }
        other => Err(mismatch("a whole number", &other)),
    }
}

fn pod_sets(value: &Datum) -> Result<Vec<PodSet>, CelError> {
    let wrong = |found: &Datum| mismatch("a list of {template, count}", found);
    let Datum::List(items) = value else {
        return Err(wrong(value));
    };
    let mut sets = Vec::with_capacity(items.len());
    for item in items.iter() {
        let Datum::Map(fields) = item else {
            return Err(wrong(item));
        };
        match (fields.get("template"), fields.get("count")) {
            (Some(template @ Datum::Map(_)), Some(number)) => {
                sets.push(PodSet { count: count(number.clone())?, template: template.to_json()? });
            }
            _ => return Err(wrong(item)),
        }
    }
    Ok(sets)
}

fn references(value: &Datum) -> Result<BTreeSet<Reference>, CelError> {
    let wrong = |found: &Datum| mismatch("a list of {apiVersion, kind, name}", found);
    let Value::Array(items) = value.to_json()? else {
        return Err(wrong(value));
    };
    let reference = |fields: &Map<String, Value>| {
        let text = |name: &str| Some(fields.get(name)?.as_str()?.to_owned());
        Some(Reference {
            api_version: text("apiVersion")?,
            kind: text("kind")?,
            name: text("name").filter(|name| !name.is_empty())?,
        })
    };
    let read = |item: &Value| item.as_object().and_then(reference).ok_or_else(|| wrong(value));
    items.iter().map(read).collect()
}
