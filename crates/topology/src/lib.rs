//! Where clusters are: providers, regions, zones, and the round-trip times between them.
//! Knows topology files and distances, nothing of Kubernetes.
#![forbid(unsafe_code)]

mod file;
mod place;
mod quantity;

pub use file::{Cluster, Hub, Nodes, Problem, Problems, RoundTrip, Taint, Topology};
pub use place::{Place, SAME_CLUSTER, SAME_REGION, SAME_ZONE, UNDECLARED};
pub use quantity::{QuantityError, parse_bytes, parse_count, parse_millicores};
