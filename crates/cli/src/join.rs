//! `hanse join` and `hanse leave`: real clusters enter and go.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use hanse_api::{KUBECONFIG_KEY, KUBECONFIG_SECRET_TYPE, MemberCluster, SYSTEM_NAMESPACE};
use hanse_member::{Connection, Connector as _, DirectConnector, read_kubeconfig};
use indicatif::ProgressBar;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    config::Kubeconfig,
};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::{
    args::{Global, Join},
    connect::{connect, within},
    output,
};

/// Who writes what a join writes.
const MANAGER: &str = "hanse-join";
/// A cluster that answers at all is joined in seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// Brings a cluster in and follows it until it has joined.
///
/// # Errors
/// Which file, field or cluster stands in the way.
pub(crate) async fn join(global: &Global, wanted: &Join) -> Result<()> {
    let kubeconfig = select(&wanted.member_kubeconfig, wanted.member_context.as_deref())?;
    let identity = identity(&wanted.name, &kubeconfig).await?;
    let hub = connect(global).await?.client;
    let secrets: Api<Secret> = Api::namespaced(hub.clone(), SYSTEM_NAMESPACE);
    let secret_name = format!("{}-kubeconfig", wanted.name);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": KUBECONFIG_SECRET_TYPE,
        "metadata": {"name": secret_name, "labels": {hanse_api::MEMBER_LABEL: wanted.name}},
        "stringData": {KUBECONFIG_KEY: kubeconfig},
    });
    let params = PatchParams::apply(MANAGER).force();
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE},
    });
    let namespaces: Api<Namespace> = Api::all(hub.clone());
    let patch = Patch::Apply(namespace);
    within("writing the system namespace", namespaces.patch(SYSTEM_NAMESPACE, &params, &patch))
        .await?;
    let patch = Patch::Apply(secret);
    within("writing the kubeconfig", secrets.patch(&secret_name, &params, &patch)).await?;
    let token = relay_token(&secrets, &wanted.name).await?;
    if let Some(path) = &wanted.token_file {
        hanse_rt::disk::write_atomically(path, token.as_bytes())?;
    }
    let gateways: Vec<_> = wanted
        .gateway
        .iter()
        .map(|at| json!({"address": at.ip().to_string(), "port": at.port(), "network": "public"}))
        .collect();
    let mut spec = json!({
        "identity": identity, "connection": {"direct": {"kubeconfigSecret": secret_name}},
        "provider": wanted.provider, "region": wanted.region, "network": wanted.network,
        "gateways": gateways,
    });
    if let Some(zone) = &wanted.zone {
        spec["zone"] = json!(zone);
    }
    let member = json!({
        "apiVersion": "hanse.dev/v1alpha1", "kind": "MemberCluster",
        "metadata": {"name": wanted.name}, "spec": spec,
    });
    let members: Api<MemberCluster> = Api::all(hub);
    let patch = Patch::Apply(member);
    let call = members.patch(&wanted.name, &params, &patch);
    within("writing the member", call).await?;
    let joined = follow(&members, &wanted.name).await?;
    output::print(
        global.output,
        &joined,
        || vec![wanted.name.clone()],
        |_| format!("{} has joined ({}, {})", wanted.name, wanted.provider, wanted.region),
    )
}

/// Takes a cluster out. Its workloads stay in it; the hub deletes its secrets when it lets it go.
///
/// # Errors
/// When there is no such member.
pub(crate) async fn leave(global: &Global, name: &str) -> Result<()> {
    let members: Api<MemberCluster> = Api::all(connect(global).await?.client);
    let member = within(&format!("reading member {name}"), members.get(name)).await?;
    let workloads = member.status.and_then(|status| status.workloads).unwrap_or_default();
    output::say(&format!(
        "{name} holds {} bindings and {} replicas; they stay there and are no longer managed",
        workloads.bindings, workloads.replicas
    ));
    let params = DeleteParams::default();
    let call = members.delete(name, &params);
    within(&format!("deleting member {name}"), call).await?;
    output::print(global.output, &name, || vec![name.to_owned()], |_| format!("{name} leaves"))
}

