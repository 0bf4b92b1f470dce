//! Logs, traces and metrics: logs to standard error, and spans and metrics to an OpenTelemetry
//! collector when `OTEL_EXPORTER_OTLP_ENDPOINT` names one. It must not know what they speak of.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::{Metrics, TaskSet, otlp, trace};

/// How often metrics are pushed.
const PUSH_EVERY: Duration = Duration::from_secs(10);
/// The variable of the OpenTelemetry specification that names the collector.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Keeps the exporter alive; [`Telemetry::flush`] before exit sends what is left.
#[derive(Debug, Default)]
#[must_use = "spans are exported only while this value lives"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Sets up logs and traces for this process, once. `filter` is used when `HANSE_LOG` is not set.
///
/// # Errors
/// When the collector's endpoint does not parse.
pub fn init(
    service: &'static str,
    filter: &str,
    format: LogFormat,
) -> Result<Telemetry, opentelemetry_otlp::ExporterBuildError> {
    let filter = EnvFilter::try_from_env("HANSE_LOG").unwrap_or_else(|_| EnvFilter::new(filter));
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr()) && !plain;
    let (text, json) = match format {
        LogFormat::Text => (
            Some(tracing_subscriber::fmt::layer().with_ansi(colour).with_writer(std::io::stderr)),
            None,
        ),
        LogFormat::Json => {
            (None, Some(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr)))
        }
    };
    let provider = endpoint().map(|endpoint| provider(service, &endpoint)).transpose()?;
    let traces = provider.as_ref().map(layer);
    // The filter is of logs alone: what is exported does not depend on how much is printed.
    let logs = text.map(Layer::boxed).or_else(|| json.map(Layer::boxed));
    let subscriber = tracing_subscriber::registry().with(logs.with_filter(filter)).with(traces);
    // A second call, in tests, keeps the first subscriber.
    drop(subscriber.try_init());
    Ok(Telemetry { provider })
}

/// Exports spans: those of level info, and those of [`trace::TARGET`].
pub fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let exported = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target(trace::TARGET, LevelFilter::DEBUG);
    tracing_opentelemetry::layer().with_tracer(provider.tracer("hanse")).with_filter(exported)
}

/// Pushes all series of `metrics` every 10 s until `tasks` end, and once more then. Without a
/// collector it does nothing. Call it once for each registry.
///
/// # Errors
/// When the collector's endpoint does not parse.
pub fn push(
    tasks: &TaskSet,
    service: &'static str,
    metrics: &Metrics,
) -> Result<(), otlp::EndpointError> {
    let Some(endpoint) = endpoint() else {
        return Ok(());
    };
    otlp::push(tasks, &endpoint, service, metrics, PUSH_EVERY)
}

fn endpoint() -> Option<String> {
    std::env::var(ENDPOINT).ok().filter(|endpoint| !endpoint.is_empty())
}

impl Telemetry {
    /// Sends what was collected; gives up after the exporter's own time-out.
    pub fn flush(&self) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.force_flush()
        {
            tracing::warn!(%error, "traces could not be sent");
        }
    }
}

pub(crate) fn provider(
    service: &'static str,
    endpoint: &str,
) -> Result<SdkTracerProvider, opentelemetry_otlp::ExporterBuildError> {
    let exporter =
        opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let resource = opentelemetry_sdk::Resource::builder().with_service_name(service).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
