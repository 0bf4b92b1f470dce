//! Finalizers, owners and namespaces.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::config_map;
use crate::{
    Context,
    context::{Answer, same},
};

fn gone(answer: &Answer) -> bool {
    answer.status.as_u16() == 404
}

pub(super) async fn finalizers_hold_objects_back(context: Context) -> Result<()> {
    let path = context.path("v1", "configmaps");
    let mut object = config_map("a", &json!({}));
    object["metadata"]["finalizers"] = json!(["hanse.dev/one"]);
    context.post(&path, &object).await?.ok()?;
    let one = format!("{path}/a");
    let marked = context.delete(&one, &json!({})).await?.ok()?;
    ensure!(marked["metadata"]["deletionTimestamp"].is_string(), "{marked}");
    same("grace", &marked["metadata"]["deletionGracePeriodSeconds"], &0.into())?;
    let again = context.delete(&one, &json!({})).await?.ok()?;
    same(
        "the second deletion",
        &again["metadata"]["resourceVersion"],
        &marked["metadata"]["resourceVersion"],
    )?;
    let more = json!({ "metadata": { "finalizers": ["hanse.dev/one", "hanse.dev/two"] } });
    context.patch(&one, "merge", &more).await?.fails(422, "Invalid", "")?;
    let none = json!({ "metadata": { "finalizers": null } });
    context.patch(&one, "merge", &none).await?.ok()?;
    context.get(&one).await?.fails(404, "NotFound", "")?;
    Ok(())
}

async fn family(context: &Context, path: &str) -> Result<()> {
    let mut parent: Option<Value> = None;
    for name in ["owner", "child", "grandchild"] {
        let mut object = config_map(name, &json!({}));
        if let Some(parent) = &parent {
            object["metadata"]["ownerReferences"] = json!([{
                "apiVersion": "v1", "kind": "ConfigMap", "blockOwnerDeletion": true,
                "name": parent["metadata"]["name"], "uid": parent["metadata"]["uid"],
            }]);
        }
        parent = Some(context.post(path, &object).await?.ok()?);
    }
    Ok(())
}

pub(super) async fn dependents_are_collected_in_the_background(context: Context) -> Result<()> {
    let path = context.path("v1", "configmaps");
    family(&context, &path).await?;
    let options = json!({ "propagationPolicy": "Background" });
    let answer = context.delete(&format!("{path}/owner"), &options).await?.ok()?;
    same("answer", &answer["status"], &"Success".into())?;
    for name in ["owner", "child", "grandchild"] {
        context.until(&format!("{path}/{name}"), "gone", gone).await?;
    }
    // An owner that never existed counts as gone.
    let mut orphan = config_map("orphan", &json!({}));
    orphan["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "nobody",
        "uid": "11111111-2222-4333-8444-555555555555",
    }]);
    context.post(&path, &orphan).await?.ok()?;
    context.until(&format!("{path}/orphan"), "gone", gone).await?;
    Ok(())
}

pub(super) async fn an_owner_waits_for_its_dependents_in_the_foreground(
    context: Context,
) -> Result<()> {
    let path = context.path("v1", "configmaps");
    family(&context, &path).await?;
    let hold = json!({ "metadata": { "finalizers": ["hanse.dev/hold"] } });
    context.patch(&format!("{path}/grandchild"), "merge", &hold).await?.ok()?;
    let options = json!({ "propagationPolicy": "Foreground" });
    let answer = context.delete(&format!("{path}/owner"), &options).await?.ok()?;
    same("finalizer", &answer["metadata"]["finalizers"], &json!(["foregroundDeletion"]))?;
    let marked = |answer: &Answer| answer.value["metadata"]["deletionTimestamp"].is_string();
    context.until(&format!("{path}/grandchild"), "marked", marked).await?;
    for name in ["owner", "child"] {
        let waiting = context.get(&format!("{path}/{name}")).await?.ok()?;
        ensure!(waiting["metadata"]["deletionTimestamp"].is_string(), "{waiting}");
    }
    let free = json!({ "metadata": { "finalizers": null } });
    context.patch(&format!("{path}/grandchild"), "merge", &free).await?.ok()?;
    for name in ["grandchild", "child", "owner"] {
        context.until(&format!("{path}/{name}"), "gone", gone).await?;
    }
    Ok(())
}

pub(super) async fn orphans_stay(context: Context) -> Result<()> {
    let path = context.path("v1", "configmaps");
    family(&context, &path).await?;
    let options = json!({ "propagationPolicy": "Orphan" });
    context.delete(&format!("{path}/owner"), &options).await?.ok()?;
    context.until(&format!("{path}/owner"), "gone", gone).await?;
    let child = context.get(&format!("{path}/child")).await?.ok()?;
    ensure!(child["metadata"].get("ownerReferences").is_none(), "{child}");
    context.get(&format!("{path}/grandchild")).await?.ok()?;
    Ok(())
}

pub(super) async fn a_namespace_goes_with_its_content(context: Context) -> Result<()> {
    let name = format!("{}-x", context.namespace().chars().take(50).collect::<String>());
    let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    let made = context.post("/api/v1/namespaces", &object).await?.ok()?;
    let label = &made["metadata"]["labels"]["kubernetes.io/metadata.name"];
    same("label", label, &name.as_str().into())?;
    same("phase", &made["status"]["phase"], &"Active".into())?;
    same("finalizers", &made["spec"]["finalizers"], &json!(["kubernetes"]))?;
    let place = format!("/api/v1/namespaces/{name}");
    let mut held = config_map("held", &json!({}));
    held["metadata"]["finalizers"] = json!(["hanse.dev/hold"]);
    context.post(&format!("{place}/configmaps"), &held).await?.ok()?;
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" } });
    context.post(&format!("{place}/secrets"), &secret).await?.ok()?;
    context.delete(&place, &json!({})).await?.ok()?;
    context.until(&format!("{place}/secrets/s"), "gone", gone).await?;
    let waiting = context.get(&place).await?.ok()?;
    same("phase", &waiting["status"]["phase"], &"Terminating".into())?;
    let late = config_map("late", &json!({}));
    let refused = context.post(&format!("{place}/configmaps"), &late).await?.fails(
        403,
        "Forbidden",
        &format!("configmaps \"late\" is forbidden: unable to create new content in namespace {name} because it is being terminated"),
    )?;
    let reason = &refused["details"]["causes"][0]["reason"];
    same("cause", reason, &"NamespaceTerminating".into())?;
    let free = json!({ "metadata": { "finalizers": null } });
    context.patch(&format!("{place}/configmaps/held"), "merge", &free).await?.ok()?;
    context.until(&place, "gone", gone).await?;
    Ok(())
}
