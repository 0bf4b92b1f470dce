//! An object as a value: its content, and apart from it who owns which field. Half of an object's
//! JSON is about its owners; it is read and written as text, and most writes leave it as it is.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::ownership::managers::{Managers, Stored};

const METADATA: &str = "metadata";
const MANAGERS: &str = "managedFields";
const REVISION: &str = "resourceVersion";

/// An object, without `metadata.managedFields` in its value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tree {
    pub(crate) value: Value,
    pub(crate) managers: Managers,
}

/// JSON of an object that has no revision yet.
#[derive(Debug)]
pub(super) struct Draft {
    text: Vec<u8>,
    /// Where the revision goes; absent for what is no object.
    at: Option<usize>,
}

/// Takes the field managers out of an object.
pub(crate) fn take_managers(object: &mut Value) -> Option<Value> {
    object.get_mut(METADATA)?.as_object_mut()?.remove(MANAGERS)
}

impl Tree {
    /// Reads what [`Self::json`] wrote.
    pub(crate) fn parse(json: &[u8]) -> serde_json::Result<Self> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let (fields, managers) = Fields { whole: true }.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(Self { value: Value::Object(fields), managers })
    }

    /// The object with its managers where they belong.
    pub(crate) fn whole(&self) -> Value {
        let mut whole = self.value.clone();
        if !self.managers.is_empty()
            && let Some(meta) = whole.get_mut(METADATA).and_then(Value::as_object_mut)
        {
            meta.insert(MANAGERS.to_owned(), self.managers.to_value());
        }
        whole
    }

    /// The object as JSON.
    pub(crate) fn json(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(1024);
        self.write(&mut text, false);
        text
    }

    /// The same, but for the revision.
    pub(super) fn draft(&self) -> Draft {
        let mut text = Vec::with_capacity(1024);
        let at = self.write(&mut text, true);
        Draft { text, at }
    }

    /// Writes the object; where its revision goes if that is left open.
    fn write(&self, text: &mut Vec<u8>, open: bool) -> Option<usize> {
        let Some(fields) = self.value.as_object() else {
            push(text, &self.value);
            return None;
        };
        let mut at = None;
        text.push(b'{');
        for (index, (name, value)) in fields.iter().enumerate() {
            begin(text, index == 0, name);
            match value.as_object() {
                Some(meta) if name == METADATA => at = self.write_meta(text, meta, open),
                _ => push(text, value),
            }
        }
        text.push(b'}');
        at
    }

    fn write_meta(
        &self,
        text: &mut Vec<u8>,
        meta: &Map<String, Value>,
        open: bool,
    ) -> Option<usize> {
        let mut at = None;
        let mut first = true;
        // What is written here beside the fields, in the order of names.
        let managers = (!self.managers.is_empty()).then_some(MANAGERS);
        let mut more = managers.into_iter().chain(open.then_some(REVISION)).peekable();
        let mut write_more = |text: &mut Vec<u8>, name: &str, first: bool| {
            begin(text, first, name);
            if name == MANAGERS {
                text.extend_from_slice(self.managers.to_text().as_bytes());
            } else {
                text.push(b'"');
                at = Some(text.len());
                text.push(b'"');
            }
        };
        text.push(b'{');
        for (name, value) in meta.iter().filter(|(name, _)| !open || *name != REVISION) {
            while let Some(one) = more.next_if(|one| *one < name.as_str()) {
                write_more(text, one, first);
                first = false;
            }
            begin(text, first, name);
            push(text, value);
            first = false;
        }
        for one in more {
            write_more(text, one, first);
            first = false;
        }
        text.push(b'}');
        at
    }
}

impl From<Value> for Tree {
    fn from(mut value: Value) -> Self {
        let managers = take_managers(&mut value);
        let managers = managers.as_ref().map(Managers::from_value).unwrap_or_default();
        Self { value, managers }
    }
}

impl Draft {
    /// The object at this revision.
    pub(super) fn at(self, revision: u64) -> Vec<u8> {
        let Some(at) = self.at else {
            return self.text;
        };
        let revision = revision.to_string();
        let mut text = Vec::with_capacity(self.text.len() + revision.len());
        let (before, after) = self.text.split_at(at);
        text.extend_from_slice(before);
        text.extend_from_slice(revision.as_bytes());
        text.extend_from_slice(after);
        text
    }
}

fn begin(text: &mut Vec<u8>, first: bool, name: &str) {
    if !first {
        text.push(b',');
    }
    serde_json::to_writer(&mut *text, name).expect("a text serialises");
    text.push(b':');
}

fn push(text: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(text, value).expect("a value with text keys serialises");
}

/// Reads the fields of an object, or of its metadata, and keeps the managers apart.
struct Fields {
    whole: bool,
}

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = (Map<String, Value>, Managers);

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = (Map<String, Value>, Managers);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let (mut fields, mut managers) = (Map::new(), Managers::default());
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                METADATA if self.whole => {
                    let (meta, found) = map.next_value_seed(Self { whole: false })?;
                    managers = found;
                    fields.insert(name, Value::Object(meta));
                }
                MANAGERS if !self.whole => {
                    managers = Managers::from_stored(map.next_value::<Vec<Stored<'de>>>()?);
                }
                _ => drop(fields.insert(name, map.next_value()?)),
            }
        }
        Ok((fields, managers))
    }
}
