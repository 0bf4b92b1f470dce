//! Pushes the Prometheus registry to an OpenTelemetry collector. The registry is the one source
//! of truth: its page is read back and told in the collector's words, so that what is pushed is
//! what `/metrics` shows. It must not know what the series mean.

use std::{collections::BTreeMap, time::Duration};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{
        ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient,
    },
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
    },
    resource::v1::Resource,
};
use tonic::transport::{Channel, Endpoint};

use crate::{Metrics, TaskSet, Wall};

/// Until a push counts as failed; the next one says the same or more.
const LIMIT: Duration = Duration::from_secs(5);

/// The collector's endpoint is no URI.
#[derive(Debug, thiserror::Error)]
#[error("the collector's endpoint {endpoint} is no URI")]
pub struct EndpointError {
    endpoint: String,
    source: tonic::transport::Error,
}

/// A family of series as the page tells it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    samples: Vec<Sample>,
}

/// One line of the page.
#[derive(Debug)]
struct Sample {
    /// What follows the family's name: `_total`, `_bucket`, `_sum`, `_count` or nothing.
    suffix: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Pushes every `period` until `tasks` end, and once more then.
pub(crate) fn push(
    tasks: &TaskSet,
    endpoint: &str,
    service: &'static str,
    metrics: &Metrics,
    period: Duration,
) -> Result<(), EndpointError> {
    let channel = Endpoint::from_shared(endpoint.to_owned())
        .map_err(|source| EndpointError { endpoint: endpoint.to_owned(), source })?
        .timeout(LIMIT)
        .connect_lazy();
    let mut client = MetricsServiceClient::new(channel);
    let (metrics, shutdown) = (metrics.clone(), tasks.shutdown());
    let start = nanos();
    tasks.spawn("metrics", async move {
        let mut ticks = crate::interval(period, period);
        loop {
            let ended = crate::select! {
                () = shutdown.cancelled() => true,
                _ = ticks.tick() => false,
            };
            send(&mut client, request(&metrics.encode(), service, start, nanos())).await;
            if ended {
                return;
            }
        }
    });
    Ok(())
}

async fn send(client: &mut MetricsServiceClient<Channel>, request: ExportMetricsServiceRequest) {
    match crate::timeout(LIMIT, client.export(request)).await {
        Ok(Ok(_)) => {}
        Ok(Err(status)) => tracing::debug!(%status, "the collector did not take the metrics"),
        Err(elapsed) => tracing::debug!(%elapsed, "the collector did not take the metrics"),
    }
}

fn nanos() -> u64 {
    u64::try_from(Wall::system().now().as_nanosecond()).unwrap_or(0)
}

/// A page in the collector's words. All values count from `start`.
fn request(page: &str, service: &str, start: u64, now: u64) -> ExportMetricsServiceRequest {
    let span = Span { start, now };
    let metrics = families(page).into_iter().filter_map(|(name, family)| span.metric(name, family));
    let resource =
        Resource { attributes: vec![attribute("service.name", service)], ..Resource::default() };
    let scope =
        InstrumentationScope { name: "hanse".to_owned(), ..InstrumentationScope::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics: metrics.collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

/// The time that values speak of, in nanoseconds since 1970.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    now: u64,
}

impl Span {
    fn metric(self, name: String, family: Family) -> Option<Metric> {
        let cumulative = AggregationTemporality::Cumulative.into();
        let data = match family.kind.as_str() {
            "counter" => Data::Sum(Sum {
                data_points: self.numbers(family.samples),
                aggregation_temporality: cumulative,
                is_monotonic: true,
            }),
            "gauge" => Data::Gauge(Gauge { data_points: self.numbers(family.samples) }),
            "histogram" => Data::Histogram(Histogram {
                data_points: self.histograms(family.samples),
                aggregation_temporality: cumulative,
            }),
            _ => return None,
        };
        Some(Metric { name, description: family.help, data: Some(data), ..Metric::default() })
    }

    fn numbers(self, samples: Vec<Sample>) -> Vec<NumberDataPoint> {
        let point = |sample: Sample| NumberDataPoint {
            attributes: attributes(&sample.labels),
            start_time_unix_nano: self.start,
            time_unix_nano: self.now,
            value: Some(number_data_point::Value::AsDouble(sample.value)),
            ..NumberDataPoint::default()
        };
        samples.into_iter().map(point).collect()
    }

    fn histograms(self, samples: Vec<Sample>) -> Vec<HistogramDataPoint> {
        let mut points: BTreeMap<BTreeMap<String, String>, HistogramDataPoint> = BTreeMap::new();
        for mut sample in samples {
            let bound = sample.labels.remove("le");
            let point = points.entry(sample.labels).or_default();
            match (sample.suffix.as_str(), bound.as_deref()) {
                ("_sum", _) => point.sum = Some(sample.value),
                ("_count", _) => point.count = whole(sample.value),
                ("_bucket", Some(bound)) => {
                    // The page counts everything below a bound, the collector what lies between.
                    let below: u64 = point.bucket_counts.iter().sum();
                    point.bucket_counts.push(whole(sample.value).saturating_sub(below));
                    if let Some(bound) = bound.parse().ok().filter(|bound: &f64| bound.is_finite())
                    {
                        point.explicit_bounds.push(bound);
                    }
                }
                _ => {}
            }
        }
        let finish = |(labels, point)| HistogramDataPoint {
            attributes: attributes(&labels),
            start_time_unix_nano: self.start,
            time_unix_nano: self.now,
            ..point
        };
        points.into_iter().map(finish).collect()
    }
}

/// Reads a page of our own encoder: OpenMetrics text.
fn families(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in page.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut parts = comment.splitn(3, ' ');
            if let (Some(word), Some(name), Some(rest)) = (parts.next(), parts.next(), parts.next())
            {
                name.clone_into(&mut current);
                let family = families.entry(name.to_owned()).or_default();
                match word {
                    "TYPE" => rest.clone_into(&mut family.kind),
                    "HELP" => rest.clone_into(&mut family.help),
                    _ => {}
                }
            }
            continue;
        }
        if let Some(family) = families.get_mut(&current)
            && let Some(sample) = sample(line, &current)
        {
            family.samples.push(sample);
        }
    }
    families
}

fn sample(line: &str, family: &str) -> Option<Sample> {
    let rest = line.strip_prefix(family)?;
    let at = rest.find(['{', ' '])?;
    let (suffix, rest) = rest.split_at(at);
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = value.split_whitespace().next()?.parse().ok()?;
    Some(Sample { suffix: suffix.to_owned(), labels, value })
}

/// Labels up to their closing brace, and what follows it.
fn labels(text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = after.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => value.push(match characters.next()? {
                    'n' => '\n',
                    other => other,
                }),
                other => value.push(other),
            }
        }
        labels.insert(name.to_owned(), value);
        rest = characters.as_str();
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

fn attributes(labels: &BTreeMap<String, String>) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| attribute(name, value)).collect()
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

/// A count; the page writes counts without a fraction.
fn whole(value: f64) -> u64 {
    format!("{value:.0}").parse().unwrap_or(0)
}

#[cfg(test)]
mod tests;
