//! The CustomResourceDefinitions of our kinds, as values and as YAML.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::Value;

use crate::{
    ClusterOverridePolicy, ClusterPropagationPolicy, Drill, FederatedManifest, Federation,
    GlobalService, MemberCluster, OverridePolicy, PropagationPolicy, ResourceBinding,
    ResourceInterpreter, Tenant,
};

/// All our CustomResourceDefinitions, in order of name.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut all = vec![
        ClusterOverridePolicy::crd(),
        ClusterPropagationPolicy::crd(),
        Drill::crd(),
        FederatedManifest::crd(),
        Federation::crd(),
        GlobalService::crd(),
        MemberCluster::crd(),
        OverridePolicy::crd(),
        PropagationPolicy::crd(),
        ResourceBinding::crd(),
        ResourceInterpreter::crd(),
        Tenant::crd(),
    ];
    all.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    all.into_iter().map(with_strict_selectors).collect()
}

/// What may stand in one label selector; a rule in a definition has to know how often it is asked.
const MOST_EXPRESSIONS: u32 = 64;
const MOST_VALUES: u32 = 256;

/// Kubernetes checks the operators of its own selectors in code. In a definition they are plain
/// text, and one that is misspelled would select nothing in silence.
fn with_strict_selectors(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut value = serde_json::to_value(crd).expect("a definition is plain data");
    restrict(&mut value);
    serde_json::from_value(value).expect("it stays a definition")
}

fn restrict(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(list) = fields.get_mut("matchExpressions")
                && list["items"]["properties"]["operator"].is_object()
            {
                list["maxItems"] = MOST_EXPRESSIONS.into();
                let item = &mut list["items"];
                item["properties"]["operator"]["enum"] =
                    serde_json::json!(["In", "NotIn", "Exists", "DoesNotExist"]);
                item["properties"]["values"]["maxItems"] = MOST_VALUES.into();
                item["x-kubernetes-validations"] = serde_json::json!([{
                    "rule": "(has(self.values) && size(self.values) > 0) == (self.operator in ['In', 'NotIn'])",
                    "message": "operators In and NotIn need values, and Exists and DoesNotExist \
                                take none: write values: [...] or leave it out",
                }]);
            }
            fields.values_mut().for_each(restrict);
        }
        Value::Array(list) => list.iter_mut().for_each(restrict),
        _ => {}
    }
}

/// File name of a definition below `manifests/crds`.
pub fn crd_file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural)
}

/// A definition as it stands in `manifests/crds`: YAML with keys in order.
pub fn crd_yaml(crd: &CustomResourceDefinition) -> String {
    let value = serde_json::to_value(crd).expect("a definition is plain data");
    let mut text = String::from("# Generated from crates/api by `cargo xtask codegen`.\n");
    write_value(&mut text, &value, 0);
    text
}

/// Writes block YAML; scalars are written as JSON, which YAML 1.2 contains, so that no string is
/// ever taken for another type.
fn write_value(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (at, (key, field)) in fields.iter().enumerate() {
                if at > 0 || depth == 0 {
                    text.push_str(&"  ".repeat(depth));
                }
                write_key(text, key);
                write_field(text, field, depth + 1);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push_str(&"  ".repeat(depth));
                }
                text.push_str("- ");
                write_value(text, item, depth + 1);
            }
        }
        scalar => {
            text.push_str(&scalar.to_string());
            text.push('\n');
        }
    }
}

fn write_key(text: &mut String, key: &str) {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        && key.starts_with(|c: char| c.is_ascii_alphabetic());
    if plain {
        text.push_str(key);
    } else {
        text.push_str(&Value::from(key).to_string());
    }
    text.push(':');
}

fn write_field(text: &mut String, field: &Value, depth: usize) {
    let nested = match field {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if nested {
        text.push('\n');
        text.push_str(&"  ".repeat(depth));
    } else {
        text.push(' ');
    }
    write_value(text, field, depth);
}

#[cfg(test)]
mod tests;
