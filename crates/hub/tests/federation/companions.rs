//! What travels with a workload: there where it is and only there, with its share of the numbers,
//! before it comes and after it goes.

use std::{collections::BTreeMap, time::Duration};

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::stage::{Stage, deployment, dynamic, eventually, get, policy};

const OTHERS: [(&str, &str, &str); 6] = [
    ("v1", "Service", "web"),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "web"),
    ("policy/v1", "PodDisruptionBudget", "web"),
    ("v1", "ConfigMap", "web-settings"),
    ("v1", "ConfigMap", "shared"),
    ("v1", "Secret", "web-keys"),
];

/// A Deployment of 6 with Service, HPA, PDB, two ConfigMaps and a Secret. Another Deployment, which
/// no policy places, uses the same ConfigMaps.
async fn shop(stage: &Stage) {
    let object = |api: &str, kind: &str, name: &str| json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "shop"}});
    for name in ["web-settings", "shared", "unrelated"] {
        stage.create(object("v1", "ConfigMap", name)).await;
    }
    stage.create(object("v1", "Secret", "web-keys")).await;
    let by_label = json!({"matchLabels": {"app": "web"}});
    let mut service = object("v1", "Service", "web");
    service["spec"] = json!({"selector": {"app": "web"}, "ports": [{"port": 80}]});
    stage.create(service).await;
    let mut scaler = object("autoscaling/v2", "HorizontalPodAutoscaler", "web");
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    scaler["spec"] = json!({"scaleTargetRef": target, "minReplicas": 6, "maxReplicas": 12});
    stage.create(scaler).await;
    let mut budget = object("policy/v1", "PodDisruptionBudget", "web");
    budget["spec"] = json!({"minAvailable": 6, "selector": by_label});
    stage.create(budget).await;
    let mut web = deployment("web", 6);
    let pod = &mut web["spec"]["template"]["spec"];
    pod["volumes"] = json!([{"name": "shared", "configMap": {"name": "shared"}},
        {"name": "keys", "secret": {"secretName": "web-keys"}}]);
    let mut other = deployment("other", 1);
    other["spec"]["template"]["spec"]["volumes"] =
        web["spec"]["template"]["spec"]["volumes"].clone();
    stage.create(other).await;
    stage.create(web).await;
}

async fn spec(stage: &Stage, member: &str, (api, kind, name): (&str, &str, &str)) -> Value {
    let found = get(&stage.member(member), api, kind, "shop", name).await;
    found.map(|object| object["spec"].clone()).unwrap_or_default()
}

async fn place(stage: &Stage, names: &[&str]) {
    let placement = json!({"clusters": [{"names": names}]});
    let selectors = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}]);
    let spec = json!({"placement": placement, "resourceSelectors": selectors});
    if stage.get("hanse.dev/v1alpha1", "PropagationPolicy", "web").await.is_none() {
        stage.create(policy("web", spec)).await;
    } else {
        let spec = json!({"spec": spec});
        stage.patch("hanse.dev/v1alpha1", "PropagationPolicy", "web", spec).await;
    }
}

