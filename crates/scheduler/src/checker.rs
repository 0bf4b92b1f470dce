//! An independent check of a decision. It shares no code with the engine: it counts again, by the
//! definitions, so that a mistake there is not repeated here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    Decision, DivideBy, Enforce, Fleet, HOSTNAME, Health, Member, Mode, NodeShape, PodNeeds,
    Request, Resources, Room, Skew, Standby, TierMode,
};

/// A promise that a decision breaks.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Violation {
    /// The counts do not add up to what was asked, and no shortfall says so.
    #[error("{placed} placed and {short} short of {asked} replicas")]
    Sum {
        /// Replicas placed.
        placed: u64,
        /// Replicas that the shortfall names.
        short: u64,
        /// Replicas asked for.
        asked: u64,
    },
    /// More was placed than the tenant's quota leaves.
    #[error("{placed} placed, and the quota leaves {quota}")]
    Quota {
        /// Replicas placed.
        placed: u64,
        /// What the quota leaves.
        quota: u32,
    },
    /// A member holds fewer or more than its bounds admit.
    #[error("{member} holds {count}, outside its bounds")]
    Bounds {
        /// The member.
        member: Arc<str>,
        /// What it holds.
        count: u32,
    },
    /// A member takes more than fits.
    #[error("{member} takes {more} more, and {fits} fit")]
    Room {
        /// The member.
        member: Arc<str>,
        /// What is added there.
        more: u64,
        /// What fits there.
        fits: u64,
    },
    /// A member that takes no new work was given some.
    #[error("{member} takes no new work and was given some")]
    Closed {
        /// The member.
        member: Arc<str>,
    },
    /// A later tier was given replicas while an earlier one had room.
    #[error("{member} in a later tier was given replicas while {earlier} had room")]
    Tier {
        /// The member in the later tier.
        member: Arc<str>,
        /// The member with room.
        earlier: Arc<str>,
    },
    /// The work stands in too few or too many domains.
    #[error("it stands in {count} domains of {key}")]
    Spread {
        /// The key.
        key: String,
        /// In how many domains it stands.
        count: usize,
    },
    /// A domain holds more than may be lost, and the policy requires that it does not.
    #[error("{domain} holds {count}, more than may be lost")]
    Survive {
        /// The domain.
        domain: String,
        /// What it holds.
        count: u64,
    },
}

impl Violation {
    /// The violation's name in metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Sum { .. } => "Sum",
            Self::Quota { .. } => "Quota",
            Self::Bounds { .. } => "Bounds",
            Self::Room { .. } => "Room",
            Self::Closed { .. } => "Closed",
            Self::Tier { .. } => "Tier",
            Self::Spread { .. } => "Spread",
            Self::Survive { .. } => "Survive",
        }
    }
}

/// All promises that a decision breaks; empty for a good one.
pub fn check(fleet: &Fleet, request: &Request, decision: &Decision) -> Vec<Violation> {
    let mut found = Vec::new();
    check_sum(request, decision, &mut found);
    for (name, count) in decision.assignment.iter() {
        let before = request.previous.of(name);
        let Some(member) = fleet.get(name) else {
            found.push(Violation::Closed { member: Arc::clone(name) });
            continue;
        };
        if (count > before || !request.previous.contains(name)) && !is_open(member, request) {
            found.push(Violation::Closed { member: Arc::clone(name) });
        }
        if count > before && request.mode != Mode::Everywhere {
            check_room(member, request, before, count, &mut found);
        }
        check_bounds(member, request, count, before, &mut found);
    }
    check_spread(fleet, request, decision, &mut found);
    // That enough runs elsewhere comes before the order of tiers.
    let running = request.rules.survive.as_ref().is_some_and(|it| it.standby == Standby::Running);
    let overflows = request.rules.tier_mode == TierMode::Overflow && !running;
    if overflows && matches!(request.mode, Mode::Divide(_)) {
        check_tiers(fleet, request, decision, &mut found);
    }
    check_survival(fleet, request, decision, &mut found);
    found
}

fn check_sum(request: &Request, decision: &Decision, found: &mut Vec<Violation>) {
    if !matches!(request.mode, Mode::Divide(_) | Mode::Whole) {
        return;
    }
    let placed = decision.assignment.iter().map(|(_, count)| u64::from(count)).sum::<u64>();
    let short = decision.shortfall.as_ref().map_or(0, |shortfall| u64::from(shortfall.replicas));
    let asked = u64::from(request.replicas);
    if placed + short != asked {
        found.push(Violation::Sum { placed, short, asked });
    }
    let most = |quota: u32| request.previous.total().max(quota.into());
    if let Some(quota) = request.quota.filter(|quota| placed > most(*quota))
        && request.mode != Mode::Whole
    {
        found.push(Violation::Quota { placed, quota });
    }
}

