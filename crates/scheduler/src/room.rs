//! How many replicas fit: node by node, from a table of distinct node shapes.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Member, PodNeeds, Taint, TaintEffect, Toleration};

/// Label by which nodes are told apart, as pods name it.
pub const HOSTNAME: &str = "kubernetes.io/hostname";

/// Free room of a member.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Room {
    /// Not observed yet, or too long ago: its own case, not zero.
    #[default]
    Unknown,
    /// Nodes by distinct shape.
    Nodes(Arc<Nodes>),
}

/// What is known of a member's nodes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Nodes {
    /// Distinct shapes.
    pub shapes: Vec<NodeShape>,
    /// Room that the member adds by itself when it is asked for more; used after the rest.
    pub elastic: Option<Elastic>,
    /// Where room proved to be an illusion: this many more of these, and of what asks for as much,
    /// fit at most, whatever the shapes say.
    pub corrections: Vec<(PodNeeds, u64)>,
}

/// Room that a node autoscaler adds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Elastic {
    /// How much in all.
    pub resources: Resources,
    /// How many pods in all.
    pub pods: u64,
}

/// Nodes that are alike in every way that placement looks at.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NodeShape {
    /// How many of them there are.
    pub nodes: u64,
    /// What each offers to pods.
    pub allocatable: Resources,
    /// What is left of it on each.
    pub free: Resources,
    /// How many more pods each takes.
    pub free_pods: u64,
    /// What pods choose nodes by; shapes of one kind of node share it.
    pub class: Arc<NodeClass>,
}

/// What pods choose nodes by.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct NodeClass {
    /// Labels that pods may ask for.
    pub labels: BTreeMap<String, String>,
    /// Taints that pods must tolerate.
    pub taints: Vec<Taint>,
}

/// How many replicas fit in a member.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Fits {
    /// How many more on the nodes that are there.
    pub(crate) more: u32,
    /// How many more beside these on nodes that the member can add.
    pub(crate) elastic: u32,
    /// How many in all, those that run already counted in.
    pub(crate) most: u32,
}

/// Amounts of resources. A resource that is not named is zero.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Resources {
    /// Processor time, thousandths of a core.
    pub cpu_milli: u64,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Everything else, by Kubernetes' name, in its own unit.
    pub others: BTreeMap<String, u64>,
}

impl Resources {
    /// How many times `need` fits; `u64::MAX` when it needs nothing.
    pub fn times(&self, need: &Self) -> u64 {
        let mut times =
            fits(self.cpu_milli, need.cpu_milli).min(fits(self.memory_bytes, need.memory_bytes));
        for (name, amount) in &need.others {
            times = times.min(fits(self.others.get(name).copied().unwrap_or(0), *amount));
        }
        times
    }

    /// What is left after taking `other` out `times` times; never below zero.
    pub fn minus(&self, other: &Self, times: u64) -> Self {
        let mut rest = self.clone();
        rest.cpu_milli = rest.cpu_milli.saturating_sub(other.cpu_milli.saturating_mul(times));
        rest.memory_bytes =
            rest.memory_bytes.saturating_sub(other.memory_bytes.saturating_mul(times));
        for (name, amount) in &other.others {
            if let Some(have) = rest.others.get_mut(name) {
                *have = have.saturating_sub(amount.saturating_mul(times));
            }
        }
        rest
    }

    /// The sum of both.
    pub fn plus(&self, other: &Self, times: u64) -> Self {
        let mut sum = self.clone();
        sum.cpu_milli = sum.cpu_milli.saturating_add(other.cpu_milli.saturating_mul(times));
        sum.memory_bytes =
            sum.memory_bytes.saturating_add(other.memory_bytes.saturating_mul(times));
        for (name, amount) in &other.others {
            let have = sum.others.entry(name.clone()).or_default();
            *have = have.saturating_add(amount.saturating_mul(times));
        }
        sum
    }

