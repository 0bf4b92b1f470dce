//! What the hub says to input that cannot be followed.

use hanse_hub::foreign::refuse_foreign_controllers;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::stage::{
    Stage, condition_of, create, deployment, dynamic, eventually, get, member, policy,
};

const GROUP: &str = "hanse.dev/v1alpha1";

async fn refusal(stage: &Stage, object: Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let namespace = text(&object["metadata"]["namespace"]);
    let api =
        dynamic(&stage.client(), &text(&object["apiVersion"]), &text(&object["kind"]), &namespace);
    let object = serde_json::from_value(object).unwrap();
    let params = kube::api::PostParams {
        field_manager: Some("test".to_owned()),
        ..kube::api::PostParams::default()
    };
    api.create(&params, &object).await.unwrap_err().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_bad_policy_is_refused_when_it_is_applied() {
    let stage = Stage::new().await;
    let bounds = json!({"placement": {"replicas": {"bounds": [{"min": 3, "max": 2}]}}});
    let text = refusal(&stage, policy("p", bounds)).await;
    assert!(text.contains("min is above max: write a min that is at most max"), "{text}");
    let weights = json!({"placement": {"replicas": {
        "strategy": "Weighted", "weights": [{"weight": 0}]}}});
    let text = refusal(&stage, policy("p", weights)).await;
    assert!(text.contains("spec.placement.replicas.weights[0].weight"), "{text}");
    assert!(text.contains("greater than or equal to 1"), "{text}");
    let selected = |operator: &str, values: Value| {
        let rule = json!({"key": "tier", "operator": operator, "values": values});
        let clusters = json!({"selector": {"matchExpressions": [rule]}});
        policy(
            "p",
            json!({"placement": {"replicas": {"bounds": [{"clusters": clusters, "max": 2}]}}}),
        )
    };
    let text = refusal(&stage, selected("in", json!(["gold"]))).await;
    let field = "spec.placement.replicas.bounds[0].clusters.selector.matchExpressions[0]";
    assert!(text.contains(&format!("{field}.operator")), "{text}");
    assert!(text.contains("Unsupported value: \"in\": supported values: \"In\""), "{text}");
    let text = refusal(&stage, selected("Exists", json!(["gold"]))).await;
    assert!(text.contains("Exists and DoesNotExist take none"), "{text}");
    let text = refusal(&stage, selected("In", json!([]))).await;
    assert!(text.contains("In and NotIn need values"), "{text}");
    let wide = json!({"apiVersion": GROUP, "kind": "ClusterPropagationPolicy",
        "metadata": {"name": "p"},
        "spec": {"resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}]}});
    let text = refusal(&stage, wide).await;
    assert!(text.contains("this kind lives in namespaces: write namespaces: [names]"), "{text}");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_selector_that_matches_nothing_is_said_on_the_policy() {
    let stage = Stage::new().await;
    stage.create(policy("p", json!({}))).await;
    let matched =
        stage.condition(GROUP, "PropagationPolicy", "shop", "p", "Matched", "False").await;
    assert_eq!(matched["reason"], "NothingMatched");
    assert_eq!(matched["message"], "no object matches: apps/v1 Deployment in namespace shop");
    stage.create(deployment("web", 1)).await;
    stage.condition(GROUP, "PropagationPolicy", "shop", "p", "Matched", "True").await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn of_two_policies_the_loser_names_the_winner() {
    let stage = Stage::new().await;
    stage.create(deployment("web", 1)).await;
    stage.create(policy("weak", json!({}))).await;
    stage.create(policy("strong", json!({"priority": 10}))).await;
    let accepted =
        stage.condition(GROUP, "PropagationPolicy", "shop", "weak", "Accepted", "False").await;
    assert_eq!(accepted["reason"], "Outranked");
    assert_eq!(accepted["message"], "lost Deployment shop/web to PropagationPolicy shop/strong");
    stage.condition(GROUP, "PropagationPolicy", "shop", "strong", "Accepted", "True").await;
    let binding = eventually("the winner's binding", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        (binding["spec"]["policy"]["name"] == "strong").then_some(binding)
    })
    .await;
    assert_eq!(binding["spec"]["policy"]["kind"], "PropagationPolicy");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_no_member_serves_is_named() {
    let stage = Stage::new().await;
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object",
                    "x-kubernetes-preserve-unknown-fields": true}}}]}});
    stage.create(crd).await;
    let mut widgets = policy("widgets", json!({}));
    widgets["spec"]["resourceSelectors"] =
        json!([{"apiVersion": "example.com/v1", "kind": "Widget"}]);
    stage.create(widgets).await;
    stage
        .create(json!({"apiVersion": "example.com/v1", "kind": "Widget",
            "metadata": {"name": "w", "namespace": "shop"}}))
        .await;
    let scheduled = eventually("the decision", async || {
        let binding = stage.binding("example.com/v1", "Widget", "w").await;
        condition_of(&binding, "Scheduled").filter(|found| found["status"] == "False")
    })
    .await;
    assert_eq!(scheduled["reason"], "NoClusterFits");
    assert_eq!(
        scheduled["message"],
        "no cluster is possible: KindNotServed 3 (aws-1, az-1, gcp-1)"
    );
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_unmanaged_object_of_the_same_name_is_left_alone_and_said_so() {
    let stage = Stage::new().await;
    let there = stage.member("gcp-1");
    let metadata = json!({"name": "shop"});
    create(&there, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})).await;
    let mut own = deployment("web", 7);
    own["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry/own:1");
    create(&there, own).await;
    stage.create(policy("all", json!({}))).await;
    stage.create(deployment("web", 6)).await;
    let applied = eventually("the conflict", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        condition_of(&binding, "Applied").filter(|found| found["reason"] == "Conflict")
    })
    .await;
    assert_eq!(
        applied["message"],
        "member gcp-1 has a Deployment shop/web of this name that Hanse did not make: rename one \
         of them, delete it there, or take it over with conflict: Overwrite in a \
         ClusterPropagationPolicy"
    );
    let copy = get(&there, "apps/v1", "Deployment", "shop", "web").await.unwrap();
    assert_eq!(copy["spec"]["replicas"], 7);
    assert_eq!(copy["metadata"]["labels"].get("hanse.dev/hub"), None);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_no_cluster_can_hold_says_what_is_missing() {
    let stage = Stage::with_nodes(1).await;
    stage.create(policy("all", json!({}))).await;
    stage.create(deployment("web", 30)).await;
    let scheduled = eventually("the shortfall", async || {
        let binding = stage.binding("apps/v1", "Deployment", "web").await;
        condition_of(&binding, "Scheduled").filter(|found| found["reason"] == "NoRoom")
    })
    .await;
    assert_eq!(
        scheduled["message"],
        "6 of 30 replicas have no room; missing: cpu 3, memory 384Mi; 3 clusters considered: the \
         possible clusters are full"
    );
    let binding = stage.binding("apps/v1", "Deployment", "web").await;
    assert_eq!(binding["spec"]["decision"]["shortfall"]["replicas"], 6);
    assert_eq!(stage.replicas("web").await.len(), 0);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_cluster_under_two_names_is_refused() {
    let mut stage = Stage::new().await;
    stage.crash().await;
    let twin = stage.members["aws-1"].clone();
    stage.members.insert("twin".to_owned(), twin);
    stage.start().await;
    stage.create(member("twin", "aws", "eu-west-1")).await;
    let joined = stage.condition(GROUP, "MemberCluster", "", "twin", "Joined", "False").await;
    assert_eq!(joined["reason"], "IdentityTaken");
    assert_eq!(
        joined["message"],
        "this cluster is in the federation already, as aws-1: delete one of the two MemberClusters"
    );
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_hub_where_foreign_controllers_run_is_refused() {
    let stage = Stage::new().await;
    let client = stage.client();
    refuse_foreign_controllers(&client).await.unwrap();
    let watched = client.clone();
    let tasks = hanse_rt::TaskSet::new("foreign");
    tasks.spawn("foreign", async move {
        let api = dynamic(&watched, "apps/v1", "Deployment", "hanse-system");
        loop {
            let status = json!({"status": {"observedGeneration": 1}});
            let name = "hanse-foreign-controller-probe";
            let patch = Patch::Merge(&status);
            drop(api.patch_status(name, &PatchParams::default(), &patch).await);
            hanse_rt::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
    let error = refuse_foreign_controllers(&client).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "ForeignControllersActive: other controllers run workloads on this API, so ordinary \
         objects cannot be templates here; give the hub an API server of its own"
    );
    tasks.kill().await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_members_kubeconfig_that_cannot_be_used_is_said_by_its_field() {
    let stage = Stage::new().await;
    stage
        .create(json!({"apiVersion": GROUP, "kind": "MemberCluster", "metadata": {"name": "real"},
            "spec": {"provider": "aws", "region": "eu-west-1",
                "connection": {"direct": {"kubeconfigSecret": "real"}}}}))
        .await;
    let said = async |text: &str| {
        let text = text.to_owned();
        eventually(&format!("the condition to say {text}"), async || {
            let real = get(&stage.client(), GROUP, "MemberCluster", "", "real").await?;
            let joined = condition_of(&real, "Joined")?;
            let fits = joined["message"].as_str()?.starts_with(&text);
            (fits && joined["reason"] == "KubeconfigInvalid").then_some(())
        })
        .await;
    };
    said("Secret hanse-system/real is not there: `hanse join` makes it").await;
    let kubeconfig = |user: &str| {
        format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{server: \"https://127.0.0.1:1\"}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]\n"
        )
    };
    let metadata = json!({"name": "real", "namespace": "hanse-system"});
    stage
        .create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata,
            "type": "hanse.dev/kubeconfig",
            "stringData": {"kubeconfig": kubeconfig("exec: {command: aws}")}}))
        .await;
    said("users[u].user.exec is refused: it would run a program in the hub; write token").await;
    let secrets = dynamic(&stage.client(), "v1", "Secret", "hanse-system");
    for (content, text) in [
        (kubeconfig("tokenFile: /token"), "users[u].user.tokenFile is refused: it names a file"),
        ("clusters: {a: [".to_owned(), "the kubeconfig does not parse:"),
    ] {
        let patch = Patch::Merge(json!({"stringData": {"kubeconfig": content}}));
        secrets.patch("real", &PatchParams::default(), &patch).await.unwrap();
        said(text).await;
    }
    stage.end().await;
}
