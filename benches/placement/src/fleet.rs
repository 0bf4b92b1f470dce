//! A fleet of realistic shape: twenty regions of four providers with their distances, clusters of
//! three sizes in three zones of each region.

use std::collections::BTreeMap;

use hanse_bench_scheduler::fleet::Dice;
use hanse_topology::{Cluster, Hub, Nodes, RoundTrip, Topology};
use serde_json::{Value, json};

/// A region: provider, name, degrees north and east.
type Region = (&'static str, &'static str, f64, f64);

/// Regions of public clouds, at about the towns that they are named after.
const REGIONS: [Region; 20] = [
    ("aws", "us-east-1", 39.0, -77.5),
    ("aws", "us-west-2", 45.8, -119.7),
    ("aws", "eu-west-1", 53.3, -6.3),
    ("aws", "eu-central-1", 50.1, 8.7),
    ("aws", "ap-southeast-1", 1.3, 103.8),
    ("aws", "ap-northeast-1", 35.7, 139.7),
    ("aws", "sa-east-1", -23.5, -46.6),
    ("gcp", "us-central1", 41.3, -95.9),
    ("gcp", "us-east4", 39.0, -77.5),
    ("gcp", "europe-west4", 53.4, 6.8),
    ("gcp", "europe-north1", 60.6, 27.2),
    ("gcp", "asia-south1", 19.1, 72.9),
    ("gcp", "australia-southeast1", -33.9, 151.2),
    ("azure", "eastus", 37.4, -79.8),
    ("azure", "westeurope", 52.4, 4.9),
    ("azure", "uksouth", 51.5, -0.1),
    ("azure", "japaneast", 35.7, 139.7),
    ("azure", "southafricanorth", -26.2, 28.0),
    ("hetzner", "fsn1", 50.5, 12.3),
    ("hetzner", "hel1", 60.2, 24.9),
];

/// Nodes of a small, a medium and a large cluster: how many, cores, memory.
const SIZES: [(u32, &str, &str); 3] = [(3, "16", "64Gi"), (8, "32", "128Gi"), (12, "64", "256Gi")];

/// Kilometres that light goes in a fibre in a millisecond there and back, less detours.
const KILOMETRES_A_MILLISECOND: f64 = 70.0;

/// A fleet of so many members.
pub(crate) fn topology(members: u64) -> Topology {
    let mut dice = Dice(members);
    let clusters = (0..members).map(|at| cluster(&mut dice, at)).collect();
    let mut round_trip_milliseconds = Vec::new();
    for (at, from) in REGIONS.iter().enumerate() {
        for to in &REGIONS[at + 1..] {
            round_trip_milliseconds.push(RoundTrip {
                from: from.1.to_owned(),
                to: to.1.to_owned(),
                value: milliseconds(from, to),
            });
        }
    }
    let hub = Hub { provider: "aws".to_owned(), region: "eu-west-1".to_owned() };
    Topology { hub, clusters, round_trip_milliseconds }
}

fn cluster(dice: &mut Dice, at: u64) -> Cluster {
    let count = u64::try_from(REGIONS.len()).unwrap_or(1);
    let (provider, region, ..) = REGIONS[usize::try_from(at % count).unwrap_or(0)];
    let size = match dice.within(1, 10) {
        1..=3 => 0,
        4..=8 => 1,
        _ => 2,
    };
    let (count_of_nodes, cpu, memory) = SIZES[size];
    let nodes = Nodes {
        count: count_of_nodes,
        cpu: cpu.to_owned(),
        memory: memory.to_owned(),
        pods: 250,
        labels: BTreeMap::new(),
        taints: Vec::new(),
    };
    Cluster {
        name: format!("{region}-{:03}", at / count),
        provider: provider.to_owned(),
        region: region.to_owned(),
        zone: format!("{region}-{}", ["a", "b", "c"][usize::try_from(at / count % 3).unwrap_or(0)]),
        network: "default".to_owned(),
        nodes: vec![nodes],
    }
}

/// Great circle, at the speed of light in fibre.
fn milliseconds(from: &Region, to: &Region) -> u32 {
    let (a, b) = (from.2.to_radians(), to.2.to_radians());
    let east = (from.3 - to.3).to_radians();
    let cosine = a.sin() * b.sin() + a.cos() * b.cos() * east.cos();
    let kilometres = 6371.0 * cosine.clamp(-1.0, 1.0).acos();
    let whole = format!("{:.0}", 1.0 + kilometres / KILOMETRES_A_MILLISECOND);
    whole.parse().unwrap_or(1)
}

/// The MemberCluster of a cluster.
pub(crate) fn member(cluster: &Cluster, at: usize) -> Value {
    let env = if at % 4 == 3 { "staging" } else { "prod" };
    let tier = ["gold", "silver", "bronze"][at / 20 % 3];
    json!({
        "apiVersion": "hanse.dev/v1alpha1", "kind": "MemberCluster",
        "metadata": {"name": cluster.name, "labels": {"env": env, "tier": tier}},
        "spec": {
            "connection": {"simulated": {}}, "provider": cluster.provider,
            "region": cluster.region, "zone": cluster.zone, "network": cluster.network,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fleet_is_a_valid_topology_with_distances_of_this_world() {
        let topology = topology(1000);
        let text = serde_json::to_string(&topology).unwrap();
        assert_eq!(Topology::parse(&text).unwrap(), topology);
        let value = |a: &str, b: &str| {
            let pair = topology.round_trip_milliseconds.iter().find(|t| t.from == a && t.to == b);
            pair.unwrap().value
        };
        assert!((70..90).contains(&value("us-east-1", "eu-west-1")));
        assert!((150..200).contains(&value("eu-west-1", "ap-southeast-1")));
    }
}
