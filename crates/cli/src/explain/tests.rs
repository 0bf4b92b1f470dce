//! What an operator reads in twelve situations, kept as files beside this one. The engine itself
//! decides wherever its answer is what is explained. `HANSE_KEEP=1` writes the files anew.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use hanse_api::ClusterReplicas;
use hanse_hub::explain::{Explained, Outranked, Said, funnel};
use hanse_scheduler::{
    Assignment, Bounds, DivideBy, Fleet, Health, Member, Mode, NodeShape, Planner, PodNeeds,
    Request, Resources, Room, Rules, Selection, Spread, Survive, Topology, Weight,
};

use super::{svg, text};

fn is_as_kept(name: &str, found: &str) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/explain/snapshots");
    let path = folder.join(name);
    let found = format!("{}\n", found.trim_end());
    if std::env::var_os("HANSE_KEEP").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, kept, "{name} differs; if that is wanted, keep it with HANSE_KEEP=1");
}

const GIB: u64 = 1 << 30;

fn member(name: &str, region: &str, cores: Option<u64>) -> Member {
    let shape = |cores: u64| {
        let free =
            Resources { cpu_milli: cores * 1000, memory_bytes: 64 * GIB, ..Resources::default() };
        let allocatable = free.clone();
        NodeShape { nodes: 1, free, allocatable, free_pods: 100, ..NodeShape::default() }
    };
    Member {
        name: name.into(),
        provider: name.split('-').next().unwrap_or_default().into(),
        region: region.into(),
        room: cores.map_or(Room::Unknown, |cores| Room::nodes(vec![shape(cores)])),
        ..Member::default()
    }
}

/// Two clusters in each of two regions, with as many cores.
fn fleet(cores: [u64; 4]) -> Fleet {
    let [a, b, c, d] = cores;
    Fleet::new([
        member("aws-eu-1", "eu", Some(a)),
        member("aws-eu-2", "eu", Some(b)),
        member("gcp-us-1", "us", Some(c)),
        member("gcp-us-2", "us", Some(d)),
    ])
}

/// A workload whose replicas need a core each.
fn request(replicas: u32, rules: Rules) -> Request {
    let one = Resources { cpu_milli: 1000, memory_bytes: GIB, ..Resources::default() };
    Request {
        rules: Arc::new(rules),
        needs: Arc::new(PodNeeds { request: one, ..PodNeeds::default() }),
        kind: "apps/v1/Deployment".into(),
        replicas,
        ..Request::default()
    }
}

fn previous(counts: &[(&str, u32)]) -> Assignment {
    counts.iter().map(|(name, count)| (Arc::from(*name), *count)).collect()
}

/// What the hub would say: the engine's answer, and what it wrote the last time.
fn explained(fleet: &Fleet, request: &Request) -> Explained {
    let told = funnel(&mut Planner::default(), fleet, request, 7);
    let (reason, message) = (told.outcome.reason.clone(), told.outcome.message.clone());
    let standing = request.previous.iter().map(|(name, count)| cluster(name, count));
    Explained {
        binding: "shop/deployment-0123456789".to_owned(),
        template: "Deployment/web in shop".to_owned(),
        policy: Some("PropagationPolicy shop/web".to_owned()),
        replicas: request.replicas,
        needs: BTreeMap::from([
            ("cpu".to_owned(), "1".to_owned()),
            ("memory".to_owned(), "1Gi".to_owned()),
        ]),
        standing: standing.collect(),
        decided: Some(Said { reason, message }),
        funnel: Some(told),
        ..Explained::default()
    }
}

fn cluster(name: &str, count: u32) -> ClusterReplicas {
    ClusterReplicas { name: name.to_owned(), replicas: i32::try_from(count).unwrap() }
}

fn names(names: &[&str]) -> Selection {
    Selection {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Selection::default()
    }
}

fn says(name: &str, explained: &Explained) {
    is_as_kept(&format!("{name}.txt"), &text::write(explained, false));
}

#[test]
fn fits_nowhere() {
    let mut all = fleet([2, 1, 0, 4]);
    let lost = all.get("gcp-us-2").cloned().unwrap();
    all.set(Member { health: Health::Lost, ..lost });
    says("fits-nowhere", &explained(&all, &request(9, Rules::default())));
}

#[test]
fn tier_two_is_used() {
    let tiers = vec![names(&["aws-eu-1", "aws-eu-2"]), names(&["gcp-us-1", "gcp-us-2"])];
    let rules = Rules { tiers, ..Rules::default() };
    says("tier-two-used", &explained(&fleet([2, 2, 6, 4]), &request(6, rules)));
}

#[test]
fn bounded_by_max() {
    let bounds = vec![
        Bounds { clusters: names(&["aws-eu-1", "aws-eu-2"]), min: 1, max: Some(2) },
        Bounds { clusters: Selection::default(), min: 0, max: Some(3) },
    ];
    let rules = Rules { bounds, ..Rules::default() };
    let mut wanted = request(12, rules);
    wanted.partial = true;
    says("bounded-by-max", &explained(&fleet([8, 8, 8, 2]), &wanted));
}

#[test]
fn held_by_history() {
    let mut wanted = request(8, Rules::default());
    wanted.previous = previous(&[("aws-eu-1", 6), ("gcp-us-1", 2)]);
    says("held-by-history", &explained(&fleet([2, 8, 6, 8]), &wanted));
}

