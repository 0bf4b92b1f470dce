//! The data directory of `hanse up`: one process at a time, one fleet at a time.

use std::{
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use hanse_topology::Topology;
use rustix::fs::{FlockOperation, flock};

/// A data directory that this process holds.
#[derive(Debug)]
pub(crate) struct Data {
    folder: PathBuf,
    /// Held open for its lock.
    _lock: File,
}

impl Data {
    /// Takes the directory, empties it when a fresh start is asked for, and remembers the fleet.
    ///
    /// # Errors
    /// When another process runs with it, or it holds another fleet.
    pub(crate) fn open(folder: &Path, topology: &Topology, fresh: bool) -> Result<Self> {
        std::fs::create_dir_all(folder.join("members"))
            .with_context(|| format!("data directory {}", folder.display()))?;
        let lock = lock(folder)?;
        let data = Self { folder: folder.to_owned(), _lock: lock };
        if fresh {
            data.empty()?;
        }
        data.remember(topology)?;
        // It appears again, last, when everything is ready.
        match std::fs::remove_file(data.kubeconfig()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("the old kubeconfig cannot be taken away")
            }
            _ => Ok(data),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    pub(crate) fn hub_store(&self) -> PathBuf {
        self.folder.join("hub.redb")
    }

    pub(crate) fn member_store(&self, name: &str) -> PathBuf {
        self.folder.join("members").join(format!("{name}.redb"))
    }

    /// Where the relay and the gateway of a member keep their snapshots.
    pub(crate) fn snapshots(&self, name: &str) -> PathBuf {
        self.folder.join("snapshots").join(name)
    }

    fn empty(&self) -> Result<()> {
        for name in ["members", "snapshots", "pki"] {
            match std::fs::remove_dir_all(self.folder.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).context("--fresh");
                }
                _ => {}
            }
        }
        for name in ["hub.redb", "topology.json"] {
            match std::fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).context("--fresh");
                }
                _ => {}
            }
        }
        std::fs::create_dir_all(self.folder.join("members")).context("--fresh")
    }

    fn remember(&self, topology: &Topology) -> Result<()> {
        let path = self.folder.join("topology.json");
        if let Ok(known) = std::fs::read(&path) {
            let known: Topology = serde_json::from_slice(&known)
                .with_context(|| format!("{} does not parse", path.display()))?;
            if let Some(difference) = difference(&known, topology) {
                bail!(
                    "{} holds another fleet ({difference}); start with --fresh to forget it, or \
                     name another folder with --data",
                    self.folder.display(),
                );
            }
        }
        hanse_rt::disk::write_atomically(&path, &serde_json::to_vec_pretty(topology)?)?;
        Ok(())
    }
}

/// What the members' stores were made with and is another now. Distances and the hub's place are
/// not kept there: they may change.
fn difference(known: &Topology, wanted: &Topology) -> Option<String> {
    let names = |topology: &Topology| {
        topology.clusters.iter().map(|cluster| cluster.name.clone()).collect::<Vec<_>>()
    };
    if names(known) != names(wanted) {
        return Some(names(known).join(", "));
    }
    let changed: Vec<&str> = known
        .clusters
        .iter()
        .zip(&wanted.clusters)
        .filter(|(before, after)| before != after)
        .map(|(before, _)| before.name.as_str())
        .collect();
    let words = |names: &str| format!("with other places or nodes of {names}");
    (!changed.is_empty()).then(|| words(&changed.join(", ")))
}

fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("{}", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        drop(file.read_to_string(&mut holder));
        bail!(
            "another `hanse up` (process {}) runs with the data directory {}; end it, or name \
             another folder with --data",
            holder.trim(),
            folder.display()
        );
    }
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        crate::topology::read(None).unwrap()
    }

    #[test]
    fn a_second_process_is_told_who_holds_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let first = Data::open(folder.path(), &topology(), false).unwrap();
        let refusal = Data::open(folder.path(), &topology(), false).unwrap_err().to_string();
        assert_eq!(
            refusal,
            format!(
                "another `hanse up` (process {}) runs with the data directory {}; end it, or name \
                 another folder with --data",
                std::process::id(),
                folder.path().display()
            )
        );
        drop(first);
        Data::open(folder.path(), &topology(), false).unwrap();
    }

    #[test]
    fn another_fleet_needs_a_fresh_start() {
        let folder = tempfile::tempdir().unwrap();
        drop(Data::open(folder.path(), &topology(), false).unwrap());
        let mut other = topology();
        other.clusters.truncate(2);
        let refusal = Data::open(folder.path(), &other, false).unwrap_err().to_string();
        assert!(refusal.contains("holds another fleet (aws-eu-west-1a, "), "{refusal}");
        assert!(refusal.contains("start with --fresh"), "{refusal}");
        Data::open(folder.path(), &other, true).unwrap();
    }

    #[test]
    fn clusters_of_the_same_names_with_other_nodes_or_places_are_another_fleet() {
        let folder = tempfile::tempdir().unwrap();
        drop(Data::open(folder.path(), &topology(), false).unwrap());
        let mut other = topology();
        other.clusters[1].nodes[0].count += 1;
        other.clusters[2].region = "elsewhere".to_owned();
        let refusal = Data::open(folder.path(), &other, false).unwrap_err().to_string();
        let said = "holds another fleet (with other places or nodes of aws-eu-west-1b, \
                    gcp-us-east1-b); start with --fresh";
        assert!(refusal.contains(said), "{refusal}");
        let mut farther = topology();
        farther.round_trip_milliseconds.clear();
        Data::open(folder.path(), &farther, false).unwrap();
    }
}
