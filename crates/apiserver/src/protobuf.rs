//! Reads Kubernetes' protobuf bodies into values, by the field tables in `data/protobuf.json`.
//!
//! Go writes every field that is no pointer, set or not: a zero means nothing unless the table
//! says that the field is a pointer.

use std::{
    collections::BTreeMap,
    sync::{Mutex, OnceLock},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use crate::definitions;

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
/// Deeper nesting than any kind has.
const MAX_DEPTH: usize = 64;

/// Why a body cannot be read.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it does not begin with the Kubernetes prefix")]
    Prefix,
    #[error("it ends inside a field")]
    Short,
    #[error("wire type {0} is not in use")]
    WireType(u64),
    #[error("it is nested too deep")]
    Depth,
    #[error("this kind has no protobuf form here")]
    Unknown,
}

/// Fields of a message: number to JSON name and type, as the table writes them.
type Fields = BTreeMap<String, (String, String)>;

#[derive(Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// Reads a body that holds the message of this definition.
pub(crate) fn decode(body: &[u8], definition: Option<&str>) -> Result<Value, Malformed> {
    let rest = body.strip_prefix(MAGIC).ok_or(Malformed::Prefix)?;
    let message = definition.and_then(lookup).ok_or(Malformed::Unknown)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &b""[..]);
    each(rest, |number, wire| {
        match (number, wire) {
            (1, Wire::Bytes(meta)) => each(meta, |number, wire| {
                if let Wire::Bytes(bytes) = wire {
                    match number {
                        1 => api_version = text(bytes),
                        2 => kind = text(bytes),
                        _ => {}
                    }
                }
                Ok(())
            })?,
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
        Ok(())
    })?;
    let mut object = Map::new();
    fields(message, raw, &mut object, 0)?;
    if !api_version.is_empty() {
        object.insert("apiVersion".to_owned(), api_version.into());
    }
    if !kind.is_empty() {
        object.insert("kind".to_owned(), kind.into());
    }
    Ok(Value::Object(object))
}

fn fields(
    message: &Fields,
    bytes: &[u8],
    object: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed::Depth);
    }
    each(bytes, |number, wire| {
        let Some((name, what)) = message.get(&number.to_string()) else {
            return Ok(());
        };
        let pointer = what.ends_with('?');
        let what = what.trim_end_matches('?');
        if let Some(item) = what.strip_prefix('*') {
            let value = value(item, wire, depth)?;
            let list = object.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
            if let (Some(list), Some(value)) = (list.as_array_mut(), value) {
                list.push(value);
            }
            return Ok(());
        }
        if let Some(item) = what.strip_prefix('{') {
            let Wire::Bytes(entry) = wire else {
                return Ok(());
            };
            let (mut key, mut content) = (String::new(), None);
            each(entry, |number, wire| {
                match (number, wire) {
                    (1, Wire::Bytes(bytes)) => key = text(bytes),
                    (2, wire) => content = value(item, wire, depth)?,
                    _ => {}
                }
                Ok(())
            })?;
            let map = object.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            map[key] = content.unwrap_or_else(|| empty(item));
            return Ok(());
        }
        if name.is_empty() {
            // A struct that Go embeds: its fields are the parent's.
            if let (Wire::Bytes(bytes), Some(inner)) = (wire, lookup(what)) {
                fields(inner, bytes, object, depth + 1)?;
            }
            return Ok(());
        }
        if let Some(value) = value(what, wire, depth)?
            && (pointer || !is_zero(&value))
        {
            object.insert(name.clone(), value);
        }
        Ok(())
    })
}

/// One value; `None` for a time that is not set.
fn value(what: &str, wire: Wire<'_>, depth: usize) -> Result<Option<Value>, Malformed> {
    Ok(Some(match (what, wire) {
        ("string", Wire::Bytes(bytes)) => text(bytes).into(),
        ("bytes", Wire::Bytes(bytes)) => BASE64_STANDARD.encode(bytes).into(),
        ("int", Wire::Number(number)) => number.cast_signed().into(),
        ("bool", Wire::Number(number)) => (number != 0).into(),
        ("double", Wire::Fixed(bits)) => f64::from_bits(bits).into(),
        (name, Wire::Bytes(bytes)) => return special(name, bytes, depth),
        _ => return Ok(None),
    }))
}

