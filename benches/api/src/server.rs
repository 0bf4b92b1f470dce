//! A server, the watches of its kinds, and calls whose cost is counted.

use anyhow::{Result, bail};
use bytes::Bytes;
use futures::FutureExt as _;
use hanse_apiserver::{ApiServer, Body, UserService};
use hanse_bench_scheduler::count;
use hanse_rt::Rng;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tower::Service as _;

use crate::figures::{Cost, Figures};

pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";
const JSON: &str = "application/json";

/// An API server with a watch on each of some kinds.
#[derive(Debug)]
pub(crate) struct Server {
    service: UserService,
    watches: Vec<Body>,
}

/// A call that is ready to be made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    content: &'static str,
    body: Bytes,
}

impl Call {
    pub(crate) fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), content: JSON, body: Bytes::new() }
    }

    pub(crate) fn create(path: &str, object: &Value) -> Self {
        let body = object.to_string().into();
        Self { method: Method::POST, path: path.to_owned(), content: JSON, body }
    }

    pub(crate) fn patch(path: &str, content: &'static str, patch: &Value) -> Self {
        let body = patch.to_string().into();
        Self { method: Method::PATCH, path: path.to_owned(), content, body }
    }
}

impl Server {
    /// An empty server in memory.
    pub(crate) fn new(history: usize) -> Result<Self> {
        let server = ApiServer::builder().history(history).rng(Rng::from_seed(7)).build()?;
        Ok(Self { service: server.as_user("bench"), watches: Vec::new() })
    }

    /// Watches what is there and what comes.
    pub(crate) async fn watch(&mut self, path: &str) -> Result<()> {
        let path = format!("{path}?watch=true&allowWatchBookmarks=true");
        let answer = self.ask(&Call::get(&path)).await?;
        self.watches.push(answer.into_body());
        self.serve_watches();
        Ok(())
    }

    /// Makes calls that nobody counts.
    pub(crate) async fn make(&mut self, calls: &[Call]) -> Result<Vec<Value>> {
        let mut answers = Vec::new();
        for call in calls {
            let answer = self.ask(call).await?.into_body().collect().await?.to_bytes();
            self.serve_watches();
            answers.push(serde_json::from_slice(&answer)?);
        }
        Ok(answers)
    }

    /// Makes calls and counts what they cost. The answers are returned.
    pub(crate) async fn count(
        &mut self,
        name: &'static str,
        figures: &mut Figures,
        calls: &[Call],
    ) -> Result<Vec<Value>> {
        let mut answers = Vec::with_capacity(calls.len());
        let (time, allocations) = (count::processor_time(), count::allocations());
        for call in calls {
            answers.push(self.ask(call).await?.into_body().collect().await?.to_bytes());
            self.serve_watches();
        }
        let time = count::processor_time().checked_sub(time).unwrap_or_default();
        figures.add(
            name,
            Cost {
                calls: u32::try_from(calls.len())?,
                micros: time.as_secs_f64() * 1e6,
                allocations: count::allocations() - allocations,
                answered: answers.iter().map(Bytes::len).sum(),
            },
        );
        answers.iter().map(|answer| Ok(serde_json::from_slice(answer)?)).collect()
    }

    async fn ask(&mut self, call: &Call) -> Result<Response<Body>> {
        let request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(header::USER_AGENT, "hanse-bench/1")
            .header(header::CONTENT_TYPE, call.content)
            .body(Full::new(call.body.clone()))?;
        let Ok(answer) = self.service.call(request).await;
        if !answer.status().is_success() {
            let status = answer.status();
            let Ok(body) = answer.into_body().collect().await;
            let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            bail!("{} {}: {status}: {text}", call.method, call.path);
        }
        Ok(answer)
    }

    /// Takes what the watches have to say.
    fn serve_watches(&mut self) {
        for watch in &mut self.watches {
            while let Some(Some(_)) = watch.frame().now_or_never() {}
        }
    }
}
