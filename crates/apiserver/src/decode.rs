//! Request bodies: JSON, YAML or protobuf in, a value that fits the kind out.

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use crate::{
    conform, events,
    failure::{Cause, Failure},
    protobuf,
    request::{Call, FieldValidation},
};

/// An object from a request, in the stored form, and what to warn about.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) object: Value,
    pub(crate) warnings: Vec<String>,
}

/// The object of a POST or PUT.
pub(crate) fn object(call: &Call, body: &Bytes) -> Result<Decoded, Failure> {
    let mut object = value(call, body)?;
    type_meta(call, &mut object)?;
    let warnings = fit(call, &mut object)?;
    if call.kind.group != call.shown.group {
        events::store(&mut object);
    }
    Ok(Decoded { object, warnings })
}

/// A body as a value, by its content type; an empty one is null.
pub(crate) fn value(call: &Call, body: &Bytes) -> Result<Value, Failure> {
    let media = call.content_type.split(';').next().unwrap_or_default();
    if body.is_empty() {
        return Ok(Value::Null);
    }
    match media.trim() {
        "application/json" | "" => json(body),
        "application/yaml" => yaml(body),
        "application/vnd.kubernetes.protobuf" => {
            let definition = call.shown.definition();
            protobuf::decode(body, definition).map_err(|error| {
                Failure::bad_request(format!("the protobuf body cannot be read: {error}"))
            })
        }
        other => Err(Failure::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf; it was {other:?}"
        ))),
    }
}

pub(crate) fn json(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        Failure::bad_request(format!(
            "the object provided is unrecognized (must be of type JSON): {error}"
        ))
    })
}

pub(crate) fn yaml(body: &[u8]) -> Result<Value, Failure> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Failure::bad_request(format!("the YAML body is not UTF-8: {error}")))?;
    // What clients of this server send is JSON, which is read much faster as such.
    if text.starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    serde_saphyr::from_str(text)
        .map_err(|error| Failure::bad_request(format!("error converting YAML to JSON: {error}")))
}

/// Checks or fills in `apiVersion` and `kind`.
pub(crate) fn type_meta(call: &Call, object: &mut Value) -> Result<(), Failure> {
    let kind = &call.shown;
    let Some(map) = object.as_object_mut() else {
        return Err(Failure::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: the body must be an object",
            kind.kind, kind.version, kind.kind
        )));
    };
    let expected = [("apiVersion", kind.api_version()), ("kind", kind.kind.as_str())];
    for (name, expected) in expected {
        let given = map.get(name).and_then(Value::as_str).unwrap_or_default();
        if !given.is_empty() && given != expected {
            return Err(Failure::bad_request(format!(
                "the {name} in the data ({given}) does not match the expected {name} ({expected})"
            )));
        }
        if given.is_empty() {
            map.insert(name.to_owned(), expected.into());
        }
    }
    Ok(())
}

/// Makes the object fit its schema, or says why it cannot.
pub(crate) fn fit(call: &Call, object: &mut Value) -> Result<Vec<String>, Failure> {
    let kind = &call.shown;
    let report = conform::conform(kind.schema(), object);
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if let Some(wrong) = report.wrong.first() {
        if kind.custom.is_none() {
            return Err(Failure::bad_request(format!(
                "{} in version {:?} cannot be handled as a {}: json: cannot unmarshal {} into field {}.{} of type {}",
                kind.kind,
                kind.version,
                kind.kind,
                type_name(&wrong.value),
                kind.kind,
                wrong.path,
                wrong.expected
            )));
        }
        let causes: Vec<Cause> = report
            .wrong
            .iter()
            .map(|wrong| Cause {
                reason: "FieldValueTypeInvalid",
                message: format!(
                    "Invalid value: {:?}: {} in body must be of type {}: {:?}",
                    type_name(&wrong.value),
                    wrong.path,
                    wrong.expected,
                    type_name(&wrong.value)
                ),
                field: wrong.path.clone(),
            })
            .collect();
        return Err(Failure::invalid(call.kind_subject(name), &causes));
    }
    unknown(call, &report.unknown)
}

fn unknown(call: &Call, paths: &[String]) -> Result<Vec<String>, Failure> {
    let texts = paths.iter().map(|path| format!("unknown field {path:?}"));
    let texts: Vec<String> = texts.collect();
    match call.field_validation()? {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(texts),
        FieldValidation::Strict if texts.is_empty() => Ok(texts),
        FieldValidation::Strict => Err(Failure::new(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            format!(
                "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
                call.shown.kind,
                call.shown.version,
                call.shown.kind,
                texts.join(", ")
            ),
            None,
        )),
    }
}

const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