/// Messages that have a form of their own in JSON, and all others.
fn special(name: &str, bytes: &[u8], depth: usize) -> Result<Option<Value>, Malformed> {
    let short = name.rsplit('.').next().unwrap_or_default();
    match short {
        "Quantity" => Ok(Some(first_text(bytes)?.into())),
        "Time" | "MicroTime" if name.starts_with(TIME) => time(bytes, short == "MicroTime"),
        "IntOrString" => {
            let (mut kind, mut number, mut string) = (0, 0, String::new());
            each(bytes, |field, wire| {
                match (field, wire) {
                    (1, Wire::Number(value)) => kind = value,
                    (2, Wire::Number(value)) => number = value.cast_signed(),
                    (3, Wire::Bytes(value)) => string = text(value),
                    _ => {}
                }
                Ok(())
            })?;
            Ok(Some(if kind == 0 { number.into() } else { string.into() }))
        }
        "RawExtension" | "FieldsV1" | "Json" => {
            let raw = first_text(bytes)?;
            Ok(serde_json::from_str(&raw).ok())
        }
        "ExtraValue" => {
            let mut items = Vec::new();
            each(bytes, |_, wire| {
                if let Wire::Bytes(bytes) = wire {
                    items.push(text(bytes));
                }
                Ok(())
            })?;
            Ok(Some(items.into()))
        }
        _ => {
            let mut object = Map::new();
            if let Some(message) = lookup(name) {
                fields(message, bytes, &mut object, depth + 1)?;
            }
            Ok(Some(Value::Object(object)))
        }
    }
}

fn time(bytes: &[u8], micro: bool) -> Result<Option<Value>, Malformed> {
    let (mut seconds, mut nanos) = (0, 0);
    each(bytes, |number, wire| {
        match (number, wire) {
            (1, Wire::Number(value)) => seconds = value.cast_signed(),
            (2, Wire::Number(value)) => nanos = i32::try_from(value).unwrap_or(0),
            _ => {}
        }
        Ok(())
    })?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let Ok(time) = jiff::Timestamp::new(seconds, nanos) else {
        return Ok(None);
    };
    let format = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(Some(time.strftime(format).to_string().into()))
}

fn first_text(bytes: &[u8]) -> Result<String, Malformed> {
    let mut found = String::new();
    each(bytes, |number, wire| {
        if let (1, Wire::Bytes(bytes)) = (number, wire) {
            found = text(bytes);
        }
        Ok(())
    })?;
    Ok(found)
}

fn empty(what: &str) -> Value {
    match what {
        "string" | "bytes" => "".into(),
        "int" => 0.into(),
        "bool" => false.into(),
        _ => json!({}),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn each<'a>(
    mut bytes: &'a [u8],
    mut visit: impl FnMut(u64, Wire<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let wire = match tag & 7 {
            0 => Wire::Number(varint(&mut bytes)?),
            1 => Wire::Fixed(fixed(&mut bytes, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).map_err(|_| Malformed::Short)?;
                let (field, rest) = bytes.split_at_checked(length).ok_or(Malformed::Short)?;
                bytes = rest;
                Wire::Bytes(field)
            }
            5 => Wire::Fixed(fixed(&mut bytes, 4)?),
            other => return Err(Malformed::WireType(other)),
        };
        visit(tag >> 3, wire)?;
    }
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(Malformed::Short)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed::Short)
}

fn fixed(bytes: &mut &[u8], length: usize) -> Result<u64, Malformed> {
    let (field, rest) = bytes.split_at_checked(length).ok_or(Malformed::Short)?;
    *bytes = rest;
    let mut wide = [0; 8];
    wide[..length].copy_from_slice(field);
    Ok(u64::from_le_bytes(wide))
}

/// The fields of a message; names differ in case between the tables and the definitions.
fn lookup(name: &str) -> Option<&'static Fields> {
    static INDEX: OnceLock<BTreeMap<String, &'static str>> = OnceLock::new();
    static PARSED: Mutex<BTreeMap<&'static str, &'static Fields>> = Mutex::new(BTreeMap::new());
    let index = INDEX.get_or_init(|| {
        definitions::lines(include_str!("../data/protobuf.json"))
            .map(|(name, text)| (name.to_lowercase(), text))
            .collect()
    });
    let text = *index.get(&name.to_lowercase())?;
    let mut parsed = PARSED.lock().expect("no holder of this lock panics");
    if let Some(fields) = parsed.get(text) {
        return Some(fields);
    }
    let fields: Fields = serde_json::from_str(text).expect("the shipped table is JSON");
    // Parsed once for the life of the process, like the table itself.
    let fields: &'static Fields = Box::leak(Box::new(fields));
    parsed.insert(text, fields);
    Some(fields)
}

#[cfg(test)]
mod tests;
