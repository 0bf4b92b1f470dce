//! Fleets and requests as the peer was measured with: 12 labels a cluster, 10 regions of 3 zones,
//! 3 providers, 80 kinds, 3 to 50 nodes of 16 cores and 64 GiB that are 35 to 90 % allocated, 5 %
//! of the clusters with a hard taint. Replicas ask for 250m and 512 MiB.

use std::{collections::BTreeMap, sync::Arc};

use hanse_scheduler::{
    Assignment, DivideBy, Fleet, LabelRule, Member, Mode, NodeShape, PodNeeds, Request, Resources,
    Room, Rules, Selection, Spread, Taint, TaintEffect, Topology, Weight, schedule,
};

/// SplitMix64.
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// A number from `low` to `high`, both counted in.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (mixed ^ (mixed >> 31)) % (high - low + 1)
    }
}

/// A fleet of so many members.
pub fn fleet(count: u64) -> Fleet {
    let mut dice = Dice(count);
    Fleet::new((0..count).map(|at| member(&mut dice, at)))
}

fn member(dice: &mut Dice, at: u64) -> Member {
    let region = at % 10;
    let mut labels: BTreeMap<String, String> = (0..9)
        .map(|n| (format!("example.com/label-{n}"), format!("value-{}", dice.within(0, 20))))
        .collect();
    labels.insert("env".to_owned(), if dice.within(0, 1) == 0 { "prod" } else { "dev" }.to_owned());
    let tier = ["gold", "silver", "bronze"][usize::try_from(dice.within(0, 2)).unwrap_or(0)];
    labels.insert("tier".to_owned(), tier.to_owned());
    labels.insert("id".to_owned(), format!("{at}"));
    if at < 10 {
        labels.insert("few".to_owned(), "yes".to_owned());
    }
    let kinds = (0..79).map(|n| format!("group-{}.example.com/v1/Kind{n}", n / 3));
    let hard = dice.within(1, 100) <= 5;
    let taint = Taint {
        key: "dedicated".to_owned(),
        value: "batch".to_owned(),
        effect: TaintEffect::NoSchedule,
    };
    Member {
        name: format!("member-{at:05}").into(),
        provider: format!("provider-{}", at % 3).into(),
        region: format!("region-{region}").into(),
        zone: format!("region-{region}-{}", at / 10 % 3).into(),
        labels: Arc::new(labels),
        taints: if hard { vec![taint] } else { Vec::new() },
        kinds: Some(Arc::new(kinds.chain(["apps/v1/Deployment".to_owned()]).collect())),
        room: Room::nodes((0..dice.within(3, 50)).map(|_| node(dice)).collect()),
        ..Member::default()
    }
}

fn node(dice: &mut Dice) -> NodeShape {
    let free = 100 - dice.within(35, 90);
    let allocatable =
        Resources { cpu_milli: 16_000, memory_bytes: 64 << 30, ..Resources::default() };
    NodeShape {
        nodes: 1,
        free: Resources {
            cpu_milli: 160 * free,
            memory_bytes: (64 << 30) / 100 * free,
            ..Resources::default()
        },
        free_pods: 110 * free / 100,
        allocatable,
        ..NodeShape::default()
    }
}

/// One scenario: a fleet and what is asked of it.
#[derive(Debug)]
pub struct Scenario {
    /// Its name, as in the recorded figures.
    pub name: &'static str,
    /// The fleet.
    pub fleet: Fleet,
    /// What is asked.
    pub request: Request,
}

/// What one replica needs.
pub fn needs() -> Arc<PodNeeds> {
    let request = Resources { cpu_milli: 250, memory_bytes: 512 << 20, ..Resources::default() };
    Arc::new(PodNeeds { request, ..PodNeeds::default() })
}

/// A request of 100 replicas, divided so.
pub fn request(mode: Mode, rules: Rules) -> Request {
    Request {
        rules: Arc::new(rules),
        needs: needs(),
        kind: "apps/v1/Deployment".into(),
        replicas: 100,
        mode,
        ..Request::default()
    }
}

