//! Single objects: identity, versions, patches, options.

use anyhow::{Result, ensure};
use http::Method;
use serde_json::{Value, json};

use super::{config_map, deployment};
use crate::{Context, context::same};

pub(super) async fn a_new_object_gets_its_identity(context: Context) -> Result<()> {
    let path = context.path("v1", "configmaps");
    let made = context.post(&path, &config_map("a", &json!({}))).await?;
    ensure!(made.status.as_u16() == 201, "{}", made.status);
    let meta = &made.value["metadata"];
    same("namespace", &meta["namespace"], &context.namespace().into())?;
    ensure!(meta["uid"].as_str().is_some_and(|uid| uid.len() == 36), "{meta}");
    ensure!(meta["creationTimestamp"].as_str().is_some_and(|time| time.len() == 20), "{meta}");
    ensure!(meta["resourceVersion"].as_str().is_some_and(|one| one.parse::<u64>().is_ok()));
    ensure!(meta.get("generation").is_none(), "a ConfigMap has no generation: {meta}");
    let read = context.get(&format!("{path}/a")).await?.ok()?;
    same("what is read", &read, &made.value)
}

pub(super) async fn failures_read_as_kubernetes_writes_them(context: Context) -> Result<()> {
    let path = context.path("apps/v1", "deployments");
    let missing = context.get(&format!("{path}/nobody")).await?;
    let status = missing.fails(404, "NotFound", "deployments.apps \"nobody\" not found")?;
    let details = json!({ "name": "nobody", "group": "apps", "kind": "deployments" });
    same("details", &status["details"], &details)?;
    context.post(&path, &deployment("web")).await?.ok()?;
    let again = context.post(&path, &deployment("web")).await?;
    again.fails(409, "AlreadyExists", "deployments.apps \"web\" already exists")?;
    let mut other = deployment("web");
    other["metadata"]["namespace"] = "elsewhere".into();
    context.post(&path, &other).await?.fails(400, "BadRequest", "")?;
    let absent = "/api/v1/namespaces/no-such-place/configmaps";
    let refused = context.post(absent, &config_map("a", &json!({}))).await?;
    refused.fails(404, "NotFound", "namespaces \"no-such-place\" not found")?;
    let wrong = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" } });
    context.post(&context.path("v1", "configmaps"), &wrong).await?.fails(400, "BadRequest", "")?;
    let plain = context.send(Method::POST, &path, "text/plain", "hello").await?;
    plain.fails(415, "UnsupportedMediaType", "")?;
    let named = config_map("No_Name", &json!({}));
    let maps = context.path("v1", "configmaps");
    let status = context.post(&maps, &named).await?.fails(422, "Invalid", "")?;
    same("kind", &status["details"]["kind"], &"ConfigMap".into())?;
    same("field", &status["details"]["causes"][0]["field"], &"metadata.name".into())?;
    let reason = &status["details"]["causes"][0]["reason"];
    same("reason", reason, &"FieldValueInvalid".into())
}

pub(super) async fn a_stale_update_is_a_conflict(context: Context) -> Result<()> {
    let path = context.path("v1", "configmaps");
    let first = context.post(&path, &config_map("a", &json!({}))).await?.ok()?;
    let path = format!("{path}/a");
    let mut second = first.clone();
    second["data"] = json!({ "key": "other" });
    context.put(&path, &second).await?.ok()?;
    context.put(&path, &second).await?.fails(
        409,
        "Conflict",
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again",
    )?;
    // Without a version the update is unconditional.
    if let Some(meta) = second["metadata"].as_object_mut() {
        meta.remove("resourceVersion");
    }
    context.put(&path, &second).await?.ok()?;
    let stale = json!({ "metadata": { "resourceVersion": first["metadata"]["resourceVersion"] }, "data": { "z": "1" } });
    context.patch(&path, "merge", &stale).await?.fails(409, "Conflict", "")?;
    second["metadata"]["uid"] = "00000000-0000-4000-8000-000000000000".into();
    context.put(&path, &second).await?.fails(409, "Conflict", "")?;
    Ok(())
}

