//! How single cells are made. A cell is named in the table of resources by a path, or by one of
//! the names below, some with arguments after colons.

use jiff::Timestamp;
use serde_json::Value;

use super::jsonpath;
use crate::scale::selector_text;

const NONE: &str = "<none>";
const UNKNOWN: &str = "<unknown>";

/// One cell of an object's row.
pub(super) fn cell(name: &str, object: &Value, now: Timestamp) -> Value {
    if name.starts_with('{') {
        return path(object, name);
    }
    let mut parts = name.split(':');
    let head = parts.next().unwrap_or_default();
    let argument = parts.next().unwrap_or_default();
    let one = |path: &str| jsonpath::find(object, path).first().copied().unwrap_or(&Value::Null);
    let number = |path: &str| one(path).as_i64().unwrap_or(0);
    match head {
        "age" => since(&object["metadata"]["creationTimestamp"], now).into(),
        "since" => match one(argument) {
            Value::Null => Value::Null,
            time => since(time, now).into(),
        },
        "since-or-none" => match one(argument) {
            Value::Null => NONE.into(),
            time => since(time, now).into(),
        },
        "number" => number(argument).into(),
        "boolean" => one(argument).as_bool().unwrap_or(false).into(),
        "title" => {
            let text = one(argument).as_bool().unwrap_or(false);
            (if text { "True" } else { "False" }).into()
        }
        "length" => one(argument).as_array().map_or(0, Vec::len).into(),
        "or-none" => or(one(argument), NONE).into(),
        "or-na" => or(one(argument), "N/A").into(),
        "ready" => {
            let all = parts.next().unwrap_or_default();
            format!("{}/{}", number(argument), number(all)).into()
        }
        "selector" => text_or_none(&selector_text(&object["spec"]["selector"])).into(),
        "label-selector" => text_or_none(&selector_text(one(argument))).into(),
        "containers" => containers(object, "name").into(),
        "images" => containers(object, "image").into(),
        "data-count" => data_count(object).into(),
        "subjects" => subjects(object, argument).into(),
        "role-ref" => {
            let role = &object["roleRef"];
            format!("{}/{}", text(&role["kind"]), text(&role["name"])).into()
        }
        _ => text_cell(head, object, now),
    }
}

fn text_cell(name: &str, object: &Value, now: Timestamp) -> Value {
    let (spec, status) = (&object["spec"], &object["status"]);
    let result = match name {
        "pod-ready" => {
            let list = array(&status["containerStatuses"]);
            let ready = list.filter(|one| one["ready"] == true).count();
            format!("{ready}/{}", array(&spec["containers"]).count())
        }
        "pod-status" => pod_status(object),
        "pod-restarts" => pod_restarts(status, now),
        "pod-ip" => or(&status["podIP"], NONE),
        "pod-gates" => match array(&spec["readinessGates"]).count() {
            0 => NONE.to_owned(),
            all => format!("{}/{all}", gates(spec, status)),
        },
        "service-external" => service_external(object),
        "service-ports" => service_ports(spec),
        "service-selector" => text_or_none(&selector_text(&spec["selector"])),
        "node-status" => node_status(object),
        "node-roles" => node_roles(object),
        "node-internal" => node_address(status, "InternalIP"),
        "node-external" => node_address(status, "ExternalIP"),
        "node-selector" => text_or_none(&selector_text(&spec["template"]["spec"]["nodeSelector"])),
        "access-modes" => access_modes(object),
        "controller" => {
            let mut owners = array(&object["metadata"]["ownerReferences"]);
            owners.find(|owner| owner["controller"] == true).map_or_else(
                || NONE.to_owned(),
                |owner| format!("{}/{}", text(&owner["kind"]).to_lowercase(), text(&owner["name"])),
            )
        }
        "job-status" => job_status(object),
        "job-completions" => {
            let done = status["succeeded"].as_i64().unwrap_or(0);
            match spec["completions"].as_i64() {
                Some(all) => format!("{done}/{all}"),
                None => format!("{done}/1"),
            }
        }
        "job-duration" => match &status["startTime"] {
            Value::Null => String::new(),
            start => match &status["completionTime"] {
                Value::Null => since(start, now),
                end => end
                    .as_str()
                    .and_then(|end| end.parse().ok())
                    .map_or_else(String::new, |end| since(start, end)),
            },
        },
        _ => return other_cell(name, object, now),
    };
    result.into()
}

