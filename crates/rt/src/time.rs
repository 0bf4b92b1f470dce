//! Clocks, time-outs, intervals and back-off.
//!
//! [`Mono`] is for durations and deadlines inside a process; it stands still and jumps with a
//! paused runtime. [`Wall`] is for what is written down; it may step, and two hosts may disagree
//! about it. Leases name which of the two they use.

use std::{future::Future, time::Duration};

use jiff::Timestamp;

use crate::Rng;

/// A point of the monotonic clock (tokio's, so that paused runtimes control it).
pub type Mono = tokio::time::Instant;

/// A source of wall-clock time.
#[derive(Clone, Debug)]
pub struct Wall(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Derived { origin: Timestamp, since: Mono },
}

impl Wall {
    /// The system's clock: for production.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that reads `origin` now and advances with [`Mono`]: for paused runtimes.
    pub fn starting_at(origin: Timestamp) -> Self {
        Self(Source::Derived { origin, since: Mono::now() })
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "the one door to the system's wall clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::now(),
            Source::Derived { origin, since } => origin
                .checked_add(jiff::SignedDuration::try_from(since.elapsed()).unwrap_or_default())
                .unwrap_or(*origin),
        }
    }
}

/// A time-out ran out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no answer within {0:?}")]
pub struct Elapsed(pub Duration);

/// Runs `future` for at most `limit`.
///
/// # Errors
/// [`Elapsed`] when the limit passed first; the future is dropped.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(limit, future).await.map_err(|_| Elapsed(limit))
}

/// How long a task waits for its turn now: near zero where the process keeps up with its work, and
/// zero under virtual time.
pub async fn turn() -> Duration {
    let asked = Mono::now();
    tokio::task::yield_now().await;
    asked.elapsed()
}

/// Waits for `duration`.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits until `deadline`.
pub async fn sleep_until(deadline: Mono) {
    tokio::time::sleep_until(deadline).await;
}

/// Ticks every `period`; a tick that was missed is skipped, not made up for.
/// The first tick comes after `phase`, so that many loops do not fire together.
pub fn interval(period: Duration, phase: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval_at(Mono::now() + phase, period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    ticks
}

/// Exponential back-off with full jitter in its upper half.
#[derive(Clone, Debug)]
pub struct Backoff {
    rng: Rng,
    first: Duration,
    max: Duration,
    tries: u32,
}

impl Backoff {
    /// Starts at `first`, doubles with each try, never waits longer than `max`.
    pub const fn new(rng: Rng, first: Duration, max: Duration) -> Self {
        Self { rng, first, max, tries: 0 }
    }

    /// How long to wait before the next try: between half of the step and the whole of it.
    pub fn next_delay(&mut self) -> Duration {
        let step = self.first.saturating_mul(1 << self.tries.min(16)).min(self.max);
        self.tries = self.tries.saturating_add(1);
        let half = step / 2;
        let span = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).saturating_add(1);
        half + Duration::from_micros(self.rng.below(span))
    }

    /// Forgets past failures.
    pub const fn reset(&mut self) {
        self.tries = 0;
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.next_delay())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_within_its_bounds_and_starts_over_after_a_reset() {
        let mut backoff =
            Backoff::new(Rng::from_seed(1), Duration::from_millis(100), Duration::from_secs(2));
        for step in [100, 200, 400, 800, 1600, 2000, 2000] {
            let got = backoff.next_delay();
            assert!(got >= Duration::from_millis(step / 2), "{got:?} for {step}");
            assert!(got <= Duration::from_millis(step + 1), "{got:?} for {step}");
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(101));
    }

    #[tokio::test(start_paused = true)]
    async fn a_derived_wall_clock_follows_paused_time() {
        let origin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let wall = Wall::starting_at(origin);
        sleep(Duration::from_secs(90)).await;
        assert_eq!(wall.now().to_string(), "2026-01-01T00:01:30Z");
    }
}
