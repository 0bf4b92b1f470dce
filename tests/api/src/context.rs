//! What a case works with: a client, a namespace of its own, and short ways to make requests.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::{Method, Request, StatusCode};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

/// How long background controllers may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The means of one case.
#[derive(Clone)]
pub struct Context {
    client: Client,
    namespace: String,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Context").field(&self.namespace).finish()
    }
}

impl Context {
    pub(crate) async fn new(client: Client, case: &str) -> Result<Self> {
        let namespace: String = case.replace('_', "-").chars().take(60).collect();
        let namespace = namespace.trim_end_matches('-').to_owned();
        let api: Api<Namespace> = Api::all(client.clone());
        let object = serde_json::from_value(json!({ "metadata": { "name": namespace } }))?;
        api.create(&PostParams::default(), &object)
            .await
            .with_context(|| format!("namespace {namespace}"))?;
        Ok(Self { client, namespace })
    }

    pub(crate) async fn finish(&self) -> Result<()> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        api.delete(&self.namespace, &DeleteParams::default()).await?;
        Ok(())
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The path of a resource of `group/version` in the case's namespace.
    pub(crate) fn path(&self, api_version: &str, rest: &str) -> String {
        let root = if api_version.contains('/') { "apis" } else { "api" };
        format!("/{root}/{api_version}/namespaces/{}/{rest}", self.namespace)
    }

    /// One request; answers with its status and body, whatever they are.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: &str,
    ) -> Result<Answer> {
        self.send_with(method, path, &[("content-type", content_type)], body).await
    }

    pub(crate) async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(kube::client::Body::from(body.as_bytes().to_vec()))?;
        let response = self.client.send(request).await?;
        let (parts, body) = response.into_parts();
        let bytes = body.collect_bytes().await?;
        let value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
        let warnings = parts.headers.get_all("warning").iter();
        Ok(Answer {
            status: parts.status,
            value,
            warnings: warnings
                .map(|one| String::from_utf8_lossy(one.as_bytes()).into_owned())
                .collect(),
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, "application/json", "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::POST, path, "application/json", &body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::PUT, path, "application/json", &body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::DELETE, path, "application/json", &body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, kind: &str, body: &Value) -> Result<Answer> {
        let content_type = match kind {
            "apply" => "application/apply-patch+yaml".to_owned(),
            kind => format!("application/{kind}-patch+json"),
        };
        self.send(Method::PATCH, path, &content_type, &body.to_string()).await
    }

    /// Asks until the answer is as wanted; background controllers take their time.
    pub(crate) async fn until(
        &self,
        path: &str,
        what: &str,
        wanted: impl Fn(&Answer) -> bool,
    ) -> Result<Answer> {
        let asking = async {
            loop {
                let answer = self.get(path).await?;
                if wanted(&answer) {
                    return anyhow::Ok(answer);
                }
                hanse_rt::sleep(Duration::from_millis(50)).await;
            }
        };
        match hanse_rt::timeout(PATIENCE, asking).await {
            Ok(answer) => answer,
            Err(_) => bail!("{path} never became {what}"),
        }
    }
}

/// What a server answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) value: Value,
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    /// The body of a successful answer.
    pub(crate) fn ok(self) -> Result<Value> {
        ensure!(self.status.is_success(), "{}: {}", self.status, self.value);
        Ok(self.value)
    }

    /// Checks that the request failed in this way; an empty message is not compared.
    pub(crate) fn fails(self, code: u16, reason: &str, message: &str) -> Result<Value> {
        ensure!(
            self.status.as_u16() == code && self.value["reason"] == reason,
            "wanted {code} {reason}, got {}: {}",
            self.status,
            self.value
        );
        ensure!(
            message.is_empty() || self.value["message"] == message,
            "wanted the message\n  {message}\ngot\n  {}",
            self.value["message"].as_str().unwrap_or_default()
        );
        Ok(self.value)
    }
}

/// Fails with both values unless they are equal.
pub(crate) fn same(what: &str, got: &Value, wanted: &Value) -> Result<()> {
    ensure!(got == wanted, "{what}: got\n  {got}\nwanted\n  {wanted}");
    Ok(())
}
