//! The traffic of a drill: requests at a fixed rate to each entry of a global service, open loop,
//! so that a slow answer does not slow the next request down.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hanse_rt::{Mono, TaskSet, net, net::AddressMap};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::sync::{Semaphore, mpsc};

/// Requests under way at once for one entry; beyond it a request counts as failed at once.
const UNDER_WAY: usize = 2048;
/// A request without an answer by then failed: the gateway's own limit for requests.
const GIVE_UP: Duration = Duration::from_secs(15);
/// The entry itself is near; one that does not answer a handshake in this time is gone.
const CONNECT: Duration = Duration::from_secs(2);

/// One way into a global service.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The cluster whose gateway it is.
    pub(super) cluster: String,
    /// Its address.
    pub(super) address: SocketAddr,
    /// Requests a second.
    pub(super) rate: u32,
}

/// What came of one request.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// When it was due.
    pub(super) due: Mono,
    /// The cluster by whose gateway it entered.
    pub(super) entered: String,
    /// The cluster that answered well, if any did.
    pub(super) answered: Option<String>,
    /// From due to answered.
    pub(super) took: Duration,
}

/// Sends requests to an entry until `tasks` end; what came of each goes to `samples`.
pub(super) fn run(
    tasks: &TaskSet,
    entry: Entry,
    addresses: AddressMap,
    samples: mpsc::Sender<Sent>,
) {
    let period = Duration::from_secs(1) / entry.rate.max(1);
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let (requests, shutdown) = (tasks.clone(), tasks.shutdown());
    tasks.spawn("drill traffic", async move {
        let mut ticks = hanse_rt::interval(period, Duration::ZERO);
        let idle = Arc::new(std::sync::Mutex::new(Vec::new()));
        loop {
            let due = hanse_rt::select! {
                () = shutdown.cancelled() => return,
                due = ticks.tick() => due,
            };
            let entered = entry.cluster.clone();
            let sample = Sent { due, entered, answered: None, took: Duration::ZERO };
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                drop(samples.send(sample).await);
                continue;
            };
            let target = addresses.resolve(entry.address);
            let (samples, idle) = (samples.clone(), Arc::clone(&idle));
            let connections = requests.clone();
            requests.spawn("drill request", async move {
                let answered = hanse_rt::timeout(GIVE_UP, ask(target, &idle, &connections)).await;
                let answered = answered.ok().flatten();
                let took = Mono::now().saturating_duration_since(due);
                drop(samples.send(Sent { answered, took, ..sample }).await);
                drop(permit);
            });
        }
    });
}

type Idle = std::sync::Mutex<Vec<http1::SendRequest<Empty<Bytes>>>>;

/// One request over an idle connection, or a new one; the cluster that answered 200. An idle
/// connection may end as it is used again: then the request goes over another one, as any client
/// of HTTP does with what may be sent twice (RFC 9110, section 9.2.2).
async fn ask(target: SocketAddr, idle: &Arc<Idle>, tasks: &TaskSet) -> Option<String> {
    loop {
        let pooled = idle.lock().expect("no holder of this lock panics").pop();
        let is_new = pooled.is_none();
        let mut sender = match pooled {
            Some(sender) => sender,
            None => connect(target, tasks).await?,
        };
        if let Some(answer) = head(target, &mut sender).await {
            let ok = answer.status() == StatusCode::OK;
            let cluster = answer.headers().get("x-hanse-cluster");
            let cluster =
                cluster.and_then(|name| name.to_str().ok()).unwrap_or_default().to_owned();
            answer.into_body().collect().await.ok()?;
            idle.lock().expect("no holder of this lock panics").push(sender);
            return ok.then_some(cluster);
        }
        if is_new {
            return None;
        }
    }
}

/// The head of the answer; nothing when the connection ended before it.
async fn head(
    target: SocketAddr,
    sender: &mut http1::SendRequest<Empty<Bytes>>,
) -> Option<Response<Incoming>> {
    sender.ready().await.ok()?;
    let request = Request::get("/")
        .header(header::HOST, target.to_string())
        .header(header::USER_AGENT, "hanse-drill")
        .header("x-hanse-explain", "1")
        .body(Empty::new())
        .expect("a request of constant parts is valid");
    sender.send_request(request).await.ok()
}

async fn connect(target: SocketAddr, tasks: &TaskSet) -> Option<http1::SendRequest<Empty<Bytes>>> {
    let stream = net::connect(target, CONNECT).await.ok()?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tasks.spawn("drill connection", async move {
        if let Err(error) = connection.await {
            tracing::debug!(%target, %error, "a drill's connection ended");
        }
    });
    Some(sender)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_request_that_meets_the_end_of_an_idle_connection_goes_over_another_one() {
        let listener = net::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let target = listener.local_addr().unwrap();
        let tasks = TaskSet::new("test");
        tasks.spawn("server", async move {
            // One answer a connection; the next request is read, and the connection ends.
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut read = [0; 1024];
                assert!(stream.read(&mut read).await.unwrap() > 0);
                let answer = b"HTTP/1.1 200 OK\r\nx-hanse-cluster: a\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
                drop(stream.read(&mut read).await);
            }
        });
        let idle = Arc::default();
        for _ in 0..3 {
            assert_eq!(ask(target, &idle, &tasks).await.as_deref(), Some("a"));
        }
        tasks.abort();
    }
}
