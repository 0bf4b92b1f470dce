//! The derived Service of a global service: a ClusterIP without selector whose only endpoints
//! are the member's gateways on the service port, so that kube-proxy cannot undo the routing by
//! picking pods. Pure; the relay writes what is planned here.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use hanse_xds::{Protocol, View};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use serde_json::{Value, json};

use crate::{
    endpoints::{SERVICE_NAME, parse},
    mirror::Key,
};

/// Label on everything derived: the name of the global service's Service.
pub(crate) const DERIVED: &str = "hanse.dev/derived-from";
/// Annotation on everything derived: digest of what was written, to write it only once.
const DIGEST: &str = "hanse.dev/digest";
/// Who writes the slices, in the label that the endpoint controllers respect.
const MANAGER: &str = "relay.hanse.dev";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Ends the derived Service's name.
const SUFFIX: &str = "-global";
/// Longest name of a Service (a DNS label).
const MAX_NAME: usize = 63;

/// Name of the Service derived from the Service `name`. A long name is cut and made unique by a
/// hash of the whole.
pub fn service_name(name: &str) -> String {
    let whole = format!("{name}{SUFFIX}");
    if whole.len() <= MAX_NAME {
        return whole;
    }
    let kept: String = name.chars().take(MAX_NAME - SUFFIX.len() - 9).collect();
    format!("{kept}-{:08x}{SUFFIX}", fnv(name) & 0xffff_ffff)
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Write {
    ApplyService(Key, Value),
    ApplySlice(Key, Value),
    /// Only the object with this uid.
    DeleteService(Key, String),
    /// Only the object with this uid.
    DeleteSlice(Key, String),
    /// A Service of that name is somebody else's; nothing is written.
    Foreign(Key),
}

impl Write {
    pub(crate) fn namespace(&self) -> &str {
        match self {
            Self::ApplyService((namespace, _), _)
            | Self::ApplySlice((namespace, _), _)
            | Self::DeleteService((namespace, _), _)
            | Self::DeleteSlice((namespace, _), _)
            | Self::Foreign((namespace, _)) => namespace,
        }
    }
}

/// What has to be written so that the member has what `view` asks for.
pub(crate) fn plan(
    view: &View,
    gateways: &[IpAddr],
    services: &BTreeMap<Key, Arc<Service>>,
    slices: &BTreeMap<Key, Arc<EndpointSlice>>,
) -> Vec<Write> {
    let mut writes = Vec::new();
    let (mut kept_services, mut kept_slices) = (BTreeSet::new(), BTreeSet::new());
    for ((namespace, name), ports) in by_service(view) {
        let key = (namespace.to_owned(), service_name(name));
        let live = services.get(&key);
        if live.is_some_and(|live| source(&live.metadata) != Some(name)) {
            writes.push(Write::Foreign(key));
            continue;
        }
        let wanted = service(&key, name, &ports);
        if live.is_none_or(|live| digest_of(&live.metadata) != digest_in(&wanted)) {
            writes.push(Write::ApplyService(key.clone(), wanted));
        }
        for (family, addresses) in families(gateways) {
            let slice_key = (key.0.clone(), format!("{}-{}", key.1, family.to_lowercase()));
            let wanted = slice(&slice_key, &key.1, name, family, &addresses, &ports);
            let live = slices.get(&slice_key);
            if live.is_none_or(|live| digest_of(&live.metadata) != digest_in(&wanted)) {
                writes.push(Write::ApplySlice(slice_key.clone(), wanted));
            }
            kept_slices.insert(slice_key);
        }
        kept_services.insert(key);
    }
    for (key, slice) in slices {
        let ours = source(&slice.metadata).is_some();
        if let (true, false, Some(uid)) = (ours, kept_slices.contains(key), &slice.metadata.uid) {
            writes.push(Write::DeleteSlice(key.clone(), uid.clone()));
        }
    }
    for (key, service) in services {
        let ours = source(&service.metadata).is_some();
        if let (true, false, Some(uid)) = (ours, kept_services.contains(key), &service.metadata.uid)
        {
            writes.push(Write::DeleteService(key.clone(), uid.clone()));
        }
    }
    writes
}

/// (port of the Service, service port, protocol).
type Ports = Vec<(i32, u16, Protocol)>;

fn by_service(view: &View) -> BTreeMap<(&str, &str), Ports> {
    let mut grouped: BTreeMap<(&str, &str), Ports> = BTreeMap::new();
    for (key, service) in &view.services {
        if let Some((namespace, name, port)) = parse(key) {
            let ports = grouped.entry((namespace, name)).or_default();
            ports.push((port, service.service_port, service.protocol));
        }
    }
    grouped
}

fn families(gateways: &[IpAddr]) -> BTreeMap<&'static str, Vec<String>> {
    let mut families: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for ip in gateways {
        let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        families.entry(family).or_default().push(ip.to_string());
    }
    families
}

