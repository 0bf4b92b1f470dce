//! Rules of a pod about other pods like itself, as far as they limit how many of them fit: spread
//! constraints that keep pods waiting, and required anti-affinity with itself. Rules about pods of
//! other workloads are left to the member's own scheduler.

use serde_json::Value;

use super::{Labels, PodNeeds, labels, list};
use crate::companions::label_selector;

/// How unevenly pods may stand over the nodes' domains of one label.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PodSkew {
    /// Label of nodes.
    pub label: String,
    /// By how many pods the fullest domain may exceed the emptiest, 1 or more.
    pub most: u32,
    /// With fewer domains than this the emptiest counts as empty.
    pub min_domains: u32,
}

/// Needs with the rules of a pod template about pods like itself. A node affinity that asks for one
/// value of a label is the same as a node selector, and counts as one.
pub(super) fn with_rules(mut needs: PodNeeds, pod: &Value, namespace: &str) -> PodNeeds {
    let labels = pod.pointer("/metadata/labels").map(labels).unwrap_or_default();
    let spec = &pod["spec"];
    for rule in list(spec.get("topologySpreadConstraints")) {
        let waits = rule["whenUnsatisfiable"] != "ScheduleAnyway";
        let label = rule["topologyKey"].as_str().unwrap_or_default();
        if waits && !label.is_empty() && is_selected(rule, &labels) {
            let number = |key: &str| rule[key].as_u64().and_then(|n| u32::try_from(n).ok());
            needs.skews.push(PodSkew {
                label: label.to_owned(),
                most: number("maxSkew").unwrap_or(1).max(1),
                min_domains: number("minDomains").unwrap_or(1),
            });
        }
    }
    let terms = "/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    for term in list(spec.pointer(terms)) {
        let label = term["topologyKey"].as_str().unwrap_or_default();
        if !label.is_empty() && reaches(term, namespace) && is_selected(term, &labels) {
            needs.apart.push(label.to_owned());
        }
    }
    needs.apart.sort();
    needs.apart.dedup();
    for (key, value) in single_values(spec) {
        needs.node_selector.entry(key).or_insert(value);
    }
    needs
}

/// Whether a rule selects pods with these labels. Without a selector it selects none.
fn is_selected(rule: &Value, labels: &Labels) -> bool {
    let selector = rule.get("labelSelector");
    selector.is_some_and(|selector| label_selector(selector).includes("", "", labels))
}

/// Whether a term of anti-affinity looks at pods of the workload's own namespace.
fn reaches(term: &Value, namespace: &str) -> bool {
    let named: Vec<&Value> = list(term.get("namespaces")).collect();
    let all = term["namespaceSelector"].as_object().map(serde_json::Map::is_empty);
    match all {
        // What an other namespace selector selects is known in the member only.
        Some(all) => all || named.iter().any(|name| *name == namespace),
        None => named.is_empty() || named.iter().any(|name| *name == namespace),
    }
}

/// Labels of which a required node affinity admits one value only.
fn single_values(spec: &Value) -> Vec<(String, String)> {
    let terms =
        "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let terms: Vec<&Value> = list(spec.pointer(terms)).collect();
    // Of several terms any one suffices, which no selector can say.
    let [term] = terms.as_slice() else {
        return Vec::new();
    };
    let rules = list(term.get("matchExpressions")).filter(|rule| rule["operator"] == "In");
    rules
        .filter_map(|rule| match rule["values"].as_array()?.as_slice() {
            [value] => Some((rule["key"].as_str()?.to_owned(), value.as_str()?.to_owned())),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::pod_needs;
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
    fn needs(spec: Value) -> PodNeeds {
        pod_needs(&json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"namespace": "shop", "name": "web"},
            "spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": spec}}}))
    }

    fn rule(app: &str, key: &str) -> Value {
        json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}})
    }

    #[test]
    fn a_spread_that_keeps_pods_waiting_is_a_limit_and_one_that_does_not_is_none() {
        let mut strict = rule("web", "zone");
        strict["maxSkew"] = json!(2);
        strict["minDomains"] = json!(3);
        strict["whenUnsatisfiable"] = json!("DoNotSchedule");
        let mut soft = rule("web", "rack");
        soft["whenUnsatisfiable"] = json!("ScheduleAnyway");
        let other = rule("db", "host");
        let found = needs(json!({"topologySpreadConstraints": [strict, soft, other]})).skews;
        assert_eq!(found, [PodSkew { label: "zone".to_owned(), most: 2, min_domains: 3 }]);
    }

    #[test]
    fn required_anti_affinity_with_itself_keeps_pods_apart() {
        let required = |terms: Value| {
            let key = "requiredDuringSchedulingIgnoredDuringExecution";
            needs(json!({"affinity": {"podAntiAffinity": {key: terms}}})).apart
        };
        let host = "kubernetes.io/hostname";
        assert_eq!(required(json!([rule("web", host), rule("web", host)])), [host]);
        assert!(required(json!([rule("db", host)])).is_empty());
        let mut elsewhere = rule("web", host);
        elsewhere["namespaces"] = json!(["other"]);
        assert!(required(json!([elsewhere.clone()])).is_empty());
        elsewhere["namespaceSelector"] = json!({});
        assert_eq!(required(json!([elsewhere])), [host]);
    }

    #[test]
    fn a_node_affinity_for_one_value_is_a_node_selector() {
        let terms = |values: Value| {
            let rule = json!({"key": "pool", "operator": "In", "values": values});
            let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [rule]}]});
            let key = "requiredDuringSchedulingIgnoredDuringExecution";
            needs(json!({"affinity": {"nodeAffinity": {key: terms}}})).node_selector
        };
        assert_eq!(terms(json!(["gpu"]))["pool"], "gpu");
        assert!(terms(json!(["gpu", "cpu"])).is_empty());
    }
}
