//! One stored object: its JSON, and the few things that are asked without parsing it.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use serde_json::Value;

use super::tree::{Draft, Tree};
use crate::{
    catalog::Kind,
    schema::{Scalar, Shape},
};

/// An object as it is stored and sent.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) revision: u64,
    /// Bytes of its JSON.
    pub(super) length: usize,
    labels: Box<[(Box<str>, Box<str>)]>,
    /// In the order of the kind's selectable fields.
    fields: Box<[Box<str>]>,
    pub(crate) uid: u128,
    pub(crate) owners: Box<[u128]>,
    /// Has a deletion timestamp.
    pub(crate) deleting: bool,
    body: Mutex<Body>,
}

/// What an object says.
#[derive(Debug)]
struct Body {
    text: Text,
    /// The object as a value, for as long as that is likely to be asked for.
    tree: Option<Arc<Tree>>,
}

/// The JSON of an object.
#[derive(Clone, Debug)]
enum Text {
    Plain(Bytes),
    /// By LZ4: a third of it, and read again in some microseconds.
    Packed(Bytes),
}

impl Text {
    fn json(self) -> Bytes {
        match self {
            Self::Plain(json) => json,
            Self::Packed(bytes) => {
                let json = lz4_flex::decompress_size_prepended(&bytes);
                json.expect("what was packed can be read").into()
            }
        }
    }

    /// In as few bytes as it can be kept.
    fn packed(self) -> Self {
        match self {
            Self::Plain(json) => {
                let packed = lz4_flex::compress_prepend_size(&json).into_boxed_slice();
                Self::Packed(packed.into())
            }
            packed @ Self::Packed(_) => packed,
        }
    }

    const fn length(&self) -> usize {
        match self {
            Self::Plain(bytes) | Self::Packed(bytes) => bytes.len(),
        }
    }
}

impl Object {
    /// An object that waits for its place among the revisions.
    pub(super) fn draft(kind: &Kind, tree: &Tree) -> (Self, Draft) {
        (Self::digest(Some(kind), 0, Bytes::new(), &tree.value), tree.draft())
    }

    /// The same at its revision.
    pub(super) fn settle(self, revision: u64, draft: Draft) -> Self {
        let json: Bytes = draft.at(revision).into();
        let length = json.len();
        let body = Mutex::new(Body { text: Text::Plain(json), tree: None });
        Self { revision, length, body, ..self }
    }

    /// An object from disk; its kind may be gone.
    pub(crate) fn load(kind: Option<&Kind>, revision: u64, json: Bytes) -> Self {
        let value = serde_json::from_slice(&json).unwrap_or_default();
        let object = Self::digest(kind, revision, json, &value);
        object.pack();
        object
    }

    /// The object as it is sent.
    pub(crate) fn json(&self) -> Bytes {
        let text = self.body().text.clone();
        text.json()
    }

    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.json()).expect("stored objects are JSON")
    }

    /// The object as a value to compute a write from.
    pub(crate) fn tree(&self) -> Arc<Tree> {
        let warm = self.body().tree.clone();
        warm.unwrap_or_else(|| {
            Arc::new(Tree::parse(&self.json()).expect("stored objects are JSON objects"))
        })
    }

    /// Bytes that its JSON takes now.
    pub(super) fn size(&self) -> usize {
        self.body().text.length()
    }

    pub(super) fn warm(&self, tree: Tree) {
        self.body().tree = Some(Arc::new(tree));
    }

    /// Another state has taken its place.
    pub(super) fn replaced(&self) {
        let tree = self.body().tree.take();
        drop(tree);
    }

    /// It is not likely to be asked for soon.
    pub(super) fn cool(&self) {
        let tree = self.body().tree.take();
        // What was replaced meanwhile is about to go.
        if tree.is_some() {
            self.pack();
        }
    }

    fn pack(&self) {
        let text = self.body().text.clone();
        let packed = text.packed();
        self.body().text = packed;
    }

    fn body(&self) -> MutexGuard<'_, Body> {
        self.body.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(name, _)| &**name == key);
        found.map(|(_, value)| &**value)
    }

    pub(crate) fn field(&self, index: usize) -> &str {
        self.fields.get(index).map_or("", |value| value)
    }

    fn digest(kind: Option<&Kind>, revision: u64, json: Bytes, value: &Value) -> Self {
        let meta = &value["metadata"];
        let labels = meta["labels"].as_object().into_iter().flatten();
        let owners = meta["ownerReferences"].as_array().into_iter().flatten();
        Self {
            revision,
            length: json.len(),
            labels: labels
                .filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into())))
                .collect(),
            fields: kind.map_or_else(Box::default, |kind| {
                let paths = kind.fields.iter();
                paths.map(|path| field(kind, path, value)).collect()
            }),
            uid: meta["uid"].as_str().map_or(0, uid_number),
            owners: owners.filter_map(|owner| owner["uid"].as_str().map(uid_number)).collect(),
            deleting: meta["deletionTimestamp"].is_string(),
            body: Mutex::new(Body { text: Text::Plain(json), tree: None }),
        }
    }
}

/// A uid as a number; texts that are no UUID are hashed (FNV-1a).
pub(crate) fn uid_number(uid: &str) -> u128 {
    let hex: String = uid.chars().filter(|c| *c != '-').collect();
    if hex.len() == 32
        && let Ok(number) = u128::from_str_radix(&hex, 16)
    {
        return number;
    }
    uid.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

fn field(kind: &Kind, path: &str, value: &Value) -> Box<str> {
    if path == "source" {
        let component = value["source"]["component"].as_str();
        let component = component.or_else(|| value["reportingComponent"].as_str());
        return component.unwrap_or_default().into();
    }
    // The selector is older than the field's name.
    let path = if path == "status.successful" { "status.succeeded" } else { path };
    let names: Vec<&str> = path.split('.').collect();
    match names.iter().fold(value, |value, name| &value[*name]) {
        Value::String(text) => text.as_str().into(),
        Value::Null => {
            let schema = kind.schema().at(&names).map(crate::schema::Schema::get);
            match schema.map(|schema| &schema.shape) {
                Some(Shape::Scalar(Scalar::Boolean)) => "false".into(),
                Some(Shape::Scalar(Scalar::Integer)) => "0".into(),
                _ => "".into(),
            }
        }
        other => other.to_string().into(),
    }
}
