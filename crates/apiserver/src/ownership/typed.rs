//! Values seen through their schema: which paths they have, how two of them differ, how one is
//! merged into another, and how paths are taken out.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::{Map, Value};

use super::fields::{FieldSet, Node, push_quoted};
use crate::schema::{ListKind, Schema, Shape};

/// How two values differ.
#[derive(Clone, Debug, Default)]
pub(crate) struct Difference {
    pub(crate) added: FieldSet,
    pub(crate) modified: FieldSet,
    pub(crate) removed: FieldSet,
}

impl Difference {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    fn set(&mut self, element: &str, below: Self) {
        for (mine, theirs) in [
            (&mut self.added, below.added),
            (&mut self.modified, below.modified),
            (&mut self.removed, below.removed),
        ] {
            if !theirs.is_empty() {
                mine.slot(element).below.extend(&theirs);
            }
        }
    }
}

/// The kind of place a schema gives to a value; `None` is a place without a schema.
enum Place<'a> {
    Leaf,
    Map,
    List(&'a Schema, &'a ListKind),
}

/// The paths of an object.
pub(crate) fn field_set(schema: &Schema, value: &Value) -> FieldSet {
    node(Some(schema), value).below
}

/// How `new` differs from `old`.
pub(crate) fn compare(schema: &Schema, old: &Value, new: &Value) -> Difference {
    let mut difference = Difference::default();
    below(Some(schema), old, new, &mut difference);
    difference
}

/// Merges `patch` into `live`; lists of items with keys are merged item by item.
pub(crate) fn merge(schema: Option<&Schema>, live: &mut Value, patch: &Value) {
    match (place(schema, live), place(schema, patch)) {
        (Place::Map, Place::Map) => {
            let (Some(live), Some(patch)) = (live.as_object_mut(), patch.as_object()) else {
                return;
            };
            for (key, value) in patch {
                match live.get_mut(key) {
                    Some(old) => merge(schema.and_then(|schema| schema.field(key)), old, value),
                    None => drop(live.insert(key.clone(), value.clone())),
                }
            }
        }
        (Place::List(items, kind), Place::List(..)) => {
            if live != patch {
                *live = Value::Array(merge_lists(items, kind, live.take(), patch));
            }
        }
        _ if live == patch => {}
        _ => *live = patch.clone(),
    }
}

/// `value` without the members of `set`.
pub(crate) fn remove(schema: Option<&Schema>, value: &Value, set: &FieldSet) -> Value {
    if set.is_empty() {
        return value.clone();
    }
    match place(schema, value) {
        Place::Leaf => value.clone(),
        Place::Map => {
            let entries = value.as_object().into_iter().flatten();
            let kept = entries.filter_map(|(key, value)| {
                let schema = schema.and_then(|schema| schema.field(key));
                let value = keep(schema, value, set.get(&named(key)))?;
                Some((key.clone(), value))
            });
            Value::Object(kept.collect())
        }
        Place::List(items, kind) => {
            let entries = value.as_array().into_iter().flatten();
            let kept = entries
                .filter_map(|item| keep(Some(items), item, set.get(&element(items, kind, item))));
            Value::Array(kept.collect())
        }
    }
}

/// An item that stands twice in a list whose items have keys.
pub(crate) fn duplicate(schema: Option<&Schema>, value: &Value) -> Option<String> {
    match place(schema, value) {
        Place::Leaf => None,
        Place::Map => value.as_object()?.iter().find_map(|(key, value)| {
            let found = duplicate(schema.and_then(|schema| schema.field(key)), value)?;
            Some(format!(".{key}{found}"))
        }),
        Place::List(items, kind) => {
            let mut seen = BTreeSet::new();
            value.as_array()?.iter().find_map(|item| {
                let key = element(items, kind, item);
                if let Some(found) = duplicate(Some(items), item) {
                    return Some(format!("[{key}]{found}"));
                }
                (!seen.insert(key.clone())).then(|| format!("[{key}]"))
            })
        }
    }
}

fn keep(schema: Option<&Schema>, value: &Value, node: Option<&Node>) -> Option<Value> {
    match node {
        None => Some(value.clone()),
        Some(node) if node.member => None,
        Some(node) => Some(remove(schema, value, &node.below)),
    }
}

fn place<'a>(schema: Option<&'a Schema>, value: &Value) -> Place<'a> {
    match (value, schema) {
        (Value::Object(_), Some(schema)) if schema.is_atomic_map() => Place::Leaf,
        (Value::Object(_), _) => Place::Map,
        (Value::Array(_), Some(schema)) => match (&schema.get().shape, &schema.list) {
            (Shape::List(_), ListKind::Atomic) => Place::Leaf,
            (Shape::List(items), kind) => Place::List(items, kind),
            _ => Place::Leaf,
        },
        _ => Place::Leaf,
    }
}

