//! Rules of the built-in kinds beyond their schemas: what is required, and what belongs together.

use serde_json::Value;

use crate::{
    catalog::Kind,
    failure::Cause,
    names,
    schema::{Schema, Shape},
    trail::Trail,
};

/// Checks an object that has its defaults.
pub(crate) fn check(kind: &Kind, old: Option<&Value>, object: &Value, causes: &mut Vec<Cause>) {
    required(kind.schema(), old, object, &Trail::ROOT, causes);
    if !causes.is_empty() {
        return;
    }
    // A status says nothing that is checked here.
    let same = |name: &str| old.is_some_and(|old| old.get(name) == object.get(name));
    if object.get("spec").is_some() && same("spec") {
        return;
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            pod_spec(&object["spec"], "spec", causes);
            if let Some(old) = old {
                pod_update(old, object, causes);
            }
        }
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => {
            workload(&object["spec"], causes);
        }
        ("batch", "Job") => {
            pod_spec(&object["spec"]["template"]["spec"], "spec.template.spec", causes);
            restart_policy(&object["spec"]["template"]["spec"], causes);
        }
        ("", "Service") => service(&object["spec"], causes),
        ("", "ConfigMap" | "Secret") => {
            if let Some(old) = old.filter(|old| old["immutable"] == true)
                && (old["data"] != object["data"] || object["immutable"] != true)
            {
                let detail = "field is immutable when `immutable` is set";
                causes.push(Cause::forbidden("data", detail));
            }
        }
        ("autoscaling", _) => autoscaler(&object["spec"], causes),
        _ => {}
    }
}

/// What an update leaves as it was in `old` had what it needs.
fn required(
    schema: &Schema,
    old: Option<&Value>,
    value: &Value,
    trail: &Trail<'_>,
    causes: &mut Vec<Cause>,
) {
    let target = schema.get();
    match &target.shape {
        Shape::Object { properties, rest } => {
            let Some(object) = value.as_object() else {
                return;
            };
            for name in &target.required {
                // What controllers report is theirs.
                if !object.contains_key(&**name) && !trail.begins_with("status") {
                    causes.push(Cause::required(trail.field(name).to_string(), ""));
                }
            }
            for (name, value) in object {
                if trail.is_root() && (name == "metadata" || name == "status") {
                    continue;
                }
                let before = old.and_then(|old| old.get(name));
                let schema = properties.get(name.as_str()).or(rest.as_deref());
                if let Some(schema) = schema.filter(|_| before != Some(value)) {
                    required(schema, before, value, &trail.field(name), causes);
                }
            }
        }
        Shape::List(items) => {
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                required(items, None, item, &trail.item(index), causes);
            }
        }
        _ => {}
    }
}

fn workload(spec: &Value, causes: &mut Vec<Cause>) {
    if let Some(replicas) = spec["replicas"].as_i64().filter(|replicas| *replicas < 0) {
        let detail = "must be greater than or equal to 0";
        causes.push(Cause::invalid("spec.replicas", &replicas.into(), detail));
    }
    let selector = &spec["selector"];
    let empty = |name: &str| {
        selector[name].as_object().is_none_or(serde_json::Map::is_empty)
            && selector[name].as_array().is_none_or(Vec::is_empty)
    };
    if empty("matchLabels") && empty("matchExpressions") {
        let detail = "empty selector is invalid for deployment";
        causes.push(Cause::invalid("spec.selector", selector, detail));
    }
    let labels = &spec["template"]["metadata"]["labels"];
    names::check_labels(labels, "spec.template.labels", causes);
    let wanted = selector["matchLabels"].as_object();
    let fits = wanted.into_iter().flatten().all(|(key, value)| labels[key] == *value);
    if !fits {
        let detail = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", labels, detail));
    }
    let pod = &spec["template"]["spec"];
    pod_spec(pod, "spec.template.spec", causes);
    if pod["restartPolicy"] != "Always" && pod["restartPolicy"].is_string() {
        causes.push(Cause::unsupported(
            "spec.template.spec.restartPolicy",
            &pod["restartPolicy"],
            &["Always"],
        ));
    }
}

