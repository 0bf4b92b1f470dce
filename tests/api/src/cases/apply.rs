//! Server-side apply and field managers.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{config_map, deployment};
use crate::{Context, context::same};

async fn apply(
    context: &Context,
    path: &str,
    manager: &str,
    force: bool,
    body: &Value,
) -> Result<crate::context::Answer> {
    let path = format!("{path}?fieldManager={manager}&force={force}");
    context.patch(&path, "apply", body).await
}

/// Manager, operation, subresource and fields of each entry.
fn managers(object: &Value) -> Value {
    let list = object["metadata"]["managedFields"].as_array();
    list.into_iter()
        .flatten()
        .map(|entry| {
            json!([entry["manager"], entry["operation"], entry["subresource"], entry["fieldsV1"]])
        })
        .collect()
}

pub(super) async fn applying_twice_changes_nothing(context: Context) -> Result<()> {
    let path = context.path("v1", "configmaps") + "/a";
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "a", "labels": { "x": "y" }, "finalizers": ["hanse.dev/test"] },
        "data": { "key": "value" },
    });
    let first = apply(&context, &path, "one", false, &object).await?;
    ensure!(first.status.as_u16() == 201, "{}", first.status);
    let fields = json!({
        "f:data": { "f:key": {} },
        "f:metadata": {
            "f:finalizers": { "v:\"hanse.dev/test\"": {} },
            "f:labels": { "f:x": {} },
        },
    });
    same("managers", &managers(&first.value), &json!([["one", "Apply", null, fields]]))?;
    let second = apply(&context, &path, "one", false, &object).await?;
    ensure!(second.status.as_u16() == 200, "{}", second.status);
    same("the second result", &second.value, &first.value)?;
    let nobody = context.patch(&path, "apply", &object).await?;
    ensure!(nobody.status.as_u16() == 400 || nobody.status.as_u16() == 422, "{}", nobody.status);
    let free = json!({ "metadata": { "finalizers": null } });
    context.patch(&path, "merge", &free).await?.ok()?;
    Ok(())
}

pub(super) async fn an_applied_version_is_that_of_what_stands_if_anything_does(
    context: Context,
) -> Result<()> {
    let path = context.path("v1", "configmaps") + "/a";
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "a", "resourceVersion": "1" }, "data": { "key": "value" },
    });
    let made = apply(&context, &path, "one", true, &object).await?;
    ensure!(made.status.as_u16() == 201, "{}: {}", made.status, made.value);
    apply(&context, &path, "one", true, &object).await?.fails(
        409,
        "Conflict",
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please \
         apply your changes to the latest version and try again",
    )?;
    Ok(())
}

pub(super) async fn conflicts_name_manager_and_field(context: Context) -> Result<()> {
    let path = context.path("apps/v1", "deployments") + "/web";
    apply(&context, &path, "one", false, &deployment("web")).await?.ok()?;
    let mut other = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": { "replicas": 3 },
    });
    let status = apply(&context, &path, "two", false, &other).await?.fails(
        409,
        "Conflict",
        "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas",
    )?;
    let cause = json!([{
        "reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".spec.replicas",
    }]);
    same("causes", &status["details"]["causes"], &cause)?;
    other["spec"]["template"] =
        json!({ "spec": { "containers": [{ "name": "main", "image": "x" }] } });
    apply(&context, &path, "two", false, &other).await?.fails(
        409,
        "Conflict",
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.replicas\n- .spec.template.spec.containers[name=\"main\"].image",
    )?;
    let taken = apply(&context, &path, "two", true, &other).await?.ok()?;
    same("replicas", &taken["spec"]["replicas"], &3.into())?;
    apply(&context, &path, "one", false, &deployment("web")).await?.fails(409, "Conflict", "")?;
    // Who applies the same value shares the field.
    let mut shared = deployment("web");
    shared["spec"]["replicas"] = 3.into();
    shared["spec"]["template"]["spec"]["containers"][0]["image"] = "x".into();
    apply(&context, &path, "one", false, &shared).await?.ok()?;
    Ok(())
}

pub(super) async fn what_is_applied_no_more_is_removed(context: Context) -> Result<()> {
    let path = context.path("v1", "configmaps") + "/a";
    let object = |data: Value| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": data });
    let one = object(json!({ "mine": "1", "shared": "s" }));
    apply(&context, &path, "one", false, &one).await?.ok()?;
    let two = object(json!({ "theirs": "2", "shared": "s" }));
    apply(&context, &path, "two", false, &two).await?.ok()?;
    let left = apply(&context, &path, "one", false, &object(json!({}))).await?.ok()?;
    same("data", &left["data"], &json!({ "theirs": "2", "shared": "s" }))?;
    let bare = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } });
    let left = apply(&context, &path, "two", false, &bare).await?.ok()?;
    ensure!(left.get("data").is_none(), "{left}");
    Ok(())
}