/// What a value contributes at its own path and below it.
fn node(schema: Option<&Schema>, value: &Value) -> Node {
    match place(schema, value) {
        Place::Leaf => Node::leaf(),
        Place::Map => {
            let mut set = FieldSet::default();
            for (key, value) in value.as_object().into_iter().flatten() {
                let mut child = node(schema.and_then(|schema| schema.field(key)), value);
                let empty = value.as_object().is_some_and(Map::is_empty);
                child.member |= value.is_null() || empty || !is_struct_field(schema, key);
                if !child.is_empty() {
                    set.put(named(key), child);
                }
            }
            let below = set;
            Node { member: false, below }
        }
        Place::List(items, kind) => {
            let mut set = FieldSet::default();
            for item in value.as_array().into_iter().flatten() {
                let mut child = node(Some(items), item);
                child.member = true;
                let slot = set.slot(&element(items, kind, item));
                slot.member = true;
                slot.below.extend(&child.below);
            }
            let below = set;
            Node { member: false, below }
        }
    }
}

fn below(schema: Option<&Schema>, old: &Value, new: &Value, difference: &mut Difference) {
    match (place(schema, old), place(schema, new)) {
        (Place::Map, Place::Map) => {
            let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
                return;
            };
            for (key, old, new) in both(old, new) {
                if old != new {
                    let field = schema.and_then(|schema| schema.field(key));
                    let own = !is_struct_field(schema, key);
                    step(field, old, new, own, &named(key), difference);
                }
            }
        }
        (Place::List(items, kind), Place::List(..)) => {
            let (old, new) = (by_element(items, kind, old), by_element(items, kind, new));
            let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let (old, new) = (old.get(key).copied(), new.get(key).copied());
                step(Some(items), old, new, true, key, difference);
            }
        }
        _ => {}
    }
}

/// Compares one field or item. `own` says whether its own path is a member beside what is below.
fn step(
    schema: Option<&Schema>,
    old: Option<&Value>,
    new: Option<&Value>,
    own: bool,
    element: &str,
    difference: &mut Difference,
) {
    let whole = |value: &Value| {
        let mut node = node(schema, value);
        let empty = value.as_object().is_some_and(Map::is_empty);
        node.member |= own || value.is_null() || empty;
        node
    };
    let name = element.strip_prefix("f:").unwrap_or_default();
    let put = |set: &mut FieldSet, node: Node| {
        if !node.is_empty() {
            set.put(element, node);
        }
    };
    match (old, new) {
        (Some(old), Some(new)) if old == new => {}
        (Some(old), Some(new)) => {
            let containers = !matches!(place(schema, old), Place::Leaf)
                && !matches!(place(schema, new), Place::Leaf)
                && old.is_object() == new.is_object();
            if containers {
                let mut inner = Difference::default();
                below(schema, old, new, &mut inner);
                difference.set(element, inner);
            } else {
                put(&mut difference.removed, whole(old).difference_from(&whole(new)));
                put(&mut difference.modified, whole(new));
            }
        }
        (None, Some(new)) => {
            let node = node_with_containers(schema, name, new, &is_by_value);
            put(&mut difference.added, node);
        }
        (Some(old), None) => {
            let node = node_with_containers(schema, name, old, &|_, _| false);
            put(&mut difference.removed, node);
        }
        (None, None) => {}
    }
}

/// The paths of a value that came or went as a whole: its containers count too, but for those
/// that are there in any case.
fn node_with_containers(
    schema: Option<&Schema>,
    name: &str,
    value: &Value,
    always: &dyn Fn(Option<&Schema>, &str) -> bool,
) -> Node {
    let mut set = FieldSet::default();
    let mut member = !always(schema, name);
    match place(schema, value) {
        Place::Leaf => {
            member |= !value.as_object().is_some_and(Map::is_empty);
        }
        Place::Map => {
            for (key, value) in value.as_object().into_iter().flatten() {
                let field = schema.and_then(|schema| schema.field(key));
                let child = node_with_containers(field, key, value, always);
                if !child.is_empty() {
                    set.put(named(key), child);
                }
            }
        }
        Place::List(items, kind) => {
            for item in value.as_array().into_iter().flatten() {
                // Nothing of an item is there before the item is.
                let child = node_with_containers(Some(items), "", item, &|_, _| false);
                let slot = set.slot(&element(items, kind, item));
                slot.member = true;
                slot.below.extend(&child.below);
            }
        }
    }
    let below = set;
    Node { member, below }
}

