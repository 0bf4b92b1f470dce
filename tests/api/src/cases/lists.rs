//! Lists: pages, selectors, options, other forms of answers.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};

use super::{config_map, deployment};
use crate::{Context, context::same};

/// The columns of further kinds.
const COLUMNS: &[(&str, &[&str])] = &[
    ("services", &["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"]),
    ("secrets", &["Name", "Type", "Data", "Age"]),
    ("configmaps", &["Name", "Data", "Age"]),
    ("serviceaccounts", &["Name", "Age"]),
    (
        "pods",
        &[
            "Name",
            "Ready",
            "Status",
            "Restarts",
            "Age",
            "IP",
            "Node",
            "Nominated Node",
            "Readiness Gates",
        ],
    ),
    (
        "events",
        &[
            "Last Seen",
            "Type",
            "Reason",
            "Object",
            "Subobject",
            "Source",
            "Message",
            "First Seen",
            "Count",
            "Name",
        ],
    ),
    ("endpoints", &["Name", "Endpoints", "Age"]),
    (
        "persistentvolumeclaims",
        &[
            "Name",
            "Status",
            "Volume",
            "Capacity",
            "Access Modes",
            "StorageClass",
            "VolumeAttributesClass",
            "Age",
            "VolumeMode",
        ],
    ),
];

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().into_iter().flatten();
    let names = items.filter_map(|item| item["metadata"]["name"].as_str());
    names.map(str::to_owned).collect()
}

pub(super) async fn pages_come_from_one_snapshot(context: Context) -> Result<()> {
    let path = context.path("v1", "configmaps");
    for index in 0..5 {
        let object = config_map(&format!("c{index}"), &json!({ "page": "yes" }));
        context.post(&path, &object).await?.ok()?;
    }
    let query = "labelSelector=page&limit=2";
    let first = context.get(&format!("{path}?{query}")).await?.ok()?;
    ensure!(names(&first) == ["c0", "c1"], "{:?}", names(&first));
    context.delete(&format!("{path}/c3"), &json!({})).await?.ok()?;
    context.post(&path, &config_map("c2a", &json!({ "page": "yes" }))).await?.ok()?;
    let token = first["metadata"]["continue"].as_str().unwrap_or_default();
    let second = context.get(&format!("{path}?{query}&continue={token}")).await?.ok()?;
    ensure!(names(&second) == ["c2", "c3"], "{:?}", names(&second));
    let revision = &first["metadata"]["resourceVersion"];
    same("the revision", &second["metadata"]["resourceVersion"], revision)?;
    let token = second["metadata"]["continue"].as_str().unwrap_or_default();
    let last = context.get(&format!("{path}?{query}&continue={token}")).await?.ok()?;
    ensure!(names(&last) == ["c4"], "{:?}", names(&last));
    ensure!(last["metadata"].get("continue").is_none(), "{}", last["metadata"]);
    let counted = context.get(&format!("{path}?limit=1")).await?.ok()?;
    ensure!(counted["metadata"]["remainingItemCount"].as_i64().is_some_and(|more| more >= 4));
    let exact = revision.as_str().unwrap_or_default();
    let exact =
        format!("{path}?labelSelector=page&resourceVersion={exact}&resourceVersionMatch=Exact");
    let exact = context.get(&exact).await?.ok()?;
    ensure!(names(&exact) == ["c0", "c1", "c2", "c3", "c4"], "{:?}", names(&exact));
    Ok(())
}

pub(super) async fn only_the_list_says_of_what_kind_built_in_items_are(
    context: Context,
) -> Result<()> {
    let configs = context.path("v1", "configmaps");
    context.post(&configs, &config_map("a", &json!({}))).await?.ok()?;
    let leases = context.path("coordination.k8s.io/v1", "leases");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "a" },
        "spec": { "holderIdentity": "one" },
    });
    context.post(&leases, &lease).await?.ok()?;
    for (path, kind) in [(configs, "ConfigMapList"), (leases, "LeaseList")] {
        let list = context.get(&path).await?.ok()?;
        same("kind", &list["kind"], &kind.into())?;
        let items = list["items"].as_array().context("a list has items")?;
        ensure!(names(&list).contains(&"a".to_owned()), "{list}");
        for item in items {
            let fields: Vec<&String> = item.as_object().context("an object")?.keys().collect();
            ensure!(!fields.iter().any(|key| *key == "kind" || *key == "apiVersion"), "{item}");
            ensure!(item["metadata"]["uid"].is_string(), "{item}");
        }
    }
    Ok(())
}