fn labelled(key: &str, value: &str) -> Selection {
    let rule = LabelRule::In(key.to_owned(), vec![value.to_owned()]);
    Selection { labels: vec![rule], ..Selection::default() }
}

/// A policy that admits the ten members with the label `few`.
pub fn few() -> Request {
    let rules = Rules { tiers: vec![labelled("few", "yes")], ..Rules::default() };
    request(Mode::Divide(DivideBy::Capacity), rules)
}

/// The scenarios a to f3 over a fleet of so many members.
pub fn scenarios(count: u64) -> Vec<Scenario> {
    let fleet = fleet(count);
    let capacity = || Mode::Divide(DivideBy::Capacity);
    let mut duplicated = request(
        Mode::Duplicate,
        Rules { tiers: vec![labelled("env", "prod")], ..Rules::default() },
    );
    duplicated.replicas = 3;
    let weights = [("gold", 4), ("silver", 2), ("bronze", 1)];
    let weights = weights.map(|(tier, weight)| Weight { clusters: labelled("tier", tier), weight });
    let weighted =
        request(Mode::Divide(DivideBy::Weighted(Arc::new(weights.into()))), Rules::default());
    let spread = Rules {
        spread: vec![
            Spread { key: Topology::Region, min: 2, max: Some(3) },
            Spread { key: Topology::Cluster, min: 2, max: Some(6) },
        ],
        ..Rules::default()
    };
    let divided = request(capacity(), Rules::default());
    let packed = request(Mode::Divide(DivideBy::Pack), Rules::default());
    let spread_out = request(capacity(), spread);
    let f0 = placed(&fleet, &divided);
    let gone = fleet.without(|member| &*member.region == "region-3");
    let (f2_fleet, f2) = evicted(&fleet, &placed(&fleet, &divided));
    let (f3_fleet, f3) = evicted(&fleet, &placed(&fleet, &spread_out));
    let f1 = f0.clone();
    let on = |name, request| Scenario { name, fleet: fleet.clone(), request };
    vec![
        on("a", duplicated),
        on("b", weighted),
        on("c", divided),
        on("d", packed),
        on("e", spread_out),
        on("f0", f0),
        Scenario { name: "f1", fleet: gone, request: f1 },
        Scenario { name: "f2", fleet: f2_fleet, request: f2 },
        Scenario { name: "f3", fleet: f3_fleet, request: f3 },
    ]
}

/// The same request where its result stands.
fn placed(fleet: &Fleet, request: &Request) -> Request {
    let decision = schedule(fleet, request, 7).expect("the fleets of the bench have room");
    Request { previous: decision.assignment, ..request.clone() }
}

/// The most used region tainted, and its replicas on their way out.
fn evicted(fleet: &Fleet, standing: &Request) -> (Fleet, Request) {
    let region = standing
        .previous
        .iter()
        .find_map(|(name, _)| fleet.get(name).map(|member| Arc::clone(&member.region)))
        .unwrap_or_default();
    let mut tainted = fleet.clone();
    for member in fleet.iter().filter(|member| member.region == region) {
        let mut member = member.clone();
        for effect in [TaintEffect::NoSchedule, TaintEffect::NoExecute] {
            member.taints.push(Taint { key: "lost".to_owned(), value: String::new(), effect });
        }
        tainted.set(member);
    }
    let inside = |name: &str| fleet.get(name).is_some_and(|member| member.region == region);
    let names = standing.previous.iter().map(|(name, _)| name);
    let leaving = names.filter(|name| inside(name)).cloned().collect();
    let outside = standing.previous.iter().filter(|(name, _)| !inside(name));
    let previous: Assignment = outside.map(|(name, count)| (Arc::clone(name), count)).collect();
    (tainted, Request { leaving, previous, ..standing.clone() })
}