#[test]
fn blocked_by_the_tenants_quota() {
    let mut wanted = request(6, Rules::default());
    wanted.quota = Some(4);
    says("tenant-quota", &explained(&fleet([8, 8, 8, 8]), &wanted));
}

/// What the hub keeps back is not the engine's affair: the binding says it.
#[test]
fn held_for_higher_importance() {
    let mut found = explained(&fleet([2, 2, 2, 2]), &request(4, Rules::default()));
    found.decided = Some(Said {
        reason: "HeldForHigherImportance".to_owned(),
        message: "Deployment/pay in shop waits for room for 6 replicas".to_owned(),
    });
    says("held-for-higher-importance", &found);
}

#[test]
fn spread_that_cannot_be() {
    let spread = vec![Spread { key: Topology::Region, min: 3, max: None }];
    says(
        "too-few-domains",
        &explained(&fleet([4, 4, 4, 4]), &request(6, Rules { spread, ..Rules::default() })),
    );
    let spread = vec![
        Spread { key: Topology::Region, min: 2, max: None },
        Spread { key: Topology::Cluster, min: 2, max: Some(2) },
    ];
    let rules = Rules { spread, ..Rules::default() };
    says("spread-unsatisfiable", &explained(&fleet([4, 4, 4, 4]), &request(12, rules)));
}

#[test]
fn capacity_is_unknown() {
    let all = Fleet::new([
        member("aws-eu-1", "eu", None),
        member("aws-eu-2", "eu", None),
        member("gcp-us-1", "us", Some(2)),
    ]);
    says("capacity-unknown", &explained(&all, &request(4, Rules::default())));
}

#[test]
fn a_companion_is_missing() {
    let mut found = explained(&fleet([4, 4, 4, 4]), &request(4, Rules::default()));
    found.missing = vec!["ConfigMap/settings".to_owned(), "Secret/db".to_owned()];
    says("companion-missing", &found);
}

#[test]
fn policies_conflict() {
    let mut found = explained(&fleet([4, 4, 4, 4]), &request(4, Rules::default()));
    found.outranked = vec![Outranked {
        policy: "ClusterPropagationPolicy everything".to_owned(),
        why: "priority 0 is below 10".to_owned(),
    }];
    says("policy-conflict", &found);
}

#[test]
fn fits_only_by_moving() {
    // Four stand where a spread over two clusters has no room for the rest.
    let spread = vec![Spread { key: Topology::Cluster, min: 1, max: Some(2) }];
    let mut wanted = request(10, Rules { spread, ..Rules::default() });
    wanted.previous = previous(&[("aws-eu-1", 2), ("aws-eu-2", 2)]);
    says("fits-only-by-moving", &explained(&fleet([1, 1, 6, 6]), &wanted));
}

#[test]
fn the_policy_is_gone() {
    let tiers = vec![names(&["aws-eu-1", "gcp-us-1"])];
    let mut wanted = request(4, Rules { tiers, ..Rules::default() });
    wanted.previous = previous(&[("aws-eu-1", 2), ("gcp-us-1", 2)]);
    let mut found = explained(&fleet([4, 4, 4, 4]), &wanted);
    found.policy = None;
    found.decided = Some(Said {
        reason: "PolicyGone".to_owned(),
        message: "4 replicas in 2 clusters; its policy is gone or no longer selects it".to_owned(),
    });
    says("policy-gone", &found);
}

#[test]
fn a_domain_that_may_not_be_lost_is_named() {
    let survive = Survive {
        domain: Topology::Region,
        min_percent: 100,
        standby: hanse_scheduler::Standby::Spare,
        enforce: hanse_scheduler::Enforce::Warn,
    };
    let rules = Rules { survive: Some(survive), ..Rules::default() };
    says("would-not-survive", &explained(&fleet([6, 2, 2, 1]), &request(8, rules)));
}

/// A picture with everything in it: tiers, weights, bounds, history, rejections.
#[test]
fn the_picture_is_as_kept() {
    let mut all = fleet([6, 6, 9, 4]);
    all.set(member("az-asia-1", "asia", Some(8)));
    all.set(Member { health: Health::Lost, ..member("az-asia-2", "asia", Some(8)) });
    all.set(Member { cordoned: true, ..member("az-asia-3", "asia", Some(8)) });
    let weights = vec![
        Weight { clusters: names(&["aws-eu-1"]), weight: 3 },
        Weight { clusters: Selection::default(), weight: 1 },
    ];
    let bounds = vec![Bounds { clusters: names(&["gcp-us-1"]), min: 1, max: Some(2) }];
    let spread = vec![Spread { key: Topology::Region, min: 2, max: Some(3) }];
    let mut wanted = request(12, Rules { bounds, spread, ..Rules::default() });
    wanted.mode = Mode::Divide(DivideBy::Weighted(Arc::new(weights)));
    wanted.previous = previous(&[("aws-eu-1", 3), ("gcp-us-2", 4)]);
    let found = explained(&all, &wanted);
    says("weighted", &found);
    is_as_kept("weighted.svg", &svg::draw(&found));
}

#[test]
fn names_cannot_break_out_of_the_picture() {
    let mut found = explained(&fleet([4, 4, 4, 4]), &request(4, Rules::default()));
    found.template = "Deployment/<script>&\"".to_owned();
    let picture = svg::draw(&found);
    assert!(picture.contains("Deployment/&lt;script&gt;&amp;&quot;"), "{picture}");
    assert!(!picture.contains("<script"), "{picture}");
}
