//! What gateways see of each other, on its way gateway → relay → hub: levels, not edges, so that
//! a lost message costs time and not truth. A stream of its own beside discovery; the identity
//! comes from the token. Nothing here passes through an API server.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::stream;
use hanse_rt::{Backoff, Mono, Rng, TaskSet};
use http::{Request, Response as HttpResponse, uri::PathAndQuery};
use hyper::body::Incoming;
use prost::Message;
use tokio::sync::{mpsc, watch};
use tonic::{Response, Status, Streaming, body::Body, codegen::BoxFuture};
use tonic_prost::ProstCodec;

use crate::transport;

/// Path of the one call.
pub(crate) const PATH: &str = "/hanse.report.v1alpha1.Reports/Report";
/// A report is sent on a change and at least this often.
const PERIOD: Duration = Duration::from_millis(500);
/// Reports that may wait; more would only be older.
const QUEUE: usize = 4;
/// Targets of one observer that the table keeps at most.
const MAX_TARGETS: usize = 4096;
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What an observer knows of a target's data plane.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// Nothing yet, or nothing recent.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

/// One thing seen.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Observation {
    /// The cluster that was looked at.
    #[prost(string, tag = "1")]
    pub target: String,
    /// 0 unknown, 1 up, 2 down.
    #[prost(uint32, tag = "2")]
    pub level: u32,
    /// Milliseconds since the last look that supports the level.
    #[prost(uint64, tag = "3")]
    pub age_millis: u64,
    /// Round-trip time in microseconds; 0 where it was not measured.
    #[prost(uint64, tag = "4")]
    pub round_trip_micros: u64,
}

/// All that one sender sees now.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Report {
    /// Drawn at the sender's start: sequences of different sessions do not compare.
    #[prost(uint64, tag = "1")]
    pub session: u64,
    /// Grows with each report of a session.
    #[prost(uint64, tag = "2")]
    pub sequence: u64,
    /// What it sees; a target that is absent is not observed any more.
    #[prost(message, repeated, tag = "3")]
    pub observations: Vec<Observation>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Received {}

impl Observation {
    /// An observation of `target`.
    pub fn new(target: &str, level: Level, age: Duration) -> Self {
        Self {
            target: target.to_owned(),
            level: match level {
                Level::Unknown => 0,
                Level::Up => 1,
                Level::Down => 2,
            },
            age_millis: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            round_trip_micros: 0,
        }
    }

    /// The same with a measured round-trip time.
    pub fn with_round_trip(self, round_trip: Option<Duration>) -> Self {
        let micros = round_trip.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(0));
        Self { round_trip_micros: micros, ..self }
    }

    /// The round-trip time, where it was measured.
    pub fn round_trip(&self) -> Option<Duration> {
        (self.round_trip_micros > 0).then(|| Duration::from_micros(self.round_trip_micros))
    }

    /// The level; a number of a later version counts as unknown.
    pub const fn level(&self) -> Level {
        match self.level {
            1 => Level::Up,
            2 => Level::Down,
            _ => Level::Unknown,
        }
    }

    /// Time since the last look that supports the level.
    pub const fn age(&self) -> Duration {
        Duration::from_millis(self.age_millis)
    }
}

/// The latest level per observer and target.
#[derive(Clone, Debug, Default)]
pub struct ReportTable {
    inner: Arc<Mutex<Table>>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Table {
    observers: BTreeMap<String, Observer>,
}

#[derive(Debug)]
struct Observer {
    session: u64,
    sequence: u64,
    received: Mono,
    targets: BTreeMap<String, Seen>,
}

/// One entry of the table.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The level at the time of the observation.
    pub level: Level,
    /// When it was observed, on this process's clock: receipt less the stated age.
    pub at: Mono,
    /// The observer's sequence.
    pub sequence: u64,
    /// Round-trip time to the target, where the observer has measured it.
    pub round_trip: Option<Duration>,
}

