//! Embedded Kubernetes API server as a tower service.
//!
//! One handler serves all kinds; what distinguishes them is data (`data/`). Reading order:
//! [`ApiServer`] and its builder, then `request` (what a request addresses and who handles it),
//! `write` and `read`, `store`. It must not know the kinds of Hanse beyond registered CRDs.
#![forbid(unsafe_code)]

mod metrics;
mod serve;
mod server;
mod service;
mod user;

mod body;
mod failure;
mod request;
mod route;

mod read;
mod selector;
mod table;
mod trail;
mod view;
mod watch;

mod addresses;
mod admission;
mod conform;
mod decode;
mod defaults;
mod delete;
mod events;
mod meta;
mod names;
mod ownership;
mod patch;
mod protobuf;
mod reviews;
mod rules;
mod scale;
mod validation;
mod write;

mod control;
mod store;

mod catalog;
mod crd;
mod definitions;
mod discovery;
mod openapi;
mod schema;

pub use body::Body;
pub use serve::{ServeError, TlsConfig, Tokens};
pub use server::{ApiServer, Builder, OpenError, ServiceRange};
pub use service::UserService;
pub use user::User;
