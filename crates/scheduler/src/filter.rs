//! Who may hold replicas at all: sets of members, from the fleet's index, with counted reasons.
//!
//! What the rules select does not depend on room, so that it is worked out once for one set of
//! rules and one index, and shared by every request that has the same rules.

use std::{collections::BTreeMap, hash::Hasher as _, sync::Arc};

use crate::{
    Bounds, DivideBy, Fleet, Health, LabelRule, Mode, Refusal, Report, Request, Rules, Selection,
    Topology, Weight,
    bits::Bits,
    fleet::{Fnv, Index},
};

/// Place in no domain.
pub(crate) const NO_DOMAIN: u32 = u32::MAX;

/// What one set of rules selects in one fleet, room apart.
#[derive(Debug)]
pub(crate) struct Selected {
    /// Members that may take replicas, in order of name.
    pub(crate) open: Vec<Standing>,
    /// The same as a set.
    pub(crate) places: Bits,
    /// Why the others may not.
    pub(crate) report: Report,
    tiers: Vec<Bits>,
    weights: Vec<Bits>,
    bounds: Vec<Bits>,
    domains: Vec<Vec<u32>>,
}

/// What the rules say of one member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// Its place in the fleet.
    pub(crate) at: u32,
    /// First tier that admits it; the highest number when none does.
    pub(crate) tier: u16,
    pub(crate) weight: u32,
    pub(crate) min: u32,
    pub(crate) max: u32,
    /// Its domain under each of at most two keys.
    pub(crate) domains: [u32; 2],
    pub(crate) name_hash: u64,
}

impl Selected {
    pub(crate) fn new(fleet: &Fleet, request: &Request) -> Self {
        let (rules, length, index) = (&*request.rules, fleet.len(), fleet.index());
        let tiers: Vec<Bits> =
            rules.tiers.iter().map(|tier| selected(tier, index, length)).collect();
        let weights = match &request.mode {
            Mode::Divide(DivideBy::Weighted(entries)) => {
                entries.iter().map(|entry| selected(&entry.clusters, index, length)).collect()
            }
            _ => Vec::new(),
        };
        let bounds: Vec<Bits> =
            rules.bounds.iter().map(|entry| selected(&entry.clusters, index, length)).collect();
        let domains: Vec<Vec<u32>> = rules
            .spread
            .iter()
            .filter(|spread| spread.key != Topology::Cluster)
            .map(|spread| domains(fleet, &spread.key))
            .collect();
        let mut all = Self {
            open: Vec::new(),
            places: Bits::all(length),
            report: Report { considered: length, rejected: Vec::new() },
            tiers,
            weights,
            bounds,
            domains,
        };
        all.filter(fleet, request);
        all.open = all.places.iter().map(|at| all.standing(fleet, request, at)).collect();
        all
    }

    /// Takes out, reason by reason, who may not hold replicas.
    fn filter(&mut self, fleet: &Fleet, request: &Request) {
        let (rules, index, live, length) =
            (&*request.rules, fleet.index(), fleet.live(), fleet.len());
        if let Some(tenant) = &rules.tenant {
            let admitted = selected(tenant, index, length);
            self.keep(fleet, Refusal::NotInTenant, &admitted);
        }
        if !self.tiers.is_empty() {
            let mut admitted = Bits::none(length);
            self.tiers.iter().for_each(|tier| admitted.or(tier));
            self.keep(fleet, Refusal::NotSelected, &admitted);
        }
        for (health, bits) in &live.health {
            let refusal = match health {
                Health::Good => continue,
                Health::NotJoined => Refusal::NotJoined,
                Health::ControlLost => Refusal::ControlLost,
                Health::DataLost => Refusal::DataLost,
                Health::Lost => Refusal::Lost,
                Health::Recovering => Refusal::Recovering,
            };
            self.reject(fleet, refusal, bits);
        }
        self.reject(fleet, Refusal::Cordoned, &live.cordoned);
        for (taint, bits) in &live.taints {
            if !rules.tolerations.iter().any(|toleration| toleration.tolerates(taint)) {
                self.reject(fleet, Refusal::Tainted, bits);
            }
        }
        let mut served = Bits::all(length);
        served.without(&index.known);
        if let Some(bits) = index.kinds.get(&*request.kind) {
            served.or(bits);
        }
        self.keep(fleet, Refusal::KindNotServed, &served);
        if let Mode::Divide(DivideBy::Weighted(entries)) = &request.mode
            && !entries.is_empty()
        {
            let mut weighted = Bits::none(length);
            let mut seen = Bits::none(length);
            for (entry, bits) in entries.iter().zip(&self.weights) {
                let mut first = bits.clone();
                first.without(&seen);
                seen.or(bits);
                if entry.weight > 0 {
                    weighted.or(&first);
                }
            }
            self.keep(fleet, Refusal::NoWeight, &weighted);
        }
        for column in 0..self.domains.len() {
            let mut without = Bits::none(length);
            for at in self.places.iter().filter(|at| self.domains[column][*at] == NO_DOMAIN) {
                without.insert(at);
            }
            self.reject(fleet, Refusal::NoDomain, &without);
        }
    }

    fn keep(&mut self, fleet: &Fleet, refusal: Refusal, admitted: &Bits) {
        let mut out = self.places.clone();
        out.without(admitted);
        self.reject(fleet, refusal, &out);
    }

    fn reject(&mut self, fleet: &Fleet, refusal: Refusal, members: &Bits) {
        let out = self.places.take(members);
        let count = out.count();
        if count > 0 {
            let examples = out.iter().take(3).map(|at| Arc::clone(&fleet.at(at).name));
            self.report.add(refusal, count, examples);
        }
    }

