//! Members, placement rules and history to an assignment, with the reasons.
//! Pure values in and out: no clients, no clocks, no chance but the caller's key.
#![forbid(unsafe_code)]

pub mod checker;
mod divide;
mod engine;
mod fleet;
mod report;
mod request;
mod room;

pub use divide::{Share, divide};
pub use engine::schedule;
pub use fleet::{Fleet, Health, Member, NodeShape, Room, Taint, TaintEffect};
pub use report::{Decision, Refusal, Rejection, Report, Shortfall, Unplaceable};
pub use request::{
    Bounds, DivideBy, LabelRule, Mode, PodNeeds, Request, Selection, TierMode, Toleration, Weight,
};
pub use room::Resources;
