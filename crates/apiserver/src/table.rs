//! Tables: the columns that `kubectl get` prints, computed here as kube-apiserver does.

mod cells;
pub(crate) mod jsonpath;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    request::Call,
    view::{self, Include},
};

/// A column: name, type, priority (above 0 only with `-o wide`), how its cell is made, description.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Column(String, String, u8, String, #[serde(default)] String);

/// Objects as a table.
pub(crate) fn table(
    call: &Call,
    version: &str,
    include: Include,
    meta: &Value,
    objects: &[Value],
) -> Value {
    let kind = &call.shown;
    let mut columns = Vec::with_capacity(kind.columns.len() + 1);
    if !kind.nameless {
        columns.push(json!({
            "name": "Name",
            "type": "string",
            "format": "name",
            "description": "Name must be unique within a namespace.",
            "priority": 0,
        }));
    }
    for Column(name, of, priority, _, description) in &kind.columns {
        let of = if of == "date" && kind.custom.is_none() { "string" } else { of };
        columns.push(json!({
            "name": name,
            "type": of,
            "format": "",
            "description": description,
            "priority": priority,
        }));
    }
    let now = call.server.wall().now();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut cells = Vec::with_capacity(columns.len());
            if !kind.nameless {
                cells.push(object["metadata"]["name"].clone());
            }
            for Column(_, _, _, cell, _) in &kind.columns {
                cells.push(cells::cell(cell, object, now));
            }
            let shown = match include {
                Include::None => Value::Null,
                Include::Metadata => view::partial(object),
                Include::Object => object.clone(),
            };
            json!({ "cells": cells, "object": shown })
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": version,
        "metadata": meta,
        "columnDefinitions": columns,
        "rows": rows,
    })
}