fn other_cell(name: &str, object: &Value, now: Timestamp) -> Value {
    let (spec, status) = (&object["spec"], &object["status"]);
    let result = match name {
        "hpa-reference" => {
            let target = &spec["scaleTargetRef"];
            format!("{}/{}", text(&target["kind"]), text(&target["name"]))
        }
        "hpa-targets" => hpa_targets(object),
        "ingress-hosts" => {
            let hosts = array(&spec["rules"]).map(|rule| or(&rule["host"], "*"));
            let hosts: Vec<String> = hosts.collect();
            if hosts.is_empty() { "*".to_owned() } else { hosts.join(",") }
        }
        "ingress-ports" => {
            let tls = array(&spec["tls"]).next().is_some();
            (if tls { "80, 443" } else { "80" }).to_owned()
        }
        "load-balancer" => load_balancer(status).join(","),
        "slice-ports" => {
            let ports = array(&object["ports"]).map(|port| or(&port["port"], "*"));
            unset_if_empty(&ports.collect::<Vec<_>>())
        }
        "slice-endpoints" => {
            let all = array(&object["endpoints"]).flat_map(|one| array(&one["addresses"]));
            let all: Vec<String> = all.map(|one| text(one).to_owned()).collect();
            short(&all)
        }
        "endpoints" => endpoints(object),
        "csr-condition" => {
            let all = array(&status["conditions"]).map(|one| text(&one["type"]).to_owned());
            let all: Vec<String> = all.collect();
            if all.is_empty() { "Pending".to_owned() } else { all.join(",") }
        }
        _ => event(name, object, now),
    };
    result.into()
}

fn event(name: &str, object: &Value, now: Timestamp) -> String {
    let object_of = if object["involvedObject"].is_object() {
        &object["involvedObject"]
    } else {
        &object["regarding"]
    };
    let first =
        [&object["firstTimestamp"], &object["deprecatedFirstTimestamp"], &object["eventTime"]];
    let last = [
        &object["series"]["lastObservedTime"],
        &object["lastTimestamp"],
        &object["deprecatedLastTimestamp"],
        &object["eventTime"],
        &object["firstTimestamp"],
    ];
    let when = |times: &[&Value]| {
        let time = times.iter().find(|time| time.is_string());
        time.map_or_else(|| UNKNOWN.to_owned(), |time| since(time, now))
    };
    match name {
        "event-first" => when(&first),
        "event-last" => when(&last),
        "event-object" => {
            format!("{}/{}", text(&object_of["kind"]).to_lowercase(), text(&object_of["name"]))
        }
        "event-source" => {
            let component = text(&object["source"]["component"]);
            let component =
                if component.is_empty() { text(&object["reportingComponent"]) } else { component };
            match text(&object["source"]["host"]) {
                "" => component.to_owned(),
                host => format!("{component}, {host}"),
            }
        }
        "event-message" => {
            let message = or(&object["message"], "");
            if message.is_empty() { or(&object["note"], "") } else { message }
        }
        "event-count" => {
            let count = object["series"]["count"].as_i64().or_else(|| object["count"].as_i64());
            count.unwrap_or(1).to_string()
        }
        other => format!("<no such cell: {other}>"),
    }
}

fn path(object: &Value, path: &str) -> Value {
    match jsonpath::find(object, path).as_slice() {
        [] => Value::Null,
        [one] => match one {
            Value::Object(_) | Value::Array(_) => one.to_string().into(),
            one => (*one).clone(),
        },
        many => {
            let texts: Vec<String> = many.iter().map(|one| or(one, "")).collect();
            texts.join(",").into()
        }
    }
}

