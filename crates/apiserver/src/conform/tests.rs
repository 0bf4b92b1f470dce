//! A check of what changed says the same as a check of the whole.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn schema() -> Schema {
    Schema::custom(&json!({
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object",
                "required": ["masts"],
                "properties": {
                    "masts": { "type": "integer", "minimum": 1, "maximum": 4 },
                    "name": { "type": "string", "maxLength": 3, "pattern": "^[a-zä]*$" },
                    "cargo": {
                        "type": "array", "maxItems": 2,
                        "items": {
                            "type": "object", "required": ["good"],
                            "properties": { "good": { "type": "string", "enum": ["rye", "salt"] } },
                        },
                    },
                    "rooms": {
                        "type": "object", "maxProperties": 2,
                        "additionalProperties": { "type": "integer", "minimum": 2 },
                    },
                },
            },
            "status": {
                "type": "object",
                "properties": { "used": { "type": "integer", "maximum": 3 } },
            },
        },
    }))
}

fn object() -> impl Strategy<Value = Value> {
    let good = prop::sample::select(&[r#"{"good":"rye"}"#, r#"{"good":"tar"}"#, "{}"][..]);
    let good = good.prop_map(|text| serde_json::from_str::<Value>(text).unwrap());
    (
        prop::option::of(0..6),
        prop::option::of("[a-cä]{0,4}"),
        prop::option::of(prop::collection::vec(good, 0..4)),
        prop::option::of(prop::collection::btree_map("[ab]", 1..4, 0..3)),
        prop::option::of(0..5),
    )
        .prop_map(|(masts, name, cargo, rooms, used)| {
            let mut spec = json!({
                "masts": masts, "name": name, "cargo": cargo, "rooms": rooms,
            });
            spec.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            json!({ "spec": spec, "status": { "used": used.unwrap_or(0) } })
        })
}

fn wrong(old: Option<&Value>, value: &Value) -> Vec<String> {
    let mut causes = Vec::new();
    check(&schema(), old, value, &mut causes);
    causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_changed_is_all_that_can_be_wrong(
        old in object(),
        mut new in object(),
        kept in prop::collection::vec(any::<bool>(), 5),
    ) {
        let mut kept = kept.into_iter();
        for (name, value) in old["spec"].as_object().unwrap() {
            if kept.next() == Some(true) {
                new["spec"][name] = value.clone();
            }
        }
        if kept.next() == Some(true) {
            new["status"] = old["status"].clone();
        }
        if wrong(None, &old).is_empty() {
            prop_assert_eq!(wrong(Some(&old), &new), wrong(None, &new));
        }
    }
}

#[test]
fn a_bound_that_came_later_holds_for_what_changes() {
    let old = json!({ "spec": { "masts": 9, "cargo": [{ "good": "tar" }] } });
    let mut new = old.clone();
    new["spec"]["name"] = "cog".into();
    assert_eq!(wrong(None, &new).len(), 2);
    assert_eq!(wrong(Some(&old), &new), Vec::<String>::new());
    new["spec"]["cargo"] = json!([{ "good": "tar" }, { "good": "rye" }]);
    assert_eq!(wrong(Some(&old), &new).len(), 1);
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    let value = json!({ "spec": { "cargo": [{ "good": "rye" }, {}], "rooms": { "a": 1 } } });
    let wanted = [
        "spec.masts: Required value",
        "spec.cargo[1].good: Required value",
        "spec.rooms.a: Invalid value: 1: spec.rooms.a in body should be greater than or equal to 2",
    ];
    assert_eq!(wrong(None, &value), wanted);
}
