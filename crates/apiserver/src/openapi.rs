//! OpenAPI v3: one document per group and version, made when somebody asks for it.
//!
//! Clients learn from it which fields there are (explain), how to patch, and which parameters
//! the server takes.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    body::Body,
    catalog::{Catalog, Kind, group_version},
    definitions, discovery,
    failure::Failure,
    request::{JSON, Reply},
};

/// `/openapi/v3`
pub(crate) fn index(catalog: &Catalog) -> Value {
    let mut paths = Map::new();
    for (group, versions) in discovery::group_versions(catalog) {
        for version in versions {
            let path = if group.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{group}/{version}")
            };
            let hash = hash(catalog, &group, &version);
            let url = format!("/openapi/v3/{path}?hash={hash}");
            paths.insert(path, json!({ "serverRelativeURL": url }));
        }
    }
    json!({ "paths": paths })
}

/// `/openapi/v3/api/V`, `/openapi/v3/apis/G/V`
pub(crate) fn document(
    catalog: &Catalog,
    group: &str,
    version: &str,
    _query: Option<&str>,
) -> Result<Reply, Failure> {
    let kinds = kinds(catalog, group, version);
    if kinds.is_empty() {
        return Err(Failure::no_resource());
    }
    let mut paths = Map::new();
    let mut schemas = String::new();
    let mut wanted: Vec<String> = ["DeleteOptions", "Status", "ObjectMeta", "ListMeta"]
        .map(|name| format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"))
        .to_vec();
    for kind in &kinds {
        add_paths(kind, &mut paths);
        match kind.definition() {
            Some(definition) => wanted.push(definition.to_owned()),
            None => add_schema(&mut schemas, &component(kind), &custom_schema(kind).to_string()),
        }
    }
    let mut done = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        let Some(text) = definitions::text(&name) else {
            continue;
        };
        if !done.insert(name.clone()) {
            continue;
        }
        add_schema(&mut schemas, &name, text);
        let references = text.split(definitions::REFERENCE).skip(1);
        wanted.extend(references.filter_map(|rest| rest.split('"').next().map(str::to_owned)));
    }
    let text = format!(
        r#"{{"openapi":"3.0.0","info":{{"title":"Kubernetes","version":"v1.37.1"}},"paths":{},"components":{{"schemas":{{{schemas}}}}}}}"#,
        Value::Object(paths)
    );
    Ok(Reply::new(StatusCode::OK, JSON, Body::whole(text)))
}

fn add_schema(schemas: &mut String, name: &str, text: &str) {
    if !schemas.is_empty() {
        schemas.push(',');
    }
    schemas.push_str(&Value::from(name).to_string());
    schemas.push(':');
    schemas.push_str(text);
}

fn kinds<'a>(catalog: &'a Catalog, group: &str, version: &str) -> Vec<&'a Kind> {
    let found = catalog.kinds().map(AsRef::as_ref);
    found.filter(|kind: &&Kind| kind.group == group && kind.version == version).collect()
}

/// Changes whenever the document does.
fn hash(catalog: &Catalog, group: &str, version: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(env!("CARGO_PKG_VERSION"));
    digest.update(group_version(group, version));
    for kind in kinds(catalog, group, version) {
        digest.update(&kind.plural);
        if let Some(custom) = &kind.custom {
            digest.update(&custom.origin);
        }
    }
    let digest = digest.finalize();
    digest.iter().take(16).map(|byte| format!("{byte:02X}")).collect()
}

/// The name of a custom kind's schema: the group backwards, version, kind.
fn component(kind: &Kind) -> String {
    let group: Vec<&str> = kind.group.rsplit('.').collect();
    format!("{}.{}.{}", group.join("."), kind.version, kind.kind)
}

fn custom_schema(kind: &Kind) -> Value {
    let text = kind.custom.as_ref().map_or("{}", |custom| &custom.text);
    let mut schema: Value = serde_json::from_str(text).unwrap_or_default();
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    let meta = format!("{}{}", definitions::REFERENCE, definitions::OBJECT_META);
    let properties = &mut schema["properties"];
    properties["apiVersion"] = json!({
        "type": "string",
        "description": "APIVersion defines the versioned schema of this representation of an object.",
    });
    properties["kind"] = json!({
        "type": "string",
        "description": "Kind is a string value representing the REST resource this object represents.",
    });
    properties["metadata"] = json!({
        "allOf": [{ "$ref": meta }],
        "description": "Standard object's metadata.",
    });
    schema["x-kubernetes-group-version-kind"] = json!([gvk(kind)]);
    schema
}

fn gvk(kind: &Kind) -> Value {
    json!({ "group": kind.group, "version": kind.version, "kind": kind.kind })
}

fn add_paths(kind: &Kind, paths: &mut Map<String, Value>) {
    let root = if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    };
    let base = if kind.namespaced {
        format!("{root}/namespaces/{{namespace}}/{}", kind.plural)
    } else {
        format!("{root}/{}", kind.plural)
    };
    let name = kind.definition().map_or_else(|| component(kind), str::to_owned);
    let schema = json!({ "$ref": format!("{}{name}", definitions::REFERENCE) });
    let operation = |action: &str, parameters: &[&str], media: &[&str]| {
        operation(kind, &schema, action, parameters, media)
    };
    let write = ["dryRun", "fieldManager", "fieldValidation"];
    if kind.review {
        paths.insert(base, json!({ "post": operation("post", &write, &["*/*"]) }));
        return;
    }
    let mut media = vec![
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
    ];
    if kind.custom.is_none() {
        media.push("application/strategic-merge-patch+json");
    }
    let lists = ["continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "watch"];
    let many = json!({
        "get": operation("list", &lists, &[]),
        "post": operation("post", &write, &["*/*"]),
        "delete": operation("deletecollection", &["dryRun", "fieldSelector", "labelSelector"], &[]),
    });
    let force = ["dryRun", "fieldManager", "fieldValidation", "force"];
    let object = json!({
        "get": operation("get", &[], &[]),
        "put": operation("put", &write, &["*/*"]),
        "patch": operation("patch", &force, &media),
        "delete": operation("delete", &["dryRun", "propagationPolicy"], &[]),
    });
    if kind.status {
        let status = json!({
            "get": operation("get", &[], &[]),
            "put": operation("put", &write, &["*/*"]),
            "patch": operation("patch", &force, &media),
        });
        paths.insert(format!("{base}/{{name}}/status"), status);
    }
    paths.insert(format!("{base}/{{name}}"), object);
    paths.insert(base, many);
}

fn parameter(name: &str) -> Value {
    let kind = match name {
        "limit" => "integer",
        "force" | "watch" => "boolean",
        _ => "string",
    };
    json!({ "name": name, "in": "query", "schema": { "type": kind, "uniqueItems": true } })
}

fn operation(
    kind: &Kind,
    schema: &Value,
    action: &str,
    parameters: &[&str],
    media: &[&str],
) -> Value {
    let mut operation = json!({
        "responses": { "200": {
            "description": "OK",
            "content": { JSON: { "schema": schema } },
        } },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(kind),
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.iter().map(|name| parameter(name)).collect();
    }
    if !media.is_empty() {
        let content: Map<String, Value> =
            media.iter().map(|media| ((*media).to_owned(), json!({ "schema": schema }))).collect();
        operation["requestBody"] = json!({ "content": content, "required": true });
    }
    operation
}
