//! Tests of the routing decision: the written order, and what must hold of any world.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{GatewayAddress, Operator, Place, Protocol, Timeouts, Verdict};

fn name(text: &str) -> ClusterName {
    ClusterName::new(text).unwrap()
}

fn cluster(text: &str, provider: &str, region: &str, zone: &str) -> Cluster {
    Cluster {
        name: name(text),
        place: Place {
            provider: provider.to_owned(),
            region: region.to_owned(),
            zone: Some(zone.to_owned()),
        },
        network: "default".to_owned(),
        gateways: vec![GatewayAddress {
            address: "127.0.0.1:15443".parse().unwrap(),
            network: "public".to_owned(),
        }],
        verdict: Verdict::Healthy,
        operator: Operator::default(),
    }
}

fn key() -> ServiceKey {
    ServiceKey::new("shop", "web", 80).unwrap()
}

/// Two clusters in eu (zones a and b), one in us (80 ms away), one in asia (200 ms away).
fn world() -> World {
    let clusters = [
        cluster("eu-1", "aws", "eu", "a"),
        cluster("eu-2", "aws", "eu", "b"),
        cluster("us-1", "gcp", "us", "a"),
        cluster("asia-1", "azure", "asia", "a"),
    ];
    let service = ServiceSpec {
        key: key(),
        protocol: Protocol::Http,
        service_port: 10_080,
        ready: ["eu-1", "eu-2", "us-1", "asia-1"].map(|text| (name(text), 2)).into(),
        locality: Locality::Nearest,
        stay_within: StayWithin::None,
        timeouts: Timeouts { request: Duration::from_secs(15), retry_budget_percent: 20 },
    };
    World {
        clusters: clusters.map(|cluster| (cluster.name.clone(), cluster)).into(),
        services: [(key(), service)].into(),
        round_trips: [
            (("eu".to_owned(), "us".to_owned()), 80_000),
            (("eu".to_owned(), "asia".to_owned()), 200_000),
            (("us".to_owned(), "asia".to_owned()), 150_000),
        ]
        .into(),
    }
}

fn order_from(world: &World, viewer: &str, now: UnixSeconds) -> Vec<Vec<(String, u32)>> {
    names(&plan(world, &name(viewer), now).unwrap().routes[&key()].priorities)
}

fn names(priorities: &[Priority]) -> Vec<Vec<(String, u32)>> {
    priorities.iter().map(|p| p.iter().map(|(n, t)| (n.to_string(), t.weight)).collect()).collect()
}

