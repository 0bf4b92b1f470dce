//! Connections to pods and to other gateways. Opening goes on in the background when whoever
//! asked stops waiting, so that a slow link is there for the next request.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hanse_rt::{TaskSet, net, net::AddressMap};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;

use crate::{answer::Body, health::PeerHealth};

/// Kept idle per pod at most.
const MAX_IDLE: usize = 64;
/// Connections per HTTP/2 endpoint at most.
const MAX_CONNECTIONS: usize = 4;
/// Streams in use that open a further connection.
const STREAMS: usize = 64;
/// Limit for opening a connection, whoever waits.
pub(crate) const CONNECT: Duration = Duration::from_secs(2);
/// A returned connection becomes ready within this time, or is given up.
const READY: Duration = Duration::from_millis(50);
/// Receive windows between gateways: 1 MiB a stream carries 80 Mbit/s at 100 ms.
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;
pub(crate) const CONNECTION_WINDOW: u32 = 16 << 20;

/// Nothing was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ConnectError {
    /// Nobody listens there.
    Refused,
    /// No answer in time, or the connection broke while it was opened.
    Failed,
}

/// How connections are opened, and the tasks that drive them.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(crate) tasks: TaskSet,
    pub(crate) addresses: AddressMap,
}

impl Dialer {
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        limit: Duration,
    ) -> Result<net::TcpStream, ConnectError> {
        net::connect(self.addresses.resolve(address), limit).await.map_err(|error| {
            match error.kind() {
                std::io::ErrorKind::ConnectionRefused => ConnectError::Refused,
                _ => ConnectError::Failed,
            }
        })
    }
}

/// HTTP/1.1 connections to one pod.
#[derive(Debug)]
pub(crate) struct H1Pool {
    dialer: Dialer,
    address: SocketAddr,
    idle: Mutex<Vec<http1::SendRequest<Body>>>,
}

/// A connection for one request.
pub(crate) struct H1 {
    pub(crate) sender: http1::SendRequest<Body>,
    /// It carried a request before: the pod may have closed it meanwhile.
    pub(crate) reused: bool,
}

impl H1Pool {
    pub(crate) fn new(dialer: Dialer, address: SocketAddr) -> Self {
        Self { dialer, address, idle: Mutex::default() }
    }

    /// An idle connection, or a new one.
    pub(crate) async fn get(&self, limit: Duration) -> Result<H1, ConnectError> {
        loop {
            let idle = self.idle.lock().expect("no holder of this lock panics").pop();
            let Some(mut sender) = idle else {
                return self.open(limit).await;
            };
            if let Ok(Ok(())) = hanse_rt::timeout(READY, sender.ready()).await {
                return Ok(H1 { sender, reused: true });
            }
        }
    }

    pub(crate) fn put_back(&self, sender: http1::SendRequest<Body>) {
        let mut idle = self.idle.lock().expect("no holder of this lock panics");
        idle.retain(|sender| !sender.is_closed());
        if idle.len() < MAX_IDLE && !sender.is_closed() {
            idle.push(sender);
        }
    }

    async fn open(&self, limit: Duration) -> Result<H1, ConnectError> {
        let stream = self.dialer.connect(self.address, limit).await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|_| ConnectError::Failed)?;
        self.dialer.tasks.spawn("pod connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a pod ended");
            }
        });
        Ok(H1 { sender, reused: false })
    }
}

/// HTTP/2 connections to one pod or gateway.
#[derive(Debug)]
pub(crate) struct H2Pool {
    dialer: Dialer,
    address: SocketAddr,
    /// Of a gateway: its fall ends the connections, and a refusal is evidence.
    health: Option<Arc<PeerHealth>>,
    state: Mutex<H2State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct H2State {
    connections: Vec<H2Connection>,
    opening: bool,
    failure: Option<ConnectError>,
}

#[derive(Debug)]
struct H2Connection {
    sender: http2::SendRequest<Body>,
    streams: Arc<AtomicUsize>,
}

/// Counts one stream while it lives.
#[derive(Debug)]
pub(crate) struct StreamUse(Arc<AtomicUsize>);

impl Drop for StreamUse {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection for one more stream.
pub(crate) struct H2 {
    pub(crate) sender: http2::SendRequest<Body>,
    pub(crate) stream: StreamUse,
}

impl H2Pool {
    pub(crate) fn new(
        dialer: Dialer,
        address: SocketAddr,
        health: Option<Arc<PeerHealth>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            dialer,
            address,
            health,
            state: Mutex::default(),
            changes: watch::Sender::new(0),
        })
    }

    /// The connection with the fewest streams; waits at most `limit` for a first one.
    pub(crate) async fn get(self: &Arc<Self>, limit: Duration) -> Result<H2, ConnectError> {
        let mut changes = self.changes.subscribe();
        if let Some(found) = self.pick() {
            return Ok(found);
        }
        let wait = async {
            loop {
                if changes.changed().await.is_err() {
                    return Err(ConnectError::Failed);
                }
                if let Some(found) = self.pick() {
                    return Ok(found);
                }
                if let Some(failure) = self.lock().failure {
                    return Err(failure);
                }
            }
        };
        self.open();
        hanse_rt::timeout(limit, wait).await.unwrap_or(Err(ConnectError::Failed))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, H2State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn pick(self: &Arc<Self>) -> Option<H2> {
        let (found, full) = {
            let mut state = self.lock();
            state.connections.retain(|connection| !connection.sender.is_closed());
            let room = state.connections.len() < MAX_CONNECTIONS;
            let best = state
                .connections
                .iter()
                .min_by_key(|connection| connection.streams.load(Ordering::Relaxed))?;
            let streams = best.streams.fetch_add(1, Ordering::Relaxed);
            let found =
                H2 { sender: best.sender.clone(), stream: StreamUse(Arc::clone(&best.streams)) };
            (found, room && streams >= STREAMS)
        };
        if full {
            self.open();
        }
        Some(found)
    }

    fn open(self: &Arc<Self>) {
        {
            let mut state = self.lock();
            if state.opening {
                return;
            }
            state.opening = true;
            state.failure = None;
        }
        let pool = Arc::clone(self);
        self.dialer.tasks.spawn("connect", async move {
            let opened = pool.connect().await;
            let refused = matches!(opened, Err(ConnectError::Refused));
            if let (true, Some(health)) = (refused, &pool.health) {
                health.refused();
            }
            {
                let mut state = pool.lock();
                state.opening = false;
                match opened {
                    Ok(connection) => state.connections.push(connection),
                    Err(failure) => state.failure = Some(failure),
                }
            }
            pool.changes.send_modify(|count| *count += 1);
        });
    }

    async fn connect(&self) -> Result<H2Connection, ConnectError> {
        // Subscribed first: a fall while connecting ends the new connection too.
        let falls = self.health.as_ref().map(|health| health.falls());
        let stream = self.dialer.connect(self.address, CONNECT).await?;
        // The connection and its streams are tasks of one set: killing it is what fails them.
        let tasks = self.dialer.tasks.child("h2");
        let (sender, connection) = http2::Builder::new(tasks.clone())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| ConnectError::Failed)?;
        self.dialer.tasks.spawn("h2 connection", async move {
            let fallen = async {
                match falls {
                    Some(mut falls) => drop(falls.changed().await),
                    None => std::future::pending().await,
                }
            };
            let ended = hanse_rt::select! {
                ended = connection => ended,
                () = fallen => Ok(()),
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "HTTP/2 connection ended");
            }
            tasks.kill().await;
        });
        Ok(H2Connection { sender, streams: Arc::default() })
    }
}
