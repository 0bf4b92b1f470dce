//! Listeners: one per service port, and the hop between gateways. A change of configuration
//! opens and closes listeners; connections of those that stay are not touched.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hanse_rt::{Shutdown, TaskSet, net};
use hanse_xds::{Protocol, View};
use http::Response;
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    answer::Body,
    forward, hop,
    pool::{CONNECTION_WINDOW, STREAM_WINDOW},
    tunnel,
    worker::Shared,
};

/// A client sends its next request head within this time, counted from the last answer on. It is
/// longer than common clients keep an idle connection (Go's net/http and hyper-util: 90 s), so that
/// they end it and none of their requests meets its end.
const HEAD_TIMEOUT: Duration = Duration::from_mins(2);
/// Largest request head.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADER_LIST: u32 = 64 << 10;
/// Streams of one HTTP/2 connection at most.
const MAX_STREAMS: u32 = 256;
/// Connections of a closed listener end within this time.
pub(crate) const DRAIN: Duration = Duration::from_secs(30);
/// Pause after a failed accept: no descriptor is free, and trying again at once frees none.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The open service ports.
pub(crate) struct Listeners {
    shared: Arc<Shared>,
    tasks: TaskSet,
    bind: IpAddr,
    open: BTreeMap<u16, Open>,
}

struct Open {
    service: String,
    tcp: bool,
    tasks: TaskSet,
}

impl Listeners {
    pub(crate) fn new(shared: Arc<Shared>, tasks: TaskSet, bind: IpAddr) -> Self {
        Self { shared, tasks, bind, open: BTreeMap::new() }
    }

    /// Opens and closes what `view` asks for; returns the ports that could not be opened.
    pub(crate) fn apply(&mut self, view: &View) -> BTreeMap<u16, String> {
        let wanted: BTreeMap<u16, (&str, bool)> = view
            .services
            .iter()
            .map(|(name, service)| {
                let tcp = service.protocol == Protocol::Tcp;
                (service.service_port, (name.as_str(), tcp))
            })
            .collect();
        let closing: Vec<u16> = self
            .open
            .iter()
            .filter(|(port, open)| wanted.get(*port) != Some(&(open.service.as_str(), open.tcp)))
            .map(|(port, _)| *port)
            .collect();
        for port in closing {
            if let Some(open) = self.open.remove(&port) {
                self.tasks.spawn("close listener", async move {
                    open.tasks.drain(DRAIN).await;
                });
            }
        }
        let mut failed = BTreeMap::new();
        for (port, (service, tcp)) in wanted {
            if self.open.contains_key(&port) {
                continue;
            }
            let address = SocketAddr::new(self.bind, port);
            match net::listen(address) {
                Ok(listener) => {
                    let tasks = self.tasks.child(service);
                    serve(&self.shared, &tasks, listener, service.into(), tcp);
                    let open = Open { service: service.to_owned(), tcp, tasks };
                    self.open.insert(port, open);
                }
                Err(error) => {
                    tracing::warn!(%address, service, %error, "cannot listen on a service port");
                    failed.insert(port, format!("{service}: {error}"));
                }
            }
        }
        failed
    }

    /// Ends all of them.
    pub(crate) async fn drain(self) {
        let open: Vec<Open> = self.open.into_values().collect();
        futures::future::join_all(open.iter().map(|open| open.tasks.drain(DRAIN))).await;
    }
}

fn serve(
    shared: &Arc<Shared>,
    tasks: &TaskSet,
    listener: net::TcpListener,
    service: Arc<str>,
    tcp: bool,
) {
    let (shared, set) = (Arc::clone(shared), tasks.clone());
    let shutdown = tasks.shutdown();
    tasks.spawn("service port", async move {
        loop {
            let accepted = hanse_rt::select! {
                () = shutdown.cancelled() => return,
                accepted = accept(&shared, &listener) => accepted,
            };
            let Some((stream, permit)) = accepted else {
                continue;
            };
            let (shared, service) = (Arc::clone(&shared), Arc::clone(&service));
            let ending = set.shutdown();
            let executor = set.clone();
            set.spawn("client connection", async move {
                if tcp {
                    tunnel::carry(shared, service, stream).await;
                } else {
                    client(shared, service, stream, executor, ending).await;
                }
                drop(permit);
            });
        }
    });
}

async fn accept(
    shared: &Arc<Shared>,
    listener: &net::TcpListener,
) -> Option<(net::TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(&shared.connections).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "no TCP_NODELAY on a client connection");
            }
            Some((stream, permit))
        }
        Err(error) => {
            tracing::warn!(%error, "accept failed");
            hanse_rt::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn client(
    shared: Arc<Shared>,
    service: Arc<str>,
    stream: net::TcpStream,
    executor: TaskSet,
    ending: Shutdown,
) {
    let mut builder = auto::Builder::new(executor);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let handler = service_fn(move |request| {
        let answer = forward::answer(Arc::clone(&shared), Arc::clone(&service), request);
        async move { Ok::<Response<Body>, Infallible>(answer.await) }
    });
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), handler));
    let ended = hanse_rt::select! {
        ended = connection.as_mut() => ended,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "client connection ended");
    }
}

/// Serves the hop between gateways on `listener`.
pub(crate) fn serve_hop(shared: &Arc<Shared>, tasks: &TaskSet, listener: net::TcpListener) {
    let (shared, set) = (Arc::clone(shared), tasks.clone());
    let shutdown = tasks.shutdown();
    tasks.spawn("hop", async move {
        loop {
            let accepted = hanse_rt::select! {
                () = shutdown.cancelled() => return,
                accepted = accept(&shared, &listener) => accepted,
            };
            let Some((stream, permit)) = accepted else {
                continue;
            };
            let shared = Arc::clone(&shared);
            let ending = set.shutdown();
            let executor = set.clone();
            set.spawn("hop connection", async move {
                gateway(shared, stream, executor, ending).await;
                drop(permit);
            });
        }
    });
}

async fn gateway(shared: Arc<Shared>, stream: net::TcpStream, executor: TaskSet, ending: Shutdown) {
    let handler = service_fn(move |request| {
        let answer = hop::answer(Arc::clone(&shared), request);
        async move { Ok::<Response<Body>, Infallible>(answer.await) }
    });
    let connection = http2::Builder::new(executor)
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .serve_connection(TokioIo::new(stream), handler);
    let mut connection = std::pin::pin!(connection);
    let ended = hanse_rt::select! {
        ended = connection.as_mut() => ended,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "hop connection ended");
    }
}
