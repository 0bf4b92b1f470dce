//! Clients and digest watches of member clusters. It knows no policies and none of our kinds.
#![forbid(unsafe_code)]

mod bounded;
mod connect;
mod digest;
mod discovery;
mod kubeconfig;
mod packed;
mod watch;

pub use bounded::{Limits, bounded, bounded_client};
pub use connect::{ConnectError, Connecting, Connection, Connector, DirectConnector};
pub use digest::{Digest, MarkNames, digest};
pub use discovery::{Kinds, KindsPool, Served, discover};
pub use kubeconfig::{KubeconfigRefused, read_kubeconfig};
pub use packed::Packed;
pub use watch::{Watched, run as run_watch};
