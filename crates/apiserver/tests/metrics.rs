//! What the server counts of itself, read from the page that Prometheus reads.
#![expect(clippy::panic, reason = "a test may end by a panic")]

use futures::StreamExt as _;
use hanse_apiserver::ApiServer;
use hanse_rt::Metrics;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams, WatchParams},
};
use serde_json::json;

fn line(metrics: &Metrics, begin: &str) -> String {
    let page = metrics.encode();
    let found = page.lines().find(|line| line.starts_with(begin));
    found.unwrap_or_else(|| panic!("{begin} in {page}")).to_owned()
}

#[tokio::test(start_paused = true)]
async fn requests_watches_and_the_store_are_counted_by_server() {
    let metrics = Metrics::new();
    let server = ApiServer::builder().metrics(metrics.scoped("server", "hub")).build().unwrap();
    let other = ApiServer::builder().metrics(metrics.scoped("server", "aws-1")).build().unwrap();
    let client = Client::new(server.as_user("admin"), "default");
    let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let map = |name: &str| -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
    };
    for name in ["a", "b", "b"] {
        drop(api.create(&PostParams::default(), &map(name)).await);
    }
    api.list(&ListParams::default()).await.unwrap();
    api.get_opt("none").await.unwrap();
    let unknown = http::Request::get("/api/v1/whatever/x/y").body(Vec::new()).unwrap();
    client.request_text(unknown).await.unwrap_err();

    let requests = |labels: &str| {
        line(&metrics, &format!(r#"hanse_api_requests_total{{server="hub",{labels}}}"#))
            .rsplit(' ')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(requests(r#"verb="create",resource="configmaps",code="201""#), "2");
    assert_eq!(requests(r#"verb="create",resource="configmaps",code="409""#), "1");
    assert_eq!(requests(r#"verb="list",resource="configmaps",code="200""#), "1");
    assert_eq!(requests(r#"verb="get",resource="configmaps",code="404""#), "1");
    assert_eq!(requests(r#"verb="get",resource="unknown",code="404""#), "1");
    let took =
        r#"hanse_api_request_seconds_count{server="hub",verb="create",resource="configmaps"}"#;
    assert!(line(&metrics, took).ends_with(" 3"));

    let open = r#"hanse_api_watches{server="hub",resource="configmaps"}"#;
    let mut watch = Box::pin(api.watch(&WatchParams::default(), "0").await.unwrap());
    watch.next().await.unwrap().unwrap();
    assert!(line(&metrics, open).ends_with(" 1"));
    drop(watch);
    assert!(line(&metrics, open).ends_with(" 0"));

    let objects = r#"hanse_api_store_objects{server="hub",resource="configmaps"}"#;
    assert!(line(&metrics, objects).ends_with(" 2"), "{}", line(&metrics, objects));
    let revision = || line(&metrics, r#"hanse_api_store_revision{server="hub"}"#);
    let before = revision();
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(line(&metrics, objects).ends_with(" 1"));
    assert_ne!(revision(), before);
    drop(other);
}

#[tokio::test]
async fn a_store_that_is_opened_again_is_counted_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let open = |metrics: &Metrics| {
        let path = folder.path().join("store");
        ApiServer::builder().durable(path).metrics(metrics.clone()).build().unwrap()
    };
    let first = Metrics::new();
    let server = open(&first);
    let namespaces = r#"hanse_api_store_objects{resource="namespaces"}"#;
    assert!(line(&first, namespaces).ends_with(" 4"));
    let client = Client::new(server.as_user("admin"), "default");
    client.apiserver_version().await.unwrap();
    server.close();
    let second = Metrics::new();
    let again = open(&second);
    assert!(line(&second, namespaces).ends_with(" 4"));
    drop(again);
}