/// The bearer token of a member's relay and gateway: made once, kept in a Secret.
///
/// # Errors
/// When the hub's API refuses.
pub(crate) async fn relay_token(secrets: &Api<Secret>, member: &str) -> Result<String> {
    let name = token_secret(member);
    let known = within("reading the relay's token", secrets.get_opt(&name)).await?;
    let token = known.and_then(|secret| secret.data?.remove("token"));
    if let Some(token) = token.and_then(|token| String::from_utf8(token.0).ok()) {
        return Ok(token);
    }
    let token = hanse_rt::rng::secret_token();
    let secret = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Secret", "type": hanse_api::RELAY_TOKEN_SECRET_TYPE,
        "metadata": {"name": name, "labels": {hanse_api::MEMBER_LABEL: member}},
        "stringData": {"token": token},
    }))?;
    within("writing the relay's token", secrets.create(&PostParams::default(), &secret)).await?;
    Ok(token)
}

fn token_secret(member: &str) -> String {
    format!("{member}-relay-token")
}

/// The one context of a kubeconfig that is meant, checked: nothing in it may name a file or a
/// program, since the hub would read or run it.
fn select(path: &Path, context: Option<&str>) -> Result<String> {
    let text = String::from_utf8(hanse_rt::disk::read(path)?)
        .with_context(|| format!("{} is not text", path.display()))?;
    let mut kubeconfig: Kubeconfig = Kubeconfig::from_yaml(&text)
        .with_context(|| format!("{} does not parse", path.display()))?;
    let name = match context {
        Some(context) => context.to_owned(),
        None => kubeconfig.current_context.clone().with_context(|| {
            format!("{} has no current context; name one with --member-context", path.display())
        })?,
    };
    let known: Vec<String> = kubeconfig.contexts.iter().map(|c| c.name.clone()).collect();
    kubeconfig.contexts.retain(|context| context.name == name);
    let Some(chosen) = kubeconfig.contexts.first().and_then(|context| context.context.clone())
    else {
        bail!("{} has no context `{name}`; it has {}", path.display(), known.join(", "));
    };
    kubeconfig.clusters.retain(|cluster| cluster.name == chosen.cluster);
    kubeconfig.auth_infos.retain(|user| Some(&user.name) == chosen.user.as_ref());
    kubeconfig.current_context = Some(name);
    // The tokens inside are secrets that serde leaves out of debug output, not of this text.
    let text = serde_json::to_string(&kubeconfig)?;
    let text = restore_secrets(&text, &kubeconfig)?;
    read_kubeconfig(&text).with_context(|| format!("{}", path.display()))?;
    Ok(text)
}

/// kube writes credentials only when asked to; a member's kubeconfig must have them.
fn restore_secrets(text: &str, kubeconfig: &Kubeconfig) -> Result<String> {
    let mut value: serde_json::Value = serde_json::from_str(text)?;
    for (index, user) in kubeconfig.auth_infos.iter().enumerate() {
        let Some(info) = &user.auth_info else {
            continue;
        };
        let place = &mut value["users"][index]["user"];
        for (field, secret) in [
            ("token", &info.token),
            ("password", &info.password),
            ("client-key-data", &info.client_key_data),
        ] {
            if let Some(secret) = secret {
                place[field] = json!(secret.expose_secret());
            }
        }
    }
    Ok(value.to_string())
}

/// The uid of the cluster's kube-system namespace.
async fn identity(name: &str, kubeconfig: &str) -> Result<String> {
    let connection = Connection::Direct { kubeconfig: kubeconfig.to_owned() };
    let client: Client = DirectConnector::default().connect(name, &connection).await?;
    let namespaces: Api<Namespace> = Api::all(client);
    let system = namespaces
        .get("kube-system")
        .await
        .with_context(|| format!("the cluster behind {name} does not answer"))?;
    system.uid().with_context(|| format!("the cluster behind {name} has no identity"))
}

async fn follow(members: &Api<MemberCluster>, name: &str) -> Result<MemberCluster> {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(120));
    let deadline = hanse_rt::Mono::now() + PATIENCE;
    loop {
        let member = within("following the member", members.get(name)).await?;
        let conditions = member.status.clone().unwrap_or_default().conditions;
        let joined = conditions.iter().find(|condition| condition.type_ == "Joined");
        if joined.is_some_and(|condition| condition.status == "True") {
            bar.finish_and_clear();
            return Ok(member);
        }
        let state = joined.map_or_else(
            || "waiting for the hub".to_owned(),
            |condition| format!("{}: {}", condition.reason, condition.message),
        );
        bar.set_message(state.clone());
        if hanse_rt::Mono::now() > deadline {
            bail!("{name} has not joined within {PATIENCE:?}: {state}");
        }
        hanse_rt::sleep(Duration::from_millis(250)).await;
    }
}
