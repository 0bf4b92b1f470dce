//! Simulated member clusters: nodes, pods and built-in controllers on the embedded API server,
//! pods that answer, links between clusters, and faults. The kubelet and the scheduler are
//! ordinary clients and run against real control planes too. Knows nothing of the hub.
#![forbid(unsafe_code)]

pub mod action;
pub mod connector;
pub mod controllers;
pub mod engine;
pub mod faults;
pub mod kubelet;
pub mod links;
pub mod member;
pub mod nodes;
pub mod objects;
pub mod quantity;
pub mod responder;
pub mod shallow;
pub mod world;
