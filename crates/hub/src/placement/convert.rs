//! Rules of a policy in the scheduler's terms.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use hanse_api::{
    ClusterSelection, ORDINALS_BLOCK, Placement, ReplicaMode, Strategy, TierMode,
    TolerationOperator,
};
use hanse_render::Kind;
use hanse_scheduler::{
    Bounds, DivideBy, LabelRule, Mode, PodNeeds, Rules, Selection, Skew, Spread, Survive,
    Toleration, Topology, Weight,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::{Lease, room::resources};

/// The rules of a policy, shared by all that it selects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compiled {
    pub(super) rules: Arc<Rules>,
    /// The same with no more replicas in a member than a block has pod numbers.
    numbered: Arc<Rules>,
    weights: Arc<Vec<Weight>>,
    /// The rules inside of tenants, by name of the tenant, with its generation.
    within: Arc<Mutex<Within>>,
}

/// How a workload is handed out, apart from what its policy says of all.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Parts {
    /// As is usual for its kind.
    #[default]
    Usual,
    /// Divided, although its kind goes whole.
    Divided,
    /// Divided, with pod numbers by cluster.
    Numbered,
}

type Within = BTreeMap<(String, bool), (i64, Arc<Rules>)>;

/// Rules inside of so many tenants are kept for each policy.
const TENANTS_KEPT: usize = 256;

impl Compiled {
    pub(crate) fn new(placement: &Placement) -> Self {
        let replicas = &placement.replicas;
        let rules = Rules {
            tiers: placement.clusters.iter().map(selection).collect(),
            tier_mode: match placement.tiers {
                TierMode::Fallback => hanse_scheduler::TierMode::Fallback,
                TierMode::Overflow => hanse_scheduler::TierMode::Overflow,
            },
            tenant: None,
            tolerations: placement.tolerations.iter().map(toleration).collect(),
            spread: placement.spread.iter().map(spread).collect(),
            bounds: replicas
                .bounds
                .iter()
                .map(|bounds| Bounds {
                    clusters: selection(&bounds.clusters),
                    min: bounds.min.map_or(0, count),
                    max: bounds.max.map(count),
                })
                .collect(),
            steady: replicas.steady,
            survive: placement.survive.as_ref().map(survive),
        };
        let weights = replicas.weights.iter().map(|weight| Weight {
            clusters: selection(&weight.clusters),
            weight: count(weight.weight),
        });
        let weights = Arc::new(weights.collect());
        let rules = Arc::new(rules);
        let numbered = match replicas.ordinals {
            Some(hanse_api::Ordinals::Partition) => Arc::new(within_blocks(&rules)),
            None => Arc::clone(&rules),
        };
        Self { rules, numbered, weights, within: Arc::default() }
    }

    /// The rules inside of a tenant: one value for all that it has of this policy.
    pub(super) fn within(&self, lease: Option<&Lease>, parts: Parts) -> Arc<Rules> {
        let numbered = parts == Parts::Numbered;
        let own = if numbered { &self.numbered } else { &self.rules };
        let Some(lease) = lease else {
            return Arc::clone(own);
        };
        let mut all = self.within.lock().expect("no holder of this lock panics");
        let key = (lease.tenant.clone(), numbered);
        if let Some((generation, rules)) = all.get(&key)
            && *generation == lease.generation
        {
            return Arc::clone(rules);
        }
        if all.len() >= TENANTS_KEPT {
            all.clear();
        }
        let tenant = Some(selection(&lease.clusters));
        let rules = Arc::new(Rules { tenant, ..Rules::clone(own) });
        all.insert(key, (lease.generation, Arc::clone(&rules)));
        rules
    }

    /// How a kind's replicas are handed out. A DaemonSet runs on every node of every cluster; a
    /// StatefulSet or a Job goes whole to one cluster, because its replicas are not alike, unless
    /// it is in parts.
    pub(super) fn mode(&self, placement: &Placement, kind: Kind, parts: Parts) -> Mode {
        let duplicate = placement.replicas.mode == Some(ReplicaMode::Duplicate);
        match kind {
            _ if parts != Parts::Usual => Mode::Divide(self.strategy(placement)),
            Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet if duplicate => Mode::Duplicate,
            Kind::StatefulSet | Kind::Job | Kind::CronJob => Mode::Whole,
            Kind::Deployment | Kind::ReplicaSet => Mode::Divide(self.strategy(placement)),
            _ => Mode::Everywhere,
        }
    }