/// Structs that Go embeds by value, and lists that it writes even when empty: with any new object
/// of a built-in kind they are there before a client sets anything in them.
fn is_by_value(schema: Option<&Schema>, name: &str) -> bool {
    const NAMES: [&str; 13] = [
        "metadata",
        "podSelector",
        "spec",
        "status",
        "template",
        "jobTemplate",
        "strategy",
        "updateStrategy",
        "resources",
        "containers",
        "loadBalancer",
        "scaleTargetRef",
        "target",
    ];
    schema.is_some_and(|schema| !schema.custom) && NAMES.contains(&name)
}

impl Node {
    /// What is in this node and not in the other.
    fn difference_from(&self, other: &Self) -> Self {
        Self { member: self.member && !other.member, below: self.below.difference(&other.below) }
    }
}

fn by_element<'a>(items: &Schema, kind: &ListKind, list: &'a Value) -> BTreeMap<String, &'a Value> {
    let list = list.as_array().into_iter().flatten();
    list.map(|item| (element(items, kind, item), item)).collect()
}

/// Items only in `live` keep their place; shared and new ones come in the order of `patch`.
fn merge_lists(items: &Schema, kind: &ListKind, live: Value, patch: &Value) -> Vec<Value> {
    let Value::Array(live) = live else {
        return Vec::new();
    };
    let key = |item: &Value| element(items, kind, item);
    let mut live: Vec<(String, Option<Value>)> =
        live.into_iter().map(|item| (key(&item), Some(item))).collect();
    let patch: Vec<(String, &Value)> =
        patch.as_array().into_iter().flatten().map(|item| (key(item), item)).collect();
    let in_patch: BTreeSet<&str> = patch.iter().map(|(key, _)| key.as_str()).collect();
    let mut result = Vec::with_capacity(live.len() + patch.len());
    let mut next = 0;
    for (key, value) in &patch {
        // What stands here and is not in the patch stays before what the patch brings.
        while let Some((_, item)) =
            live.get_mut(next).filter(|(other, _)| !in_patch.contains(other.as_str()))
        {
            result.extend(item.take());
            next += 1;
        }
        if live.get(next).is_some_and(|(other, _)| other == key) {
            next += 1;
        }
        let old = live.iter_mut().find(|(other, _)| other == key).and_then(|(_, old)| old.take());
        result.push(match old {
            Some(mut old) => {
                merge(Some(items), &mut old, value);
                old
            }
            None => (*value).clone(),
        });
    }
    let rest = live.into_iter().skip(next);
    let rest = rest.filter(|(key, _)| !in_patch.contains(key.as_str()));
    result.extend(rest.filter_map(|(_, item)| item));
    result
}

/// The fields of two maps in order, each once.
fn both<'a>(
    old: &'a Map<String, Value>,
    new: &'a Map<String, Value>,
) -> impl Iterator<Item = (&'a str, Option<&'a Value>, Option<&'a Value>)> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let one = if order.is_le() { old.next() } else { None };
        let other = if order.is_ge() { new.next() } else { None };
        let (key, _) = one.or(other)?;
        Some((key.as_str(), one.map(|(_, value)| value), other.map(|(_, value)| value)))
    })
}

/// How a field is named in a path.
fn named(field: &str) -> Box<str> {
    let mut name = String::with_capacity(field.len() + 2);
    name.push_str("f:");
    name.push_str(field);
    name.into()
}

/// How the item of a list is named in a path.
fn element(items: &Schema, kind: &ListKind, item: &Value) -> String {
    let ListKind::Map(keys) = kind else {
        return format!("v:{item}");
    };
    let mut named: Vec<(&str, &Value)> = Vec::with_capacity(keys.len());
    for key in keys {
        let default = || items.field(key)?.default.as_deref();
        if let Some(value) = item.get(&**key).or_else(default) {
            named.push((key, value));
        }
    }
    named.sort_by_key(|(key, _)| *key);
    let mut text = String::with_capacity(48);
    text.push_str("k:{");
    for (index, (key, value)) in named.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        push_quoted(key, &mut text);
        text.push(':');
        match value {
            Value::String(value) => push_quoted(value, &mut text),
            value => text.push_str(&value.to_string()),
        }
    }
    text.push('}');
    text
}

fn is_struct_field(schema: Option<&Schema>, key: &str) -> bool {
    let Some(schema) = schema else { return false };
    match &schema.get().shape {
        Shape::Object { properties, .. } => properties.contains_key(key),
        _ => false,
    }
}
