//! From objects to routes and back to status, without any API.

use serde_json::{Value, json};

use super::*;

fn member(name: &str, provider: &str, region: &str) -> MemberCluster {
    let address = format!("127.0.0.{}", name.len());
    let spec = json!({
        "connection": {"simulated": {}},
        "provider": provider,
        "region": region,
        "gateways": [{"address": address, "port": 15443, "network": "public"}],
    });
    MemberCluster::new(name, serde_json::from_value(spec).unwrap())
}

fn global(name: &str, spec: &Value) -> GlobalService {
    let mut global = GlobalService::new(name, serde_json::from_value(spec.clone()).unwrap());
    global.metadata.namespace = Some("shop".to_owned());
    global
}

fn template(name: &str, ports: &Value) -> (Key, Arc<Service>) {
    let service =
        json!({"metadata": {"namespace": "shop", "name": name}, "spec": {"ports": ports}});
    (Key::new("shop", name), Arc::new(serde_json::from_value(service).unwrap()))
}

fn ready(port: &str, count: u32) -> Ready {
    [(Key::new("shop", "web"), [(port.to_owned(), count)].into())].into()
}

/// Three regions; web has an HTTP port; ready in eu and us, not in asia.
fn seen(spec: &Value) -> Seen {
    let members = [
        member("eu", "aws", "europe"),
        member("usa", "gcp", "america"),
        member("asia", "azure", "asia"),
    ];
    let ports = json!([{"name": "http", "port": 80, "appProtocol": "http"}]);
    Seen {
        members: members.map(Arc::new).to_vec(),
        services: vec![Arc::new(global("web", spec))],
        templates: [template("web", &ports)].into(),
        ready: [
            ("eu".to_owned(), ready("http", 2)),
            ("usa".to_owned(), ready("http", 3)),
            ("asia".to_owned(), Ready::new()),
        ]
        .into(),
        round_trips: [
            (("europe".to_owned(), "america".to_owned()), 80_000),
            (("america".to_owned(), "asia".to_owned()), 150_000),
            (("europe".to_owned(), "asia".to_owned()), 200_000),
        ]
        .into(),
        hub: Some(("gcp".to_owned(), "america".to_owned())),
        ..Seen::default()
    }
}

fn web() -> Key {
    Key::new("shop", "web")
}

fn order_from<'a>(plan: &'a Plan, viewer: &str) -> Vec<&'a str> {
    let viewer = ClusterName::new(viewer).unwrap();
    let route = plan.snapshots[&viewer].routes.values().next().unwrap();
    route.priorities.iter().flatten().map(|(name, _)| name.as_str()).collect()
}

/// The world after the plan's own writes.
fn after(seen: &Seen, plan: &Plan) -> Seen {
    let mut seen = seen.clone();
    for service in &mut seen.services {
        let told = &plan.told[&Key::of(service.as_ref())];
        let mut changed = service.as_ref().clone();
        let annotations = changed.metadata.annotations.get_or_insert_default();
        annotations.insert(PORTS_ANNOTATION.to_owned(), told.ports.clone());
        let status = changed.status.get_or_insert_default();
        status.endpoints.clone_from(&told.endpoints);
        *service = Arc::new(changed);
    }
    seen
}

#[test]
fn every_member_learns_the_order_and_the_status_says_it() {
    let seen = seen(&json!({"service": "web"}));
    let plan = plan(&seen);
    assert_eq!(order_from(&plan, "asia"), ["asia", "usa", "eu"]);
    let told = &plan.told[&web()];
    assert!(told.programmed.status && told.healthy.status);
    assert_eq!(told.healthy.message, "5 ready endpoints in 2 clusters");
    let from: Vec<_> = told.order.iter().map(|o| (o.from.as_str(), o.clusters.join(" "))).collect();
    let expected = [("asia", "usa eu"), ("eu", "eu usa"), ("usa", "usa eu")];
    assert!(from.iter().map(|(f, c)| (*f, c.as_str())).eq(expected), "{from:?}");
    let clusters: Vec<_> = told.addresses.iter().map(|a| a.cluster.as_str()).collect();
    assert_eq!(clusters, ["usa", "eu", "asia"], "nearest to the hub first");
    assert_eq!(told.addresses[0].protocol, hanse_api::Protocol::Http);
    let port = told.addresses[0].port;
    assert!(told.addresses.iter().all(|a| a.port == port), "the same in every cluster");
    assert_eq!(told.ports, format!("80={port}"));
}

#[test]
fn planning_again_after_the_own_writes_changes_nothing() {
    let seen = seen(&json!({"service": "web"}));
    let first = plan(&seen);
    let second = plan(&after(&seen, &first));
    assert_eq!(first.told, second.told);
    for (viewer, snapshot) in &first.snapshots {
        assert!(snapshot.diff(&second.snapshots[viewer]).is_empty());
    }
}