pub(super) async fn selectors_choose(context: Context) -> Result<()> {
    let path = context.path("v1", "configmaps");
    for (name, labels) in [
        ("a", json!({ "app": "web", "tier": "front" })),
        ("b", json!({ "app": "api" })),
        ("c", json!({})),
    ] {
        context.post(&path, &config_map(name, &labels)).await?.ok()?;
    }
    for (selector, wanted) in [
        ("labelSelector=app", vec!["a", "b"]),
        ("labelSelector=app%3Dweb", vec!["a"]),
        ("labelSelector=app%20in%20(web,api),!tier", vec!["b"]),
        ("labelSelector=app%20notin%20(web),tier!%3Dfront,app", vec!["b"]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        ("fieldSelector=metadata.name%3Db&labelSelector=tier", vec![]),
    ] {
        let list = context.get(&format!("{path}?{selector}")).await?.ok()?;
        ensure!(names(&list) == wanted, "{selector}: {:?}", names(&list));
    }
    let wrong = context.get(&format!("{path}?fieldSelector=data.key%3Dvalue")).await?;
    let status = wrong.fails(400, "BadRequest", "")?;
    let message = status["message"].as_str().unwrap_or_default();
    ensure!(message.contains("\"data.key\" is not a known field selector"), "{message}");
    context.get(&format!("{path}?labelSelector=%3D%3D")).await?.fails(400, "BadRequest", "")?;
    Ok(())
}

pub(super) async fn list_options_are_checked(context: Context) -> Result<()> {
    let path = context.path("v1", "configmaps");
    for query in [
        "resourceVersionMatch=Exact",
        "resourceVersion=0&resourceVersionMatch=Exact",
        "resourceVersion=1&resourceVersionMatch=Sometimes",
        "sendInitialEvents=true",
    ] {
        let answer = context.get(&format!("{path}?{query}")).await?;
        ensure!(answer.status.as_u16() == 422, "{query}: {}", answer.status);
    }
    let answer = context.get(&format!("{path}?continue=rubbish")).await?;
    ensure!(answer.status.as_u16() == 400, "{}", answer.status);
    let list = context.get(&format!("{path}?resourceVersion=0")).await?.ok()?;
    same("kind", &list["kind"], &"ConfigMapList".into())
}

pub(super) async fn tables_have_the_columns_of_kubectl(context: Context) -> Result<()> {
    let path = context.path("apps/v1", "deployments");
    context.post(&path, &deployment("web")).await?.ok()?;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let answer = context.send_with(Method::GET, &path, &accept, "").await?;
    let table = answer.ok()?;
    same("kind", &table["kind"], &"Table".into())?;
    let columns: Value = table["columnDefinitions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|column| json!([column["name"], column["priority"]]))
        .collect();
    let wanted = json!([
        ["Name", 0],
        ["Ready", 0],
        ["Up-to-date", 0],
        ["Available", 0],
        ["Age", 0],
        ["Containers", 1],
        ["Images", 1],
        ["Selector", 1],
    ]);
    same("columns", &columns, &wanted)?;
    let row = &table["rows"][0];
    let cells = &row["cells"];
    same("name", &cells[0], &"web".into())?;
    same("ready", &cells[1], &"0/0".into())?;
    same("selector", &cells[7], &"app=web".into())?;
    same("object", &row["object"]["kind"], &"PartialObjectMetadata".into())?;
    for (resource, wanted) in COLUMNS {
        let path = context.path("v1", resource);
        let table = context.send_with(Method::GET, &path, &accept, "").await?.ok()?;
        let columns = table["columnDefinitions"].as_array().into_iter().flatten();
        let columns: Vec<&str> = columns.filter_map(|one| one["name"].as_str()).collect();
        ensure!(columns == *wanted, "{resource}: {columns:?}");
    }
    Ok(())
}

pub(super) async fn metadata_can_be_asked_for_alone(context: Context) -> Result<()> {
    let path = context.path("v1", "configmaps");
    context.post(&path, &config_map("a", &json!({ "x": "y" }))).await?.ok()?;
    let one = [("accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")];
    let answer = context.send_with(Method::GET, &format!("{path}/a"), &one, "").await?;
    let object = answer.ok()?;
    same("kind", &object["kind"], &"PartialObjectMetadata".into())?;
    ensure!(object.get("data").is_none(), "{object}");
    let all = [("accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")];
    let list = context.send_with(Method::GET, &path, &all, "").await?.ok()?;
    same("kind", &list["kind"], &"PartialObjectMetadataList".into())?;
    ensure!(names(&list).contains(&"a".to_owned()), "{:?}", names(&list));
    Ok(())
}
