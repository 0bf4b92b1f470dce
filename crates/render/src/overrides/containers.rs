//! Containers of an object, wherever its kind keeps them.

use hanse_api::{EnvOverride, ImageOverride, WordsOverride};
use serde_json::{Map, Value, json};

use super::OverrideCause;
use crate::{image::Image, pointer};

type Fault = (String, OverrideCause);
type Container = Map<String, Value>;

/// Lists of containers, by the names that pods have for them.
const LISTS: [&str; 2] = ["containers", "initContainers"];

/// Does something to each container of a name, or to all.
fn each(
    object: &mut Value,
    name: Option<&str>,
    mut act: impl FnMut(&mut Container) -> Result<(), (&'static str, OverrideCause)>,
) -> Result<(), Fault> {
    let mut names = Vec::new();
    let mut hit = false;
    visit(object, "", &mut |path, container| {
        let found = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if name.is_none_or(|name| name == found) {
            hit = true;
            act(container).map_err(|(field, cause)| (pointer::join(path, field), cause))?;
        }
        names.push(found);
        Ok(())
    })?;
    if hit {
        return Ok(());
    }
    let cause = match name {
        Some(name) if !names.is_empty() => {
            OverrideCause::NoContainer(name.to_owned(), names.join(", "))
        }
        _ => OverrideCause::NoContainers,
    };
    Err(("/spec".to_owned(), cause))
}

fn visit(
    value: &mut Value,
    path: &str,
    act: &mut dyn FnMut(&str, &mut Container) -> Result<(), Fault>,
) -> Result<(), Fault> {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                let below = pointer::join(path, key);
                match field {
                    Value::Array(items) if LISTS.contains(&key.as_str()) => {
                        for (at, item) in items.iter_mut().enumerate() {
                            if let Value::Object(container) = item {
                                act(&format!("{below}/{at}"), container)?;
                            }
                        }
                    }
                    field => visit(field, &below, act)?,
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                visit(item, &format!("{path}/{at}"), act)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Changes parts of images.
pub(super) fn image(object: &mut Value, wanted: &ImageOverride) -> Result<(), Fault> {
    each(object, wanted.container.as_deref(), |container| {
        let name = container.get("image").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() && wanted.repository.is_none() {
            return Err(("image", pointer::PointerError::Missing.into()));
        }
        let mut image = Image::parse(name);
        let part = |text: &String| (!text.is_empty()).then(|| text.clone());
        if let Some(registry) = &wanted.registry {
            image.registry = part(registry);
        }
        if let Some(repository) = &wanted.repository {
            image.repository.clone_from(repository);
        }
        if let Some(tag) = &wanted.tag {
            image.tag = part(tag);
            // A digest wins over a tag: left in place, it would make the new tag say nothing.
            image.digest = None;
        }
        if let Some(digest) = &wanted.digest {
            image.digest = part(digest);
            if wanted.tag.is_none() && image.digest.is_some() {
                image.tag = None;
            }
        }
        container.insert("image".to_owned(), json!(image.to_string()));
        Ok(())
    })
}

/// Changes a command or its arguments.
pub(super) fn words(object: &mut Value, field: &str, wanted: &WordsOverride) -> Result<(), Fault> {
    each(object, Some(&wanted.container), |container| {
        let words = if let Some(words) = &wanted.set {
            words.clone()
        } else {
            let all = container.get(field).and_then(Value::as_array).into_iter().flatten();
            let mut words: Vec<String> =
                all.filter_map(|word| Some(word.as_str()?.to_owned())).collect();
            words.retain(|word| !wanted.remove.contains(word));
            words.extend(wanted.append.iter().cloned());
            words
        };
        if words.is_empty() {
            container.remove(field);
        } else {
            container.insert(field.to_owned(), json!(words));
        }
        Ok(())
    })
}

/// Changes environment variables.
pub(super) fn env(object: &mut Value, wanted: &EnvOverride) -> Result<(), Fault> {
    each(object, Some(&wanted.container), |container| {
        let list = container.entry("env").or_insert_with(|| json!([]));
        let wrong = || ("env", OverrideCause::Pointer(pointer::PointerError::Index));
        let list = list.as_array_mut().ok_or_else(wrong)?;
        list.retain(|variable| !wanted.remove.iter().any(|name| variable["name"] == name.as_str()));
        for variable in &wanted.set {
            let made = json!({"name": variable.name, "value": variable.value});
            match list.iter_mut().find(|old| old["name"] == made["name"]) {
                Some(old) => *old = made,
                None => list.push(made),
            }
        }
        if list.is_empty() {
            container.remove("env");
        }
        Ok(())
    })
}
