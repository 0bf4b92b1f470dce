//! Addresses and ports that Services take from ranges of the cluster.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use serde_json::{Value, json};

use crate::{
    failure::{Cause, Failure},
    meta,
    request::Call,
    server::Inner,
};

/// The range of node ports, as in Kubernetes.
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30_000..=32_767;

/// Gives a Service what it needs and keeps what it has. The caller holds the allocation lock.
pub(crate) fn allocate(
    server: &Arc<Inner>,
    call: &Call,
    old: Option<&Value>,
    service: &mut Value,
) -> Result<(), Failure> {
    let kind = service["spec"]["type"].as_str().unwrap_or("ClusterIP").to_owned();
    if kind == "ExternalName" {
        if let Some(spec) = service["spec"].as_object_mut() {
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
        }
        return Ok(());
    }
    let given = service["spec"]["clusterIP"].as_str().unwrap_or_default();
    let before = old.and_then(|old| old["spec"]["clusterIP"].as_str()).unwrap_or_default();
    let name = meta::text(service, "name").to_owned();
    let address = match (given, before) {
        ("", "") => free_address(server, call, &name)?,
        ("", before) => before.to_owned(),
        (given, before) if !before.is_empty() && given != before => {
            let value = &service["spec"]["clusterIP"];
            let cause = Cause::invalid("spec.clusterIP", value, "field is immutable");
            return Err(Failure::invalid(call.kind_subject(&name), &[cause]));
        }
        ("None", _) => "None".to_owned(),
        (given, before) => {
            if before.is_empty() {
                claim(server, call, &name, given)?;
            }
            given.to_owned()
        }
    };
    let spec = &mut service["spec"];
    for (name, value) in [("ipFamilies", json!(["IPv4"])), ("ipFamilyPolicy", json!("SingleStack"))]
    {
        if spec.get(name).is_none() {
            spec[name] = value;
        }
    }
    spec["clusterIP"] = address.as_str().into();
    spec["clusterIPs"] = json!([address]);
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        node_ports(server, call, old, service)?;
    } else {
        for port in ports(service) {
            if let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
        }
    }
    Ok(())
}

fn ports(service: &mut Value) -> impl Iterator<Item = &mut Value> {
    service["spec"]["ports"].as_array_mut().into_iter().flatten()
}

fn free_address(server: &Arc<Inner>, call: &Call, name: &str) -> Result<String, Failure> {
    let used = used(server, call);
    let range = server.service_range;
    let base = u32::from(range.network);
    let size = 1_u32 << (32 - u32::from(range.prefix.clamp(8, 30)));
    // The first address stands for the API itself, the last for everybody.
    let usable = size - 3;
    let start = server.random(|rng| rng.below(u64::from(usable)));
    let start = u32::try_from(start).unwrap_or_default();
    let candidates = (0..usable).map(|step| base + 2 + (start + step) % usable);
    candidates
        .map(|address| Ipv4Addr::from(address).to_string())
        .find(|address| !used.contains(address))
        .ok_or_else(|| {
            let why = "failed to allocate a serviceIP: range is full";
            Failure::forbidden(call.subject(name), why)
        })
}

fn claim(server: &Arc<Inner>, call: &Call, name: &str, given: &str) -> Result<(), Failure> {
    let value = Value::from(given);
    let wrong = |detail: &str| {
        let cause = Cause::invalid("spec.clusterIPs", &json!([given]), detail);
        Failure::invalid(call.kind_subject(name), &[cause])
    };
    let Ok(address) = given.parse::<Ipv4Addr>() else {
        let detail = "must be a valid IPv4 address";
        let cause = Cause::invalid("spec.clusterIP", &value, detail);
        return Err(Failure::invalid(call.kind_subject(name), &[cause]));
    };
    let range = server.service_range;
    let shift = 32 - u32::from(range.prefix.clamp(8, 30));
    if u32::from(address) >> shift != u32::from(range.network) >> shift {
        let detail = format!(
            "failed to allocate IP {given}: the provided IP is not in the valid range. The range of valid IPs is {}/{}",
            range.network, range.prefix
        );
        return Err(wrong(&detail));
    }
    if used(server, call).contains(given) {
        let detail = format!("failed to allocate IP {given}: provided IP is already allocated");
        return Err(wrong(&detail));
    }
    Ok(())
}

/// The addresses of all services.
fn used(server: &Arc<Inner>, call: &Call) -> BTreeSet<String> {
    let index = call.kind.fields.iter().position(|path| path == "spec.clusterIP");
    let (_, services) = server.store.snapshot(&call.kind.storage, "");
    let index = index.unwrap_or_default();
    services.iter().map(|(_, object)| object.field(index).to_owned()).collect()
}

fn node_ports(
    server: &Arc<Inner>,
    call: &Call,
    old: Option<&Value>,
    service: &mut Value,
) -> Result<(), Failure> {
    let name = meta::text(service, "name").to_owned();
    let me = meta::text(service, "uid").to_owned();
    let (_, services) = server.store.snapshot(&call.kind.storage, "");
    let mut taken: BTreeSet<i64> = BTreeSet::new();
    for (_, object) in services {
        let mut value = object.value();
        if meta::text(&value, "uid") != me {
            taken.extend(ports(&mut value).filter_map(|port| port["nodePort"].as_i64()));
        }
    }
    let before: Vec<Value> = old
        .map(|old| {
            let ports = old["spec"]["ports"].as_array();
            ports.cloned().unwrap_or_default()
        })
        .unwrap_or_default();
    for port in ports(service) {
        let kept = before
            .iter()
            .find(|one| one["port"] == port["port"] && one["protocol"] == port["protocol"])
            .and_then(|one| one["nodePort"].as_i64());
        let given = port["nodePort"].as_i64().filter(|port| *port > 0);
        let chosen = match given.or(kept) {
            Some(number) if taken.contains(&number) => {
                let detail = "provided port is already allocated";
                let cause = Cause::invalid("spec.ports.nodePort", &number.into(), detail);
                return Err(Failure::invalid(call.kind_subject(&name), &[cause]));
            }
            Some(number) => Some(number),
            None => {
                let (first, span) = (NODE_PORTS.start(), NODE_PORTS.end() - NODE_PORTS.start());
                let bound = u64::try_from(span + 1).unwrap_or(1);
                let start = server.random(|rng| rng.below(bound));
                let start = i64::try_from(start).unwrap_or_default();
                (0..=span)
                    .map(|step| first + (start + step) % (span + 1))
                    .find(|number| !taken.contains(number))
            }
        };
        let Some(number) = chosen else {
            let why = "all node ports are in use";
            return Err(Failure::forbidden(call.subject(&name), why));
        };
        taken.insert(number);
        port["nodePort"] = number.into();
    }
    Ok(())
}
