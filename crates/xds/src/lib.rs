//! xDS between hub, relay and gateway: what a cluster's gateways must know as plain resources of
//! the discovery protocol, the aggregated discovery service (state of the world) on both sides,
//! and a stream of health reports beside it. It must not know Kubernetes.

pub mod client;
#[cfg(feature = "compile")]
pub mod compile;
mod decode;
mod encode;
pub mod report;
pub mod resources;
pub mod server;
mod store;
mod transport;
pub mod view;

pub use client::{AdsClient, ClientConfig};
#[cfg(feature = "compile")]
pub use compile::compile;
pub use decode::{DecodeError, decode};
pub use encode::encode;
pub use report::{Level, Observation, Report, ReportTable};
pub use resources::{Kind, Resources};
pub use server::{AdsServer, Verifier};
pub use store::{StoreError, load, save};
pub use view::{Later, Order, Peer, Protocol, Service, Target, View};
