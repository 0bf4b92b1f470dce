//! Copies that no binding names any more. What a session is asked about it follows; of other kinds
//! a new session looks once whether the member still has a copy that this hub made, so that what a
//! former process left behind is found again. A look is one list of at most one name; only where
//! it finds something the kind is followed.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_rt::Backoff;
use kube::{Api, api::ListParams, core::DynamicObject};
use tokio::sync::Notify;

use super::{Session, SessionEvent};

/// What is named there is followed before the rest is looked for.
const LOOK_DELAY: Duration = Duration::from_secs(1);
/// Until a look that failed is tried again, at first and at most.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What is looked for.
#[derive(Debug, Default)]
pub(super) struct Sought {
    /// Kinds to look for, as API version and kind; absent before it was said which.
    kinds: Mutex<Option<BTreeSet<(String, String)>>>,
    changed: Notify,
}

impl Session {
    /// Looks for copies of these kinds, unless they are followed.
    pub(crate) fn look_for(&self, kinds: Vec<(String, String)>) {
        {
            let copies = self.read();
            let unknown = kinds.into_iter().filter(|(api_version, kind)| {
                !copies.watched.contains(&format!("{api_version}/{kind}"))
            });
            let mut sought = self.sought.lock();
            sought.get_or_insert_default().extend(unknown);
        }
        self.sought.changed.notify_one();
    }

    /// Whether there may be copies of a kind that were not found yet.
    pub(crate) fn may_find(&self, api_version: &str, kind: &str) -> bool {
        let sought = self.sought.lock();
        sought.as_ref().is_none_or(|kinds| {
            kinds.iter().any(|(known, one)| known == api_version && one == kind)
        })
    }

    pub(super) async fn look(self: Arc<Self>) {
        let rng = self.rng.fork("look", "");
        let mut backoff = Backoff::new(rng, LOOK_AGAIN.0, LOOK_AGAIN.1);
        loop {
            self.sought.changed.notified().await;
            hanse_rt::sleep(LOOK_DELAY).await;
            while self.look_at_all().await > 0 {
                hanse_rt::sleep(backoff.next_delay()).await;
            }
            backoff.reset();
        }
    }

    /// Looks at each kind once; how many are left.
    async fn look_at_all(self: &Arc<Self>) -> usize {
        let sought = self.sought.lock().clone().unwrap_or_default();
        let mut left = 0;
        for wanted in sought {
            let answer = self.look_at(&wanted.0, &wanted.1).await;
            if let Err(error) = &answer
                && !is_final(error)
            {
                tracing::debug!(member = self.name, ?wanted, %error, "looked for in vain");
                left += 1;
                continue;
            }
            if let Some(kinds) = self.sought.lock().as_mut() {
                kinds.remove(&wanted);
            }
            if let Ok(false) = answer {
                let id = format!("{}/{}", wanted.0, wanted.1);
                self.write().empty.insert(id.clone());
                self.announce(SessionEvent::Synced(id));
            }
        }
        left
    }

    /// Whether the member may have copies of a kind; those are followed from now on.
    async fn look_at(self: &Arc<Self>, api_version: &str, kind: &str) -> Result<bool, kube::Error> {
        let served = self.kinds().and_then(|kinds| kinds.get(api_version, kind).cloned());
        let Some(served) = served else {
            // A kind that is served later is asked for again.
            return Ok(true);
        };
        if self.read().watched.contains(&format!("{api_version}/{kind}")) {
            return Ok(true);
        }
        let api: Api<DynamicObject> = Api::all_with(self.client(), &served.resource);
        let labels = format!("{}={}", hanse_api::marks::HUB_LABEL, self.hub_id);
        let found = api.list_metadata(&ListParams::default().labels(&labels).limit(1)).await?;
        let any = !found.items.is_empty() || found.metadata.continue_.is_some();
        if any {
            self.follow(api_version, kind);
        }
        Ok(any)
    }
}

impl Sought {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<BTreeSet<(String, String)>>> {
        self.kinds.lock().expect("no holder of this lock panics")
    }
}

/// Whether asking again brings the same answer.
fn is_final(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status)
        if (400..500).contains(&status.code) && ![408, 429].contains(&status.code))
}
