//! The durable store: what was acknowledged is there again, whatever happened between.
#![expect(clippy::unwrap_used, reason = "a test may end by a panic")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use futures::{StreamExt as _, TryStreamExt as _};
use hanse_apiserver::{ApiServer, OpenError};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt as _,
    api::{
        DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent,
        WatchParams,
    },
    core::{ApiResource, GroupVersionKind},
};
use serde_json::json;

/// Where the writing child finds its store; see [`writes_until_it_is_killed`].
const STORE: &str = "HANSE_TEST_STORE";

fn open(path: &Path) -> Result<ApiServer, OpenError> {
    ApiServer::builder().durable(path).build()
}

fn client(server: &ApiServer) -> Client {
    Client::new(server.as_user("system:admin"), "default")
}

fn maps(server: &ApiServer) -> Api<ConfigMap> {
    Api::default_namespaced(client(server))
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}

fn definition() -> serde_json::Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "ships.hanse.dev"},
        "spec": {
            "group": "hanse.dev", "scope": "Namespaced",
            "names": {"kind": "Ship", "plural": "ships"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "selectableFields": [{"jsonPath": ".masts"}],
                "schema": {"openAPIV3Schema": {"type": "object",
                    "x-kubernetes-preserve-unknown-fields": true,
                        "properties": {"masts": {"type": "integer"}}}}}],
        },
    })
}

#[tokio::test]
async fn objects_versions_and_definitions_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let ship = ApiResource::from_gvk(&GroupVersionKind::gvk("hanse.dev", "v1", "Ship"));
    let (created, revision) = {
        let server = open(&path).unwrap();
        let api = maps(&server);
        let created = api.create(&PostParams::default(), &config_map("kept")).await.unwrap();
        api.create(&PostParams::default(), &config_map("gone")).await.unwrap();
        api.delete("gone", &DeleteParams::default()).await.unwrap();
        let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
        let definitions: Api<DynamicObject> =
            Api::all_with(client(&server), &ApiResource::from_gvk(&kind));
        let params = PatchParams::apply("test");
        definitions.patch("ships.hanse.dev", &params, &Patch::Apply(definition())).await.unwrap();
        let ships: Api<DynamicObject> = Api::default_namespaced_with(client(&server), &ship);
        let cog = json!({
            "apiVersion": "hanse.dev/v1", "kind": "Ship",
            "metadata": {"name": "cog"}, "masts": 1,
        });
        ships.patch("cog", &params, &Patch::Apply(cog)).await.unwrap();
        let list = api.list(&ListParams::default()).await.unwrap();
        server.close();
        let late = api.create(&PostParams::default(), &config_map("late")).await;
        assert!(late.unwrap_err().to_string().contains("it was closed"));
        (created, list.metadata.resource_version.unwrap())
    };
    let server = open(&path).unwrap();
    let api = maps(&server);
    assert_eq!(api.get("kept").await.unwrap(), created);
    assert!(api.get_opt("gone").await.unwrap().is_none());
    let ships: Api<DynamicObject> = Api::default_namespaced_with(client(&server), &ship);
    assert_eq!(ships.get("cog").await.unwrap().data["masts"], 1);
    let chosen = ListParams::default().fields("masts=1");
    assert_eq!(ships.list(&chosen).await.unwrap().items.len(), 1);
    let list = api.list(&ListParams::default()).await.unwrap();
    assert_eq!(list.metadata.resource_version.as_ref(), Some(&revision));
    // A client that had seen everything goes on; one that had not must list again.
    let mut watch = api.watch(&WatchParams::default(), &revision).await.unwrap().boxed();
    api.create(&PostParams::default(), &config_map("new")).await.unwrap();
    let next = watch.try_next().await.unwrap().unwrap();
    assert!(matches!(next, WatchEvent::Added(object) if object.name_any() == "new"));
    let mut watch = api.watch(&WatchParams::default(), "3").await.unwrap().boxed();
    let next = watch.try_next().await.unwrap().unwrap();
    assert!(matches!(next, WatchEvent::Error(status) if status.code == 410));
}

#[tokio::test]
async fn a_store_in_use_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let server = open(&path).unwrap();
    let refused = open(&path).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    assert!(refused.to_string().contains("in use by another running instance"));
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&path).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600, "others must not read secrets");
    }
    drop(server);
    open(&path).unwrap();
}

#[tokio::test]
async fn a_damaged_store_is_reported_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let server = open(&path).unwrap();
    for index in 0..50 {
        let object = config_map(&format!("c{index}"));
        maps(&server).create(&PostParams::default(), &object).await.unwrap();
    }
    server.close();
    let whole = std::fs::read(&path).unwrap();
    let overwritten: Vec<u8> =
        whole.iter().enumerate().map(|(at, byte)| if at < 4096 { *byte } else { 0x5a }).collect();
    let cases = [
        ("no store at all", b"hello, world".repeat(1000)),
        ("empty", Vec::new()),
        ("cut off", whole[..whole.len() / 3].to_vec()),
        ("pages overwritten", overwritten),
    ];
    for (what, content) in cases {
        std::fs::write(&path, &content).unwrap();
        let refused = open(&path);
        let Err(OpenError::Damaged { .. }) = refused else {
            panic!("{what}: {refused:?}");
        };
        assert_eq!(std::fs::read(&path).unwrap(), content, "{what}");
    }
}

/// Not a test by itself: what [`an_acknowledged_write_survives_a_kill`] starts and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by another test, as a process to be killed"]
async fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(STORE) else {
        return;
    };
    let server = open(Path::new(&path)).unwrap();
    let writers = (0..8).map(|writer| {
        let api = maps(&server);
        async move {
            for index in 0.. {
                let name = format!("w{writer}-{index}");
                api.create(&PostParams::default(), &config_map(&name)).await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "written {name}").unwrap();
                out.flush().unwrap();
            }
        }
    });
    futures::future::join_all(writers).await;
}

#[tokio::test]
async fn an_acknowledged_write_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "writes_until_it_is_killed"])
            .env(STORE, folder.path().join(format!("{round}.redb")))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let names = lines.map_while(Result::ok).filter_map(|line| {
            let (_, name) = line.split_once("written ")?;
            Some(name.to_owned())
        });
        acknowledged.clear();
        for name in names {
            acknowledged.push(name);
            if acknowledged.len() == 100 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acknowledged.len() >= 100 * round);
        let server = open(&folder.path().join(format!("{round}.redb"))).unwrap();
        let list = maps(&server).list(&ListParams::default()).await.unwrap();
        let found: std::collections::BTreeSet<String> =
            list.items.iter().map(ConfigMap::name_any).collect();
        for name in &acknowledged {
            assert!(found.contains(name), "{name} was acknowledged and is gone");
        }
    }
}
