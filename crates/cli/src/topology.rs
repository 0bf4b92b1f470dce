//! `hanse topology`: looks at fleets in files.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result};
use hanse_topology::Topology;

use crate::{
    args::{self, Global},
    output,
};

/// The fleet that `up` simulates when nobody says which.
const DEFAULT: &str = include_str!("../../../topology/three-regions.yaml");

/// Reads a topology file, or the default one.
///
/// # Errors
/// Every problem of the file, by path.
pub(crate) fn read(file: Option<&Path>) -> Result<Topology> {
    let Some(path) = file else {
        return Topology::parse(DEFAULT).context("the built-in topology");
    };
    let text = hanse_rt::disk::read(path)?;
    let text = String::from_utf8(text).with_context(|| format!("{}", path.display()))?;
    Topology::parse(&text).with_context(|| format!("{}", path.display()))
}

/// Draws or checks.
///
/// # Errors
/// Every problem of the file, by path.
pub(crate) fn run(global: &Global, verb: &args::Topology) -> Result<()> {
    match verb {
        args::Topology::Show { file } => {
            let topology = read(file.as_deref())?;
            let names = || topology.clusters.iter().map(|cluster| cluster.name.clone()).collect();
            output::print(global.output, &topology, names, |_| draw(&topology))
        }
        args::Topology::Check { file } => {
            let topology = read(Some(file))?;
            output::say(&format!(
                "{}: {} clusters, valid",
                file.display(),
                topology.clusters.len()
            ));
            Ok(())
        }
    }
}

fn draw(topology: &Topology) -> String {
    let mut regions: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for cluster in &topology.clusters {
        let nodes: Vec<_> = cluster
            .nodes
            .iter()
            .map(|nodes| format!("{} × {} cores, {}", nodes.count, nodes.cpu, nodes.memory))
            .collect();
        let line = format!("      {}  {}", cluster.name, nodes.join("; "));
        regions.entry((&cluster.provider, &cluster.region)).or_default().push(line);
    }
    let mut lines = Vec::new();
    let mut last = "";
    for ((provider, region), clusters) in &regions {
        if *provider != last {
            lines.push((*provider).to_owned());
            last = provider;
        }
        let hub = if topology.hub.region == *region { "  (hub)" } else { "" };
        lines.push(format!("   {region}{hub}"));
        lines.extend(clusters.iter().cloned());
    }
    lines.push(String::new());
    for pair in &topology.round_trip_milliseconds {
        lines.push(format!("{} ↔ {}  {} ms", pair.from, pair.to, pair.value));
    }
    lines.join("\n")
}
