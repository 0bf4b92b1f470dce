//! Random fleets and requests from a seed. The same seed gives the same case on any machine.

use std::{collections::BTreeMap, sync::Arc};

use hanse_scheduler::{
    Bounds, DivideBy, Elastic, Enforce, Fleet, HOSTNAME, Health, LabelRule, Member, Mode,
    NodeClass, NodeShape, Nodes, Others, PodNeeds, Request, Resources, Room, Rules, Selection,
    Skew, Spread, Standby, Survive, Taint, TaintEffect, TierMode, Toleration, Topology, Weight,
};

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both counted in.
    pub(crate) fn within(&mut self, low: u32, high: u32) -> u32 {
        low + u32::try_from(self.next() % u64::from(high - low + 1)).unwrap()
    }

    pub(crate) fn percent(&mut self, percent: u32) -> bool {
        self.within(1, 100) <= percent
    }

    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[usize::try_from(self.next() % list.len() as u64).unwrap()]
    }
}

pub(crate) struct Case {
    pub(crate) members: Vec<Member>,
    pub(crate) request: Request,
    pub(crate) key: u64,
}

impl Case {
    pub(crate) fn fleet(&self) -> Fleet {
        Fleet::new(self.members.iter().cloned())
    }
}

/// A case of the seed. Small fleets are the most frequent, so that every corner is met; a few
/// have up to 300 members.
pub(crate) fn case(seed: u64) -> Case {
    let mut dice = Dice(seed);
    let count = match dice.within(0, 99) {
        0..60 => dice.within(1, 6),
        60..92 => dice.within(5, 30),
        92..99 => dice.within(20, 120),
        _ => dice.within(100, 300),
    };
    let members: Vec<Member> = (0..count).map(|at| member(&mut dice, at)).collect();
    let request = request(&mut dice, &members);
    Case { members, request, key: dice.next() }
}

fn member(dice: &mut Dice, at: u32) -> Member {
    let provider = dice.within(0, 2);
    let region = dice.within(0, 3);
    let zone = dice.within(0, 1);
    let mut labels = BTreeMap::new();
    if dice.percent(80) {
        labels.insert("tier".to_owned(), dice.pick(&["gold", "iron", "tin"]).to_string());
    }
    labels.insert("id".to_owned(), at.to_string());
    let health = if dice.percent(92) {
        Health::Good
    } else {
        *dice.pick(&[
            Health::Lost,
            Health::ControlLost,
            Health::DataLost,
            Health::Recovering,
            Health::NotJoined,
        ])
    };
    let taints = if dice.percent(10) { vec![taint("dedicated", dice)] } else { Vec::new() };
    let kinds = dice.percent(80).then(|| {
        let serves = if dice.percent(95) { "apps/v1/Deployment" } else { "v1/ConfigMap" };
        Arc::new([serves.to_owned()].into())
    });
    Member {
        name: format!("m{at:03}").into(),
        provider: format!("p{provider}").into(),
        region: format!("p{provider}-r{region}").into(),
        zone: if dice.percent(90) {
            format!("p{provider}-r{region}-{zone}")
        } else {
            String::new()
        }
        .into(),
        labels: Arc::new(labels),
        taints,
        health,
        cordoned: dice.percent(4),
        kinds,
        reserve_percent: if dice.percent(15) { 20 } else { 0 },
        room: room(dice),
    }
}

fn taint(key: &str, dice: &mut Dice) -> Taint {
    let effect = *dice.pick(&[TaintEffect::NoSchedule, TaintEffect::NoExecute]);
    Taint { key: key.to_owned(), value: String::new(), effect }
}

