//! A watch that never ends: it lists, follows, lists again after a loss, and waits longer after
//! each failure.

use std::{fmt::Debug, time::Duration};

use futures::StreamExt as _;
use hanse_rt::{Backoff, Rng};
use kube::{
    Api,
    runtime::watcher::{self, Event},
};
use serde::de::DeserializeOwned;

/// What a watch brings.
#[derive(Debug)]
pub enum Watched<K> {
    /// A list begins; what it does not name is gone once it ends.
    Listing,
    /// An object of the list.
    Listed(K),
    /// The list is whole.
    Synced,
    /// An object is new or has changed.
    Applied(K),
    /// An object is gone.
    Deleted(K),
    /// The server does not answer, or refuses; the watch goes on by itself.
    Failed(String),
}

/// Follows all objects of `api` until it is dropped. `labels` restricts them.
pub async fn run<K>(api: Api<K>, labels: Option<String>, rng: Rng, mut on: impl FnMut(Watched<K>))
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    // Shorter than kube's 290 s: a stream that went silent in a cut is noticed by its end.
    let config =
        watcher::Config { label_selector: labels, ..watcher::Config::default() }.timeout(60);
    let mut events = std::pin::pin!(watcher::watcher(api, config));
    let mut backoff = Backoff::new(rng, Duration::from_millis(100), Duration::from_secs(5));
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                backoff.reset();
                on(match event {
                    Event::Init => Watched::Listing,
                    Event::InitApply(object) => Watched::Listed(object),
                    Event::InitDone => Watched::Synced,
                    Event::Apply(object) => Watched::Applied(object),
                    Event::Delete(object) => Watched::Deleted(object),
                });
            }
            Err(error) => {
                on(Watched::Failed(error.to_string()));
                hanse_rt::sleep(backoff.next_delay()).await;
            }
        }
    }
}
