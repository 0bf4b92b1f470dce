//! The member side of the federation. So far the relay: it joins what the hub says about other
//! clusters with the endpoints of its own, serves both to the member's gateways, and writes the
//! derived Services. It must not know the scheduler nor the hub's API.

mod derived;
mod endpoints;
mod mirror;
pub mod relay;

pub use derived::service_name;
pub use relay::{Relay, RelayConfig, run};
