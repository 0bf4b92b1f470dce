//! The long-running roles as processes of their own: hub, agent, gateway.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use hanse_agent::RelayConfig;
use hanse_gateway::GatewayConfig;
use hanse_rt::{
    Metrics, Readiness, Rng, TaskSet, Wall,
    admin::{self, Admin},
    net::AddressMap,
};
use hanse_sim::member::HOP_PORT;
use kube::Client;

use crate::{
    args::{Addresses, Agent, Gateway, Global},
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
    let admin = Admin {
        metrics,
        readiness,
        pages: None,
    };
    let at = admin::serve(&tasks, agent.admin, admin)
        .with_context(|| format!("--admin {}", agent.admin))?;
    output::say(&format!(
        "relay of {} serves {}, admin {at}",
        agent.member, relay.address
    ));
    end(&tasks).await
}

/// Runs a member's gateway.
///
/// # Errors
/// What stands in the way of its start.
pub(crate) async fn gateway(gateway: &Gateway) -> Result<()> {
    let tasks = TaskSet::new("gateway");
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
        metrics: Metrics::new(),
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
