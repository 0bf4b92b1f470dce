//! What clients see of a fleet of gateways while clusters come, go and break.

use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use hanse_routing::{Protocol, Verdict};
use hanse_rt::{Mono, Wall};
use hanse_tests_traffic::{
    Behaviour, Fleet, PATIENCE, client::send_h2, get, key, load::Load, send, until,
};
use hanse_xds::Level;
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SITES: [(&str, &str); 3] = [("eu", "europe"), ("us", "america"), ("asia", "asia")];

async fn answered_by(at: SocketAddr, cluster: &str) -> bool {
    get(at).await.is_ok_and(|reply| reply.cluster() == cluster)
}

fn web_in(clusters: &[(&str, usize)]) -> Fleet {
    let mut fleet = Fleet::start(&SITES);
    fleet.add_service(&key("web"), Protocol::Http);
    for (cluster, count) in clusters {
        fleet.add_pods(cluster, &key("web"), *count, Behaviour::default());
    }
    fleet.publish();
    fleet
}

fn post(body: &'static str) -> Request<Full<Bytes>> {
    Request::post("/").header("host", "web.shop").body(Full::from(body)).expect("a sound test")
}

#[tokio::test]
async fn each_gateway_answers_from_the_nearest_cluster_with_ready_endpoints() {
    let mut fleet = web_in(&[("eu", 2), ("asia", 1)]);
    for (from, by) in [("eu", "eu"), ("us", "eu"), ("asia", "asia")] {
        let at = fleet.at(from, &key("web"));
        until("the nearest answers", || answered_by(at, by)).await;
        for _ in 0..10 {
            assert_eq!(get(at).await.unwrap().cluster(), by);
        }
    }
    // America gets pods, Europe loses its own: both are felt without a restart of anything.
    fleet.add_pods("us", &key("web"), 1, Behaviour::default());
    fleet.sites.get_mut("eu").unwrap().pods.clear();
    let eu = hanse_routing::ClusterName::new("eu").unwrap();
    fleet.world.services.get_mut(&key("web")).unwrap().ready.insert(eu, 0);
    fleet.publish();
    for from in ["eu", "us"] {
        let at = fleet.at(from, &key("web"));
        until("America answers", || answered_by(at, "us")).await;
    }
    fleet.tasks.kill().await;
}