    /// This percentage of it, rounded up.
    pub fn percent(&self, percent: u8) -> Self {
        let part = |amount: u64| {
            let share = (u128::from(amount) * u128::from(percent)).div_ceil(100);
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        Self {
            cpu_milli: part(self.cpu_milli),
            memory_bytes: part(self.memory_bytes),
            others: self.others.iter().map(|(k, v)| (k.clone(), part(*v))).collect(),
        }
    }
}

const fn fits(have: u64, need: u64) -> u64 {
    match have.checked_div(need) {
        Some(times) => times,
        None => u64::MAX,
    }
}

impl NodeShape {
    /// How many replicas fit on one such node, its class apart.
    fn holds(&self, needs: &PodNeeds, reserve_percent: u8) -> u64 {
        let times = if reserve_percent == 0 {
            self.free.times(&needs.request)
        } else {
            let reserve = self.allocatable.percent(reserve_percent);
            self.free.minus(&reserve, 1).times(&needs.request)
        };
        times.min(self.free_pods)
    }
}

impl NodeClass {
    fn admits(&self, needs: &PodNeeds) -> bool {
        needs.node_selector.iter().all(|(key, value)| self.labels.get(key) == Some(value))
            && self
                .taints
                .iter()
                .all(|taint| needs.tolerations.iter().any(|toleration| toleration.tolerates(taint)))
    }
}

impl Toleration {
    /// Whether this toleration covers the taint.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.key.as_ref().is_none_or(|key| *key == taint.key)
            && self.value.as_ref().is_none_or(|value| *value == taint.value)
            && self
                .no_execute_only
                .is_none_or(|only| only == matches!(taint.effect, TaintEffect::NoExecute))
    }
}

impl Member {
    /// How many replicas fit; absent when the room is not known.
    pub(crate) fn fits(&self, needs: &PodNeeds) -> Option<Fits> {
        let Room::Nodes(nodes) = &self.room else {
            return None;
        };
        Some(nodes.fits(needs, self.reserve_percent))
    }

    /// How many more replicas the shapes of its nodes seem to hold, whatever corrections say;
    /// absent when its room is not known.
    pub fn seems_to_hold(&self, needs: &PodNeeds) -> Option<u64> {
        let Room::Nodes(nodes) = &self.room else {
            return None;
        };
        Some(nodes.shown(needs, self.reserve_percent).0)
    }

    /// Whether it adds room by itself.
    pub fn has_elastic_room(&self) -> bool {
        matches!(&self.room, Room::Nodes(nodes) if nodes.elastic.is_some())
    }
}

impl Nodes {
    fn fits(&self, needs: &PodNeeds, reserve_percent: u8) -> Fits {
        let (mut more, most) = self.shown(needs, reserve_percent);
        let mut elastic = self
            .elastic
            .as_ref()
            .map_or(0, |elastic| elastic.resources.times(&needs.request).min(elastic.pods));
        for (shape, limit) in &self.corrections {
            if needs.asks_as_much_as(shape) {
                more = more.min(*limit);
                // Nodes that did not come when they were waited for do not come now.
                elastic = 0;
            }
        }
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Fits { more: small(more), elastic: small(elastic), most: small(most) }
    }

    /// How many more the shapes hold, and how many in all.
    fn shown(&self, needs: &PodNeeds, reserve_percent: u8) -> (u64, u64) {
        let admits = |shape: &NodeShape| {
            (needs.node_selector.is_empty() && shape.class.taints.is_empty())
                || shape.class.admits(needs)
        };
        let plain = needs.apart.is_empty() && needs.skews.is_empty();
        let mut more: u64 = 0;
        if plain {
            for shape in &self.shapes {
                if admits(shape) {
                    let holds = shape.holds(needs, reserve_percent).saturating_mul(shape.nodes);
                    more = more.saturating_add(holds);
                }
            }
            (more, u64::from(u32::MAX))
        } else {
            let open: Vec<(&NodeShape, u64)> = self
                .shapes
                .iter()
                .filter(|shape| admits(shape))
                .map(|shape| (shape, shape.holds(needs, reserve_percent)))
                .collect();
            limited(&open, needs)
        }
    }
}

