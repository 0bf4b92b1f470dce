//! Properties of server-side apply on random objects, and examples by hand.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    fields::FieldSet,
    managers::{self, Rules, Writer},
    typed,
};
use crate::{failure::Failure, schema::Schema, store::tree::Tree};

mod plainly;

fn schema() -> Schema {
    let text = json!({ "type": "string" });
    Schema::custom(&json!({
        "type": "object",
        "properties": { "spec": { "type": "object", "properties": {
            "one": text,
            "two": text,
            "inner": { "type": "object", "properties": { "three": text, "four": text } },
            "map": { "type": "object", "additionalProperties": text },
            "items": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": { "type": "object", "properties": { "name": text, "value": text } },
            },
            "set": { "type": "array", "x-kubernetes-list-type": "set", "items": text },
            "whole": { "type": "array", "items": text },
        } } },
    }))
}

fn word() -> impl Strategy<Value = Value> {
    prop_oneof!["a", "b", "c"].prop_map(Value::from)
}

fn keys() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set("[xyz]", 1..4).prop_map(|set| set.into_iter().collect())
}

/// A field of `spec`, never empty.
fn field() -> impl Strategy<Value = (String, Value)> {
    let named = |name: &'static str| move |value: Value| (name.to_owned(), value);
    let pairs = || prop::collection::btree_map("[xyz]", word(), 1..4);
    prop_oneof![
        word().prop_map(named("one")),
        word().prop_map(named("two")),
        word().prop_map(|word| ("inner".to_owned(), json!({ "three": word }))),
        word().prop_map(|word| ("inner".to_owned(), json!({ "three": "a", "four": word }))),
        pairs().prop_map(|pairs| ("map".to_owned(), json!(pairs))),
        pairs().prop_map(|pairs| {
            let items = pairs.iter().map(|(name, value)| json!({ "name": name, "value": value }));
            ("items".to_owned(), items.collect())
        }),
        keys().prop_map(|keys| {
            let items = keys.iter().map(|name| json!({ "name": name }));
            ("items".to_owned(), items.collect())
        }),
        keys().prop_map(|keys| ("set".to_owned(), json!(keys))),
        keys().prop_map(|keys| ("whole".to_owned(), json!(keys))),
    ]
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::vec(field(), 1..6).prop_map(|fields| {
        let spec: Map<String, Value> = fields.into_iter().collect();
        json!({ "apiVersion": "v1", "kind": "Thing", "metadata": { "name": "x" }, "spec": spec })
    })
}

fn nothing() -> Value {
    json!({ "apiVersion": "v1", "kind": "Thing", "metadata": { "name": "x" } })
}

