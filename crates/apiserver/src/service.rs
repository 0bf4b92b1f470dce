//! The API as a `tower::Service`.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tracing::Instrument as _;

use crate::{ApiServer, body::Body, failure::Failure, request, user::User};

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
    let span = tracing::debug_span!(
        "api request",
        method = %parts.method,
        path = parts.uri.path(),
        user = user.name,
        code = tracing::field::Empty,
    );
    let handled = async {
        match read(body).await {
            Ok(body) => request::handle(&server.inner, user, &parts, body).await,
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
    response
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