/// What fits when replicas keep apart or may stand only so unevenly: how many more, and how many
/// in all. Where replicas stand already is not known, so that a limit of unevenness counts from
/// even; that errs to the low side.
fn limited(open: &[(&NodeShape, u64)], needs: &PodNeeds) -> (u64, u64) {
    let mut most = u64::from(u32::MAX);
    let mut more: u64 =
        open.iter().fold(0, |sum, (shape, holds)| sum.saturating_add(holds * shape.nodes));
    for label in &needs.apart {
        let places = if label == HOSTNAME {
            open.iter().map(|(shape, _)| shape.nodes).sum()
        } else {
            by_label(open, label).len() as u64
        };
        most = most.min(places);
        let free = if label == HOSTNAME {
            open.iter().filter(|(_, holds)| *holds > 0).map(|(shape, _)| shape.nodes).sum()
        } else {
            by_label(open, label).values().filter(|holds| **holds > 0).count() as u64
        };
        more = more.min(free);
    }
    for skew in &needs.skews {
        let even = |holds: &mut dyn Iterator<Item = (u64, u64)>| {
            let domains: Vec<(u64, u64)> = holds.collect();
            let count: u64 = domains.iter().map(|(_, times)| *times).sum();
            let least = if count < u64::from(skew.min_domains) {
                0
            } else {
                domains.iter().map(|(holds, _)| *holds).min().unwrap_or(0)
            };
            let limit = least.saturating_add(u64::from(skew.most.max(1)));
            domains.iter().map(|(holds, times)| (*holds).min(limit) * times).sum::<u64>()
        };
        let fit = if skew.label == HOSTNAME {
            even(&mut open.iter().map(|(shape, holds)| (*holds, shape.nodes)))
        } else {
            even(&mut by_label(open, &skew.label).into_values().map(|holds| (holds, 1)))
        };
        more = more.min(fit);
    }
    (more, most)
}

/// What fits by each value of a label; nodes without it take none.
fn by_label<'a>(open: &[(&'a NodeShape, u64)], label: &str) -> BTreeMap<&'a str, u64> {
    let mut sums = BTreeMap::new();
    for (shape, holds) in open {
        if let Some(value) = shape.class.labels.get(label) {
            let sum: &mut u64 = sums.entry(value.as_str()).or_default();
            *sum = sum.saturating_add(holds * shape.nodes);
        }
    }
    sums
}

impl Room {
    /// Room on these nodes.
    pub fn nodes(shapes: Vec<NodeShape>) -> Self {
        Self::Nodes(Arc::new(Nodes { shapes, ..Nodes::default() }))
    }

