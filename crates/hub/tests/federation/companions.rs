//! What travels with a workload: there where it is and only there, with its share of the numbers,
//! before it comes and after it goes.

use std::collections::BTreeMap;

use kube::api::{Patch, PatchParams};
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
            let mut there = 0;
            for (api, kind, name) in OTHERS {
                let found = get(&stage.member(member), api, kind, "shop", name).await;
                there += usize::from(found.is_some());
            }
            let web = spec(stage, member, ("apps/v1", "Deployment", "web")).await;
            look(member, !web.is_null(), there);
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
