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

/// Applies one rule; tells what it changed.
pub(super) fn rule(
    object: &mut Value,
    rule: &Rule,
    at: &At<'_>,
    cluster: &Datum,
    done: &mut Vec<Overridden>,
) -> Result<(), OverrideError> {
    let spec = &rule.spec;
    let mut step = Step { object, at, done };
    for (index, image) in spec.image.iter().enumerate() {
        step.run(format!("image[{index}]"), |object| containers::image(object, image))?;
    }
    for (field, list) in [("command", &spec.command), ("args", &spec.args)] {
        for (index, words) in list.iter().enumerate() {
            step.run(format!("{field}[{index}]"), |o| containers::words(o, field, words))?;
        }
    }
    for (index, env) in spec.env.iter().enumerate() {
        step.run(format!("env[{index}]"), |object| containers::env(object, env))?;
    }
    for (field, list) in [("labels", &spec.labels), ("annotations", &spec.annotations)] {
        if let Some(list) = list {
            step.run(field.to_owned(), |object| entries(object, field, list))?;
        }
    }
    for (index, operation) in spec.json_patch.iter().enumerate() {
        step.run(format!("jsonPatch[{index}]"), |object| {
            patch(object, operation).map_err(|cause| (operation.path.clone(), cause))
        })?;
    }
    if let Some(patch) = &spec.merge_patch {
        step.run("mergePatch".to_owned(), |object| {
            merge(object, patch);
            Ok(())
        })?;
    }
    for (index, (replace, program)) in spec.replace.iter().zip(&rule.replace).enumerate() {
        step.run(format!("replace[{index}]"), |object| {
            computed(object, &replace.path, program.as_ref(), cluster)
                .map_err(|cause| (replace.path.clone(), cause))
        })?;
    }
    Ok(())
}

struct Step<'a> {
    object: &'a mut Value,
    at: &'a At<'a>,
    done: &'a mut Vec<Overridden>,
}

impl Step<'_> {
    fn run(
        &mut self,
        field: String,
        act: impl FnOnce(&mut Value) -> Result<(), Fault>,
    ) -> Result<(), OverrideError> {
        let before = self.object.clone();
        let result = act(self.object).and_then(|()| {
            let changed = changes(&before, self.object);
            guard::check(&before, self.object, &changed, self.at)?;
            Ok(changed)
        });
        let At { policy, rule, .. } = self.at;
        match result {
            Ok(changed) => {
                self.done.extend(changed.into_iter().map(|change| Overridden {
                    policy: (*policy).clone(),
                    rule: *rule,
                    field: field.clone(),
                    change,
                }));
                Ok(())
            }
            Err((path, cause)) => Err(OverrideError {
                policy: (*policy).clone(),
                rule: *rule,
                field,
                path,
                cause: Box::new(cause),
            }),
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
) -> Result<(), OverrideCause> {
    let program = program.map_err(Clone::clone)?;
    let names = [("object", Datum::from_json(object)?), ("cluster", cluster.clone())];
    let value = program.evaluate(&names, Budget::OBJECT)?.to_json()?;
    Ok(pointer::set(object, path, value)?)
}