pub(super) async fn a_write_that_changes_nothing_keeps_the_version(context: Context) -> Result<()> {
    let path = context.path("apps/v1", "deployments");
    context.post(&path, &deployment("web")).await?.ok()?;
    let path = format!("{path}/web");
    // A controller may write its status once.
    let settled = context.until(&path, "settled", |answer| {
        answer.value["status"]["observedGeneration"] == 1
            || !answer.value["status"].is_object()
            || answer.value["status"] == json!({})
    });
    let first = settled.await?.value;
    let same_again = context.put(&path, &first).await?.ok()?;
    same("a PUT of the same", &same_again, &first)?;
    let patch = json!({ "spec": { "replicas": 0 } });
    for kind in ["merge", "strategic-merge"] {
        let patched = context.patch(&path, kind, &patch).await?.ok()?;
        same(kind, &patched, &first)?;
    }
    Ok(())
}

pub(super) async fn the_generation_counts_changes_of_the_desired_state(
    context: Context,
) -> Result<()> {
    let path = context.path("apps/v1", "deployments");
    let made = context.post(&path, &deployment("web")).await?.ok()?;
    same("at first", &made["metadata"]["generation"], &1.into())?;
    let path = format!("{path}/web");
    let steps = [
        (path.clone(), json!({ "metadata": { "labels": { "a": "b" } } }), 1),
        (path.clone(), json!({ "spec": { "paused": true } }), 2),
        (format!("{path}/status"), json!({ "status": { "replicas": 0, "collisionCount": 1 } }), 2),
        (path.clone(), json!({ "metadata": { "annotations": { "a": "b" } } }), 3),
    ];
    for (path, patch, generation) in steps {
        let patched = context.patch(&path, "merge", &patch).await?.ok()?;
        same(&patch.to_string(), &patched["metadata"]["generation"], &generation.into())?;
    }
    Ok(())
}

pub(super) async fn generated_names_have_a_random_suffix(context: Context) -> Result<()> {
    let path = context.path("v1", "configmaps");
    let mut object = config_map("x", &json!({}));
    object["metadata"] = json!({ "generateName": "part-" });
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let made = context.post(&path, &object).await?.ok()?;
        let name = made["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let suffix = name.strip_prefix("part-").unwrap_or_default();
        ensure!(suffix.len() == 5, "{name}");
        names.insert(name);
    }
    ensure!(names.len() == 3, "{names:?}");
    Ok(())
}

pub(super) async fn dry_runs_change_nothing(context: Context) -> Result<()> {
    let path = context.path("apps/v1", "deployments");
    let tried = context.post(&format!("{path}?dryRun=All"), &deployment("web")).await?;
    ensure!(tried.status.as_u16() == 201, "{}", tried.status);
    same("a default", &tried.value["spec"]["revisionHistoryLimit"], &10.into())?;
    context.get(&format!("{path}/web")).await?.fails(404, "NotFound", "")?;
    let mut bad = deployment("web");
    bad["spec"]["selector"] = json!({ "matchLabels": { "app": "other" } });
    context.post(&format!("{path}?dryRun=All"), &bad).await?.fails(422, "Invalid", "")?;
    let made = context.post(&path, &deployment("web")).await?.ok()?;
    let one = format!("{path}/web");
    let patch = json!({ "metadata": { "labels": { "x": "y" } } });
    let tried = context.patch(&format!("{one}?dryRun=All"), "merge", &patch).await?.ok()?;
    same("the label", &tried["metadata"]["labels"]["x"], &"y".into())?;
    context.delete(&one, &json!({ "dryRun": ["All"] })).await?.ok()?;
    let read = context.get(&one).await?.ok()?;
    same("uid", &read["metadata"]["uid"], &made["metadata"]["uid"])?;
    ensure!(read["metadata"].get("labels").is_none(), "{}", read["metadata"]);
    Ok(())
}

pub(super) async fn unknown_fields_are_refused_warned_of_or_dropped(
    context: Context,
) -> Result<()> {
    let path = context.path("apps/v1", "deployments");
    let mut object = deployment("web");
    object["spec"]["colour"] = "blue".into();
    let strict = format!("{path}?fieldValidation=Strict");
    let refused = context.post(&strict, &object).await?.fails(400, "BadRequest", "")?;
    let message = refused["message"].as_str().unwrap_or_default();
    ensure!(message.contains("strict decoding error: unknown field \"spec.colour\""), "{message}");
    let warned = context.post(&path, &object).await?;
    ensure!(
        warned.warnings == ["299 - \"unknown field \\\"spec.colour\\\"\""],
        "{:?}",
        warned.warnings
    );
    let made = warned.ok()?;
    ensure!(made["spec"].get("colour").is_none(), "{}", made["spec"]);
    object["metadata"]["name"] = "quiet".into();
    let quiet = context.post(&format!("{path}?fieldValidation=Ignore"), &object).await?;
    ensure!(quiet.warnings.is_empty(), "{:?}", quiet.warnings);
    object["spec"]["replicas"] = "three".into();
    context.post(&path, &object).await?.fails(400, "BadRequest", "")?;
    Ok(())
}

