//! What must hold in every run, checked by code that shares nothing with the engines: it reads the
//! members' own APIs.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use hanse_api::ClusterReplicas;
use hanse_hub::{DECISIONS, VIOLATIONS};
use hanse_scheduler::{
    Decision, Fleet, Member, NodeShape, PodNeeds, Request, Resources, Room, checker,
};
use hanse_sim::world::World;
use hanse_topology::{Cluster, Topology};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;

/// Replicas that the members hold now, and how many of them are ready.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Holding {
    pub(crate) replicas: BTreeMap<String, i32>,
    pub(crate) ready: BTreeMap<String, i32>,
}

/// Looks at a Deployment in every member, past all links and faults.
pub(crate) async fn look(world: &World, namespace: &str, name: &str) -> Result<Holding> {
    let mut holding = Holding::default();
    for member in world.members() {
        let api: Api<Deployment> = Api::namespaced(member.local_client(), namespace);
        if let Some(found) = api.get_opt(name).await? {
            let ready = found.status.and_then(|status| status.ready_replicas).unwrap_or(0);
            holding.replicas.insert(member.name().to_owned(), found.spec.replicas.unwrap_or(1));
            holding.ready.insert(member.name().to_owned(), ready);
        }
    }
    Ok(holding)
}

/// Between two looks, a member may lose replicas only while the others have enough ready ones.
pub(crate) fn removed_only_when_replaced(
    before: &Holding,
    after: &Holding,
    wanted: i32,
) -> Result<()> {
    for (member, had) in &before.replicas {
        let has = after.replicas.get(member).copied().unwrap_or(0);
        let elsewhere: i32 =
            after.ready.iter().filter(|(other, _)| *other != member).map(|(_, ready)| ready).sum();
        ensure!(
            has >= *had || elsewhere + has >= wanted,
            "{member} went from {had} to {has} while the others had {elsewhere} of {wanted} ready"
        );
    }
    Ok(())
}

/// No hub counted a decision that broke a promise. Each page is what one hub measures; a page
/// without decisions proves nothing and fails too.
pub(crate) fn no_promise_broken(pages: &[String]) -> Result<()> {
    let counted = |page: &&String| page.lines().any(|line| line.starts_with(DECISIONS));
    ensure!(pages.iter().any(|page| counted(&page)), "no hub counted a decision");
    for page in pages {
        let broken = page.lines().find(|line| line.starts_with(VIOLATIONS));
        ensure!(broken.is_none(), "a decision broke a promise: {broken:?}");
    }
    Ok(())
}

/// A decision as it stands, checked against the empty fleet of a topology: the hub's own view of
/// room and members plays no part.
pub(crate) fn stands_well(
    topology: &Topology,
    clusters: &[ClusterReplicas],
    replicas: i32,
) -> Result<()> {
    let members: Result<Vec<Member>> = topology.clusters.iter().map(member).collect();
    let fleet = Fleet::new(members?);
    let needs = Resources { cpu_milli: 500, memory_bytes: 64 << 20, ..Resources::default() };
    let request = Request {
        needs: Arc::new(PodNeeds { request: needs, ..PodNeeds::default() }),
        kind: "apps/v1/Deployment".into(),
        replicas: u32::try_from(replicas)?,
        ..Request::default()
    };
    let placed = clusters
        .iter()
        .map(|cluster| Ok((Arc::from(cluster.name.as_str()), u32::try_from(cluster.replicas)?)));
    let assignment = placed.collect::<Result<_>>()?;
    let broken = checker::check(&fleet, &request, &Decision { assignment, ..Decision::default() });
    ensure!(broken.is_empty(), "{clusters:?} breaks {broken:?}");
    Ok(())
}

/// A member with all its room free.
fn member(cluster: &Cluster) -> Result<Member> {
    let mut shapes = Vec::new();
    for nodes in &cluster.nodes {
        let cores: u64 = nodes.cpu.parse().with_context(|| format!("cpu {}", nodes.cpu))?;
        let gibibytes = nodes.memory.strip_suffix("Gi").context("memory in Gi")?;
        let memory_bytes = gibibytes.parse::<u64>()? << 30;
        let free = Resources { cpu_milli: cores * 1000, memory_bytes, ..Resources::default() };
        let (nodes, free_pods) = (nodes.count.into(), nodes.pods.into());
        shapes.push(NodeShape { nodes, free, free_pods, ..NodeShape::default() });
    }
    Ok(Member {
        name: cluster.name.as_str().into(),
        provider: cluster.provider.as_str().into(),
        region: cluster.region.as_str().into(),
        room: Room::nodes(shapes),
        ..Member::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: &str = "
hub: {provider: aws, region: eu}
clusters:
  - {name: a, provider: aws, region: eu, nodes: [{count: 1, cpu: '4', memory: 8Gi}]}
  - {name: b, provider: gcp, region: us, nodes: [{count: 1, cpu: '4', memory: 8Gi}]}
";

    fn judged(clusters: &[(&str, i32)], replicas: i32) -> String {
        let list: Vec<ClusterReplicas> = clusters
            .iter()
            .map(|(name, replicas)| ClusterReplicas {
                name: (*name).to_owned(),
                replicas: *replicas,
            })
            .collect();
        let judged = stands_well(&Topology::parse(FLEET).unwrap(), &list, replicas);
        judged.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_decision_that_loses_a_replica_or_overfills_or_invents_a_member_is_found() {
        assert_eq!(judged(&[("a", 4), ("b", 2)], 6), "");
        assert!(judged(&[("a", 3), ("b", 2)], 6).contains("Sum"));
        assert!(judged(&[("a", 9), ("b", 1)], 10).contains("Room"));
        assert!(judged(&[("a", 3), ("z", 3)], 6).contains("Closed"));
    }

    #[test]
    fn a_counted_violation_fails_and_so_does_a_page_without_decisions() {
        let page = |text: &str| no_promise_broken(&[text.to_owned()]);
        let good = "hanse_placement_decisions_total{reason=\"Scheduled\"} 3\n";
        page(good).unwrap();
        page("").unwrap_err();
        let bad = format!("{good}hanse_placement_violations_total{{violation=\"Room\"}} 1\n");
        page(&bad).unwrap_err();
    }

    #[test]
    fn copies_that_go_before_their_replacement_is_ready_are_found() {
        let holding = |a: i32, b: i32, ready: i32| Holding {
            replicas: [("a".to_owned(), a), ("b".to_owned(), b)].into(),
            ready: [("a".to_owned(), a), ("b".to_owned(), ready)].into(),
        };
        removed_only_when_replaced(&holding(6, 6, 6), &holding(0, 6, 6), 6).unwrap();
        removed_only_when_replaced(&holding(6, 6, 5), &holding(0, 6, 5), 6).unwrap_err();
    }
}