fn array(value: &Value) -> std::slice::Iter<'_, Value> {
    value.as_array().map_or(&[][..], Vec::as_slice).iter()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn or(value: &Value, otherwise: &str) -> String {
    match value {
        Value::Null => otherwise.to_owned(),
        Value::String(text) if text.is_empty() => otherwise.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn text_or_none(text: &str) -> String {
    if text.is_empty() { NONE.to_owned() } else { text.to_owned() }
}

fn unset_if_empty(list: &[String]) -> String {
    if list.is_empty() { "<unset>".to_owned() } else { list.join(",") }
}

/// At most three of them, and how many more there are.
fn short(list: &[String]) -> String {
    match list {
        [] => "<unset>".to_owned(),
        list if list.len() > 3 => {
            format!("{} + {} more...", list[..3].join(","), list.len() - 3)
        }
        list => list.join(","),
    }
}

fn containers(object: &Value, field: &str) -> String {
    let list = array(&object["spec"]["template"]["spec"]["containers"]);
    let list: Vec<&str> = list.map(|one| text(&one[field])).collect();
    list.join(",")
}

fn data_count(object: &Value) -> String {
    let count = |name: &str| object[name].as_object().map_or(0, serde_json::Map::len);
    (count("data") + count("binaryData")).to_string()
}

fn subjects(object: &Value, kind: &str) -> String {
    let list = array(&object["subjects"]).filter(|one| one["kind"] == kind);
    let list: Vec<String> = list
        .map(|one| match text(&one["namespace"]) {
            "" => text(&one["name"]).to_owned(),
            namespace => format!("{namespace}/{}", text(&one["name"])),
        })
        .collect();
    list.join(", ")
}

/// How long ago, in the short form that `kubectl` prints.
fn since(time: &Value, now: Timestamp) -> String {
    let Some(then) = time.as_str().and_then(|time| time.parse::<Timestamp>().ok()) else {
        return UNKNOWN.to_owned();
    };
    human(now.as_second() - then.as_second())
}

fn human(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |whole: i64, unit: &str, rest: i64, small: &str| {
        if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit}{rest}{small}") }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

fn pod_status(object: &Value) -> String {
    let status = &object["status"];
    let mut reason = or(&status["reason"], "");
    if reason.is_empty() {
        reason = or(&status["phase"], "Unknown");
    }
    let mut running = false;
    for one in array(&status["containerStatuses"]).rev() {
        let state = &one["state"];
        let waiting = text(&state["waiting"]["reason"]);
        let ended = &state["terminated"];
        if !waiting.is_empty() {
            waiting.clone_into(&mut reason);
        } else if ended.is_object() {
            reason = match text(&ended["reason"]) {
                "" => format!("ExitCode:{}", ended["exitCode"].as_i64().unwrap_or(0)),
                text => text.to_owned(),
            };
        } else if one["ready"] == true && state["running"].is_object() {
            running = true;
        }
    }
    if reason == "Completed" && running {
        "Running".clone_into(&mut reason);
    }
    if object["metadata"]["deletionTimestamp"].is_string() {
        if status["reason"] == "NodeLost" {
            return "Unknown".to_owned();
        }
        if !matches!(text(&status["phase"]), "Succeeded" | "Failed") {
            return "Terminating".to_owned();
        }
    }
    reason
}

fn pod_restarts(status: &Value, now: Timestamp) -> String {
    let count: i64 = array(&status["containerStatuses"])
        .map(|one| one["restartCount"].as_i64().unwrap_or(0))
        .sum();
    let last = array(&status["containerStatuses"])
        .filter_map(|one| one["lastState"]["terminated"]["finishedAt"].as_str())
        .max();
    match last {
        Some(last) if count > 0 => format!("{count} ({} ago)", since(&last.into(), now)),
        _ => count.to_string(),
    }
}

fn gates(spec: &Value, status: &Value) -> usize {
    let fits = |gate: &&Value| {
        let mut conditions = array(&status["conditions"]);
        conditions.any(|one| one["type"] == gate["conditionType"] && one["status"] == "True")
    };
    array(&spec["readinessGates"]).filter(fits).count()
}

fn load_balancer(status: &Value) -> Vec<String> {
    array(&status["loadBalancer"]["ingress"])
        .map(|one| {
            let address = or(&one["ip"], "");
            if address.is_empty() { or(&one["hostname"], "") } else { address }
        })
        .collect()
}

fn service_external(object: &Value) -> String {
    let spec = &object["spec"];
    let mut extra: Vec<String> =
        array(&spec["externalIPs"]).map(|one| text(one).to_owned()).collect();
    match text(&spec["type"]) {
        "ExternalName" => or(&spec["externalName"], NONE),
        "LoadBalancer" => {
            let mut all = load_balancer(&object["status"]);
            all.append(&mut extra);
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        _ => text_or_none(&extra.join(",")),
    }
}

fn service_ports(spec: &Value) -> String {
    let ports: Vec<String> = array(&spec["ports"])
        .map(|port| {
            let (number, protocol) = (&port["port"], text(&port["protocol"]));
            match port["nodePort"].as_i64() {
                Some(node) if node > 0 => format!("{number}:{node}/{protocol}"),
                _ => format!("{number}/{protocol}"),
            }
        })
        .collect();
    text_or_none(&ports.join(","))
}

fn node_status(object: &Value) -> String {
    let mut conditions = array(&object["status"]["conditions"]);
    let ready = conditions.find(|one| one["type"] == "Ready");
    let mut status = match ready.map(|one| text(&one["status"])) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if object["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn node_roles(object: &Value) -> String {
    let labels = object["metadata"]["labels"].as_object();
    let roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .filter(|role| !role.is_empty())
        .collect();
    text_or_none(&roles.join(","))
}

fn node_address(status: &Value, kind: &str) -> String {
    let mut addresses = array(&status["addresses"]);
    let found = addresses.find(|one| one["type"] == kind);
    found.map_or_else(|| NONE.to_owned(), |one| or(&one["address"], NONE))
}

fn access_modes(object: &Value) -> String {
    let modes = match &object["status"]["accessModes"] {
        Value::Null => &object["spec"]["accessModes"],
        modes => modes,
    };
    let modes: Vec<&str> = array(modes)
        .map(|mode| match text(mode) {
            "ReadWriteOnce" => "RWO",
            "ReadOnlyMany" => "ROX",
            "ReadWriteMany" => "RWX",
            "ReadWriteOncePod" => "RWOP",
            other => other,
        })
        .collect();
    modes.join(",")
}

fn job_status(object: &Value) -> String {
    let holds = |kind: &str| {
        let mut conditions = array(&object["status"]["conditions"]);
        conditions.any(|one| one["type"] == kind && one["status"] == "True")
    };
    let status = if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if object["metadata"]["deletionTimestamp"].is_string() {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else {
        "Running"
    };
    status.to_owned()
}

fn hpa_targets(object: &Value) -> String {
    let current = &object["status"]["currentMetrics"];
    let targets: Vec<String> = array(&object["spec"]["metrics"])
        .enumerate()
        .map(|(index, metric)| {
            let resource = &metric["resource"];
            let wanted = resource["target"]["averageUtilization"].as_i64();
            let now = current[index]["resource"]["current"]["averageUtilization"].as_i64();
            let percent = |value: Option<i64>| {
                value.map_or_else(|| UNKNOWN.to_owned(), |value| format!("{value}%"))
            };
            let pair = format!("{}/{}", percent(now), percent(wanted));
            match text(&resource["name"]) {
                "" => pair,
                name => format!("{name}: {pair}"),
            }
        })
        .collect();
    text_or_none(&targets.join(", "))
}

fn endpoints(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in array(&object["subsets"]) {
        for address in array(&subset["addresses"]) {
            for port in array(&subset["ports"]) {
                all.push(format!("{}:{}", text(&address["ip"]), port["port"]));
            }
        }
    }
    if all.is_empty() { NONE.to_owned() } else { short(&all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_prints_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (3_600, "60m"),
            (11_000, "3h3m"),
            (100_000, "27h"),
            (200_000, "2d7h"),
            (10 * 86_400, "10d"),
            (3 * 365 * 86_400, "3y"),
        ] {
            assert_eq!(human(seconds), text);
        }
    }
}
