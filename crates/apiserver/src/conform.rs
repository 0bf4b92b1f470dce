//! Brings an incoming object into the form of its schema: nulls that mean nothing go, unknown
//! fields go and are reported, wrong types are reported. And the bounds that CRDs set.

use serde_json::{Map, Value};

use crate::{
    failure::Cause,
    schema::{Limits, Scalar, Schema, Shape},
    trail::Trail,
};

/// What did not fit.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Paths of fields that the schema does not know.
    pub(crate) unknown: Vec<String>,
    pub(crate) wrong: Vec<Wrong>,
}

/// A value of the wrong type.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) path: String,
    pub(crate) expected: &'static str,
    pub(crate) value: Value,
}

/// Removes what the schema does not know and reports what does not fit.
pub(crate) fn conform(schema: &Schema, value: &mut Value) -> Report {
    let mut report = Report::default();
    visit(schema, value, &Trail::ROOT, &mut report);
    report
}

/// Checks the bounds of a CRD schema, and its required fields. What an update leaves as it was in
/// `old` is not checked again, as in Kubernetes (KEP-4008).
pub(crate) fn check(schema: &Schema, old: Option<&Value>, value: &Value, causes: &mut Vec<Cause>) {
    bounds(schema, old, value, &Trail::ROOT, causes);
}

/// Fills in the defaults of a CRD schema.
pub(crate) fn fill(schema: &Schema, value: &mut Value) {
    match &schema.get().shape {
        Shape::Object { properties, rest } => {
            let Some(object) = value.as_object_mut() else {
                return;
            };
            for (name, schema) in properties {
                if let Some(default) = schema.default.as_deref()
                    && !object.contains_key(&**name)
                {
                    object.insert(name.to_string(), default.clone());
                }
            }
            for (name, value) in object.iter_mut() {
                let schema = properties.get(name.as_str()).or(rest.as_deref());
                if let Some(schema) = schema {
                    fill(schema, value);
                }
            }
        }
        Shape::List(items) => {
            for item in value.as_array_mut().into_iter().flatten() {
                fill(items, item);
            }
        }
        _ => {}
    }
}

fn visit(schema: &Schema, value: &mut Value, trail: &Trail<'_>, report: &mut Report) {
    let target = schema.get();
    let expected = match &target.shape {
        Shape::Anything | Shape::Reference(..) => None,
        Shape::Scalar(scalar) => fit(*scalar, value),
        Shape::Object { properties, rest } => match value.as_object_mut() {
            Some(object) => {
                let keep = schema.preserve || target.preserve;
                let embedded = schema.embedded || target.embedded;
                let field = |name: &str| properties.get(name).or(rest.as_deref());
                fields(object, field, &target.required, (keep, embedded), trail, report);
                None
            }
            None => Some("object"),
        },
        Shape::List(items) => match value.as_array_mut() {
            Some(list) => {
                for (index, item) in list.iter_mut().enumerate() {
                    visit(items, item, &trail.item(index), report);
                }
                None
            }
            None => Some("array"),
        },
    };
    if let Some(expected) = expected {
        report.wrong.push(Wrong { path: trail.to_string(), expected, value: value.clone() });
    }
}

fn fields<'a>(
    object: &mut Map<String, Value>,
    field: impl Fn(&str) -> Option<&'a Schema>,
    required: &[Box<str>],
    (keep, embedded): (bool, bool),
    trail: &Trail<'_>,
    report: &mut Report,
) {
    object.retain(|name, value| match field(name) {
        Some(schema) if means_nothing(schema, value) => required.iter().any(|one| **one == **name),
        Some(schema) if value.is_null() => schema.nullable || schema.preserve,
        Some(schema) => {
            visit(schema, value, &trail.field(name), report);
            true
        }
        None if keep => true,
        None if embedded && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") => true,
        None => {
            report.unknown.push(trail.field(name).to_string());
            false
        }
    });
}

/// Go leaves empty lists and maps of the built-in kinds out.
fn means_nothing(schema: &Schema, value: &Value) -> bool {
    if schema.custom {
        return false;
    }
    match (value, &schema.get().shape) {
        (Value::Array(list), Shape::List(_)) => list.is_empty(),
        (Value::Object(map), Shape::Object { properties, .. }) => {
            map.is_empty() && properties.is_empty()
        }
        _ => false,
    }
}

