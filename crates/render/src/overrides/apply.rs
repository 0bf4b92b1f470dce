//! One rule on one object, step by step; after each step the object is compared with what it was.

use hanse_api::{EntriesOverride, PatchOperation, PatchVerb};
use serde_json::{Map, Value, json};

use super::{Overridden, OverrideCause, OverrideError, PolicyName, Rule, containers, guard};
use crate::{
    cel::{Budget, Datum, Program},
    changes::changes,
    pointer,
};

/// Where in the policies this is.
pub(super) struct At<'a> {
    pub(super) policy: &'a PolicyName,
    pub(super) rule: usize,
    pub(super) replicas: &'a [&'a str],
}

/// A cause, and where in the object.
type Fault = (String, OverrideCause);

/// Applies one rule; tells what it changed. `cluster` comes with what its expressions may spend.
pub(super) fn rule(
    object: &mut Value,
    rule: &Rule,
    at: &At<'_>,
    (cluster, budget): (&Datum, &mut Budget),
    done: &mut Vec<Overridden>,
) -> Result<(), OverrideError> {
    let spec = &rule.spec;
    let mut step = Step { object, at, done };
    step.run("image", &spec.image, containers::image)?;
    step.run("command", &spec.command, |o, words| containers::words(o, "command", words))?;
    step.run("args", &spec.args, |object, words| containers::words(object, "args", words))?;
    step.run("env", &spec.env, containers::env)?;
    step.run("labels", spec.labels.as_slice(), |o, list| entries(o, "labels", list))?;
    let annotations = spec.annotations.as_slice();
    step.run("annotations", annotations, |object, list| entries(object, "annotations", list))?;
    step.run("jsonPatch", &spec.json_patch, |object, operation| {
        patch(object, operation).map_err(|cause| (operation.path.clone(), cause))
    })?;
    step.run("mergePatch", spec.merge_patch.as_slice(), |object, patch| {
        merge(object, patch);
        Ok(())
    })?;
    let computations: Vec<_> = spec.replace.iter().zip(&rule.replace).collect();
    step.run("replace", &computations, |object, (replace, program)| {
        computed(object, &replace.path, program.as_ref(), cluster, budget)
            .map_err(|cause| (replace.path.clone(), cause))
    })
}

struct Step<'a> {
    object: &'a mut Value,
    at: &'a At<'a>,
    done: &'a mut Vec<Overridden>,
}

impl Step<'_> {
    /// Does everything that one field of the rule says, then judges the object as it has become:
    /// once for a field, for objects may be large and lists long.
    fn run<T>(
        &mut self,
        field: &str,
        list: &[T],
        mut act: impl FnMut(&mut Value, &T) -> Result<(), Fault>,
    ) -> Result<(), OverrideError> {
        if list.is_empty() {
            return Ok(());
        }
        let before = self.object.clone();
        for (index, item) in list.iter().enumerate() {
            let done = act(self.object, item);
            // All manifests share the rules: what is said of containers is for those with some.
            if let Err((_, OverrideCause::NoContainers)) = &done
                && matches!(self.at.policy, PolicyName::Manifest(..))
            {
                continue;
            }
            done.map_err(|fault| self.error(format!("{field}[{index}]"), fault))?;
        }
        let changed = changes(&before, self.object);
        guard::check(&before, self.object, &changed, self.at)
            .map_err(|fault| self.error(field.to_owned(), fault))?;
        self.done.extend(changed.into_iter().map(|change| Overridden {
            policy: self.at.policy.clone(),
            rule: self.at.rule,
            field: field.to_owned(),
            change,
        }));
        Ok(())
    }

    fn error(&self, field: String, (path, cause): Fault) -> OverrideError {
        let At { policy, rule, .. } = self.at;
        OverrideError {
            policy: (*policy).clone(),
            rule: *rule,
            field,
            path,
            cause: Box::new(cause),
        }
    }
}

fn entries(object: &mut Value, field: &str, list: &EntriesOverride) -> Result<(), Fault> {
    let path = format!("/metadata/{field}");
    let lost = || (path.clone(), OverrideCause::Identity);
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut).ok_or_else(lost)?;
    let all = metadata.entry(field).or_insert_with(|| json!({}));
    let all = all.as_object_mut().ok_or_else(lost)?;
    for key in &list.remove {
        all.remove(key);
    }
    for (key, value) in &list.set {
        all.insert(key.clone(), json!(value));
    }
    if all.is_empty() {
        metadata.remove(field);
    }
    Ok(())
}

fn patch(object: &mut Value, operation: &PatchOperation) -> Result<(), OverrideCause> {
    let path = operation.path.as_str();
    let value = || operation.value.clone().ok_or(OverrideCause::NoValue);
    match operation.op {
        PatchVerb::Add => pointer::add(object, path, value()?)?,
        PatchVerb::Remove => {
            pointer::remove(object, path)?;
        }
        PatchVerb::Replace => {
            if object.pointer(path).is_none() {
                return Err(pointer::PointerError::Missing.into());
            }
            pointer::set(object, path, value()?)?;
        }
        PatchVerb::Test => {
            let wanted = value()?;
            let found = object.pointer(path).unwrap_or(&Value::Null);
            if *found != wanted {
                return Err(OverrideCause::Test(found.to_string().chars().take(64).collect()));
            }
        }
    }
    Ok(())
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(fields) = target {
        for (key, value) in patch {
            if value.is_null() {
                fields.remove(key);
            } else {
                merge(fields.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

fn computed(
    object: &mut Value,
    path: &str,
    program: Result<&Program, &crate::CelError>,
    cluster: &Datum,
    budget: &mut Budget,
) -> Result<(), OverrideCause> {
    let program = program.map_err(Clone::clone)?;
    let names = [("object", Datum::from_json(object)?), ("cluster", cluster.clone())];
    let value = program.evaluate(&names, budget)?.to_json()?;
    Ok(pointer::set(object, path, value)?)
}
