//! Namespaces of members: a missing one is made with the hub's labels, an existing one keeps its
//! own.

use std::sync::Arc;

use hanse_api::marks;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};

use crate::{Session, TemplateKey, World};

/// Makes sure that a namespace is there.
pub(super) async fn ensure(
    world: &World,
    session: &Arc<Session>,
    name: &str,
) -> Result<(), kube::Error> {
    let api: Api<Namespace> = Api::all(session.client());
    let key = TemplateKey {
        api_version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    };
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name.to_owned());
    let labels = namespace.metadata.labels.get_or_insert_default();
    let annotations = namespace.metadata.annotations.get_or_insert_default();
    if let Some(template) = world.templates().get(&key) {
        labels.extend(template.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
        labels.remove("kubernetes.io/metadata.name");
        annotations.insert(marks::TEMPLATE_UID_ANNOTATION.to_owned(), template.uid.clone());
    }
    labels.insert(marks::HUB_LABEL.to_owned(), world.means().hub_id.clone());
    match api.create(&PostParams::default(), &namespace).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        other => other.map(|_| ()),
    }
}
