//! Headers between the hops: what ends here, what is passed on, what is added. `x-hanse-*` is
//! ours and is taken from nobody but another gateway.

use std::time::Duration;

use hanse_rt::{
    Rng,
    trace::{TRACEPARENT, TraceParent},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// `namespace/name/port`, between gateways.
pub(crate) const SERVICE: &str = "x-hanse-service";
/// Milliseconds that the second hop has.
pub(crate) const TIMEOUT: &str = "x-hanse-timeout-ms";
/// On an answer: the request reached no pod and may be sent elsewhere.
pub(crate) const UNSENT: &str = "x-hanse-unsent";
/// On a request: name the cluster that answers in [`CLUSTER`].
pub(crate) const EXPLAIN: &str = "x-hanse-explain";
/// On an answer: the cluster whose pod answered.
pub(crate) const CLUSTER: &str = "x-hanse-cluster";
/// RFC 9209.
pub(crate) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const PREFIX: &str = "x-hanse-";

/// Takes out what concerns one connection only (RFC 9110, 7.6.1). `te: trailers` stays: gRPC
/// needs it.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    let trailers = headers.get(header::TE).is_some_and(|te| te == "trailers");
    for name in [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("http2-settings"),
    ] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Takes out everything of ours.
pub(crate) fn strip_own(headers: &mut HeaderMap) {
    let own: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(PREFIX)).cloned().collect();
    for name in own {
        headers.remove(name);
    }
}

/// The time that the first hop leaves, where it says so.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let millis = headers.get(TIMEOUT)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

/// The caller's place in its trace (W3C Trace Context), or a new trace.
pub(crate) fn caller(headers: &HeaderMap, rng: &mut Rng) -> TraceParent {
    headers
        .get(TRACEPARENT)
        .and_then(|value| value.to_str().ok())
        .and_then(TraceParent::parse)
        .unwrap_or_else(|| TraceParent::new(rng))
}

/// Hands the place of `span` on, or, where it is not exported, a new one in the same trace.
pub(crate) fn hand_on(
    headers: &mut HeaderMap,
    caller: &TraceParent,
    span: &tracing::Span,
    rng: &mut Rng,
) {
    let here = TraceParent::of(span).unwrap_or_else(|| caller.child(rng));
    if let Ok(value) = HeaderValue::from_str(&here.to_string()) {
        headers.insert(TRACEPARENT, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn what_concerns_one_connection_only_ends_here() {
        let mut map = headers(&[
            ("connection", "close, x-secret"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("accept", "*/*"), ("te", "trailers")]));
    }

    #[test]
    fn our_own_headers_are_taken_from_no_client() {
        let mut map =
            headers(&[("x-hanse-service", "a/b/80"), ("x-hanse-unsent", "1"), ("x-other", "1")]);
        strip_own(&mut map);
        assert_eq!(map, headers(&[("x-other", "1")]));
    }

    #[test]
    fn a_trace_is_continued_under_a_new_span_and_a_bad_one_is_replaced() {
        let mut rng = Rng::from_seed(1);
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let mut map = headers(&[("traceparent", good)]);
        let caller_place = caller(&map, &mut rng);
        hand_on(&mut map, &caller_place, &tracing::Span::none(), &mut rng);
        let passed = map["traceparent"].to_str().unwrap();
        assert!(passed.starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
        assert!(passed.ends_with("-01") && passed != good);
        let bad = headers(&[("traceparent", "00-00-zz")]);
        assert_ne!(caller(&bad, &mut rng).trace_id(), caller_place.trace_id());
    }
}
