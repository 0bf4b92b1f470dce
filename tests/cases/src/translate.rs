//! The peer's terms in ours.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::bail;
use hanse_scheduler::{
    DivideBy, Fleet, Health, LabelRule, Member, Mode, NodeShape, PodNeeds, Request, Resources,
    Room, Rules, Selection, Spread, Taint, TaintEffect, TierMode, Toleration, Topology, Weight,
};

use crate::recorded::{Affinity, Case, Cluster, Selector, StaticWeight};

/// The fleet and the request of a case.
pub(crate) fn translate(case: &Case) -> anyhow::Result<(Fleet, Request)> {
    let kind: Arc<str> = case.workload.kind_id().into();
    let members = case.clusters.iter().map(member).collect::<Result<Vec<_>, _>>()?;
    let placement = &case.placement;
    let mode = mode(case)?;
    let rules = Rules {
        tiers: tiers(case)?,
        // The peer's core looks at one ordered group a call; its overflow tiers follow inside it,
        // for work that is divided. A full copy does not flow over.
        tier_mode: match mode {
            Mode::Divide(_) => TierMode::Overflow,
            Mode::Duplicate | Mode::Everywhere | Mode::Whole => TierMode::Fallback,
        },
        tolerations: placement
            .cluster_tolerations
            .iter()
            .map(|entry| Toleration {
                key: (!entry.key.is_empty()).then(|| entry.key.clone()),
                value: (entry.operator != "Exists").then(|| entry.value.clone()),
                no_execute_only: match entry.effect.as_str() {
                    "" => None,
                    effect => Some(effect == "NoExecute"),
                },
            })
            .collect(),
        spread: placement.spread_constraints.iter().map(spread).collect::<Result<_, _>>()?,
        steady: !case.fresh,
        ..Rules::default()
    };
    let request = Request {
        rules: Arc::new(rules),
        needs: Arc::new(PodNeeds {
            request: resources(case.workload.requests.as_ref().unwrap_or(&BTreeMap::new()))?.0,
            ..PodNeeds::default()
        }),
        kind,
        replicas: case.workload.replicas,
        mode,
        previous: case.previous.iter().map(|p| (p.cluster.as_str(), p.replicas)).collect(),
        leaving: leaving(case),
        ..Request::default()
    };
    Ok((Fleet::new(members), request))
}

/// What is evicted, and what is being removed, is to be left.
fn leaving(case: &Case) -> Vec<Arc<str>> {
    let removed = case.clusters.iter().filter(|cluster| cluster.deleting);
    let removed = removed.map(|cluster| &cluster.name);
    case.evicting.iter().chain(removed).map(|name| name.as_str().into()).collect()
}

pub(crate) fn member(cluster: &Cluster) -> anyhow::Result<Member> {
    let taints = cluster.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
    Ok(Member {
        name: cluster.name.as_str().into(),
        provider: cluster.provider.as_str().into(),
        region: cluster.region.as_str().into(),
        zone: cluster.zones.iter().flatten().next().map_or("", String::as_str).into(),
        labels: Arc::new(labels(cluster)),
        taints: taints
            .map(|taint| Taint {
                key: taint.key.clone(),
                value: taint.value.clone(),
                effect: if taint.effect == "NoExecute" {
                    TaintEffect::NoExecute
                } else {
                    TaintEffect::NoSchedule
                },
            })
            .collect(),
        health: if cluster.deleting { Health::NotJoined } else { Health::Good },
        // A kind that an incomplete list lacks does not count as served, there as here.
        kinds: Some(Arc::new(cluster.apis.iter().cloned().collect())),
        room: room(cluster)?,
        ..Member::default()
    })
}

/// Labels, and one for each field that a selector may rule out.
fn labels(cluster: &Cluster) -> BTreeMap<String, String> {
    let mut labels = cluster.labels.clone();
    let zone = cluster.zones.iter().flatten().next().cloned().unwrap_or_default();
    let fields = [("provider", &cluster.provider), ("region", &cluster.region), ("zone", &zone)];
    labels.extend(fields.into_iter().map(|(field, value)| (field_label(field), value.clone())));
    labels
}

/// Recorded room is a sum, which one node of that size stands for.
fn room(cluster: &Cluster) -> anyhow::Result<Room> {
    let Some(allocatable) = &cluster.allocatable else {
        return Ok(Room::Unknown);
    };
    let (total, pods) = resources(allocatable)?;
    let (used, used_pods) = resources(&cluster.allocated)?;
    let (coming, coming_pods) = resources(&cluster.allocating)?;
    Ok(Room::nodes(vec![NodeShape {
        nodes: 1,
        free: total.minus(&used, 1).minus(&coming, 1),
        free_pods: pods.saturating_sub(used_pods).saturating_sub(coming_pods),
        allocatable: total,
        ..NodeShape::default()
    }]))
}

/// Amounts, pods apart.
fn resources(amounts: &BTreeMap<String, String>) -> anyhow::Result<(Resources, u64)> {
    let mut resources = Resources::default();
    let mut pods = 0;
    for (name, text) in amounts {
        let Ok(milli) = hanse_render::milli(text) else {
            bail!("{name}: {text} is no quantity");
        };
        let milli = u64::try_from(milli).unwrap_or(0);
        match name.as_str() {
            "cpu" => resources.cpu_milli = milli,
            "memory" => resources.memory_bytes = milli / 1000,
            "pods" => pods = milli / 1000,
            other => drop(resources.others.insert(other.to_owned(), milli / 1000)),
        }
    }
    Ok((resources, pods))
}

