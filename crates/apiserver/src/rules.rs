//! Validation rules of CRDs in the Common Expression Language. Compiled once per definition.
//!
//! An update is judged where it changed something: each place of the schema that has rules is
//! asked alone, with no more of the value than its rules read, and a place whose value stays as it
//! was only by the rules that compare it with its past. That is what Kubernetes does too (KEP-4008).
//! Where a place does not agree, the whole object is judged, and that is the answer.

use std::{borrow::Cow, collections::BTreeSet};

use kube_cel::{
    CompiledSchema, ErrorKind,
    cel::{
        IdedExpr,
        common::ast::{EntryExpr, Expr},
    },
};
use serde_json::{Map, Value, json};

use crate::{catalog::Kind, conform, failure::Cause, schema::Schema};

const RULES: &str = "x-kubernetes-validations";
/// Deeper schemas are judged as a whole; the library refuses those of 64 and more.
const DEPTH: usize = 60;

/// The rules of a definition.
pub(crate) struct Rules {
    whole: CompiledSchema,
    /// The places that have rules; absent where only the whole can be judged.
    places: Option<Place>,
}

/// A place of the schema with rules at it or below it.
#[derive(Default)]
struct Place {
    own: Vec<Own>,
    /// At it or below it are rules that compare with the past.
    remembers: bool,
    fields: Vec<(Box<str>, Self)>,
    /// Values with free names, and the names that are not free.
    rest: Option<(Box<Self>, BTreeSet<Box<str>>)>,
    items: Option<Box<Self>>,
}

/// Rules of one place: all that compare with the past, or all others.
struct Own {
    /// They, and what of the schema decides how they see the value.
    compiled: CompiledSchema,
    /// The fields of the value that they read; absent: any.
    reads: Option<BTreeSet<String>>,
    remembers: bool,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules").field("in_places", &self.places.is_some()).finish_non_exhaustive()
    }
}

impl Rules {
    fn of(schema: &str) -> Self {
        let schema: Value = serde_json::from_str(schema).unwrap_or_default();
        let whole = kube_cel::compile_schema(&schema);
        Self { places: Place::of(&schema, 0), whole }
    }

    /// Whether what changed is surely in order.
    fn hold(&self, schema: &Schema, old: Option<&Value>, object: &Value) -> bool {
        self.places.as_ref().is_some_and(|root| root.hold(Some(schema), old, object, false))
    }
}

impl Place {
    /// `None` when a schema's rules cannot be asked place by place.
    fn of(schema: &Value, depth: usize) -> Option<Self> {
        // Rules do not stand in these; if they do, the library knows what they mean.
        let branched = ["allOf", "oneOf", "anyOf"].iter().any(|name| has_rules(&schema[*name]));
        if depth > DEPTH || branched {
            return None;
        }
        let mut place = Self { own: Own::of(schema), ..Self::default() };
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            if has_rules(below) {
                place.fields.push((name.as_str().into(), Self::of(below, depth + 1)?));
            }
        }
        let free = &schema["additionalProperties"];
        let kept = schema["x-kubernetes-preserve-unknown-fields"] == true;
        if has_rules(free) && !kept {
            let named = schema["properties"].as_object().into_iter().flatten();
            let named = named.map(|(name, _)| name.as_str().into()).collect();
            place.rest = Some((Box::new(Self::of(free, depth + 1)?), named));
        }
        if has_rules(&schema["items"]) {
            place.items = Some(Box::new(Self::of(&schema["items"], depth + 1)?));
        }
        let below = place.fields.iter().map(|(_, below)| below);
        let below = below.chain(place.rest.iter().map(|(below, _)| &**below));
        let mut below = below.chain(place.items.as_deref());
        place.remembers =
            place.own.iter().any(|own| own.remembers) || below.any(|below| below.remembers);
        Some(place)
    }

    /// `may_stand`: a value that is as it was is in order as it was.
    fn hold(
        &self,
        schema: Option<&Schema>,
        old: Option<&Value>,
        value: &Value,
        may_stand: bool,
    ) -> bool {
        let stands = may_stand && old == Some(value);
        if stands && !self.remembers {
            return true;
        }
        let mut own = self.own.iter().filter(|own| own.remembers || !stands);
        if !own.all(|own| own.hold(schema, old, value)) {
            return false;
        }
        let field = |name: &str| schema.and_then(|schema| schema.field(name));
        let before = |name: &str| old.and_then(|old| old.get(name));
        let in_fields = self.fields.iter().all(|(name, place)| {
            value
                .get(&**name)
                .is_none_or(|value| place.hold(field(name), before(name), value, true))
        });
        let in_rest = self.rest.as_ref().is_none_or(|(place, named)| {
            let mut all = value.as_object().into_iter().flatten();
            all.all(|(name, value)| {
                named.contains(name.as_str()) || place.hold(field(name), before(name), value, true)
            })
        });
        let in_items = self.items.as_ref().is_none_or(|place| {
            let items = schema.and_then(Schema::items);
            let mut all = value.as_array().into_iter().flatten().enumerate();
            all.all(|(index, value)| {
                let before = old.and_then(|old| old.get(index));
                // Another item may have stood here.
                place.hold(items, before, value, stands)
            })
        });
        in_fields && in_rest && in_items
    }
}

