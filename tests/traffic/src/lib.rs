//! A small fleet over loopback: gateways with discovery fed by the test, pods that name
//! themselves, and links between clusters that can freeze. No Kubernetes anywhere.

pub mod client;
pub mod fleet;
pub mod link;
pub mod member;
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
