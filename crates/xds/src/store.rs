//! The last good set on disk, so that a gateway or relay starts and serves without anybody.

use std::path::Path;

use prost::Message;

use crate::resources::{Kind, Resources};

/// First bytes of a stored set: a mark and the version of this layout.
const MAGIC: &[u8; 8] = b"hansexd1";

/// A stored set cannot be used. The caller starts without one.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing is stored yet, or it cannot be read.
    #[error("cannot read the stored snapshot")]
    Read(#[source] std::io::Error),
    /// The file is not what was written.
    #[error("stored snapshot {0} is damaged; it is left as it is and replaced by the next one")]
    Damaged(String),
}

#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bytes = "vec", tag = "3")]
    value: Vec<u8>,
}

/// Replaces what is stored at `path`.
///
/// # Errors
/// The system's error with the path in its text.
pub fn save(path: &Path, resources: &Resources) -> std::io::Result<()> {
    let entries = Kind::ALL
        .into_iter()
        .flat_map(|kind| {
            let by_name = resources.get(kind);
            let entries: Vec<Entry> = by_name
                .iter()
                .map(|(name, bytes)| Entry {
                    type_url: kind.type_url().to_owned(),
                    name: name.clone(),
                    value: bytes.to_vec(),
                })
                .collect();
            entries
        })
        .collect();
    let body = Stored { entries }.encode_to_vec();
    let mut content = MAGIC.to_vec();
    content.extend(checksum(&body).to_le_bytes());
    content.extend(body);
    hanse_rt::disk::write_atomically(path, &content)
}

/// Reads what is stored at `path`.
///
/// # Errors
/// [`StoreError::Read`] also when nothing is stored yet.
pub fn load(path: &Path) -> Result<Resources, StoreError> {
    let content = hanse_rt::disk::read(path).map_err(StoreError::Read)?;
    let damaged = || StoreError::Damaged(path.display().to_string());
    let rest = content.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let (sum, body) = rest.split_at_checked(8).ok_or_else(damaged)?;
    if sum != checksum(body).to_le_bytes() {
        return Err(damaged());
    }
    let stored = Stored::decode(body).map_err(|_| damaged())?;
    let mut resources = Resources::default();
    for entry in stored.entries {
        let kind = Kind::of(&entry.type_url).ok_or_else(damaged)?;
        resources.insert(kind, entry.name, entry.value);
    }
    Ok(resources)
}

/// FNV-1a: against a torn or foreign file, not against an attacker.
fn checksum(body: &[u8]) -> u64 {
    body.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_set_reads_back_and_a_torn_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot");
        assert!(matches!(load(&path), Err(StoreError::Read(_))));
        let mut resources = Resources::default();
        for kind in Kind::ALL {
            resources.insert(kind, "shop/web/80", vec![1, 2, 3]);
        }
        save(&path, &resources).unwrap();
        assert_eq!(load(&path).unwrap(), resources);
        let mut content = hanse_rt::disk::read(&path).unwrap();
        content.pop();
        hanse_rt::disk::write_atomically(&path, &content).unwrap();
        assert!(matches!(load(&path), Err(StoreError::Damaged(_))));
    }
}