    fn strategy(&self, placement: &Placement) -> DivideBy {
        match placement.replicas.strategy {
            Strategy::Capacity => DivideBy::Capacity,
            Strategy::Pack => DivideBy::Pack,
            Strategy::Weighted => DivideBy::Weighted(Arc::clone(&self.weights)),
        }
    }
}

/// The rules with no more replicas in a member than a block has pod numbers.
fn within_blocks(rules: &Rules) -> Rules {
    let mut rules = rules.clone();
    for bounds in &mut rules.bounds {
        bounds.max = Some(bounds.max.unwrap_or(ORDINALS_BLOCK).min(ORDINALS_BLOCK));
    }
    rules.bounds.push(Bounds { max: Some(ORDINALS_BLOCK), ..Bounds::default() });
    rules
}

fn spread(spread: &hanse_api::Spread) -> Spread {
    Spread {
        key: match spread.topology_key.as_str() {
            "cluster" => Topology::Cluster,
            "zone" => Topology::Zone,
            "region" => Topology::Region,
            "provider" => Topology::Provider,
            other => Topology::Label(other.strip_prefix("label:").unwrap_or(other).to_owned()),
        },
        min: spread.min_domains.map_or(1, count),
        max: spread.max_domains.map(count),
    }
}

fn survive(survive: &hanse_api::Survive) -> Survive {
    use hanse_api::{Enforce, Standby, SurviveDomain};
    Survive {
        domain: match survive.domain {
            SurviveDomain::Cluster => Topology::Cluster,
            SurviveDomain::Zone => Topology::Zone,
            SurviveDomain::Region => Topology::Region,
            SurviveDomain::Provider => Topology::Provider,
        },
        min_percent: survive.min_replicas_percent.map_or(100, count),
        standby: match survive.standby {
            Standby::Spare => hanse_scheduler::Standby::Spare,
            Standby::Running => hanse_scheduler::Standby::Running,
        },
        enforce: match survive.enforce {
            Enforce::Warn => hanse_scheduler::Enforce::Warn,
            Enforce::Require => hanse_scheduler::Enforce::Require,
        },
    }
}

/// What one pod needs.
pub(super) fn needs(needs: &hanse_render::PodNeeds) -> Arc<PodNeeds> {
    Arc::new(PodNeeds {
        request: resources(&needs.requests),
        node_selector: needs.node_selector.clone(),
        skews: needs
            .skews
            .iter()
            .map(|skew| Skew {
                label: skew.label.clone(),
                most: skew.most,
                min_domains: skew.min_domains,
            })
            .collect(),
        apart: needs.apart.clone(),
        tolerations: needs
            .tolerations
            .iter()
            .map(|toleration| Toleration {
                key: toleration.key.clone(),
                value: toleration.value.clone(),
                no_execute_only: match toleration.effect.as_deref() {
                    Some("NoExecute") => Some(true),
                    Some(_) => Some(false),
                    None => None,
                },
            })
            .collect(),
    })
}

fn toleration(toleration: &hanse_api::Toleration) -> Toleration {
    Toleration {
        key: toleration.key.clone(),
        value: match toleration.operator {
            TolerationOperator::Exists => None,
            TolerationOperator::Equal => Some(toleration.value.clone().unwrap_or_default()),
        },
        no_execute_only: toleration.effect.map(|effect| effect == hanse_api::Effect::NoExecute),
    }
}

/// A selection of clusters.
pub(super) fn selection(clusters: &ClusterSelection) -> Selection {
    Selection {
        names: clusters.names.clone(),
        labels: clusters.selector.as_ref().map(label_rules).unwrap_or_default(),
        providers: clusters.providers.clone(),
        regions: clusters.regions.clone(),
        zones: clusters.zones.clone(),
        exclude: clusters.exclude.clone(),
    }
}