impl ReportTable {
    /// Takes a report of `observer` in; false when it is older than what is known.
    pub fn record(&self, observer: &str, report: &Report, now: Mono) -> bool {
        {
            let mut table = self.inner.lock().expect("no holder of this lock panics");
            if let Some(known) = table.observers.get(observer)
                && known.session == report.session
                && known.sequence >= report.sequence
            {
                return false;
            }
            let targets = report
                .observations
                .iter()
                .take(MAX_TARGETS)
                .map(|seen| {
                    let entry = Seen {
                        level: seen.level(),
                        at: now.checked_sub(seen.age()).unwrap_or(now),
                        sequence: report.sequence,
                        round_trip: seen.round_trip(),
                    };
                    (seen.target.clone(), entry)
                })
                .collect();
            let entry = Observer {
                session: report.session,
                sequence: report.sequence,
                received: now,
                targets,
            };
            table.observers.insert(observer.to_owned(), entry);
        }
        self.changed.send_modify(|count| *count += 1);
        true
    }

    /// The level that `observer` holds of `target`, unknown when it is older than `stale`.
    pub fn level(&self, observer: &str, target: &str, now: Mono, stale: Duration) -> Level {
        let table = self.inner.lock().expect("no holder of this lock panics");
        table
            .observers
            .get(observer)
            .and_then(|observer| observer.targets.get(target))
            .filter(|seen| now.saturating_duration_since(seen.at) <= stale)
            .map_or(Level::Unknown, |seen| seen.level)
    }

    /// Everything known, by (observer, target).
    pub fn all(&self) -> BTreeMap<(String, String), Seen> {
        let table = self.inner.lock().expect("no holder of this lock panics");
        let mut all = BTreeMap::new();
        for (observer, entry) in &table.observers {
            for (target, seen) in &entry.targets {
                all.insert((observer.clone(), target.clone()), *seen);
            }
        }
        all
    }

    /// When `observer` was last heard: its relay's sign of life.
    pub fn heard(&self, observer: &str) -> Option<Mono> {
        let table = self.inner.lock().expect("no holder of this lock panics");
        table.observers.get(observer).map(|entry| entry.received)
    }

    /// Forgets an observer that left.
    pub fn forget(&self, observer: &str) {
        let mut table = self.inner.lock().expect("no holder of this lock panics");
        table.observers.remove(observer);
    }

