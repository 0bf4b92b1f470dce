//! Validation rules of CRDs in the Common Expression Language. Compiled once per definition.

use kube_cel::ErrorKind;
use serde_json::{Value, json};

use crate::{catalog::Kind, failure::Cause};

const RULES: &str = "x-kubernetes-validations";

/// The rules of a definition.
pub(crate) struct Rules {
    compiled: kube_cel::CompiledSchema,
    /// The fields of the object under which there are rules; absent: the object itself has some.
    under: Option<Vec<String>>,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules").field("under", &self.under).finish_non_exhaustive()
    }
}

impl Rules {
    fn of(schema: &str) -> Self {
        let schema: Value = serde_json::from_str(schema).unwrap_or_default();
        let fields = schema["properties"].as_object().into_iter().flatten();
        let ruled = fields.filter(|(_, field)| field.to_string().contains(RULES));
        let under = schema[RULES].is_null().then(|| ruled.map(|(name, _)| name.clone()).collect());
        Self { compiled: kube_cel::compile_schema(&schema), under }
    }

    /// What an update leaves as it was is not judged again: most are of a status without rules.
    fn concern(&self, old: Option<&Value>, object: &Value) -> bool {
        let (Some(under), Some(old)) = (&self.under, old) else {
            return true;
        };
        under.iter().any(|field| old.get(field) != object.get(field))
    }
}

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
    // Most schemas have no rules, and then nothing is compiled or kept.
    let rules =
        custom.rules.get_or_init(|| custom.text.contains(RULES).then(|| Rules::of(&custom.text)));
    let Some(rules) = rules.as_ref().filter(|rules| rules.concern(old, object)) else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    if let Err(errors) = kube_cel::validate_compiled(&rules.compiled, object, old) {
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