fn is_open(member: &Member, request: &Request) -> bool {
    let rules = &request.rules;
    let tolerated = member
        .taints
        .iter()
        .all(|taint| rules.tolerations.iter().any(|toleration| toleration.tolerates(taint)));
    let selected = rules.tiers.is_empty() || rules.tiers.iter().any(|tier| tier.admits(member));
    let others = request.others.as_ref();
    let near = others.and_then(|others| others.near.as_ref());
    member.health == Health::Good
        && !member.cordoned
        && tolerated
        && selected
        && rules.tenant.as_ref().is_none_or(|tenant| tenant.admits(member))
        && !request.leaving.contains(&member.name)
        && near.is_none_or(|near| near.contains(&member.name))
        && others.is_none_or(|others| !others.away.contains(&member.name))
        && member.kinds.as_ref().is_none_or(|kinds| kinds.contains(&*request.kind))
}

fn check_room(
    member: &Member,
    request: &Request,
    before: u32,
    count: u32,
    found: &mut Vec<Violation>,
) {
    let more = u64::from(count - before);
    let places = places(member, &request.needs).saturating_sub(before.into());
    if let Some(fits) = room(member, &request.needs).map(|fits| fits.min(places))
        && more > fits
    {
        found.push(Violation::Room { member: Arc::clone(&member.name), more, fits });
    }
}

fn check_bounds(
    member: &Member,
    request: &Request,
    count: u32,
    before: u32,
    found: &mut Vec<Violation>,
) {
    if !matches!(request.mode, Mode::Divide(_)) {
        return;
    }
    let bounds = request.rules.bounds.iter().find(|bounds| bounds.clusters.admits(member));
    let Some(bounds) = bounds else {
        return;
    };
    let above = bounds.max.is_some_and(|max| count > max);
    // Fewer than the minimum may stay where they were, or where there are not enough for all.
    let below = count > 0 && count < bounds.min && count > before;
    if above || below {
        found.push(Violation::Bounds { member: Arc::clone(&member.name), count });
    }
}

fn check_spread(fleet: &Fleet, request: &Request, decision: &Decision, found: &mut Vec<Violation>) {
    let divides = matches!(request.mode, Mode::Divide(_));
    if divides && request.replicas == 0 {
        return;
    }
    for spread in &request.rules.spread {
        let used = decision.assignment.iter().filter(|(_, count)| !divides || *count > 0);
        let domains: BTreeSet<&str> =
            used.filter_map(|(name, _)| fleet.get(name)).map(|m| spread.key.of(m)).collect();
        let min = if divides { spread.min.min(request.replicas) } else { spread.min };
        // Of a part that was placed, no more can be asked than it has replicas.
        let placed = u32::try_from(decision.assignment.total()).unwrap_or(u32::MAX);
        let min = if divides && decision.shortfall.is_some() { min.min(placed) } else { min };
        let over = spread.max.is_some_and(|max| domains.len() > max as usize);
        if domains.len() < min as usize || over || domains.contains("") {
            let key = spread.key.as_str().to_owned();
            found.push(Violation::Spread { key, count: domains.len() });
        }
    }
}