    /// What the rules say of the member at this place, open or not.
    pub(crate) fn standing(&self, fleet: &Fleet, request: &Request, at: usize) -> Standing {
        let tier = if self.tiers.is_empty() {
            Some(0)
        } else {
            self.tiers.iter().position(|tier| tier.has(at))
        };
        let weight = match &request.mode {
            Mode::Divide(DivideBy::Weighted(entries)) if !entries.is_empty() => {
                first(&self.weights, entries, at).map_or(0, |entry: &Weight| entry.weight)
            }
            _ => 1,
        };
        let bounds: Option<&Bounds> = first(&self.bounds, &request.rules.bounds, at);
        let domain = |key: usize| self.domains.get(key).map_or(0, |column| column[at]);
        Standing {
            at: u32::try_from(at).unwrap_or(u32::MAX),
            tier: tier.and_then(|tier| u16::try_from(tier).ok()).unwrap_or(u16::MAX),
            weight,
            min: bounds.map_or(0, |bounds| bounds.min),
            max: bounds.and_then(|bounds| bounds.max).unwrap_or(u32::MAX),
            domains: [domain(0), domain(1)],
            name_hash: hash(&fleet.at(at).name),
        }
    }

    /// Whether the rules select a member, whatever else may close it.
    pub(crate) fn admits(&self, fleet: &Fleet, rules: &Rules, at: usize) -> bool {
        (self.tiers.is_empty() || self.tiers.iter().any(|tier| tier.has(at)))
            && rules.tenant.as_ref().is_none_or(|tenant| tenant.admits(fleet.at(at)))
    }

    /// Most replicas that a member may hold by the rules.
    pub(crate) fn max_of(&self, rules: &Rules, at: usize) -> u32 {
        let bounds: Option<&Bounds> = first(&self.bounds, &rules.bounds, at);
        bounds.and_then(|bounds| bounds.max).unwrap_or(u32::MAX)
    }
}

fn first<'a, T>(sets: &[Bits], entries: &'a [T], at: usize) -> Option<&'a T> {
    sets.iter().zip(entries).find(|(set, _)| set.has(at)).map(|(_, entry)| entry)
}

/// Members that a selection admits.
fn selected(selection: &Selection, index: &Index, length: usize) -> Bits {
    let mut bits = Bits::all(length);
    if !selection.names.is_empty() {
        bits.and(&named(&selection.names, index, length));
    }
    let parts = [
        (&selection.providers, &index.providers),
        (&selection.regions, &index.regions),
        (&selection.zones, &index.zones),
    ];
    for (values, map) in parts {
        if !values.is_empty() {
            let mut any = Bits::none(length);
            values.iter().filter_map(|v| map.get(v.as_str())).for_each(|set| any.or(set));
            bits.and(&any);
        }
    }
    for rule in &selection.labels {
        narrow(&mut bits, rule, &index.labels, length);
    }
    if !selection.exclude.is_empty() {
        bits.without(&named(&selection.exclude, index, length));
    }
    bits
}

fn named(names: &[String], index: &Index, length: usize) -> Bits {
    let mut bits = Bits::none(length);
    for at in names.iter().filter_map(|name| index.places.get(name.as_str())) {
        bits.insert(*at);
    }
    bits
}

fn narrow(
    bits: &mut Bits,
    rule: &LabelRule,
    labels: &BTreeMap<String, BTreeMap<String, Bits>>,
    length: usize,
) {
    let union = |key: &str, admitted: &dyn Fn(&String) -> bool| {
        let mut any = Bits::none(length);
        let values = labels.get(key).into_iter().flatten();
        values.filter(|(value, _)| admitted(value)).for_each(|(_, set)| any.or(set));
        any
    };
    match rule {
        LabelRule::In(key, values) => {
            let mut any = Bits::none(length);
            if let Some(sets) = labels.get(key) {
                values.iter().filter_map(|v| sets.get(v)).for_each(|set| any.or(set));
            }
            bits.and(&any);
        }
        LabelRule::NotIn(key, values) => bits.without(&union(key, &|v| values.contains(v))),
        LabelRule::Exists(key) => bits.and(&union(key, &|_| true)),
        LabelRule::DoesNotExist(key) => bits.without(&union(key, &|_| true)),
    }
}

/// Number of each member's domain under a key.
fn domains(fleet: &Fleet, key: &Topology) -> Vec<u32> {
    let mut numbers = vec![NO_DOMAIN; fleet.len()];
    let mut fill = |sets: &mut dyn Iterator<Item = (&str, &Bits)>| {
        for (number, (_, set)) in (0..).zip(sets.filter(|(value, _)| !value.is_empty())) {
            set.iter().for_each(|at| numbers[at] = number);
        }
    };
    let index = fleet.index();
    match key {
        Topology::Cluster => {}
        Topology::Zone => fill(&mut index.zones.iter().map(|(v, set)| (&**v, set))),
        Topology::Region => fill(&mut index.regions.iter().map(|(v, set)| (&**v, set))),
        Topology::Provider => fill(&mut index.providers.iter().map(|(v, set)| (&**v, set))),
        Topology::Label(key) => {
            let values = index.labels.get(key).into_iter().flatten();
            fill(&mut values.map(|(v, set)| (v.as_str(), set)));
        }
    }
    numbers
}

/// A number for a name that is the same on any machine.
pub(crate) fn hash(name: &str) -> u64 {
    let mut hasher = Fnv::default();
    hasher.write(name.as_bytes());
    hasher.finish()
}

/// A number for a member that is evenly spread over keys (SplitMix64).
pub(crate) const fn tie(key: u64, name_hash: u64) -> u64 {
    let mut mixed = key ^ name_hash;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
