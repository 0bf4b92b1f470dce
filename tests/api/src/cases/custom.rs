//! Custom resource definitions.

use anyhow::{Result, ensure};
use http::Method;
use serde_json::{Value, json};

use crate::{
    Context,
    context::{Answer, same},
};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A definition with a group of its own, so that cases do not meet.
fn definition(group: &str, schema: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("ships.{group}") },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": { "kind": "Ship", "plural": "ships", "shortNames": ["sh"], "categories": ["fleet"] },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.crew", "statusReplicasPath": ".status.crew",
                        "labelSelectorPath": ".status.selector",
                    },
                },
                "selectableFields": [{ "jsonPath": ".spec.port" }],
                "additionalPrinterColumns": [
                    { "name": "Masts", "type": "integer", "jsonPath": ".spec.masts" },
                    { "name": "Port", "type": "string", "jsonPath": ".spec.port", "priority": 1 },
                    { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
                ],
                "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                    "spec": schema,
                    "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                } } },
            }],
        },
    })
}

fn spec() -> Value {
    json!({
        "type": "object",
        "required": ["masts"],
        "properties": {
            "masts": { "type": "integer", "minimum": 1, "maximum": 7 },
            "crew": { "type": "integer", "default": 12 },
            "port": { "type": "string", "enum": ["Bremen", "Hamburg", "Luebeck"] },
            "name": { "type": "string", "pattern": "^[A-Z]", "maxLength": 20 },
            "free": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
            "cargo": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["good"],
                "items": {
                    "type": "object",
                    "required": ["good"],
                    "properties": {
                        "good": { "type": "string" },
                        "tons": { "type": "integer", "default": 1 },
                    },
                },
            },
        },
        "x-kubernetes-validations": [
            { "rule": "self.crew >= self.masts", "message": "too few hands" },
            { "rule": "!has(oldSelf.port) || (has(self.port) && self.port == oldSelf.port)", "message": "the port is for life" },
        ],
    })
}

/// Makes the definition and waits until it is served; the group belongs to the case.
async fn establish(context: &Context, schema: &Value) -> Result<(String, String)> {
    let group = format!(
        "{}.hanse.dev",
        context.namespace().chars().take(30).collect::<String>().trim_end_matches('-')
    );
    context.post(DEFINITIONS, &definition(&group, schema)).await?.ok()?;
    let established = |answer: &Answer| {
        let conditions = answer.value["status"]["conditions"].as_array();
        conditions.is_some_and(|list| {
            list.iter().any(|one| one["type"] == "Established" && one["status"] == "True")
        })
    };
    let one = format!("{DEFINITIONS}/ships.{group}");
    context.until(&one, "established", established).await?;
    let path = context.path(&format!("{group}/v1"), "ships");
    context.until(&path, "served", |answer| answer.status.is_success()).await?;
    Ok((path, one))
}

fn ship(path: &str, name: &str, spec: &Value) -> Value {
    let api_version = path.split('/').skip(2).take(2).collect::<Vec<_>>().join("/");
    json!({ "apiVersion": api_version, "kind": "Ship", "metadata": { "name": name }, "spec": spec })
}

