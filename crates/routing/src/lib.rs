//! Routing engine: services, ready endpoints, evidence about clusters and policy in; per viewing
//! cluster one immutable snapshot of ordered priorities out, with the reason for each choice and
//! for each exclusion. Values in, values out: no clock, no client, no xDS types.

pub mod engine;
pub mod model;
pub mod observers;
pub mod ports;
pub mod snapshot;

pub use engine::plan;
pub use model::{
    Cluster, ClusterName, GatewayAddress, InvalidName, Locality, Operator, Place, Protocol,
    ServiceKey, ServiceSpec, StayWithin, Timeouts, UnixSeconds, Verdict, World,
};
pub use observers::observers;
pub use snapshot::{Diff, Exclusion, Later, Peer, Priority, Reason, Route, Snapshot, Target};
