//! Two kinds of evidence, kept apart so that one bad service never ejects a cluster.
//!
//! **Transport** ([`PeerHealth`]): one object per gateway address, shared by all services.
//! ```text
//!            answers for UP_AFTER
//!  Unknown ──────────────────────► Up
//!     │                            │ ▲
//!     │ silence, refused           │ │ answers for UP_AFTER
//!     └───────────► Down ◄─────────┘ │
//!                     └──────────────┘
//! ```
//! **Outcome** ([`Outcome`]): per service and cluster, or per service and pod; passive ejection
//! with exponential back-off, then one trial at a time until a success.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use hanse_rt::Mono;
use hanse_xds::Level;
use tokio::sync::watch;

/// Time between two probes.
pub(crate) const PERIOD: Duration = Duration::from_millis(400);
/// Silence that counts as down.
pub(crate) const DOWN_AFTER: Duration = Duration::from_millis(1500);
/// Answers without a gap that count as up.
const UP_AFTER: Duration = Duration::from_secs(3);
/// How often in a row silence is put down to this process itself.
const EXCUSES: u32 = 3;
/// What it takes to read an answer that already waits.
const READING: Duration = Duration::from_millis(100);
/// Failures in a row that eject.
const EJECT_AFTER: u32 = 5;
/// First and longest ejection.
const EJECTION: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Time between trials after an ejection.
const TRIAL_EVERY: Duration = Duration::from_secs(1);

/// Whether one address of another gateway answers.
#[derive(Debug)]
pub(crate) struct PeerHealth {
    level: AtomicU8,
    probed: AtomicBool,
    state: Mutex<PeerState>,
    /// Counts falls to Down; connections watch it and end with it.
    falls: watch::Sender<u64>,
    /// Counts changes of all peers, for the reports.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct PeerState {
    heard: Mono,
    answering_since: Option<Mono>,
    /// How often silence was put down to this process since the peer was last heard.
    excuses: u32,
    /// Smoothed over about eight probes.
    round_trip: Option<Duration>,
}

impl PeerHealth {
    pub(crate) fn new(now: Mono, changes: watch::Sender<u64>) -> Self {
        Self {
            level: AtomicU8::new(0),
            probed: AtomicBool::new(false),
            state: Mutex::new(PeerState {
                heard: now,
                answering_since: None,
                excuses: 0,
                round_trip: None,
            }),
            falls: watch::Sender::new(0),
            changes,
        }
    }

    pub(crate) fn level(&self) -> Level {
        match self.level.load(Ordering::Relaxed) {
            1 => Level::Up,
            2 => Level::Down,
            _ => Level::Unknown,
        }
    }

    /// Says whether somebody probes it. Without probes there is nobody who would see it return,
    /// so that nothing may call it down.
    pub(crate) fn set_probed(&self, probed: bool, now: Mono) {
        if self.probed.swap(probed, Ordering::Relaxed) == probed {
            return;
        }
        {
            let mut state = self.state.lock().expect("no holder of this lock panics");
            state.heard = now;
            state.answering_since = None;
        }
        self.set(Level::Unknown);
    }

    /// Something came from the peer.
    pub(crate) fn heard(&self, now: Mono) {
        let answering = {
            let mut state = self.state.lock().expect("no holder of this lock panics");
            state.heard = now;
            state.excuses = 0;
            let since = *state.answering_since.get_or_insert(now);
            now.saturating_duration_since(since) >= UP_AFTER
        };
        if answering {
            self.set(Level::Up);
        }
    }

    /// A probe was answered after this time.
    pub(crate) fn measured(&self, took: Duration) {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        state.round_trip = Some(state.round_trip.map_or(took, |known| (known * 7 + took) / 8));
    }