pub(super) async fn lists_with_keys_are_merged_by_item(context: Context) -> Result<()> {
    let path = context.path("apps/v1", "deployments") + "/web";
    let with = |containers: Value| {
        let mut object = deployment("web");
        object["spec"]["template"]["spec"]["containers"] = containers;
        object
    };
    let first = with(json!([
        { "name": "main", "image": "main:1", "ports": [{ "containerPort": 80 }, { "containerPort": 80, "protocol": "UDP" }] },
    ]));
    let made = apply(&context, &path, "one", false, &first).await?.ok()?;
    let fields = &made["metadata"]["managedFields"][0]["fieldsV1"];
    let ports = &fields["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"main\"}"]
        ["f:ports"];
    let wanted = json!({
        "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:containerPort": {} },
        "k:{\"containerPort\":80,\"protocol\":\"UDP\"}": { ".": {}, "f:containerPort": {}, "f:protocol": {} },
    });
    same("ports", ports, &wanted)?;
    let side = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": { "template": { "spec": { "containers": [{ "name": "side", "image": "side:1" }] } } },
    });
    let merged = apply(&context, &path, "two", false, &side).await?.ok()?;
    let names = |object: &Value| -> Vec<String> {
        let list = object["spec"]["template"]["spec"]["containers"].as_array();
        let names = list.into_iter().flatten().filter_map(|one| one["name"].as_str());
        names.map(str::to_owned).collect()
    };
    ensure!(names(&merged) == ["main", "side"], "{:?}", names(&merged));
    let renamed = with(json!([{ "name": "other", "image": "other:1" }]));
    let merged = apply(&context, &path, "one", false, &renamed).await?.ok()?;
    let mut left = names(&merged);
    left.sort_unstable();
    ensure!(left == ["other", "side"], "{left:?}");
    Ok(())
}

pub(super) async fn an_update_takes_ownership_of_what_it_changes(context: Context) -> Result<()> {
    let path = context.path("v1", "configmaps");
    let made = context
        .post(&format!("{path}?fieldManager=maker"), &config_map("a", &json!({ "x": "1" })))
        .await?
        .ok()?;
    let fields = json!({
        "f:data": { ".": {}, "f:key": {} },
        "f:metadata": { "f:labels": { ".": {}, "f:x": {} } },
    });
    same("maker", &managers(&made), &json!([["maker", "Update", null, fields]]))?;
    let one = format!("{path}/a");
    let patch = json!({ "data": { "key": "changed" } });
    let changed =
        context.patch(&format!("{one}?fieldManager=changer"), "merge", &patch).await?.ok()?;
    let fields = json!([
        ["changer", "Update", null, { "f:data": { "f:key": {} } }],
        ["maker", "Update", null, { "f:data": {}, "f:metadata": { "f:labels": { ".": {}, "f:x": {} } } }],
    ]);
    let mut found: Vec<Value> = managers(&changed).as_array().cloned().unwrap_or_default();
    found.sort_by_key(|entry| entry[0].to_string());
    same("both", &found.into(), &fields)
}

pub(super) async fn applied_status_belongs_to_its_subresource(context: Context) -> Result<()> {
    let path = context.path("apps/v1", "deployments") + "/web";
    let mut object = deployment("web");
    object["status"] = json!({ "replicas": 9 });
    let made = apply(&context, &path, "one", false, &object).await?.ok()?;
    ensure!(made["status"]["replicas"].as_i64().unwrap_or(0) == 0, "{}", made["status"]);
    let status = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": { "replicas": 7 },
        "status": { "conditions": [{ "type": "Test", "status": "True" }] },
    });
    let status_path = format!("{path}/status");
    let applied = apply(&context, &status_path, "reporter", false, &status).await?.ok()?;
    same("replicas", &applied["spec"]["replicas"], &0.into())?;
    let entry = managers(&applied)
        .as_array()
        .into_iter()
        .flatten()
        .find(|entry| entry[0] == "reporter")
        .cloned()
        .unwrap_or_default();
    let fields = json!({ "f:status": { "f:conditions": {
        "k:{\"type\":\"Test\"}": { ".": {}, "f:status": {}, "f:type": {} },
    } } });
    same("reporter", &entry, &json!(["reporter", "Apply", "status", fields]))
}

pub(super) async fn kubectl_goes_on_from_what_it_applied_before(context: Context) -> Result<()> {
    const LAST: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let path = context.path("v1", "configmaps");
    let object = |value: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" },
            "data": { "key": value, "other": "x" },
        })
    };
    let mut made = object("one");
    made["metadata"]["annotations"] = json!({ LAST: object("one").to_string() });
    let query = "fieldManager=kubectl-client-side-apply";
    context.post(&format!("{path}?{query}"), &made).await?.ok()?;
    let one = format!("{path}/a");
    // Another manager's change is still a conflict, for kubectl too.
    let patch = json!({ "data": { "other": "y" } });
    context.patch(&format!("{one}?fieldManager=editor"), "merge", &patch).await?.ok()?;
    apply(&context, &one, "somebody", false, &object("two")).await?.fails(409, "Conflict", "")?;
    let status = apply(&context, &one, "kubectl", false, &object("two")).await?;
    let status = status.fails(409, "Conflict", "")?;
    let causes = status["details"]["causes"].as_array().map_or(0, Vec::len);
    ensure!(causes == 1, "{status}");
    let patch = json!({ "data": { "other": "x" } });
    context.patch(&format!("{one}?fieldManager=editor"), "merge", &patch).await?.ok()?;
    let applied = apply(&context, &one, "kubectl", false, &object("two")).await?.ok()?;
    same("data", &applied["data"], &json!({ "key": "two", "other": "x" }))?;
    let last = applied["metadata"]["annotations"][LAST].as_str().unwrap_or_default();
    ensure!(last.contains("\"two\""), "{last}");
    Ok(())
}
