//! Failure detection: observations and the time in, a verdict per member and what may be
//! evacuated out. Pure: it knows no clients, sockets or clocks; the time is an argument.
//!
//! Three steps, each its own module: [`evidence`] turns reports into one vote per region,
//! [`verdict`] turns votes over time into a verdict, [`brakes`] decides which losses may be acted on.
#![forbid(unsafe_code)]

pub mod brakes;
pub mod evidence;
pub mod verdict;

use std::time::Duration;

/// A point of a monotonic clock, as the time since any fixed origin.
pub type Moment = Duration;

/// The tunables of detection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Regions of one mind must hold for this long before a member is Lost. Default 2 s.
    pub agreed: Duration,
    /// A mere majority of regions must hold for this long. Default 15 s.
    pub majority: Duration,
    /// Success that a member back from Lost must show first; doubles with each flap. Default 10 s.
    pub soak: Duration,
    /// The longest soak. Default 10 min.
    pub soak_max: Duration,
    /// No verdict is acted on before this long after the start. Default 5 s.
    pub observation_window: Duration,
    /// Losses are collected for this long before the first plan. Default 2 s.
    pub settle: Duration,
    /// A second domain lost within this long stops and asks. Default 5 min.
    pub second_loss: Duration,
    /// Lost members outside the first lost domain, in percent of all outside it. Default 34.
    pub max_lost_percent: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            agreed: Duration::from_secs(2),
            majority: Duration::from_secs(15),
            soak: Duration::from_secs(10),
            soak_max: Duration::from_mins(10),
            observation_window: Duration::from_secs(5),
            settle: Duration::from_secs(2),
            second_loss: Duration::from_mins(5),
            max_lost_percent: 34,
        }
    }
}
