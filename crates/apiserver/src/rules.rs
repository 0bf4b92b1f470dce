//! Validation rules of CRDs in the Common Expression Language. Compiled once per definition.

use kube_cel::ErrorKind;
use serde_json::{Value, json};

use crate::{catalog::Kind, failure::Cause};

const RULES: &str = "x-kubernetes-validations";

/// Runs the rules of a kind; the result is what to warn about.
pub(crate) fn check(
    kind: &Kind,
    old: Option<&Value>,
    object: &Value,
    causes: &mut Vec<Cause>,
) -> Vec<String> {
    let Some(custom) = &kind.custom else {
        return Vec::new();
    };
    let compiled = custom.rules.get_or_init(|| {
        // Most schemas have no rules, and then nothing is compiled or kept.
        custom.text.contains(RULES).then(|| {
            let schema = serde_json::from_str(&custom.text).unwrap_or_default();
            kube_cel::compile_schema(&schema)
        })
    });
    let Some(compiled) = compiled else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    if let Err(errors) = kube_cel::validate_compiled(compiled, object, old) {
        for error in errors.into_vec() {
            match error.kind {
                // The library lacks some functions; a rule that needs one is not enforced.
                ErrorKind::CompilationFailure
                | ErrorKind::InvalidRule
                | ErrorKind::UnsupportedReference => {
                    warnings.push(format!("rule {:?} is not enforced: {error}", error.rule));
                }
                _ => causes.push(cause(&error, object)),
            }
        }
    }
    warnings
}

/// The rules of a definition that cannot be compiled: they are not enforced.
pub(crate) fn unusable(definition: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let versions = definition["spec"]["versions"].as_array();
    for (index, version) in versions.into_iter().flatten().enumerate() {
        let schema = &version["schema"]["openAPIV3Schema"];
        let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
        visit(schema, &path, &mut warnings);
    }
    warnings
}

fn visit(schema: &Value, path: &str, warnings: &mut Vec<String>) {
    let rules = schema[RULES].as_array();
    for rule in rules.into_iter().flatten() {
        let alone = json!({ "type": schema["type"], RULES: [rule] });
        let compiled = kube_cel::compile_schema(&alone);
        for error in compiled.compilation_errors() {
            warnings.push(format!("{path}: a rule is not enforced: {error}"));
        }
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        visit(schema, &format!("{path}.properties[{name}]"), warnings);
    }
    for name in ["items", "additionalProperties"] {
        if schema[name].is_object() {
            visit(&schema[name], &format!("{path}.{name}"), warnings);
        }
    }
}

fn cause(error: &kube_cel::ValidationError, object: &Value) -> Cause {
    let path = error.field_path.trim_start_matches('.').to_owned();
    let value = path.split('.').fold(object, |value, name| &value[name]);
    let shown = match value {
        Value::Object(_) => Value::from("object"),
        Value::Array(_) => Value::from("array"),
        other => other.clone(),
    };
    if error.kind != ErrorKind::ValidationFailure {
        let detail = format!("rule {:?} could not be evaluated: {}", error.rule, error.message);
        return Cause::invalid(path, &shown, &detail);
    }
    match error.reason.as_deref() {
        Some("FieldValueForbidden") => Cause::forbidden(path, &error.message),
        Some("FieldValueRequired") => Cause::required(path, &error.message),
        Some("FieldValueDuplicate") => Cause::duplicate(path, &shown),
        _ => Cause::invalid(path, &shown, &error.message),
    }
}
