//! What exists: `volumes/ID.json` and `snapshots/ID.json` in the state folder, each written whole or not at all.
//!
//! The folder is the truth that tests compare Kubernetes with, so a file appears before a call is answered and is gone
//! before a deletion is. Several processes share it, as replicas of a driver share a pool: nothing of it is remembered
//! between calls, so nothing can be stale, and what others add, change or remove from outside counts at once.

use std::fs::{File, TryLockError};
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

/// How long another process may hold a folder; it needs a few milliseconds, unless it is frozen just then.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a folder that another process holds is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(2);

/// A volume as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub id: String,
    pub name: String,
    pub size_bytes: i64,
    /// The snapshot that it was restored from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_snapshot: Option<String>,
}

/// A snapshot as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub id: String,
    pub name: String,
    pub volume_id: String,
    pub size_bytes: i64,
    /// Nanoseconds since 1970.
    pub created_ns: u64,
    /// The group snapshot that it belongs to; only ever set from outside, since the driver makes no groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl Snapshot {
    /// When it was taken.
    pub fn created(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.created_ns)
    }
}

/// Something with a handle, and the name that it was asked for under.
pub trait Record: Serialize + DeserializeOwned {
    /// The handle.
    fn id(&self) -> &str;
    /// The request's name.
    fn name(&self) -> &str;
}

impl Record for Volume {
    fn id(&self) -> &str {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
}

impl Record for Snapshot {
    fn id(&self) -> &str {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
}

/// The state folder.
pub struct Store {
    /// The volumes in it.
    pub volumes: Records<Volume>,
    /// The snapshots in it.
    pub snapshots: Records<Snapshot>,
}

impl Store {
    /// Opens the folder, making it if it is not there.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            volumes: Records::open(folder.join("volumes"))?,
            snapshots: Records::open(folder.join("snapshots"))?,
        })
    }
}

/// The records of one kind: a folder with a file for each.
pub struct Records<T> {
    folder: PathBuf,
    kind: PhantomData<T>,
}

impl<T: Record> Records<T> {
    fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, kind: PhantomData })
    }

    /// The record with this id.
    pub fn get(&self, id: &str) -> io::Result<Option<T>> {
        let Some(path) = self.file(id) else { return Ok(None) };
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| io::Error::other(format!("cannot understand {}: {error}", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All records, by id.
    pub fn all(&self) -> io::Result<Vec<T>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")) else { continue };
            found.extend(self.get(id)?); // it may have been removed since it was listed
        }
        found.sort_by(|a: &T, b| a.id().cmp(b.id()));
        Ok(found)
    }

    /// The record of that name if there is one, else the new one, added: of all calls in all processes, one adds it.
    pub async fn find_or_add(&self, new: T) -> io::Result<T> {
        let _alone = self.hold().await?;
        if let Some(found) = self.all()?.into_iter().find(|found| found.name() == new.name()) {
            return Ok(found);
        }
        let path = self.file(new.id()).ok_or_else(|| io::Error::other(format!("{} is no file's name", new.id())))?;
        let partial = self.folder.join(format!(".{}", new.id()));
        std::fs::write(&partial, serde_json::to_vec(&new)?)?;
        std::fs::rename(partial, path)?;
        Ok(new)
    }

    /// Removes a record; it need not exist. The file is all there is of it, so this needs no lock.
    pub fn remove(&self, id: &str) -> io::Result<()> {
        match self.file(id).map_or(Ok(()), std::fs::remove_file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    /// Ids come from callers: one that is no plain file name is the id of nothing.
    fn file(&self, id: &str) -> Option<PathBuf> {
        let plain = !id.is_empty() && id.len() < 200 && !id.starts_with('.') && !id.contains(['/', '\0']);
        plain.then(|| self.folder.join(format!("{id}.json")))
    }

    /// Keeps all other processes from adding, until the file is dropped or this process ends.
    async fn hold(&self) -> io::Result<File> {
        let path = self.folder.join(".lock");
        let file = File::create(&path)?;
        let end = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() < end => sleep(TRY_AGAIN).await,
                Err(TryLockError::WouldBlock) => {
                    let held = format!("{} has been locked for {PATIENCE:?}: is a driver frozen?", path.display());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, held));
                }
            }
        }
    }
}