fn restart_policy(pod: &Value, causes: &mut Vec<Cause>) {
    if pod["restartPolicy"] == "Always" {
        causes.push(Cause::unsupported(
            "spec.template.spec.restartPolicy",
            &pod["restartPolicy"],
            &["OnFailure", "Never"],
        ));
    }
}

fn pod_spec(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    if spec["containers"].as_array().is_none_or(Vec::is_empty) {
        causes.push(Cause::required(format!("{path}.containers"), ""));
        return;
    }
    let mut seen = std::collections::BTreeSet::new();
    for list in ["initContainers", "containers"] {
        for (index, one) in spec[list].as_array().into_iter().flatten().enumerate() {
            let at = format!("{path}.{list}[{index}]");
            let name = one["name"].as_str().unwrap_or_default();
            if !names::is_label(name) {
                let detail = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
                causes.push(Cause::invalid(format!("{at}.name"), &one["name"], detail));
            } else if !seen.insert(name) {
                causes.push(Cause::duplicate(format!("{at}.name"), &one["name"]));
            }
            if one["image"].as_str().is_none_or(str::is_empty) {
                causes.push(Cause::required(format!("{at}.image"), ""));
            }
            for (index, port) in one["ports"].as_array().into_iter().flatten().enumerate() {
                port_number(
                    &port["containerPort"],
                    &format!("{at}.ports[{index}].containerPort"),
                    causes,
                );
            }
        }
    }
}

/// Of a pod's spec only images, deadlines and tolerations change once it exists.
fn pod_update(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let comparable = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        for list in ["containers", "initContainers"] {
            for one in spec[list].as_array_mut().into_iter().flatten() {
                if let Some(map) = one.as_object_mut() {
                    map.remove("image");
                    map.remove("resources");
                }
            }
        }
        if let Some(map) = spec.as_object_mut() {
            for field in [
                "activeDeadlineSeconds",
                "terminationGracePeriodSeconds",
                "tolerations",
                "ephemeralContainers",
                "schedulingGates",
            ] {
                map.remove(field);
            }
            if pod["spec"]["nodeName"].is_string() && old["spec"]["nodeName"].is_null() {
                map.remove("nodeName");
            }
        }
        spec
    };
    if comparable(old) != comparable(new) {
        let detail = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        causes.push(Cause::forbidden("spec", detail));
    }
}

fn service(spec: &Value, causes: &mut Vec<Cause>) {
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    let kind = spec["type"].as_str().unwrap_or_default();
    if !kinds.contains(&kind) {
        causes.push(Cause::unsupported("spec.type", &spec["type"], &kinds));
    }
    let ports = spec["ports"].as_array().cloned().unwrap_or_default();
    let headless = spec["clusterIP"] == "None";
    if ports.is_empty() && kind != "ExternalName" && !headless {
        causes.push(Cause::required("spec.ports", ""));
    }
    let mut seen = std::collections::BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        port_number(&port["port"], &format!("spec.ports[{index}].port"), causes);
        let name = port["name"].as_str().unwrap_or_default();
        if name.is_empty() && ports.len() > 1 {
            causes.push(Cause::required(format!("spec.ports[{index}].name"), ""));
        } else if !name.is_empty() && !seen.insert(name.to_owned()) {
            causes.push(Cause::duplicate(format!("spec.ports[{index}].name"), &port["name"]));
        }
    }
}

fn port_number(port: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !port.as_i64().is_some_and(|port| (1..=65_535).contains(&port)) {
        let detail = "must be between 1 and 65535, inclusive";
        causes.push(Cause::invalid(path, port, detail));
    }
}

fn autoscaler(spec: &Value, causes: &mut Vec<Cause>) {
    let (least, most) = (spec["minReplicas"].as_i64(), spec["maxReplicas"].as_i64());
    if most.is_some_and(|most| most < 1) {
        let detail = "must be greater than 0";
        causes.push(Cause::invalid("spec.maxReplicas", &spec["maxReplicas"], detail));
    }
    if let (Some(least), Some(most)) = (least, most)
        && most < least
    {
        let detail = "must be greater than or equal to `minReplicas`";
        causes.push(Cause::invalid("spec.maxReplicas", &spec["maxReplicas"], detail));
    }
}
