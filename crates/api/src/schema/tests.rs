//! Freshness of `manifests/crds`, and what the rules in the definitions say to bad input.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};

use super::*;
use crate::FederationSpec;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/crds")
}

#[test]
fn the_definitions_in_manifests_are_fresh() {
    let mut expected = BTreeSet::new();
    for crd in crds() {
        let name = crd_file_name(&crd);
        let stored = std::fs::read_to_string(folder().join(&name)).unwrap_or_default();
        assert!(
            stored == crd_yaml(&crd),
            "manifests/crds/{name} is stale: run cargo xtask codegen"
        );
        expected.insert(name);
    }
    let found: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "kustomization.yaml")
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_yaml_reads_back_as_the_same_definition() {
    for crd in crds() {
        let read: Value = serde_saphyr::from_str(&crd_yaml(&crd)).unwrap();
        assert_eq!(read, serde_json::to_value(&crd).unwrap());
    }
}

#[test]
fn every_kind_has_a_short_name_the_category_and_printer_columns() {
    for crd in crds() {
        let names = &crd.spec.names;
        assert!(names.short_names.as_ref().is_some_and(|list| !list.is_empty()));
        assert_eq!(names.categories.as_deref(), Some(&["hanse".to_owned()][..]));
        let columns = crd.spec.versions[0].additional_printer_columns.as_ref();
        assert!(columns.is_some_and(|list| list.len() >= 3));
    }
}

#[test]
fn every_list_and_every_string_of_a_spec_is_bounded() {
    for crd in crds() {
        let kind = crd.spec.names.kind.clone();
        let value = serde_json::to_value(&crd).unwrap();
        let schema = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        check_bounds(&schema["properties"]["spec"], &format!("{kind}.spec"));
    }
}

/// Label selectors and times are Kubernetes' own types: their bounds are its own.
fn check_bounds(schema: &Value, path: &str) {
    let selector = ["elector", "near[]", "away[]"].iter().any(|end| path.ends_with(end));
    let own = selector || schema["format"] == "date-time";
    if own || schema["enum"].is_array() {
        return;
    }
    match schema["type"].as_str() {
        Some("string") => assert!(schema["maxLength"].is_u64(), "{path} has no maxLength"),
        Some("array") => {
            assert!(schema["maxItems"].is_u64(), "{path} has no maxItems");
            check_bounds(&schema["items"], &format!("{path}[]"));
        }
        _ => {}
    }
    if let Some(fields) = schema["properties"].as_object() {
        for (name, field) in fields {
            check_bounds(field, &format!("{path}.{name}"));
        }
    }
}

fn refusal<K>(value: Value) -> String
where
    K: serde::de::DeserializeOwned + Refuse,
{
    serde_json::from_value::<K>(value).unwrap().refuse()
}

trait Refuse {
    fn refuse(&self) -> String;
}

macro_rules! refuse {
    ($($kind:ty),*) => {$(
        impl Refuse for $kind {
            fn refuse(&self) -> String {
                match self.validate_cel() {
                    Ok(()) => String::new(),
                    Err(errors) => errors
                        .iter()
                        .map(|error| error.message.clone())
                        .collect::<Vec<_>>()
                        .join("\n"),
                }
            }
        }
    )*};
}
refuse!(
    ClusterPropagationPolicy,
    PropagationPolicy,
    MemberCluster,
    Drill,
    Federation,
    OverridePolicy,
    ResourceInterpreter,
    Tenant
);

fn policy(placement: &Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": {
        "resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}],
        "placement": placement}})
}

#[test]
fn a_good_policy_is_accepted() {
    let good = policy(&json!({"replicas": {"strategy": "Weighted",
        "weights": [{"weight": 1}], "bounds": [{"min": 1, "max": 3}]}}));
    assert_eq!(refusal::<PropagationPolicy>(good), "");
}

