//! Strategic merge patch: lists of built-in kinds are merged by their keys, and directives in the
//! patch (`$patch`, `$retainKeys`, `$deleteFromPrimitiveList`, `$setElementOrder`) do the rest.

use serde_json::{Map, Value};

use crate::schema::Schema;

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// Merges `patch` into `target`.
pub(super) fn merge(schema: &Schema, target: &mut Value, patch: &Value) -> Result<(), String> {
    merge_maps(Some(schema), target, patch)
}

fn merge_maps(schema: Option<&Schema>, target: &mut Value, patch: &Value) -> Result<(), String> {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return Ok(());
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    match patch.get(DIRECTIVE).and_then(Value::as_str) {
        Some("replace") => {
            *target = without_directives(&Value::Object(patch.clone()));
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(format!("unknown patch directive {other:?}")),
    }
    let Some(map) = target.as_object_mut() else {
        return Ok(());
    };
    let before = map.clone();
    if let Some(keys) = patch.get(RETAIN).and_then(Value::as_array) {
        map.retain(|name, _| keys.iter().any(|key| key == name));
    }
    for (name, value) in patch {
        if let Some(field) = name.strip_prefix(DELETE_FROM) {
            let gone = value.as_array().cloned().unwrap_or_default();
            if let Some(list) = map.get_mut(field).and_then(Value::as_array_mut) {
                list.retain(|item| !gone.contains(item));
            }
        }
    }
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        if value.is_null() {
            map.remove(name);
            continue;
        }
        let field = schema.and_then(|schema| schema.field(name));
        if value.is_array() {
            let old = map.remove(name).unwrap_or(Value::Null);
            let merged = merge_lists(field, old, value)?;
            map.insert(name.clone(), merged);
        } else if value.is_object() {
            let slot = map.entry(name.clone()).or_insert(Value::Null);
            merge_maps(field, slot, value)?;
        } else {
            map.insert(name.clone(), value.clone());
        }
    }
    for (name, order) in patch {
        let (Some(field), Some(order)) = (name.strip_prefix(ORDER), order.as_array()) else {
            continue;
        };
        let key = strategy_key(schema.and_then(|schema| schema.field(field)));
        let before = before.get(field).and_then(Value::as_array);
        if let Some(list) = map.get_mut(field).and_then(Value::as_array_mut) {
            reorder(list, order, before.map_or(&[], Vec::as_slice), key);
        }
    }
    Ok(())
}

fn merge_lists(schema: Option<&Schema>, old: Value, patch: &Value) -> Result<Value, String> {
    let strategy = schema.and_then(|schema| schema.patch.as_deref());
    let (Some(strategy), Value::Array(mut list), Some(patch)) = (strategy, old, patch.as_array())
    else {
        return Ok(without_directives(patch));
    };
    let before = list.clone();
    if !strategy.merge {
        return Ok(without_directives(&Value::Array(patch.clone())));
    }
    let Some(key) = strategy.key.as_deref() else {
        for item in patch {
            if !list.contains(item) {
                list.push(item.clone());
            }
        }
        reorder(&mut list, patch, &before, None);
        return Ok(Value::Array(list));
    };
    let directive = |item: &Value, name: &str| item[DIRECTIVE] == name;
    if patch.iter().any(|item| directive(item, "replace")) {
        let rest: Vec<Value> = patch
            .iter()
            .filter(|item| !directive(item, "replace"))
            .map(without_directives)
            .collect();
        return Ok(Value::Array(rest));
    }
    let items = schema.and_then(Schema::items);
    for item in patch {
        let Some(id) = item.get(key) else {
            return Err(format!("map: {item} does not contain declared merge key: {key}"));
        };
        if directive(item, "delete") {
            list.retain(|one| one.get(key) != Some(id));
            continue;
        }
        match list.iter_mut().find(|one| one.get(key) == Some(id)) {
            Some(one) => merge_maps(items, one, item)?,
            None => list.push(without_directives(item)),
        }
    }
    reorder(&mut list, patch, &before, Some(key));
    Ok(Value::Array(list))
}

fn strategy_key(schema: Option<&Schema>) -> Option<&str> {
    schema?.patch.as_deref()?.key.as_deref()
}

/// Brings the items that `order` names into its order. The others keep the order they had, and
/// their place relative to those that were there `before`; new ones come first.
fn reorder(list: &mut Vec<Value>, order: &[Value], before: &[Value], key: Option<&str>) {
    let id = |item: &Value| match key {
        Some(key) => item.get(key).cloned().unwrap_or_default(),
        None => item.clone(),
    };
    let at = |list: &[Value], item: &Value| list.iter().position(|one| id(one) == id(item));
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        std::mem::take(list).into_iter().partition(|item| at(order, item).is_some());
    named.sort_by_key(|item| at(order, item));
    let mut others = others.into_iter().peekable();
    for item in named {
        if let Some(place) = at(before, &item) {
            while let Some(other) = others.next_if(|other| at(before, other) < Some(place)) {
                list.push(other);
            }
        }
        list.push(item);
    }
    list.extend(others);
}

/// A value of a patch as it is stored: directives are not content.
fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(name, value)| !name.starts_with('$') && !value.is_null())
                .map(|(name, value)| (name.clone(), without_directives(value)))
                .collect(),
        ),
        Value::Array(list) => Value::Array(
            list.iter()
                .filter(|item| item[DIRECTIVE] != "delete")
                .map(without_directives)
                .collect(),
        ),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