#[test]
fn a_service_port_is_kept_when_other_services_come_and_go() {
    let mut seen = seen(&json!({"service": "web"}));
    let first = plan(&seen);
    let kept = first.told[&web()].ports.clone();
    seen = after(&seen, &first);
    for name in ["a", "b", "c"] {
        let ports = json!([{"port": 80}]);
        seen.templates.extend([template(name, &ports)]);
        seen.services.insert(0, Arc::new(global(name, &json!({"service": name}))));
    }
    let second = plan(&seen);
    assert_eq!(second.told[&web()].ports, kept);
    let all: BTreeSet<&str> =
        second.told.values().map(|t| t.ports.split_once('=').unwrap().1).collect();
    assert_eq!(all.len(), 4, "no number twice");
}

#[test]
fn what_a_member_had_counts_until_it_is_listed_again() {
    let mut seen = seen(&json!({"service": "web"}));
    seen = after(&seen.clone(), &plan(&seen));
    seen.ready.clear();
    let plan = plan(&seen);
    assert_eq!(order_from(&plan, "asia"), ["asia", "usa", "eu"]);
    assert_eq!(plan.told[&web()].healthy.message, "5 ready endpoints in 2 clusters");
}

#[test]
fn a_missing_service_or_port_is_named_and_the_port_stays_reserved() {
    let mut seen = seen(&json!({"service": "web"}));
    seen = after(&seen.clone(), &plan(&seen));
    seen.templates.clear();
    let gone = plan(&seen);
    let told = &gone.told[&web()];
    assert_eq!(told.programmed.reason, reason::SERVICE_NOT_FOUND);
    assert_eq!(told.programmed.message, "no Service web in namespace shop");
    assert!(told.ports.starts_with("80="), "the Service may come back");

    let wrong = self::seen(&json!({"service": "web", "ports": [{"port": 81}]}));
    let told = &plan(&wrong).told[&web()];
    assert_eq!(told.programmed.reason, reason::PORT_NOT_FOUND);
    assert_eq!(told.programmed.message, "Service web has no TCP port 81");
}

#[test]
fn without_a_ready_endpoint_anywhere_it_is_programmed_and_not_healthy() {
    let mut seen = seen(&json!({"service": "web"}));
    seen.ready.values_mut().for_each(Ready::clear);
    let told = &plan(&seen).told[&web()];
    assert!(told.programmed.status);
    assert_eq!(told.healthy.reason, reason::NO_READY_ENDPOINTS);
}

#[test]
fn the_protocol_is_what_is_said_and_never_a_guess() {
    use hanse_api::Protocol::{Grpc, Http, Tcp};
    let protocol = |said, app| protocol_of(said, app);
    assert_eq!(protocol(None, None), routing::Protocol::Tcp);
    assert_eq!(protocol(None, Some("http")), routing::Protocol::Http);
    assert_eq!(protocol(None, Some("grpc")), routing::Protocol::Grpc);
    assert_eq!(protocol(None, Some("postgresql")), routing::Protocol::Tcp);
    assert_eq!(protocol(Some(Grpc), Some("http")), routing::Protocol::Grpc);
    assert_eq!(protocol(Some(Http), None), routing::Protocol::Http);
    assert_eq!(protocol(Some(Tcp), Some("http")), routing::Protocol::Tcp);
}

#[test]
fn policy_operators_and_verdicts_reach_the_engine() {
    let spec = json!({"service": "web", "routing": {
        "locality": "Weighted",
        "weights": [{"clusters": {"providers": ["gcp"]}, "weight": 9}, {"clusters": {"names": ["eu"]}, "weight": 1}],
    }});
    let weighted = plan(&seen(&spec));
    let eu = ClusterName::new("eu").unwrap();
    let first = &weighted.snapshots[&eu].routes.values().next().unwrap().priorities[0];
    let shares: Vec<_> = first.iter().map(|(name, t)| (name.as_str(), t.weight)).collect();
    assert_eq!(shares, [("eu", 1), ("usa", 9)]);

    let ordered = json!({"service": "web", "routing": {
        "locality": "Ordered", "order": [{"regions": ["america"]}],
    }});
    assert_eq!(order_from(&plan(&seen(&ordered)), "eu"), ["usa", "eu"]);

    let within = json!({"service": "web", "routing": {"stayWithin": "Region"}});
    assert_eq!(order_from(&plan(&seen(&within)), "eu"), ["eu"]);

    let mut isolated = seen(&json!({"service": "web"}));
    isolated.now = 50;
    isolated.isolated.insert("usa".to_owned(), 100);
    let isolated = plan(&isolated);
    assert_eq!(order_from(&isolated, "eu"), ["eu"]);
    let told = &isolated.told[&web()];
    assert!(told.addresses.iter().all(|address| address.cluster != "usa"));
}

#[test]
fn members_of_other_regions_are_asked_to_watch() {
    let plan = plan(&seen(&json!({"service": "web"})));
    for viewer in ["eu", "usa", "asia"] {
        let viewer = ClusterName::new(viewer).unwrap();
        let observed = plan.snapshots[&viewer].peers.values().filter(|peer| peer.observe).count();
        assert_eq!(observed, 2, "three regions of one member each watch each other");
    }
}
