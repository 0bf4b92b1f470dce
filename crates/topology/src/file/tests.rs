//! Topology files that work, and the text each broken one is refused with.

use super::*;

fn sample() -> String {
    "hub: {provider: aws, region: eu}\n\
     clusters:\n\
     - {name: a, provider: aws, region: eu, zone: eu-1, nodes: [{count: 1, cpu: '4', memory: 8Gi}]}\n\
     - {name: b, provider: aws, region: eu, zone: eu-2, nodes: [{count: 1, cpu: '4', memory: 8Gi}]}\n\
     - {name: c, provider: gcp, region: us, nodes: [{count: 1, cpu: '4', memory: 8Gi}]}\n\
     roundTripMilliseconds: [{from: eu, to: us, value: 80}]\n"
        .to_owned()
}

fn refusal(text: &str) -> String {
    Topology::parse(text).unwrap_err().to_string()
}

#[test]
fn the_default_topology_is_valid_and_has_three_regions_of_two_clusters() {
    let topology =
        Topology::parse(include_str!("../../../../topology/three-regions.yaml")).unwrap();
    let mut regions = BTreeMap::<_, u32>::new();
    for cluster in &topology.clusters {
        *regions.entry(cluster.region.as_str()).or_default() += 1;
    }
    assert_eq!(regions, BTreeMap::from([("eu-west-1", 2), ("southeastasia", 2), ("us-east1", 2)]));
}

#[test]
fn distances_are_symmetric_and_shorter_inside_a_region() {
    let topology = Topology::parse(&sample()).unwrap();
    let place = |name| topology.place(name).unwrap();
    let trip = |from, to| topology.round_trip(&place(from), &place(to), from == to);
    assert_eq!(trip("a", "c"), Duration::from_millis(80));
    assert_eq!(trip("c", "a"), Duration::from_millis(80));
    assert_eq!(trip("a", "b"), SAME_REGION);
    assert_eq!(trip("a", "a"), SAME_CLUSTER);
}

#[test]
fn an_unknown_region_is_named_with_those_that_exist() {
    assert_eq!(
        refusal(&sample().replace("to: us", "to: mars")),
        "topology is not valid\n  roundTripMilliseconds[0].to: unknown region `mars`; the \
         clusters are in eu, us"
    );
    assert_eq!(
        refusal(&sample().replace("aws, region: eu}", "aws, region: moon}")),
        "topology is not valid\n  hub.region: unknown region `moon`; the clusters are in eu, us"
    );
}

#[test]
fn a_duplicate_cluster_name_is_refused_with_both_places() {
    assert_eq!(
        refusal(&sample().replace("name: b", "name: a")),
        "topology is not valid\n  clusters[1].name: `a` is also the name of clusters[0]; give \
         each its own"
    );
}

#[test]
fn an_unknown_unit_is_refused_with_the_known_ones() {
    let text = refusal(&sample().replacen("8Gi", "8GB", 1));
    assert!(
        text.contains("clusters[0].nodes[0].memory: unknown unit `GB` in `8GB`; use one of Ki"),
        "{text}"
    );
}

#[test]
fn a_region_of_two_providers_and_a_zone_of_two_regions_are_refused() {
    let text = refusal(&sample().replace("provider: gcp, region: us", "provider: gcp, region: eu"));
    assert!(text.contains("clusters[2].region: `eu` belongs to provider `aws` above"), "{text}");
    let text = refusal(&sample().replace("region: us,", "region: us, zone: eu-1,"));
    assert!(text.contains("clusters[2].zone: `eu-1` belongs to region `eu` above"), "{text}");
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = sample().replace("name: b", "name: B").replace("to: us", "to: mars");
    assert_eq!(Topology::parse(&text).unwrap_err().0.len(), 2);
}

#[test]
fn an_unknown_field_is_refused_by_name() {
    let text = refusal(&sample().replace("zone: eu-1", "zoone: eu-1"));
    assert!(text.contains("zoone"), "{text}");
}
