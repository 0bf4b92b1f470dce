//! How many replicas fit: node by node, from a table of distinct node shapes.

use std::collections::BTreeMap;

use crate::{Member, NodeShape, PodNeeds, Room, TaintEffect, Toleration};

/// Amounts of resources. A resource that is not named is zero.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
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
    /// How many replicas fit on one such node.
    pub(crate) fn holds(&self, needs: &PodNeeds, reserve_percent: u8) -> u64 {
        if !self.admits(needs) {
            return 0;
        }
        let times = if reserve_percent == 0 {
            self.free.times(&needs.request)
        } else {
            let reserve = self.allocatable.percent(reserve_percent);
            self.free.minus(&reserve, 1).times(&needs.request)
        };
        times.min(self.free_pods)
    }

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
    pub fn tolerates(&self, taint: &crate::Taint) -> bool {
        self.key.as_ref().is_none_or(|key| *key == taint.key)
            && self.value.as_ref().is_none_or(|value| *value == taint.value)
            && self
                .no_execute_only
                .is_none_or(|only| only == matches!(taint.effect, TaintEffect::NoExecute))
    }
}

impl Member {
    /// How many more replicas fit; absent when the room is not known.
    pub(crate) fn fits(&self, needs: &PodNeeds) -> Option<u64> {
        let Room::Nodes(shapes) = &self.room else {
            return None;
        };
        Some(shapes.iter().fold(0, |sum: u64, shape| {
            sum.saturating_add(shape.holds(needs, self.reserve_percent).saturating_mul(shape.nodes))
        }))
    }
}

impl Room {
    /// Takes room for `replicas`, one at a time from the node that has most free room.
    pub(crate) fn reserve(&mut self, needs: &PodNeeds, replicas: u32) {
        let Self::Nodes(shapes) = self else {
            return;
        };
        let mut left = u64::from(replicas);
        while left > 0 {
            let emptiest = shapes
                .iter()
                .enumerate()
                .map(|(at, shape)| (shape.holds(needs, 0), at))
                .filter(|(holds, _)| *holds > 0)
                .max_by_key(|(holds, at)| (*holds, std::cmp::Reverse(*at)));
            let Some((_, at)) = emptiest else {
                return;
            };
            let taken = left.min(shapes[at].nodes);
            let mut fuller = shapes[at].clone();
            fuller.nodes = taken;
            fuller.free = fuller.free.minus(&needs.request, 1);
            fuller.free_pods = fuller.free_pods.saturating_sub(1);
            shapes[at].nodes -= taken;
            if shapes[at].nodes == 0 {
                shapes.swap_remove(at);
            }
            left -= taken;
            let same = shapes.iter_mut().find(|shape| {
                shape.free == fuller.free
                    && shape.free_pods == fuller.free_pods
                    && shape.allocatable == fuller.allocatable
                    && shape.labels == fuller.labels
                    && shape.taints == fuller.taints
            });
            match same {
                Some(shape) => shape.nodes += fuller.nodes,
                None => shapes.push(fuller),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Taint;

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
        Member { room: Room::Nodes(shapes), ..Member::default() }
    }

    #[test]
    fn room_is_counted_node_by_node_and_not_by_the_sum() {
        let halves = member(vec![shape(4, 500, 10)]);
        assert_eq!(halves.fits(&needs(600)), Some(0));
        assert_eq!(halves.fits(&needs(500)), Some(4));
        assert_eq!(Member::default().fits(&needs(500)), None);
    }

    #[test]
    fn pods_bound_the_room_of_replicas_that_ask_for_nothing() {
        assert_eq!(member(vec![shape(2, 0, 7)]).fits(&PodNeeds::default()), Some(14));
    }

    #[test]
    fn a_reserve_is_kept_on_every_node() {
        let mut kept = member(vec![shape(2, 1000, 10)]);
        kept.reserve_percent = 30;
        assert_eq!(kept.fits(&needs(400)), Some(2));
        assert_eq!(kept.fits(&needs(350)), Some(4));
    }

    #[test]
    fn node_selectors_and_taints_rule_nodes_out() {
        let mut gpu = shape(1, 1000, 10);
        gpu.labels.insert("gpu".to_owned(), "yes".to_owned());
        gpu.taints.push(Taint {
            key: "gpu".to_owned(),
            value: String::new(),
            effect: TaintEffect::NoSchedule,
        });
        let mixed = member(vec![shape(1, 1000, 10), gpu]);
        let mut wants = needs(1000);
        assert_eq!(mixed.fits(&wants), Some(1));
        wants.tolerations.push(Toleration { key: Some("gpu".to_owned()), ..Toleration::default() });
        assert_eq!(mixed.fits(&wants), Some(2));
        wants.node_selector.insert("gpu".to_owned(), "yes".to_owned());
        assert_eq!(mixed.fits(&wants), Some(1));
    }

    #[test]
    fn reservations_spread_over_the_emptiest_nodes() {
        let mut spread = member(vec![shape(2, 1000, 10), shape(1, 400, 10)]);
        spread.room.reserve(&needs(300), 2);
        assert_eq!(spread.fits(&needs(700)), Some(2));
        assert_eq!(spread.fits(&needs(1000)), Some(0));
        spread.room.reserve(&needs(300), 100);
        assert_eq!(spread.fits(&needs(300)), Some(0));
    }
}