fn room(dice: &mut Dice) -> Room {
    if dice.percent(4) {
        return Room::Unknown;
    }
    let labelled = |labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        NodeClass { labels: labels.collect(), taints: Vec::new() }
    };
    let classes = [
        NodeClass::default(),
        labelled(&[("disk", "ssd")]),
        NodeClass { taints: vec![taint("gpu", dice)], ..NodeClass::default() },
        labelled(&[("rack", "a")]),
        labelled(&[("rack", "b"), ("disk", "ssd")]),
    ];
    let classes = classes.map(Arc::new);
    let shapes = (0..dice.within(1, 3))
        .map(|_| {
            let cpu = u64::from(dice.within(0, 12)) * 250;
            let free = Resources {
                cpu_milli: cpu,
                memory_bytes: u64::from(dice.within(0, 8)) << 29,
                others: gpus(dice, 20, 8),
            };
            NodeShape {
                nodes: u64::from(dice.within(1, 4)),
                allocatable: Resources { cpu_milli: cpu + 500, ..free.clone() },
                free,
                free_pods: u64::from(dice.within(0, 12)),
                class: Arc::clone(dice.pick(&classes)),
            }
        })
        .collect();
    let elastic = dice.percent(10).then(|| Elastic {
        resources: Resources {
            cpu_milli: u64::from(dice.within(0, 8)) * 500,
            memory_bytes: 8 << 30,
            others: gpus(dice, 20, 8),
        },
        pods: u64::from(dice.within(0, 20)),
    });
    Room::Nodes(Arc::new(Nodes { shapes, elastic, corrections: Vec::new() }))
}

/// A resource beside processor time and memory, in so many of a hundred cases.
fn gpus(dice: &mut Dice, percent: u32, most: u32) -> BTreeMap<String, u64> {
    let amount = dice.percent(percent).then(|| u64::from(dice.within(0, most)));
    amount.map(|amount| ("example.com/gpu".to_owned(), amount)).into_iter().collect()
}

fn selection(dice: &mut Dice, members: &[Member]) -> Selection {
    let mut selection = Selection::default();
    match dice.within(0, 6) {
        0 => {
            for _ in 0..dice.within(1, 4) {
                selection.names.push(dice.pick(members).name.to_string());
            }
        }
        1 => selection.providers = vec![dice.pick(members).provider.to_string()],
        2 => selection.regions = (0..2).map(|_| dice.pick(members).region.to_string()).collect(),
        3 => {
            let value = (*dice.pick(&["gold", "iron", "tin"])).to_owned();
            selection.labels = vec![if dice.percent(70) {
                LabelRule::In("tier".to_owned(), vec![value])
            } else {
                LabelRule::NotIn("tier".to_owned(), vec![value])
            }];
        }
        4 => {
            selection.labels = vec![if dice.percent(60) {
                LabelRule::Exists("tier".to_owned())
            } else {
                LabelRule::DoesNotExist("tier".to_owned())
            }];
        }
        5 => selection.exclude = vec![dice.pick(members).name.to_string()],
        _ => {}
    }
    selection
}

fn request(dice: &mut Dice, members: &[Member]) -> Request {
    let replicas = match dice.within(0, 9) {
        0 => dice.within(0, 3),
        1..8 => dice.within(1, 40),
        _ => dice.within(20, 400),
    };
    let mode = match dice.within(0, 19) {
        0 => Mode::Duplicate,
        1 => Mode::Whole,
        2 => Mode::Everywhere,
        3..8 => Mode::Divide(DivideBy::Pack),
        8..14 => Mode::Divide(DivideBy::Weighted(Arc::new(
            (0..dice.within(0, 3))
                .map(|_| Weight {
                    clusters: selection(dice, members),
                    weight: dice.within(1, 9) * dice.within(1, 1000),
                })
                .collect(),
        ))),
        _ => Mode::Divide(DivideBy::Capacity),
    };
    let needs = needs(dice);
    let leaving =
        if dice.percent(5) { vec![Arc::clone(&dice.pick(members).name)] } else { Vec::new() };
    Request {
        rules: Arc::new(rules(dice, members)),
        needs: Arc::new(needs),
        kind: "apps/v1/Deployment".into(),
        replicas,
        mode,
        partial: dice.percent(15),
        leaving,
        others: others(dice, members),
        quota: dice.percent(10).then(|| dice.within(0, 2 * replicas)),
        ..Request::default()
    }
}