fn check_tiers(fleet: &Fleet, request: &Request, decision: &Decision, found: &mut Vec<Violation>) {
    let rules = &request.rules;
    let tier = |member: &Member| rules.tiers.iter().position(|tier| tier.admits(member));
    let count = |member: &Member| decision.assignment.of(&member.name);
    let before = |member: &Member| request.previous.of(&member.name);
    let least = |member: &Member| {
        let bounds = rules.bounds.iter().find(|bounds| bounds.clusters.admits(member));
        bounds.map_or(1, |bounds| bounds.min.max(1))
    };
    // What a spread or a minimum asks of the later tier is its due.
    let strict = rules.spread.is_empty() && rules.survive.is_none();
    let grown = fleet.iter().filter(|member| count(member) > before(member));
    let grown: Vec<&Member> = grown
        .filter(|later| {
            let due = !strict || least(later) > 1;
            !due || count(later) > before(later).max(least(later))
        })
        .collect();
    let Some(last) = grown.iter().map(|member| tier(member)).max() else {
        return;
    };
    let has_room = |member: &Member| {
        let bounds = rules.bounds.iter().find(|bounds| bounds.clusters.admits(member));
        let bounded = bounds.is_some_and(|bounds| {
            bounds.min > 0 || bounds.max.is_some_and(|max| count(member) >= max)
        });
        let weightless = match &request.mode {
            Mode::Divide(DivideBy::Weighted(weights)) => {
                let entry = weights.iter().find(|entry| entry.clusters.admits(member));
                !weights.is_empty() && entry.is_none_or(|entry| entry.weight == 0)
            }
            _ => member.room == Room::Unknown,
        };
        let added = u64::from(count(member).saturating_sub(before(member)));
        let full = u64::from(count(member)) >= places(member, &request.needs);
        let usable = strict || count(member) > 0;
        // Room that the member would have to add comes after ready room in later tiers.
        is_open(member, request)
            && usable
            && !bounded
            && !full
            && !weightless
            && ready(member, &request.needs).is_none_or(|fits| fits > added)
    };
    // The first tier that has room left, with one of its members.
    let mut first: Option<(usize, &Member)> = None;
    for member in fleet.iter() {
        let Some(own) = tier(member) else {
            continue;
        };
        let earlier = Some(own) < last && first.is_none_or(|(first, _)| own < first);
        if earlier && has_room(member) {
            first = Some((own, member));
        }
    }
    for later in grown {
        if let Some((_, earlier)) = first.filter(|(first, _)| Some(*first) < tier(later)) {
            found.push(Violation::Tier {
                member: Arc::clone(&later.name),
                earlier: Arc::clone(&earlier.name),
            });
        }
    }
}

fn check_survival(
    fleet: &Fleet,
    request: &Request,
    decision: &Decision,
    found: &mut Vec<Violation>,
) {
    let Some(survive) = &request.rules.survive else {
        return;
    };
    if survive.standby != Standby::Running
        || survive.enforce != Enforce::Require
        || !matches!(request.mode, Mode::Divide(_))
    {
        return;
    }
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in decision.assignment.iter() {
        let domain = fleet.get(name).map_or("", |member| survive.domain.of(member));
        let domain = if domain.is_empty() { name.to_string() } else { domain.to_owned() };
        *sums.entry(domain).or_default() += u64::from(count);
    }
    let total = decision.assignment.total();
    let asked = u64::from(request.replicas) * u64::from(survive.min_percent);
    for (domain, count) in sums {
        if (total - count) * 100 < asked {
            found.push(Violation::Survive { domain, count });
        }
    }
}

/// Room with the nodes that the member adds by itself, counted as one more.
fn room(member: &Member, needs: &PodNeeds) -> Option<u64> {
    let Room::Nodes(nodes) = &member.room else {
        return None;
    };
    let corrected = nodes.corrections.iter().any(|(shape, _)| is_as_hard(needs, shape));
    let grown = nodes.elastic.as_ref().filter(|_| !corrected).map_or(0, |elastic| {
        let node = NodeShape {
            nodes: 1,
            free: elastic.resources.clone(),
            free_pods: elastic.pods,
            ..NodeShape::default()
        };
        let plain = Member::default();
        let anywhere = PodNeeds { request: needs.request.clone(), ..PodNeeds::default() };
        on_one_node(&node, &plain, &anywhere)
    });
    ready(member, needs).map(|fits| fits + grown)
}

/// How many replicas that keep apart find a place in all, whatever stands there.
fn places(member: &Member, needs: &PodNeeds) -> u64 {
    let Room::Nodes(nodes) = &member.room else {
        return u64::MAX;
    };
    if needs.apart.is_empty() {
        return u64::MAX;
    }
    let shapes: Vec<_> = nodes.shapes.iter().filter(|shape| admits(shape, needs)).collect();
    let each = needs.apart.iter().map(|label| {
        if label == HOSTNAME {
            return shapes.iter().map(|shape| shape.nodes).sum();
        }
        let values = shapes.iter().filter_map(|shape| shape.class.labels.get(label));
        values.collect::<BTreeSet<_>>().len() as u64
    });
    each.min().unwrap_or(u64::MAX)
}

