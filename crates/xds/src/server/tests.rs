//! Server and client over loopback, and the order of what is sent.

use std::time::Duration;

use hanse_rt::Rng;

use super::*;
use crate::{
    AdsClient, ClientConfig, Level, Observation, decode, encode,
    view::{Peer, Protocol, Service, Target, View},
};

const TOKEN: &str = "secret-of-eu-1";

fn view(names: &[&str], weight: u32) -> View {
    let service = |port| Service {
        protocol: Protocol::Http,
        service_port: port,
        request_timeout: Duration::from_secs(15),
        retry_budget_percent: 20,
        order: vec![vec![Target {
            cluster: "us-1".to_owned(),
            weight,
            reason: "RoundTrip".to_owned(),
            lost: false,
            own: false,
        }]],
        excluded: BTreeMap::new(),
        later: Vec::new(),
        local: Vec::new(),
    };
    let peer = Peer {
        provider: "gcp".to_owned(),
        region: "us".to_owned(),
        zone: String::new(),
        addresses: vec!["127.0.0.1:15443".parse().unwrap()],
        observe: true,
        probe: true,
    };
    View {
        services: (10_000..)
            .zip(names)
            .map(|(port, name)| ((*name).to_owned(), service(port)))
            .collect(),
        peers: [("us-1".to_owned(), peer)].into(),
    }
}

fn server() -> AdsServer {
    let verifier: Verifier = Arc::new(|token| (token == TOKEN).then(|| "eu-1".to_owned()));
    AdsServer::new(verifier, ReportTable::default(), &Metrics::new())
}

fn client(tasks: &TaskSet, at: SocketAddr, token: &str) -> AdsClient {
    let config = ClientConfig { node: "gateway".to_owned(), server: at, token: token.to_owned() };
    AdsClient::spawn(tasks, config, &Rng::from_seed(1), &Metrics::new())
}