/// Waits until the workload and all that travels with it are in these members and nowhere else.
/// `look` is asked at each step which of them each member has.
async fn settled(stage: &Stage, names: &[&str], mut look: impl FnMut(&str, bool, usize)) {
    eventually(&format!("everything in {names:?}"), async || {
        let mut done = true;
        for member in stage.members.keys() {
            // What it needs may come, or go, while it is looked for.
            let before = spec(stage, member, ("apps/v1", "Deployment", "web")).await;
            let mut there = 0;
            for (api, kind, name) in OTHERS {
                let found = get(&stage.member(member), api, kind, "shop", name).await;
                there += usize::from(found.is_some());
            }
            let web = spec(stage, member, ("apps/v1", "Deployment", "web")).await;
            look(member, !before.is_null() && !web.is_null(), there);
            let (all, wanted) = (OTHERS.len(), names.contains(&member.as_str()));
            done &= (!web.is_null(), there) == (wanted, if wanted { all } else { 0 });
        }
        done.then_some(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn companions_are_where_their_workload_is_with_their_share_and_move_around_it() {
    let stage = Stage::new().await;
    shop(&stage).await;
    place(&stage, &["aws-1", "gcp-1"]).await;
    // Before the workload comes, what it needs is there.
    let whole = |member: &str, web: bool, there: usize| {
        assert!(!web || there >= 3, "{member} has the workload before what it names: {there}");
    };
    settled(&stage, &["aws-1", "gcp-1"], whole).await;
    let counts = stage.replicas("web").await;
    let three = |names: &[&str]| -> BTreeMap<String, u64> {
        names.iter().map(|name| ((*name).to_owned(), 6 / names.len() as u64)).collect()
    };
    assert_eq!(counts, three(&["aws-1", "gcp-1"]));
    for member in ["aws-1", "gcp-1"] {
        let scaler = spec(&stage, member, OTHERS[1]).await;
        assert_eq!((&scaler["minReplicas"], &scaler["maxReplicas"]), (&json!(3), &json!(6)));
        // An even share would be 3, which would forbid every disruption.
        assert_eq!(spec(&stage, member, OTHERS[2]).await["minAvailable"], 2);
    }
    assert!(stage.holders("v1", "ConfigMap", "unrelated").await.is_empty());

    place(&stage, &["az-1"]).await;
    let mut gone_before = Vec::new();
    settled(&stage, &["az-1"], |member, web, there| {
        if web && there < OTHERS.len() && member != "az-1" {
            gone_before.push((member.to_owned(), there));
        }
    })
    .await;
    assert_eq!(gone_before, [], "a companion went before its workload");
    assert_eq!(stage.replicas("web").await, three(&["az-1"]));
    let scaler = spec(&stage, "az-1", OTHERS[1]).await;
    assert_eq!((&scaler["minReplicas"], &scaler["maxReplicas"]), (&json!(6), &json!(12)));
    assert_eq!(spec(&stage, "az-1", OTHERS[2]).await["minAvailable"], 5);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_of_a_whole_percentage_stays_and_shared_settings_stay_with_who_still_needs_them() {
    let stage = Stage::new().await;
    shop(&stage).await;
    place(&stage, &["aws-1"]).await;
    let other = json!({"resourceSelectors": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}],
        "placement": {"clusters": [{"names": ["gcp-1"]}]}});
    stage.create(policy("other", other)).await;
    eventually("the shared ConfigMap in both", async || {
        let holders = stage.holders("v1", "ConfigMap", "shared").await;
        (holders == ["aws-1", "gcp-1"]).then_some(())
    })
    .await;
    let budget = dynamic(&stage.client(), "policy/v1", "PodDisruptionBudget", "shop");
    let percent = Patch::Merge(json!({"spec": {"minAvailable": "50%"}}));
    budget.patch("web", &PatchParams::default(), &percent).await.unwrap();
    eventually("the percentage", async || {
        let found = spec(&stage, "aws-1", OTHERS[2]).await;
        (found["minAvailable"] == "50%").then_some(())
    })
    .await;
    place(&stage, &["az-1"]).await;
    eventually("the move", async || {
        let holders = stage.holders("apps/v1", "Deployment", "web").await;
        (holders == ["az-1"]).then_some(())
    })
    .await;
    eventually("the shared ConfigMap where it is needed", async || {
        let holders = stage.holders("v1", "ConfigMap", "shared").await;
        (holders == ["az-1", "gcp-1"]).then_some(())
    })
    .await;
    assert_eq!(stage.holders("v1", "Service", "web").await, ["az-1"]);
    stage.end().await;
}

async fn scale(stage: &Stage, member: &str, replicas: u32) {
    let deployments = dynamic(&stage.member(member), "apps/v1", "Deployment", "shop");
    let scaled = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    deployments.patch("web", &PatchParams::default(), &scaled).await.unwrap();
}

async fn ready(stage: &Stage, count: u64) {
    eventually(&format!("{count} ready replicas, all that are wanted"), async || {
        let web = stage.get("apps/v1", "Deployment", "web").await?;
        let available = crate::stage::condition_of(&web, "Available")?["status"] == "True";
        (web["status"]["readyReplicas"] == count && available).then_some(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_in_a_member_keeps_the_count_that_it_sets_for_as_long_as_it_is_there() {
    let stage = Stage::new().await;
    shop(&stage).await;
    place(&stage, &["aws-1", "gcp-1"]).await;
    settled(&stage, &["aws-1", "gcp-1"], |_, _, _| {}).await;
    ready(&stage, 6).await;
    scale(&stage, "aws-1", 5).await;
    scale(&stage, "gcp-1", 2).await;
    ready(&stage, 7).await;
    let live = BTreeMap::from([("aws-1".to_owned(), 5), ("gcp-1".to_owned(), 2)]);
    hanse_rt::sleep(Duration::from_mins(1)).await;
    assert_eq!(stage.replicas("web").await, live, "nobody fights with the autoscaler");

    let image = json!([{"name": "main", "image": "registry/main:2"}]);
    let body = json!({"spec": {"replicas": 8, "template": {"spec": {"containers": image}}}});
    stage.patch("apps/v1", "Deployment", "web", body).await;
    eventually("the new image everywhere", async || {
        for member in live.keys() {
            let web = spec(&stage, member, ("apps/v1", "Deployment", "web")).await;
            if web["template"]["spec"]["containers"][0]["image"] != "registry/main:2" {
                return None;
            }
        }
        Some(())
    })
    .await;
    assert_eq!(stage.replicas("web").await, live, "all but the count is the hub's");
    ready(&stage, 7).await;

    let scalers = dynamic(&stage.client(), OTHERS[1].0, OTHERS[1].1, "shop");
    scalers.delete("web", &DeleteParams::default()).await.unwrap();
    eventually("the shares again", async || {
        let shares = stage.replicas("web").await;
        (shares.values().sum::<u64>() == 8 && shares != live).then_some(())
    })
    .await;
    stage.end().await;
}
