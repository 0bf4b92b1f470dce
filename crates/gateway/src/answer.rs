//! Answers that the gateway makes itself. Each says so in `Proxy-Status` (RFC 9209), so that
//! nobody mistakes it for the application's.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Full, combinators::UnsyncBoxBody};

use crate::headers::{PROXY_STATUS, UNSENT};

/// Why a body ended early.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// Body of every message that passes.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why the gateway answers itself; the names are those of RFC 9209, section 2.3.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// Nothing is known under that name here.
    DestinationNotFound,
    /// No cluster or pod is usable.
    DestinationUnavailable,
    /// The place that had the request went away before it answered.
    ConnectionTerminated,
    /// No answer in time.
    ResponseTimeout,
    /// A bound of the gateway is reached.
    ConnectionLimitReached,
    /// The request itself cannot be carried.
    RequestError,
    /// What is asked for is not offered.
    RequestDenied,
}

impl Failure {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::DestinationNotFound => "destination_not_found",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ResponseTimeout => "http_response_timeout",
            Self::ConnectionLimitReached => "connection_limit_reached",
            Self::RequestError => "http_request_error",
            Self::RequestDenied => "http_request_denied",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::DestinationNotFound => StatusCode::NOT_FOUND,
            Self::DestinationUnavailable | Self::ConnectionLimitReached => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::ConnectionTerminated | Self::ResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::RequestError => StatusCode::BAD_REQUEST,
            Self::RequestDenied => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

/// The answer for `failure`, made by the gateway of `cluster`.
pub(crate) fn failure(cluster: &str, failure: Failure) -> Response<Body> {
    let status = failure.status();
    let text = format!("{} ({})\n", failure.name(), status.as_str());
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let proxy = format!("hanse-{cluster}; error={}", failure.name());
    if let Ok(proxy) = HeaderValue::from_str(&proxy) {
        headers.insert(PROXY_STATUS, proxy);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if failure == Failure::ConnectionLimitReached {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The second hop found no pod: whoever asked may ask elsewhere.
pub(crate) fn unsent(cluster: &str) -> Response<Body> {
    let mut response = failure(cluster, Failure::DestinationUnavailable);
    response.headers_mut().insert(UNSENT, HeaderValue::from_static("1"));
    response
}

pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(|never| match never {}).boxed_unsync()
}
