//! Route snapshot to xDS resources, and the aggregated discovery protocol.
