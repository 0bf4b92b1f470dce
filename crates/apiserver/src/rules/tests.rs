//! Rules asked place by place say the same as rules asked of the whole object.

use proptest::prelude::*;

use super::*;

/// Rules of all sorts: at the root, in structs, lists and maps, with and without a past.
fn definition() -> Value {
    let small = json!({ "type": "integer" });
    json!({
        "type": "object",
        "x-kubernetes-validations": [
            { "rule": "self.metadata.name.size() <= 3" },
            { "rule": "!has(self.spec.limit) || !has(self.status) || self.status.used <= self.spec.limit" },
        ],
        "properties": {
            "metadata": { "type": "object" },
            "spec": {
                "type": "object",
                "x-kubernetes-validations": [
                    { "rule": "!has(oldSelf.port) || (has(self.port) && self.port == oldSelf.port)" },
                    { "rule": "self.crew >= self.masts" },
                    { "rule": "!has(self.until) || self.until > timestamp('2026-01-01T00:00:00Z')" },
                ],
                "properties": {
                    "crew": { "type": "integer", "default": 2 },
                    "masts": small,
                    "limit": small,
                    "port": { "type": "string" },
                    "until": { "type": "string", "format": "date-time" },
                    "other": { "type": "object", "properties": { "a": small } },
                    "cargo": {
                        "type": "array",
                        "x-kubernetes-validations": [{ "rule": "self.size() <= 2" }],
                        "items": {
                            "type": "object",
                            "x-kubernetes-validations": [
                                { "rule": "!has(self.tons) || self.tons < 4" },
                            ],
                            "properties": { "good": { "type": "string" }, "tons": small },
                        },
                    },
                    "rooms": {
                        "type": "object",
                        "x-kubernetes-validations": [{ "rule": "!('the-end' in self)" }],
                        "additionalProperties": {
                            "type": "integer",
                            "x-kubernetes-validations": [{ "rule": "self != 3" }],
                        },
                    },
                },
            },
            "status": {
                "type": "object",
                "properties": {
                    "used": {
                        "type": "integer",
                        "x-kubernetes-validations": [{ "rule": "self >= oldSelf" }],
                    },
                    "free": small,
                },
            },
        },
    })
}

fn maybe(
    name: &'static str,
    value: impl Strategy<Value = Value> + 'static,
) -> BoxedStrategy<Option<(String, Value)>> {
    prop::option::of(value.prop_map(move |value| (name.to_owned(), value))).boxed()
}

fn record(fields: Vec<BoxedStrategy<Option<(String, Value)>>>) -> BoxedStrategy<Value> {
    fields.prop_map(|fields| Value::Object(fields.into_iter().flatten().collect())).boxed()
}

fn number() -> BoxedStrategy<Value> {
    (0..5_i64).prop_map(Value::from).boxed()
}

fn text(of: &'static [&'static str]) -> BoxedStrategy<Value> {
    prop::sample::select(of).prop_map(Value::from).boxed()
}

fn object() -> BoxedStrategy<Value> {
    let item = record(vec![maybe("good", text(&["salt", "rye"])), maybe("tons", number())]);
    let rooms = prop::collection::btree_map(
        prop::sample::select(&["the-end", "a_b", "c"][..]).prop_map(str::to_owned),
        number(),
        0..3,
    );
    let spec = record(vec![
        number().prop_map(|masts| Some(("masts".to_owned(), masts))).boxed(),
        maybe("crew", number()),
        maybe("limit", number()),
        maybe("port", text(&["Bremen", "Riga"])),
        maybe("until", text(&["2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z"])),
        maybe("other", record(vec![maybe("a", number())])),
        maybe("cargo", prop::collection::vec(item, 0..4).prop_map(Value::from)),
        maybe("rooms", rooms.prop_map(|rooms| Value::Object(rooms.into_iter().collect()))),
    ]);
    let status = record(vec![
        number().prop_map(|used| Some(("used".to_owned(), used))).boxed(),
        maybe("free", number()),
    ]);
    (text(&["cog", "hulk"]), spec, prop::option::of(status))
        .prop_map(|(name, spec, status)| {
            let mut object = json!({ "metadata": { "name": name }, "spec": spec });
            if let Some(status) = status {
                object["status"] = status;
            }
            object
        })
        .boxed()
}

