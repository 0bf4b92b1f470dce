//! Requests to a global endpoint, as a client sends them.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use hanse_rt::{TaskSet, net};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

/// One request over a connection of its own; returns the status and who answered.
///
/// # Errors
/// When there was no answer.
pub async fn get(address: SocketAddr) -> Result<(u16, String)> {
    let exchange = async {
        let stream = net::connect(address, Duration::from_secs(5)).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request =
            Request::get("/").header("host", "shop.example").body(Empty::<Bytes>::new())?;
        let answer = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status().as_u16();
            let cluster = answer.headers().get("x-cluster").and_then(|name| name.to_str().ok());
            let cluster = cluster.unwrap_or_default().to_owned();
            answer.into_body().collect().await?;
            Ok((status, cluster))
        };
        hanse_rt::select! {
            answer = answer => answer,
            ended = connection => { ended?; anyhow::bail!("the connection ended early") }
        }
    };
    hanse_rt::timeout(Duration::from_secs(20), exchange).await.context("no answer")?
}

/// What came of a train of requests.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests sent.
    pub requests: usize,
    /// Those without a 200.
    pub errors: usize,
    /// Answers by cluster.
    pub by_cluster: BTreeMap<String, usize>,
}

/// Requests under way in the background.
#[derive(Debug)]
pub struct Train {
    stop: oneshot::Sender<()>,
    outcome: oneshot::Receiver<Outcome>,
}

impl Train {
    /// Starts to send requests at a fixed rate, open loop.
    pub fn start(address: SocketAddr, rate: u64) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (tell, outcome) = oneshot::channel();
        TaskSet::new("train").spawn("train", async move {
            let sent = train(address, rate, async { drop(stopped.await) }).await;
            drop(tell.send(sent));
        });
        Self { stop, outcome }
    }

    /// Stops, waits for the last answers, and says what came of all.
    ///
    /// # Errors
    /// When the train ended by a panic.
    pub async fn stop(self) -> Result<Outcome> {
        drop(self.stop);
        self.outcome.await.context("the train of requests broke")
    }
}

/// Sends requests at a fixed rate, open loop, until `stop` resolves.
async fn train(address: SocketAddr, rate: u64, stop: impl Future<Output = ()>) -> Outcome {
    let mut ticks = hanse_rt::interval(Duration::from_micros(1_000_000 / rate), Duration::ZERO);
    let mut stop = std::pin::pin!(stop);
    let mut flying = futures::stream::FuturesUnordered::new();
    let mut outcome = Outcome::default();
    loop {
        hanse_rt::select! {
            () = &mut stop => break,
            _ = ticks.tick() => {
                outcome.requests += 1;
                flying.push(get(address));
            }
            Some(done) = futures::StreamExt::next(&mut flying) => outcome.count(done),
        }
    }
    while let Some(done) = futures::StreamExt::next(&mut flying).await {
        outcome.count(done);
    }
    outcome
}

impl Outcome {
    fn count(&mut self, done: Result<(u16, String)>) {
        match done {
            Ok((200, cluster)) => *self.by_cluster.entry(cluster).or_default() += 1,
            Ok(_) | Err(_) => self.errors += 1,
        }
    }
}
