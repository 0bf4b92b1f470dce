//! What a session keeps of copies.

use serde_json::json;

use super::*;

fn session(tasks: &TaskSet) -> Arc<Session> {
    let silent = tower::service_fn(|_: http::Request<kube::client::Body>| {
        std::future::pending::<Result<http::Response<kube::client::Body>, tower::BoxError>>()
    });
    let client = Client::new(silent, "default");
    let chance = (Rng::from_seed(1), SessionLimits::default());
    Session::start("a", client, "hub", tasks, chance, KindsPool::default(), Arc::new(|_, _| {}))
}

fn key() -> TemplateKey {
    TemplateKey {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: "shop".to_owned(),
        name: "settings".to_owned(),
    }
}

fn at(version: u32, text: &str) -> DynamicObject {
    let annotations = json!({"hanse.dev/binding-name": "shop/settings"});
    serde_json::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": text},
        "metadata": {"name": "settings", "namespace": "shop", "uid": "u",
            "resourceVersion": version.to_string(), "annotations": annotations}}))
    .unwrap()
}

fn version(session: &Session) -> String {
    session.copy(&key()).unwrap().digest.resource_version.clone()
}

#[tokio::test(start_paused = true)]
async fn a_list_holds_against_what_was_known_before_it_and_not_against_a_write_meanwhile() {
    let tasks = TaskSet::new("test");
    let session = session(&tasks);
    session.seen(&key(), at(5000, "new"), None);
    session.seen(&key(), at(4000, "late"), None);
    assert_eq!(version(&session), "5000", "a watch is overtaken by newer news");

    // The member was restored from a backup: its versions begin anew at an older one.
    let begun = session.read().notes;
    session.seen(&key(), at(3000, "old"), Some(begun));
    assert_eq!(version(&session), "3000");
    assert!(session.copy(&key()).unwrap().unseen.is_some(), "it is compared again");

    let begun = session.read().notes;
    session.note_written(&key(), &serde_json::to_value(at(3100, "new")).unwrap());
    session.seen(&key(), at(3000, "old"), Some(begun));
    assert_eq!(version(&session), "3100", "the list was made before the write");
    tasks.kill().await;
}
