//! One trace follows a change: the write of a template, propagation, decision, the writes to
//! members, and their answers.

use std::sync::{Arc, Mutex};

use hanse_rt::telemetry;
use kube::api::{Patch, PatchParams};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use serde_json::json;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::stage::{Stage, deployment, dynamic, eventually, policy};

/// Keeps what ended.
#[derive(Clone, Debug, Default)]
struct Spans(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Spans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

fn attribute(span: &SpanData, name: &str) -> String {
    let found = span.attributes.iter().find(|pair| pair.key.as_str() == name);
    found.map(|pair| pair.value.to_string()).unwrap_or_default()
}

impl Spans {
    /// Exports the spans of this test's thread.
    fn install(&self) -> tracing::subscriber::DefaultGuard {
        let provider = SdkTracerProvider::builder().with_simple_exporter(self.clone()).build();
        let layer = telemetry::layer(&provider);
        tracing::subscriber::set_default(tracing_subscriber::registry().with(layer))
    }

    fn all(&self) -> Vec<SpanData> {
        self.0.lock().unwrap().clone()
    }

    fn named(&self, name: &str) -> Vec<SpanData> {
        self.all().into_iter().filter(|span| span.name == name).collect()
    }

    /// The API request that was made with this method at a path that ends so.
    fn request(&self, method: &str, path: &str) -> SpanData {
        let found = self.named("api request").into_iter().find(|span| {
            attribute(span, "method") == method && attribute(span, "path").ends_with(path)
        });
        assert!(found.is_some(), "{method} {path} among {:#?}", self.told());
        found.unwrap()
    }

    /// All spans in words, for a failed test.
    fn told(&self) -> Vec<String> {
        let word = |span: &SpanData| {
            let here = (span.span_context.trace_id(), span.span_context.span_id());
            format!("{} {here:?} under {:?} {:?}", span.name, span.parent_span_id, span.attributes)
        };
        self.all().iter().map(word).collect()
    }

    fn is_child(&self, child: &SpanData, parent: &SpanData) {
        let trace = |span: &SpanData| span.span_context.trace_id();
        let same =
            trace(child) == trace(parent) && child.parent_span_id == parent.span_context.span_id();
        assert!(same, "{} is no child of {}: {:#?}", child.name, parent.name, self.told());
    }
}

/// Waits until the copies of `web` have answered.
async fn answered(spans: &Spans, count: usize) -> Vec<SpanData> {
    eventually("the answers", async || {
        let answers = spans.named("answer");
        let of_web =
            answers.iter().filter(|span| attribute(span, "binding").contains("deployment"));
        let found: Vec<SpanData> = of_web.cloned().collect();
        (found.len() >= count).then_some(found)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_new_template_is_one_trace_from_its_write_to_the_members_answers() {
    let stage = Stage::new().await;
    stage.create(policy("all", json!({}))).await;
    let spans = Spans::default();
    let _exporting = spans.install();
    stage.create(deployment("web", 6)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let answers = answered(&spans, 3).await;

    let write = spans.request("POST", "/deployments");
    let propagate = spans.named("propagate").remove(0);
    spans.is_child(&propagate, &write);
    spans.is_child(&spans.request("POST", "/resourcebindings"), &propagate);
    // The members' room may not be known to the first decision.
    let decisions = spans.named("decide");
    for decide in &decisions {
        spans.is_child(decide, &propagate);
    }
    let decide = decisions.last().unwrap();
    assert_eq!(attribute(decide, "reason"), "Scheduled");
    let applies = spans.named("apply");
    assert_eq!(applies.len(), 3, "{:#?}", spans.told());
    for apply in &applies {
        spans.is_child(apply, decide);
        let member = attribute(apply, "member");
        let requests = spans.named("api request");
        let of_member = requests.iter().find(|request| {
            request.parent_span_id == apply.span_context.span_id()
                && attribute(request, "method") == "PATCH"
        });
        assert!(of_member.is_some(), "{member}: {:#?}", spans.told());
        let of_member = of_member.unwrap();
        assert!(attribute(of_member, "path").ends_with("/deployments/web"));
        spans.is_child(of_member, apply);
        let answer = answers.iter().find(|answer| attribute(answer, "member") == member).unwrap();
        spans.is_child(answer, apply);
    }
    // The status that a user waits for belongs to it too.
    let told = spans.request("PATCH", "/deployments/web/status");
    assert_eq!(told.span_context.trace_id(), write.span_context.trace_id());
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_moves_nothing_is_a_trace_of_its_own_and_continues_its_callers() {
    let stage = Stage::new().await;
    stage.create(policy("all", json!({}))).await;
    stage.create(deployment("web", 6)).await;
    stage.condition("apps/v1", "Deployment", "shop", "web", "Available", "True").await;
    let spans = Spans::default();
    let _exporting = spans.install();
    let caller = tracing::info_span!("a user's tool");
    let client = hanse_member::bounded(stage.client(), hanse_member::Limits::default());
    let api = dynamic(&client, "apps/v1", "Deployment", "shop");
    let image = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "main", "image": "registry/main:2"}]}}}});
    tracing::Instrument::instrument(
        api.patch("web", &PatchParams::default(), &Patch::Merge(&image)),
        caller.clone(),
    )
    .await
    .unwrap();
    drop(caller);
    let answers = answered(&spans, 3).await;
    let write = spans.request("PATCH", "/deployments/web");
    spans.is_child(&write, &spans.named("a user's tool").remove(0));
    let trace = write.span_context.trace_id();
    assert!(answers.iter().all(|answer| answer.span_context.trace_id() == trace));
    let applies = spans.named("apply");
    assert_eq!(applies.len(), 3, "{:#?}", spans.told());
    assert!(applies.iter().all(|apply| apply.span_context.trace_id() == trace));
    assert_eq!(spans.named("propagate").len(), 1);

    // What comes after it without a cause of its own is no part of it.
    let before = spans.all().len();
    stage.patch("apps/v1", "Deployment", "web", json!({"spec": {"replicas": 9}})).await;
    answered(&spans, 6).await;
    let later = spans.all().split_off(before);
    assert!(later.iter().all(|span| span.span_context.trace_id() != trace), "{:#?}", spans.told());
    stage.end().await;
}
