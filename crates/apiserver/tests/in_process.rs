//! The API in process, through an ordinary `kube` client under virtual time.
#![expect(clippy::unwrap_used, reason = "a test may end by a panic")]

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _};
use hanse_apiserver::ApiServer;
use hanse_rt::{Rng, TaskSet, Wall};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Event, Namespace, Pod, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{
        DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, PropagationPolicy,
        WatchEvent, WatchParams,
    },
    core::{ApiResource, GroupVersionKind},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};

struct World {
    server: ApiServer,
    client: Client,
    tasks: TaskSet,
}

fn world() -> World {
    let tasks = TaskSet::new("test");
    let server = ApiServer::builder()
        .wall(Wall::starting_at("2026-01-01T00:00:00Z".parse().unwrap()))
        .rng(Rng::from_seed(7))
        .build()
        .unwrap();
    server.run(&tasks);
    let client = Client::new(server.as_user("system:admin"), "default");
    World { server, client, tasks }
}

fn config_map(name: &str, labels: &[(&str, &str)]) -> ConfigMap {
    let labels: BTreeMap<_, _> = labels.iter().copied().collect();
    serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "registry/main:1"}]},
            },
        },
    })
}

fn ship_definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "ships.hanse.dev"},
        "spec": {
            "group": "hanse.dev",
            "scope": "Namespaced",
            "names": {"kind": "Ship", "plural": "ships"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["masts"], "properties": {
                        "masts": {"type": "integer", "minimum": 1.0},
                        "flag": {"type": "string", "default": "plain"},
                    }, "x-kubernetes-validations": [
                        {"rule": "self.masts <= 5", "message": "too many masts"},
                    ]},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }}},
            }],
        },
    })
}

fn ship(masts: i64) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "hanse.dev/v1", "kind": "Ship", "metadata": {"name": "cog"},
        "spec": {"masts": masts, "unknown": true},
    }))
    .unwrap()
}

