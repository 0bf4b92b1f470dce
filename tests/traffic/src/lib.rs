//! Small fleets over loopback, in three sizes: gateways with discovery fed by the test
//! ([`fleet`]), one member with relay and API below a hub that the test plays ([`member`]), and a
//! whole federation ([`federation`]). Pods name themselves, links can freeze.

pub mod client;
pub mod federation;
pub mod fleet;
pub mod link;
pub mod load;
pub mod member;
pub mod objects;
pub mod pods;

pub use client::{Reply, get, send};
pub use fleet::{Fleet, Site, key};
pub use pods::{Behaviour, Pod};

use std::{future::Future, time::Duration};

/// Longer than anything here may take on a loaded machine; only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within [`PATIENCE`]; `what` is named.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let wait = async {
        while !condition().await {
            hanse_rt::sleep(Duration::from_millis(10)).await;
        }
    };
    hanse_rt::timeout(PATIENCE, wait).await.expect(what);
}