impl Own {
    fn of(schema: &Value) -> Vec<Self> {
        let (mut remembering, mut others) = (Vec::new(), Vec::new());
        for rule in schema[RULES].as_array().into_iter().flatten() {
            // What cannot be compiled fails when it is asked, and then the whole is judged.
            let alone = kube_cel::compile_schema(&json!({ RULES: [rule] }));
            let mut compiled = alone.validations.iter().flatten();
            if compiled.any(|one| one.is_transition_rule) {
                remembering.push(rule.clone());
            } else {
                others.push(rule.clone());
            }
        }
        let all = [(remembering, true), (others, false)].into_iter();
        let all = all.filter(|(rules, _)| !rules.is_empty());
        all.map(|(rules, remembers)| Self::with(schema, &rules.into(), remembers)).collect()
    }

    fn with(schema: &Value, rules: &Value, remembers: bool) -> Self {
        let mut seen = as_seen(schema).unwrap_or_else(|| json!({}));
        seen[RULES] = rules.clone();
        let compiled = kube_cel::compile_schema(&seen);
        let mut reads = BTreeSet::new();
        let programs = compiled.validations.iter().flatten().map(|one| one.program.expression());
        let few = all_read(programs, &mut reads);
        // Names that CEL writes differently, or maps, are not worth the trouble.
        let plain = reads.iter().all(|name| !name.contains("__"));
        let reads = (few && plain && schema["properties"].is_object()).then_some(reads);
        if let (Some(reads), Some(properties)) = (&reads, seen["properties"].as_object_mut()) {
            properties.retain(|name, _| reads.contains(name));
        }
        Self { compiled: kube_cel::compile_schema(&seen), reads, remembers }
    }

    fn hold(&self, schema: Option<&Schema>, old: Option<&Value>, value: &Value) -> bool {
        let old = old.filter(|_| self.remembers).map(|old| {
            // An old object may be older than the defaults.
            let mut old = self.part(old).into_owned();
            if let Some(schema) = schema {
                conform::fill(schema, &mut old);
            }
            old
        });
        kube_cel::validate_compiled(&self.compiled, &self.part(value), old.as_ref()).is_ok()
    }

    /// What the rules read of a value.
    fn part<'a>(&self, value: &'a Value) -> Cow<'a, Value> {
        let (Some(reads), Some(object)) = (&self.reads, value.as_object()) else {
            return Cow::Borrowed(value);
        };
        let read = reads.iter().filter_map(|name| Some((name.clone(), object.get(name)?.clone())));
        Cow::Owned(Value::Object(read.collect()))
    }
}

fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.contains_key(RULES) || map.values().any(has_rules),
        Value::Array(list) => list.iter().any(has_rules),
        _ => false,
    }
}

/// What of a schema changes how an expression sees a value; nothing for plain ones.
fn as_seen(schema: &Value) -> Option<Value> {
    let mut seen = Map::new();
    let mut keep = |name: &str, value: Value| drop(seen.insert(name.to_owned(), value));
    for name in ["x-kubernetes-int-or-string", "x-kubernetes-embedded-resource"] {
        if schema[name] == true {
            keep(name, true.into());
        }
    }
    if matches!(schema["format"].as_str(), Some("date-time" | "duration" | "byte")) {
        keep("format", schema["format"].clone());
    }
    let free = &schema["additionalProperties"];
    if free.is_object() || *free == true {
        keep("additionalProperties", as_seen(free).unwrap_or(Value::Bool(true)));
    }
    if let Some(items) = schema.get("items").and_then(as_seen) {
        keep("items", items);
    }
    let fields = schema["properties"].as_object().into_iter().flatten();
    let fields: Map<String, Value> =
        fields.filter_map(|(name, schema)| Some((name.clone(), as_seen(schema)?))).collect();
    if !fields.is_empty() {
        keep("properties", fields.into());
    }
    (!seen.is_empty()).then_some(Value::Object(seen))
}

/// Collects the fields of `self` and `oldSelf` that an expression reads; false when it may read
/// others too.
fn fields_read(expression: &IdedExpr, names: &mut BTreeSet<String>) -> bool {
    let is_self =
        |one: &Expr| matches!(one, Expr::Ident(name) if name == "self" || name == "oldSelf");
    match &expression.expr {
        Expr::Select(select) if is_self(&select.operand.expr) => {
            names.insert(select.field.clone());
            true
        }
        Expr::Select(select) => fields_read(&select.operand, names),
        Expr::Call(call) => all_read(call.target.as_deref().into_iter().chain(&call.args), names),
        Expr::Comprehension(one) => {
            let parts =
                [&one.iter_range, &one.accu_init, &one.loop_cond, &one.loop_step, &one.result];
            all_read(parts.into_iter(), names)
        }
        Expr::List(list) => all_read(list.elements.iter(), names),
        Expr::Map(map) => all_read(map.entries.iter().flat_map(|one| parts(&one.expr)), names),
        Expr::Struct(one) => all_read(one.entries.iter().flat_map(|one| parts(&one.expr)), names),
        other => !is_self(other),
    }
}

fn all_read<'a>(
    expressions: impl Iterator<Item = &'a IdedExpr>,
    names: &mut BTreeSet<String>,
) -> bool {
    let mut few = true;
    for one in expressions {
        few &= fields_read(one, names);
    }
    few
}

fn parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
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
    let Some(rules) = rules.as_ref().filter(|rules| !rules.hold(&custom.schema, old, object))
    else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    if let Err(errors) = kube_cel::validate_compiled(&rules.whole, object, old) {
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

#[cfg(test)]
mod tests;