fn rules() -> (Rules, Schema) {
    let definition = definition();
    (Rules::of(&definition.to_string()), Schema::custom(&definition))
}

fn filled(schema: &Schema, mut object: Value) -> Value {
    conform::fill(schema, &mut object);
    object
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_judgement_of_what_changed_is_that_of_the_whole(
        old in object(),
        mut new in object(),
        kept in prop::collection::vec(any::<bool>(), 10),
    ) {
        let (rules, schema) = rules();
        // Parts of the new object are those of the old one.
        let mut kept = kept.into_iter();
        for (name, value) in old["spec"].as_object().unwrap() {
            if kept.next() == Some(true) {
                new["spec"][name] = value.clone();
            }
        }
        for name in ["metadata", "status"] {
            if kept.next() == Some(true) && old.get(name).is_some() {
                new[name] = old[name].clone();
            }
        }
        let (old, new) = (filled(&schema, old), filled(&schema, new));
        let alone = kube_cel::validate_compiled(&rules.whole, &old, None).is_ok();
        prop_assert_eq!(rules.hold(&schema, None, &old), alone);
        if alone {
            let whole = kube_cel::validate_compiled(&rules.whole, &new, Some(&old)).is_ok();
            prop_assert_eq!(rules.hold(&schema, Some(&old), &new), whole);
        }
    }
}

#[test]
fn the_places_of_our_sorts_of_rules_are_asked_alone() {
    let (rules, _) = rules();
    let root = rules.places.as_ref().unwrap();
    let reads: Vec<_> = root.own.iter().map(|own| own.reads.clone().unwrap()).collect();
    let wanted = ["metadata", "spec", "status"].map(str::to_owned);
    assert_eq!(reads, [BTreeSet::from(wanted)]);
    let (_, spec) = root.fields.iter().find(|(name, _)| &**name == "spec").unwrap();
    let port = spec.own.iter().find(|own| own.remembers).unwrap();
    assert_eq!(port.reads, Some(BTreeSet::from(["port".to_owned()])));
    assert!(root.remembers && spec.remembers);
    let (_, cargo) = spec.fields.iter().find(|(name, _)| &**name == "cargo").unwrap();
    assert!(!cargo.remembers && cargo.own[0].reads.is_none());
}

#[test]
fn what_was_wrong_before_its_rule_came_may_stay_as_it_is() {
    let (rules, schema) = rules();
    let cargo = json!([{ "tons": 9 }]);
    let old =
        json!({ "metadata": { "name": "cog" }, "spec": { "masts": 1, "crew": 2, "cargo": cargo } });
    assert!(!rules.hold(&schema, None, &old));
    let mut new = old.clone();
    new["spec"]["crew"] = 3.into();
    assert!(rules.hold(&schema, Some(&old), &new));
    new["spec"]["cargo"][0]["good"] = "salt".into();
    assert!(!rules.hold(&schema, Some(&old), &new));
}

#[test]
fn a_rule_about_the_past_is_asked_of_what_stays_too() {
    let schema = json!({
        "type": "object",
        "properties": { "spec": {
            "type": "object",
            "properties": { "n": { "type": "integer" } },
            "x-kubernetes-validations": [{ "rule": "self.n > oldSelf.n" }],
        } },
    });
    let rules = Rules::of(&schema.to_string());
    let schema = Schema::custom(&schema);
    let old = json!({ "spec": { "n": 1 } });
    assert!(rules.hold(&schema, None, &old));
    assert!(!rules.hold(&schema, Some(&old), &old));
    assert!(rules.hold(&schema, Some(&old), &json!({ "spec": { "n": 2 } })));
}
