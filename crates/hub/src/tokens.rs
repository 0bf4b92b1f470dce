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

use crate::{Cache, Key};

/// Whose a token is, by the Secret that says so.
type Table = BTreeMap<String, BTreeMap<Key, String>>;

/// Follows the tokens until `tasks` ends; the verifier says whose a token is. One that Secrets
/// give to several members is nobody's.
pub(crate) fn follow(
    tasks: &TaskSet,
    client: &Client,
    readiness: &Readiness,
    rng: Rng,
) -> Verifier {
    let known: Arc<RwLock<Table>> = Arc::default();
    let secrets = Cache::<Secret>::default();
    let table = Arc::clone(&known);
    secrets.on_change(move |key, old, new| {
        let mut table = table.write().expect("no holder of this lock panics");
        if let Some((token, _)) = old.and_then(|secret| read(secret))
            && let Some(holders) = table.get_mut(&token)
        {
            holders.remove(key);
            if holders.is_empty() {
                table.remove(&token);
            }
        }
        if let Some((token, member)) = new.and_then(|secret| read(secret)) {
            table.entry(token).or_default().insert(key.clone(), member);
        }
    });
    let api = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    secrets.follow(tasks, readiness, api, "relay tokens", rng);
    Arc::new(move |token| {
        let table = known.read().expect("no holder of this lock panics");
        let mut members = table.get(token)?.values();
        let member = members.next()?;
        members.all(|other| other == member).then(|| member.clone())
    })
}

fn read(secret: &Secret) -> Option<(String, String)> {
    if secret.type_.as_deref() != Some(RELAY_TOKEN_SECRET_TYPE) {
        return None;
    }
    let member = secret.labels().get(MEMBER_LABEL)?.clone();
    let token = String::from_utf8(secret.data.as_ref()?.get("token")?.0.clone()).ok()?;
    (!token.is_empty()).then_some((token, member))
}

#[cfg(test)]
mod tests {
    use hanse_apiserver::ApiServer;
    use k8s_openapi::api::core::v1::Namespace;
    use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
    use serde_json::json;

    use super::*;

    struct Case {
        verifier: Verifier,
        secrets: Api<Secret>,
        tasks: TaskSet,
    }

    impl Case {
        async fn new() -> Self {
            let (tasks, readiness) = (TaskSet::new("test"), Readiness::new());
            let server = ApiServer::builder().rng(Rng::from_seed(1)).build().unwrap();
            let client = Client::new(server.as_user("hub"), "default");
            let namespace = serde_json::from_value(json!({"metadata": {"name": SYSTEM_NAMESPACE}}));
            let namespaces: Api<Namespace> = Api::all(client.clone());
            namespaces.create(&PostParams::default(), &namespace.unwrap()).await.unwrap();
            let verifier = follow(&tasks, &client, &readiness, Rng::from_seed(2));
            readiness.ready().await;
            Self { verifier, secrets: Api::namespaced(client, SYSTEM_NAMESPACE), tasks }
        }

        async fn create(&self, name: &str, type_: &str, member: Option<&str>, token: &str) {
            let labels = member.map(|member| json!({MEMBER_LABEL: member}));
            let secret = json!({"metadata": {"name": name, "labels": labels}, "type": type_,
                "stringData": {"token": token}});
            let secret = serde_json::from_value(secret).unwrap();
            self.secrets.create(&PostParams::default(), &secret).await.unwrap();
        }

        /// Waits until a token is this member's, or nobody's.
        async fn until(&self, token: &str, member: Option<&str>) {
            let limit = std::time::Duration::from_mins(1);
            let waiting = hanse_rt::timeout(limit, async {
                while (self.verifier)(token).as_deref() != member {
                    hanse_rt::sleep(std::time::Duration::from_millis(10)).await;
                }
            });
            waiting.await.unwrap_or_else(|_| panic!("{token} is never of {member:?}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_opens_the_routes_of_its_member_until_it_is_changed_or_deleted() {
        let case = Case::new().await;
        case.create("one", RELAY_TOKEN_SECRET_TYPE, Some("aws-1"), "first").await;
        case.until("first", Some("aws-1")).await;
        let rotated = Patch::Merge(json!({"stringData": {"token": "second"}}));
        case.secrets.patch("one", &PatchParams::default(), &rotated).await.unwrap();
        case.until("second", Some("aws-1")).await;
        assert_eq!((case.verifier)("first"), None);
        let moved = Patch::Merge(json!({"metadata": {"labels": {MEMBER_LABEL: "gcp-1"}}}));
        case.secrets.patch("one", &PatchParams::default(), &moved).await.unwrap();
        case.until("second", Some("gcp-1")).await;
        case.secrets.delete("one", &DeleteParams::default()).await.unwrap();
        case.until("second", None).await;
        case.tasks.kill().await;
    }

    #[tokio::test(start_paused = true)]
    async fn only_secrets_of_our_own_type_with_a_member_open_anything() {
        let case = Case::new().await;
        case.create("opaque", "Opaque", Some("aws-1"), "opaque").await;
        case.create("nobodys", RELAY_TOKEN_SECRET_TYPE, None, "nobodys").await;
        case.create("empty", RELAY_TOKEN_SECRET_TYPE, Some("aws-1"), "").await;
        case.create("good", RELAY_TOKEN_SECRET_TYPE, Some("az-1"), "good").await;
        // They were all made before this one.
        case.until("good", Some("az-1")).await;
        for token in ["opaque", "nobodys", "", "unknown"] {
            assert_eq!((case.verifier)(token), None, "{token:?}");
        }
        case.tasks.kill().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_two_secrets_hold_stays_when_one_of_them_goes() {
        let case = Case::new().await;
        case.create("old", RELAY_TOKEN_SECRET_TYPE, Some("aws-1"), "same").await;
        case.create("new", RELAY_TOKEN_SECRET_TYPE, Some("aws-1"), "same").await;
        case.create("last", RELAY_TOKEN_SECRET_TYPE, Some("az-1"), "other").await;
        case.until("other", Some("az-1")).await;
        case.secrets.delete("old", &DeleteParams::default()).await.unwrap();
        case.secrets.delete("last", &DeleteParams::default()).await.unwrap();
        case.until("other", None).await;
        assert_eq!((case.verifier)("same").as_deref(), Some("aws-1"));
        case.tasks.kill().await;
    }
}
