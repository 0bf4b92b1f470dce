//! The kubeconfig that `hanse up` writes: one context for the federation, one per member.

use std::net::SocketAddr;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::pki::Pki;

/// The name of the federation's own context.
const FEDERATION: &str = "federation";

/// The file's text. JSON is YAML.
pub(crate) fn render(
    pki: &Pki,
    federation: SocketAddr,
    members: &[(String, SocketAddr)],
) -> String {
    let authority = BASE64_STANDARD.encode(&pki.authority);
    let mut all = vec![(FEDERATION.to_owned(), federation)];
    all.extend(members.iter().cloned());
    let clusters: Vec<Value> = all
        .iter()
        .map(|(name, address)| {
            json!({"name": name, "cluster": {
                "server": format!("https://{address}"), "certificate-authority-data": authority,
            }})
        })
        .collect();
    let contexts: Vec<Value> = all
        .iter()
        .map(|(name, _)| {
            json!({"name": name, "context": {
                "cluster": name, "user": "admin", "namespace": "default",
            }})
        })
        .collect();
    let file = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": FEDERATION,
        "clusters": clusters, "contexts": contexts,
        "users": [{"name": "admin", "user": {"token": pki.token}}],
    });
    format!("{file:#}\n")
}
