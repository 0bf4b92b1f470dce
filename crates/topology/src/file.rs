//! Topology files: the fleet that `hanse up` simulates, and distances between regions.
//! Reading collects every problem with its path before it refuses.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    place::{Place, SAME_CLUSTER, SAME_REGION, SAME_ZONE, UNDECLARED},
    quantity::{self, QuantityError},
};

/// The fleet of a topology file.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Topology {
    /// Where the hub runs.
    pub hub: Hub,
    /// The member clusters, in order; the order gives each its block of addresses.
    pub clusters: Vec<Cluster>,
    /// Round-trip times between regions; each pair once, in either direction.
    #[serde(default)]
    pub round_trip_milliseconds: Vec<RoundTrip>,
}

/// Where the hub runs: it is an observer of its region.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hub {
    /// The provider.
    pub provider: String,
    /// The region.
    pub region: String,
}

/// One member cluster.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Its name, unique in the file: lower-case letters, digits and `-`.
    pub name: String,
    /// Its provider.
    pub provider: String,
    /// Its region, which belongs to one provider.
    pub region: String,
    /// Its zone, which belongs to one region; empty where there are none.
    #[serde(default)]
    pub zone: String,
    /// Members of one network reach each other's pods; `default` where nothing is said.
    #[serde(default = "default_network")]
    pub network: String,
    /// Its nodes.
    pub nodes: Vec<Nodes>,
}

/// Equal nodes of one cluster.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nodes {
    /// How many.
    pub count: u32,
    /// Cores of each, for instance `16` or `500m`.
    pub cpu: String,
    /// Memory of each, for instance `64Gi`.
    pub memory: String,
    /// Pods each may hold; 110 where nothing is said, the kubelet's default.
    #[serde(default = "default_pods")]
    pub pods: u32,
    /// Labels of each.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Taints of each.
    #[serde(default)]
    pub taints: Vec<Taint>,
}

/// A node taint.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// The distance of two regions.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundTrip {
    /// One region.
    pub from: String,
    /// The other.
    pub to: String,
    /// Milliseconds there and back.
    pub value: u32,
}

/// One thing wrong with a topology file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The field, for instance `clusters[2].region`.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Everything wrong with a topology file.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[error("topology is not valid{}", Lines(.0))]
pub struct Problems(pub Vec<Problem>);

struct Lines<'a>(&'a [Problem]);

// === impl Topology ===

