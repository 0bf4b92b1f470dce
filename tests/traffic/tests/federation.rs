//! From a GlobalService on the hub to answers at its addresses, while the hub comes and goes.

use std::net::SocketAddr;

use hanse_tests_traffic::{federation::Federation, get, key, load::Load, objects, until};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use serde_json::json;

const MEMBERS: [(&str, &str); 3] = [("eu", "europe"), ("us", "america"), ("asia", "asia")];

async fn answered_by(at: SocketAddr, pod: &str) -> bool {
    get(at).await.is_ok_and(|reply| reply.cluster() == pod)
}

/// `shop/web` with one pod, named as its member, in each of `members`.
async fn web_in(members: &[&str]) -> Federation {
    let federation = Federation::start(&MEMBERS).await;
    for member in members {
        let pod = federation.pod(member, member);
        federation.endpoints(member, &key("web"), &[&pod]).await;
    }
    let spec = json!({"service": "web", "ports": [{"port": 80, "protocol": "HTTP"}]});
    federation.global(&key("web"), spec).await;
    federation
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_in_the_status_is_answered_by_the_nearest_cluster() {
    let federation = web_in(&["eu", "asia"]).await;
    let addresses = federation.addresses(&key("web")).await;
    let order: Vec<&str> = addresses.iter().map(|(cluster, _)| cluster.as_str()).collect();
    assert_eq!(order, ["eu", "us", "asia"], "nearest to the hub first");
    for ((_, at), by) in addresses.iter().zip(["eu", "eu", "asia"]) {
        until("the nearest answers", || answered_by(*at, by)).await;
    }
    let healthy = || async {
        let status = federation.status(&key("web")).await;
        let text: Vec<_> =
            status.conditions.iter().map(|c| (c.type_.as_str(), c.reason.as_str())).collect();
        let order = status.order.iter().find(|order| order.from == "us");
        text == [("Healthy", "EndpointsReady"), ("Programmed", "Programmed")]
            && order.is_some_and(|order| order.clusters == ["eu", "asia"])
    };
    until("the status says so", healthy).await;
    // Every member has a Service of that name for its own pods.
    for member in federation.members.values() {
        let services: Api<Service> = Api::namespaced(member.client.clone(), "shop");
        let derived = || async { services.get_opt("web-global").await.is_ok_and(|s| s.is_some()) };
        until("a derived Service", derived).await;
    }
    // The last endpoint in Europe goes: its gateway sends elsewhere, its own pods or not.
    federation.endpoints("eu", &key("web"), &[]).await;
    for (_, at) in &addresses {
        until("Asia answers for all", || answered_by(*at, "asia")).await;
    }
    federation.tasks.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_hub_gone_pods_are_replaced_without_an_error_and_ports_outlive_it() {
    let mut federation = web_in(&[]).await;
    let mut pods = Vec::new();
    for (member, _) in MEMBERS {
        let pod = federation.pod(member, member);
        federation.endpoints(member, &key("web"), &[&pod]).await;
        pods.push(pod);
    }
    let addresses = federation.addresses(&key("web")).await;
    for (cluster, at) in &addresses {
        until("the own pod answers", || answered_by(*at, cluster)).await;
    }
    let loads: Vec<Load> = addresses.iter().map(|(_, at)| Load::start(*at, 50)).collect();
    federation.kill_hub().await;
    for (cluster, at) in &addresses {
        let name = format!("{cluster}-new");
        let pod = federation.pod(cluster, &name);
        federation.endpoints(cluster, &key("web"), &[&pod]).await;
        until("the new pod answers", || answered_by(*at, &name)).await;
    }
    for pod in pods {
        pod.kill().await;
    }
    federation.start_hub().await;
    // What the new hub says is what the old one said: a new service has another port.
    let spec = json!({"service": "cart", "ports": [{"port": 80, "protocol": "HTTP"}]});
    federation.global(&key("cart"), spec).await;
    let cart = federation.addresses(&key("cart")).await;
    assert_eq!(federation.addresses(&key("web")).await, addresses);
    assert!(cart.iter().all(|(_, at)| addresses.iter().all(|(_, web)| at != web)));
    until("the new service is programmed", || async {
        get(cart[0].1).await.is_ok_and(|reply| reply.status == 503)
    })
    .await;
    for load in loads {
        load.assert_few_failures().await;
    }
    federation.tasks.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_region_loses_its_traffic_without_an_error_and_gets_it_back() {
    let federation = web_in(&["eu", "us", "asia"]).await;
    let addresses = federation.addresses(&key("web")).await;
    let eu = addresses[0].1;
    until("Europe answers", || answered_by(eu, "eu")).await;
    let load = Load::start(eu, 100);
    let drain = json!({"drains": [{"domain": "Region", "name": "europe"}]});
    federation.change_federation(drain).await;
    let left = || async {
        let before = load.count("eu");
        let elsewhere = load.count("us");
        until("some more requests", || async { load.count("us") > elsewhere + 50 }).await;
        load.count("eu") == before
    };
    until("nothing goes to Europe any more", left).await;
    federation.change_federation(json!({"drains": []})).await;
    let before = load.count("eu");
    until("Europe is back", || async { load.count("eu") > before + 50 }).await;
    load.assert_few_failures().await;
    federation.tasks.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_served_says_why_until_it_can() {
    let federation = web_in(&["eu"]).await;
    let api: Api<hanse_api::GlobalService> = Api::namespaced(federation.client.clone(), "shop");
    let body =
        json!({"metadata": {"name": "late", "namespace": "shop"}, "spec": {"service": "late"}});
    let late = serde_json::from_value(body).unwrap();
    api.create(&kube::api::PostParams::default(), &late).await.unwrap();
    let says = |reason: &'static str, message: &'static str| {
        let federation = &federation;
        async move {
            let status = federation.status(&key("late")).await;
            let condition = status.conditions.iter().find(|c| c.type_ == "Programmed");
            condition.is_some_and(|c| c.reason == reason && c.message == message)
        }
    };
    let missing = || says("ServiceNotFound", "no Service late in namespace shop");
    until("the missing Service is named", missing).await;
    objects::service(&federation.client, &key("late")).await;
    let programmed = || says("Programmed", "1 port(s) on 3 gateways");
    until("it is programmed once it is there", programmed).await;
    federation.tasks.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_gateway_died_is_left_by_the_others_and_known_to_the_hub() {
    let federation = web_in(&["us", "asia"]).await;
    let eu = federation.addresses(&key("web")).await[0].1;
    until("America answers", || answered_by(eu, "us")).await;
    let load = Load::start(eu, 100);
    until("some load", || async { load.count("us") > 100 }).await;
    federation.members["us"].gateway.kill().await;
    until("Asia took over", || async { load.count("asia") > 300 }).await;
    let verdict = || async {
        let api: Api<hanse_api::MemberCluster> = Api::all(federation.client.clone());
        let member = api.get("us").await.unwrap();
        member.status.and_then(|status| status.verdict).as_deref() == Some("DataLost")
    };
    until("the hub knows", verdict).await;
    load.assert_few_failures().await;
    federation.tasks.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_isolates_a_region_and_measures_that_nothing_was_lost() {
    let federation = web_in(&["eu", "us", "asia"]).await;
    let addresses = federation.addresses(&key("web")).await;
    for (cluster, at) in &addresses {
        until("the own pod answers", || answered_by(*at, cluster)).await;
    }
    let members: Api<hanse_api::MemberCluster> = Api::all(federation.client.clone());
    let healthy = || async {
        let all = members.list(&kube::api::ListParams::default()).await.unwrap();
        all.iter().all(|member| {
            let verdict = member.status.as_ref().and_then(|status| status.verdict.as_deref());
            verdict == Some("Healthy")
        })
    };
    until("every member is healthy", healthy).await;
    let us = addresses.iter().find(|(cluster, _)| cluster == "us").unwrap().1;
    let body = json!({
        "apiVersion": "hanse.dev/v1alpha1", "kind": "Drill", "metadata": {"name": "america"},
        "spec": {"target": {"region": "america"}, "durationSeconds": 4,
            "probe": [{"globalService": "shop/web", "ratePerSecond": 100}]},
    });
    let drills: Api<hanse_api::Drill> = Api::all(federation.client.clone());
    let drill = serde_json::from_value(body).unwrap();
    drills.create(&kube::api::PostParams::default(), &drill).await.unwrap();
    until("what enters there is answered elsewhere", || answered_by(us, "eu")).await;
    let verdict = || async {
        let drill = drills.get("america").await.unwrap();
        drill.status.is_some_and(|status| status.verdict.is_some())
    };
    until("a verdict", verdict).await;
    let status = drills.get("america").await.unwrap().status.unwrap();
    let measured = status.measured.clone().unwrap();
    assert_eq!(status.verdict, Some(hanse_api::DrillVerdict::Passed), "{status:?}");
    assert!(measured.entered_elsewhere.requests > 100, "{measured:?}");
    until("America is back", || answered_by(us, "us")).await;
    federation.tasks.kill().await;
}
