//! What exists: `volumes/ID.json` and `snapshots/ID.json` in the state folder, each written whole or not at all.
//!
//! The folder is the truth that tests compare Kubernetes with, so a file appears before a call is answered and is gone
//! before a deletion is. Volumes may be added from outside while the driver runs; snapshots are only its own.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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
}

impl Snapshot {
    /// When it was taken.
    pub fn created(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.created_ns)
    }
}

/// The state folder and an index of the names in it.
pub struct Store {
    volumes: PathBuf,
    snapshots: PathBuf,
    volume_ids: HashMap<String, String>,
    snapshot_ids: HashMap<String, String>,
}

impl Store {
    /// Opens the folder, making it if it is not there.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let (volumes, snapshots) = (folder.join("volumes"), folder.join("snapshots"));
        std::fs::create_dir_all(&volumes)?;
        std::fs::create_dir_all(&snapshots)?;
        let volume_ids = all::<Volume>(&volumes)?.into_iter().map(|volume| (volume.name, volume.id)).collect();
        let snapshot_ids =
            all::<Snapshot>(&snapshots)?.into_iter().map(|snapshot| (snapshot.name, snapshot.id)).collect();
        Ok(Self { volumes, snapshots, volume_ids, snapshot_ids })
    }

    /// The volume with this id.
    pub fn volume(&self, id: &str) -> io::Result<Option<Volume>> {
        read(&self.volumes, id)
    }

    /// The volume that was made under this name.
    pub fn volume_named(&self, name: &str) -> io::Result<Option<Volume>> {
        self.volume_ids.get(name).map_or(Ok(None), |id| self.volume(id))
    }

    /// Adds a volume.
    pub fn add_volume(&mut self, volume: &Volume) -> io::Result<()> {
        write(&self.volumes, &volume.id, volume)?;
        self.volume_ids.insert(volume.name.clone(), volume.id.clone());
        Ok(())
    }

    /// Removes a volume; it need not exist.
    pub fn remove_volume(&mut self, id: &str) -> io::Result<()> {
        if let Some(volume) = self.volume(id)? {
            remove(&self.volumes, id)?;
            self.volume_ids.remove(&volume.name);
        }
        Ok(())
    }

    /// The snapshot with this id.
    pub fn snapshot(&self, id: &str) -> io::Result<Option<Snapshot>> {
        read(&self.snapshots, id)
    }

    /// The snapshot that was made under this name.
    pub fn snapshot_named(&self, name: &str) -> io::Result<Option<Snapshot>> {
        self.snapshot_ids.get(name).map_or(Ok(None), |id| self.snapshot(id))
    }

    /// All snapshots, by id.
    pub fn snapshots(&self) -> io::Result<Vec<Snapshot>> {
        let mut snapshots: Vec<Snapshot> = all(&self.snapshots)?;
        snapshots.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(snapshots)
    }

    /// Adds a snapshot.
    pub fn add_snapshot(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        write(&self.snapshots, &snapshot.id, snapshot)?;
        self.snapshot_ids.insert(snapshot.name.clone(), snapshot.id.clone());
        Ok(())
    }

    /// Removes a snapshot; it need not exist.
    pub fn remove_snapshot(&mut self, id: &str) -> io::Result<()> {
        if let Some(snapshot) = self.snapshot(id)? {
            remove(&self.snapshots, id)?;
            self.snapshot_ids.remove(&snapshot.name);
        }
        Ok(())
    }
}

/// A random id with a prefix: `snap-2f0c...`.
pub fn new_id(prefix: &str) -> io::Result<String> {
    let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(format!("{prefix}-{}", random.trim()))
}

/// Ids come from callers: one that is no plain file name is the id of nothing.
fn file(folder: &Path, id: &str) -> Option<PathBuf> {
    let plain = !id.is_empty() && id.len() < 200 && !id.starts_with('.') && !id.contains(['/', '\0']);
    plain.then(|| folder.join(format!("{id}.json")))
}

fn read<T: DeserializeOwned>(folder: &Path, id: &str) -> io::Result<Option<T>> {
    let Some(path) = file(folder, id) else { return Ok(None) };
    match std::fs::read(&path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write<T: Serialize>(folder: &Path, id: &str, value: &T) -> io::Result<()> {
    let path = file(folder, id).ok_or_else(|| io::Error::other(format!("{id} cannot be a file's name")))?;
    let partial = folder.join(format!(".{id}"));
    std::fs::write(&partial, serde_json::to_vec(value)?)?;
    std::fs::rename(partial, path)
}

fn remove(folder: &Path, id: &str) -> io::Result<()> {
    file(folder, id).map_or(Ok(()), std::fs::remove_file)
}

fn all<T: DeserializeOwned>(folder: &Path) -> io::Result<Vec<T>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")) else { continue };
        found.extend(read(folder, id)?);
    }
    Ok(found)
}