fn needs(dice: &mut Dice) -> PodNeeds {
    let mut needs = PodNeeds {
        request: Resources {
            cpu_milli: u64::from(dice.within(0, 4)) * 250,
            memory_bytes: u64::from(dice.within(0, 2)) << 28,
            others: gpus(dice, 10, 2),
        },
        ..PodNeeds::default()
    };
    if dice.percent(10) {
        needs.node_selector.insert("disk".to_owned(), "ssd".to_owned());
    }
    if dice.percent(30) {
        let key = Some("gpu".to_owned());
        needs.tolerations.push(Toleration { key, ..Toleration::default() });
    }
    let label = |dice: &mut Dice| dice.pick(&[HOSTNAME, "rack"]).to_string();
    if dice.percent(5) {
        needs.apart.push(label(dice));
    }
    if dice.percent(10) {
        let (most, min_domains) = (dice.within(1, 3), dice.within(0, 3));
        needs.skews.push(Skew { label: label(dice), most, min_domains });
    }
    needs
}

/// What it is to be near to, or to stay away from.
fn others(dice: &mut Dice, members: &[Member]) -> Option<Arc<Others>> {
    if !dice.percent(15) {
        return None;
    }
    let mut some = |percent| -> Vec<Arc<str>> {
        let some = members.iter().filter(|_| dice.percent(percent));
        some.map(|member| Arc::clone(&member.name)).collect()
    };
    let (near, away) = (some(70), some(20));
    Some(Arc::new(Others { near: dice.percent(50).then_some(near), away }))
}

fn rules(dice: &mut Dice, members: &[Member]) -> Rules {
    let tiers = match dice.within(0, 9) {
        0..5 => 0,
        5..7 => 1,
        _ => dice.within(2, 3),
    };
    let bounds = if dice.percent(35) { dice.within(1, 3) } else { 0 };
    let tolerations = if dice.percent(30) { vec![Toleration::default()] } else { Vec::new() };
    Rules {
        tiers: (0..tiers).map(|_| selection(dice, members)).collect(),
        tier_mode: *dice.pick(&[TierMode::Fallback, TierMode::Overflow]),
        tolerations,
        spread: spread(dice),
        bounds: (0..bounds)
            .map(|_| {
                let min = if dice.percent(50) { dice.within(0, 6) } else { 0 };
                let max = dice.percent(60).then(|| min + dice.within(0, 8));
                Bounds { clusters: selection(dice, members), min, max }
            })
            .collect(),
        steady: dice.percent(80),
        tenant: dice.percent(15).then(|| selection(dice, members)),
        survive: dice.percent(10).then(|| running(dice)),
    }
}

/// Enough has to run elsewhere when a domain is lost. Room kept for it is looked at by itself.
fn running(dice: &mut Dice) -> Survive {
    Survive {
        domain: dice.pick(&[Topology::Cluster, Topology::Region, Topology::Provider]).clone(),
        min_percent: dice.within(1, 100),
        standby: Standby::Running,
        enforce: *dice.pick(&[Enforce::Warn, Enforce::Require]),
    }
}

fn spread(dice: &mut Dice) -> Vec<Spread> {
    let mut keys = match dice.within(0, 9) {
        0..5 => Vec::new(),
        5..8 => vec![dice.pick(&[Topology::Region, Topology::Provider, Topology::Zone]).clone()],
        8 => vec![Topology::Provider, Topology::Label("tier".to_owned())],
        _ => vec![Topology::Region],
    };
    if dice.percent(30) {
        keys.push(Topology::Cluster);
    }
    keys.into_iter()
        .map(|key| {
            let min = dice.within(1, 3);
            Spread { key, min, max: dice.percent(60).then(|| min + dice.within(0, 2)) }
        })
        .collect()
}
