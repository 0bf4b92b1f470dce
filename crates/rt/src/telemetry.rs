//! Logs and traces: `tracing` to standard error, and to an OpenTelemetry collector when
//! `OTEL_EXPORTER_OTLP_ENDPOINT` names one.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

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
    let provider = match std::env::var(ENDPOINT) {
        Ok(endpoint) if !endpoint.is_empty() => Some(provider(service, &endpoint)?),
        _ => None,
    };
    let traces = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer(service)));
    let subscriber = tracing_subscriber::registry().with(filter).with(text).with(json).with(traces);
    // A second call, in tests, keeps the first subscriber.
    drop(subscriber.try_init());
    Ok(Telemetry { provider })
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

fn provider(
    service: &'static str,
    endpoint: &str,
) -> Result<SdkTracerProvider, opentelemetry_otlp::ExporterBuildError> {
    let exporter =
        opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let resource = opentelemetry_sdk::Resource::builder().with_service_name(service).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
