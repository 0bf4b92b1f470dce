//! The durable engine: one redb file, written by a thread of its own.
//!
//! The thread takes all commits that wait and writes them in one transaction. Only when that is
//! on disk are they settled, so that a write is never acknowledged before it would survive a
//! crash. Reads never come here: everything is in memory, and the file is read once, at start.

use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex},
};

use bytes::Bytes;
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::{Pending, Shared, Store};
use crate::{catalog::Catalog, server::OpenError};

/// `resource \0 key` to eight bytes of revision and the JSON.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
/// Numbers of the store itself.
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
const REVISION: &str = "revision";
const FORMAT: &str = "format";
/// Raised when the layout of the tables changes.
const CURRENT_FORMAT: u64 = 1;

/// What a file held.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) revision: u64,
    /// Resource, key, revision, JSON.
    pub(crate) objects: Vec<(String, String, u64, Bytes)>,
}

/// Wakes the writing thread.
#[derive(Debug)]
pub(crate) struct Disk {
    signal: Arc<Signal>,
}

#[derive(Debug, Default)]
struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    dirty: bool,
    closed: bool,
    /// The thread has let go of the file.
    ended: bool,
}

impl Disk {
    pub(crate) fn wake(&self) {
        self.signal.set(|state| state.dirty = true);
    }

    /// Lets the thread write what waits and let go of the file, and waits for that.
    pub(crate) fn close(&self) {
        self.signal.set(|state| state.closed = true);
        let mut state = self.signal.lock();
        while !state.ended {
            state = self.signal.changed.wait(state).expect("no holder of this lock panics");
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.close();
    }
}

impl Signal {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits for something to write; false when the store is gone.
    fn wait(&self) -> bool {
        let mut state = self.lock();
        while !state.dirty && !state.closed {
            state = self.changed.wait(state).expect("no holder of this lock panics");
        }
        std::mem::take(&mut state.dirty)
    }
}

/// Opens or creates the file and starts its thread.
pub(crate) fn open(path: &Path, history: usize) -> Result<Store, OpenError> {
    let database = database(path)?;
    let loaded = load(&database).map_err(|error| damaged(path, &error))?;
    let signal = Arc::new(Signal::default());
    let disk = Disk { signal: Arc::clone(&signal) };
    let catalog = Catalog::default();
    let shared = Arc::new(Shared::loaded(loaded, |storage| {
        let kinds = catalog.stored();
        let found = kinds.into_iter().find(|kind| &*kind.storage == storage);
        found.cloned()
    }));
    let state = Arc::clone(&shared);
    let thread = hanse_rt::disk::thread("store", move || {
        write_all(&database, &signal, &state);
        drop(database);
        signal.set(|state| state.ended = true);
    });
    if let Err(source) = thread {
        disk.signal.set(|state| state.ended = true);
        let path = path.to_owned();
        return Err(OpenError::Io { path, source });
    }
    Ok(Store::durable(history, disk, shared))
}

fn database(path: &Path) -> Result<Database, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    // An empty file would be taken for a new one; it is more likely a damaged one.
    if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        let path = path.to_owned();
        let why = "the file is empty".to_owned();
        return Err(OpenError::Damaged { path, why });
    }
    // A broken file can lead the library into a panic; it is reported like any other damage.
    let opened = std::panic::catch_unwind(|| Database::create(path)).map_err(|_| {
        let path = path.to_owned();
        let why = "its pages contradict each other".to_owned();
        OpenError::Damaged { path, why }
    })?;
    let database = opened.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::Locked { path: path.to_owned() },
        DatabaseError::Storage(redb::StorageError::Io(source))
            if source.kind() != std::io::ErrorKind::InvalidData =>
        {
            io(source)
        }
        other => damaged(path, &other.into()),
    })?;
    // Secrets are in it.
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .map_err(io)?;
    Ok(database)
}

fn damaged(path: &Path, error: &redb::Error) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), why: error.to_string() }
}

fn load(database: &Database) -> Result<Loaded, redb::Error> {
    let mut loaded = Loaded::default();
    let transaction = database.begin_read()?;
    let numbers = match transaction.open_table(NUMBERS) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(loaded),
        other => other?,
    };
    let number = |name: &str| -> Result<Option<u64>, redb::Error> {
        Ok(numbers.get(name)?.map(|found| found.value()))
    };
    let format = number(FORMAT)?;
    if format != Some(CURRENT_FORMAT) {
        let text = format!("format {format:?} is not {CURRENT_FORMAT}");
        return Err(redb::Error::Corrupted(text));
    }
    loaded.revision = number(REVISION)?.unwrap_or(0);
    let objects = transaction.open_table(OBJECTS)?;
    for entry in objects.iter()? {
        let (place, content) = entry?;
        let parsed =
            place.value().split_once('\0').zip(content.value().split_at_checked(8)).and_then(
                |((resource, key), (revision, json))| {
                    let revision = u64::from_be_bytes(revision.try_into().ok()?);
                    let json = Bytes::copy_from_slice(json);
                    Some((resource.to_owned(), key.to_owned(), revision, json))
                },
            );
        let Some(parsed) = parsed else {
            let text = format!("an entry is not readable: {:?}", place.value());
            return Err(redb::Error::Corrupted(text));
        };
        loaded.objects.push(parsed);
    }
    Ok(loaded)
}

fn write_all(database: &Database, signal: &Signal, store: &Shared) {
    while signal.wait() {
        let (revision, pending) = store.take_pending();
        if pending.is_empty() {
            continue;
        }
        match write(database, revision, &pending) {
            Ok(()) => store.settle(revision, &pending),
            Err(error) => {
                tracing::error!(%error, "the store cannot be written");
                store.fail(error.to_string());
                return;
            }
        }
    }
}

fn write(database: &Database, revision: u64, pending: &[Pending]) -> Result<(), redb::Error> {
    // No quick repair: it would double the cost of each commit, and opening after a crash scans
    // a file of our size in well under a second.
    let transaction = database.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        for one in pending {
            let place = format!("{}\0{}", one.resource, one.key);
            match &one.json {
                Some(json) => {
                    let mut content = Vec::with_capacity(json.len() + 8);
                    content.extend_from_slice(&one.revision.to_be_bytes());
                    content.extend_from_slice(json);
                    objects.insert(place.as_str(), content.as_slice())?;
                }
                None => {
                    objects.remove(place.as_str())?;
                }
            }
        }
        let mut numbers = transaction.open_table(NUMBERS)?;
        numbers.insert(REVISION, revision)?;
        numbers.insert(FORMAT, CURRENT_FORMAT)?;
    }
    transaction.commit()?;
    Ok(())
}
