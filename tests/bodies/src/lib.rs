//! What every federation must do, whatever its members are: the same bodies run on simulated
//! members and on real control planes.
#![forbid(unsafe_code)]

pub mod boutique;
pub mod fleet;
pub mod kubectl;
pub mod loss;
pub mod pages;
pub mod traffic;
pub mod turn;
pub mod wait;

pub use fleet::Fleet;
pub use kubectl::Kubectl;
pub use turn::Turn;