async fn until(client: &mut AdsClient, wanted: &View) {
    let wanted = encode(wanted);
    let arrived = client.resources.wait_for(|got| got.as_deref() == Some(&wanted));
    hanse_rt::timeout(Duration::from_secs(20), arrived)
        .await
        .expect("the set arrives")
        .expect("the client runs");
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[tokio::test]
async fn a_client_follows_every_change_of_its_set() {
    let tasks = TaskSet::new("test");
    let server = server();
    let at = server.serve(&tasks, loopback()).unwrap();
    let mut client = client(&tasks, at, TOKEN);
    for wanted in [
        view(&["shop/web/80"], 1),
        view(&["shop/web/80", "shop/cart/80"], 1),
        view(&["shop/web/80", "shop/cart/80"], 7),
        view(&["shop/cart/80"], 7),
        view(&[], 7),
        view(&["shop/web/80"], 2),
    ] {
        server.publish("eu-1", Arc::new(encode(&wanted)));
        until(&mut client, &wanted).await;
    }
    assert_eq!(server.client("eu-1").refused, None);
    tasks.kill().await;
}

#[tokio::test]
async fn a_client_keeps_its_set_while_the_server_is_away_and_follows_the_next_one() {
    let tasks = TaskSet::new("test");
    let first = server();
    let running = tasks.child("first");
    let at = first.serve(&running, loopback()).unwrap();
    let mut client = client(&tasks, at, TOKEN);
    let (before, after) = (view(&["shop/web/80"], 1), view(&["shop/web/80"], 2));
    first.publish("eu-1", Arc::new(encode(&before)));
    until(&mut client, &before).await;
    running.kill().await;
    client.connected.wait_for(|up| !up).await.unwrap();
    let second = server();
    second.serve(&tasks, at).unwrap();
    client.connected.wait_for(|up| *up).await.unwrap();
    assert_eq!(decode(client.resources.borrow().as_ref().unwrap()).unwrap(), before);
    second.publish("eu-1", Arc::new(encode(&after)));
    until(&mut client, &after).await;
    tasks.kill().await;
}

#[tokio::test]
async fn a_bad_resource_is_refused_by_name_and_the_last_good_set_stays() {
    let tasks = TaskSet::new("test");
    let server = server();
    let at = server.serve(&tasks, loopback()).unwrap();
    let mut client = client(&tasks, at, TOKEN);
    let good = view(&["shop/web/80"], 1);
    server.publish("eu-1", Arc::new(encode(&good)));
    until(&mut client, &good).await;
    let mut bad = encode(&good);
    let cluster = bad.get(Kind::Cluster)["shop/web/80|local"].to_vec();
    // A service's cluster without the facts that make it one.
    bad.insert(Kind::Cluster, "shop/web/80", {
        use prost::Message as _;
        let mut cluster =
            envoy_types::pb::envoy::config::cluster::v3::Cluster::decode(&*cluster).unwrap();
        cluster.name = "shop/web/80".to_owned();
        cluster.encode_to_vec()
    });
    server.publish("eu-1", Arc::new(bad));
    let refusal = async {
        loop {
            if let Some(text) = server.client("eu-1").refused {
                return text;
            }
            hanse_rt::sleep(Duration::from_millis(5)).await;
        }
    };
    let text = hanse_rt::timeout(Duration::from_secs(20), refusal).await.unwrap();
    assert_eq!(text, "resource shop/web/80: metadata hanse.dev is missing or not usable");
    assert_eq!(decode(client.resources.borrow().as_ref().unwrap()).unwrap(), good);
    let next = view(&["shop/web/80"], 3);
    server.publish("eu-1", Arc::new(encode(&next)));
    until(&mut client, &next).await;
    tasks.kill().await;
}

#[tokio::test]
async fn a_foreign_token_gets_nothing() {
    let tasks = TaskSet::new("test");
    let server = server();
    let at = server.serve(&tasks, loopback()).unwrap();
    server.publish("eu-1", Arc::new(encode(&view(&["shop/web/80"], 1))));
    let channel = transport::channel(&tasks, at);
    let mut client = envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient::new(channel);
    let request = transport::authorized(stream::pending(), "guessed").unwrap();
    let status = client.stream_aggregated_resources(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    tasks.kill().await;
}

#[tokio::test]
async fn reports_arrive_under_the_identity_of_the_token() {
    let tasks = TaskSet::new("test");
    let server = server();
    let at = server.serve(&tasks, loopback()).unwrap();
    let (changed, listens) = watch::channel(0);
    let level = Arc::new(Mutex::new(Level::Up));
    let seen = Arc::clone(&level);
    report::send(&tasks, at, TOKEN.to_owned(), &Rng::from_seed(1), listens, move || {
        vec![Observation::new("us-1", *seen.lock().unwrap(), Duration::ZERO)]
    });
    let table = server.reports.clone();
    let mut news = table.subscribe();
    for wanted in [Level::Up, Level::Down] {
        *level.lock().unwrap() = wanted;
        changed.send_modify(|count| *count += 1);
        let arrives = async {
            while table.level("eu-1", "us-1", hanse_rt::Mono::now(), Duration::from_secs(30))
                != wanted
            {
                news.changed().await.unwrap();
            }
        };
        hanse_rt::timeout(Duration::from_secs(20), arrives).await.unwrap();
    }
    tasks.kill().await;
}

fn request(kind: Kind, nonce: &str, names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        type_url: kind.type_url().to_owned(),
        response_nonce: nonce.to_owned(),
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

#[test]
fn what_is_referred_to_is_sent_first_and_withdrawn_last() {
    let mut state = State::new(Some(Arc::new(encode(&view(&["a/a/80", "a/b/80"], 1)))));
    state.take(Kind::Cluster, &request(Kind::Cluster, "", &[]));
    state.take(Kind::Listener, &request(Kind::Listener, "", &[]));
    let clusters = state.next_response().unwrap();
    assert_eq!(Kind::of(&clusters.type_url), Some(Kind::Cluster));
    assert!(state.next_response().is_none(), "listeners wait for the acknowledgement");
    state.take(Kind::Cluster, &request(Kind::Cluster, &clusters.nonce, &[]));
    let listeners = state.next_response().unwrap();
    assert_eq!(Kind::of(&listeners.type_url), Some(Kind::Listener));
    state.take(Kind::Listener, &request(Kind::Listener, &listeners.nonce, &[]));
    assert!(state.next_response().is_none());

    state.current = Some(Arc::new(encode(&view(&["a/a/80"], 1))));
    let listeners = state.next_response().unwrap();
    assert_eq!(Kind::of(&listeners.type_url), Some(Kind::Listener), "the cluster stays until then");
    state.take(Kind::Listener, &request(Kind::Listener, &listeners.nonce, &[]));
    let clusters = state.next_response().unwrap();
    assert_eq!(Kind::of(&clusters.type_url), Some(Kind::Cluster));
    assert_eq!(clusters.resources.len(), 3);
}

#[test]
fn only_changed_load_assignments_are_sent() {
    let mut state = State::new(Some(Arc::new(encode(&view(&["a/a/80", "a/b/80"], 1)))));
    let names = ["a/a/80", "a/b/80"];
    state.take(Kind::Endpoints, &request(Kind::Endpoints, "", &names));
    let first = state.next_response().unwrap();
    assert_eq!(first.resources.len(), 2);
    state.take(Kind::Endpoints, &request(Kind::Endpoints, &first.nonce, &names));
    let mut changed = view(&["a/a/80", "a/b/80"], 1);
    changed.services.get_mut("a/b/80").unwrap().order[0][0].weight = 9;
    state.current = Some(Arc::new(encode(&changed)));
    let second = state.next_response().unwrap();
    assert_eq!(second.resources.len(), 1);
    assert_ne!(first.version_info, second.version_info);
}
