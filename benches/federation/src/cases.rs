//! The cases, each on a federation of its own.

pub(crate) mod deploy;
pub(crate) mod drill;
pub(crate) mod fault;
pub(crate) mod restart;
pub(crate) mod scale;
pub(crate) mod start;
