//! Who watches whom: up to five gateways of other regions per member, so that a fleet of a
//! thousand does not probe itself a million times, and no region votes twice before all have
//! voted once. Chosen by rendezvous hash, so that a change of the fleet moves few of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash as _, Hasher as _},
};

use crate::{
    model::{Cluster, ClusterName, World},
    snapshot::Fnv,
};

/// Observers of one member at most.
pub const MAX_OBSERVERS: usize = 5;
/// Observers of one provider at most, while other providers have candidates.
const MAX_PER_PROVIDER: usize = 2;

/// The observers of each member that has a gateway, best first.
pub fn observers(world: &World) -> BTreeMap<ClusterName, Vec<ClusterName>> {
    world
        .clusters
        .values()
        .filter(|target| !target.gateways.is_empty())
        .map(|target| (target.name.clone(), observers_of(world, target)))
        .collect()
}

fn observers_of(world: &World, target: &Cluster) -> Vec<ClusterName> {
    let mut candidates: Vec<&Cluster> = world
        .clusters
        .values()
        .filter(|other| other.place.region != target.place.region)
        .filter(|other| !other.gateways.is_empty() && !other.verdict.is_lost_for_traffic())
        .collect();
    candidates.sort_by_key(|other| std::cmp::Reverse(score(&target.name, &other.name)));
    let mut chosen: Vec<&Cluster> = Vec::new();
    // One per region and few per provider; then more per region; then more per provider.
    for (regions_once, providers_bounded) in
        [(true, true), (true, false), (false, true), (false, false)]
    {
        let mut regions: BTreeSet<&str> = chosen.iter().map(|c| c.place.region.as_str()).collect();
        for candidate in &candidates {
            let place = &candidate.place;
            let of_provider = |c: &&&Cluster| c.place.provider == place.provider;
            let full =
                providers_bounded && chosen.iter().filter(of_provider).count() >= MAX_PER_PROVIDER;
            let seen = chosen.iter().any(|c| c.name == candidate.name);
            if chosen.len() == MAX_OBSERVERS || seen || full {
                continue;
            }
            if regions.insert(&place.region) || !regions_once {
                chosen.push(candidate);
            }
        }
    }
    chosen.into_iter().map(|c| c.name.clone()).collect()
}

fn score(target: &ClusterName, observer: &ClusterName) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    target.hash(&mut hash);
    observer.hash(&mut hash);
    // FNV's upper bits mix poorly on short input; one multiply-shift round evens them out.
    let mixed = hash.finish();
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GatewayAddress, Operator, Place, Verdict};

    fn world(members: &[(&str, &str, &str)]) -> World {
        let clusters = members.iter().map(|(name, provider, region)| {
            let cluster = Cluster {
                name: ClusterName::new(*name).unwrap(),
                place: Place {
                    provider: (*provider).to_owned(),
                    region: (*region).to_owned(),
                    zone: None,
                },
                network: "default".to_owned(),
                gateways: vec![GatewayAddress {
                    address: "127.0.0.1:15443".parse().unwrap(),
                    network: "default".to_owned(),
                }],
                verdict: Verdict::Healthy,
                operator: Operator::default(),
            };
            (cluster.name.clone(), cluster)
        });
        World { clusters: clusters.collect(), ..World::default() }
    }

    #[test]
    fn each_other_region_observes_before_any_observes_twice() {
        let world = world(&[
            ("a1", "aws", "eu"),
            ("a2", "aws", "eu"),
            ("b1", "gcp", "us"),
            ("b2", "gcp", "us"),
            ("c1", "azure", "asia"),
            ("c2", "azure", "asia"),
        ]);
        for (target, by) in observers(&world) {
            let regions: Vec<&str> =
                by.iter().map(|o| world.clusters[o].place.region.as_str()).collect();
            assert_eq!(by.len(), 4, "{target}: {by:?}");
            assert_ne!(regions[0], regions[1], "{target}: {by:?}");
            assert!(!regions.contains(&world.clusters[&target].place.region.as_str()));
        }
    }

    #[test]
    fn one_provider_gives_at_most_two_observers_while_others_can() {
        let world = world(&[
            ("t", "x", "r0"),
            ("a1", "aws", "r1"),
            ("a2", "aws", "r2"),
            ("a3", "aws", "r3"),
            ("g1", "gcp", "r4"),
            ("g2", "gcp", "r5"),
            ("z1", "azure", "r6"),
        ]);
        let by = &observers(&world)[&ClusterName::new("t").unwrap()];
        let aws = by.iter().filter(|o| world.clusters[*o].place.provider == "aws").count();
        assert_eq!((by.len(), aws), (5, 2), "{by:?}");
    }

    #[test]
    fn a_lost_observer_is_replaced_and_the_others_stay() {
        let members: Vec<(String, String)> =
            (0..9).map(|i| (format!("m{i}"), format!("r{i}"))).collect();
        let members: Vec<(&str, &str, &str)> = members
            .iter()
            .map(|(name, region)| (name.as_str(), region.as_str(), region.as_str()))
            .collect();
        let mut world = world(&members);
        let target = ClusterName::new("m0").unwrap();
        let before = observers(&world)[&target].clone();
        world.clusters.get_mut(&before[2]).unwrap().verdict = Verdict::Lost;
        let after = observers(&world)[&target].clone();
        assert_eq!(after.len(), 5);
        assert!(!after.contains(&before[2]));
        assert!(before.iter().filter(|o| **o != before[2]).all(|o| after.contains(o)));
    }
}
