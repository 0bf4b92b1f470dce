//! Bearer tokens of relays: Secrets of our own type in the system namespace. A token names one
//! member and opens that member's routes only.

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
};

use hanse_api::{MEMBER_LABEL, RELAY_TOKEN_SECRET_TYPE, SYSTEM_NAMESPACE};
use hanse_rt::{Readiness, Rng, TaskSet};
use hanse_xds::Verifier;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt as _};

use crate::Cache;

/// Follows the tokens until `tasks` ends; the verifier says whose a token is.
pub(crate) fn follow(
    tasks: &TaskSet,
    client: &Client,
    readiness: &Readiness,
    rng: Rng,
) -> Verifier {
    let known: Arc<RwLock<BTreeMap<String, String>>> = Arc::default();
    let secrets = Cache::<Secret>::default();
    let table = Arc::clone(&known);
    secrets.on_change(move |_, old, new| {
        let mut table = table.write().expect("no holder of this lock panics");
        if let Some((token, _)) = old.and_then(|secret| read(secret)) {
            table.remove(&token);
        }
        if let Some((token, member)) = new.and_then(|secret| read(secret)) {
            table.insert(token, member);
        }
    });
    let api = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    secrets.follow(tasks, readiness, api, "relay tokens", rng);
    Arc::new(move |token| known.read().expect("no holder of this lock panics").get(token).cloned())
}

fn read(secret: &Secret) -> Option<(String, String)> {
    if secret.type_.as_deref() != Some(RELAY_TOKEN_SECRET_TYPE) {
        return None;
    }
    let member = secret.labels().get(MEMBER_LABEL)?.clone();
    let token = secret.data.as_ref()?.get("token")?;
    Some((String::from_utf8(token.0.clone()).ok()?, member))
}