fn writer(manager: &'static str) -> Writer<'static> {
    Writer { manager, api_version: "v1", subresource: "", now: "2026-01-01T00:00:00Z" }
}

fn apply(live: Option<&Value>, patch: &Value, manager: &'static str) -> Value {
    let rules = Rules { force: true, reset: &[], only: &[], tolerated: &FieldSet::default() };
    apply_as(live, patch, writer(manager), rules).unwrap()
}

fn apply_as(
    live: Option<&Value>,
    patch: &Value,
    writer: Writer<'_>,
    rules: Rules<'_>,
) -> Result<Value, Failure> {
    let live = live.cloned().map(Tree::from);
    let live = live.as_ref().map(|live| (&live.value, &live.managers));
    let (value, managers) = managers::apply(&schema(), live, Cow::Borrowed(patch), writer, rules)?;
    Ok(Tree { value, managers }.whole())
}

fn update(live: &Value, spec: &Value, manager: &'static str) -> Value {
    update_as(live, spec, writer(manager))
}

fn update_as(live: &Value, spec: &Value, writer: Writer<'_>) -> Value {
    let old = Tree::from(live.clone());
    let mut value = old.value.clone();
    value["spec"] = spec.clone();
    let before = Some((&old.value, &old.managers));
    let managers = managers::track(&schema(), before, &value, None, writer);
    Tree { value, managers }.whole()
}

/// The content without its bookkeeping, lists with keys in order of their keys.
fn content(object: &Value) -> Value {
    let mut spec = object.get("spec").cloned().unwrap_or_default();
    for name in ["items", "set"] {
        if let Some(list) = spec.get_mut(name).and_then(Value::as_array_mut) {
            list.sort_by_key(ToString::to_string);
        }
    }
    spec
}

fn owned(object: &Value) -> Vec<(String, FieldSet)> {
    let list = object["metadata"]["managedFields"].as_array();
    list.into_iter()
        .flatten()
        .map(|entry| {
            let manager = entry["manager"].as_str().unwrap_or_default().to_owned();
            (manager, FieldSet::from_value(&entry["fieldsV1"]))
        })
        .collect()
}

/// Every owned path leads somewhere.
fn assert_owned_paths_exist(object: &Value) -> Result<(), TestCaseError> {
    let mut bare = object.clone();
    bare["metadata"] = json!({});
    let present = typed::compare(&schema(), &json!({}), &bare).added;
    for (manager, fields) in owned(object) {
        let missing = fields.difference(&present);
        prop_assert!(missing.is_empty(), "{manager} owns {:?} of {object}", missing.paths());
    }
    Ok(())
}

proptest! {
    #[test]
    fn applying_twice_changes_nothing(live in object(), patch in object()) {
        let live = apply(None, &live, "other");
        let first = apply(Some(&live), &patch, "me");
        prop_assert_eq!(&apply(Some(&first), &patch, "me"), &first);
    }

    #[test]
    fn applying_nothing_removes_exactly_what_was_owned(mine in object(), theirs in object()) {
        let alone = apply(None, &theirs, "they");
        let both = apply(Some(&apply(None, &mine, "me")), &theirs, "they");
        let left = apply(Some(&both), &nothing(), "me");
        prop_assert_eq!(content(&left), content(&alone));
        let empty = apply(Some(&left), &nothing(), "they");
        prop_assert_eq!(content(&empty), Value::Null);
        prop_assert!(owned(&empty).is_empty());
    }

    #[test]
    fn what_is_applied_is_there_and_owned(live in object(), patch in object()) {
        let merged = apply(Some(&apply(None, &live, "other")), &patch, "me");
        let mut again = merged.clone();
        typed::merge(Some(&schema()), &mut again, &patch);
        prop_assert_eq!(content(&again), content(&merged));
        let (_, mine) = owned(&merged).into_iter().find(|(manager, _)| manager == "me").unwrap();
        let mut bare = patch;
        bare["metadata"] = json!({});
        let wanted = typed::field_set(&schema(), &bare);
        let wanted = wanted.without(&["f:apiVersion"]).without(&["f:kind"]).without(&["f:metadata"]);
        prop_assert_eq!(mine, wanted);
    }

    #[test]
    fn nobody_owns_what_is_not_there(steps in prop::collection::vec((0..4_u8, object()), 1..8)) {
        let mut live = apply(None, &nothing(), "first");
        for (kind, value) in steps {
            live = match kind {
                0 => apply(Some(&live), &value, "first"),
                1 => apply(Some(&live), &value, "second"),
                2 => update(&live, &value["spec"], "editor"),
                _ => apply(Some(&live), &nothing(), "second"),
            };
            assert_owned_paths_exist(&live)?;
        }
    }

    #[test]
    fn sets_survive_their_written_form(value in object()) {
        let set = typed::field_set(&schema(), &value);
        let text = set.to_text();
        let value: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(value.to_string(), text.clone());
        prop_assert_eq!(&FieldSet::from_value(&value), &set);
        prop_assert_eq!(FieldSet::from_text(&text), set);
    }

    #[test]
    fn sets_follow_the_laws_of_sets(a in object(), b in object()) {
        let (a, b) = (typed::field_set(&schema(), &a), typed::field_set(&schema(), &b));
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
        prop_assert!(a.difference(&a).is_empty());
        prop_assert_eq!(a.is_within(&b), a.difference(&b).is_empty());
        prop_assert_eq!(a.intersection_with_text(&b.to_text()), a.intersection(&b));
        let mut text = a.clone();
        text.extend(&b);
        prop_assert_eq!(text, a.union(&b));
    }

    /// What is skipped because it does not change makes no difference.
    #[test]
    fn every_write_is_booked_as_if_all_were_computed_anew(
        steps in prop::collection::vec(
            (0..3_usize, any::<bool>(), any::<bool>(), any::<bool>(), object()), 1..10,
        ),
    ) {
        let mut live: Option<Value> = None;
        for (time, (who, applies, force, keep, value)) in steps.into_iter().enumerate() {
            let now = format!("2026-01-01T00:00:{time:02}Z");
            let manager = ["first", "second", "third"][who];
            let writer = Writer { manager, api_version: "v1", subresource: "", now: &now };
            let value = match (&live, keep) {
                // Half of what is written is what was there.
                (Some(live), true) => {
                    let mut value = value;
                    for (name, old) in live["spec"].as_object().into_iter().flatten() {
                        value["spec"][name] = old.clone();
                    }
                    value
                }
                _ => value,
            };
            let rules = Rules { force, reset: &[], only: &[], tolerated: &FieldSet::default() };
            let (here, there) = match &live {
                Some(old) if !applies => {
                    let spec = &value["spec"];
                    (Ok(update_as(old, spec, writer)), Ok(plainly::update(&schema(), old, spec, writer)))
                }
                old => (
                    apply_as(old.as_ref(), &value, writer, rules),
                    plainly::apply(&schema(), old.as_ref(), &value, writer, rules),
                ),
            };
            match (here, there) {
                (Ok(here), Ok(there)) => {
                    prop_assert_eq!(here.to_string(), there.to_string());
                    live = Some(here);
                }
                (Err(here), Err(there)) => prop_assert_eq!(here.to_string(), there),
                (here, there) => prop_assert!(false, "{here:?} is not {there:?}"),
            }
        }
    }

    #[test]
    fn an_object_is_read_as_it_was_written(value in object(), other in object()) {
        let live = apply(Some(&apply(None, &value, "one")), &other, "two");
        let tree = Tree::from(live.clone());
        let json = tree.json();
        prop_assert_eq!(String::from_utf8(json.clone()).unwrap(), live.to_string());
        prop_assert_eq!(&Tree::parse(&json).unwrap(), &tree);
        prop_assert_eq!(tree.whole(), live);
    }
}

#[test]
fn paths_read_as_kubernetes_prints_them() {
    let set = FieldSet::from_value(&json!({
        "f:spec": {
            "f:containers": { "k:{\"name\":\"c\"}": { "f:image": {} } },
            "f:set": { "v:\"x\"": {} },
        },
    }));
    assert_eq!(set.paths(), [".spec.containers[name=\"c\"].image", ".spec.set[=\"x\"]"]);
}
