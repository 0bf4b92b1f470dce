//! Writes to the hub's own objects: merge patches with the version that was read, under one token
//! bucket for status. A conflict reads again and asks again.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_rt::Mono;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::Key;

/// How often a write is tried against a moving object.
const TRIES: usize = 6;

/// A bound on the rate of status writes, shared by all controllers.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    state: Arc<Mutex<Bucket>>,
    /// Who has it in hand takes what it needs, and makes others wait.
    first: bool,
}

#[derive(Debug)]
struct Bucket {
    per_second: u32,
    saved: f64,
    at: Mono,
}

impl TokenBucket {
    /// `per_second` tokens, of which one second's worth may be saved up.
    pub fn new(per_second: u32) -> Self {
        let bucket = Bucket { per_second, saved: f64::from(per_second), at: Mono::now() };
        Self { state: Arc::new(Mutex::new(bucket)), first: false }
    }

    /// The same bucket for those who decide about all others, and must not wait behind them.
    #[must_use]
    pub fn first(&self) -> Self {
        Self { first: true, ..self.clone() }
    }

    /// Waits for a token; one who goes [`first`](Self::first) takes it before it is there.
    pub async fn take(&self) {
        let wait = self.reserve(1);
        if !wait.is_zero() && !self.first {
            hanse_rt::sleep(wait).await;
        }
    }

    /// Takes tokens, and says how long it is until they are there. Who does not wait for them
    /// makes all others wait.
    pub fn reserve(&self, count: u32) -> Duration {
        let mut bucket = self.state.lock().expect("no holder of this lock panics");
        bucket.fill();
        bucket.saved -= f64::from(count);
        Duration::from_secs_f64((-bucket.saved).max(0.0) / f64::from(bucket.per_second))
    }

    /// Takes a token if there is one.
    pub fn try_take(&self) -> bool {
        let mut bucket = self.state.lock().expect("no holder of this lock panics");
        bucket.fill();
        let there = bucket.saved >= 1.0;
        if there {
            bucket.saved -= 1.0;
        }
        there
    }
}

impl Bucket {
    fn fill(&mut self) {
        let now = Mono::now();
        let rate = f64::from(self.per_second);
        let earned = now.duration_since(self.at).as_secs_f64() * rate;
        self.saved = (self.saved + earned).min(rate);
        self.at = now;
    }
}

/// An object of ours whose status is written.
pub trait HasStatus {
    /// Its status.
    type Status: Serialize + Default + Clone + PartialEq;
    /// The status as it is.
    fn status_now(&self) -> Self::Status;
}

macro_rules! has_status {
    ($($kind:ty => $status:ty),* $(,)?) => {$(
        impl HasStatus for $kind {
            type Status = $status;
            fn status_now(&self) -> Self::Status {
                self.status.clone().unwrap_or_default()
            }
        }
    )*};
}

has_status! {
    hanse_api::MemberCluster => hanse_api::MemberClusterStatus,
    hanse_api::Federation => hanse_api::FederationStatus,
    hanse_api::PropagationPolicy => hanse_api::PolicyStatus,
    hanse_api::ClusterPropagationPolicy => hanse_api::PolicyStatus,
    hanse_api::ResourceBinding => hanse_api::ResourceBindingStatus,
    hanse_api::GlobalService => hanse_api::GlobalServiceStatus,
    hanse_api::Drill => hanse_api::DrillStatus,
    hanse_api::OverridePolicy => hanse_api::OverrideStatus,
    hanse_api::ClusterOverridePolicy => hanse_api::OverrideStatus,
    hanse_api::ResourceInterpreter => hanse_api::ResourceInterpreterStatus,
    hanse_api::FederatedManifest => hanse_api::FederatedManifestStatus,
    hanse_api::Tenant => hanse_api::TenantStatus,
}

/// Changes the status of an object. `change` is called again with the newest status when somebody
/// else wrote meanwhile, so it must say only what is its own. Nothing is written when nothing
/// changes. Returns the object as it then is; none when it is gone.
///
/// # Errors
/// The API refuses or does not answer; try again later.
pub async fn change_status<K>(
    api: &Api<K>,
    bucket: &TokenBucket,
    known: Arc<K>,
    change: impl FnMut(&mut K::Status),
) -> Result<Option<Arc<K>>, kube::Error>
where
    K: Resource + HasStatus + Clone + Debug + DeserializeOwned,
{
    write_status(api, Some(bucket), known, change).await
}

/// The same; without a bucket for who has its token already.
///
/// # Errors
/// The API refuses or does not answer; try again later.
pub(crate) async fn write_status<K>(
    api: &Api<K>,
    bucket: Option<&TokenBucket>,
    known: Arc<K>,
    mut change: impl FnMut(&mut K::Status),
) -> Result<Option<Arc<K>>, kube::Error>
where
    K: Resource + HasStatus + Clone + Debug + DeserializeOwned,
{
    let mut known = known;
    let name = known.name_any();
    let mut attempt = 0;
    loop {
        let before = known.status_now();
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Ok(Some(known));
        }
        if let Some(bucket) = bucket {
            bucket.take().await;
        }
        let patch = merge_patch(&to_value(&before), &to_value(&after));
        let body = json!({
            "metadata": {"resourceVersion": known.resource_version()},
            "status": patch,
        });
        match api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&body)).await {
            Ok(written) => return Ok(Some(Arc::new(written))),
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(None),
            Err(kube::Error::Api(status)) if status.is_conflict() && attempt + 1 < TRIES => {
                attempt += 1;
                match api.get_opt(&name).await? {
                    Some(newer) => known = Arc::new(newer),
                    None => return Ok(None),
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// The API of a kind in the namespace of a key.
pub fn namespaced<K>(client: &Client, key: &Key) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope>,
    K::DynamicType: Default,
{
    Api::namespaced(client.clone(), &key.namespace)
}

pub(crate) fn to_value(part: &impl Serialize) -> Value {
    serde_json::to_value(part).expect("our kinds are plain data")
}

/// The JSON merge patch that turns one value into another.
pub(crate) fn merge_patch(before: &Value, after: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return after.clone();
    };
    let mut patch = serde_json::Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        match old.get(key) {
            Some(known) if known == value => {}
            Some(known) => {
                patch.insert(key.clone(), merge_patch(known, value));
            }
            None => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_names_what_changes_and_nothing_else() {
        let before = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1], "f": true});
        let after = json!({"a": 1, "b": {"c": 1, "d": 3}, "e": [1, 2], "g": null});
        assert_eq!(
            merge_patch(&before, &after),
            json!({"b": {"d": 3}, "e": [1, 2], "f": null, "g": null})
        );
        assert_eq!(merge_patch(&before, &before), json!({}));
    }

    #[tokio::test(start_paused = true)]
    async fn the_bucket_holds_the_rate() {
        let bucket = TokenBucket::new(10);
        let start = Mono::now();
        for _ in 0..30 {
            bucket.take().await;
        }
        let took = start.elapsed();
        assert!(
            took >= Duration::from_millis(1900) && took <= Duration::from_millis(2200),
            "{took:?}"
        );
        assert!(!bucket.try_take());
        let start = Mono::now();
        bucket.first().take().await;
        assert_eq!(start.elapsed(), Duration::ZERO, "who goes first makes others wait");
        bucket.take().await;
        assert!(start.elapsed() >= Duration::from_millis(190));
    }
}
