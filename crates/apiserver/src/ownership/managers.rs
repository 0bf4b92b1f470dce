//! `metadata.managedFields`: what each manager owns, and what a write changes about it.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    fields::FieldSet,
    typed::{self, Difference},
};
use crate::{failure::Failure, schema::Schema};

/// Paths that nobody owns.
const UNOWNED: &[&[&str]] = &[
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:deletionTimestamp"],
    &["f:metadata", "f:deletionGracePeriodSeconds"],
    &["f:metadata", "f:selfLink"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:clusterName"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:resourceVersion"],
];
/// More managers of updates than this are folded into one.
const MAX_UPDATE_MANAGERS: usize = 10;
const FOLDED: &str = "ancient-changes";
const BEFORE_APPLY: &str = "before-first-apply";

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) manager: &'a str,
    pub(crate) api_version: &'a str,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
    /// RFC 3339.
    pub(crate) now: &'a str,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    manager: String,
    apply: bool,
    api_version: String,
    time: String,
    subresource: String,
    fields: FieldSet,
}

/// What [`apply`] takes beside the writer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) force: bool,
    /// Paths that this endpoint does not write.
    pub(crate) reset: &'a [&'a [&'a str]],
    /// When not empty, the only paths that this endpoint writes.
    pub(crate) only: &'a [&'a [&'a str]],
    /// Paths that are taken over from others without force.
    pub(crate) tolerated: &'a FieldSet,
}

/// Records a write that is no apply. `old` is `None` for a creation.
pub(crate) fn track(schema: &Schema, old: Option<&Value>, new: &mut Value, writer: Writer<'_>) {
    let given = &new["metadata"]["managedFields"];
    // A list with one empty entry asks to forget all owners.
    let reset = given.as_array().is_some_and(|list| {
        list.len() == 1 && list[0].as_object().is_some_and(serde_json::Map::is_empty)
    });
    let mut entries = if reset {
        Vec::new()
    } else {
        match (old, given.as_array().map_or(0, Vec::len)) {
            (Some(old), 0) => decode(old),
            _ => decode(new),
        }
    };
    strip(new);
    let before = old.map(|old| {
        let mut old = old.clone();
        strip(&mut old);
        old
    });
    let nothing = json!({});
    let difference = typed::compare(schema, before.as_ref().unwrap_or(&nothing), new);
    if !reset && !difference.is_empty() {
        update(&mut entries, &difference, writer);
    }
    encode(new, entries);
}

/// Applies `patch` to `live` in the name of a manager.
pub(crate) fn apply(
    schema: &Schema,
    live: Option<&Value>,
    patch: &Value,
    writer: Writer<'_>,
    rules: Rules<'_>,
) -> Result<Value, Failure> {
    if let Some(path) = typed::duplicate(Some(schema), patch) {
        let text = format!("failed to create typed patch object: duplicate entries for key {path}");
        return Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", text, None));
    }
    let mut entries = live.map(decode).unwrap_or_default();
    let mut base = live.cloned().unwrap_or_else(|| json!({}));
    strip(&mut base);
    if entries.is_empty() && live.is_some() {
        entries.push(Entry {
            manager: BEFORE_APPLY.to_owned(),
            apply: false,
            api_version: writer.api_version.to_owned(),
            time: writer.now.to_owned(),
            subresource: String::new(),
            fields: owned(typed::field_set(schema, &base)),
        });
    }
    let mut patch = patch.clone();
    strip(&mut patch);
    let mine = claimed(schema, &patch, rules);
    let merged = typed::merge(Some(schema), &base, &patch);

    let position = entries.iter().position(|entry| {
        entry.apply && entry.manager == writer.manager && entry.subresource == writer.subresource
    });
    let (last, last_time) = match position {
        Some(at) => {
            let entry = entries.remove(at);
            (entry.fields, Some(entry.time))
        }
        None => (FieldSet::default(), None),
    };
    let merged = prune(schema, &merged, &last, &mine, &entries);
    let difference = typed::compare(schema, &base, &merged);
    settle(&mut entries, &difference, writer, rules)?;
    let unchanged = difference.is_empty() && last == mine;
    let time = match last_time {
        Some(time) if unchanged => time,
        _ => writer.now.to_owned(),
    };
    if !mine.is_empty() {
        entries.push(Entry {
            manager: writer.manager.to_owned(),
            apply: true,
            api_version: writer.api_version.to_owned(),
            time,
            subresource: writer.subresource.to_owned(),
            fields: mine,
        });
    }
    let mut result = merged;
    encode(&mut result, entries);
    Ok(result)
}

/// The paths of `before` that have the same value in `live`.
pub(crate) fn unchanged_since(schema: &Schema, before: &Value, live: &Value) -> FieldSet {
    let difference = typed::compare(schema, before, live);
    typed::field_set(schema, before)
        .difference(&difference.modified)
        .difference(&difference.removed)
}

/// What a patch claims on its endpoint.
fn claimed(schema: &Schema, patch: &Value, rules: Rules<'_>) -> FieldSet {
    let all = typed::field_set(schema, patch);
    let all = rules.reset.iter().fold(all, |set, path| set.without(path));
    if rules.only.is_empty() { owned(all) } else { owned(all.only(rules.only)) }
}

/// Takes out what the manager owned, gives up now, and nobody else owns.
fn prune(
    schema: &Schema,
    merged: &Value,
    last: &FieldSet,
    mine: &FieldSet,
    others: &[Entry],
) -> Value {
    if last.is_empty() {
        return merged.clone();
    }
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

/// Conflicts with other managers, and what they lose.
fn settle(
    entries: &mut Vec<Entry>,
    difference: &Difference,
    writer: Writer<'_>,
    rules: Rules<'_>,
) -> Result<(), Failure> {
    let changed = difference.modified.union(&difference.added);
    let conflicts: Vec<(String, FieldSet)> = entries
        .iter()
        .filter(|entry| entry.manager != writer.manager || !entry.apply)
        .map(|entry| {
            let taken = entry.fields.intersection(&changed);
            (describe(entry), taken.difference(rules.tolerated))
        })
        .filter(|(_, set)| !set.is_empty())
        .collect();
    if !conflicts.is_empty() && !rules.force {
        return Err(conflict(&conflicts));
    }
    let lost = changed.union(&difference.removed);
    for entry in entries.iter_mut() {
        entry.fields = entry.fields.difference(&lost);
    }
    entries.retain(|entry| !entry.fields.is_empty());
    Ok(())
}

fn update(entries: &mut Vec<Entry>, difference: &Difference, writer: Writer<'_>) {
    let changed = owned(difference.added.union(&difference.modified));
    let lost = difference.removed.union(&difference.added).union(&difference.modified);
    let is_mine = |entry: &Entry| {
        !entry.apply
            && entry.manager == writer.manager
            && entry.api_version == writer.api_version
            && entry.subresource == writer.subresource
    };
    let mut mine = None;
    for mut entry in std::mem::take(entries) {
        if is_mine(&entry) {
            let kept = entry.fields.difference(&difference.removed);
            mine = Some(kept.union(&changed));
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
            subresource: writer.subresource.to_owned(),
            fields,
        });
    }
    fold(entries);
}

/// Folds the oldest managers of updates into one when there are too many.
fn fold(entries: &mut Vec<Entry>) {
    let updates = entries.iter().filter(|entry| !entry.apply).count();
    if updates <= MAX_UPDATE_MANAGERS {
        return;
    }
    entries.sort_by(|a, b| (a.apply, &a.time).cmp(&(b.apply, &b.time)));
    let mut oldest: Vec<Entry> = entries.drain(..=updates - MAX_UPDATE_MANAGERS).collect();
    let Some(mut folded) = oldest.pop() else {
        return;
    };
    for entry in oldest {
        folded.fields = folded.fields.union(&entry.fields);
    }
    FOLDED.clone_into(&mut folded.manager);
    folded.subresource.clear();
    entries.push(folded);
}

fn owned(set: FieldSet) -> FieldSet {
    let mut set = UNOWNED.iter().fold(set, |set, path| set.without(path));
    if let Some(meta) = set.0.get_mut("f:metadata") {
        meta.member = false;
        if meta.is_empty() {
            set.0.remove("f:metadata");
        }
    }
    set
}

fn describe(entry: &Entry) -> String {
    let mut text = format!("{:?}", entry.manager);
    if !entry.subresource.is_empty() {
        text = format!("{text} with subresource {:?}", entry.subresource);
    }
    if !entry.apply {
        text = format!("{text} using {} at {}", entry.api_version, entry.time);
    }
    text
}

fn conflict(conflicts: &[(String, FieldSet)]) -> Failure {
    let mut causes = Vec::new();
    let mut lines = Vec::new();
    for (who, set) in conflicts {
        let paths = set.paths();
        for path in &paths {
            causes.push(json!({
                "reason": "FieldManagerConflict",
                "message": format!("conflict with {who}"),
                "field": path,
            }));
        }
        lines.push((who, paths));
    }
    let message = match lines.as_slice() {
        [(who, paths)] if paths.len() == 1 => {
            format!("Apply failed with 1 conflict: conflict with {who}: {}", paths[0])
        }
        _ => {
            let list: Vec<String> = lines
                .iter()
                .map(|(who, paths)| format!("conflicts with {who}:\n- {}", paths.join("\n- ")))
                .collect();
            format!("Apply failed with {} conflicts: {}", causes.len(), list.join("\n"))
        }
    };
    let details = json!({ "causes": causes });
    Failure::new(StatusCode::CONFLICT, "Conflict", message, Some(details))
}

fn strip(object: &mut Value) {
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
    }
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
                subresource: text("subresource"),
                fields: FieldSet::from_value(&entry["fieldsV1"]),
            }
        })
        .collect()
}

fn encode(object: &mut Value, mut entries: Vec<Entry>) {
    entries.sort_by(|a, b| {
        (!a.apply, &a.time, &a.manager, &a.subresource).cmp(&(
            !b.apply,
            &b.time,
            &b.manager,
            &b.subresource,
        ))
    });
    let list: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let mut value = json!({
                "manager": entry.manager,
                "operation": if entry.apply { "Apply" } else { "Update" },
                "apiVersion": entry.api_version,
                "time": entry.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": entry.fields.to_value(),
            });
            if !entry.subresource.is_empty() {
                value["subresource"] = entry.subresource.as_str().into();
            }
            value
        })
        .collect();
    if !list.is_empty() {
        object["metadata"]["managedFields"] = list.into();
    }
}
