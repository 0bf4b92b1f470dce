//! A client that makes one connection per request, so that nothing is hidden by a kept one.

use std::net::SocketAddr;

use bytes::Bytes;
use hanse_rt::net;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body as text.
    pub body: String,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
}

impl Reply {
    /// The cluster that answered, as the pods and the gateway's own answers name it.
    pub fn cluster(&self) -> &str {
        self.body.split('/').next().unwrap_or_default()
    }
}

/// GET `/` on `at`.
///
/// # Errors
/// What broke, as text.
pub async fn get(at: SocketAddr) -> Result<Reply, String> {
    let request = Request::get("/").header("host", "web.shop");
    send(at, request.body(Full::default()).expect("a valid request")).await
}

/// Sends one request over HTTP/1.1.
///
/// # Errors
/// What broke, as text.
pub async fn send(at: SocketAddr, request: Request<Full<Bytes>>) -> Result<Reply, String> {
    let exchange = async {
        let stream = net::connect(at, PATIENCE).await.map_err(text)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
        let (reply, _) = tokio::join!(
            async move { read(sender.send_request(request).await.map_err(text)?).await },
            connection,
        );
        reply
    };
    hanse_rt::timeout(PATIENCE, exchange).await.map_err(text)?
}

/// Sends one request over HTTP/2 with prior knowledge.
///
/// # Errors
/// What broke, as text.
pub async fn send_h2(at: SocketAddr, request: Request<Full<Bytes>>) -> Result<Reply, String> {
    let exchange = async {
        let stream = net::connect(at, PATIENCE).await.map_err(text)?;
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(text)?;
        let (reply, _) = tokio::join!(
            async move { read(sender.send_request(request).await.map_err(text)?).await },
            connection,
        );
        reply
    };
    hanse_rt::timeout(PATIENCE, exchange).await.map_err(text)?
}

async fn read(answer: http::Response<hyper::body::Incoming>) -> Result<Reply, String> {
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map_err(text)?;
    let trailers = body.trailers().cloned();
    Ok(Reply {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        trailers,
    })
}

fn text(error: impl std::error::Error) -> String {
    format!("{error}: {:?}", error.source().map(ToString::to_string))
}
