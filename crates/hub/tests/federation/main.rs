//! The hub's controllers against hub and members in process, under virtual time. Members run no
//! pods here: a small controller says of each Deployment that it is as it was asked.
#![expect(clippy::unwrap_used, reason = "a test may end by a panic")]

mod bad_input;
mod capacity;
mod claims;
mod companions;
mod evacuation;
mod leftovers;
mod manifests;
mod many;
mod parts;
mod privileges;
mod reasons;
mod restart;
mod rules;
mod simulate;
mod stage;
mod tenants;
mod traces;
mod turns;
mod whole_way;
mod writes;