#[tokio::test]
async fn pods_of_one_cluster_share_its_requests() {
    let fleet = web_in(&[("eu", 3)]);
    let at = fleet.at("eu", &key("web"));
    until("Europe answers", || answered_by(at, "eu")).await;
    for _ in 0..100 {
        assert_eq!(get(at).await.unwrap().status, StatusCode::OK);
    }
    for pod in &fleet.sites["eu"].pods[&key("web")] {
        assert!(pod.seen.load(Ordering::SeqCst) > 5);
    }
    fleet.tasks.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_cluster_costs_no_idempotent_request() {
    let fleet = web_in(&[("us", 2), ("asia", 2)]);
    fleet.unlink("eu", "us");
    let at = fleet.at("eu", &key("web"));
    until("America answers", || answered_by(at, "us")).await;
    let load = Load::start(at, 200);
    until("a second of load", || async { load.count("us") > 200 }).await;
    fleet.kill("us").await;
    until("Asia took over", || async { load.count("asia") > 400 }).await;
    load.assert_few_failures().await;
    fleet.tasks.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_cluster_costs_no_idempotent_request_and_comes_back_when_it_answers() {
    let fleet = web_in(&[("us", 2), ("asia", 2)]);
    let at = fleet.at("eu", &key("web"));
    until("America answers", || answered_by(at, "us")).await;
    let load = Load::start(at, 200);
    until("a second of load", || async { load.count("us") > 200 }).await;
    let link = fleet.links[&("eu".to_owned(), "us".to_owned())].clone();
    link.freeze(true);
    until("Asia took over", || async { load.count("asia") > 600 }).await;
    // What was under way to the silent cluster was answered too, by the other.
    let before = load.count("us");
    link.freeze(false);
    until("America is back", || async { load.count("us") > before + 100 }).await;
    load.assert_few_failures().await;
    fleet.tasks.kill().await;
}

#[tokio::test]
async fn what_may_have_been_seen_is_not_repeated_unless_it_is_idempotent() {
    let fleet = web_in(&[("us", 1), ("asia", 1)]);
    let at = fleet.at("eu", &key("web"));
    until("America answers", || answered_by(at, "us")).await;
    fleet.links[&("eu".to_owned(), "us".to_owned())].freeze(true);
    let reply = send(at, post("order")).await.unwrap();
    assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(reply.headers["proxy-status"], "hanse-eu; error=connection_terminated");
    until("Asia answers", || answered_by(at, "asia")).await;
    let reply = send(at, post("order")).await.unwrap();
    assert_eq!(reply.body, "asia/order");
    fleet.tasks.kill().await;
}

#[tokio::test]
async fn a_request_is_answered_within_two_hops_even_with_stale_snapshots() {
    let fleet = web_in(&[("eu", 1), ("us", 1)]);
    let (eu, us) = (fleet.at("eu", &key("web")), fleet.at("us", &key("web")));
    let asia = fleet.at("asia", &key("web"));
    for (at, by) in [(eu, "eu"), (us, "us"), (asia, "us")] {
        until("the nearest answers", || answered_by(at, by)).await;
    }
    // Every pod goes; each gateway still believes that the other has some.
    fleet.stop_discovery().await;
    for site in fleet.sites.values() {
        for pod in site.pods.values().flatten() {
            pod.kill().await;
        }
    }
    for at in [eu, us, asia] {
        let reply = get(at).await.unwrap();
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        let status = reply.headers["proxy-status"].to_str().unwrap();
        assert!(status.ends_with("error=destination_unavailable"), "{status}");
        assert!(!reply.headers.contains_key("x-hanse-unsent"), "ours, not the client's");
    }
    fleet.tasks.kill().await;
}

#[tokio::test]
async fn an_unsent_request_goes_elsewhere_even_if_it_is_not_idempotent() {
    let fleet = web_in(&[("us", 1), ("asia", 1)]);
    let at = fleet.at("eu", &key("web"));
    until("America answers", || answered_by(at, "us")).await;
    fleet.stop_discovery().await;
    for pod in fleet.sites["us"].pods.values().flatten() {
        pod.kill().await;
    }
    let reply = send(at, post("order")).await.unwrap();
    assert_eq!(reply.body, "asia/order");
    fleet.tasks.kill().await;
}

#[tokio::test]
async fn an_isolated_cluster_gets_nothing_and_comes_back_by_itself_without_discovery() {
    let mut fleet = web_in(&[("us", 1), ("asia", 1)]);
    let at = fleet.at("eu", &key("web"));
    until("America answers", || answered_by(at, "us")).await;
    let end = Wall::system().now().as_second() + 4;
    fleet.cluster("us").operator.isolated_until = Some(end);
    fleet.publish();
    until("Asia answers", || answered_by(at, "asia")).await;
    fleet.stop_discovery().await;
    loop {
        let reply = get(at).await.unwrap();
        if Wall::system().now().as_second() >= end {
            break;
        }
        assert_eq!(reply.cluster(), "asia", "before the end");
    }
    until("America is back", || answered_by(at, "us")).await;
    fleet.tasks.kill().await;
}

#[tokio::test]
async fn own_evidence_outweighs_the_verdict() {
    let mut fleet = web_in(&[("us", 1)]);
    let at = fleet.at("eu", &key("web"));
    until("America answers", || answered_by(at, "us")).await;
    fleet.cluster("us").verdict = Verdict::Lost;
    fleet.publish();
    let usable = || async {
        let why = fleet.sites["eu"].gateway.why("shop/web/80").unwrap();
        let hop = &why["priorities"][0][0];
        hop["verdictLost"] == true && hop["transport"] == "Up" && hop["usable"] == true
    };
    until("the gateway trusts its own eyes", usable).await;
    assert_eq!(get(at).await.unwrap().cluster(), "us");
    fleet.tasks.kill().await;
}

#[tokio::test]
async fn a_gateway_starts_from_disk_and_serves_without_discovery() {
    let mut fleet = web_in(&[("eu", 1), ("us", 1)]);
    let at = fleet.at("eu", &key("web"));
    until("Europe answers", || answered_by(at, "eu")).await;
    fleet.stop_discovery().await;
    fleet.sites["eu"].tasks.kill().await;
    assert!(get(at).await.is_err(), "nobody listens");
    fleet.start_gateway("eu");
    hanse_rt::timeout(PATIENCE, fleet.sites["eu"].readiness.ready()).await.unwrap();
    until("Europe answers again", || answered_by(at, "eu")).await;
    for pod in fleet.sites["eu"].pods.values().flatten() {
        pod.kill().await;
    }
    until("America answers", || answered_by(at, "us")).await;
    fleet.tasks.kill().await;
}

#[tokio::test]
async fn a_damaged_snapshot_on_disk_is_no_reason_not_to_start() {
    let mut fleet = web_in(&[("eu", 1)]);
    let at = fleet.at("eu", &key("web"));
    until("Europe answers", || answered_by(at, "eu")).await;
    fleet.sites["eu"].tasks.kill().await;
    fleet.damage_snapshot("eu");
    fleet.start_gateway("eu");
    until("Europe answers again", || answered_by(at, "eu")).await;
    fleet.tasks.kill().await;
}

#[tokio::test]
async fn a_change_of_configuration_leaves_requests_under_way_alone() {
    let mut fleet = web_in(&[("eu", 1)]);
    let at = fleet.at("eu", &key("web"));
    until("Europe answers", || answered_by(at, "eu")).await;
    let pod = fleet.sites["eu"].pods[&key("web")][0].clone();
    pod.behave(Behaviour { delay: Duration::from_millis(600), ..Behaviour::default() });
    let before = pod.seen.load(Ordering::SeqCst);
    let (slow, ()) = tokio::join!(get(at), async {
        until("the pod works on it", || async { pod.seen.load(Ordering::SeqCst) > before }).await;
        // The pod leaves the service, and another service appears.
        fleet.sites.get_mut("eu").unwrap().pods.clear();
        fleet.add_service(&key("cart"), Protocol::Http);
        fleet.add_pods("eu", &key("cart"), 1, Behaviour::default());
        fleet.publish();
        let cart = fleet.at("eu", &key("cart"));
        until("the new service answers", || answered_by(cart, "eu")).await;
    });
    assert_eq!(slow.unwrap().status, StatusCode::OK);
    fleet.tasks.kill().await;
}

#[tokio::test]
async fn server_first_protocols_pass_to_the_own_and_to_another_cluster() {
    let mut fleet = Fleet::start(&SITES);
    let db = key("db");
    fleet.add_service(&db, Protocol::Tcp);
    let speaks_first = Behaviour { tcp: true, ..Behaviour::default() };
    fleet.add_pods("us", &db, 1, speaks_first);
    fleet.publish();
    for from in ["us", "eu"] {
        let at = fleet.at(from, &db);
        until("bytes pass both ways", || talk(at)).await;
    }
    fleet.tasks.kill().await;
}

async fn talk(at: SocketAddr) -> bool {
    let exchange = async {
        let mut stream = hanse_rt::net::connect(at, PATIENCE).await.ok()?;
        let mut banner = [0; 3];
        stream.read_exact(&mut banner).await.ok()?;
        stream.write_all(b"ping").await.ok()?;
        let mut echo = [0; 4];
        stream.read_exact(&mut echo).await.ok()?;
        (&banner == b"us\n" && &echo == b"ping").then_some(())
    };
    hanse_rt::timeout(Duration::from_secs(5), exchange).await.is_ok_and(|done| done.is_some())
}

#[tokio::test]
async fn grpc_keeps_its_trailers_over_two_hops() {
    let mut fleet = Fleet::start(&SITES);
    let api = key("api");
    fleet.add_service(&api, Protocol::Grpc);
    fleet.add_pods("us", &api, 1, Behaviour::default());
    fleet.publish();
    let at = fleet.at("eu", &api);
    let call = || {
        let request = Request::post("http://api.shop/pkg.Service/Method")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        send_h2(at, request.body(Full::from("message")).unwrap())
    };
    until("the call is answered", || async {
        call().await.is_ok_and(|r| r.status == StatusCode::OK)
    })
    .await;
    let reply = call().await.unwrap();
    assert_eq!(reply.body, "us/message");
    assert_eq!(reply.trailers.unwrap()["grpc-status"], "0");
    fleet.tasks.kill().await;
}

#[tokio::test]
async fn pods_see_the_users_headers_and_none_of_ours() {
    let fleet = web_in(&[("us", 1)]);
    let at = fleet.at("eu", &key("web"));
    until("America answers", || answered_by(at, "us")).await;
    let request = Request::get("/cart?id=7")
        .header("host", "www.example.com")
        .header("x-hanse-service", "other/secret/80")
        .header("x-hanse-explain", "1")
        .header("connection", "x-mine")
        .header("x-mine", "1")
        .header("x-user", "ada");
    let reply = send(at, request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(reply.headers["x-hanse-cluster"], "us");
    let seen = fleet.sites["us"].pods[&key("web")][0].last.lock().unwrap().clone();
    assert_eq!(seen["host"], "www.example.com");
    assert_eq!(seen["x-user"], "ada");
    assert!(seen.contains_key("traceparent"));
    assert!(!seen.contains_key("x-mine"));
    assert!(seen.keys().all(|name| !name.as_str().starts_with("x-hanse")), "{seen:?}");
    fleet.tasks.kill().await;
}

#[tokio::test]
async fn a_failing_service_leaves_its_cluster_to_the_others() {
    let mut fleet = web_in(&[("us", 1), ("asia", 1)]);
    let cart = key("cart");
    fleet.add_service(&cart, Protocol::Http);
    let fails = Behaviour { fails: true, ..Behaviour::default() };
    fleet.add_pods("us", &cart, 1, fails);
    fleet.add_pods("asia", &cart, 1, Behaviour::default());
    fleet.publish();
    let (web, cart) = (fleet.at("eu", &key("web")), fleet.at("eu", &cart));
    until("the other service is up", || answered_by(web, "us")).await;
    until("the failing service is served elsewhere", || async {
        get(cart).await.is_ok_and(|r| r.status == StatusCode::OK && r.cluster() == "asia")
    })
    .await;
    assert_eq!(get(web).await.unwrap().cluster(), "us", "its neighbour stays");
    fleet.tasks.kill().await;
}

#[tokio::test]
async fn observers_report_what_they_see() {
    let fleet = web_in(&[("us", 1)]);
    fleet.unlink("eu", "us");
    let level = |wanted| {
        let reports = fleet.reports.clone();
        async move { reports.level("eu", "us", Mono::now(), Duration::from_secs(3)) == wanted }
    };
    until("up", || level(Level::Up)).await;
    fleet.kill("us").await;
    until("down", || level(Level::Down)).await;
    fleet.tasks.kill().await;
}
