//! `metadata.managedFields`: what each manager owns, and what a write changes about it.

use std::{borrow::Cow, sync::Arc};

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    fields::{FieldSet, push_quoted},
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
/// The written form of the empty set.
const NOTHING: &str = "{}";

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

/// What each manager owns. Sets of fields stay in their written form until a write touches them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Managers(Vec<Arc<Entry>>);

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    manager: String,
    apply: bool,
    api_version: String,
    time: String,
    subresource: String,
    /// `fieldsV1` as [`FieldSet::to_text`] writes it, so that equal sets are equal texts.
    fields: Arc<str>,
}

/// An entry as it is stored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stored<'a> {
    #[serde(default)]
    manager: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    time: String,
    #[serde(default)]
    subresource: String,
    #[serde(borrow, default, rename = "fieldsV1")]
    fields: Option<&'a RawValue>,
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

/// Records a write that is no apply. `old` is `None` for a creation; `given` is what the writer said
/// about managers.
pub(crate) fn track(
    schema: &Schema,
    old: Option<(&Value, &Managers)>,
    new: &Value,
    given: Option<&Value>,
    writer: Writer<'_>,
) -> Managers {
    let given = given.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    // A list with one empty entry asks to forget all owners.
    if given.len() == 1 && given[0].as_object().is_some_and(serde_json::Map::is_empty) {
        return Managers::default();
    }
    let mut managers = match old {
        Some((_, managers)) if given.is_empty() => managers.clone(),
        _ => Managers(given.iter().map(|entry| Arc::new(Entry::from_value(entry))).collect()),
    };
    let nothing = json!({});
    let difference = typed::compare(schema, old.map_or(&nothing, |(old, _)| old), new);
    if !difference.is_empty() {
        update(&mut managers.0, &difference, writer);
    }
    managers.sorted()
}

/// Applies `patch` to `live` in the name of a manager.
pub(crate) fn apply(
    schema: &Schema,
    live: Option<(&Value, &Managers)>,
    patch: Cow<'_, Value>,
    writer: Writer<'_>,
    rules: Rules<'_>,
) -> Result<(Value, Managers), Failure> {
    if let Some(path) = typed::duplicate(Some(schema), &patch) {
        let text = format!("failed to create typed patch object: duplicate entries for key {path}");
        return Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", text, None));
    }
    let mine = claimed(schema, &patch, rules);
    let mine_text: Arc<str> = mine.to_text().into();
    let entry = |time: &str| Entry {
        manager: writer.manager.to_owned(),
        apply: true,
        api_version: writer.api_version.to_owned(),
        time: time.to_owned(),
        subresource: writer.subresource.to_owned(),
        fields: Arc::clone(&mine_text),
    };
    let Some((base, managers)) = live else {
        let own = (!mine.is_empty()).then(|| Arc::new(entry(writer.now)));
        return Ok((patch.into_owned(), Managers(own.into_iter().collect())));
    };
    let mut entries = managers.0.clone();
    if entries.is_empty() {
        entries.push(Arc::new(before_apply(schema, base, writer)));
    }
    let mut merged = base.clone();
    typed::merge(Some(schema), &mut merged, &patch);

    let position = entries.iter().position(|entry| {
        entry.apply && entry.manager == writer.manager && entry.subresource == writer.subresource
    });
    let last = position.map(|at| entries.remove(at));
    // Who gives nothing up takes nothing out.
    if let Some(last) = last.as_ref().filter(|last| last.fields != mine_text) {
        let last = FieldSet::from_text(&last.fields);
        if !last.is_within(&mine) {
            merged = prune(schema, &merged, &last, &mine, &entries);
        }
    }
    let difference = typed::compare(schema, base, &merged);
    settle(&mut entries, &difference, writer, rules)?;
    if !mine.is_empty() {
        entries.push(match last {
            // Nothing is new, not even the version: then the time stays too.
            Some(last) if difference.is_empty() && last.fields == mine_text => {
                Arc::new(entry(&last.time))
            }
            _ => Arc::new(entry(writer.now)),
        });
    }
    Ok((merged, Managers(entries).sorted()))
}

/// Who owns what was there before the first apply.
fn before_apply(schema: &Schema, base: &Value, writer: Writer<'_>) -> Entry {
    Entry {
        manager: BEFORE_APPLY.to_owned(),
        apply: false,
        api_version: writer.api_version.to_owned(),
        time: writer.now.to_owned(),
        subresource: String::new(),
        fields: owned(typed::field_set(schema, base)).to_text().into(),
    }
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
    others: &[Arc<Entry>],
) -> Value {
    let root = Some(schema);
    let all = typed::field_set(schema, merged).with_parents();
    let last = last.with_parents();
    let mut held = mine.clone();
    for entry in others {
        held.extend(&FieldSet::from_text(&entry.fields));
    }
    let held = held.with_parents();
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
    entries: &mut Vec<Arc<Entry>>,
    difference: &Difference,
    writer: Writer<'_>,
    rules: Rules<'_>,
) -> Result<(), Failure> {
    let changed = difference.modified.union(&difference.added);
    let conflicts: Vec<(String, FieldSet)> = entries
        .iter()
        .filter(|entry| entry.manager != writer.manager || !entry.apply)
        .map(|entry| {
            let taken = changed.intersection_with_text(&entry.fields);
            (entry, taken.difference(rules.tolerated))
        })
        .filter(|(_, set)| !set.is_empty())
        .map(|(entry, set)| (describe(entry), set))
        .collect();
    if !conflicts.is_empty() && !rules.force {
        return Err(conflict(&conflicts));
    }
    let mut lost = changed;
    lost.extend(&difference.removed);
    entries.retain_mut(|entry| lose(entry, &lost));
    Ok(())
}

