//! A place in the world and the distance between two.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Round-trip time inside one cluster.
pub const SAME_CLUSTER: Duration = Duration::ZERO;
/// Round-trip time inside one zone; clouds state well under 1 ms.
pub const SAME_ZONE: Duration = Duration::from_micros(500);
/// Round-trip time between zones of one region; clouds promise single-digit milliseconds.
pub const SAME_REGION: Duration = Duration::from_millis(1);
/// Between regions whose distance nobody declared: half way round the world.
pub const UNDECLARED: Duration = Duration::from_millis(150);

/// Provider, region and, where known, zone.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// Who runs the machines, for instance `aws`.
    pub provider: String,
    /// A region of that provider, for instance `eu-west-1`.
    pub region: String,
    /// A zone of that region; empty where there are none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
}
