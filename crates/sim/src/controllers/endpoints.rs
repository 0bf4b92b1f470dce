//! Service to EndpointSlices: the pods a selector names, with their readiness.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::{owner_reference, ready, selects};
use crate::{
    action::Action,
    objects::{self, Key, Kind, Objects},
};

/// Endpoints a slice may hold: the default of the built-in controller.
const PER_SLICE: usize = 100;
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";

/// What the slices of one Service need.
pub fn plan(objects: &Objects, key: &Key, _now: Timestamp) -> Vec<Action> {
    let Some(service) = objects.get(Kind::Service, key) else {
        return Vec::new();
    };
    let Some(selector) = service.data["spec"]["selector"].as_object() else {
        return Vec::new();
    };
    if objects::terminating(service) || selector.is_empty() {
        return Vec::new();
    }
    let pods: Vec<_> = objects
        .all(Kind::Pod)
        .filter(|((namespace, _), pod)| *namespace == key.0 && selects(Some(selector), pod))
        .filter(|(_, pod)| objects::text(pod, "/status/podIP").is_some())
        .filter(|(_, pod)| {
            !matches!(objects::text(pod, "/status/phase"), Some("Succeeded" | "Failed"))
        })
        .map(|(_, pod)| pod)
        .collect();
    let wanted = slices(objects, service, &pods);
    write(objects, service, key, wanted)
}

/// Groups pods by the port numbers they serve on, and cuts each group into slices.
fn slices(
    objects: &Objects,
    service: &DynamicObject,
    pods: &[&Arc<DynamicObject>],
) -> Vec<(Value, Vec<Value>)> {
    let mut groups: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
    for pod in pods {
        let ports = ports(service, pod);
        let group = groups.entry(ports.to_string()).or_insert_with(|| (ports, Vec::new()));
        group.1.push(endpoint(objects, pod));
    }
    let mut slices = Vec::new();
    for (ports, endpoints) in groups.into_values() {
        for part in endpoints.chunks(PER_SLICE) {
            slices.push((ports.clone(), part.to_vec()));
        }
    }
    slices
}

fn ports(service: &DynamicObject, pod: &DynamicObject) -> Value {
    let ports = service.data["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let resolved = ports.iter().filter_map(|port| {
        let number = match &port["targetPort"] {
            Value::Number(number) => number.as_i64()?,
            Value::String(name) => named_port(pod, name)?,
            _ => port["port"].as_i64()?,
        };
        let mut out = json!({
            "name": port["name"].as_str().unwrap_or_default(), "port": number,
            "protocol": port["protocol"].as_str().unwrap_or("TCP"),
        });
        if let Some(protocol) = port["appProtocol"].as_str() {
            out["appProtocol"] = json!(protocol);
        }
        Some(out)
    });
    resolved.collect()
}

fn named_port(pod: &DynamicObject, name: &str) -> Option<i64> {
    let containers = pod.data["spec"]["containers"].as_array()?;
    let ports = containers.iter().filter_map(|container| container["ports"].as_array()).flatten();
    ports.filter(|port| port["name"] == name).find_map(|port| port["containerPort"].as_i64())
}

fn endpoint(objects: &Objects, pod: &DynamicObject) -> Value {
    let ending = objects::terminating(pod);
    let serving = ready(pod);
    let node = objects::text(pod, "/spec/nodeName").unwrap_or_default();
    let zone = objects
        .get(Kind::Node, &(String::new(), node.to_owned()))
        .and_then(|node| node.metadata.labels.as_ref()?.get("topology.kubernetes.io/zone"));
    let mut endpoint = json!({
        "addresses": [objects::text(pod, "/status/podIP")],
        "conditions": {"ready": serving && !ending, "serving": serving, "terminating": ending},
        "nodeName": node,
        "targetRef": {
            "kind": "Pod", "namespace": pod.metadata.namespace, "name": pod.metadata.name,
            "uid": pod.metadata.uid,
        },
    });
    if let Some(zone) = zone {
        endpoint["zone"] = json!(zone);
    }
    endpoint
}

/// Compares the wanted slices with those that exist, in order.
fn write(
    objects: &Objects,
    service: &Arc<DynamicObject>,
    key: &Key,
    wanted: Vec<(Value, Vec<Value>)>,
) -> Vec<Action> {
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    let mut existing = objects.owned_by(uid, Kind::EndpointSlice).into_iter();
    let mut labels: BTreeMap<String, String> = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), key.1.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut actions = Vec::new();
    for (ports, endpoints) in wanted {
        let Some(slice) = existing.next() else {
            let body = json!({
                "metadata": {
                    "generateName": format!("{}-", key.1), "labels": labels,
                    "ownerReferences": owner_reference(Kind::Service, service),
                },
                "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
            });
            actions.push(Action::create(Kind::EndpointSlice, &key.0, body));
            continue;
        };
        let same = slice.data["ports"] == ports
            && slice.data["endpoints"] == Value::from(endpoints.clone())
            && slice.metadata.labels.as_ref() == Some(&labels);
        if !same {
            let body = json!({
                "metadata": {"labels": labels}, "ports": ports, "endpoints": endpoints,
            });
            let key = objects::key_of(slice);
            actions.push(Action::Patch { kind: Kind::EndpointSlice, key, body });
        }
    }
    actions.extend(existing.map(|slice| Action::delete(Kind::EndpointSlice, slice)));
    actions
}
