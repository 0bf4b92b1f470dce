//! The long-running roles as processes of their own: hub, agent, gateway.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use hanse_agent::RelayConfig;
use hanse_api::HubPlace;
use hanse_gateway::GatewayConfig;
use hanse_hub::{
    Hub, HubConfig, Traffic,
    explain::{Desk, QuestionError},
    traffic::RoundTrips,
};
use hanse_member::DirectConnector;
use hanse_rt::{
    Metrics, Readiness, Rng, TaskSet, Wall,
    admin::{self, Admin},
    net::AddressMap,
    telemetry,
};
use hanse_sim::member::HOP_PORT;
use kube::Client;

use crate::{
    args::{Addresses, Agent, Gateway, Global, Hub as HubArgs},
    connect, output, signals,
};

/// How long tasks may take to end when asked: the gateway lets requests finish.
const DRAIN: Duration = Duration::from_secs(30);

/// Runs a member's relay.
///
/// # Errors
/// What stands in the way of its start.
pub(crate) async fn agent(global: &Global, agent: &Agent) -> Result<()> {
    let tasks = TaskSet::new("agent");
    let (metrics, readiness) = (Metrics::new(), Readiness::new());
    telemetry::push(&tasks, "hanse", &metrics)?;
    let client = Client::try_from(connect::config(global).await?)?;
    let token = token(&agent.token_file)?;
    let config = RelayConfig {
        member: agent.member.clone(),
        client,
        hub: agent.hub,
        hub_token: token.clone(),
        listen: agent.listen,
        gateway_token: token,
        gateways: vec![agent.gateway],
        data: agent.data.clone(),
        rng: Rng::from_entropy(),
        metrics: metrics.clone(),
        readiness: readiness.clone(),
    };
    let relay =
        hanse_agent::run(&tasks, config).with_context(|| format!("--listen {}", agent.listen))?;
    let admin = Admin { metrics, readiness, pages: None };
    let at = admin::serve(&tasks, agent.admin, admin)
        .with_context(|| format!("--admin {}", agent.admin))?;
    output::say(&format!("relay of {} serves {}, admin {at}", agent.member, relay.address));
    end(&tasks).await
}

/// Runs a member's gateway.
///
/// # Errors
/// What stands in the way of its start.
pub(crate) async fn gateway(gateway: &Gateway) -> Result<()> {
    let tasks = TaskSet::new("gateway");
    let metrics = Metrics::new();
    telemetry::push(&tasks, "hanse", &metrics)?;
    let config = GatewayConfig {
        cluster: gateway.member.clone(),
        bind: gateway.bind,
        hop_port: HOP_PORT,
        relay: gateway.relay,
        token: token(&gateway.token_file)?,
        addresses: addresses(gateway.address_map),
        data: gateway.data.clone(),
        admin: Some(gateway.admin),
        rng: Rng::from_entropy(),
        wall: Wall::system(),
        metrics,
        readiness: Readiness::new(),
    };
    let running = hanse_gateway::run(&tasks, config)?;
    output::say(&format!("gateway of {} on {}", gateway.member, running.hop));
    end(&tasks).await
}

/// Where addresses of the API are reached.
pub(crate) fn addresses(map: Addresses) -> AddressMap {
    match map {
        Addresses::Identity => AddressMap::identity(),
        Addresses::Loopback => AddressMap::loopback(),
    }
}

/// Answers of a hub's explainer at its HTTP endpoint.
pub(crate) fn answers(desk: &Desk) -> admin::Questions {
    let desk = desk.clone();
    Arc::new(move |uri, body| match desk.answer(uri, body) {
        Err(QuestionError::Unknown) => None,
        answer => Some(answer.map_err(|error| error.to_string())),
    })
}

async fn end(tasks: &TaskSet) -> Result<()> {
    signals::ended().await;
    tasks.drain(DRAIN).await;
    Ok(())
}

fn token(path: &Path) -> Result<String> {
    let text = String::from_utf8(hanse_rt::disk::read(path)?)
        .with_context(|| format!("{} is not text", path.display()))?;
    Ok(text.trim().to_owned())
}

/// Runs the hub's controllers against the API of the kubeconfig.
///
/// # Errors
/// What stands in the way of its start.
pub(crate) async fn hub(global: &Global, wanted: &HubArgs) -> Result<()> {
    let tasks = TaskSet::new("hub");
    let (metrics, readiness) = (Metrics::new(), Readiness::new());
    telemetry::push(&tasks, "hanse", &metrics)?;
    let client = Client::try_from(connect::config(global).await?)?;
    let place = match (&wanted.provider, &wanted.region) {
        (Some(provider), Some(region)) => {
            Some(HubPlace { provider: provider.clone(), region: region.clone() })
        }
        _ => None,
    };
    let desk = Desk::default();
    let admin = Admin { metrics: metrics.clone(), readiness: readiness.clone(), pages: None };
    let at = admin::serve_with(&tasks, wanted.admin, admin, answers(&desk))
        .with_context(|| format!("--admin {}", wanted.admin))?;
    let config = HubConfig {
        metrics,
        readiness: readiness.clone(),
        questions: Some(wanted.questions.clone().unwrap_or_else(|| at.to_string())),
        place,
        probe_foreign_controllers: true,
        traffic: Some(Traffic {
            listen: wanted.xds,
            addresses: addresses(wanted.address_map),
            round_trips: RoundTrips::new(),
        }),
        ..HubConfig::new(client, Arc::new(DirectConnector::default()))
    };
    let hub = Hub::run(&tasks, config).await?;
    desk.open(hub.explainer());
    readiness.ready().await;
    let relays = hub.relays().map_or_else(String::new, |relays| format!(", relays on {relays}"));
    output::say(&format!("hub ready{relays}, admin {at}"));
    end(&tasks).await
}
