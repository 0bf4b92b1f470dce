//! Real control planes for tests: etcd, kube-apiserver and kube-controller-manager on a loopback
//! address of their own, without nodes. `cargo xtask peers` builds the programs.
#![forbid(unsafe_code)]

mod control_plane;
mod real;

pub use control_plane::{ControlPlane, Controllers, peers};
pub use real::{NODES, Real};
