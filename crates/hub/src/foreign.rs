//! Whether somebody else runs workloads on the hub's API. There, a template would start pods, and
//! two controllers would write one status: Native templates are refused.

use std::time::Duration;

use hanse_api::SYSTEM_NAMESPACE;
use hanse_rt::Mono;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

const NAME: &str = "hanse-foreign-controller-probe";
/// A deployment controller observes a new Deployment within this time.
const WINDOW: Duration = Duration::from_secs(5);

/// Why a hub does not start.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// Other controllers run here.
    #[error(
        "ForeignControllersActive: other controllers run workloads on this API, so ordinary \
         objects cannot be templates here; give the hub an API server of its own"
    )]
    Active,
    /// The API does not answer, or refuses.
    #[error("the hub's API cannot be probed for foreign controllers")]
    Api(#[from] kube::Error),
}

/// Makes a Deployment of no replicas and looks whether somebody observes it.
///
/// # Errors
/// [`ForeignError::Active`] when somebody does.
pub async fn refuse_foreign_controllers(client: &Client) -> Result<(), ForeignError> {
    ensure_namespace(client).await?;
    let api: Api<Deployment> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let probe: Deployment = serde_json::from_value(json!({
        "metadata": {"name": NAME},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": NAME}},
            "template": {
                "metadata": {"labels": {"app": NAME}},
                "spec": {"containers": [{"name": "none", "image": "none"}]},
            },
        },
    }))
    .expect("the probe is a Deployment");
    match api.create(&PostParams::default(), &probe).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        other => {
            other?;
        }
    }
    let found = is_observed(&api).await;
    match api.delete(NAME, &DeleteParams::background()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        other => {
            other?;
        }
    }
    if found? { Err(ForeignError::Active) } else { Ok(()) }
}

async fn is_observed(api: &Api<Deployment>) -> Result<bool, kube::Error> {
    let deadline = Mono::now() + WINDOW;
    while Mono::now() < deadline {
        let probe = api.get(NAME).await?;
        if probe.status.is_some_and(|status| status.observed_generation.is_some()) {
            return Ok(true);
        }
        hanse_rt::sleep(Duration::from_millis(250)).await;
    }
    Ok(false)
}

/// Makes the federation's own namespace where it is not there yet.
///
/// # Errors
/// The API does not answer, or refuses.
pub async fn ensure_namespace(client: &Client) -> Result<(), kube::Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    if api.get_opt(SYSTEM_NAMESPACE).await?.is_some() {
        return Ok(());
    }
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(SYSTEM_NAMESPACE.to_owned());
    match api.create(&PostParams::default(), &namespace).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        other => other.map(|_| ()),
    }
}
