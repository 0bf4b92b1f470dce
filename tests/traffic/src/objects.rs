//! What tests write into a member's API.

use hanse_routing::ServiceKey;
use k8s_openapi::api::{core::v1 as core, discovery::v1::EndpointSlice};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::pods::Pod;

/// Creates a namespace.
///
/// # Panics
/// When the API refuses.
pub async fn namespace(client: &Client, name: &str) {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let api: Api<core::Namespace> = Api::all(client.clone());
    api.patch(name, &PatchParams::apply("test"), &Patch::Apply(object)).await.expect("a namespace");
}

/// Writes the Service of `key`.
///
/// # Panics
/// When the API refuses.
pub async fn service(client: &Client, key: &ServiceKey) {
    let (namespace, name) = (key.namespace(), key.name());
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"app": name},
            "ports": [{"name": "http", "port": key.port(), "targetPort": 8080}],
        },
    });
    let parameters = PatchParams::apply("test").force();
    let services: Api<core::Service> = Api::namespaced(client.clone(), namespace);
    services.patch(name, &parameters, &Patch::Apply(service)).await.expect("a Service");
}

/// Writes the Service of `key` and one slice per pod, because each toy pod has a port of its
/// own. A slice that a pod more had before becomes empty.
///
/// # Panics
/// When the API refuses.
pub async fn endpoints(client: &Client, key: &ServiceKey, pods: &[&Pod]) {
    service(client, key).await;
    let (namespace, name) = (key.namespace(), key.name());
    let parameters = PatchParams::apply("test").force();
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    for index in 0..pods.len().max(1) {
        let pod = pods.get(index);
        let endpoints: Vec<_> = pod
            .iter()
            .map(|pod| {
                let address = pod.address.ip().to_string();
                json!({"addresses": [address], "conditions": {"ready": true}})
            })
            .collect();
        let slice_name = format!("{name}-{index}");
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": slice_name, "namespace": namespace,
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": [{
                "name": "http", "protocol": "TCP",
                "port": pod.map_or(8080, |pod| pod.address.port()),
            }],
            "endpoints": endpoints,
        });
        slices
            .patch(&slice_name, &parameters, &Patch::Apply(slice))
            .await
            .expect("an EndpointSlice");
    }
}