    /// Takes room for `replicas`, one at a time from the node that has most free room.
    pub(crate) fn reserve(&mut self, needs: &PodNeeds, replicas: u32) {
        let Self::Nodes(nodes) = self else {
            return;
        };
        let nodes = Arc::make_mut(nodes);
        let shapes = &mut nodes.shapes;
        let mut left = u64::from(replicas);
        while left > 0 {
            let emptiest = shapes
                .iter()
                .enumerate()
                .filter(|(_, shape)| shape.class.admits(needs))
                .map(|(at, shape)| (shape.holds(needs, 0), at))
                .filter(|(holds, _)| *holds > 0)
                .max_by_key(|(holds, at)| (*holds, std::cmp::Reverse(*at)));
            let Some((_, at)) = emptiest else {
                break;
            };
            let taken = left.min(shapes[at].nodes);
            let mut fuller = shapes[at].clone();
            fuller.nodes = taken;
            fuller.free = fuller.free.minus(&needs.request, 1);
            fuller.free_pods = fuller.free_pods.saturating_sub(1);
            shapes[at].nodes -= taken;
            if shapes[at].nodes == 0 {
                shapes.remove(at);
            }
            left -= taken;
            let same = shapes.iter_mut().find(|shape| {
                shape.free == fuller.free
                    && shape.free_pods == fuller.free_pods
                    && shape.allocatable == fuller.allocatable
                    && shape.class == fuller.class
            });
            match same {
                Some(shape) => shape.nodes += fuller.nodes,
                None => shapes.push(fuller),
            }
        }
        let corrections = nodes.corrections.iter_mut();
        for (_, limit) in corrections.filter(|(shape, _)| needs.asks_as_much_as(shape)) {
            *limit = limit.saturating_sub(u64::from(replicas));
        }
        if let Some(elastic) = nodes.elastic.as_mut().filter(|_| left > 0) {
            elastic.resources = elastic.resources.minus(&needs.request, left);
            elastic.pods = elastic.pods.saturating_sub(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Skew;

    fn shape(nodes: u64, cpu: u64, pods: u64) -> NodeShape {
        let free = Resources { cpu_milli: cpu, memory_bytes: 1 << 30, ..Resources::default() };
        NodeShape {
            nodes,
            allocatable: free.clone(),
            free,
            free_pods: pods,
            ..NodeShape::default()
        }
    }

    fn needs(cpu: u64) -> PodNeeds {
        PodNeeds {
            request: Resources { cpu_milli: cpu, ..Resources::default() },
            ..PodNeeds::default()
        }
    }

    fn member(shapes: Vec<NodeShape>) -> Member {
        Member { room: Room::nodes(shapes), ..Member::default() }
    }

    fn more(member: &Member, needs: &PodNeeds) -> Option<u32> {
        member.fits(needs).map(|fits| fits.more)
    }

    #[test]
    fn room_is_counted_node_by_node_and_not_by_the_sum() {
        let halves = member(vec![shape(4, 500, 10)]);
        assert_eq!(more(&halves, &needs(600)), Some(0));
        assert_eq!(more(&halves, &needs(500)), Some(4));
        assert_eq!(more(&Member::default(), &needs(500)), None);
    }

    #[test]
    fn pods_bound_the_room_of_replicas_that_ask_for_nothing() {
        assert_eq!(more(&member(vec![shape(2, 0, 7)]), &PodNeeds::default()), Some(14));
    }

    #[test]
    fn a_reserve_is_kept_on_every_node() {
        let mut kept = member(vec![shape(2, 1000, 10)]);
        kept.reserve_percent = 30;
        assert_eq!(more(&kept, &needs(400)), Some(2));
        assert_eq!(more(&kept, &needs(350)), Some(4));
    }

    #[test]
    fn node_selectors_and_taints_rule_nodes_out() {
        let mut gpu = shape(1, 1000, 10);
        let class = Arc::make_mut(&mut gpu.class);
        class.labels.insert("gpu".to_owned(), "yes".to_owned());
        class.taints.push(Taint {
            key: "gpu".to_owned(),
            value: String::new(),
            effect: TaintEffect::NoSchedule,
        });
        let mixed = member(vec![shape(1, 1000, 10), gpu]);
        let mut wants = needs(1000);
        assert_eq!(more(&mixed, &wants), Some(1));
        wants.tolerations.push(Toleration { key: Some("gpu".to_owned()), ..Toleration::default() });
        assert_eq!(more(&mixed, &wants), Some(2));
        wants.node_selector.insert("gpu".to_owned(), "yes".to_owned());
        assert_eq!(more(&mixed, &wants), Some(1));
    }

    #[test]
    fn reservations_spread_over_the_emptiest_nodes() {
        let mut spread = member(vec![shape(2, 1000, 10), shape(1, 400, 10)]);
        spread.room.reserve(&needs(300), 2);
        assert_eq!(more(&spread, &needs(700)), Some(2));
        assert_eq!(more(&spread, &needs(1000)), Some(0));
        spread.room.reserve(&needs(300), 100);
        assert_eq!(more(&spread, &needs(300)), Some(0));
    }

    #[test]
    fn replicas_that_keep_apart_take_one_place_each() {
        let pool = member(vec![shape(3, 1000, 10), shape(2, 100, 10)]);
        let apart = PodNeeds { apart: vec![HOSTNAME.to_owned()], ..needs(200) };
        let fits = pool.fits(&apart).unwrap();
        assert_eq!((fits.more, fits.most), (3, 5));
    }

    #[test]
    fn an_uneven_pool_holds_what_its_skew_allows() {
        let zone = |zone: &str, nodes: u64, cpu: u64| {
            let mut shape = shape(nodes, cpu, 10);
            let class = Arc::make_mut(&mut shape.class);
            class.labels.insert("zone".to_owned(), zone.to_owned());
            shape
        };
        let pool = member(vec![zone("a", 1, 1000), zone("b", 1, 300)]);
        let skew = Skew { label: "zone".to_owned(), most: 2, min_domains: 1 };
        let mut even = PodNeeds { skews: vec![skew], ..needs(100) };
        assert_eq!(more(&pool, &even), Some(8));
        even.skews[0].min_domains = 3;
        assert_eq!(more(&pool, &even), Some(4), "an absent third zone counts as empty");
    }

    #[test]
    fn elastic_room_and_corrections_are_counted_apart() {
        let mut pool = member(vec![shape(1, 1000, 10)]);
        let Room::Nodes(nodes) = &mut pool.room else { panic!("it has nodes") };
        let nodes = Arc::make_mut(nodes);
        nodes.elastic = Some(Elastic {
            resources: Resources { cpu_milli: 500, ..Resources::default() },
            pods: 3,
        });
        nodes.corrections = vec![(needs(100), 2)];
        let fits = |cpu: u64| {
            let fits = pool.fits(&needs(cpu)).unwrap();
            (fits.more, fits.elastic)
        };
        assert_eq!(fits(50), (10, 3), "what asks for less may still fit");
        assert_eq!(fits(100), (2, 0));
        assert_eq!(fits(200), (2, 0), "what asks for more fits no better");
        assert_eq!(pool.seems_to_hold(&needs(100)), Some(10));
    }
}
