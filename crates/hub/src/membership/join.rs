//! The way to a member: its credentials, its client, and the question who it is.

use hanse_api::{
    Connection as Wanted, KUBECONFIG_KEY, KUBECONFIG_SECRET_TYPE, MEMBER_LABEL, MemberCluster,
    RELAY_TOKEN_SECRET_TYPE, SYSTEM_NAMESPACE,
};
use hanse_member::Connection;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams},
};

use super::plan::Joining;
use crate::{Session, World};

/// What a client is made from: a change of it makes a new one.
pub(super) type Source = Connection;

/// Why it is not known what a client is made from.
#[derive(Debug)]
pub(super) enum Unknown {
    /// What is written down cannot be used; in words.
    Unusable(String),
    /// The hub's API did not answer; in words. What was known before still holds.
    Unread(String),
}

/// The way to a member as its spec says.
pub(super) async fn source(world: &World, cluster: &MemberCluster) -> Result<Source, Unknown> {
    let Wanted { direct, simulated } = &cluster.spec.connection;
    match (direct, simulated) {
        (Some(direct), _) => {
            let kubeconfig = kubeconfig(world, &direct.kubeconfig_secret).await?;
            Ok(Connection::Direct { kubeconfig })
        }
        (None, Some(_)) => Ok(Connection::Simulated),
        (None, None) => {
            Err(Unknown::Unusable("spec.connection is empty: write direct or simulated".to_owned()))
        }
    }
}

async fn kubeconfig(world: &World, name: &str) -> Result<String, Unknown> {
    let api: Api<Secret> = Api::namespaced(world.means().client.clone(), SYSTEM_NAMESPACE);
    let place = format!("Secret {SYSTEM_NAMESPACE}/{name}");
    let secret = match api.get_opt(name).await {
        Ok(Some(secret)) => secret,
        Ok(None) => {
            let words = format!("{place} is not there: `hanse join` makes it");
            return Err(Unknown::Unusable(words));
        }
        Err(error) => return Err(Unknown::Unread(format!("{place} cannot be read: {error}"))),
    };
    if secret.type_.as_deref() != Some(KUBECONFIG_SECRET_TYPE) {
        let words = format!("{place} has another type: write type: {KUBECONFIG_SECRET_TYPE}");
        return Err(Unknown::Unusable(words));
    }
    let bytes = secret.data.as_ref().and_then(|data| data.get(KUBECONFIG_KEY));
    let Some(bytes) = bytes else {
        let words = format!("{place} has no key {KUBECONFIG_KEY}: put the kubeconfig there");
        return Err(Unknown::Unusable(words));
    };
    String::from_utf8(bytes.0.clone())
        .map_err(|_| Unknown::Unusable(format!("{place}: key {KUBECONFIG_KEY} is not text")))
}

/// Deletes the Secrets that `hanse join` made for a member: its kubeconfig and its relay's token.
pub(super) async fn forget_secrets(world: &World, member: &str) -> Result<(), kube::Error> {
    let api: Api<Secret> = Api::namespaced(world.means().client.clone(), SYSTEM_NAMESPACE);
    let labels = ListParams::default().labels(&format!("{MEMBER_LABEL}={member}"));
    for secret in api.list(&labels).await? {
        let ours = [KUBECONFIG_SECRET_TYPE, RELAY_TOKEN_SECRET_TYPE];
        if !secret.type_.as_deref().is_some_and(|type_| ours.contains(&type_)) {
            continue;
        }
        match api.delete(&secret.name_any(), &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            other => drop(other?),
        }
    }
    Ok(())
}

pub(super) async fn connect(world: &World, name: &str, source: &Source) -> Result<Client, String> {
    let connecting = world.means().connector.connect(name, source);
    connecting.await.map_err(|error| error.to_string())
}

/// Asks a member who it is.
pub(super) async fn ask(client: &Client) -> Joining {
    let api: Api<Namespace> = Api::all(client.clone());
    let namespace = match api.get("kube-system").await {
        Ok(namespace) => namespace,
        Err(error) => return Joining::Silent(error.to_string()),
    };
    let version = match client.apiserver_version().await {
        Ok(version) => version,
        Err(error) => return Joining::Silent(error.to_string()),
    };
    match namespace.metadata.uid {
        Some(identity) => {
            Joining::Answered { identity, version: version.git_version, platform: version.platform }
        }
        None => Joining::Silent("its namespace kube-system has no uid".to_owned()),
    }
}

/// Starts to observe a member.
pub(super) fn observe(world: &World, name: &str, client: Client) {
    let means = world.means();
    let listener = {
        let world = world.clone();
        std::sync::Arc::new(move |member: &str, event| world.announce(member, &event))
    };
    let session = Session::start(
        name,
        client,
        &means.hub_id,
        &means.tasks,
        (means.rng.fork("session", name), means.session_limits),
        means.kinds.clone(),
        listener,
    );
    world.add_session(session);
}