/// Lets the background controllers do what they have to.
async fn settle() {
    hanse_rt::sleep(Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn objects_are_created_read_updated_and_deleted() {
    let world = world();
    let api: Api<ConfigMap> = Api::default_namespaced(world.client);
    let created = api.create(&PostParams::default(), &config_map("a", &[])).await.unwrap();
    assert_eq!(created.creation_timestamp().unwrap().0.to_string(), "2026-01-01T00:00:00Z");
    let again = api.create(&PostParams::default(), &config_map("a", &[])).await.unwrap_err();
    assert!(again.to_string().contains("configmaps \"a\" already exists"), "{again}");
    let mut changed = created.clone();
    changed.data = Some([("x".to_owned(), "1".to_owned())].into());
    let updated = api.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert_ne!(updated.resource_version(), created.resource_version());
    let stale = api.replace("a", &PostParams::default(), &changed).await;
    assert!(matches!(stale, Err(kube::Error::Api(status)) if status.is_conflict()));
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_changes_nothing_changes_no_version() {
    let world = world();
    let api: Api<Deployment> = Api::default_namespaced(world.client);
    let params = PatchParams::apply("test");
    let patch = Patch::Apply(deployment("web"));
    let first = api.patch("web", &params, &patch).await.unwrap();
    assert_eq!(first.metadata.generation, Some(1));
    assert_eq!(first.spec.replicas, Some(1));
    hanse_rt::sleep(Duration::from_secs(5)).await;
    let second = api.patch("web", &params, &patch).await.unwrap();
    assert_eq!(first, second);
    let same = api.replace("web", &PostParams::default(), &second).await.unwrap();
    assert_eq!(same, second);
    let merge = Patch::Merge(json!({"spec": {"replicas": 3}}));
    let scaled = api.patch("web", &PatchParams::default(), &merge).await.unwrap();
    assert_eq!(scaled.metadata.generation, Some(2));
    let status = Patch::Merge(json!({"status": {"replicas": 3}}));
    let status = api.patch_status("web", &PatchParams::default(), &status).await.unwrap();
    assert_eq!(status.metadata.generation, Some(2));
    assert_eq!(status.status.unwrap().replicas, Some(3));
}

#[tokio::test(start_paused = true)]
async fn lists_come_in_pages_of_one_snapshot_and_selectors_choose() {
    let world = world();
    let api: Api<ConfigMap> = Api::default_namespaced(world.client);
    settle().await;
    for index in 0..5 {
        let tier = if index % 2 == 0 { "even" } else { "odd" };
        let object = config_map(&format!("c{index}"), &[("tier", tier)]);
        api.create(&PostParams::default(), &object).await.unwrap();
    }
    let params = ListParams::default().labels("tier").limit(2);
    let first = api.list(&params).await.unwrap();
    assert_eq!(first.items.len(), 2);
    api.delete("c4", &DeleteParams::default()).await.unwrap();
    let mut names: Vec<String> = first.items.iter().map(ConfigMap::name_any).collect();
    let mut token = first.metadata.continue_.clone();
    while let Some(next) = token.filter(|token| !token.is_empty()) {
        let page = api.list(&params.clone().continue_token(&next)).await.unwrap();
        assert_eq!(page.metadata.resource_version, first.metadata.resource_version);
        names.extend(page.items.iter().map(ConfigMap::name_any));
        token = page.metadata.continue_;
    }
    assert_eq!(names, ["c0", "c1", "c2", "c3", "c4"]);
    let even = api.list(&ListParams::default().labels("tier=even")).await.unwrap();
    assert_eq!(even.items.len(), 2);
    let named = ListParams::default().fields("metadata.name=c1");
    assert_eq!(api.list(&named).await.unwrap().items.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_watch_continues_after_its_list_without_gaps() {
    let world = world();
    let api: Api<ConfigMap> = Api::default_namespaced(world.client);
    settle().await;
    let list = api.list(&ListParams::default()).await.unwrap();
    let since = list.metadata.resource_version.unwrap();
    api.create(&PostParams::default(), &config_map("a", &[("x", "1")])).await.unwrap();
    let params = WatchParams::default().labels("x=1").timeout(30);
    let mut watch = api.watch(&params, &since).await.unwrap().boxed();
    let next = watch.try_next().await.unwrap().unwrap();
    assert!(matches!(next, WatchEvent::Added(object) if object.name_any() == "a"));
    let patch = Patch::Merge(json!({"metadata": {"labels": {"x": "2"}}}));
    api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    let next = watch.try_next().await.unwrap().unwrap();
    assert!(matches!(next, WatchEvent::Deleted(object) if object.name_any() == "a"));
    let next = watch.try_next().await.unwrap().unwrap();
    assert!(matches!(next, WatchEvent::Bookmark(_)), "the last bookmark");
    assert!(watch.try_next().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn watchers_of_the_runtime_follow_in_both_ways() {
    let world = world();
    let api: Api<ConfigMap> = Api::all(world.client.clone());
    settle().await;
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut objects = watcher(api.clone(), config).touched_objects().boxed();
        for _ in 0..4 {
            let object = objects.try_next().await.unwrap().unwrap();
            assert_eq!(object.name_any(), "kube-root-ca.crt");
        }
        let own: Api<ConfigMap> = Api::default_namespaced(world.client.clone());
        own.create(&PostParams::default(), &config_map("late", &[])).await.unwrap();
        let object = objects.try_next().await.unwrap().unwrap();
        assert_eq!(object.name_any(), "late");
        own.delete("late", &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_behind_the_history_is_told_so() {
    let server = ApiServer::builder().history(4).build().unwrap();
    let client = Client::new(server.as_user("system:admin"), "default");
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    for index in 0..8 {
        let object = config_map(&format!("c{index}"), &[]);
        api.create(&PostParams::default(), &object).await.unwrap();
    }
    let mut watch = api.watch(&WatchParams::default(), "5").await.unwrap().boxed();
    let next = watch.try_next().await.unwrap().unwrap();
    assert!(matches!(next, WatchEvent::Error(status) if status.code == 410));
    assert!(watch.try_next().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn apply_reports_conflicts_and_takes_over_by_force() {
    let world = world();
    let api: Api<Deployment> = Api::default_namespaced(world.client);
    let mut object = deployment("web");
    object["spec"]["replicas"] = 2.into();
    api.patch("web", &PatchParams::apply("one"), &Patch::Apply(&object)).await.unwrap();
    let other = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 5},
    });
    let refused = api.patch("web", &PatchParams::apply("two"), &Patch::Apply(&other)).await;
    let Err(kube::Error::Api(status)) = refused else {
        panic!("no conflict");
    };
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas"
    );
    let forced = PatchParams::apply("two").force();
    let taken = api.patch("web", &forced, &Patch::Apply(&other)).await.unwrap();
    assert_eq!(taken.spec.replicas, Some(5));
    // What the first manager applies no more, and owns no more, stays.
    object["spec"].as_object_mut().unwrap().remove("replicas");
    let left = api.patch("web", &PatchParams::apply("one"), &Patch::Apply(&object)).await.unwrap();
    assert_eq!(left.spec.replicas, Some(5));
}

#[tokio::test(start_paused = true)]
async fn a_definition_serves_its_kind_at_once() {
    let world = world();
    let definitions: Api<DynamicObject> = Api::all_with(
        world.client.clone(),
        &ApiResource::erase::<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>(&()),
    );
    let definition: DynamicObject = serde_json::from_value(ship_definition()).unwrap();
    let created = definitions.create(&PostParams::default(), &definition).await.unwrap();
    let conditions = created.data["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|one| one["type"] == "Established" && one["status"] == "True"));

    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("hanse.dev", "v1", "Ship"));
    let ships: Api<DynamicObject> = Api::default_namespaced_with(world.client.clone(), &kind);
    let refused = ships.create(&PostParams::default(), &ship(0)).await.unwrap_err();
    assert!(refused.to_string().contains("greater than or equal to 1"), "{refused}");
    let refused = ships.create(&PostParams::default(), &ship(6)).await.unwrap_err();
    assert!(refused.to_string().contains("too many masts"), "{refused}");
    let made = ships.create(&PostParams::default(), &ship(2)).await.unwrap();
    assert_eq!(made.data["spec"], json!({"masts": 2, "flag": "plain"}));

    let mut watch = ships.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    assert!(watch.try_next().await.unwrap().is_some());
    definitions.delete("ships.hanse.dev", &DeleteParams::default()).await.unwrap();
    settle().await;
    assert!(definitions.get_opt("ships.hanse.dev").await.unwrap().is_none());
    assert!(ships.list(&ListParams::default()).await.is_err());
    let last = watch.try_next().await.unwrap().unwrap();
    assert!(matches!(last, WatchEvent::Deleted(_)));
    assert!(watch.try_next().await.unwrap().is_none(), "a watch of nothing ends");
}

fn owned_by(owner: &ConfigMap, name: &str, block: bool) -> ConfigMap {
    serde_json::from_value(json!({
        "metadata": {
            "name": name,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(),
                "uid": owner.uid(), "blockOwnerDeletion": block,
            }],
        },
    }))
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn dependents_go_with_their_owner_as_the_deletion_says() {
    let world = world();
    let api: Api<ConfigMap> = Api::default_namespaced(world.client);
    for policy in
        [PropagationPolicy::Background, PropagationPolicy::Foreground, PropagationPolicy::Orphan]
    {
        let orphan = matches!(policy, PropagationPolicy::Orphan);
        let owner = api.create(&PostParams::default(), &config_map("owner", &[])).await.unwrap();
        let child =
            api.create(&PostParams::default(), &owned_by(&owner, "child", true)).await.unwrap();
        api.create(&PostParams::default(), &owned_by(&child, "grandchild", false)).await.unwrap();
        let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
        api.delete("owner", &params).await.unwrap();
        settle().await;
        assert!(api.get_opt("owner").await.unwrap().is_none());
        let child = api.get_opt("child").await.unwrap();
        assert_eq!(child.is_some(), orphan);
        assert_eq!(api.get_opt("grandchild").await.unwrap().is_some(), orphan);
        if let Some(child) = child {
            assert!(child.owner_references().is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let world = world();
    let api: Api<ConfigMap> = Api::default_namespaced(world.client);
    let mut object = config_map("held", &[]);
    object.metadata.finalizers = Some(vec!["hanse.dev/wait".to_owned()]);
    api.create(&PostParams::default(), &object).await.unwrap();
    api.delete("held", &DeleteParams::default()).await.unwrap();
    let marked = api.get("held").await.unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some());
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("held", &PatchParams::default(), &patch).await.unwrap();
    assert!(api.get_opt("held").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_begins_with_its_account_and_ends_with_all_it_holds() {
    let world = world();
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let inside: Api<ConfigMap> = Api::namespaced(world.client.clone(), "shop");
    let early = inside.create(&PostParams::default(), &config_map("a", &[])).await;
    assert!(matches!(early, Err(kube::Error::Api(status)) if status.is_not_found()));
    let namespace: Namespace =
        serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    settle().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), "shop");
    accounts.get("default").await.unwrap();
    inside.delete("kube-root-ca.crt", &DeleteParams::default()).await.unwrap();
    settle().await;
    inside.get("kube-root-ca.crt").await.unwrap();
    for index in 0..600 {
        let object = config_map(&format!("c{index}"), &[]);
        inside.create(&PostParams::default(), &object).await.unwrap();
    }
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    settle().await;
    assert!(namespaces.get_opt("shop").await.unwrap().is_none());
    assert!(inside.list(&ListParams::default()).await.unwrap().items.is_empty());
    assert_eq!(world.tasks.running(), 1, "the controllers still run");
}

#[tokio::test(start_paused = true)]
async fn a_bound_pod_gets_its_grace_period_and_others_go_at_once() {
    let world = world();
    settle().await;
    let api: Api<Pod> = Api::default_namespaced(world.client);
    let pod = |name: &str, node: Option<&str>| -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"nodeName": node, "containers": [{"name": "a", "image": "a"}]},
        }))
        .unwrap()
    };
    api.create(&PostParams::default(), &pod("free", None)).await.unwrap();
    api.create(&PostParams::default(), &pod("bound", Some("n1"))).await.unwrap();
    for name in ["free", "bound"] {
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }
    assert!(api.get_opt("free").await.unwrap().is_none());
    let going = api.get("bound").await.unwrap();
    assert_eq!(going.metadata.deletion_grace_period_seconds, Some(30));
    let now = DeleteParams::default().grace_period(0);
    api.delete("bound", &now).await.unwrap();
    assert!(api.get_opt("bound").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn two_runs_with_one_seed_are_the_same() {
    async fn run() -> String {
        let world = world();
        let api: Api<Deployment> = Api::default_namespaced(world.client);
        let object: Deployment = serde_json::from_value(deployment("web")).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
        settle().await;
        drop(world.server);
        serde_json::to_string(&api.list(&ListParams::default()).await.unwrap()).unwrap()
    }
    assert_eq!(run().await, run().await);
}

#[tokio::test(start_paused = true)]
async fn events_are_forgotten_an_hour_after_they_last_happened() {
    let world = world();
    let api: Api<Event> = Api::default_namespaced(world.client);
    settle().await;
    for (name, last) in [("old", "2026-01-01T00:00:00Z"), ("repeated", "2026-01-01T00:50:00Z")] {
        let event = json!({
            "metadata": {"name": name}, "involvedObject": {"kind": "Pod", "name": "a"},
            "lastTimestamp": last,
        });
        api.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
    }
    hanse_rt::sleep(Duration::from_mins(66)).await;
    assert!(api.get_opt("old").await.unwrap().is_none());
    assert!(api.get_opt("repeated").await.unwrap().is_some());
}