#[test]
fn a_cluster_policy_for_a_kind_in_namespaces_must_name_them() {
    let text = refusal::<ClusterPropagationPolicy>(policy(&json!({})));
    assert_eq!(
        text,
        "this kind lives in namespaces: write namespaces: [names], or namespaces: [\"*\"] for all \
         but the system's own"
    );
}

#[test]
fn a_min_above_its_max_is_refused() {
    let bad = policy(&json!({"replicas": {"bounds": [{"min": 3, "max": 2}]}}));
    assert_eq!(
        refusal::<PropagationPolicy>(bad),
        "min is above max: write a min that is at most max"
    );
}

#[test]
fn the_schema_refuses_a_weight_of_zero() {
    let value = serde_json::to_value(PropagationPolicy::crd()).unwrap();
    let weight = value
        .pointer(
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/placement\
             /properties/replicas/properties/weights/items/properties/weight",
        )
        .unwrap();
    assert_eq!((&weight["minimum"], &weight["maximum"]), (&json!(1.0), &json!(1_000_000.0)));
}

#[test]
fn weights_need_the_weighted_strategy() {
    let bad = policy(&json!({"replicas": {"weights": [{"weight": 2}]}}));
    assert_eq!(
        refusal::<PropagationPolicy>(bad),
        "weights count with strategy: Weighted only; write it, or leave weights out"
    );
}

#[test]
fn a_member_has_exactly_one_connection() {
    let member = |connection: Value| {
        json!({"metadata": {"name": "m"},
            "spec": {"provider": "aws", "region": "eu-west-1", "connection": connection}})
    };
    let text = "write exactly one of direct (with kubeconfigSecret) and simulated";
    assert_eq!(refusal::<MemberCluster>(member(json!({}))), text);
    let both = json!({"direct": {"kubeconfigSecret": "s"}, "simulated": {}});
    assert_eq!(refusal::<MemberCluster>(member(both)), text);
    assert_eq!(refusal::<MemberCluster>(member(json!({"simulated": {}}))), "");
}

#[test]
fn the_identity_of_a_member_cannot_change() {
    let member = |identity: Value| -> MemberCluster {
        serde_json::from_value(json!({"metadata": {"name": "m"}, "spec": {"provider": "aws",
            "region": "eu-west-1", "connection": {"simulated": {}}, "identity": identity}}))
        .unwrap()
    };
    let (none, old, new) = (member(Value::Null), member(json!("a")), member(json!("b")));
    assert!(old.validate_cel_update(&none).is_ok());
    assert!(old.validate_cel_update(&old).is_ok());
    let errors = new.validate_cel_update(&old).unwrap_err();
    assert!(errors[0].message.starts_with("identity cannot change"), "{errors:?}");
    assert!(none.validate_cel_update(&old).is_err());
}

#[test]
fn a_drill_has_exactly_one_target() {
    let drill = |target: Value| json!({"metadata": {"name": "d"}, "spec": {"target": target}});
    let text = "write exactly one of cluster, zone, region and provider";
    assert_eq!(refusal::<Drill>(drill(json!({}))), text);
    assert_eq!(refusal::<Drill>(drill(json!({"zone": "a", "region": "b"}))), text);
    assert_eq!(refusal::<Drill>(drill(json!({"region": "b"}))), "");
}

#[test]
fn the_federation_is_named_default() {
    let named = |name: &str| json!({"metadata": {"name": name}, "spec": {}});
    assert_eq!(refusal::<Federation>(named("default")), "");
    assert!(refusal::<Federation>(named("other")).contains("write metadata.name: default"));
}

#[test]
fn tenants_are_required_unless_the_federation_says_otherwise() {
    let spec = |value: Value| serde_json::from_value::<FederationSpec>(value).unwrap();
    assert!(spec(json!({})).require_tenant && FederationSpec::default().require_tenant);
    assert!(!spec(json!({"requireTenant": false})).require_tenant);
    let definition = serde_json::to_value(Federation::crd()).unwrap();
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/requireTenant";
    assert_eq!(definition.pointer(path).unwrap()["default"], true);
}

