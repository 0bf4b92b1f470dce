//! A collector on loopback takes what is pushed.

use opentelemetry_proto::tonic::collector::{
    metrics::v1::{
        ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use super::*;

/// Hands on what arrives.
struct Collector {
    metrics: mpsc::Sender<ExportMetricsServiceRequest>,
    spans: mpsc::Sender<ExportTraceServiceRequest>,
}

struct Taken {
    endpoint: String,
    metrics: mpsc::Receiver<ExportMetricsServiceRequest>,
    spans: mpsc::Receiver<ExportTraceServiceRequest>,
}

#[derive(Clone)]
struct Shared(std::sync::Arc<Collector>);

#[tonic::async_trait]
impl MetricsService for Shared {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.0.metrics.send(request.into_inner()).await.expect("the test listens");
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Shared {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.spans.send(request.into_inner()).await.expect("the test listens");
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn collect(tasks: &TaskSet) -> Taken {
    let listener = crate::net::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (metrics, taken_metrics) = mpsc::channel(16);
    let (spans, taken_spans) = mpsc::channel(16);
    let shared = Shared(std::sync::Arc::new(Collector { metrics, spans }));
    let server = tonic::transport::Server::builder()
        .add_service(MetricsServiceServer::new(shared.clone()))
        .add_service(TraceServiceServer::new(shared))
        .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
    tasks.spawn("collector", async move { server.await.unwrap() });
    Taken { endpoint, metrics: taken_metrics, spans: taken_spans }
}

fn labels_of(attributes: &[KeyValue]) -> Vec<(&str, &str)> {
    fn text(pair: &KeyValue) -> &str {
        match &pair.value {
            Some(AnyValue { value: Some(any_value::Value::StringValue(text)) }) => text.as_str(),
            _ => "no text",
        }
    }
    attributes.iter().map(|pair| (pair.key.as_str(), text(pair))).collect()
}

fn find<'a>(request: &'a ExportMetricsServiceRequest, name: &str) -> &'a Data {
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    metrics.iter().find(|metric| metric.name == name).unwrap().data.as_ref().unwrap()
}

#[tokio::test]
async fn a_counter_a_gauge_and_a_histogram_arrive_with_values_and_labels() {
    let tasks = TaskSet::new("collector");
    let mut taken = collect(&tasks);
    let metrics = Metrics::new();
    let odd = "a \"quoted\", {odd} \\ value\nof two lines";
    let moves = metrics.scoped("cluster", "aws-1").counters("hanse_moves", "moves by reason");
    moves.get_or_create(&vec![("reason", odd.to_owned())]).inc_by(3);
    let others = metrics.scoped("cluster", "gcp-1").counters("hanse_moves", "moves by reason");
    others.get_or_create(&vec![("reason", "Lost".to_owned())]).inc();
    metrics.gauges("hanse_open", "open ones").get_or_create(&vec![]).set(-2);
    let took = metrics.histograms("hanse_seconds", "time");
    for seconds in [0.0015, 0.5, 100.0] {
        took.get_or_create(&vec![("verb", "get".to_owned())]).observe(seconds);
    }

    let pushing = TaskSet::new("push");
    push(&pushing, &taken.endpoint, "hanse", &metrics, Duration::from_hours(1)).unwrap();
    // The end of the process is one of the times at which all is told.
    assert_eq!(pushing.drain(Duration::from_secs(10)).await, 0);
    let request = taken.metrics.recv().await.unwrap();

    let service = &request.resource_metrics[0].resource.as_ref().unwrap().attributes;
    assert_eq!(labels_of(service), [("service.name", "hanse")]);
    let Data::Sum(sum) = find(&request, "hanse_moves") else { panic!("a sum") };
    assert!(sum.is_monotonic);
    assert_eq!(sum.aggregation_temporality, i32::from(AggregationTemporality::Cumulative));
    let points: Vec<_> =
        sum.data_points.iter().map(|point| (labels_of(&point.attributes), point.value)).collect();
    let number = |value| Some(number_data_point::Value::AsDouble(value));
    assert_eq!(
        points,
        [
            (vec![("cluster", "aws-1"), ("reason", odd)], number(3.0)),
            (vec![("cluster", "gcp-1"), ("reason", "Lost")], number(1.0)),
        ]
    );
    let Data::Gauge(gauge) = find(&request, "hanse_open") else { panic!("a gauge") };
    assert_eq!(gauge.data_points[0].value, number(-2.0));
    let Data::Histogram(histogram) = find(&request, "hanse_seconds") else { panic!("a histogram") };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.sum), (3, Some(100.5015)));
    assert_eq!(labels_of(&point.attributes), [("verb", "get")]);
    assert_eq!(point.explicit_bounds.len() + 1, point.bucket_counts.len());
    let filled: Vec<_> = (0..).zip(&point.bucket_counts).filter(|(_, count)| **count > 0).collect();
    // At most 2 ms, at most 512 ms, and beyond the last bound.
    assert_eq!(filled, [(1, &1), (9, &1), (16, &1)]);
    assert!(point.start_time_unix_nano <= point.time_unix_nano);
    tasks.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_the_way_of_a_change_arrive_and_spans_for_logs_do_not() {
    use tracing_subscriber::layer::SubscriberExt as _;
    let tasks = TaskSet::new("collector");
    let mut taken = collect(&tasks);
    let provider = crate::telemetry::provider("hanse", &taken.endpoint).unwrap();
    let subscriber = tracing_subscriber::registry().with(crate::telemetry::layer(&provider));
    let trace = tracing::subscriber::with_default(subscriber, || {
        let way = tracing::debug_span!(target: crate::trace::TARGET, "apply", member = "aws-1");
        let log = tracing::debug_span!(parent: &way, "for logs");
        let trace = crate::trace::TraceParent::of(&way).unwrap().trace_id();
        drop((way, log));
        trace
    });
    let flushed = crate::disk::thread("flush", move || provider.force_flush().unwrap());
    flushed.unwrap();
    let request = taken.spans.recv().await.unwrap();
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].name, "apply");
    let hex: String = spans[0].trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, trace);
    tasks.kill().await;
}

#[test]
fn an_endpoint_that_is_no_uri_is_refused_by_name() {
    let tasks = TaskSet::new("test");
    let error = push(&tasks, "not a uri", "hanse", &Metrics::new(), LIMIT).unwrap_err();
    assert_eq!(error.to_string(), "the collector's endpoint not a uri is no URI");
}
