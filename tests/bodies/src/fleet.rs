//! A running federation as tests see it: the hub's API, each member's own API, and kubectl.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use hanse_api::{GlobalService, MemberCluster, ResourceBinding};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{Kubectl, wait};

/// Longer than anything here takes; a test that needs it has failed.
pub const LONG: Duration = Duration::from_mins(1);

/// A running federation.
#[derive(Clone)]
pub struct Fleet {
    /// The hub's API.
    pub hub: Client,
    /// Each member's API, directly.
    pub members: BTreeMap<String, Client>,
    /// kubectl on the hub.
    pub kubectl: Kubectl,
    kubeconfig: PathBuf,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("kubeconfig", &self.kubeconfig).finish_non_exhaustive()
    }
}

impl Fleet {
    /// Connects by a kubeconfig that has a context per member beside that of the federation.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn connect(kubeconfig: &Path) -> Result<Self> {
        let file = Kubeconfig::read_from(kubeconfig)?;
        let mut members = BTreeMap::new();
        for context in &file.contexts {
            if context.name != "federation" {
                members.insert(context.name.clone(), client(&file, &context.name).await?);
            }
        }
        Ok(Self {
            hub: client(&file, "federation").await?,
            members,
            kubectl: Kubectl::new(kubeconfig),
            kubeconfig: kubeconfig.to_owned(),
        })
    }

    /// Where its kubeconfig is.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Replicas of a Deployment in each member's own API; members without it are left out.
    ///
    /// # Errors
    /// When a member in `ask` does not answer.
    pub async fn spread(
        &self,
        namespace: &str,
        name: &str,
        ask: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, i32>> {
        let mut spread = BTreeMap::new();
        for (member, client) in self.members.iter().filter(|(member, _)| ask(member)) {
            let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
            if let Some(found) = api.get_opt(name).await? {
                spread.insert(member.clone(), found.spec.replicas.unwrap_or(1));
            }
        }
        Ok(spread)
    }

    /// Ready pods with a label in each member that `ask` names.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub async fn ready_pods(
        &self,
        namespace: &str,
        label: &str,
        ask: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, usize>> {
        let mut ready = BTreeMap::new();
        for (member, client) in self.members.iter().filter(|(member, _)| ask(member)) {
            let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
            let pods = api.list(&ListParams::default().labels(label)).await?;
            ready.insert(member.clone(), pods.iter().filter(|pod| is_ready(pod)).count());
        }
        Ok(ready)
    }

    /// The verdict of each member.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub async fn verdicts(&self) -> Result<BTreeMap<String, String>> {
        let api: Api<MemberCluster> = Api::all(self.hub.clone());
        let members = api.list(&ListParams::default()).await?;
        let verdict = |member: &MemberCluster| {
            member.status.as_ref().and_then(|status| status.verdict.clone()).unwrap_or_default()
        };
        Ok(members.iter().map(|member| (member.name_any(), verdict(member))).collect())
    }

    /// Waits until every member is Healthy.
    ///
    /// # Errors
    /// When one is not in time.
    pub async fn healthy(&self) -> Result<()> {
        wait::until(
            "every member Healthy",
            LONG,
            || self.verdicts(),
            |verdicts| {
                verdicts.len() == self.members.len()
                    && verdicts.values().all(|verdict| verdict == "Healthy")
            },
        )
        .await
        .map(drop)
    }

    /// All bindings of a namespace.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub async fn bindings(&self, namespace: &str) -> Result<Vec<ResourceBinding>> {
        let api: Api<ResourceBinding> = Api::namespaced(self.hub.clone(), namespace);
        Ok(api.list(&ListParams::default()).await?.items)
    }

    /// The addresses of a GlobalService, once it has any.
    ///
    /// # Errors
    /// When it has none in time.
    pub async fn addresses(
        &self,
        namespace: &str,
        name: &str,
        all: usize,
    ) -> Result<Vec<hanse_api::GlobalAddress>> {
        let api: Api<GlobalService> = Api::namespaced(self.hub.clone(), namespace);
        let look = || {
            let api = api.clone();
            async move {
                let status = api.get(name).await?.status.unwrap_or_default();
                Ok(status.addresses)
            }
        };
        wait::until("addresses of the global service", LONG, look, |found: &Vec<_>| {
            found.len() >= all
        })
        .await
    }
}

/// Whether a pod is ready and not on its way out.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .into_iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn client(file: &Kubeconfig, context: &str) -> Result<Client> {
    let options =
        KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(file.clone(), &options)
        .await
        .with_context(|| format!("context {context}"))?;
    config.connect_timeout = Some(Duration::from_secs(2));
    Ok(Client::try_from(config)?)
}
