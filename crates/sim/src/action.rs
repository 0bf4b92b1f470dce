//! What controllers want done, as values; and the one place that does it.

use std::{sync::Arc, time::Duration};

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, Request},
};
use serde_json::{Value, json};

use crate::objects::{Key, Kind, key_of};

/// A call to the member's own API server must answer within this; it is local.
const CALL: Duration = Duration::from_secs(10);

/// One write to the API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Creates an object; the body has its metadata.
    Create {
        /// Its kind.
        kind: Kind,
        /// Its namespace; empty for cluster-scoped kinds.
        namespace: String,
        /// The object.
        body: Value,
    },
    /// Deletes an object of this uid, dependents in the background.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: Key,
        /// Its uid.
        uid: String,
        /// Without grace: the kubelet's last word on a pod.
        now: bool,
    },
    /// Merges into the status.
    Status {
        /// The object's kind.
        kind: Kind,
        /// Its key.
        key: Key,
        /// The new status.
        status: Value,
    },
    /// Merges into the object.
    Patch {
        /// The object's kind.
        kind: Kind,
        /// Its key.
        key: Key,
        /// What to merge.
        body: Value,
    },
    /// Binds a pod to a node.
    Bind {
        /// The pod.
        key: Key,
        /// The node.
        node: String,
    },
}

/// What came of an action.
#[derive(Debug)]
pub enum Outcome {
    /// The object as it is now.
    Now(Kind, Box<DynamicObject>),
    /// Done; a watch event will tell the rest.
    Done,
}

impl Action {
    /// The body for [`Action::Create`].
    pub fn create(kind: Kind, namespace: &str, mut body: Value) -> Self {
        let resource = kind.resource();
        body["apiVersion"] = json!(resource.api_version);
        body["kind"] = json!(resource.kind);
        Self::Create { kind, namespace: namespace.to_owned(), body }
    }

    /// The deletion of an object with dependents in the background.
    pub fn delete(kind: Kind, object: &Arc<DynamicObject>) -> Self {
        let uid = object.metadata.uid.clone().unwrap_or_default();
        Self::Delete { kind, key: key_of(object), uid, now: false }
    }

    /// Does it.
    ///
    /// # Errors
    /// The API's refusal, or a time-out; the caller plans anew.
    pub async fn perform(self, client: &Client) -> Result<Outcome, kube::Error> {
        let call = self.call(client);
        match hanse_rt::timeout(CALL, call).await {
            Ok(done) => done,
            Err(elapsed) => Err(kube::Error::Service(Box::new(elapsed))),
        }
    }

    async fn call(self, client: &Client) -> Result<Outcome, kube::Error> {
        match self {
            Self::Create { kind, namespace, body } => {
                let object = serde_json::from_value(body).map_err(kube::Error::SerdeError)?;
                let api = api(client, kind, &namespace);
                let created = api.create(&PostParams::default(), &object).await?;
                Ok(Outcome::Now(kind, Box::new(created)))
            }
            Self::Delete { kind, key, uid, now } => {
                let mut params = DeleteParams::background();
                params.preconditions =
                    Some(Preconditions { uid: Some(uid), resource_version: None });
                if now {
                    params.grace_period_seconds = Some(0);
                }
                match api(client, kind, &key.0).delete(&key.1, &params).await {
                    Ok(_) => Ok(Outcome::Done),
                    Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {
                        Ok(Outcome::Done)
                    }
                    Err(error) => Err(error),
                }
            }
            Self::Status { kind, key, status } => {
                let patch = Patch::Merge(json!({ "status": status }));
                let api = api(client, kind, &key.0);
                let now = api.patch_status(&key.1, &PatchParams::default(), &patch).await?;
                Ok(Outcome::Now(kind, Box::new(now)))
            }
            Self::Patch { kind, key, body } => {
                let api = api(client, kind, &key.0);
                let now = api.patch(&key.1, &PatchParams::default(), &Patch::Merge(body)).await?;
                Ok(Outcome::Now(kind, Box::new(now)))
            }
            Self::Bind { key, node } => bind(client, &key, &node).await,
        }
    }
}

async fn bind(
    client: &Client,
    (namespace, name): &Key,
    node: &str,
) -> Result<Outcome, kube::Error> {
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": name, "namespace": namespace},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let body = serde_json::to_vec(&binding).map_err(kube::Error::SerdeError)?;
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    let request = Request::new(pods)
        .create_subresource("binding", name, &PostParams::default(), body)
        .map_err(kube::Error::BuildRequest)?;
    client.request::<Value>(request).await?;
    Ok(Outcome::Done)
}

/// The API of a kind in a namespace, or over all for an empty one.
pub fn api(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    let resource = kind.resource();
    if namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}
