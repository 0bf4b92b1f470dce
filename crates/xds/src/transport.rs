//! gRPC connections on both sides. Every task belongs to the caller's task set, so that killing
//! the set ends them as a crash would.

use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tonic::{
    body::Body,
    transport::{Channel, Endpoint, Uri},
};

use hanse_rt::{TaskSet, net};

/// Connections of one server at most; further ones wait in the accept queue.
const MAX_CONNECTIONS: usize = 4096;
/// Streams of one connection at most: one each for resources and reports, and some room.
const MAX_STREAMS: u32 = 64;
/// A silent peer is asked for a sign of life after this time,
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// and given up after this one.
const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(5);
/// Limit for opening a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Largest message: a set of resources for tens of thousands of services.
pub(crate) const MAX_MESSAGE: usize = 64 << 20;

/// Serves HTTP/2 on `listener` until `tasks` ends.
pub(crate) fn serve<H, F>(tasks: &TaskSet, listener: net::TcpListener, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let connections = tasks.child("connections");
    let shutdown = tasks.shutdown();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tasks.spawn("accept", async move {
        loop {
            let accepted = hanse_rt::select! {
                () = shutdown.cancelled() => return,
                accepted = accept(&listener, &permits) => accepted,
            };
            let Some((stream, permit)) = accepted else {
                continue;
            };
            let handler = handler.clone();
            let ending = connections.shutdown();
            let executor = connections.clone();
            connections.spawn("connection", async move {
                let service = service_fn(move |request| {
                    let answer = handler(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let connection = http2::Builder::new(executor)
                    .timer(TokioTimer::new())
                    .keep_alive_interval(KEEP_ALIVE)
                    .keep_alive_timeout(KEEP_ALIVE_LIMIT)
                    .max_concurrent_streams(MAX_STREAMS)
                    .serve_connection(TokioIo::new(stream), service);
                let ended = hanse_rt::select! {
                    // Discovery streams have no end of their own to wait for.
                    () = ending.cancelled() => Ok(()),
                    ended = connection => ended,
                };
                if let Err(error) = ended {
                    tracing::debug!(%error, "discovery connection ended");
                }
                drop(permit);
            });
        }
    });
}

async fn accept(
    listener: &net::TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "no TCP_NODELAY on a discovery connection");
            }
            Some((stream, permit))
        }
        Err(error) => {
            tracing::warn!(%error, "accept failed");
            hanse_rt::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// A gRPC channel to `server`; opens no connection yet.
pub(crate) fn channel(tasks: &TaskSet, server: SocketAddr) -> Channel {
    let connector = tower::service_fn(move |_: Uri| async move {
        net::connect(server, CONNECT_LIMIT).await.map(TokioIo::new)
    });
    let uri = Uri::builder()
        .scheme("http")
        .authority(server.to_string())
        .path_and_query("/")
        .build()
        .expect("a socket address is a valid authority");
    Endpoint::from(uri)
        .executor(tasks.child("channel"))
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_LIMIT)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector)
}

/// The bearer token of a request's `authorization` header.
pub(crate) fn bearer(headers: &http::HeaderMap) -> Option<&str> {
    headers.get(http::header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// A request that shows `token`.
pub(crate) fn authorized<T>(message: T, token: &str) -> Result<tonic::Request<T>, tonic::Status> {
    let mut request = tonic::Request::new(message);
    let value = format!("Bearer {token}")
        .parse()
        .map_err(|_| tonic::Status::unauthenticated("the token is no header value"))?;
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}
