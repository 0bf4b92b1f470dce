//! The same objects on both arms: what the servers make of them must be equal.

use anyhow::{Result, ensure};
use hanse_tests_api::{Embedded, divergences};
use hanse_tests_kubernetes::{ControlPlane, Controllers, peers};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

/// Path under the API's root, and the object.
fn objects() -> Result<Vec<(String, Value)>> {
    Ok(serde_json::from_str(include_str!("../data/kinds.json"))?)
}

async fn send(
    client: &Client,
    method: &str,
    path: &str,
    media: &str,
    body: &Value,
) -> Result<Value> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media)
        .body(body.to_string().into_bytes())?;
    Ok(client.request(request).await?)
}

/// Takes out what no two servers have in common.
fn comparable(mut object: Value) -> Value {
    let meta = &mut object["metadata"];
    for name in ["uid", "creationTimestamp", "resourceVersion", "namespace"] {
        meta[name] = Value::Null;
    }
    for entry in meta["managedFields"].as_array_mut().into_iter().flatten() {
        entry["time"] = Value::Null;
    }
    if object["kind"] == "Service" {
        object["spec"]["clusterIP"] = Value::Null;
        object["spec"]["clusterIPs"] = Value::Null;
        for port in object["spec"]["ports"].as_array_mut().into_iter().flatten() {
            port["nodePort"] = Value::Null;
        }
    }
    object
}

/// Paths at which two values differ.
fn differences(path: &str, a: &Value, b: &Value, found: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let keys: std::collections::BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            for key in keys {
                let (a, b) =
                    (x.get(key).unwrap_or(&Value::Null), y.get(key).unwrap_or(&Value::Null));
                differences(&format!("{path}.{key}"), a, b, found);
            }
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            for (index, (a, b)) in x.iter().zip(y).enumerate() {
                differences(&format!("{path}[{index}]"), a, b, found);
            }
        }
        (a, b) if a != b => found.push(format!("{path}: embedded {a}, real {b}")),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_servers_make_the_same_of_an_object() -> Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let Some(programs) = peers()? else {
        println!("skipped: HANSE_PEERS is not set");
        return Ok(());
    };
    let server = Embedded::start()?;
    let plane = ControlPlane::start("alike", 62, Controllers::Hub, &programs).await?;
    let clients = [server.client().await?, plane.client().await?];
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "alike" } });
    for client in &clients {
        send(client, "POST", "/api/v1/namespaces", "application/json", &namespace).await?;
    }
    let mut found = Vec::new();
    for (place, object) in objects()? {
        let (version, plural) = place.rsplit_once('/').unwrap_or_default();
        let root = if version.contains('/') { "apis" } else { "api" };
        let path = format!("/{root}/{version}/namespaces/alike/{plural}");
        let query = "fieldManager=test";
        let mut applied = object.clone();
        applied["metadata"]["name"] = "applied".into();
        for (method, path, media, object) in [
            ("POST", format!("{path}?{query}"), "application/json", &object),
            ("PATCH", format!("{path}/applied?{query}"), "application/apply-patch+yaml", &applied),
        ] {
            let a = comparable(send(&clients[0], method, &path, media, object).await?);
            let b = comparable(send(&clients[1], method, &path, media, object).await?);
            differences(&format!("{method} {plural}"), &a, &b, &mut found);
        }
    }
    server.stop().await;
    let known = |path: &String| {
        let mut fields = divergences::FIELDS.iter();
        fields.any(|(field, _)| path.contains(field))
    };
    found.retain(|path| !known(path));
    ensure!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    Ok(())
}
