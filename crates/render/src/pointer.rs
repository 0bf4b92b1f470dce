//! JSON pointers (RFC 6901): read, written, taken away.

use serde_json::Value;

/// Why a place cannot be reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PointerError {
    /// The text is no pointer.
    #[error("this is no JSON pointer: write names with a / before each, and ~1 for a / in a name")]
    Syntax,
    /// What the place lies in is not there.
    #[error("what it lies in is not there")]
    NoParent,
    /// Nothing is there.
    #[error("nothing is there")]
    Missing,
    /// The place is in a list, and its name is no place of it.
    #[error("this is a list: write a number up to its length, or - for its end")]
    Index,
}

/// A pointer one name longer.
pub(crate) fn join(path: &str, name: &str) -> String {
    format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Splits a pointer into its parent and its last name.
fn split(path: &str) -> Result<(&str, String), PointerError> {
    let (parent, name) = path.rsplit_once('/').ok_or(PointerError::Syntax)?;
    if !(parent.is_empty() || parent.starts_with('/')) {
        return Err(PointerError::Syntax);
    }
    Ok((parent, name.replace("~1", "/").replace("~0", "~")))
}

enum Place<'a> {
    Field(&'a mut serde_json::Map<String, Value>, String),
    Entry(&'a mut Vec<Value>, usize),
}

fn place<'a>(object: &'a mut Value, path: &str) -> Result<Place<'a>, PointerError> {
    let (parent, name) = split(path)?;
    match object.pointer_mut(parent) {
        Some(Value::Object(fields)) => Ok(Place::Field(fields, name)),
        Some(Value::Array(items)) => {
            let end = items.len();
            let at = if name == "-" { Some(end) } else { name.parse().ok() };
            let at = at.filter(|at| *at <= end).ok_or(PointerError::Index)?;
            Ok(Place::Entry(items, at))
        }
        _ => Err(PointerError::NoParent),
    }
}

/// Puts a value there; into a list before that entry.
pub(crate) fn add(object: &mut Value, path: &str, value: Value) -> Result<(), PointerError> {
    match place(object, path)? {
        Place::Field(fields, name) => {
            fields.insert(name, value);
        }
        Place::Entry(items, at) => items.insert(at, value),
    }
    Ok(())
}

/// Puts a value there, over what is there.
pub(crate) fn set(object: &mut Value, path: &str, value: Value) -> Result<(), PointerError> {
    match place(object, path)? {
        Place::Field(fields, name) => {
            fields.insert(name, value);
        }
        Place::Entry(items, at) if at == items.len() => items.push(value),
        Place::Entry(items, at) => items[at] = value,
    }
    Ok(())
}

/// Takes away what is there.
pub(crate) fn remove(object: &mut Value, path: &str) -> Result<Value, PointerError> {
    match place(object, path)? {
        Place::Field(fields, name) => fields.remove(&name).ok_or(PointerError::Missing),
        Place::Entry(items, at) if at < items.len() => Ok(items.remove(at)),
        Place::Entry(..) => Err(PointerError::Missing),
    }
}
