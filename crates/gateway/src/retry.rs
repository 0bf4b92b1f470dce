//! Which failures may be tried again, and how often. The ledger is per process and service.

use std::{sync::Mutex, time::Duration};

use hanse_rt::Mono;
use http::Method;

/// Window of the budget.
const WINDOW: Duration = Duration::from_secs(10);
/// Retries in a window that are granted whatever the traffic, so that a quiet service has some.
const FLOOR: u64 = 10;
/// Attempts of one request, the first included.
pub(crate) const MAX_ATTEMPTS: usize = 3;

/// Whether a request may be sent twice (RFC 9110, 9.2.2).
pub(crate) fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE]
        .contains(method)
}

/// Counts requests and retries of one service.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    state: Mutex<Windows>,
}

#[derive(Debug, Default)]
struct Windows {
    began: Option<Mono>,
    requests: [u64; 2],
    retries: [u64; 2],
}

impl Ledger {
    /// Notes a request.
    pub(crate) fn request(&self, now: Mono) {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        state.turn(now);
        state.requests[0] += 1;
    }

    /// Grants or refuses one retry within `percent` of the requests of the last window.
    pub(crate) fn grant(&self, now: Mono, percent: u8) -> bool {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        state.turn(now);
        let requests: u64 = state.requests.iter().sum();
        let retries: u64 = state.retries.iter().sum();
        let granted = retries < FLOOR.max(requests * u64::from(percent) / 100);
        if granted {
            state.retries[0] += 1;
        }
        granted
    }
}

impl Windows {
    /// Two half windows: the current and the one before.
    fn turn(&mut self, now: Mono) {
        let began = *self.began.get_or_insert(now);
        let passed = now.saturating_duration_since(began);
        if passed < WINDOW / 2 {
            return;
        }
        let keep = passed < WINDOW;
        for counts in [&mut self.requests, &mut self.retries] {
            counts[1] = if keep { counts[0] } else { 0 };
            counts[0] = 0;
        }
        self.began = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_stay_within_their_share_and_a_quiet_service_has_a_few() {
        let now = Mono::now();
        let ledger = Ledger::default();
        let granted = |at| (0..1000).filter(|_| ledger.grant(at, 20)).count();
        assert_eq!(granted(now), 10);
        for _ in 0..1000 {
            ledger.request(now);
        }
        assert_eq!(granted(now), 190);
        assert_eq!(granted(now + Duration::from_secs(11)), 10, "old traffic does not count");
    }

    #[test]
    fn only_methods_that_may_be_repeated_are_repeated() {
        assert!(is_idempotent(&Method::PUT));
        assert!(!is_idempotent(&Method::POST));
        assert!(!is_idempotent(&Method::PATCH));
        assert!(!is_idempotent(&Method::CONNECT));
    }
}