    /// Resolves on each report that was taken in.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// Server side of one stream.
pub(crate) async fn receive(
    table: ReportTable,
    identity: String,
    request: Request<Incoming>,
) -> HttpResponse<Body> {
    let service = tower::service_fn(move |request: tonic::Request<Streaming<Report>>| {
        let (table, identity) = (table.clone(), identity.clone());
        let answer: BoxFuture<Response<Received>, Status> = Box::pin(async move {
            let mut reports = request.into_inner();
            while let Some(report) = reports.message().await? {
                table.record(&identity, &report, Mono::now());
            }
            Ok(Response::new(Received {}))
        });
        answer
    });
    tonic::server::Grpc::new(ProstCodec::default()).client_streaming(service, request).await
}

/// Sends what `current` says to `server`, on each tick of `changed` and at least twice a second,
/// until `tasks` ends. Reconnects by itself.
pub fn send(
    tasks: &TaskSet,
    server: SocketAddr,
    token: String,
    rng: &Rng,
    changed: watch::Receiver<u64>,
    current: impl Fn() -> Vec<Observation> + Send + Sync + 'static,
) {
    let mut rng = rng.fork("report", &server.to_string());
    let session = rng.next_u64();
    let mut backoff = Backoff::new(rng, BACKOFF.0, BACKOFF.1);
    let shutdown = tasks.shutdown();
    let owner = tasks.child("reports");
    tasks.spawn("reports", async move {
        let mut sequence = 0;
        loop {
            let attempt = owner.child("attempt");
            let ended = hanse_rt::select! {
                () = shutdown.cancelled() => return,
                ended = stream_reports(
                    &attempt, server, &token, session, &mut sequence, &mut backoff, changed.clone(), &current,
                ) => ended,
            };
            attempt.kill().await;
            if let Err(status) = ended {
                tracing::debug!(%server, %status, "report stream ended");
            }
            hanse_rt::select! {
                () = shutdown.cancelled() => return,
                () = hanse_rt::sleep(backoff.next_delay()) => {}
            }
        }
    });
}

#[expect(clippy::too_many_arguments, reason = "one call site; a struct would only rename them")]
async fn stream_reports(
    attempt: &TaskSet,
    server: SocketAddr,
    token: &str,
    session: u64,
    sequence: &mut u64,
    backoff: &mut Backoff,
    mut changed: watch::Receiver<u64>,
    current: &(impl Fn() -> Vec<Observation> + Send + Sync),
) -> Result<(), Status> {
    let (queue, mut reports) = mpsc::channel::<Report>(QUEUE);
    let outbound = stream::poll_fn(move |context| reports.poll_recv(context));
    let mut client = tonic::client::Grpc::new(transport::channel(attempt, server));
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    backoff.reset();
    let request = transport::authorized(outbound, token)?;
    let codec = ProstCodec::<Report, Received>::default();
    let mut call =
        std::pin::pin!(client.client_streaming(request, PathAndQuery::from_static(PATH), codec));
    let mut ticks = hanse_rt::interval(PERIOD, Duration::ZERO);
    loop {
        hanse_rt::select! {
            ended = &mut call => return ended.map(drop),
            _ = ticks.tick() => {}
            told = changed.changed() => if told.is_err() { return Ok(()); },
        }
        *sequence += 1;
        let report = Report { session, sequence: *sequence, observations: current() };
        // A full queue means a stalled stream: the next report says the same or more.
        if let Err(mpsc::error::TrySendError::Closed(_)) = queue.try_send(report) {
            return (&mut call).await.map(drop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(session: u64, sequence: u64, level: Level) -> Report {
        Report {
            session,
            sequence,
            observations: vec![Observation::new("us-1", level, Duration::from_millis(200))],
        }
    }

    #[test]
    fn a_measured_round_trip_time_travels_and_a_missing_one_is_none() {
        let table = ReportTable::default();
        let far = Duration::from_millis(80);
        let mut told = report(1, 1, Level::Up);
        told.observations[0] = told.observations[0].clone().with_round_trip(Some(far));
        let decoded = Report::decode(told.encode_to_vec().as_slice()).unwrap();
        table.record("eu-1", &decoded, Mono::now());
        table.record("eu-2", &report(1, 1, Level::Up), Mono::now());
        let seen = table.all();
        let of = |observer: &str| seen[&(observer.to_owned(), "us-1".to_owned())].round_trip;
        assert_eq!((of("eu-1"), of("eu-2")), (Some(far), None));
    }

    #[test]
    fn the_latest_level_counts_until_it_is_stale() {
        let table = ReportTable::default();
        let (now, stale) = (Mono::now() + Duration::from_secs(10), Duration::from_secs(3));
        assert_eq!(table.level("eu-1", "us-1", now, stale), Level::Unknown);
        assert!(table.record("eu-1", &report(7, 2, Level::Up), now));
        assert_eq!(table.level("eu-1", "us-1", now, stale), Level::Up);
        assert!(!table.record("eu-1", &report(7, 1, Level::Down), now), "older");
        assert_eq!(table.level("eu-1", "us-1", now, stale), Level::Up);
        // A restarted observer begins to count again.
        assert!(table.record("eu-1", &report(8, 1, Level::Down), now));
        assert_eq!(table.level("eu-1", "us-1", now, stale), Level::Down);
        let later = now + Duration::from_secs(3);
        assert_eq!(table.level("eu-1", "us-1", later, stale), Level::Unknown, "the age counts");
        assert_eq!(table.heard("eu-1"), Some(now));
    }
}
