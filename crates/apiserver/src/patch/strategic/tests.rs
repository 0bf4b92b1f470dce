//! Examples of strategic merge patches.

use serde_json::json;

use super::*;
use crate::definitions;

fn patched(target: &Value, patch: &Value) -> Value {
    let schema = definitions::schema("io.k8s.api.apps.v1.Deployment");
    let mut target = target.clone();
    merge(schema, &mut target, patch).unwrap();
    target
}

fn deployment(containers: &Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": containers}}}})
}

#[test]
fn containers_are_merged_by_name_and_kept_otherwise() {
    let old = deployment(&json!([{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]));
    let patch = deployment(&json!([{"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"}]));
    let new = patched(&old, &patch);
    assert_eq!(
        new,
        deployment(&json!([
            {"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"},
        ]))
    );
}

#[test]
fn directives_delete_replace_and_order() {
    let old = deployment(&json!([{"name": "a"}, {"name": "b"}, {"name": "c"}]));
    let gone = patched(&old, &deployment(&json!([{"name": "b", "$patch": "delete"}])));
    assert_eq!(gone, deployment(&json!([{"name": "a"}, {"name": "c"}])));
    let replaced = patched(&old, &deployment(&json!([{"$patch": "replace"}, {"name": "z"}])));
    assert_eq!(replaced, deployment(&json!([{"name": "z"}])));
    let patch = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
        "containers": [{"name": "a", "image": "x"}],
    }}}});
    let ordered = patched(&old, &patch);
    assert_eq!(
        ordered,
        deployment(&json!([{"name": "b"}, {"name": "c"}, {"name": "a", "image": "x"}]))
    );
}

#[test]
fn retain_keys_drops_what_it_does_not_name() {
    let old =
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    assert_eq!(patched(&old, &patch), json!({"spec": {"strategy": {"type": "Recreate"}}}));
}

#[test]
fn atomic_lists_are_replaced() {
    let old = deployment(&json!([{"name": "a", "command": ["x", "y"]}]));
    let new = patched(&old, &deployment(&json!([{"name": "a", "command": ["z"]}])));
    assert_eq!(new, deployment(&json!([{"name": "a", "command": ["z"]}])));
}