    /// The round-trip time, once a probe was answered.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.state.lock().expect("no holder of this lock panics").round_trip
    }

    /// The peer refused a connection: nobody is there.
    pub(crate) fn refused(&self) {
        self.fall();
    }

    /// This process stood still for so long: that part of the silence proves nothing about the
    /// peer, nor does the time to its next answer. A peer that stays silent is excused three times
    /// only; after the first it had the time to answer, and what came may only wait to be read.
    pub(crate) fn excuse(&self, stood_still: Duration, now: Mono) {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        if state.excuses < EXCUSES {
            let grace = if state.excuses == 0 { PERIOD } else { READING };
            state.excuses += 1;
            state.heard = now.min(state.heard + stood_still + grace);
        }
    }

    /// Looks whether the silence has become too long.
    pub(crate) fn look(&self, now: Mono) {
        if self.silence(now) >= DOWN_AFTER {
            self.fall();
        }
    }

    /// Time since the peer was last heard.
    pub(crate) fn silence(&self, now: Mono) -> Duration {
        let state = self.state.lock().expect("no holder of this lock panics");
        now.saturating_duration_since(state.heard)
    }

    /// Resolves when the peer falls from now on.
    pub(crate) fn falls(&self) -> watch::Receiver<u64> {
        self.falls.subscribe()
    }

    fn fall(&self) {
        if !self.probed.load(Ordering::Relaxed) {
            return;
        }
        self.state.lock().expect("no holder of this lock panics").answering_since = None;
        if self.set(Level::Down) {
            self.falls.send_modify(|count| *count += 1);
        }
    }

    fn set(&self, level: Level) -> bool {
        let code = match level {
            Level::Unknown => 0,
            Level::Up => 1,
            Level::Down => 2,
        };
        let changed = self.level.swap(code, Ordering::Relaxed) != code;
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
        changed
    }
}

/// How requests to one place fare.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    state: Mutex<OutcomeState>,
}

#[derive(Debug, Default)]
struct OutcomeState {
    failures: u32,
    ejections: u32,
    out_until: Option<Mono>,
    /// One request was let through to see.
    trial: bool,
}

