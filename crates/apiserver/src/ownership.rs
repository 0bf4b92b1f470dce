//! Who owns which field: server-side apply and the tracking of all other writes.
//!
//! The rules are those of structured-merge-diff v6, which Kubernetes uses: sets of field paths
//! per manager ([`fields`]), merging by schema ([`typed`]), and the bookkeeping in
//! `metadata.managedFields` ([`managers`]). It knows schemas and values, no requests.

pub(crate) mod fields;
pub(crate) mod managers;
pub(crate) mod typed;

#[cfg(test)]
mod tests;