#[test]
fn a_policy_of_a_namespace_takes_nothing_over() {
    let with = |conflict: &str| {
        let mut policy = policy(&json!({}));
        policy["spec"]["conflict"] = json!(conflict);
        refusal::<PropagationPolicy>(policy)
    };
    assert_eq!(with("Abort"), "");
    assert_eq!(
        with("Overwrite"),
        "a policy of a namespace takes over nothing that others made: leave conflict out, or ask \
         for a ClusterPropagationPolicy that says Overwrite"
    );
    let definition = serde_json::to_value(PropagationPolicy::crd()).unwrap();
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/conflict";
    let field = definition.pointer(path).unwrap();
    assert!(field["x-kubernetes-validations"].is_array(), "the refusal names the field: {field}");
}

#[test]
fn combinations_of_placement_that_make_no_sense_are_refused_with_the_remedy() {
    let table = [
        (json!({"tiers": "Overflow", "clusters": [{}]}), "tiers: Overflow needs two entries"),
        (
            json!({"spread": [{"topologyKey": "zone"}, {"topologyKey": "region"},
                {"topologyKey": "provider"}]}),
            "at most two topology keys beside cluster",
        ),
        (
            json!({"spread": [{"topologyKey": "zone"}, {"topologyKey": "zone"}]}),
            "names a topology key twice",
        ),
        (
            json!({"spread": [{"topologyKey": "region", "minDomains": 3},
                {"topologyKey": "cluster", "maxDomains": 2}]}),
            "raise maxDomains of cluster",
        ),
        (
            json!({"spread": [{"topologyKey": "region", "minDomains": 3, "maxDomains": 2}]}),
            "minDomains is above maxDomains",
        ),
        (json!({"spread": [{"topologyKey": "rack"}]}), "label: with a label's key"),
        (
            json!({"survive": {"domain": "Region"}, "replicas": {"mode": "Duplicate"}}),
            "leave survive out, or write mode: Divide",
        ),
        (
            json!({"survive": {"domain": "Region", "standby": "Running"}}),
            "write minReplicasPercent: 99 or less, or standby: Spare",
        ),
        (
            json!({"replicas": {"strategy": "Pack", "weights": [{"weight": 2}]}}),
            "weights count with strategy: Weighted only",
        ),
        (json!({"replicas": {"bounds": [{"min": 4, "max": 2}]}}), "min is above max"),
        (
            json!({"replicas": {"mode": "Duplicate", "bounds": [{"max": 2}]}}),
            "leave weights and bounds out, or write mode: Divide",
        ),
        (
            json!({"replicas": {"mode": "Duplicate", "ordinals": "Partition"}}),
            "leave ordinals out, or write mode: Divide",
        ),
        (
            json!({"replicas": {"ordinals": "Partition", "bounds": [{"min": 1001}]}}),
            "write a min of at most 1000",
        ),
    ];
    for (placement, remedy) in table {
        let said = refusal::<PropagationPolicy>(json!({
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"resourceSelectors": [{"apiVersion": "apps/v1", "kind": "StatefulSet"}],
                "placement": placement}}));
        assert!(said.contains(remedy), "{placement}: {said}");
    }
}

#[test]
fn ordinals_are_for_policies_that_select_stateful_sets() {
    let ordinals = json!({"replicas": {"ordinals": "Partition"}});
    let text = refusal::<PropagationPolicy>(policy(&ordinals));
    assert!(text.contains("add one with kind: StatefulSet, or leave ordinals out"), "{text}");
    let mut good = policy(&ordinals);
    good["spec"]["resourceSelectors"][0]["kind"] = json!("StatefulSet");
    assert_eq!(refusal::<PropagationPolicy>(good), "");
    let definition = serde_json::to_value(PropagationPolicy::crd()).unwrap();
    let ordinals = definition
        .pointer(
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/placement\
             /properties/replicas/properties/ordinals/enum",
        )
        .unwrap();
    assert!(ordinals.as_array().unwrap().contains(&json!("Partition")), "{ordinals}");
}

