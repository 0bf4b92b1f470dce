//! The admin pages: what is in force, how the other places fare, and why a request would go
//! where it goes.

use std::{net::SocketAddr, sync::Arc};

use hanse_rt::{
    Mono,
    admin::{self, Admin},
};
use hanse_xds::Level;
use serde_json::{Value, json};

use crate::{
    choice::{self, Tried},
    config::{GatewayConfig, StartError},
    table::{Hop, Route},
    worker::Shared,
};

const JSON: &str = "application/json";

/// Serves the pages, where an address is configured.
pub(crate) fn serve(
    tasks: &hanse_rt::TaskSet,
    config: &GatewayConfig,
    shared: &Arc<Shared>,
) -> Result<Option<SocketAddr>, StartError> {
    let Some(address) = config.admin else {
        return Ok(None);
    };
    let shared = Arc::clone(shared);
    let pages = Admin {
        metrics: config.metrics.clone(),
        readiness: config.readiness.clone(),
        pages: Some(Arc::new(move |uri| page(&shared, uri))),
    };
    let bound = admin::serve(tasks, address, pages).map_err(|source| StartError::Listen {
        what: "admin",
        address,
        source,
    })?;
    Ok(Some(bound))
}

fn page(shared: &Shared, uri: &http::Uri) -> Option<(&'static str, String)> {
    let value = match uri.path() {
        "/config" => config(shared),
        "/endpoints" => endpoints(shared),
        "/why" => {
            let query = uri.query().unwrap_or_default();
            let service = query
                .split('&')
                .find_map(|pair| pair.strip_prefix("service="))?
                .replace("%2F", "/");
            why(shared, &service)?
        }
        _ => return None,
    };
    Some((JSON, format!("{value:#}\n")))
}

fn config(shared: &Shared) -> Value {
    let failed = shared.failed_ports.lock().expect("no holder of this lock panics");
    json!({
        "cluster": shared.cluster,
        "view": *shared.table.load().view,
        "portsNotOpen": *failed,
    })
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Unknown => "Unknown",
        Level::Up => "Up",
        Level::Down => "Down",
    }
}

fn endpoints(shared: &Shared) -> Value {
    let (table, now) = (shared.table.load(), Mono::now());
    let peers = table.peers.iter().flat_map(|(cluster, peer)| {
        peer.addresses.iter().map(move |address| {
            json!({
                "cluster": cluster,
                "address": address.address,
                "probed": peer.probe,
                "observed": peer.observe,
                "transport": level(address.health.level()),
                "silentMilliseconds": u64::try_from(address.health.silence(now).as_millis()).ok(),
                "inFlight": address.load.in_flight(),
            })
        })
    });
    let pods = table.routes.iter().flat_map(|(service, route)| {
        route.local.iter().map(move |pod| {
            json!({
                "service": service,
                "address": pod.address,
                "ejected": pod.outcome.is_out(now),
                "inFlight": pod.load.in_flight(),
            })
        })
    });
    json!({ "peers": peers.collect::<Vec<_>>(), "pods": pods.collect::<Vec<_>>() })
}

/// Each cluster of the order with what stands for and against it now.
pub(crate) fn why(shared: &Shared, service: &str) -> Option<Value> {
    let table = shared.table.load();
    let route = table.routes.get(service)?;
    let wall = shared.wall.now().as_second();
    let mut chosen = None;
    let mut priorities = Vec::new();
    for hops in route.order(wall) {
        let mut entries = Vec::new();
        for hop in hops {
            let refusal = refusal(route, hop);
            if refusal.is_none() && chosen.is_none() {
                chosen = Some(priorities.len());
            }
            entries.push(json!({
                "cluster": hop.cluster,
                "weight": hop.weight,
                "reason": hop.reason,
                "verdictLost": hop.lost,
                "transport": hop.peer.as_ref().map(|peer| level(peer.level())),
                "usable": refusal.is_none(),
                "notUsedBecause": refusal,
            }));
        }
        priorities.push(Value::Array(entries));
    }
    Some(json!({
        "service": service,
        "from": shared.cluster,
        "priorities": priorities,
        "chosenPriority": chosen,
        "excluded": route.excluded,
    }))
}

fn refusal(route: &Route, hop: &Hop) -> Option<&'static str> {
    match choice::transport(route, hop, &Tried::default()) {
        Err(why) => Some(why.as_str()),
        Ok(()) if choice::ejected(route, hop, Mono::now()) => {
            Some(choice::Unusable::Ejected.as_str())
        }
        Ok(()) => None,
    }
}
