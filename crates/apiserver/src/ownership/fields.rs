//! Sets of field paths in the form of `FieldsV1`.
//!
//! A path element is kept as its text: `f:name`, `k:{"name":"x"}`, `v:"x"` or `i:0`.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

/// A set of paths, as a tree.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct FieldSet(Vec<(Box<str>, Node)>);

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Node {
    /// The path that ends here is in the set.
    pub(super) member: bool,
    pub(super) below: FieldSet,
}

/// Marks a member that has members below.
const SELF: &str = ".";

impl Node {
    pub(super) const fn leaf() -> Self {
        Self { member: true, below: FieldSet(Vec::new()) }
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
                .filter(|(key, _)| key.as_str() != SELF)
                .map(|(key, value)| {
                    let below = Self::from_value(value);
                    let member = below.is_empty() || value.get(SELF).is_some();
                    (key.as_str().into(), Node { member, below })
                })
                .collect(),
        )
    }

    /// Reads what [`Self::to_text`] wrote; anything else is the empty set.
    pub(crate) fn from_text(text: &str) -> Self {
        Reader { within: None }.read(text)
    }

    /// What a set in its written form has in common with this one. Only those branches are read.
    pub(crate) fn intersection_with_text(&self, text: &str) -> Self {
        if self.is_empty() {
            return Self::default();
        }
        Reader { within: Some(self) }.read(text)
    }

    /// The written form: `fieldsV1` as JSON.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(false, &mut text);
        text
    }

    fn write(&self, member: bool, text: &mut String) {
        text.push('{');
        if member && !self.is_empty() {
            text.push_str("\".\":{},");
        }
        for (index, (key, node)) in self.0.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            push_quoted(key, text);
            text.push(':');
            node.below.write(node.member, text);
        }
        text.push('}');
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.place(key).ok().map(|at| &self.0[at].1)
    }

    /// The node of an element, made when it is absent.
    pub(super) fn slot(&mut self, key: &str) -> &mut Node {
        let at = match self.place(key) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (key.into(), Node::default()));
                at
            }
        };
        &mut self.0[at].1
    }

    /// Puts the node of an element that has none.
    pub(super) fn put(&mut self, key: impl Into<Box<str>>, node: Node) {
        let key = key.into();
        match self.0.last() {
            // Most come in order.
            Some((last, _)) if *last >= key => {
                let at = self.place(&key).unwrap_or_else(|at| at);
                self.0.insert(at, (key, node));
            }
            _ => self.0.push((key, node)),
        }
    }

    fn place(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| (**other).cmp(key))
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut result = self.clone();
        result.extend(other);
        result
    }

    /// Takes in all members of another set.
    pub(crate) fn extend(&mut self, other: &Self) {
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        for (key, node) in &other.0 {
            match self.place(key) {
                Ok(at) => {
                    let mine = &mut self.0[at].1;
                    mine.member |= node.member;
                    mine.below.extend(&node.below);
                }
                Err(at) => self.0.insert(at, (key.clone(), node.clone())),
            }
        }
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        self.combine(other, |mine, theirs| mine && !theirs, Self::difference)
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && theirs, Self::intersection)
    }

    /// Whether all members are in the other set too.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|(key, node)| {
            other.get(key).is_some_and(|theirs| {
                (theirs.member || !node.member) && node.below.is_within(&theirs.below)
            })
        })
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
            result.extend(&self.branch(path));
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
                    let theirs = other.get(key).unwrap_or(&nothing);
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
        let Ok(at) = self.place(first) else { return };
        let node = &mut self.0[at].1;
        if rest.is_empty() {
            *node = Node::default();
        } else {
            node.below.drop_path(rest);
        }
        if node.is_empty() {
            self.0.remove(at);
        }
    }

    /// The branch below an element itself is not a member any more; what is below it stays.
    pub(super) fn forget(&mut self, key: &str) {
        let Ok(at) = self.place(key) else { return };
        self.0[at].1.member = false;
        if self.0[at].1.is_empty() {
            self.0.remove(at);
        }
    }

    fn branch(&self, path: &[&str]) -> Self {
        let [first, rest @ ..] = path else {
            return self.clone();
        };
        let Some(node) = self.get(first) else {
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
        Self(vec![((*first).into(), node)])
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

/// Reads the written form; `within` limits it to what that set has too.
#[derive(Clone, Copy)]
struct Reader<'a> {
    within: Option<&'a FieldSet>,
}

/// What a part of the written form says.
#[derive(Default)]
struct Read {
    set: FieldSet,
    /// It names itself.
    member: bool,
    /// It names nothing below itself.
    bare: bool,
}

impl Reader<'_> {
    fn read(self, text: &str) -> FieldSet {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        self.deserialize(&mut deserializer).unwrap_or_default().set
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Read;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Read, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set of fields")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Read, M::Error> {
        let mut read = Read { bare: true, ..Read::default() };
        while let Some(key) = map.next_key_seed(Key)? {
            if key == SELF {
                map.next_value::<IgnoredAny>()?;
                read.member = true;
                continue;
            }
            read.bare = false;
            let theirs = self.within.and_then(|set| set.get(&key));
            if self.within.is_some() && theirs.is_none() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let within = theirs.map(|node| &node.below);
            let below = map.next_value_seed(Reader { within })?;
            let member = (below.bare || below.member) && theirs.is_none_or(|node| node.member);
            let node = Node { member, below: below.set };
            if !node.is_empty() {
                read.set.put(key.into_owned(), node);
            }
        }
        Ok(read)
    }
}

/// A key, borrowed where it can be.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path element")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// A text as JSON writes it.
pub(super) fn push_quoted(text: &str, to: &mut String) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        to.push('"');
        to.push_str(text);
        to.push('"');
    } else {
        to.push_str(&Value::from(text).to_string());
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
