//! Headers between the hops: what ends here, what is passed on, what is added. `x-hanse-*` is
//! ours and is taken from nobody but another gateway.

use std::time::Duration;

use hanse_rt::Rng;
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
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
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
    let own: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(PREFIX))
        .cloned()
        .collect();
    for name in own {
        headers.remove(name);
    }
}

/// The time that the first hop leaves, where it says so.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let millis = headers.get(TIMEOUT)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

/// Passes a trace on (W3C Trace Context), or begins one; returns the trace's id for the log.
pub(crate) fn continue_trace(headers: &mut HeaderMap, rng: &mut Rng) -> String {
    let known = headers
        .get(TRACEPARENT)
        .and_then(|value| value.to_str().ok())
        .and_then(parse_traceparent);
    let (trace, flags) = known.unwrap_or_else(|| {
        let id = (u128::from(rng.next_u64()) << 64) | u128::from(rng.next_u64());
        (format!("{id:032x}"), "00".to_owned())
    });
    let span = rng.next_u64().max(1);
    let value = format!("00-{trace}-{span:016x}-{flags}");
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(TRACEPARENT, value);
    }
    trace
}

fn parse_traceparent(value: &str) -> Option<(String, String)> {
    let mut parts = value.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| {
        text.len() == length
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let zero = |text: &str| text.bytes().all(|b| b == b'0');
    let valid = hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && hex(span, 16)
        && hex(flags, 2)
        && !zero(trace)
        && !zero(span);
    valid.then(|| (trace.to_owned(), flags.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
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
        let mut map = headers(&[
            ("x-hanse-service", "a/b/80"),
            ("x-hanse-unsent", "1"),
            ("x-other", "1"),
        ]);
        strip_own(&mut map);
        assert_eq!(map, headers(&[("x-other", "1")]));
    }

    #[test]
    fn a_trace_is_continued_under_a_new_span_and_a_bad_one_is_replaced() {
        let mut rng = Rng::from_seed(1);
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let mut map = headers(&[("traceparent", good)]);
        assert_eq!(
            continue_trace(&mut map, &mut rng),
            "0af7651916cd43dd8448eb211c80319c"
        );
        let passed = map["traceparent"].to_str().unwrap();
        assert!(passed.starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
        assert!(passed.ends_with("-01") && passed != good);
        let mut map = headers(&[("traceparent", "00-00-zz")]);
        assert_eq!(continue_trace(&mut map, &mut rng).len(), 32);
    }
}
