//! Probes of another gateway, on a connection of their own, so that a busy or stalled data
//! connection is no evidence: an HTTP/2 PING each 400 ms, and each fifth time a request, so that
//! a gateway whose requests hang shows too.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hanse_rt::{Mono, Shutdown, TaskSet};
use hanse_xds::Level;
use http::Request;

use crate::{
    health::{DOWN_AFTER, PERIOD},
    hop::PROBE_PATH,
    pool::{CONNECT, ConnectError},
    table::PeerAddress,
    worker::Shared,
};

/// A timer that is later than this was held up by this process, not by the network.
const STUNNED: Duration = Duration::from_millis(100);
/// Every so many probes one is a request.
const REQUEST_EVERY: u32 = 5;

/// Probes `peer` until `tasks` ends.
pub(crate) fn start(tasks: &TaskSet, shared: &Arc<Shared>, peer: Arc<PeerAddress>) {
    let (shared, set) = (Arc::clone(shared), tasks.child("attempts"));
    let phase = shared.with_rng(|rng| Duration::from_millis(rng.below(100)));
    let shutdown = tasks.shutdown();
    tasks.spawn("probe", async move {
        let mut ticks = hanse_rt::interval(PERIOD, phase);
        loop {
            hanse_rt::select! {
                () = shutdown.cancelled() => return,
                () = next(&mut ticks, &peer) => {}
            }
            let attempt = set.child("attempt");
            connection(&attempt, &shared, &peer, &shutdown, &mut ticks).await;
            attempt.kill().await;
            if shutdown.is_cancelled() {
                return;
            }
            peer.health.look(Mono::now());
        }
    });
}

/// One connection, as long as it answers.
async fn connection(
    attempt: &TaskSet,
    shared: &Arc<Shared>,
    peer: &Arc<PeerAddress>,
    shutdown: &Shutdown,
    ticks: &mut tokio::time::Interval,
) {
    let left = DOWN_AFTER.saturating_sub(peer.health.silence(Mono::now())).max(PERIOD);
    let stream = match shared.dialer.connect(peer.address, left).await {
        Ok(stream) => stream,
        Err(ConnectError::Refused) => return peer.health.refused(),
        Err(ConnectError::Failed) => return,
    };
    let handshake = hanse_rt::timeout(left, h2::client::handshake(stream));
    let Ok(Ok((sender, mut connection))) = handshake.await else {
        return;
    };
    let Some(mut pings) = connection.ping_pong() else {
        return;
    };
    attempt.spawn("probe connection", async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "probe connection ended");
        }
    });
    warm(attempt, peer);
    let mut count = 0_u32;
    loop {
        count = count.wrapping_add(1);
        let began = Mono::now();
        let left = patience(peer.health.level(), peer.health.silence(began));
        let answered = hanse_rt::select! {
            () = shutdown.cancelled() => return,
            answered = hanse_rt::timeout(left, look(&mut pings, &sender, count)) => answered,
        };
        match answered {
            Ok(true) => {
                peer.health.heard(Mono::now());
                // A request takes the other gateway's time too.
                if !count.is_multiple_of(REQUEST_EVERY) {
                    peer.health.measured(began.elapsed());
                }
            }
            // The connection broke: the next attempt tells whether somebody is there.
            Ok(false) => return,
            Err(_) => {
                excuse_if_stunned(peer, began + left, began);
                peer.health.look(Mono::now());
                if peer.health.silence(Mono::now()) >= DOWN_AFTER {
                    return;
                }
            }
        }
        hanse_rt::select! {
            () = shutdown.cancelled() => return,
            () = next(ticks, peer) => {}
        }
    }
}

/// Waits until the next probe is due, and sees whether this process slept over it.
async fn next(ticks: &mut tokio::time::Interval, peer: &Arc<PeerAddress>) {
    let asked = Mono::now();
    let due = ticks.tick().await;
    excuse_if_stunned(peer, due, asked);
}

/// How long a probe may take. One that is down already has all the time: it may be far away. One
/// that is not has what is left until it would be, however long this process slept over it.
fn patience(level: Level, silence: Duration) -> Duration {
    let left = DOWN_AFTER.saturating_sub(silence).max(STUNNED);
    if level == Level::Down { DOWN_AFTER } else { left }
}

/// A timer that fires late says that this process did not run: pongs may wait unread.
fn excuse_if_stunned(peer: &Arc<PeerAddress>, due: Mono, asked: Mono) {
    let now = Mono::now();
    let late = lateness(due, asked, now);
    if late > STUNNED {
        let late_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(peer = %peer.address, late_ms, "this process stood still");
        peer.health.excuse(late, now);
    }
}

/// By how much a timer was late that was waited for from `asked` on: one that was due before, while
/// an answer was awaited, was not held up by anybody.
fn lateness(due: Mono, asked: Mono, now: Mono) -> Duration {
    now.saturating_duration_since(due.max(asked))
}

async fn look(
    pings: &mut h2::PingPong,
    sender: &h2::client::SendRequest<Bytes>,
    count: u32,
) -> bool {
    if !count.is_multiple_of(REQUEST_EVERY) {
        return pings.ping(h2::Ping::opaque()).await.is_ok();
    }
    let uri = format!("http://probe.hanse.invalid{PROBE_PATH}");
    let Ok(request) = Request::get(uri).body(()) else {
        return false;
    };
    let Ok(mut ready) = sender.clone().ready().await else {
        return false;
    };
    match ready.send_request(request, true) {
        Ok((answer, _)) => answer.await.is_ok_and(|answer| answer.status().is_success()),
        Err(_) => false,
    }
}

/// Opens a connection for requests ahead of the first one.
fn warm(attempt: &TaskSet, peer: &Arc<PeerAddress>) {
    let pool = Arc::clone(&peer.requests);
    attempt.spawn("warm", async move {
        if pool.get(CONNECT).await.is_err() {
            tracing::debug!("no connection ahead of requests");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_ran_out_while_an_answer_was_awaited_is_not_late() {
        let due = Mono::now();
        let late = Duration::from_secs(1);
        assert_eq!(lateness(due, due + late, due + late), Duration::ZERO);
        assert_eq!(lateness(due, due, due + late), late);
    }

    #[test]
    fn a_silent_peer_is_waited_for_until_it_counts_as_down_and_no_longer() {
        let second = Duration::from_secs(1);
        assert_eq!(patience(Level::Up, second), DOWN_AFTER.saturating_sub(second));
        assert_eq!(patience(Level::Up, DOWN_AFTER + second), STUNNED, "a last chance");
        assert_eq!(patience(Level::Down, DOWN_AFTER + second), DOWN_AFTER, "it may be far away");
    }
}