fn flat(order: &[Vec<(String, u32)>]) -> Vec<&str> {
    order.iter().flatten().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn nearest_goes_own_cluster_then_region_then_by_round_trip_time() {
    let world = world();
    assert_eq!(flat(&order_from(&world, "eu-1", 0)), ["eu-1", "eu-2", "us-1", "asia-1"]);
    assert_eq!(flat(&order_from(&world, "asia-1", 0)), ["asia-1", "us-1", "eu-1", "eu-2"]);
    let route = plan(&world, &name("us-1"), 0).unwrap().routes[&key()].clone();
    assert_eq!(route.priorities[1].len(), 2, "clusters of one region share a priority");
    assert_eq!(route.priorities[1][&name("eu-1")].reason, Reason::RoundTrip);
}

#[test]
fn a_cluster_without_ready_endpoints_is_left_out_with_its_reason() {
    let mut world = world();
    let service = world.services.get_mut(&key()).unwrap();
    service.ready.insert(name("eu-2"), 0);
    service.ready.remove(&name("us-1"));
    world.clusters.get_mut(&name("asia-1")).unwrap().gateways.clear();
    let route = plan(&world, &name("eu-1"), 0).unwrap().routes[&key()].clone();
    assert_eq!(flat(&names(&route.priorities)), ["eu-1"]);
    assert_eq!(route.excluded[&name("eu-2")], Exclusion::NoReadyEndpoints);
    assert_eq!(route.excluded[&name("us-1")], Exclusion::NotThere);
    assert_eq!(route.excluded[&name("asia-1")], Exclusion::NoGateway);
}

#[test]
fn weighted_shares_by_weight_and_keeps_the_others_behind() {
    let mut world = world();
    world.services.get_mut(&key()).unwrap().locality =
        Locality::Weighted([(name("us-1"), 30), (name("asia-1"), 70)].into());
    let order = order_from(&world, "eu-1", 0);
    assert_eq!(order[0], [("asia-1".to_owned(), 70), ("us-1".to_owned(), 30)]);
    assert_eq!(flat(&order[1..]), ["eu-1", "eu-2"]);
}

#[test]
fn ordered_goes_tier_by_tier() {
    let mut world = world();
    world.services.get_mut(&key()).unwrap().locality =
        Locality::Ordered(vec![[name("us-1")].into(), [name("eu-2")].into()]);
    assert_eq!(flat(&order_from(&world, "eu-1", 0)), ["us-1", "eu-2", "eu-1", "asia-1"]);
}

#[test]
fn stay_within_a_region_leaves_no_way_out_of_it() {
    let mut world = world();
    world.services.get_mut(&key()).unwrap().stay_within = StayWithin::Region;
    assert_eq!(flat(&order_from(&world, "eu-1", 0)), ["eu-1", "eu-2"]);
    let route = plan(&world, &name("eu-1"), 0).unwrap().routes[&key()].clone();
    assert_eq!(route.excluded[&name("us-1")], Exclusion::StayWithin(Border::Region));
}

#[test]
fn a_lost_cluster_stands_one_priority_lower_and_is_marked() {
    let mut world = world();
    world.clusters.get_mut(&name("eu-2")).unwrap().verdict = Verdict::Lost;
    let route = plan(&world, &name("eu-1"), 0).unwrap().routes[&key()].clone();
    assert_eq!(flat(&names(&route.priorities)), ["eu-1", "us-1", "eu-2", "asia-1"]);
    assert!(route.priorities[2][&name("eu-2")].lost);
    // Losing the API server alone changes no traffic.
    world.clusters.get_mut(&name("eu-2")).unwrap().verdict = Verdict::ControlLost;
    assert_eq!(flat(&order_from(&world, "eu-1", 0)), ["eu-1", "eu-2", "us-1", "asia-1"]);
}

#[test]
fn an_isolated_cluster_is_absent_and_comes_back_by_itself() {
    let mut world = world();
    for text in ["eu-1", "eu-2"] {
        world.clusters.get_mut(&name(text)).unwrap().operator.isolated_until = Some(100);
    }
    let route = plan(&world, &name("us-1"), 50).unwrap().routes[&key()].clone();
    assert_eq!(flat(&names(&route.priorities)), ["us-1", "asia-1"]);
    assert_eq!(route.excluded[&name("eu-1")], Exclusion::Isolated { until: 100 });
    assert_eq!(route.later.len(), 1);
    assert_eq!(route.later[0].from, 100);
    assert_eq!(names(&route.later[0].priorities), order_from(&world, "us-1", 100));
    // Also in its own gateways, which then send what enters there elsewhere.
    assert_eq!(flat(&order_from(&world, "eu-1", 50)), ["us-1", "asia-1"]);
}

#[test]
fn a_drain_ramps_down_into_the_next_priority_and_ends_in_absence() {
    let mut world = world();
    world.clusters.get_mut(&name("eu-1")).unwrap().operator.share_percent = 25;
    let order = order_from(&world, "eu-1", 0);
    assert_eq!(order[0], [("eu-1".to_owned(), 2500), ("eu-2".to_owned(), 7500)]);
    world.clusters.get_mut(&name("eu-1")).unwrap().operator.share_percent = 0;
    let route = plan(&world, &name("eu-1"), 0).unwrap().routes[&key()].clone();
    assert_eq!(flat(&names(&route.priorities)), ["eu-2", "us-1", "asia-1"]);
    assert_eq!(route.excluded[&name("eu-1")], Exclusion::Drained);
}

#[test]
fn a_drain_of_everything_is_no_outage() {
    let mut world = world();
    for cluster in world.clusters.values_mut() {
        cluster.operator.share_percent = 0;
    }
    assert_eq!(flat(&order_from(&world, "eu-1", 0))[0], "eu-1");
}

#[test]
fn addresses_of_the_own_network_come_before_public_ones() {
    let mut world = world();
    let own = GatewayAddress {
        address: "10.0.0.9:15443".parse().unwrap(),
        network: "default".to_owned(),
    };
    world.clusters.get_mut(&name("us-1")).unwrap().gateways.push(own.clone());
    let peers = plan(&world, &name("eu-1"), 0).unwrap().peers;
    assert_eq!(peers[&name("us-1")].addresses, [own.address]);
    world.clusters.get_mut(&name("eu-1")).unwrap().network = "island".to_owned();
    let peers = plan(&world, &name("eu-1"), 0).unwrap().peers;
    assert_ne!(peers[&name("us-1")].addresses, [own.address]);
}

#[test]
fn a_diff_names_what_changed_and_only_that() {
    let mut world = world();
    let before = plan(&world, &name("eu-1"), 0).unwrap();
    assert!(before.diff(&before).is_empty());
    let other = ServiceKey::new("shop", "cart", 80).unwrap();
    let mut spec = world.services[&key()].clone();
    spec.key = other.clone();
    world.services.insert(other.clone(), spec);
    world.services.get_mut(&key()).unwrap().ready.insert(name("us-1"), 7);
    let after = plan(&world, &name("eu-1"), 0).unwrap();
    let diff = after.diff(&before);
    assert_eq!(diff.added, BTreeSet::from([other]));
    assert_eq!(diff.changed, BTreeSet::from([key()]));
    assert!(diff.removed.is_empty());
    assert_ne!(after.version(), before.version());
}

fn any_cluster() -> impl Strategy<Value = Cluster> {
    let verdict = prop::sample::select(vec![
        Verdict::Unknown,
        Verdict::Healthy,
        Verdict::Suspect,
        Verdict::ControlLost,
        Verdict::DataLost,
        Verdict::Lost,
        Verdict::Recovering,
    ]);
    let share = prop::sample::select(vec![0_u8, 10, 50, 100, 100, 100]);
    let until = prop::option::weighted(0.2, 0_i64..200);
    (0_u8..12, 0_u8..3, 0_u8..2, 0_u8..2, verdict, share, until, prop::bool::weighted(0.9))
        .prop_map(
            |(id, provider, region, zone, verdict, share_percent, isolated_until, gateway)| {
                let region = format!("r{provider}{region}");
                let mut made = cluster(
                    &format!("c{id}"),
                    &format!("p{provider}"),
                    &region,
                    &format!("{region}{zone}"),
                );
                made.verdict = verdict;
                made.operator = Operator { share_percent, isolated_until };
                if !gateway {
                    made.gateways.clear();
                }
                made
            },
        )
}

fn any_world() -> impl Strategy<Value = World> {
    let clusters = prop::collection::vec(any_cluster(), 1..10);
    let ready = prop::collection::btree_map(
        (0_u8..12).prop_map(|id| name(&format!("c{id}"))),
        0_u32..9,
        0..12,
    );
    let stay =
        prop::sample::select(vec![StayWithin::None, StayWithin::Provider, StayWithin::Region]);
    let weights = prop::collection::btree_map(
        (0_u8..12).prop_map(|id| name(&format!("c{id}"))),
        0_u32..9,
        0..6,
    );
    (clusters, ready, stay, weights, 0_u8..3).prop_map(
        |(clusters, ready, stay_within, weights, mode)| {
            let mut made = world();
            made.clusters = clusters.into_iter().map(|c| (c.name.clone(), c)).collect();
            let service = made.services.get_mut(&key()).unwrap();
            service.ready = ready;
            service.stay_within = stay_within;
            service.locality = match mode {
                0 => Locality::Nearest,
                1 => Locality::Weighted(weights),
                _ => Locality::Ordered(weights.keys().map(|name| [name.clone()].into()).collect()),
            };
            made
        },
    )
}

proptest! {
    #[test]
    fn each_cluster_is_either_in_the_order_once_or_excluded_with_a_reason(world in any_world(), now in 0_i64..220) {
        for viewer in world.clusters.keys() {
            let route = plan(&world, viewer, now).unwrap().routes[&key()].clone();
            let mut seen = BTreeSet::new();
            for (cluster, target) in route.priorities.iter().flatten() {
                prop_assert!(seen.insert(cluster.clone()), "{} stands twice", cluster);
                prop_assert!(target.weight > 0);
            }
            prop_assert!(route.priorities.iter().all(|priority| !priority.is_empty()));
            seen.extend(route.excluded.keys().cloned());
            prop_assert_eq!(seen, world.clusters.keys().cloned().collect());
            prop_assert_eq!(
                route.priorities.iter().map(BTreeMap::len).sum::<usize>() + route.excluded.len(),
                world.clusters.len()
            );
        }
    }

    #[test]
    fn residency_isolation_and_readiness_are_never_violated(world in any_world(), now in 0_i64..220) {
        let service = &world.services[&key()];
        for viewer in world.clusters.values() {
            let route = plan(&world, &viewer.name, now).unwrap().routes[&key()].clone();
            let now_and_later = std::iter::once((now, &route.priorities))
                .chain(route.later.iter().map(|later| (later.from, &later.priorities)));
            for (at, priorities) in now_and_later {
                for name in priorities.iter().flat_map(BTreeMap::keys) {
                    let target = &world.clusters[name];
                    match service.stay_within {
                        StayWithin::None => {}
                        StayWithin::Provider => prop_assert_eq!(&target.place.provider, &viewer.place.provider),
                        StayWithin::Region => prop_assert_eq!(&target.place.region, &viewer.place.region),
                    }
                    prop_assert!(target.operator.isolated_until.is_none_or(|until| until <= at));
                    let ready = service.ready.get(name).copied().unwrap_or(0);
                    prop_assert!(ready > 0 || *name == viewer.name);
                }
            }
        }
    }

    #[test]
    fn with_nearest_the_own_cluster_is_first_unless_an_operator_says_otherwise(mut world in any_world()) {
        world.services.get_mut(&key()).unwrap().locality = Locality::Nearest;
        for viewer in world.clusters.values() {
            let route = plan(&world, &viewer.name, 0).unwrap().routes[&key()].clone();
            let out = viewer.operator.isolated_until.is_some_and(|until| until > 0)
                || route.excluded.get(&viewer.name) == Some(&Exclusion::Drained);
            prop_assert_eq!(
                route.priorities.first().is_some_and(|first| first.contains_key(&viewer.name)),
                !out
            );
        }
    }

    #[test]
    fn the_same_world_gives_the_same_snapshot(world in any_world()) {
        for viewer in world.clusters.keys() {
            let (a, b) = (plan(&world, viewer, 0).unwrap(), plan(&world.clone(), viewer, 0).unwrap());
            prop_assert_eq!(a.version(), b.version());
            prop_assert!(a.diff(&b).is_empty());
        }
    }

    #[test]
    fn every_cluster_in_an_order_can_be_reached(world in any_world()) {
        for viewer in world.clusters.keys() {
            let snapshot = plan(&world, viewer, 0).unwrap();
            for name in snapshot.routes[&key()].priorities.iter().flat_map(BTreeMap::keys) {
                prop_assert!(name == viewer || snapshot.peers.contains_key(name), "{} has no address", name);
            }
        }
    }
}
