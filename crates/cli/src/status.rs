//! `hanse status`: the fleet on one screen.

use std::collections::BTreeMap;

use anyhow::Result;
use hanse_api::{Federation, GlobalService, MemberCluster, MoveState, Protocol, ResourceBinding};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Value, json};

use crate::{
    args::Global,
    connect::{connect, within},
    output,
};

/// Prints the fleet.
///
/// # Errors
/// When the federation's API cannot be reached.
pub(crate) async fn run(global: &Global) -> Result<()> {
    let client = connect(global).await?.client;
    let all = ListParams::default();
    let members: Api<MemberCluster> = Api::all(client.clone());
    let members = within("listing members", members.list(&all)).await?.items;
    let bindings: Api<ResourceBinding> = Api::all(client.clone());
    let bindings = within("listing bindings", bindings.list(&all)).await?.items;
    let services: Api<GlobalService> = Api::all(client.clone());
    let services = within("listing global services", services.list(&all)).await?.items;
    let federation: Api<Federation> = Api::all(client);
    let federation = within("reading the federation", federation.get_opt("default")).await?;
    let moves = moves(&bindings);
    let value = json!({
        "members": members, "moves": moves, "globalServices": services, "federation": federation,
    });
    let names = || members.iter().map(ResourceExt::name_any).collect();
    output::print(global.output, &value, names, |wide| {
        let mut text = fleet(&members, wide);
        for line in footer(&moves, &bindings, &services, federation.as_ref()) {
            text.push('\n');
            text.push_str(&line);
        }
        text
    })
}

fn fleet(members: &[MemberCluster], wide: bool) -> String {
    let mut sorted: Vec<&MemberCluster> = members.iter().collect();
    sorted.sort_by_key(|member| (&member.spec.provider, &member.spec.region, member.name_any()));
    let mut header = vec![
        "provider",
        "region",
        "cluster",
        "verdict",
        "nodes",
        "free cpu",
        "free memory",
        "bindings",
        "replicas",
    ];
    if wide {
        header.extend(["zone", "version", "gateway"]);
    }
    output::table(&header, sorted.into_iter().map(|member| row(member, wide)))
}

fn row(member: &MemberCluster, wide: bool) -> Vec<String> {
    let status = member.status.clone().unwrap_or_default();
    let free = status.capacity.unwrap_or_default().free;
    let unknown = || "-".to_owned();
    let amount = |name: &str| free.get(name).cloned().unwrap_or_else(unknown);
    let memory = free
        .get("memory")
        .and_then(|memory| memory.parse().ok())
        .map_or_else(|| amount("memory"), output::bytes);
    let mut verdict = status.verdict.unwrap_or_else(|| "Unknown".to_owned());
    if member.spec.unschedulable {
        verdict.push_str(",Cordoned");
    }
    let workloads = status.workloads.unwrap_or_default();
    let mut row = vec![
        member.spec.provider.clone(),
        member.spec.region.clone(),
        member.name_any(),
        verdict,
        status.nodes.map_or_else(unknown, |nodes| format!("{}/{}", nodes.ready, nodes.total)),
        amount("cpu"),
        memory,
        workloads.bindings.to_string(),
        workloads.replicas.to_string(),
    ];
    if wide {
        row.push(member.spec.zone.clone().unwrap_or_else(unknown));
        row.push(status.kubernetes_version.unwrap_or_else(unknown));
        let gateway = member.spec.gateways.first();
        row.push(gateway.map_or_else(unknown, |at| format!("{}:{}", at.address, at.port)));
    }
    row
}

/// How many moves stand in each state that is not over.
fn moves(bindings: &[ResourceBinding]) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for step in bindings.iter().flat_map(|binding| &binding.spec.moves) {
        if !matches!(step.state, MoveState::Done | MoveState::Withdrawn) {
            *count.entry(format!("{:?}", step.state)).or_default() += 1;
        }
    }
    count
}

fn footer(
    moves: &BTreeMap<String, usize>,
    bindings: &[ResourceBinding],
    services: &[GlobalService],
    federation: Option<&Federation>,
) -> Vec<String> {
    let mut lines = vec![String::new()];
    let replicas: i64 = bindings.iter().map(|binding| i64::from(binding.spec.replicas)).sum();
    lines.push(format!("{} bindings, {replicas} replicas wanted", bindings.len()));
    if moves.is_empty() {
        lines.push("no moves under way".to_owned());
    } else {
        let parts: Vec<_> = moves
            .iter()
            .map(|(state, count)| format!("{count} {}", state.to_lowercase()))
            .collect();
        lines.push(format!("moves: {}", parts.join(", ")));
    }
    for service in services {
        let Some(address) = service.status.as_ref().and_then(|status| status.addresses.first())
        else {
            continue;
        };
        let scheme = match address.protocol {
            Protocol::Http => "http",
            Protocol::Grpc => "grpc",
            Protocol::Tcp => "tcp",
        };
        lines.push(format!(
            "global service {}/{}: {scheme}://{}:{}/",
            service.namespace().unwrap_or_default(),
            service.name_any(),
            address.address,
            address.port
        ));
    }
    let conditions = federation.and_then(|federation| federation.status.as_ref());
    for condition in conditions.iter().flat_map(|status| &status.conditions) {
        if condition.status != "True" {
            lines
                .push(format!("{}: {} ({})", condition.type_, condition.message, condition.reason));
        }
    }
    lines
}

/// Conditions of any object as `Type=Status (Reason: message)` lines, those that are not True.
pub(crate) fn complaints(status: &Value) -> Vec<String> {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions
        .iter()
        .filter(|condition| condition["status"] != "True")
        .map(|condition| {
            let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
            format!("{}={} {}: {}", text("type"), text("status"), text("reason"), text("message"))
        })
        .collect()
}
