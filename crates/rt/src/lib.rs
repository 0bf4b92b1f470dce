//! Runtime of Hanse: the only place that spawns tasks, reads clocks, draws chance, opens sockets
//! and touches the disk. Everything above takes these from here, so that a whole federation runs
//! under virtual time with a seed. It must not know any of our kinds.
#![forbid(unsafe_code)]

pub mod admin;
pub mod disk;
pub mod metrics;
pub mod net;
pub mod otlp;
pub mod readiness;
pub mod rng;
pub mod task;
pub mod telemetry;
pub mod time;
pub mod trace;

pub use metrics::Metrics;
pub use readiness::{Readiness, ReadyHold};
pub use rng::Rng;
pub use task::{Shutdown, TaskSet};
pub use time::{Backoff, Elapsed, Mono, Wall, interval, sleep, sleep_until, timeout, turn};

#[doc(hidden)]
pub use tokio as __tokio;

/// `tokio::select!` that polls its branches in the order written, so that a run can be replayed.
#[macro_export]
macro_rules! select {
    ($($branches:tt)*) => {
        $crate::__tokio::select! { biased; $($branches)* }
    };
}