fn service((namespace, name): &Key, source: &str, ports: &Ports) -> Value {
    let ports: Vec<Value> = ports
        .iter()
        .map(|(port, service_port, protocol)| {
            json!({
                "name": format!("p-{port}"),
                "port": port,
                "protocol": "TCP",
                "targetPort": service_port,
                "appProtocol": app_protocol(*protocol),
            })
        })
        .collect();
    with_digest(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {DERIVED: source},
        },
        "spec": {
            "type": "ClusterIP",
            "internalTrafficPolicy": "Cluster",
            "ports": ports,
        },
    }))
}

fn slice(
    (namespace, name): &Key,
    service: &str,
    source: &str,
    family: &str,
    addresses: &[String],
    ports: &Ports,
) -> Value {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"addresses": [address], "conditions": {"ready": true}}))
        .collect();
    let ports: Vec<Value> = ports
        .iter()
        .map(|(port, service_port, protocol)| {
            json!({
                "name": format!("p-{port}"),
                "port": service_port,
                "protocol": "TCP",
                "appProtocol": app_protocol(*protocol),
            })
        })
        .collect();
    with_digest(json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {
                DERIVED: source,
                SERVICE_NAME: service,
                MANAGED_BY: MANAGER,
            },
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports,
    }))
}

const fn app_protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Grpc => "kubernetes.io/h2c",
        Protocol::Tcp => "tcp",
    }
}

fn with_digest(mut object: Value) -> Value {
    let digest = format!("{:016x}", fnv(&object.to_string()));
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("annotations".to_owned(), json!({DIGEST: digest}));
    }
    object
}

type Metadata = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

fn source(metadata: &Metadata) -> Option<&str> {
    metadata.labels.as_ref()?.get(DERIVED).map(String::as_str)
}

fn digest_of(metadata: &Metadata) -> Option<&str> {
    metadata.annotations.as_ref()?.get(DIGEST).map(String::as_str)
}

fn digest_in(object: &Value) -> Option<&str> {
    object.pointer("/metadata/annotations")?.get(DIGEST)?.as_str()
}

fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn view(keys: &[(&str, u16)]) -> View {
        let services = keys.iter().map(|(key, service_port)| {
            let service = hanse_xds::Service {
                protocol: Protocol::Http,
                service_port: *service_port,
                request_timeout: Duration::from_secs(15),
                retry_budget_percent: 20,
                order: Vec::new(),
                excluded: BTreeMap::new(),
                later: Vec::new(),
                local: Vec::new(),
            };
            ((*key).to_owned(), service)
        });
        View { services: services.collect(), peers: BTreeMap::new() }
    }

    fn live<K: serde::de::DeserializeOwned>(mut object: Value) -> Arc<K> {
        object["metadata"]["uid"] = json!("uid-1");
        Arc::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_global_service_gets_a_service_whose_endpoints_are_the_gateways() {
        let view = view(&[("shop/web/80", 10_080), ("shop/web/81", 10_081)]);
        let gateways = ["10.64.254.1".parse().unwrap()];
        let writes = plan(&view, &gateways, &BTreeMap::new(), &BTreeMap::new());
        let [Write::ApplyService(key, service), Write::ApplySlice(slice_key, slice)] = &writes[..]
        else {
            panic!("{writes:?}");
        };
        assert_eq!(key, &("shop".to_owned(), "web-global".to_owned()));
        assert!(service["spec"].get("selector").is_none());
        assert_eq!(service["spec"]["ports"][1]["targetPort"], 10_081);
        assert_eq!(slice["metadata"]["labels"][SERVICE_NAME], "web-global");
        assert_eq!(slice["ports"][0]["port"], 10_080);
        assert_eq!(slice["endpoints"][0]["addresses"][0], "10.64.254.1");
        // What is there already is not written again, and goes when the service does.
        let services = BTreeMap::from([(key.clone(), live(service.clone()))]);
        let slices = BTreeMap::from([(slice_key.clone(), live(slice.clone()))]);
        assert_eq!(plan(&view, &gateways, &services, &slices), []);
        let gone = plan(&View::default(), &gateways, &services, &slices);
        assert_eq!(
            gone,
            [
                Write::DeleteSlice(slice_key.clone(), "uid-1".to_owned()),
                Write::DeleteService(key.clone(), "uid-1".to_owned()),
            ]
        );
    }

    #[test]
    fn a_service_of_somebody_else_is_not_touched() {
        let foreign = json!({"metadata": {"namespace": "shop", "name": "web-global"}});
        let key = ("shop".to_owned(), "web-global".to_owned());
        let services = BTreeMap::from([(key.clone(), live(foreign))]);
        let view = view(&[("shop/web/80", 10_080)]);
        let writes = plan(&view, &[], &services, &BTreeMap::new());
        assert_eq!(writes, [Write::Foreign(key.clone())]);
        assert_eq!(plan(&View::default(), &[], &services, &BTreeMap::new()), []);
    }

    #[test]
    fn a_long_name_is_cut_and_stays_unique() {
        let (a, b) = (service_name(&"a".repeat(63)), service_name(&"a".repeat(62)));
        assert!(a.len() <= MAX_NAME && b.len() <= MAX_NAME);
        assert_ne!(a, b);
    }
}