impl Topology {
    /// Reads and checks a topology file (YAML or JSON).
    ///
    /// # Errors
    /// [`Problems`] names every field that is wrong, its value and what to write instead.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let topology: Self = serde_saphyr::from_str(text).map_err(|error| {
            Problems(vec![Problem { path: String::new(), message: first_line(&error.to_string()) }])
        })?;
        let problems = topology.problems();
        if problems.is_empty() { Ok(topology) } else { Err(Problems(problems)) }
    }

    /// The place of a cluster.
    pub fn place(&self, cluster: &str) -> Option<Place> {
        self.clusters.iter().find(|candidate| candidate.name == cluster).map(Cluster::place)
    }

    /// The place of the hub; its zone is not known.
    pub fn hub_place(&self) -> Place {
        let Hub { provider, region } = self.hub.clone();
        Place { provider, region, zone: String::new() }
    }

    /// The round-trip time between two places of this topology; `same_cluster` says whether they
    /// are one cluster.
    pub fn round_trip(&self, from: &Place, to: &Place, same_cluster: bool) -> Duration {
        if same_cluster {
            return SAME_CLUSTER;
        }
        if from.region == to.region {
            let one_zone = from.zone == to.zone && !from.zone.is_empty();
            return if one_zone { SAME_ZONE } else { SAME_REGION };
        }
        let declared = self.round_trip_milliseconds.iter().find(|pair| {
            (pair.from == from.region && pair.to == to.region)
                || (pair.from == to.region && pair.to == from.region)
        });
        declared.map_or(UNDECLARED, |pair| Duration::from_millis(pair.value.into()))
    }

    fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        if self.clusters.is_empty() {
            found.push(problem("clusters", "is empty; name at least one cluster"));
        }
        self.check_names(&mut found);
        self.check_domains(&mut found);
        self.check_nodes(&mut found);
        self.check_round_trips(&mut found);
        found
    }

    fn check_names(&self, found: &mut Vec<Problem>) {
        let mut seen = BTreeMap::new();
        for (index, cluster) in self.clusters.iter().enumerate() {
            let path = format!("clusters[{index}].name");
            let name = &cluster.name;
            if !is_dns_label(name) {
                found.push(problem(
                    &path,
                    &format!(
                        "`{name}` is not a cluster name; use at most 63 lower-case letters, \
                         digits and `-`, beginning and ending with a letter or digit"
                    ),
                ));
            }
            if let Some(first) = seen.insert(name, index) {
                found.push(problem(
                    &path,
                    &format!("`{name}` is also the name of clusters[{first}]; give each its own"),
                ));
            }
        }
    }

    fn check_domains(&self, found: &mut Vec<Problem>) {
        let mut provider_of = BTreeMap::new();
        let mut region_of = BTreeMap::new();
        for (index, cluster) in self.clusters.iter().enumerate() {
            for (field, value) in [("provider", &cluster.provider), ("region", &cluster.region)] {
                if value.is_empty() {
                    found.push(problem(&format!("clusters[{index}].{field}"), "is empty"));
                }
            }
            let provider = provider_of.entry(&cluster.region).or_insert(&cluster.provider);
            if *provider != &cluster.provider {
                found.push(problem(
                    &format!("clusters[{index}].region"),
                    &format!(
                        "`{}` belongs to provider `{provider}` above, not to `{}`; a region \
                         belongs to one provider",
                        cluster.region, cluster.provider
                    ),
                ));
            }
            if cluster.zone.is_empty() {
                continue;
            }
            let region = region_of.entry(&cluster.zone).or_insert(&cluster.region);
            if *region != &cluster.region {
                found.push(problem(
                    &format!("clusters[{index}].zone"),
                    &format!(
                        "`{}` belongs to region `{region}` above, not to `{}`; a zone belongs to \
                         one region",
                        cluster.zone, cluster.region
                    ),
                ));
            }
        }
        let hub = &self.hub;
        if !provider_of.contains_key(&hub.region) {
            found.push(problem(
                "hub.region",
                &unknown_region(&hub.region, provider_of.keys().copied()),
            ));
        } else if provider_of.get(&hub.region).is_some_and(|owner| **owner != hub.provider) {
            found.push(problem(
                "hub.provider",
                &format!("`{}` does not have the region `{}`", hub.provider, hub.region),
            ));
        }
    }

    fn check_nodes(&self, found: &mut Vec<Problem>) {
        for (index, cluster) in self.clusters.iter().enumerate() {
            for (group, nodes) in cluster.nodes.iter().enumerate() {
                let path = format!("clusters[{index}].nodes[{group}]");
                let quantities = [
                    ("cpu", quantity::parse_millicores(&nodes.cpu)),
                    ("memory", quantity::parse_bytes(&nodes.memory)),
                ];
                for (field, parsed) in quantities {
                    if let Err(error) = parsed {
                        found.push(problem(&format!("{path}.{field}"), &error.to_string()));
                    }
                }
                for (taint, Taint { effect, .. }) in nodes.taints.iter().enumerate() {
                    if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect.as_str()) {
                        found.push(problem(
                            &format!("{path}.taints[{taint}].effect"),
                            &format!(
                                "`{effect}` is not an effect; use NoSchedule, PreferNoSchedule or \
                                 NoExecute"
                            ),
                        ));
                    }
                }
            }
        }
    }

    fn check_round_trips(&self, found: &mut Vec<Problem>) {
        let regions: BTreeSet<_> = self.clusters.iter().map(|cluster| &cluster.region).collect();
        let mut seen = BTreeSet::new();
        for (index, pair) in self.round_trip_milliseconds.iter().enumerate() {
            for (field, region) in [("from", &pair.from), ("to", &pair.to)] {
                if !regions.contains(region) {
                    found.push(problem(
                        &format!("roundTripMilliseconds[{index}].{field}"),
                        &unknown_region(region, regions.iter().copied()),
                    ));
                }
            }
            let ends =
                if pair.from <= pair.to { (&pair.from, &pair.to) } else { (&pair.to, &pair.from) };
            if !seen.insert(ends) {
                found.push(problem(
                    &format!("roundTripMilliseconds[{index}]"),
                    &format!("`{}` to `{}` is given twice; give each pair once", ends.0, ends.1),
                ));
            }
        }
    }
}

// === impl Cluster ===

impl Cluster {
    /// Where it is.
    pub fn place(&self) -> Place {
        Place {
            provider: self.provider.clone(),
            region: self.region.clone(),
            zone: self.zone.clone(),
        }
    }
}

// === impl Nodes ===

impl Nodes {
    /// Cores of each node in thousandths.
    ///
    /// # Errors
    /// [`QuantityError`]; never for a topology that was read by [`Topology::parse`].
    pub fn millicores(&self) -> Result<u64, QuantityError> {
        quantity::parse_millicores(&self.cpu)
    }

    /// Memory of each node in bytes.
    ///
    /// # Errors
    /// [`QuantityError`]; never for a topology that was read by [`Topology::parse`].
    pub fn memory_bytes(&self) -> Result<u64, QuantityError> {
        quantity::parse_bytes(&self.memory)
    }
}

// === impl Lines ===

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Problem { path, message } in self.0 {
            let separator = if path.is_empty() { "" } else { ": " };
            write!(f, "\n  {path}{separator}{message}")?;
        }
        Ok(())
    }
}

fn problem(path: &str, message: &str) -> Problem {
    Problem { path: path.to_owned(), message: message.to_owned() }
}

fn unknown_region<'a>(region: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<_> = known.map(String::as_str).collect();
    format!("unknown region `{region}`; the clusters are in {}", known.join(", "))
}

fn is_dns_label(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= 63
        && edge(name.chars().next())
        && edge(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// The reader's own message without its excerpt of the file.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

fn default_network() -> String {
    "default".to_owned()
}

const fn default_pods() -> u32 {
    110
}

#[cfg(test)]
mod tests;