pub(super) async fn merge_strategic_and_json_patches_work(context: Context) -> Result<()> {
    let path = context.path("apps/v1", "deployments");
    context.post(&path, &deployment("web")).await?.ok()?;
    let path = format!("{path}/web");
    let pod = |containers: Value| json!({ "spec": { "template": { "spec": { "containers": containers } } } });
    let images = |object: &Value| -> Value {
        let list = object["spec"]["template"]["spec"]["containers"].as_array();
        list.into_iter().flatten().map(|one| one["image"].clone()).collect()
    };
    let second = pod(json!([{ "name": "second", "image": "second:1" }]));
    let patched = context.patch(&path, "strategic-merge", &second).await?.ok()?;
    same("merged by name", &images(&patched), &json!(["second:1", "registry/main:1"]))?;
    let gone = pod(json!([{ "name": "main", "$patch": "delete" }]));
    let patched = context.patch(&path, "strategic-merge", &gone).await?.ok()?;
    same("deleted", &images(&patched), &json!(["second:1"]))?;
    let whole = pod(json!([{ "name": "only", "image": "only:1" }]));
    let patched = context.patch(&path, "merge", &whole).await?.ok()?;
    same("replaced", &images(&patched), &json!(["only:1"]))?;
    let operations = json!([
        { "op": "test", "path": "/spec/replicas", "value": 0 },
        { "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "only:2" },
    ]);
    let patched = context.patch(&path, "json", &operations).await?.ok()?;
    same("operated", &images(&patched), &json!(["only:2"]))?;
    let wrong = json!([{ "op": "test", "path": "/spec/replicas", "value": 9 }]);
    context.patch(&path, "json", &wrong).await?.fails(422, "Invalid", "")?;
    Ok(())
}

pub(super) async fn deletions_check_their_preconditions(context: Context) -> Result<()> {
    let path = context.path("v1", "configmaps");
    let made = context.post(&path, &config_map("a", &json!({ "x": "1" }))).await?.ok()?;
    context.post(&path, &config_map("b", &json!({ "x": "2" }))).await?.ok()?;
    let one = format!("{path}/a");
    let wrong = json!({ "preconditions": { "uid": "somebody-else" } });
    context.delete(&one, &wrong).await?.fails(409, "Conflict", "")?;
    let right = json!({ "preconditions": { "uid": made["metadata"]["uid"] } });
    let gone = context.delete(&one, &right).await?.ok()?;
    same("status", &gone["status"], &"Success".into())?;
    let details = json!({ "name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"] });
    same("details", &gone["details"], &details)?;
    let some = format!("{path}?labelSelector=x%3D2");
    context.send(Method::DELETE, &some, "application/json", "").await?.ok()?;
    context.get(&format!("{path}/b")).await?.fails(404, "NotFound", "")?;
    Ok(())
}

pub(super) async fn status_and_scale_write_their_part_only(context: Context) -> Result<()> {
    let path = context.path("apps/v1", "replicasets");
    let mut object = deployment("set");
    object["kind"] = "ReplicaSet".into();
    object["status"] = json!({ "replicas": 7 });
    let made = context.post(&path, &object).await?.ok()?;
    same("a new status", &made["status"]["replicas"], &0.into())?;
    let one = format!("{path}/set");
    let both = json!({ "spec": { "minReadySeconds": 5 }, "status": { "replicas": 0, "fullyLabeledReplicas": 0, "observedGeneration": 1 } });
    let patched = context.patch(&format!("{one}/status"), "merge", &both).await?.ok()?;
    ensure!(patched["spec"].get("minReadySeconds").is_none(), "{}", patched["spec"]);
    let scale = context.get(&format!("{one}/scale")).await?.ok()?;
    same("kind", &scale["kind"], &"Scale".into())?;
    same("selector", &scale["status"]["selector"], &"app=set".into())?;
    let patch = json!({ "spec": { "replicas": -1 } });
    context.patch(&format!("{one}/scale"), "merge", &patch).await?.fails(422, "Invalid", "")?;
    let mut scale = scale;
    scale["spec"]["replicas"] = 0.into();
    context.put(&format!("{one}/scale"), &scale).await?.ok()?;
    context.get(&format!("{one}/nothing")).await?.fails(404, "NotFound", "")?;
    Ok(())
}
