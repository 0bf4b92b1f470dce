//! The API as a `tower::Service`.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use hanse_rt::{
    Mono,
    trace::{TARGET, TraceParent},
};
use http::{Request, Response, request::Parts};
use http_body_util::BodyExt as _;
use tracing::Instrument as _;

use crate::{
    ApiServer,
    body::Body,
    failure::Failure,
    metrics::Asked,
    request,
    route::{Place, Route},
    user::User,
};

/// The largest body a request may have, in bytes (as kube-apiserver's own limit).
const BODY_LIMIT: usize = 3 << 20;

/// The API for one user; a clone is cheap.
#[derive(Clone, Debug)]
pub struct UserService {
    server: ApiServer,
    user: Arc<User>,
}

impl UserService {
    pub(crate) const fn new(server: ApiServer, user: Arc<User>) -> Self {
        Self { server, user }
    }
}

impl<B> tower::Service<Request<B>> for UserService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self { server, user } = self.clone();
        Box::pin(async move { Ok(answer(&server, &user, request).await) })
    }
}

/// Answers one request.
pub(crate) async fn answer<B>(
    server: &ApiServer,
    user: &Arc<User>,
    request: Request<B>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    let (parts, body) = request.into_parts();
    let began = Mono::now();
    let route = Route::parse(parts.uri.path());
    let asked = Asked::new(&server.inner.catalog(), &parts.method, parts.uri.query(), &route);
    let span = span(server, user, &parts, &route);
    let handled = async {
        match read(body).await {
            Ok(body) => request::handle(&server.inner, user, &parts, route, body).await,
            Err(failure) => Err(failure),
        }
    };
    let reply = handled.instrument(span.clone()).await;
    let response = reply
        .unwrap_or_else(|failure| {
            tracing::debug!(parent: &span, reason = failure.reason, "{failure}");
            request::Reply::failure(&failure)
        })
        .into_response();
    span.record("code", response.status().as_u16());
    server.inner.metrics.answered(asked, response.status(), began.elapsed());
    response
}

/// Answers a request of nobody.
pub(crate) fn refuse<B>(server: &ApiServer, request: &Request<B>) -> Response<Body> {
    let route = Route::parse(request.uri().path());
    let query = request.uri().query();
    let asked = Asked::new(&server.inner.catalog(), request.method(), query, &route);
    let response = request::Reply::failure(&Failure::unauthorized()).into_response();
    server.inner.metrics.answered(asked, response.status(), std::time::Duration::ZERO);
    response
}

/// The span of a request: part of the trace that it brings, or the beginning of one.
fn span(server: &ApiServer, user: &User, parts: &Parts, route: &Route) -> tracing::Span {
    let caller = TraceParent::from_headers(&parts.headers);
    let begins = server.inner.store.begins_traces() && !parts.method.is_safe();
    if caller.is_none() && !(begins && matches!(route, Route::Resource(place) if is_told(place))) {
        return tracing::debug_span!(
            "api request",
            method = %parts.method,
            path = parts.uri.path(),
            user = user.name,
            code = tracing::field::Empty,
        );
    }
    let span = tracing::debug_span!(
        target: TARGET,
        parent: None,
        "api request",
        otel.kind = "server",
        method = %parts.method,
        path = parts.uri.path(),
        user = user.name,
        code = tracing::field::Empty,
    );
    if let Some(caller) = caller {
        caller.adopt(&span);
    }
    span
}

/// Whether a write can be the beginning of something: what controllers say all the time is not.
fn is_told(place: &Place) -> bool {
    place.subresource.as_deref() != Some("status")
        && !matches!(place.resource.as_str(), "events" | "leases")
}

async fn read<B>(body: B) -> Result<Bytes, Failure>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    let mut read = BytesMut::new();
    let mut body = std::pin::pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Failure::bad_request(format!("the request body broke off: {error}"))
        })?;
        if let Ok(data) = frame.into_data() {
            if read.len() + data.len() > BODY_LIMIT {
                return Err(Failure::too_large(BODY_LIMIT));
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(read.freeze())
}
