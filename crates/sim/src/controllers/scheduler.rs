//! A small scheduler: pods to nodes that have room, admit them, and are emptiest.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use super::{already, condition};
use crate::{
    action::Action,
    objects::{self, Key, Kind, Objects},
    quantity,
};

/// Amounts by resource: cpu in thousandths, the rest in units.
type Amounts = BTreeMap<String, i64>;

/// Finds nodes for all pods that wait, in order of their age; each choice counts for the next.
pub fn plan(objects: &Objects, now: Timestamp) -> Vec<Action> {
    let mut waiting: Vec<_> = objects
        .all(Kind::Pod)
        .filter(|(_, pod)| super::active(pod) && objects::text(pod, "/spec/nodeName").is_none())
        .collect();
    if waiting.is_empty() {
        return Vec::new();
    }
    waiting.sort_by_key(|(_, pod)| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    let mut free = free(objects);
    let mut actions = Vec::new();
    for (key, pod) in waiting {
        let need = need(&pod.data["spec"]);
        match choose(objects, &free, pod, &need) {
            Ok(node) => {
                if let Some(left) = free.get_mut(&node) {
                    subtract(left, &need);
                }
                actions.push(Action::Bind { key: key.clone(), node });
            }
            Err(message) => actions.extend(unschedulable(key, pod, &message, now)),
        }
    }
    actions
}

/// Whether a node's state, taints and labels admit a pod of this spec; room is another question.
pub fn admits(node: &DynamicObject, pod: &Value) -> bool {
    refusal(node, pod).is_none()
}

/// What every node has left.
fn free(objects: &Objects) -> BTreeMap<String, Amounts> {
    let mut free: BTreeMap<String, Amounts> = objects
        .all(Kind::Node)
        .map(|((_, name), node)| (name.clone(), amounts(&node.data["status"]["allocatable"])))
        .collect();
    for (_, pod) in objects.all(Kind::Pod) {
        let ended = matches!(objects::text(pod, "/status/phase"), Some("Succeeded" | "Failed"));
        let node = objects::text(pod, "/spec/nodeName").and_then(|node| free.get_mut(node));
        if let (Some(left), false) = (node, ended) {
            subtract(left, &need(&pod.data["spec"]));
        }
    }
    free
}

fn choose(
    objects: &Objects,
    free: &BTreeMap<String, Amounts>,
    pod: &DynamicObject,
    need: &Amounts,
) -> Result<String, String> {
    let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
    let mut best: Option<(i64, &String)> = None;
    let mut nodes = 0_usize;
    for ((_, name), node) in objects.all(Kind::Node) {
        nodes += 1;
        let left = free.get(name);
        let lacking = need.iter().find(|(resource, amount)| {
            left.and_then(|left| left.get(*resource)).copied().unwrap_or_default() < **amount
        });
        let refused = refusal(node, &pod.data["spec"])
            .or_else(|| lacking.map(|(resource, _)| format!("Insufficient {resource}")));
        if let Some(reason) = refused {
            *refusals.entry(reason).or_default() += 1;
            continue;
        }
        let score = left.map_or(0, |left| emptiness(node, left));
        if best.is_none_or(|(other, _)| score > other) {
            best = Some((score, name));
        }
    }
    best.map(|(_, name)| name.clone()).ok_or_else(|| {
        let reasons: Vec<_> =
            refusals.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        format!("0/{nodes} nodes are available: {}.", reasons.join(", "))
    })
}

/// The smaller of the free shares of cpu and memory, in parts of 10,000.
fn emptiness(node: &DynamicObject, left: &Amounts) -> i64 {
    let whole = amounts(&node.data["status"]["allocatable"]);
    ["cpu", "memory", "pods"]
        .iter()
        .filter_map(|resource| {
            let whole = i128::from(*whole.get(*resource)?).max(1);
            let left = i128::from(*left.get(*resource)?);
            i64::try_from(left * 10_000 / whole).ok()
        })
        .min()
        .unwrap_or_default()
}

fn unschedulable(key: &Key, pod: &DynamicObject, message: &str, now: Timestamp) -> Option<Action> {
    let said = ("Unschedulable", message);
    let mut scheduled = condition(pod, "PodScheduled", false, said, now);
    if let Some(fields) = scheduled.as_object_mut() {
        fields.remove("lastUpdateTime");
    }
    let status = json!({"phase": "Pending", "conditions": [scheduled]});
    (!already(&pod.data["status"], &status)).then(|| Action::Status {
        kind: Kind::Pod,
        key: key.clone(),
        status,
    })
}

/// What a pod asks for: the containers together or the largest init container, plus itself.
fn need(spec: &Value) -> Amounts {
    let requests = |list: &str| {
        let containers = spec[list].as_array().map(Vec::as_slice).unwrap_or_default();
        containers.iter().map(|container| amounts(&container["resources"]["requests"]))
    };
    let mut need = Amounts::new();
    for request in requests("containers") {
        for (resource, amount) in request {
            *need.entry(resource).or_default() += amount;
        }
    }
    for request in requests("initContainers") {
        for (resource, amount) in request {
            let largest = need.entry(resource).or_default();
            *largest = amount.max(*largest);
        }
    }
    need.insert("pods".to_owned(), 1);
    need
}

fn amounts(list: &Value) -> Amounts {
    let list = list.as_object().map(Map::iter);
    list.into_iter()
        .flatten()
        .filter_map(|(resource, value)| {
            let value = value.as_str().map(str::to_owned).or_else(|| Some(value.to_string()))?;
            let thousandths = quantity::thousandths(&value)?;
            let amount = if resource == "cpu" { thousandths } else { thousandths / 1000 };
            Some((resource.clone(), i64::try_from(amount).ok()?))
        })
        .collect()
}

fn subtract(left: &mut Amounts, need: &Amounts) {
    for (resource, amount) in need {
        if let Some(left) = left.get_mut(resource) {
            *left -= amount;
        }
    }
}

/// Why a node does not admit a pod, in kube-scheduler's words.
fn refusal(node: &DynamicObject, pod: &Value) -> Option<String> {
    if !objects::condition_true(node, "Ready") {
        return Some("node(s) were not ready".to_owned());
    }
    if node.data["spec"]["unschedulable"] == true {
        return Some("node(s) were unschedulable".to_owned());
    }
    let taints = node.data["spec"]["taints"].as_array().map(Vec::as_slice).unwrap_or_default();
    let untolerated = taints.iter().any(|taint| {
        taint["effect"] != "PreferNoSchedule" && !tolerated(taint, &pod["tolerations"])
    });
    if untolerated {
        return Some("node(s) had untolerated taint(s)".to_owned());
    }
    let selector = pod["nodeSelector"].as_object();
    let labels = node.metadata.labels.as_ref();
    let selected = selector.into_iter().flatten().all(|(key, value)| {
        labels.and_then(|labels| labels.get(key)).map(String::as_str) == value.as_str()
    });
    let required =
        &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    if !selected || !affine(required, node) {
        return Some("node(s) didn't match Pod's node affinity/selector".to_owned());
    }
    None
}

fn tolerated(taint: &Value, tolerations: &Value) -> bool {
    let tolerations = tolerations.as_array().map(Vec::as_slice).unwrap_or_default();
    tolerations.iter().any(|toleration| {
        let exists = toleration["operator"] == "Exists";
        let key = match toleration["key"].as_str() {
            None | Some("") => exists,
            Some(key) => taint["key"] == key,
        };
        let value = exists
            || toleration["value"].as_str().unwrap_or_default()
                == taint["value"].as_str().unwrap_or_default();
        let effect = match toleration["effect"].as_str() {
            None | Some("") => true,
            Some(effect) => taint["effect"] == effect,
        };
        key && value && effect
    })
}

fn affine(required: &Value, node: &DynamicObject) -> bool {
    let Some(terms) = required["nodeSelectorTerms"].as_array() else {
        return true;
    };
    terms.iter().any(|term| {
        let expressions = term["matchExpressions"].as_array().map(Vec::as_slice);
        expressions.unwrap_or_default().iter().all(|expression| matches(expression, node))
    })
}

fn matches(expression: &Value, node: &DynamicObject) -> bool {
    let key = expression["key"].as_str().unwrap_or_default();
    let label = node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let values = expression["values"].as_array().map(Vec::as_slice).unwrap_or_default();
    let listed = label.is_some_and(|label| values.iter().any(|value| value == label.as_str()));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let compared = || {
        let bound = number(values.first().and_then(Value::as_str))?;
        Some(number(label.map(String::as_str))?.cmp(&bound))
    };
    match expression["operator"].as_str() {
        Some("In") => listed,
        Some("NotIn") => !listed,
        Some("Exists") => label.is_some(),
        Some("DoesNotExist") => label.is_none(),
        Some("Gt") => compared() == Some(std::cmp::Ordering::Greater),
        Some("Lt") => compared() == Some(std::cmp::Ordering::Less),
        _ => false,
    }
}
