//! A value of an expression. Whole numbers are signed: what is written `3` in an object equals `3`
//! in an expression.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Number, Value};

use super::CelError;

/// Values that an expression may be given.
const INPUT_VALUES: usize = 400_000;
/// Values inside values in a result: a decoder of JSON takes no more than 128.
const OUTPUT_DEPTH: usize = 64;
/// Bytes of text that a result may have.
const OUTPUT_BYTES: usize = 4 << 20;
/// Bytes that a value takes beside its text.
pub(super) const VALUE_BYTES: usize = 32;

/// A value; copies are cheap.
#[derive(Clone, Debug)]
pub(crate) enum Datum {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Arc<str>),
    List(Arc<Vec<Self>>),
    Map(Arc<BTreeMap<Arc<str>, Self>>),
    Optional(Option<Arc<Self>>),
}

impl Datum {
    /// A JSON value.
    pub(crate) fn from_json(value: &Value) -> Result<Self, CelError> {
        let mut left = INPUT_VALUES;
        read(value, &mut left)
    }

    /// A text.
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// A list.
    pub(crate) fn list(items: Vec<Self>) -> Self {
        Self::List(Arc::new(items))
    }

    /// A map.
    pub(crate) fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (Arc::from(key), value));
        Self::Map(Arc::new(entries.collect()))
    }

    /// A whole number.
    pub(crate) fn count(count: u64) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// As JSON; an optional without a value is null. A value may hold another many times over, so
    /// that it is larger than what was made.
    pub(crate) fn to_json(&self) -> Result<Value, CelError> {
        write(self, &mut Left { values: INPUT_VALUES, bytes: OUTPUT_BYTES, depth: OUTPUT_DEPTH })
    }

    /// Name of its type, for messages.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "a whole number",
            Self::Double(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Optional(_) => "an optional",
        }
    }
}

fn read(value: &Value, left: &mut usize) -> Result<Datum, CelError> {
    *left = left.checked_sub(1).ok_or(CelError::Input(INPUT_VALUES))?;
    Ok(match value {
        Value::Null => Datum::Null,
        Value::Bool(value) => Datum::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(value) => Datum::Int(value),
            None => Datum::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Datum::Text(text.as_str().into()),
        Value::Array(items) => {
            let items: Result<_, _> = items.iter().map(|item| read(item, left)).collect();
            Datum::List(Arc::new(items?))
        }
        Value::Object(fields) => {
            let entry = |(key, value): (&String, &Value)| {
                Ok::<_, CelError>((Arc::from(key.as_str()), read(value, left)?))
            };
            Datum::Map(Arc::new(fields.iter().map(entry).collect::<Result<_, _>>()?))
        }
    })
}

struct Left {
    values: usize,
    bytes: usize,
    depth: usize,
}

impl Left {
    fn text(&mut self, text: &str) -> Result<String, CelError> {
        self.bytes = self.bytes.checked_sub(text.len()).ok_or_else(too_large)?;
        Ok(text.to_owned())
    }
}

fn too_large() -> CelError {
    CelError::Bytes(u64::try_from(OUTPUT_BYTES).unwrap_or(u64::MAX))
}

fn write(datum: &Datum, left: &mut Left) -> Result<Value, CelError> {
    left.values = left.values.checked_sub(1).ok_or_else(too_large)?;
    left.depth = left.depth.checked_sub(1).ok_or(CelError::Depth(OUTPUT_DEPTH))?;
    let value = match datum {
        Datum::Null | Datum::Optional(None) => Value::Null,
        Datum::Bool(value) => Value::Bool(*value),
        Datum::Int(value) => Value::from(*value),
        Datum::Double(value) => {
            Value::Number(Number::from_f64(*value).ok_or(CelError::Range("the result"))?)
        }
        Datum::Text(text) => Value::String(left.text(text)?),
        Datum::List(items) => {
            Value::Array(items.iter().map(|item| write(item, left)).collect::<Result<_, _>>()?)
        }
        Datum::Map(entries) => {
            let mut fields = Map::new();
            for (key, value) in entries.iter() {
                fields.insert(left.text(key)?, write(value, left)?);
            }
            Value::Object(fields)
        }
        Datum::Optional(Some(value)) => write(value, left)?,
    };
    left.depth += 1;
    Ok(value)
}
