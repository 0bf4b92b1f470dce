//! Sets of field paths in the form of `FieldsV1`.
//!
//! A path element is kept as its text: `f:name`, `k:{"name":"x"}`, `v:"x"` or `i:0`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of paths, as a tree.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct FieldSet(pub(super) BTreeMap<Box<str>, Node>);

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Node {
    /// The path that ends here is in the set.
    pub(super) member: bool,
    pub(super) below: FieldSet,
}

impl Node {
    pub(super) const fn leaf() -> Self {
        Self { member: true, below: FieldSet(BTreeMap::new()) }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl FieldSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a `fieldsV1` value; what is no such value is the empty set.
    pub(crate) fn from_value(value: &Value) -> Self {
        let entries = value.as_object().into_iter().flatten();
        Self(
            entries
                .filter(|(key, _)| key.as_str() != ".")
                .map(|(key, value)| {
                    let below = Self::from_value(value);
                    let member = below.is_empty() || value.get(".").is_some();
                    (key.as_str().into(), Node { member, below })
                })
                .collect(),
        )
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (key, node) in &self.0 {
            let mut value = node.below.to_value();
            if node.member && !node.below.is_empty() {
                value["."] = Value::Object(Map::new());
            }
            map.insert(key.to_string(), value);
        }
        Value::Object(map)
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut result = self.clone();
        for (key, node) in &other.0 {
            match result.0.get_mut(key) {
                Some(mine) => {
                    mine.member |= node.member;
                    mine.below = mine.below.union(&node.below);
                }
                None => {
                    result.0.insert(key.clone(), node.clone());
                }
            }
        }
        result
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && !theirs, Self::difference)
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && theirs, Self::intersection)
    }

    /// The set with every struct field on the way to a member.
    pub(crate) fn with_parents(&self) -> Self {
        Self(
            self.0
                .iter()
                .map(|(key, node)| {
                    let named = key.starts_with("f:") && !node.below.is_empty();
                    let member = node.member || named;
                    let below = node.below.with_parents();
                    (key.clone(), Node { member, below })
                })
                .collect(),
        )
    }

    /// The set without a path and what lies below it.
    pub(crate) fn without(mut self, path: &[&str]) -> Self {
        self.drop_path(path);
        self
    }

    /// Only what lies at or below one of the paths.
    pub(crate) fn only(&self, paths: &[&[&str]]) -> Self {
        let mut result = Self::default();
        for path in paths {
            result = result.union(&self.branch(path));
        }
        result
    }

    /// All members as people write paths: `.spec.containers[name="c"].image`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.walk("", &mut found);
        found
    }

    fn combine(
        &self,
        other: &Self,
        keep: impl Fn(bool, bool) -> bool,
        below: impl Fn(&Self, &Self) -> Self,
    ) -> Self {
        let nothing = Node::default();
        Self(
            self.0
                .iter()
                .map(|(key, mine)| {
                    let theirs = other.0.get(key).unwrap_or(&nothing);
                    let node = Node {
                        member: keep(mine.member, theirs.member),
                        below: below(&mine.below, &theirs.below),
                    };
                    (key.clone(), node)
                })
                .filter(|(_, node)| !node.is_empty())
                .collect(),
        )
    }

    fn drop_path(&mut self, path: &[&str]) {
        let [first, rest @ ..] = path else { return };
        if rest.is_empty() {
            self.0.remove(*first);
        } else if let Some(node) = self.0.get_mut(*first) {
            node.below.drop_path(rest);
            if node.is_empty() {
                self.0.remove(*first);
            }
        }
    }

    fn branch(&self, path: &[&str]) -> Self {
        let [first, rest @ ..] = path else {
            return self.clone();
        };
        let Some(node) = self.0.get(*first) else {
            return Self::default();
        };
        let node = if rest.is_empty() {
            node.clone()
        } else {
            Node { member: false, below: node.below.branch(rest) }
        };
        if node.is_empty() {
            return Self::default();
        }
        Self(BTreeMap::from([((*first).into(), node)]))
    }

    fn walk(&self, prefix: &str, found: &mut Vec<String>) {
        for (key, node) in &self.0 {
            let path = format!("{prefix}{}", readable(key));
            node.below.walk(&path, found);
            if node.member {
                found.push(path);
            }
        }
    }
}

fn readable(element: &str) -> String {
    let (kind, rest) = element.split_once(':').unwrap_or(("f", element));
    match kind {
        "f" => format!(".{rest}"),
        "v" => format!("[={rest}]"),
        "k" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
            let keys: Vec<String> =
                keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        _ => format!("[{rest}]"),
    }
}