/// What was expected, when the value does not fit. Quantities given as numbers become texts.
fn fit(scalar: Scalar, value: &mut Value) -> Option<&'static str> {
    let (fits, name) = match scalar {
        Scalar::String | Scalar::Time | Scalar::Bytes => (value.is_string(), "string"),
        Scalar::Integer => (value.is_i64() || value.is_u64(), "integer"),
        Scalar::Number => (value.is_number(), "number"),
        Scalar::Boolean => (value.is_boolean(), "boolean"),
        Scalar::IntOrString => {
            (value.is_string() || value.is_i64() || value.is_u64(), "integer or string")
        }
        Scalar::Quantity => {
            if value.is_number() {
                *value = value.to_string().into();
            }
            (value.is_string(), "string")
        }
    };
    (!fits).then_some(name)
}

fn bounds(
    schema: &Schema,
    old: Option<&Value>,
    value: &Value,
    trail: &Trail<'_>,
    causes: &mut Vec<Cause>,
) {
    if let Some(limits) = &schema.limits {
        limit(limits, value, trail, causes);
    }
    let target = schema.get();
    match &target.shape {
        Shape::Object { properties, rest } => {
            let Some(object) = value.as_object() else {
                return;
            };
            for name in &target.required {
                if !object.contains_key(&**name) {
                    causes.push(Cause::required(trail.field(name).to_string(), ""));
                }
            }
            for (name, value) in object {
                // The object's own metadata has its own rules.
                if trail.is_root() && name == "metadata" {
                    continue;
                }
                let before = old.and_then(|old| old.get(name));
                let schema = properties.get(name.as_str()).or(rest.as_deref());
                if let Some(schema) = schema.filter(|_| before != Some(value)) {
                    bounds(schema, before, value, &trail.field(name), causes);
                }
            }
        }
        Shape::List(items) => {
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                // Which of the old items this one was is not known.
                bounds(items, None, item, &trail.item(index), causes);
            }
        }
        _ => {}
    }
}

fn limit(limits: &Limits, value: &Value, trail: &Trail<'_>, causes: &mut Vec<Cause>) {
    let mut bad = |text: String| causes.push(Cause::invalid(trail.to_string(), value, &text));
    if let Some(number) = value.as_f64() {
        if let Some(bound) = limits.minimum
            && (number < bound || (limits.exclusive_minimum && number <= bound))
        {
            let or_equal = if limits.exclusive_minimum { "" } else { " or equal to" };
            bad(format!("{trail} in body should be greater than{or_equal} {bound}"));
        }
        if let Some(bound) = limits.maximum
            && (number > bound || (limits.exclusive_maximum && number >= bound))
        {
            let or_equal = if limits.exclusive_maximum { "" } else { " or equal to" };
            bad(format!("{trail} in body should be less than{or_equal} {bound}"));
        }
    }
    sizes(limits, value, trail, causes);
    if let (Some(pattern), Some(text)) = (&limits.pattern, value.as_str())
        && !limits.matches(text)
    {
        let text = format!("{trail} in body should match '{pattern}'");
        causes.push(Cause::invalid(trail.to_string(), value, &text));
    }
    if !limits.options.is_empty() && !limits.options.contains(value) {
        let options: Vec<String> = limits
            .options
            .iter()
            .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        causes.push(Cause::unsupported(trail.to_string(), value, &options));
    }
}

/// How long texts are, and how many items or fields there are.
fn sizes(limits: &Limits, value: &Value, trail: &Trail<'_>, causes: &mut Vec<Cause>) {
    let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    let (length, least, most, what) = match value {
        Value::String(text) => {
            // Bytes are never fewer than characters.
            let bytes = count(text.len());
            let long = limits.max_length.is_some_and(|most| bytes > most);
            let counted = long || limits.min_length.is_some_and(|least| least > 0);
            let length = if counted { count(text.chars().count()) } else { bytes };
            (length, limits.min_length, limits.max_length, "chars long")
        }
        Value::Array(list) => (count(list.len()), limits.min_items, limits.max_items, "items"),
        Value::Object(map) => {
            let (least, most) = (limits.min_properties, limits.max_properties);
            (count(map.len()), least, most, "properties")
        }
        _ => return,
    };
    if let Some(least) = least.filter(|least| length < *least) {
        let text = format!("{trail} in body should have at least {least} {what}");
        causes.push(Cause::invalid(trail.to_string(), value, &text));
    }
    if let Some(most) = most.filter(|most| length > *most) {
        let text = format!("{trail} in body should have at most {most} {what}");
        causes.push(Cause::invalid(trail.to_string(), value, &text));
    }
}

#[cfg(test)]
mod tests;