fn label_rules(selector: &LabelSelector) -> Vec<LabelRule> {
    let equal = selector.match_labels.iter().flatten();
    let mut rules: Vec<LabelRule> =
        equal.map(|(key, value)| LabelRule::In(key.clone(), vec![value.clone()])).collect();
    for rule in selector.match_expressions.iter().flatten() {
        let (key, values) = (rule.key.clone(), rule.values.clone().unwrap_or_default());
        rules.push(match rule.operator.as_str() {
            "NotIn" => LabelRule::NotIn(key, values),
            "Exists" => LabelRule::Exists(key),
            "DoesNotExist" => LabelRule::DoesNotExist(key),
            // An operator that does not exist matches nothing.
            "In" => LabelRule::In(key, values),
            _ => LabelRule::In(key, Vec::new()),
        });
    }
    rules
}

fn count(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn placement(value: serde_json::Value) -> Placement {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn kinds_are_handed_out_by_what_their_replicas_are() {
        let plain = placement(json!({}));
        let copies = placement(json!({"replicas": {"mode": "Duplicate"}}));
        for (rules, kind, expected) in [
            (&plain, Kind::Deployment, Mode::Divide(DivideBy::Capacity)),
            (&copies, Kind::Deployment, Mode::Duplicate),
            (&plain, Kind::StatefulSet, Mode::Whole),
            (&plain, Kind::Job, Mode::Whole),
            (&copies, Kind::DaemonSet, Mode::Everywhere),
            (&plain, Kind::Other, Mode::Everywhere),
        ] {
            let mode = Compiled::new(rules).mode(rules, kind, Parts::Usual);
            assert_eq!(mode, expected, "{kind:?}");
        }
        let mode = Compiled::new(&plain).mode(&plain, Kind::Job, Parts::Divided);
        assert_eq!(mode, Mode::Divide(DivideBy::Capacity));
    }

    #[test]
    fn no_member_holds_more_of_a_numbered_set_than_a_block_has_numbers() {
        let rules = placement(json!({"replicas": {"ordinals": "Partition", "bounds": [
            {"clusters": {"names": ["a"]}, "max": 3}, {"clusters": {"names": ["b"]}, "min": 2}]}}));
        let compiled = Compiled::new(&rules);
        let most = |parts| -> Vec<Option<u32>> {
            compiled.within(None, parts).bounds.iter().map(|bounds| bounds.max).collect()
        };
        assert_eq!(most(Parts::Usual), [Some(3), None]);
        assert_eq!(most(Parts::Numbered), [Some(3), Some(1000), Some(1000)]);
    }

    #[test]
    fn rules_are_carried_over() {
        let rules = placement(json!({
            "clusters": [{"regions": ["eu"], "selector": {"matchLabels": {"tier": "gold"}}}],
            "tiers": "Overflow",
            "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute"}],
            "spread": [{"topologyKey": "region", "minDomains": 2}, {"topologyKey": "label:rack"}],
            "survive": {"domain": "Region", "standby": "Running", "minReplicasPercent": 60},
            "replicas": {"strategy": "Weighted", "weights": [{"weight": 3}],
                "bounds": [{"min": 1, "max": 4}], "partial": true, "steady": false}}));
        let compiled = Compiled::new(&rules);
        let found = &compiled.rules;
        assert_eq!(found.tiers[0].regions, ["eu"]);
        let gold = LabelRule::In("tier".to_owned(), vec!["gold".to_owned()]);
        assert_eq!(found.tiers[0].labels, [gold]);
        assert_eq!(found.tolerations[0].no_execute_only, Some(true));
        assert_eq!((found.bounds[0].min, found.bounds[0].max), (1, Some(4)));
        assert_eq!(found.spread[1].key, Topology::Label("rack".to_owned()));
        assert_eq!((found.spread[0].min, found.spread[0].max), (2, None));
        assert!(!found.steady);
        assert_eq!(found.survive.as_ref().map(|survive| survive.min_percent), Some(60));
        let weight = Weight { clusters: Selection::default(), weight: 3 };
        let mode = compiled.mode(&rules, Kind::Deployment, Parts::Usual);
        assert_eq!(mode, Mode::Divide(DivideBy::Weighted(Arc::new(vec![weight]))));
    }
}
