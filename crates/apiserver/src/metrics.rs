//! What the server counts of itself: requests, watches, and what the store holds.

use std::time::Duration;

use hanse_rt::{
    Metrics,
    metrics::{Counters, Gauge, Gauges, Histograms},
};
use http::{Method, StatusCode};

use crate::{
    catalog::{Catalog, Kind},
    route::{Query, Route},
};

/// Counters of one server.
#[derive(Clone, Debug)]
pub(crate) struct ApiMetrics {
    requests: Counters,
    seconds: Histograms,
    watches: Gauges,
    store: StoreMetrics,
}

/// Counters of its store.
#[derive(Clone, Debug)]
pub(crate) struct StoreMetrics {
    objects: Gauges,
    revision: Gauge,
}

/// What a request asks for, in words that are bounded in number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Asked {
    verb: &'static str,
    resource: String,
}

impl ApiMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let revision = metrics.gauges("hanse_api_store_revision", "Revision of the last commit");
        let store = StoreMetrics {
            objects: metrics.gauges("hanse_api_store_objects", "Objects in the store"),
            revision: revision.get_or_create(&Vec::new()).clone(),
        };
        Self {
            requests: metrics.counters("hanse_api_requests", "Answered requests"),
            seconds: metrics.histograms(
                "hanse_api_request_seconds",
                "Time until a request was answered; a watch when it was opened",
            ),
            watches: metrics.gauges("hanse_api_watches", "Watches that are open"),
            store,
        }
    }

    pub(crate) fn of_store(&self) -> StoreMetrics {
        self.store.clone()
    }

    pub(crate) fn answered(&self, asked: Asked, code: StatusCode, took: Duration) {
        let mut labels = vec![("verb", asked.verb.to_owned()), ("resource", asked.resource)];
        self.seconds.get_or_create(&labels).observe(took.as_secs_f64());
        labels.push(("code", code.as_str().to_owned()));
        self.requests.get_or_create(&labels).inc();
    }

    /// The open watches of a kind.
    pub(crate) fn watches(&self, kind: &Kind) -> Gauge {
        self.watches.get_or_create(&vec![("resource", kind.plural.clone())]).clone()
    }
}

impl StoreMetrics {
    pub(crate) fn committed(&self, revision: u64) {
        self.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
    }

    pub(crate) fn holds(&self, resource: &str, objects: usize) {
        let objects = i64::try_from(objects).unwrap_or(i64::MAX);
        self.objects.get_or_create(&vec![("resource", resource.to_owned())]).set(objects);
    }
}

impl Asked {
    /// A resource that is not served is not named: whoever asks for one could name any.
    pub(crate) fn new(
        catalog: &Catalog,
        method: &Method,
        query: Option<&str>,
        route: &Route,
    ) -> Self {
        let Route::Resource(place) = route else {
            let resource = "none".to_owned();
            return Self { verb: verb(method, true, false), resource };
        };
        let kind = catalog.find(&place.group, &place.version, &place.resource);
        let known = |name: &&str| {
            kind.is_some_and(|kind| {
                matches!(*name, "status" | "scale")
                    || kind.actions.iter().chain(&kind.status_like).any(|one| one == name)
            })
        };
        let resource = match (kind, place.subresource.as_deref().filter(known)) {
            (None, _) => "unknown".to_owned(),
            (Some(kind), None) => kind.plural.clone(),
            (Some(kind), Some(subresource)) => format!("{}/{subresource}", kind.plural),
        };
        let watch = Query::parse(query).is_true("watch");
        Self { verb: verb(method, place.name.is_some(), watch), resource }
    }
}

fn verb(method: &Method, named: bool, watch: bool) -> &'static str {
    match (method.as_str(), named) {
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) if watch => "watch",
        ("GET" | "HEAD", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "other",
    }
}
