//! W3C Trace Context: one trace over processes. A span of ours becomes part of the caller's trace
//! and hands its own place on; without an exporter the trace is passed on all the same.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
};

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::Rng;

/// Name of the header.
pub const TRACEPARENT: &str = "traceparent";
/// Target of the spans that make up the way of a change. They are of level debug, so that without
/// a collector nobody is interested in them and they cost next to nothing.
pub const TARGET: &str = "hanse_trace";
/// Writes whose traces are remembered.
const REMEMBERED: usize = 4096;

/// The value of a `traceparent` header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceParent {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
}

impl TraceParent {
    /// The root of a new trace that nobody has asked to be recorded.
    pub fn new(rng: &mut Rng) -> Self {
        let high = u128::from(rng.next_u64()) << 64;
        Self {
            trace: TraceId::from((high | u128::from(rng.next_u64())).max(1)),
            span: SpanId::from(rng.next_u64().max(1)),
            flags: TraceFlags::default(),
        }
    }

    /// Reads a header's value; none when it does not follow the specification.
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split('-');
        let mut next = |length: usize| {
            let part = parts.next()?;
            let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            (part.len() == length && part.bytes().all(hex)).then_some(part)
        };
        let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        // Later versions may add parts; this one has four.
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let parsed = Self {
            trace: TraceId::from_hex(trace).ok()?,
            span: SpanId::from_hex(span).ok()?,
            flags: TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        };
        let valid = parsed.trace != TraceId::INVALID && parsed.span != SpanId::INVALID;
        valid.then_some(parsed)
    }

    /// The same trace under a new span.
    pub fn child(&self, rng: &mut Rng) -> Self {
        Self { span: SpanId::from(rng.next_u64().max(1)), ..*self }
    }

    /// The trace's id, for logs.
    pub fn trace_id(&self) -> String {
        self.trace.to_string()
    }

    /// Makes `span` part of this trace. Without an exporter there is nothing to join.
    pub fn adopt(&self, span: &tracing::Span) {
        let remote =
            SpanContext::new(self.trace, self.span, self.flags, true, TraceState::default());
        let parent = Context::new().with_remote_span_context(remote);
        if let Err(error) = span.set_parent(parent) {
            tracing::trace!(%error, "the span stays outside the trace");
        }
    }

    /// What the span hands on in which the caller runs; none when it is not exported.
    pub fn current() -> Option<Self> {
        Self::of(&tracing::Span::current())
    }

    /// The trace that a request belongs to.
    pub fn from_headers(headers: &http::HeaderMap) -> Option<Self> {
        Self::parse(headers.get(TRACEPARENT)?.to_str().ok()?)
    }

    /// Puts the caller's span into the headers of a request; without one they stay as they are.
    pub fn inject(headers: &mut http::HeaderMap) {
        let value = Self::current().map(|here| here.to_string());
        if let Some(value) = value.and_then(|value| value.parse().ok()) {
            headers.insert(TRACEPARENT, value);
        }
    }

    /// What `span` hands on; none when it is not exported.
    pub fn of(span: &tracing::Span) -> Option<Self> {
        let context = span.context();
        let here = context.span().span_context().clone();
        here.is_valid().then(|| Self {
            trace: here.trace_id(),
            span: here.span_id(),
            flags: here.trace_flags(),
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = self.flags.to_u8();
        write!(f, "00-{}-{}-{flags:02x}", self.trace, self.span)
    }
}

/// Where writes came from: the trace of a write by the version that it gave its object. A watch
/// carries no headers, so who sees the change of an object asks here. Clones share what they know;
/// the newest 4,096 traced writes are known.
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<Mutex<VecDeque<(u64, TraceParent)>>>);

impl Origins {
    /// Notes a write. Versions grow.
    pub fn note(&self, version: u64, origin: TraceParent) {
        let mut known = self.0.lock().expect("no holder of this lock panics");
        if known.len() == REMEMBERED {
            known.pop_front();
        }
        known.push_back((version, origin));
    }

    /// The trace of the write that gave an object this `resourceVersion`.
    pub fn of(&self, resource_version: &str) -> Option<TraceParent> {
        let known = self.0.lock().expect("no holder of this lock panics");
        let version = (!known.is_empty()).then(|| resource_version.parse::<u64>().ok())??;
        let at = known.binary_search_by_key(&version, |(version, _)| *version).ok()?;
        Some(known[at].1)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_good_value_reads_back_and_a_bad_one_is_refused() {
        assert_eq!(TraceParent::parse(GOOD).unwrap().to_string(), GOOD);
        for bad in [
            "",
            "00-00-zz",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_exported_span_joins_the_callers_trace_and_hands_its_own_place_on() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let parent = TraceParent::parse(GOOD).unwrap();
            let span = tracing::info_span!("request");
            parent.adopt(&span);
            let here = TraceParent::of(&span).unwrap();
            assert_eq!(here.trace_id(), parent.trace_id());
            assert_ne!(here, parent);
        });
    }

    #[test]
    fn the_newest_writes_are_known_by_their_version() {
        let (origins, origin) = (Origins::default(), TraceParent::parse(GOOD).unwrap());
        assert_eq!(origins.of("7"), None);
        for version in 1..=5000 {
            origins.note(version * 2, origin);
        }
        assert_eq!(origins.of("10000"), Some(origin));
        assert_eq!(origins.of("9999"), None);
        assert_eq!(origins.of("2"), None, "forgotten");
        assert_eq!(origins.of("not a number"), None);
    }

    #[test]
    fn a_request_made_in_an_exported_span_carries_it() {
        let mut headers = http::HeaderMap::new();
        TraceParent::inject(&mut headers);
        assert!(headers.is_empty());
        let provider = SdkTracerProvider::builder().build();
        let layer = crate::telemetry::layer(&provider);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::debug_span!(target: TARGET, "apply");
            span.in_scope(|| TraceParent::inject(&mut headers));
            assert_eq!(TraceParent::from_headers(&headers), TraceParent::of(&span));
            assert!(TraceParent::of(&span).is_some());
            let own = tracing::debug_span!("a span for logs");
            assert_eq!(TraceParent::of(&own), None);
        });
    }

    #[test]
    fn without_an_exporter_the_trace_goes_on_under_a_new_span() {
        let parent = TraceParent::parse(GOOD).unwrap();
        let span = tracing::info_span!("request");
        parent.adopt(&span);
        assert_eq!(TraceParent::of(&span), None);
        let child = parent.child(&mut Rng::from_seed(1));
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child, parent);
        assert_ne!(TraceParent::new(&mut Rng::from_seed(1)).trace_id(), "0".repeat(32));
    }
}
