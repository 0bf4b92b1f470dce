//! A selection of member clusters, used wherever a policy speaks of clusters.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Clusters that satisfy every part that is given; a part left out admits all.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSelection {
    /// Names of MemberClusters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5000), inner(length(min = 1, max = 63)))]
    pub names: Vec<String>,
    /// Labels of MemberClusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Providers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub providers: Vec<String>,
    /// Regions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub regions: Vec<String>,
    /// Zones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512), inner(length(min = 1, max = 63)))]
    pub zones: Vec<String>,
    /// Names of MemberClusters left out, whatever else is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5000), inner(length(min = 1, max = 63)))]
    pub exclude: Vec<String>,
}

/// What a selection looks at in a member.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Name of the MemberCluster.
    pub name: &'a str,
    /// Its provider.
    pub provider: &'a str,
    /// Its region.
    pub region: &'a str,
    /// Its zone; empty when it names none.
    pub zone: &'a str,
    /// Labels of the MemberCluster.
    pub labels: &'a BTreeMap<String, String>,
}

impl ClusterSelection {
    /// Whether the selection admits this member.
    pub fn admits(&self, member: Member<'_>) -> bool {
        let listed = |list: &[String], value: &str| {
            list.is_empty() || list.iter().any(|entry| entry == value)
        };
        listed(&self.names, member.name)
            && listed(&self.providers, member.provider)
            && listed(&self.regions, member.region)
            && listed(&self.zones, member.zone)
            && !self.exclude.iter().any(|name| name == member.name)
            && self
                .selector
                .as_ref()
                .is_none_or(|selector| selects(selector, |key| member.labels.get(key)))
    }
}

/// Whether a label selector matches labels, told by their keys; an operator that does not exist
/// matches nothing.
pub fn selects<'a>(selector: &LabelSelector, label: impl Fn(&str) -> Option<&'a String>) -> bool {
    let equal = selector.match_labels.iter().flatten();
    equal.into_iter().all(|(key, value)| label(key) == Some(value))
        && selector.match_expressions.iter().flatten().all(|rule| holds(rule, label(&rule.key)))
}

fn holds(rule: &LabelSelectorRequirement, value: Option<&String>) -> bool {
    let listed = value.is_some_and(|value| rule.values.iter().flatten().any(|v| v == value));
    match rule.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn admits(selection: serde_json::Value, labels: &BTreeMap<String, String>) -> bool {
        let selection: ClusterSelection = serde_json::from_value(selection).unwrap();
        selection.admits(Member {
            name: "aws-1",
            provider: "aws",
            region: "eu-west-1",
            zone: "",
            labels,
        })
    }

    #[test]
    fn an_empty_selection_admits_every_member() {
        assert!(admits(serde_json::json!({}), &labels(&[])));
    }

    #[test]
    fn every_part_that_is_given_must_hold() {
        let tier = labels(&[("tier", "gold")]);
        for (selection, expected) in [
            (serde_json::json!({"names": ["aws-1"], "providers": ["aws"]}), true),
            (serde_json::json!({"names": ["aws-1"], "providers": ["gcp"]}), false),
            (serde_json::json!({"regions": ["eu-west-1"], "exclude": ["aws-1"]}), false),
            (serde_json::json!({"zones": ["eu-west-1a"]}), false),
            (serde_json::json!({"selector": {"matchLabels": {"tier": "gold"}}}), true),
            (serde_json::json!({"selector": {"matchLabels": {"tier": "iron"}}}), false),
        ] {
            assert_eq!(admits(selection.clone(), &tier), expected, "{selection}");
        }
    }

    #[test]
    fn selector_expressions_follow_the_operators_of_kubernetes() {
        let tier = labels(&[("tier", "gold")]);
        for (key, operator, values, expected) in [
            ("tier", "In", &["gold", "iron"][..], true),
            ("tier", "NotIn", &["gold"], false),
            ("other", "NotIn", &["gold"], true),
            ("tier", "Exists", &[], true),
            ("tier", "DoesNotExist", &[], false),
            ("tier", "Near", &[], false),
        ] {
            let rule = serde_json::json!({"selector": {"matchExpressions":
                [{"key": key, "operator": operator, "values": values}]}});
            assert_eq!(admits(rule, &tier), expected, "{key} {operator}");
        }
    }
}