/// Room counted node by node.
fn ready(member: &Member, needs: &PodNeeds) -> Option<u64> {
    let Room::Nodes(nodes) = &member.room else {
        return None;
    };
    let shapes = nodes.shapes.iter().filter(|shape| admits(shape, needs));
    let places: Vec<(&NodeShape, u64)> =
        shapes.map(|shape| (shape, on_one_node(shape, member, needs))).collect();
    let mut sum: u64 = places.iter().map(|(shape, pods)| shape.nodes * pods).sum();
    for label in &needs.apart {
        let taken = places.iter().filter(|(_, pods)| *pods > 0);
        let places = if label == HOSTNAME {
            taken.map(|(shape, _)| shape.nodes).sum()
        } else {
            let values: BTreeSet<_> =
                taken.filter_map(|(s, _)| s.class.labels.get(label)).collect();
            values.len() as u64
        };
        sum = sum.min(places);
    }
    for skew in &needs.skews {
        sum = sum.min(evenly(&places, skew));
    }
    for (_, limit) in nodes.corrections.iter().filter(|(shape, _)| is_as_hard(needs, shape)) {
        sum = sum.min(*limit);
    }
    Some(sum)
}

/// How many stand on these nodes when no domain is ahead of the emptiest by more than the limit:
/// one round after the other, each domain with room takes one, until a domain that is full holds
/// the rest back.
fn evenly(places: &[(&NodeShape, u64)], skew: &Skew) -> u64 {
    let mut domains: Vec<u64> = Vec::new();
    if skew.label == HOSTNAME {
        for (shape, pods) in places {
            domains.extend((0..shape.nodes).map(|_| *pods));
        }
    } else {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (shape, pods) in places {
            if let Some(value) = shape.class.labels.get(&skew.label) {
                *sums.entry(value).or_default() += shape.nodes * pods;
            }
        }
        domains.extend(sums.into_values());
    }
    domains.sort_unstable();
    let missing = (domains.len() as u64) < u64::from(skew.min_domains);
    // What holds the others back is the first of all, or an absent domain.
    let emptiest = if missing { 0 } else { domains.first().copied().unwrap_or(0) };
    let limit = emptiest.saturating_add(u64::from(skew.most.max(1)));
    let (mut placed, mut height) = (0, 0);
    for at in 0..domains.len() {
        // Those from here on rise together, to where this one is full.
        let top = domains[at].min(limit);
        placed += (top.max(height) - height) * (domains.len() - at) as u64;
        height = height.max(top);
    }
    placed
}

/// Whether every node that takes a replica with these needs would take one with the others.
fn is_as_hard(needs: &PodNeeds, other: &PodNeeds) -> bool {
    let amounts = |needs: &PodNeeds| {
        let mut all = needs.request.others.clone();
        all.insert("cpu".to_owned(), needs.request.cpu_milli);
        all.insert("memory".to_owned(), needs.request.memory_bytes);
        all
    };
    let own = amounts(needs);
    let asks =
        amounts(other).iter().all(|(k, v)| own.get(k).is_some_and(|have| have >= v) || *v == 0);
    let selected: BTreeSet<_> = needs.node_selector.iter().collect();
    let tolerated: BTreeSet<_> = other.tolerations.iter().collect();
    asks && other.node_selector.iter().all(|entry| selected.contains(&entry))
        && needs.tolerations.iter().all(|entry| tolerated.contains(entry))
        && other.skews.iter().all(|skew| needs.skews.contains(skew))
        && other.apart.iter().all(|label| needs.apart.contains(label))
}

fn admits(shape: &NodeShape, needs: &PodNeeds) -> bool {
    let class = &shape.class;
    let labelled = needs.node_selector.iter().all(|(k, v)| class.labels.get(k) == Some(v));
    let tolerated = class
        .taints
        .iter()
        .all(|taint| needs.tolerations.iter().any(|toleration| toleration.tolerates(taint)));
    labelled && tolerated
}

fn on_one_node(shape: &NodeShape, member: &Member, needs: &PodNeeds) -> u64 {
    let kept = |amount: u64| (amount * u64::from(member.reserve_percent)).div_ceil(100);
    let fits = |free: u64, all: u64, amount: u64| {
        free.saturating_sub(kept(all)).checked_div(amount).unwrap_or(u64::MAX)
    };
    let (free, all) = (&shape.free, &shape.allocatable);
    let amount = |from: &Resources, name: &str| from.others.get(name).copied().unwrap_or(0);
    let others = needs.request.others.iter();
    let others = others.map(|(name, need)| fits(amount(free, name), amount(all, name), *need));
    fits(free.cpu_milli, all.cpu_milli, needs.request.cpu_milli)
        .min(fits(free.memory_bytes, all.memory_bytes, needs.request.memory_bytes))
        .min(others.min().unwrap_or(u64::MAX))
        .min(shape.free_pods)
}
