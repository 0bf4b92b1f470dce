//! Traffic at a fixed rate, open loop: a request counts from when it was due, whether or not the
//! one before it was answered. Connections stay open between requests.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_rt::{Mono, TaskSet, net};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1::SendRequest,
};
use hyper_util::rt::TokioIo;

/// A request without an answer by then failed.
const GIVE_UP: Duration = Duration::from_secs(15);
/// An entry that does not answer a handshake by then is gone.
const CONNECT: Duration = Duration::from_secs(2);
/// Beyond this an answer is slow.
const SLOW: Duration = Duration::from_secs(1);
/// Samples that are kept: an hour at 200 a second. Later requests are not sent.
const SAMPLES: usize = 720_000;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// When it was due.
    pub(crate) due: Mono,
    /// From due to answered, or to when it was given up.
    pub(crate) took: Duration,
    /// The cluster by whose gateway it entered.
    pub(crate) entered: Arc<str>,
    /// The cluster that answered 200.
    pub(crate) answered: Option<String>,
}

/// Traffic under way.
#[derive(Debug)]
pub(crate) struct Load {
    tasks: TaskSet,
    samples: Arc<Mutex<Vec<Sample>>>,
}

/// What a fault did to traffic that entered elsewhere.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Effect {
    /// Requests before the fault that the target answered: with none nothing had to shift.
    pub(crate) used_target_before: usize,
    /// From the fault to the last request that the target answered, that failed or was slow.
    pub(crate) shift: Duration,
    /// Requests under way at the fault or due after it.
    pub(crate) requests: usize,
    /// Those of them without an answer.
    pub(crate) errors: usize,
    /// The longest of them.
    pub(crate) slowest: Duration,
}

impl Load {
    /// Sends `rate` requests a second in all, to the entries in turn.
    pub(crate) fn start(entries: Vec<(String, SocketAddr)>, rate: u32) -> Self {
        let tasks = TaskSet::new("load");
        let samples: Arc<Mutex<Vec<Sample>>> = Arc::default();
        let (shutdown, requests, kept) = (tasks.shutdown(), tasks.clone(), Arc::clone(&samples));
        tasks.spawn("load", async move {
            let period = Duration::from_secs(1) / rate.max(1);
            let entries: Vec<(Arc<str>, SocketAddr, Arc<Idle>)> = entries
                .into_iter()
                .map(|(name, address)| (name.into(), address, Arc::default()))
                .collect();
            let mut due = Mono::now();
            for (entered, address, idle) in entries.iter().cycle().take(SAMPLES) {
                hanse_rt::select! {
                    () = shutdown.cancelled() => return,
                    () = hanse_rt::sleep_until(due) => {}
                }
                let (entered, idle, address) = (Arc::clone(entered), Arc::clone(idle), *address);
                let (kept, tasks) = (Arc::clone(&kept), requests.clone());
                requests.spawn("request", async move {
                    let answer = hanse_rt::timeout(GIVE_UP, ask(address, &idle, &tasks)).await;
                    let took = Mono::now().saturating_duration_since(due);
                    let sample = Sample { due, took, entered, answered: answer.ok().flatten() };
                    kept.lock().expect("no holder of this lock panics").push(sample);
                });
                due += period;
            }
        });
        Self { tasks, samples }
    }

    /// Stops sending, waits for the last answers, and gives what came of all requests.
    pub(crate) async fn stop(self) -> Vec<Sample> {
        self.tasks.drain(GIVE_UP + CONNECT).await;
        std::mem::take(&mut *self.samples.lock().expect("no holder of this lock panics"))
    }
}

/// What a fault at `fault` in `target` did.
pub(crate) fn effect(samples: &[Sample], fault: Mono, target: &BTreeSet<String>) -> Effect {
    let mut effect = Effect::default();
    let elsewhere = samples.iter().filter(|sample| !target.contains(sample.entered.as_ref()));
    for sample in elsewhere {
        let by_target = sample.answered.as_ref().is_some_and(|name| target.contains(name));
        if sample.due + sample.took < fault {
            effect.used_target_before += usize::from(by_target);
            continue;
        }
        let failed = sample.answered.is_none();
        effect.requests += 1;
        effect.errors += usize::from(failed);
        effect.slowest = effect.slowest.max(sample.took);
        if by_target || failed || sample.took > SLOW {
            effect.shift = effect.shift.max(sample.due.saturating_duration_since(fault));
        }
    }
    effect
}

type Idle = Mutex<Vec<SendRequest<Empty<Bytes>>>>;

/// One request over an idle connection, or a new one; the cluster that answered 200. An idle
/// connection may end as it is used again: then the request goes over another one, as any client
/// of HTTP does with what may be sent twice.
async fn ask(address: SocketAddr, idle: &Arc<Idle>, tasks: &TaskSet) -> Option<String> {
    loop {
        let pooled = idle.lock().expect("no holder of this lock panics").pop();
        let is_new = pooled.is_none();
        let mut sender = match pooled {
            Some(sender) => sender,
            None => connect(address, tasks).await?,
        };
        if let Some(answer) = head(address, &mut sender).await {
            let ok = answer.status().as_u16() == 200;
            let cluster = answer.headers().get("x-cluster").and_then(|name| name.to_str().ok());
            let cluster = cluster.unwrap_or_default().to_owned();
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
    address: SocketAddr,
    sender: &mut SendRequest<Empty<Bytes>>,
) -> Option<Response<Incoming>> {
    sender.ready().await.ok()?;
    let request = Request::get("/")
        .header("host", address.to_string())
        .body(Empty::new())
        .expect("a request of constant parts is valid");
    sender.send_request(request).await.ok()
}

async fn connect(address: SocketAddr, tasks: &TaskSet) -> Option<SendRequest<Empty<Bytes>>> {
    let stream = net::connect(address, CONNECT).await.ok()?;
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    // It ends with its sender, which idles with the load's own task and its requests.
    tasks.spawn("connection", async move { drop(connection.await) });
    Some(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shift_ends_with_the_last_request_that_the_loss_still_hurt() {
        let start = Mono::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let sample = |due: u64, took: u64, entered: &str, answered: Option<&str>| Sample {
            due: at(due),
            took: Duration::from_millis(took),
            entered: entered.into(),
            answered: answered.map(str::to_owned),
        };
        let samples = [
            sample(0, 5, "b", Some("a")),
            sample(10, 5, "b", Some("a")),
            // Under way when the fault comes.
            sample(990, 400, "b", Some("c")),
            sample(1200, 900, "b", None),
            sample(1400, 1001, "b", Some("c")),
            sample(1500, 10, "b", Some("c")),
            // Who enters at the target is no measure of the shift.
            sample(9000, 10, "a", None),
        ];
        let effect = effect(&samples, at(1000), &BTreeSet::from(["a".to_owned()]));
        assert_eq!(
            effect,
            Effect {
                used_target_before: 2,
                shift: Duration::from_millis(400),
                requests: 4,
                errors: 1,
                slowest: Duration::from_millis(1001),
            }
        );
    }
}
