//! Compares a live object with a rendered one: everything rendered must be there, by value; what
//! a member's API server or its controllers add is theirs.

use serde_json::{Map, Value};

use crate::milli;

/// The first place where a live object differs from the rendered one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{path} is {live} and should be {rendered}")]
pub struct Difference {
    /// Path in the object, such as `.spec.template.spec.containers[web].image`.
    pub path: String,
    /// What is there, cut to 64 characters.
    pub live: String,
    /// What should be there, cut to 64 characters.
    pub rendered: String,
}

/// Fields that identify an entry of a list of objects, in order of preference.
const KEYS: [&[&str]; 7] = [
    &["name"],
    &["port", "protocol"],
    &["containerPort", "protocol"],
    &["mountPath"],
    &["devicePath"],
    &["topologyKey"],
    &["ip"],
];

/// Objects whose values are quantities.
const QUANTITIES: [&str; 6] = ["limits", "requests", "hard", "capacity", "sizeLimit", "overhead"];

/// Where `live` is not what `rendered` asks for; nothing when it is.
pub fn difference(rendered: &Value, live: &Value) -> Option<Difference> {
    compare(rendered, live, &mut Path::default(), false)
}

#[derive(Debug, Default)]
struct Path(Vec<String>);

impl Path {
    fn differs(&self, rendered: &Value, live: &Value) -> Difference {
        Difference { path: self.0.concat(), live: cut(live), rendered: cut(rendered) }
    }
}

fn cut(value: &Value) -> String {
    value.to_string().chars().take(64).collect()
}

fn compare(rendered: &Value, live: &Value, path: &mut Path, quantity: bool) -> Option<Difference> {
    match (rendered, live) {
        (Value::Object(wanted), Value::Object(have)) => {
            compare_objects(wanted, have, path, quantity)
        }
        (Value::Array(wanted), Value::Array(have)) => compare_lists(wanted, have, path),
        (Value::Object(wanted), Value::Null) if wanted.is_empty() => None,
        (Value::Array(wanted), Value::Null) if wanted.is_empty() => None,
        (wanted, have) if wanted == have => None,
        (wanted, have) if quantity && same_quantity(wanted, have) => None,
        (wanted, have) => Some(path.differs(wanted, have)),
    }
}

fn compare_objects(
    wanted: &Map<String, Value>,
    have: &Map<String, Value>,
    path: &mut Path,
    quantity: bool,
) -> Option<Difference> {
    for (key, field) in wanted {
        path.0.push(format!(".{key}"));
        let quantity = quantity || QUANTITIES.contains(&key.as_str());
        let found = compare(field, have.get(key).unwrap_or(&Value::Null), path, quantity);
        if found.is_some() {
            return found;
        }
        path.0.pop();
    }
    None
}

fn compare_lists(wanted: &[Value], have: &[Value], path: &mut Path) -> Option<Difference> {
    let Some(keys) = keys_of(wanted) else {
        if wanted.len() != have.len() {
            return Some(path.differs(&Value::from(wanted), &Value::from(have)));
        }
        for (at, (wanted, have)) in wanted.iter().zip(have).enumerate() {
            path.0.push(format!("[{at}]"));
            let found = compare(wanted, have, path, false);
            if found.is_some() {
                return found;
            }
            path.0.pop();
        }
        return None;
    };
    for wanted in wanted {
        path.0.push(format!("[{}]", plain(&wanted[keys[0]])));
        let twin = have.iter().find(|have| keys.iter().all(|key| same_key(key, wanted, have)));
        let found = match twin {
            Some(twin) => compare(wanted, twin, path, false),
            None => Some(path.differs(wanted, &Value::Null)),
        };
        if found.is_some() {
            return found;
        }
        path.0.pop();
    }
    None
}

/// The key fields of a list of objects in which each entry has its own key.
fn keys_of(list: &[Value]) -> Option<&'static [&'static str]> {
    let keys = KEYS
        .into_iter()
        .find(|keys| !list.is_empty() && list.iter().all(|entry| entry.get(keys[0]).is_some()))?;
    let key = |entry: &Value| {
        keys.iter().map(|key| key_value(key, entry)).collect::<Vec<_>>().join("\u{0}")
    };
    let mut all: Vec<String> = list.iter().map(key).collect();
    all.sort();
    all.windows(2).all(|pair| pair[0] != pair[1]).then_some(keys)
}

/// The protocol of a port is TCP where it is not written.
fn key_value(key: &str, entry: &Value) -> String {
    match entry.get(key) {
        Some(value) => plain(value),
        None if key == "protocol" => "TCP".to_owned(),
        None => String::new(),
    }
}

fn same_key(key: &str, a: &Value, b: &Value) -> bool {
    key_value(key, a) == key_value(key, b)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn same_quantity(a: &Value, b: &Value) -> bool {
    matches!((milli(&plain(a)), milli(&plain(b))), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
    fn same(rendered: Value, live: Value) -> bool {
        difference(&rendered, &live).is_none()
    }

    #[test]
    fn what_the_member_adds_does_not_count() {
        assert!(same(
            json!({"spec": {"replicas": 2}}),
            json!({"spec": {"replicas": 2, "paused": false}, "status": {}})
        ));
    }

    #[test]
    fn lists_are_compared_by_key_in_any_order() {
        let wanted = json!({"containers": [{"name": "b", "image": "2"}, {"name": "a"}]});
        let live = json!({"containers": [
            {"name": "a"}, {"name": "mesh"}, {"name": "b", "image": "2", "env": []}]});
        assert!(same(wanted.clone(), live));
        let changed = json!({"containers": [{"name": "a"}, {"name": "b", "image": "3"}]});
        assert_eq!(
            difference(&wanted, &changed).unwrap().to_string(),
            r#".containers[b].image is "3" and should be "2""#
        );
    }

    #[test]
    fn ports_are_compared_with_their_protocol() {
        let wanted = json!({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]});
        let live = json!({"ports": [
            {"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP", "nodePort": 3}]});
        assert!(same(wanted, live));
    }

    #[test]
    fn lists_of_plain_values_are_compared_whole() {
        assert!(same(json!({"args": ["a", "b"]}), json!({"args": ["a", "b"]})));
        assert!(!same(json!({"args": ["a"]}), json!({"args": ["a", "b"]})));
        assert!(!same(json!({"args": ["b", "a"]}), json!({"args": ["a", "b"]})));
    }

    #[test]
    fn quantities_are_compared_by_value() {
        let wanted = json!({"resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}}});
        let live = json!({"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}});
        assert!(same(wanted.clone(), live));
        let less = json!({"resources": {"requests": {"cpu": "400m", "memory": "1Gi"}}});
        assert!(!same(wanted, less));
        assert!(!same(json!({"version": "1.0"}), json!({"version": "1"})));
    }

    #[test]
    fn an_empty_part_may_be_missing() {
        assert!(same(json!({"a": {}, "b": []}), json!({})));
        assert!(!same(json!({"a": {"b": 1}}), json!({})));
    }
}