pub(super) async fn a_definition_is_established_and_served(context: Context) -> Result<()> {
    let (path, one) = establish(&context, &spec()).await?;
    let read = context.get(&one).await?.ok()?;
    let names = json!({
        "kind": "Ship", "listKind": "ShipList", "plural": "ships", "singular": "ship",
        "shortNames": ["sh"], "categories": ["fleet"],
    });
    same("accepted names", &read["status"]["acceptedNames"], &names)?;
    same("versions", &read["status"]["storedVersions"], &json!(["v1"]))?;
    let group = path.split('/').nth(2).unwrap_or_default().to_owned();
    let documents = context.get(&format!("/apis/{group}/v1")).await?.ok()?;
    let resources: Vec<&str> = documents["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row["name"].as_str())
        .collect();
    ensure!(
        resources == ["ships", "ships/status", "ships/scale"]
            || resources == ["ships", "ships/scale", "ships/status"],
        "{resources:?}"
    );
    context.post(&path, &ship(&path, "cog", &json!({ "masts": 1 }))).await?.ok()?;
    context.delete(&one, &json!({})).await?.ok()?;
    context.until(&one, "gone", |answer| answer.status.as_u16() == 404).await?;
    context.until(&path, "unserved", |answer| answer.status.as_u16() == 404).await?;
    Ok(())
}

pub(super) async fn schemas_fill_in_drop_and_check(context: Context) -> Result<()> {
    let (path, one) = establish(&context, &spec()).await?;
    let given = json!({
        "masts": 2, "unknown": true, "free": { "any": [1] }, "cargo": [{ "good": "salt" }],
    });
    let made = context.post(&path, &ship(&path, "cog", &given)).await?;
    ensure!(made.warnings.iter().any(|one| one.contains("spec.unknown")), "{:?}", made.warnings);
    let made = made.ok()?;
    let wanted = json!({
        "masts": 2, "crew": 12, "free": { "any": [1] }, "cargo": [{ "good": "salt", "tons": 1 }],
    });
    same("spec", &made["spec"], &wanted)?;
    same("generation", &made["metadata"]["generation"], &1.into())?;
    for (spec, field) in [
        (json!({}), "spec.masts"),
        (json!({ "masts": 9 }), "spec.masts"),
        (json!({ "masts": "two" }), "spec.masts"),
        (json!({ "masts": 1, "port": "Venice" }), "spec.port"),
        (json!({ "masts": 1, "name": "lower" }), "spec.name"),
        (json!({ "masts": 1, "cargo": [{ "tons": 1 }] }), "spec.cargo[0].good"),
    ] {
        let refused = context.post(&path, &ship(&path, "bad", &spec)).await?;
        let status = refused.fails(422, "Invalid", "")?;
        let causes = status["details"]["causes"].as_array().into_iter().flatten();
        let fields: Vec<&str> = causes.filter_map(|cause| cause["field"].as_str()).collect();
        ensure!(fields.contains(&field), "{spec}: {fields:?}");
    }
    let mut update = made.clone();
    if let Some(meta) = update["metadata"].as_object_mut() {
        meta.remove("resourceVersion");
    }
    context.put(&format!("{path}/cog"), &update).await?.fails(422, "Invalid", "")?;
    let patch = json!({ "spec": { "masts": 3 } });
    let strategic = context.patch(&format!("{path}/cog"), "strategic-merge", &patch).await?;
    strategic.fails(415, "UnsupportedMediaType", "")?;
    context.delete(&one, &json!({})).await?.ok()?;
    Ok(())
}

pub(super) async fn rules_of_definitions_are_enforced(context: Context) -> Result<()> {
    let (path, one) = establish(&context, &spec()).await?;
    let few = ship(&path, "cog", &json!({ "masts": 3, "crew": 2 }));
    let refused = context.post(&path, &few).await?.fails(422, "Invalid", "")?;
    let message = refused["message"].as_str().unwrap_or_default();
    ensure!(message.contains("Ship.") && message.contains("too few hands"), "{message}");
    let good = ship(&path, "cog", &json!({ "masts": 3, "port": "Bremen" }));
    context.post(&path, &good).await?.ok()?;
    let moved = json!({ "spec": { "port": "Hamburg" } });
    let refused = context.patch(&format!("{path}/cog"), "merge", &moved).await?;
    let refused = refused.fails(422, "Invalid", "")?;
    let message = refused["message"].as_str().unwrap_or_default();
    ensure!(message.contains("the port is for life"), "{message}");
    context.delete(&one, &json!({})).await?.ok()?;
    Ok(())
}

pub(super) async fn a_rule_that_does_not_compile_is_a_warning(context: Context) -> Result<()> {
    let group = "warned.hanse.dev";
    let mut schema = spec();
    schema["x-kubernetes-validations"] = json!([{ "rule": "self.masts ><> 1" }]);
    let made = context.post(DEFINITIONS, &definition(group, &schema)).await?;
    ensure!(made.warnings.iter().any(|one| one.contains("not enforced")), "{:?}", made.warnings);
    made.ok()?;
    let path = context.path(&format!("{group}/v1"), "ships");
    context.post(&path, &ship(&path, "cog", &json!({ "masts": 1 }))).await?.ok()?;
    context.delete(&format!("{DEFINITIONS}/ships.{group}"), &json!({})).await?.ok()?;
    Ok(())
}

pub(super) async fn columns_and_scale_of_definitions_work(context: Context) -> Result<()> {
    let (path, one) = establish(&context, &spec()).await?;
    let object = ship(&path, "cog", &json!({ "masts": 3, "port": "Bremen" }));
    context.post(&path, &object).await?.ok()?;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = context.send_with(Method::GET, &path, &accept, "").await?.ok()?;
    let columns: Value = table["columnDefinitions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|column| json!([column["name"], column["type"], column["priority"]]))
        .collect();
    let wanted = json!([
        ["Name", "string", 0],
        ["Masts", "integer", 0],
        ["Port", "string", 1],
        ["Age", "date", 0],
    ]);
    same("columns", &columns, &wanted)?;
    let cells = &table["rows"][0]["cells"];
    same("cells", &json!([cells[0], cells[1], cells[2]]), &json!(["cog", 3, "Bremen"]))?;
    let age = cells[3].as_str().unwrap_or_default();
    ensure!(age.ends_with('s'), "an age: {age}");
    let scale = format!("{path}/cog/scale");
    let patch = json!({ "spec": { "replicas": 20 } });
    let scaled = context.patch(&scale, "merge", &patch).await?.ok()?;
    same("scaled", &scaled["spec"]["replicas"], &20.into())?;
    let read = context.get(&format!("{path}/cog")).await?.ok()?;
    same("crew", &read["spec"]["crew"], &20.into())?;
    let chosen = context.get(&format!("{path}?fieldSelector=spec.port%3DBremen")).await?.ok()?;
    ensure!(chosen["items"].as_array().is_some_and(|list| list.len() == 1), "{chosen}");
    let chosen = context.get(&format!("{path}?fieldSelector=spec.port%3DHamburg")).await?.ok()?;
    ensure!(chosen["items"].as_array().is_some_and(Vec::is_empty), "{chosen}");
    context.delete(&one, &json!({})).await?.ok()?;
    Ok(())
}
