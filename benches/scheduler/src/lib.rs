//! What the benchmarks of placement share: fleets of the peer's make, and counters.

pub mod count;
pub mod fleet;
