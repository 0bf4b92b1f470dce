//! Which pods of the own cluster are behind a service port: from the Service's port to the port
//! of its EndpointSlices, by name, as kube-proxy does it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::Service,
    discovery::v1::{EndpointPort, EndpointSlice},
};

use crate::mirror::Key;

/// Label of a slice that names its Service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Ready endpoints of each of `wanted` (`namespace/name/port`).
pub(crate) fn own<'a>(
    wanted: impl Iterator<Item = &'a str>,
    services: &BTreeMap<Key, Arc<Service>>,
    slices: &BTreeMap<Key, Arc<EndpointSlice>>,
) -> BTreeMap<String, Vec<SocketAddr>> {
    let mut by_service: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for ((namespace, _), slice) in slices {
        let labels = slice.metadata.labels.as_ref();
        if let Some(name) = labels.and_then(|labels| labels.get(SERVICE_NAME)) {
            by_service.entry((namespace, name)).or_default().push(slice);
        }
    }
    let mut found = BTreeMap::new();
    for key in wanted {
        let Some((namespace, name, port)) = parse(key) else {
            continue;
        };
        let service = services.get(&(namespace.to_owned(), name.to_owned()));
        let Some(port_name) = service.and_then(|service| port_name(service, port)) else {
            continue;
        };
        let mut addresses: Vec<SocketAddr> = by_service
            .get(&(namespace, name))
            .into_iter()
            .flatten()
            .flat_map(|slice| ready(slice, &port_name))
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        found.insert(key.to_owned(), addresses);
    }
    found
}

/// The parts of `namespace/name/port`.
pub(crate) fn parse(key: &str) -> Option<(&str, &str, i32)> {
    let mut parts = key.split('/');
    let parsed = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(parsed)
}

/// Name of the Service's port, empty where it has none.
fn port_name(service: &Service, port: i32) -> Option<String> {
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    let found = ports.iter().find(|candidate| candidate.port == port)?;
    Some(found.name.clone().unwrap_or_default())
}

fn ready(slice: &EndpointSlice, port_name: &str) -> Vec<SocketAddr> {
    let Some(port) = slice.ports.iter().flatten().find_map(|port| number(port, port_name)) else {
        return Vec::new();
    };
    slice
        .endpoints
        .iter()
        .flatten()
        // Unknown readiness counts as ready, as the field's documentation asks.
        .filter(|endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready) != Some(false))
        .filter_map(|endpoint| endpoint.addresses.first())
        .filter_map(|address| address.parse::<IpAddr>().ok())
        .map(|ip| SocketAddr::new(ip, port))
        .collect()
}

fn number(port: &EndpointPort, name: &str) -> Option<u16> {
    let same = port.name.as_deref().unwrap_or_default() == name;
    let tcp = port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    (same && tcp).then_some(())?;
    u16::try_from(port.port?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn services() -> BTreeMap<Key, Arc<Service>> {
        let service = json!({
            "metadata": {"namespace": "shop", "name": "web"},
            "spec": {"ports": [
                {"name": "http", "port": 80, "targetPort": 8080},
                {"name": "admin", "port": 81, "targetPort": 9000},
            ]},
        });
        let service = serde_json::from_value(service).unwrap();
        [(("shop".to_owned(), "web".to_owned()), Arc::new(service))].into()
    }

    fn slice(
        name: &str,
        service: &str,
        endpoints: &serde_json::Value,
    ) -> (Key, Arc<EndpointSlice>) {
        let slice = json!({
            "metadata": {"namespace": "shop", "name": name, "labels": {SERVICE_NAME: service}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "admin", "port": 9000}],
            "endpoints": endpoints,
        });
        let slice = serde_json::from_value(slice).unwrap();
        (("shop".to_owned(), name.to_owned()), Arc::new(slice))
    }

    #[test]
    fn ready_endpoints_of_all_slices_are_found_by_the_name_of_the_port() {
        let slices = BTreeMap::from([
            slice(
                "web-1",
                "web",
                &json!([
                    {"addresses": ["10.64.0.2"], "conditions": {"ready": true}},
                    {"addresses": ["10.64.0.3"], "conditions": {"ready": false}},
                ]),
            ),
            slice("web-2", "web", &json!([{"addresses": ["10.64.0.1"]}])),
            slice("cart-1", "cart", &json!([{"addresses": ["10.64.0.9"]}])),
        ]);
        let wanted = ["shop/web/80", "shop/web/81", "shop/web/99", "shop/none/80"];
        let own = own(wanted.into_iter(), &services(), &slices);
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(own["shop/web/80"], [at("10.64.0.1:8080"), at("10.64.0.2:8080")]);
        assert_eq!(own["shop/web/81"], [at("10.64.0.1:9000"), at("10.64.0.2:9000")]);
        assert!(!own.contains_key("shop/web/99"), "the Service has no such port");
        assert!(!own.contains_key("shop/none/80"));
    }
}
