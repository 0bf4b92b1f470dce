//! Encoding and decoding are inverse, and a bad resource is named.

use super::*;
use crate::{encode, resources::ByName, view::Protocol};

pub(crate) fn target(cluster: &str, weight: u32, own: bool) -> Target {
    Target {
        cluster: cluster.to_owned(),
        weight,
        reason: "RoundTrip".to_owned(),
        lost: cluster == "us-2",
        own,
    }
}

fn view() -> View {
    let order = vec![
        vec![target("eu-1", 1, true)],
        vec![target("us-1", 3, false), target("us-2", 1, false)],
    ];
    let peer = |address: &str, observe| Peer {
        provider: "gcp".to_owned(),
        region: "us".to_owned(),
        zone: String::new(),
        addresses: vec![address.parse().unwrap()],
        observe,
        probe: true,
    };
    let service = |protocol, service_port, request_timeout| Service {
        protocol,
        service_port,
        request_timeout,
        retry_budget_percent: 20,
        order: order.clone(),
        excluded: [("asia-1".to_owned(), "Isolated".to_owned())].into(),
        later: vec![Later { from: 1_800_000_000, order: order[..1].to_vec() }],
        local: vec!["10.64.0.7:8080".parse().unwrap()],
    };
    View {
        services: [
            (
                "shop/web/80".to_owned(),
                service(Protocol::Http, 10_080, Duration::from_millis(1500)),
            ),
            ("shop/db/5432".to_owned(), service(Protocol::Tcp, 10_432, Duration::ZERO)),
        ]
        .into(),
        peers: [
            ("us-1".to_owned(), peer("127.66.254.1:15443", true)),
            ("us-2".to_owned(), peer("127.67.254.1:15443", false)),
        ]
        .into(),
    }
}

#[test]
fn what_is_encoded_decodes_to_the_same_meaning_and_bytes_are_stable() {
    let view = view();
    let resources = encode(&view);
    assert_eq!(decode(&resources).unwrap(), view);
    assert_eq!(encode(&decode(&resources).unwrap()), resources);
}

#[test]
fn a_service_without_own_pods_loses_its_own_target_everywhere() {
    let view = view().with_own_endpoints(&BTreeMap::new());
    let service = &view.services["shop/web/80"];
    assert_eq!(service.order.len(), 1);
    assert!(service.order.iter().flatten().all(|target| !target.own));
    assert_eq!(service.later[0].order, Order::new());
    assert_eq!(decode(&encode(&view)).unwrap(), view);
}

#[test]
fn a_damaged_or_dangling_resource_is_named() {
    let whole = encode(&view());
    let mut damaged = whole.clone();
    damaged.insert(Kind::Cluster, "shop/web/80", vec![0xff, 0xff]);
    assert_eq!(
        decode(&damaged).unwrap_err().to_string(),
        "resource shop/web/80: not a message of its type"
    );
    let mut dangling = whole;
    dangling.set(Kind::Route, ByName::new());
    assert_eq!(
        decode(&dangling).unwrap_err().to_string(),
        "resource shop/web/80 refers to shop/web/80, which is not there"
    );
}