impl Outcome {
    /// Whether requests may go there. After an ejection this lets one through at a time.
    pub(crate) fn admits(&self, now: Mono) -> bool {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        match state.out_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                state.out_until = Some(now + TRIAL_EVERY);
                state.trial = true;
                true
            }
        }
    }

    /// Whether it is out now; takes no trial.
    pub(crate) fn is_out(&self, now: Mono) -> bool {
        let state = self.state.lock().expect("no holder of this lock panics");
        state.out_until.is_some_and(|until| now < until)
    }

    pub(crate) fn succeeded(&self) {
        *self.state.lock().expect("no holder of this lock panics") = OutcomeState::default();
    }

    /// Counts a failure; true when it ejects.
    pub(crate) fn failed(&self, now: Mono) -> bool {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        if !state.trial && state.out_until.is_some_and(|until| now < until) {
            // Sent before the ejection: says nothing new.
            return false;
        }
        state.trial = false;
        state.failures += 1;
        if state.failures < EJECT_AFTER {
            return false;
        }
        let factor = 1_u32 << state.ejections.min(5);
        state.ejections += 1;
        state.out_until = Some(now + EJECTION.0.saturating_mul(factor).min(EJECTION.1));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(400);

    fn peer(now: Mono) -> PeerHealth {
        let peer = PeerHealth::new(now, watch::Sender::new(0));
        peer.set_probed(true, now);
        peer
    }

    #[test]
    fn a_peer_that_nobody_probes_is_never_called_down() {
        let now = Mono::now();
        let peer = PeerHealth::new(now, watch::Sender::new(0));
        peer.refused();
        peer.look(now + DOWN_AFTER);
        assert_eq!(peer.level(), Level::Unknown);
        peer.set_probed(true, now);
        peer.refused();
        assert_eq!(peer.level(), Level::Down);
        peer.set_probed(false, now);
        assert_eq!(peer.level(), Level::Unknown);
    }

    #[test]
    fn three_seconds_of_answers_make_up_and_one_and_a_half_of_silence_make_down() {
        let mut now = Mono::now();
        let peer = peer(now);
        for _ in 0..8 {
            peer.heard(now);
            peer.look(now);
            assert_eq!(peer.level(), Level::Unknown);
            now += STEP;
        }
        peer.heard(now);
        assert_eq!(peer.level(), Level::Up);
        peer.look(now + DOWN_AFTER - Duration::from_millis(1));
        assert_eq!(peer.level(), Level::Up);
        peer.look(now + DOWN_AFTER);
        assert_eq!(peer.level(), Level::Down);
        // One answer is no return.
        peer.heard(now + DOWN_AFTER);
        assert_eq!(peer.level(), Level::Down);
    }

    #[test]
    fn a_round_trip_time_is_smoothed_over_probes() {
        let peer = peer(Mono::now());
        assert_eq!(peer.round_trip(), None);
        let time = Duration::from_millis;
        peer.measured(time(80));
        assert_eq!(peer.round_trip(), Some(time(80)));
        peer.measured(time(160));
        assert_eq!(peer.round_trip(), Some(time(90)), "one late answer is no distance");
    }

    #[test]
    fn a_gateway_that_stood_still_itself_does_not_call_its_peers_down_at_once() {
        let mut now = Mono::now();
        let peer = peer(now);
        for _ in 0..EXCUSES {
            now += DOWN_AFTER;
            peer.excuse(DOWN_AFTER, now);
            peer.look(now);
            assert_eq!(peer.level(), Level::Unknown);
        }
        now += DOWN_AFTER;
        peer.excuse(DOWN_AFTER, now);
        peer.look(now);
        assert_eq!(peer.level(), Level::Down, "a dead peer is found under any load");
    }

    #[test]
    fn a_short_halt_excuses_no_more_silence_than_itself_and_one_probe() {
        let start = Mono::now();
        let peer = peer(start);
        let halt = Duration::from_millis(150);
        peer.excuse(halt, start + DOWN_AFTER);
        let end = start + DOWN_AFTER + halt + PERIOD;
        peer.look(end - Duration::from_millis(1));
        assert_eq!(peer.level(), Level::Unknown);
        peer.look(end);
        assert_eq!(peer.level(), Level::Down);
    }

    #[test]
    fn short_halts_one_after_the_other_delay_a_verdict_by_little_more_than_themselves() {
        let start = Mono::now();
        let peer = peer(start);
        let halt = Duration::from_millis(150);
        for _ in 0..EXCUSES {
            peer.excuse(halt, start + DOWN_AFTER);
        }
        let end = start + DOWN_AFTER + halt * EXCUSES + PERIOD + READING * (EXCUSES - 1);
        peer.look(end - Duration::from_millis(1));
        assert_eq!(peer.level(), Level::Unknown);
        peer.look(end);
        assert_eq!(peer.level(), Level::Down);
    }

    #[test]
    fn a_refusal_counts_at_once_and_each_fall_is_told_once() {
        let peer = peer(Mono::now());
        let falls = peer.falls();
        peer.refused();
        peer.refused();
        assert_eq!(peer.level(), Level::Down);
        assert_eq!(*falls.borrow(), 1);
    }

    #[test]
    fn failures_in_a_row_eject_for_growing_times_and_a_success_forgives() {
        let now = Mono::now();
        let outcome = Outcome::default();
        for _ in 1..EJECT_AFTER {
            assert!(!outcome.failed(now));
        }
        assert!(outcome.admits(now));
        assert!(outcome.failed(now));
        assert!(!outcome.admits(now));
        assert!(!outcome.failed(now), "what was under way does not lengthen it");
        let trial = now + EJECTION.0;
        assert!(outcome.admits(trial));
        assert!(!outcome.admits(trial), "one trial at a time");
        assert!(outcome.failed(trial));
        assert!(!outcome.admits(trial + EJECTION.0), "the second ejection is longer");
        outcome.succeeded();
        assert!(outcome.admits(trial));
    }
}
