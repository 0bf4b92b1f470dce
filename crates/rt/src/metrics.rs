//! Prometheus metrics: one registry a process, scopes by label for roles that share it.

use std::sync::{Arc, Mutex};

pub use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Metric, Registry},
};

/// Labels of one series.
pub type Labels = Vec<(&'static str, String)>;
/// Counters by label.
pub type Counters = Family<Labels, Counter>;
/// Gauges by label.
pub type Gauges = Family<Labels, Gauge>;
/// Histograms by label.
pub type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Bucket bounds in seconds, from 1 ms to 32 s by doubling.
const SECONDS: [f64; 16] = [
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 4.0, 8.0, 16.0,
    32.0,
];

/// Where metrics are registered and read.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    scope: Option<(&'static str, String)>,
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same registry; what is registered through the result carries the label.
    pub fn scoped(&self, label: &'static str, value: &str) -> Self {
        Self { registry: Arc::clone(&self.registry), scope: Some((label, value.to_owned())) }
    }

    /// Registers counters. Names begin with `hanse_`; `_total` is added by the encoder.
    pub fn counters(&self, name: &str, help: &str) -> Counters {
        self.register(name, help, Counters::default())
    }

    /// Registers gauges.
    pub fn gauges(&self, name: &str, help: &str) -> Gauges {
        self.register(name, help, Gauges::default())
    }

    /// Registers histograms of seconds.
    pub fn histograms(&self, name: &str, help: &str) -> Histograms {
        let family = Histograms::new_with_constructor(|| Histogram::new(SECONDS));
        self.register(name, help, family)
    }

    /// All series in Prometheus' text format.
    pub fn encode(&self) -> String {
        let mut page = String::new();
        let registry = self.registry.lock().expect("no holder of this lock panics");
        text::encode(&mut page, &registry).expect("writing to a string cannot fail");
        page
    }

    fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut registry = self.registry.lock().expect("no holder of this lock panics");
        match &self.scope {
            Some((label, value)) => registry
                .sub_registry_with_label(((*label).into(), value.clone().into()))
                .register(name, help, metric.clone()),
            None => registry.register(name, help, metric.clone()),
        }
        metric
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scoped_metric_carries_its_label() {
        let metrics = Metrics::new();
        let moves = metrics.scoped("cluster", "aws-1").counters("hanse_moves", "moves by reason");
        moves.get_or_create(&vec![("reason", "Lost".to_owned())]).inc();
        let page = metrics.encode();
        assert!(page.contains(r#"hanse_moves_total{cluster="aws-1",reason="Lost"} 1"#), "{page}");
    }
}
