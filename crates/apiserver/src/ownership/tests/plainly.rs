//! The bookkeeping by the book: with each write all sets of all managers are read, computed and
//! written as a whole.

use serde_json::{Value, json};

use super::super::{
    fields::FieldSet,
    managers::{Rules, Writer},
    typed::{self, Difference},
};
use crate::schema::Schema;

/// Paths of these objects that nobody owns.
const UNOWNED: [&[&str]; 3] = [&["f:apiVersion"], &["f:kind"], &["f:metadata", "f:name"]];

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    manager: String,
    apply: bool,
    api_version: String,
    time: String,
    fields: FieldSet,
}

/// Writes another `spec`.
pub(super) fn update(schema: &Schema, old: &Value, spec: &Value, writer: Writer<'_>) -> Value {
    let mut entries = decode(old);
    let old = stripped(old);
    let mut new = old.clone();
    new["spec"] = spec.clone();
    let difference = typed::compare(schema, &old, &new);
    if !difference.is_empty() {
        book(&mut entries, &difference, writer);
    }
    encode(&mut new, entries);
    new
}

/// Applies; the error is the conflict in words.
pub(super) fn apply(
    schema: &Schema,
    live: Option<&Value>,
    patch: &Value,
    writer: Writer<'_>,
    rules: Rules<'_>,
) -> Result<Value, String> {
    let mut entries = live.map(decode).unwrap_or_default();
    let base = live.map_or_else(|| json!({}), stripped);
    if entries.is_empty() && live.is_some() {
        entries.push(Entry {
            manager: "before-first-apply".to_owned(),
            apply: false,
            api_version: writer.api_version.to_owned(),
            time: writer.now.to_owned(),
            fields: owned(typed::field_set(schema, &base)),
        });
    }
    let mine = owned(typed::field_set(schema, patch));
    let mut merged = base.clone();
    typed::merge(Some(schema), &mut merged, patch);
    let position = entries.iter().position(|entry| entry.apply && entry.manager == writer.manager);
    let last = position.map(|at| entries.remove(at));
    let fields = last.as_ref().map_or_else(FieldSet::default, |last| last.fields.clone());
    let merged = prune(schema, &merged, &fields, &mine, &entries);
    let difference = typed::compare(schema, &base, &merged);
    settle(&mut entries, &difference, writer, rules)?;
    let unchanged = difference.is_empty() && fields == mine;
    let time = match last {
        Some(last) if unchanged => last.time,
        _ => writer.now.to_owned(),
    };
    if !mine.is_empty() {
        entries.push(Entry {
            manager: writer.manager.to_owned(),
            apply: true,
            api_version: writer.api_version.to_owned(),
            time,
            fields: mine,
        });
    }
    let mut result = merged;
    encode(&mut result, entries);
    Ok(result)
}

fn prune(
    schema: &Schema,
    merged: &Value,
    last: &FieldSet,
    mine: &FieldSet,
    others: &[Entry],
) -> Value {
    let root = Some(schema);
    let all = typed::field_set(schema, merged).with_parents();
    let last = last.with_parents();
    let held =
        others.iter().fold(mine.clone(), |set, entry| set.union(&entry.fields)).with_parents();
    let without = typed::remove(root, merged, &last);
    let left = typed::field_set(schema, &without).with_parents();
    let unowned = all.difference(&left).difference(&held);
    let without = typed::remove(root, merged, &unowned);
    let left = typed::field_set(schema, &without).with_parents();
    let gone = all.difference(&left).intersection(&last);
    typed::remove(root, merged, &gone)
}

fn settle(
    entries: &mut Vec<Entry>,
    difference: &Difference,
    writer: Writer<'_>,
    rules: Rules<'_>,
) -> Result<(), String> {
    let changed = difference.modified.union(&difference.added);
    let others = entries.iter().filter(|entry| entry.manager != writer.manager || !entry.apply);
    let conflicts: Vec<(&Entry, Vec<String>)> = others
        .map(|entry| (entry, entry.fields.intersection(&changed).paths()))
        .filter(|(_, paths)| !paths.is_empty())
        .collect();
    if !conflicts.is_empty() && !rules.force {
        return Err(words(&conflicts));
    }
    let lost = changed.union(&difference.removed);
    for entry in entries.iter_mut() {
        entry.fields = entry.fields.difference(&lost);
    }
    entries.retain(|entry| !entry.fields.is_empty());
    Ok(())
}

fn words(conflicts: &[(&Entry, Vec<String>)]) -> String {
    let who = |entry: &Entry| {
        let manager = &entry.manager;
        if entry.apply {
            return format!("{manager:?}");
        }
        format!("{manager:?} using {} at {}", entry.api_version, entry.time)
    };
    let count: usize = conflicts.iter().map(|(_, paths)| paths.len()).sum();
    match conflicts {
        [(entry, paths)] if paths.len() == 1 => {
            format!("Apply failed with 1 conflict: conflict with {}: {}", who(entry), paths[0])
        }
        _ => {
            let lines = conflicts.iter().map(|(entry, paths)| {
                format!("conflicts with {}:\n- {}", who(entry), paths.join("\n- "))
            });
            let lines: Vec<String> = lines.collect();
            format!("Apply failed with {count} conflicts: {}", lines.join("\n"))
        }
    }
}

fn book(entries: &mut Vec<Entry>, difference: &Difference, writer: Writer<'_>) {
    let changed = owned(difference.added.union(&difference.modified));
    let lost = difference.removed.union(&difference.added).union(&difference.modified);
    let mut mine = None;
    for mut entry in std::mem::take(entries) {
        if !entry.apply && entry.manager == writer.manager {
            mine = Some(entry.fields.difference(&difference.removed).union(&changed));
        } else {
            entry.fields = entry.fields.difference(&lost);
            if !entry.fields.is_empty() {
                entries.push(entry);
            }
        }
    }
    let fields = mine.unwrap_or(changed);
    if !fields.is_empty() {
        entries.push(Entry {
            manager: writer.manager.to_owned(),
            apply: false,
            api_version: writer.api_version.to_owned(),
            time: writer.now.to_owned(),
            fields,
        });
    }
}

fn owned(set: FieldSet) -> FieldSet {
    UNOWNED.iter().fold(set, |set, path| set.without(path))
}

fn stripped(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.remove("managedFields");
    }
    object
}

fn decode(object: &Value) -> Vec<Entry> {
    let list = object["metadata"]["managedFields"].as_array();
    list.into_iter()
        .flatten()
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            Entry {
                manager: text("manager"),
                apply: entry["operation"] == "Apply",
                api_version: text("apiVersion"),
                time: text("time"),
                fields: FieldSet::from_value(&entry["fieldsV1"]),
            }
        })
        .collect()
}

fn encode(object: &mut Value, mut entries: Vec<Entry>) {
    entries.sort_by(|a, b| (!a.apply, &a.time, &a.manager).cmp(&(!b.apply, &b.time, &b.manager)));
    let list: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let fields: Value = serde_json::from_str(&entry.fields.to_text()).unwrap();
            json!({
                "manager": entry.manager,
                "operation": if entry.apply { "Apply" } else { "Update" },
                "apiVersion": entry.api_version,
                "time": entry.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": fields,
            })
        })
        .collect();
    if !list.is_empty() {
        object["metadata"]["managedFields"] = list.into();
    }
}
