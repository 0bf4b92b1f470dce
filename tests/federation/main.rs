//! The federation from manifest to replicas, as a user runs it: `hanse up` as a process, kubectl
//! and the command line beside it, faults by the API.

mod bad_input;
mod deploy;
mod drills;
mod endpoint;
mod explain;
mod faults;
mod pages;
mod plan;
mod restart;
mod up;
mod verbs;