/// Takes fields from a manager; false when it has none left.
fn lose(entry: &mut Arc<Entry>, lost: &FieldSet) -> bool {
    if !lost.intersection_with_text(&entry.fields).is_empty() {
        let left = FieldSet::from_text(&entry.fields).difference(lost);
        Arc::make_mut(entry).fields = left.to_text().into();
    }
    &*entry.fields != NOTHING
}

fn update(entries: &mut Vec<Arc<Entry>>, difference: &Difference, writer: Writer<'_>) {
    let mut lost = difference.added.union(&difference.modified);
    let changed = owned(lost.clone());
    lost.extend(&difference.removed);
    let is_mine = |entry: &Entry| {
        !entry.apply
            && entry.manager == writer.manager
            && entry.api_version == writer.api_version
            && entry.subresource == writer.subresource
    };
    let mut mine = None;
    for mut entry in std::mem::take(entries) {
        if is_mine(&entry) {
            mine = Some(entry);
        } else if lose(&mut entry, &lost) {
            entries.push(entry);
        }
    }
    let fields: Arc<str> = match mine {
        None => changed.to_text().into(),
        Some(mine) => {
            let removed = difference.removed.intersection_with_text(&mine.fields);
            if removed.is_empty() && changed.intersection_with_text(&mine.fields) == changed {
                Arc::clone(&mine.fields)
            } else {
                let mut kept = FieldSet::from_text(&mine.fields).difference(&removed);
                kept.extend(&changed);
                kept.to_text().into()
            }
        }
    };
    if &*fields != NOTHING {
        entries.push(Arc::new(Entry {
            manager: writer.manager.to_owned(),
            apply: false,
            api_version: writer.api_version.to_owned(),
            time: writer.now.to_owned(),
            subresource: writer.subresource.to_owned(),
            fields,
        }));
    }
    fold(entries);
}

/// Folds the oldest managers of updates into one when there are too many.
fn fold(entries: &mut Vec<Arc<Entry>>) {
    let updates = entries.iter().filter(|entry| !entry.apply).count();
    if updates <= MAX_UPDATE_MANAGERS {
        return;
    }
    entries.sort_by(|a, b| (a.apply, &a.time).cmp(&(b.apply, &b.time)));
    let mut oldest: Vec<Arc<Entry>> = entries.drain(..=updates - MAX_UPDATE_MANAGERS).collect();
    let Some(mut folded) = oldest.pop() else {
        return;
    };
    let mut fields = FieldSet::from_text(&folded.fields);
    for entry in oldest {
        fields.extend(&FieldSet::from_text(&entry.fields));
    }
    let entry = Arc::make_mut(&mut folded);
    entry.fields = fields.to_text().into();
    FOLDED.clone_into(&mut entry.manager);
    entry.subresource.clear();
    entries.push(folded);
}

fn owned(set: FieldSet) -> FieldSet {
    let mut set = UNOWNED.iter().fold(set, |set, path| set.without(path));
    set.forget("f:metadata");
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

impl Managers {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The list in `metadata.managedFields`.
    pub(crate) fn from_value(list: &Value) -> Self {
        let list = list.as_array().into_iter().flatten();
        Self(list.map(|entry| Arc::new(Entry::from_value(entry))).collect())
    }

    /// The same list as this server stored it.
    pub(crate) fn from_stored(list: Vec<Stored<'_>>) -> Self {
        Self(list.into_iter().map(|entry| Arc::new(entry.into())).collect())
    }

    pub(crate) fn to_value(&self) -> Value {
        serde_json::from_str(&self.to_text()).unwrap_or_default()
    }

    /// The list as JSON.
    pub(crate) fn to_text(&self) -> String {
        let size = self.0.iter().map(|entry| entry.fields.len() + 192).sum();
        let mut text = String::with_capacity(size);
        text.push('[');
        for (index, entry) in self.0.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            entry.write(&mut text);
        }
        text.push(']');
        text
    }

    fn sorted(mut self) -> Self {
        self.0.sort_by(|a, b| {
            (!a.apply, &a.time, &a.manager, &a.subresource).cmp(&(
                !b.apply,
                &b.time,
                &b.manager,
                &b.subresource,
            ))
        });
        self
    }
}

impl Entry {
    fn from_value(entry: &Value) -> Self {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        Self {
            manager: text("manager"),
            apply: entry["operation"] == "Apply",
            api_version: text("apiVersion"),
            time: text("time"),
            subresource: text("subresource"),
            fields: FieldSet::from_value(&entry["fieldsV1"]).to_text().into(),
        }
    }

    fn write(&self, text: &mut String) {
        text.push_str("{\"apiVersion\":");
        push_quoted(&self.api_version, text);
        text.push_str(",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":");
        text.push_str(&self.fields);
        text.push_str(",\"manager\":");
        push_quoted(&self.manager, text);
        text.push_str(",\"operation\":");
        text.push_str(if self.apply { "\"Apply\"" } else { "\"Update\"" });
        if !self.subresource.is_empty() {
            text.push_str(",\"subresource\":");
            push_quoted(&self.subresource, text);
        }
        text.push_str(",\"time\":");
        push_quoted(&self.time, text);
        text.push('}');
    }
}

impl From<Stored<'_>> for Entry {
    fn from(stored: Stored<'_>) -> Self {
        Self {
            manager: stored.manager,
            apply: stored.operation == "Apply",
            api_version: stored.api_version,
            time: stored.time,
            subresource: stored.subresource,
            fields: stored.fields.map_or(NOTHING, RawValue::get).into(),
        }
    }
}
