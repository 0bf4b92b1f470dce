//! What an operator reads, kept as files beside this one. `HANSE_KEEP=1` writes them anew.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use hanse_api::ClusterReplicas;
use hanse_hub::explain::{Explained, Said, funnel};
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

fn member(name: &str, region: &str, cores: u64) -> Member {
    let free =
        Resources { cpu_milli: cores * 1000, memory_bytes: 64 * GIB, ..Resources::default() };
    let allocatable = free.clone();
    let shape = NodeShape { nodes: 1, free, allocatable, free_pods: 100, ..NodeShape::default() };
    Member {
        name: name.into(),
        provider: name.split('-').next().unwrap_or_default().into(),
        region: region.into(),
        room: Room::nodes(vec![shape]),
        ..Member::default()
    }
}

/// Two clusters in each of two regions, with as many cores.
fn fleet(cores: [u64; 4]) -> Fleet {
    let [a, b, c, d] = cores;
    Fleet::new([
        member("aws-eu-1", "eu", a),
        member("aws-eu-2", "eu", b),
        member("gcp-us-1", "us", c),
        member("gcp-us-2", "us", d),
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

/// What the hub would say where the engine's answer is all there is to it.
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

/// What a live hub said of situations that operators meet: the hub's own tests bring each about,
/// and keep its answer.
#[test]
fn what_the_hub_says_of_each_situation_tells_what_to_change() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../hub/tests/federation/reasons");
    let mut drawn = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let said = std::fs::read(&path).unwrap();
        let explained: Explained = serde_json::from_slice(&said).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let words = text::write(&explained, false);
        assert!(words.contains("what to change"), "{name} leaves the reader alone:\n{words}");
        is_as_kept(&format!("{name}.txt"), &words);
        drawn += 1;
    }
    assert!(drawn >= 12, "{drawn} situations");
}

#[test]
fn too_few_domains() {
    let spread = vec![Spread { key: Topology::Region, min: 3, max: None }];
    let wanted = request(6, Rules { spread, ..Rules::default() });
    says("too-few-domains", &explained(&fleet([4, 4, 4, 4]), &wanted));
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
    all.set(member("az-asia-1", "asia", 8));
    all.set(Member { health: Health::Lost, ..member("az-asia-2", "asia", 8) });
    all.set(Member { cordoned: true, ..member("az-asia-3", "asia", 8) });
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
