//! The relay between a hub and a gateway, on a real API in process.

use hanse_rt::Mono;
use hanse_tests_traffic::{
    PATIENCE, get, key,
    member::{GATEWAY_POD, Member},
    objects, until,
};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{Api, ResourceExt as _};

const WEB: u16 = 10_080;

async fn answered_by(member: &Member, pod: &str) -> bool {
    get(member.at(WEB)).await.is_ok_and(|reply| reply.cluster() == pod)
}

#[tokio::test]
async fn pods_come_and_go_while_the_hub_is_gone_and_relay_and_gateway_restart_from_disk() {
    let mut member = Member::start().await;
    let (first, second) = (member.pod("first"), member.pod("second"));
    member.endpoints(&key("web"), &[&first]).await;
    member.publish(&[(&key("web"), WEB)]);
    until("the first pod answers", || answered_by(&member, "first")).await;

    member.hub_tasks.kill().await;
    member.endpoints(&key("web"), &[&second]).await;
    until("the second pod answers without the hub", || answered_by(&member, "second")).await;
    first.kill().await;

    member.kill_relay().await;
    assert_eq!(get(member.at(WEB)).await.unwrap().cluster(), "second", "nobody above the gateway");
    member.kill_gateway().await;
    member.start_gateway();
    until("from the gateway's disk", || answered_by(&member, "second")).await;

    member.start_relay();
    let third = member.pod("third");
    member.endpoints(&key("web"), &[&third]).await;
    until("from the relay's disk and the API", || answered_by(&member, "third")).await;
    member.tasks.kill().await;
}

#[tokio::test]
async fn a_service_without_ready_pods_is_unavailable_and_says_who_says_so() {
    let member = Member::start().await;
    member.publish(&[(&key("web"), WEB)]);
    until("the port is open", || async { get(member.at(WEB)).await.is_ok() }).await;
    let reply = get(member.at(WEB)).await.unwrap();
    assert_eq!(reply.status, 503);
    assert_eq!(reply.headers["proxy-status"], "hanse-eu; error=destination_unavailable");
    member.tasks.kill().await;
}

#[tokio::test]
async fn each_global_service_has_one_derived_service_that_leads_to_the_gateway() {
    let mut member = Member::start().await;
    let services: Api<Service> = Api::namespaced(member.client.clone(), "shop");
    let slices: Api<EndpointSlice> = Api::namespaced(member.client.clone(), "shop");
    member.publish(&[(&key("web"), WEB)]);
    let derived = || async { services.get_opt("web-global").await.unwrap().is_some() };
    until("a derived Service", derived).await;
    let slice = || async { slices.get_opt("web-global-ipv4").await.unwrap().is_some() };
    until("its slice", slice).await;
    let service = services.get("web-global").await.unwrap();
    let spec = service.spec.clone().unwrap();
    assert_eq!(spec.selector, None);
    assert_eq!(spec.ports.unwrap()[0].port, 80);
    let found = slices.get("web-global-ipv4").await.unwrap();
    assert_eq!(found.labels()["kubernetes.io/service-name"], "web-global");
    assert_eq!(found.ports.unwrap()[0].port, Some(i32::from(WEB)));
    assert_eq!(found.endpoints.unwrap()[0].addresses, [GATEWAY_POD]);

    // A restarted relay finds its work done, and another service is another object.
    member.kill_relay().await;
    member.start_relay();
    member.publish(&[(&key("web"), WEB), (&key("cart"), WEB + 1)]);
    let cart = || async { services.get_opt("cart-global").await.unwrap().is_some() };
    until("the second derived Service", cart).await;
    let after = services.get("web-global").await.unwrap();
    assert_eq!(after.resource_version(), service.resource_version(), "not written again");

    member.publish(&[(&key("cart"), WEB + 1)]);
    let gone = || async {
        services.get_opt("web-global").await.unwrap().is_none()
            && slices.get_opt("web-global-ipv4").await.unwrap().is_none()
    };
    until("the first is taken back", gone).await;
    assert!(services.get_opt("cart-global").await.unwrap().is_some());
    member.tasks.kill().await;
}

#[tokio::test]
async fn a_namespace_that_comes_later_gets_its_derived_services() {
    let member = Member::start().await;
    let late = hanse_routing::ServiceKey::new("late", "web", 80).unwrap();
    member.publish(&[(&late, WEB), (&key("web"), WEB + 1)]);
    let services: Api<Service> = Api::all(member.client.clone());
    let names = || async {
        let all = services.list(&kube::api::ListParams::default()).await.unwrap();
        let names: Vec<String> = all
            .iter()
            .map(|s| format!("{}/{}", s.namespace().unwrap_or_default(), s.name_any()))
            .collect();
        names
    };
    until("the one that can be", || async {
        names().await.contains(&"shop/web-global".to_owned())
    })
    .await;
    assert!(!names().await.contains(&"late/web-global".to_owned()));
    objects::namespace(&member.client, "late").await;
    until("the late one", || async { names().await.contains(&"late/web-global".to_owned()) }).await;
    member.tasks.kill().await;
}

#[tokio::test]
async fn the_relay_is_heard_at_the_hub_and_finds_it_again() {
    let mut member = Member::start().await;
    until("a sign of life", || async { member.reports.heard("eu").is_some() }).await;
    member.kill_relay().await;
    let before = Mono::now();
    member.start_relay();
    until("another sign of life", || async {
        member.reports.heard("eu").is_some_and(|heard| heard > before)
    })
    .await;
    let (relay, _) = member.relay.as_ref().unwrap();
    let mut connected = relay.hub_connected.clone();
    hanse_rt::timeout(PATIENCE, connected.wait_for(|up| *up)).await.unwrap().unwrap();
    member.tasks.kill().await;
}
