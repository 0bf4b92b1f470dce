//! Members, placement rules and history to an assignment, with the reasons.
//! Pure values in and out: no clients, no clocks, no chance but the caller's key.
#![forbid(unsafe_code)]

mod assignment;
mod bits;
mod candidate;
pub mod checker;
mod choose;
mod divide;
mod exact;
mod filter;
mod fleet;
mod kept;
mod losses;
mod planner;
mod report;
mod request;
mod room;
mod scratch;
mod share;
mod survive;

pub use assignment::Assignment;
pub use divide::{Share, divide};
pub use fleet::{Fleet, Health, Member, Taint, TaintEffect};
pub use losses::{Loss, Losses, Spare, Turn};
pub use planner::{Explanation, Planner, schedule};
pub use report::{Cause, Decision, Note, Refusal, Rejection, Report, Row, Shortfall, Unplaceable};
pub use request::{
    Bounds, DivideBy, Enforce, LabelRule, Mode, Others, PodNeeds, Request, Rules, Selection, Skew,
    Spread, Standby, Survive, TierMode, Toleration, Topology, Weight,
};
pub use room::{Elastic, HOSTNAME, NodeClass, NodeShape, Nodes, Resources, Room};
pub use survive::Ledger;
