//! Controllers of the federation. Each one observes, plans and applies: observing gathers, planning
//! asks the engines and is pure, applying writes. Nothing here opens a socket: clients come from
//! the connector that the caller gives.
#![forbid(unsafe_code)]

mod cache;
mod capacity;
mod demand;
pub mod drill;
pub mod events;
pub mod explain;
mod failover;
pub mod foreign;
mod health;
mod hub;
mod manifests;
mod marks;
pub mod membership;
mod metrics;
pub mod placement;
mod policies;
pub mod propagation;
mod queue;
pub mod room;
mod rules;
mod session;
mod standing;
pub mod status;
pub mod sync;
mod templates;
mod tenants;
mod tokens;
mod traces;
pub mod traffic;
mod world;
pub mod write;

pub use cache::{Cache, Key, Ticket};
pub use hub::{Hub, HubConfig, HubError, Traffic};
pub use metrics::{DECISIONS, VIOLATIONS};
pub use policies::{Policies, Policy, PolicyKey, PolicyKind, Selector, Specificity};
pub use queue::Queue;
pub use rules::{RuleBook, Ruling};
pub use session::{Copy, Session, SessionEvent, SessionLimits, Sight};
pub use standing::Standing;
pub use templates::{Template, TemplateKey, Templates};
pub use tenants::{Lease, Tenancy, Tenants};
pub use world::{Evacuation, Evacuations, Means, Objects, World};
pub use write::TokenBucket;

pub(crate) use hub::{Worked, work};