fn overrides(rule: &Value) -> Value {
    json!({"metadata": {"name": "o", "namespace": "shop"}, "spec": {
        "resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}], "rules": [rule]}})
}

#[test]
fn an_override_that_says_nothing_or_two_things_is_refused_with_what_to_write() {
    for (rule, expected) in [
        (json!({"image": [{"tag": "2"}]}), ""),
        (json!({"args": [{"container": "web", "append": ["-v"]}]}), ""),
        (
            json!({"image": [{"container": "web"}]}),
            "write at least one of registry, repository, tag and digest",
        ),
        (
            json!({"args": [{"container": "web"}]}),
            "write either set (the whole list), or append and remove",
        ),
        (
            json!({"command": [{"container": "web", "set": ["a"], "append": ["b"]}]}),
            "write either set (the whole list), or append and remove",
        ),
        (json!({"env": [{"container": "web"}]}), "write set, remove, or both"),
        (json!({"labels": {}}), "write set, remove, or both"),
    ] {
        assert_eq!(refusal::<OverridePolicy>(overrides(&rule)), expected, "{rule}");
    }
}

#[test]
fn a_patch_of_any_shape_is_kept_as_it_is_written() {
    let rule = json!({"jsonPatch": [{"op": "add", "path": "/spec/x", "value": [1, {"a": null}]}],
        "mergePatch": {"spec": {"y": null}}});
    let read: OverridePolicy = serde_json::from_value(overrides(&rule)).unwrap();
    let rule = &read.spec.rules[0];
    assert_eq!(rule.json_patch[0].value, Some(json!([1, {"a": null}])));
    assert_eq!(rule.merge_patch, Some(json!({"spec": {"y": null}})));
}

#[test]
fn an_interpreter_counts_replicas_and_pods_in_one_way() {
    let interpreter = |spec: Value| {
        let mut whole = json!({"target": {"group": "example.com", "kind": "Farm"}});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        json!({"metadata": {"name": "farm"}, "spec": whole})
    };
    for (spec, expected) in [
        (json!({"replicas": {"path": "/spec/replicas", "default": 2}}), ""),
        (json!({"replicas": {"cel": "1"}, "pods": {"path": "/spec/template"}}), ""),
        (json!({"replicas": {}}), "write exactly one of path"),
        (json!({"replicas": {"path": "/spec/a", "cel": "1"}}), "write exactly one of path"),
        (
            json!({"replicas": {"path": "/a", "revise": [{"path": "/b", "cel": "1"}]}}),
            "revise goes with cel",
        ),
        (json!({"replicas": {"cel": "1", "default": 2}}), "default goes with path"),
        (json!({"pods": {}}), "write exactly one of path"),
    ] {
        let text = refusal::<ResourceInterpreter>(interpreter(spec.clone()));
        assert!(
            text.starts_with(expected) && text.is_empty() == expected.is_empty(),
            "{spec}: {text}"
        );
    }
    let core = json!({"metadata": {"name": "x"},
        "spec": {"target": {"group": "apps", "kind": "Deployment"}}});
    assert!(refusal::<ResourceInterpreter>(core).contains("built-in kinds are understood already"));
}

#[test]
fn extended_resources_of_a_tenant_have_a_domain() {
    let tenant = |extended: Value| {
        json!({"metadata": {"name": "t"}, "spec": {
        "namespaces": ["shop"], "quota": {"cpu": "20", "extended": extended}}})
    };
    assert_eq!(refusal::<Tenant>(tenant(json!({"nvidia.com/gpu": "8"}))), "");
    let text = refusal::<Tenant>(tenant(json!({"gpu": "8"})));
    assert!(text.contains("such as nvidia.com/gpu"), "{text}");
}
