//! The data plane: takes connections on service ports, chooses a cluster and an endpoint for
//! each request, and carries it there, over one hop to another gateway where need be. Its world
//! is xDS; it must not know any kind of the control plane, nor talk to an API server.

mod answer;
mod choice;
mod config;
mod forward;
mod headers;
mod health;
mod hop;
mod listeners;
mod metrics;
mod outbound;
mod pages;
mod pool;
mod probe;
mod retry;
mod table;
mod tunnel;
mod worker;

pub use config::{Gateway, GatewayConfig, StartError};
pub use worker::run;