fn mode(case: &Case) -> anyhow::Result<Mode> {
    if case.workload.replicas == 0 && case.workload.requests.is_none() {
        return Ok(Mode::Everywhere);
    }
    let Some(scheduling) = &case.placement.replica_scheduling else {
        return Ok(Mode::Duplicate);
    };
    let preference = scheduling.weight_preference.as_ref();
    Ok(match scheduling.replica_scheduling_type.as_str() {
        "" | "Duplicated" => Mode::Duplicate,
        "Divided" if scheduling.replica_division_preference == "Aggregated" => {
            Mode::Divide(DivideBy::Pack)
        }
        "Divided" if preference.is_some_and(|weights| !weights.dynamic_weight.is_empty()) => {
            Mode::Divide(DivideBy::Capacity)
        }
        "Divided" => {
            let given = preference.map_or(&[][..], |weights| &weights.static_weight_list);
            Mode::Divide(DivideBy::Weighted(Arc::new(weights(case, given)?)))
        }
        other => bail!("replicaSchedulingType {other} has no translation"),
    })
}

/// With the peer a cluster takes its largest weight, and all of a tier are equal when none of it
/// that may be used has any; with us the first entry counts.
fn weights(case: &Case, given: &[StaticWeight]) -> anyhow::Result<Vec<Weight>> {
    let mut list = given
        .iter()
        .map(|entry| {
            Ok(Weight { clusters: selection(&entry.target_cluster)?, weight: entry.weight })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    list.sort_by_key(|entry| std::cmp::Reverse(entry.weight));
    let tiers = tiers(case)?;
    // Clusters by tier, and whether one of them has a weight.
    let mut all: Vec<(Vec<String>, bool)> = vec![(Vec::new(), false); tiers.len().max(1)];
    for cluster in case.clusters.iter().filter(|cluster| case.may_use(cluster)) {
        let member = member(cluster)?;
        let tier = tiers.iter().position(|tier| tier.admits(&member));
        let Some(tier) = (if tiers.is_empty() { Some(0) } else { tier }) else {
            continue;
        };
        let (names, any) = &mut all[tier];
        names.push(cluster.name.clone());
        *any |= list.iter().any(|entry| entry.weight > 0 && entry.clusters.admits(&member));
    }
    if !all.iter().any(|(_, any)| *any) {
        return Ok(Vec::new());
    }
    let equal = all.into_iter().filter(|(names, any)| !names.is_empty() && !any);
    let equal = equal.map(|(names, _)| Weight {
        clusters: Selection { names, ..Selection::default() },
        weight: 1,
    });
    Ok(equal.chain(list).collect())
}

fn tiers(case: &Case) -> anyhow::Result<Vec<Selection>> {
    let placement = &case.placement;
    let group = if placement.cluster_affinities.is_empty() {
        placement.cluster_affinity.as_ref()
    } else {
        let observed = case.observed_affinity.as_deref();
        let named = |group: &&Affinity| observed.is_none_or(|name| name == group.affinity_name);
        placement.cluster_affinities.iter().find(named)
    };
    let Some(group) = group else {
        return Ok(Vec::new());
    };
    std::iter::once(group).chain(&group.overflow_affinities).map(selection).collect()
}

fn selection(affinity: &Affinity) -> anyhow::Result<Selection> {
    let mut selection = Selection {
        names: affinity.cluster_names.clone(),
        exclude: affinity.exclude.clone(),
        ..Selection::default()
    };
    if let Some(Selector { match_labels, match_expressions }) = &affinity.label_selector {
        for (key, value) in match_labels {
            selection.labels.push(LabelRule::In(key.clone(), vec![value.clone()]));
        }
        for rule in match_expressions {
            let (key, values) = (rule.key.clone(), rule.values.clone());
            selection.labels.push(match rule.operator.as_str() {
                "In" => LabelRule::In(key, values),
                "NotIn" => LabelRule::NotIn(key, values),
                "Exists" => LabelRule::Exists(key),
                "DoesNotExist" => LabelRule::DoesNotExist(key),
                other => bail!("operator {other} of a label has no translation"),
            });
        }
    }
    for rule in affinity.field_selector.iter().flat_map(|fields| &fields.match_expressions) {
        fields(&mut selection, &rule.key, &rule.operator, &rule.values)?;
    }
    Ok(selection)
}

/// A field that is to be one of some values has a list of its own here; one that is not to be is
/// a rule about a label that [`crate::translate`] gives each member for it.
fn fields(
    selection: &mut Selection,
    key: &str,
    operator: &str,
    values: &[String],
) -> anyhow::Result<()> {
    let list = match key {
        "provider" => &mut selection.providers,
        "region" => &mut selection.regions,
        "zone" => &mut selection.zones,
        other => bail!("field {other} has no translation"),
    };
    match operator {
        "In" if list.is_empty() => list.extend_from_slice(values),
        "In" => list.retain(|value| values.contains(value)),
        "NotIn" => {
            selection.labels.push(LabelRule::NotIn(field_label(key), values.to_vec()));
        }
        other => bail!("operator {other} of a field has no translation"),
    }
    Ok(())
}

fn field_label(field: &str) -> String {
    format!("recorded/{field}")
}

fn spread(entry: &crate::recorded::Spread) -> anyhow::Result<Spread> {
    let key = match (entry.spread_by_field.as_str(), entry.spread_by_label.as_str()) {
        ("cluster", _) => Topology::Cluster,
        ("region", _) => Topology::Region,
        ("zone", _) => Topology::Zone,
        ("provider", _) => Topology::Provider,
        ("", label) if !label.is_empty() => Topology::Label(label.to_owned()),
        (other, _) => bail!("spread by {other} has no translation"),
    };
    let max = (entry.max_groups > 0).then_some(entry.max_groups);
    Ok(Spread { key, min: entry.min_groups, max })
}
