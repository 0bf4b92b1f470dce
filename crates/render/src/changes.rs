//! What differs between two states of an object, place by place.

use serde_json::Value;

use crate::pointer;

/// A place whose value changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// JSON pointer to the place.
    pub path: String,
    /// What stood there; absent: nothing.
    pub before: Option<Value>,
    /// What stands there now; absent: nothing.
    pub after: Option<Value>,
}

/// All places that differ, in order of path. Lists of different length count as one place.
pub fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare(before, after, String::new(), &mut found);
    found
}

fn compare(before: &Value, after: &Value, path: String, found: &mut Vec<Change>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Value::Object(a), Value::Object(b)) => {
            let added = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(added) {
                let below = pointer::join(&path, key);
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => compare(a, b, below, found),
                    (a, b) => {
                        found.push(Change { path: below, before: a.cloned(), after: b.cloned() });
                    }
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                compare(a, b, format!("{path}/{at}"), found);
            }
        }
        (a, b) => {
            found.push(Change { path, before: Some(a.clone()), after: Some(b.clone()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_that_differs_is_named_once() {
        let before = json!({"a": 1, "b": {"c/d": 2}, "l": [{"x": 1}, 2], "gone": true, "m": [1]});
        let after = json!({"a": 1, "b": {"c/d": 3}, "l": [{"x": 2}, 2], "new": [], "m": [1, 2]});
        let paths: Vec<String> = changes(&before, &after).into_iter().map(|c| c.path).collect();
        assert_eq!(paths, ["/b/c~1d", "/gone", "/l/0/x", "/m", "/new"]);
        assert!(changes(&after, &after).is_empty());
    }
}
