//! The pool behind the drivers: what is really there, whoever believes what.
//!
//! It belongs to no process and no cluster. What it holds at the end is the truth about leaks and losses.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;

use super::super::csi::Snapshot;
use crate::domain::fact::Now;

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The name it was made under.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// The snapshot it was restored from.
    pub snapshot: Option<String>,
}

/// A snapshot of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// The name it was cut under: `snapshot-` and the uid of its VolumeSnapshot.
    pub name: String,
    /// The image.
    pub volume: String,
    /// When.
    pub created: Now,
    /// Bytes.
    pub size: i64,
    /// Who cut it.
    pub by: String,
}

/// Something that is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The handle it had.
    pub handle: String,
    /// The name it had.
    pub name: String,
    /// When it went.
    pub at: Timestamp,
    /// Whose driver was told to delete it.
    pub by: String,
}

/// An RBD pool.
#[derive(Debug)]
pub struct Pool {
    cluster_id: String,
    id: u64,
    /// The cluster answers. While it does not, every call hangs.
    pub is_up: bool,
    volumes: BTreeMap<String, Volume>,
    snapshots: BTreeMap<String, PoolSnapshot>,
    deletions: Vec<Deletion>,
}

impl Pool {
    /// An empty pool of the Ceph cluster `cluster_id`.
    #[must_use]
    pub fn new(cluster_id: &str, id: u64) -> Self {
        Self {
            cluster_id: cluster_id.to_owned(),
            id,
            is_up: true,
            volumes: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            deletions: Vec::new(),
        }
    }

    /// The images, by handle.
    #[must_use]
    pub fn volumes(&self) -> &BTreeMap<String, Volume> {
        &self.volumes
    }

    /// The snapshots, by handle.
    #[must_use]
    pub fn snapshots(&self) -> &BTreeMap<String, PoolSnapshot> {
        &self.snapshots
    }

    /// What went, oldest first.
    #[must_use]
    pub fn deletions(&self) -> &[Deletion] {
        &self.deletions
    }

    /// Puts an image there that nobody asked a driver for.
    pub fn add_volume(&mut self, handle: &str, volume: Volume) {
        self.volumes.insert(handle.to_owned(), volume);
    }

    /// The image of this name, made now if there is none.
    pub(super) fn volume(&mut self, rng: &mut Rng, name: &str, size: i64, snapshot: Option<String>) -> (String, i64) {
        if let Some((handle, volume)) = self.volumes.iter().find(|(_, volume)| volume.name == name) {
            return (handle.clone(), volume.size);
        }
        let handle = self.handle(rng);
        self.volumes.insert(handle.clone(), Volume { name: name.to_owned(), size, snapshot });
        (handle, size)
    }

    /// Deletes an image; one that is not there is deleted already.
    pub(super) fn delete_volume(&mut self, handle: &str, at: Timestamp, by: &str) {
        if let Some(volume) = self.volumes.remove(handle) {
            self.bury(handle, volume.name, at, by);
        }
    }

    /// The snapshot of this name, cut now if there is none; `None` if there is no such image.
    pub(super) fn snapshot(&mut self, rng: &mut Rng, name: &str, volume: &str, now: Now, by: &str) -> Option<String> {
        if let Some((handle, _)) = self.snapshots.iter().find(|(_, snapshot)| snapshot.name == name) {
            return Some(handle.clone());
        }
        let size = self.volumes.get(volume)?.size;
        let handle = self.handle(rng);
        let (name, volume, by) = (name.to_owned(), volume.to_owned(), by.to_owned());
        self.snapshots.insert(handle.clone(), PoolSnapshot { name, volume, created: now, size, by });
        Some(handle)
    }

    /// Deletes a snapshot; one that is not there is deleted already.
    pub(super) fn delete_snapshot(&mut self, handle: &str, at: Timestamp, by: &str) {
        if let Some(snapshot) = self.snapshots.remove(handle) {
            self.bury(handle, snapshot.name, at, by);
        }
    }

    /// What the driver tells of a snapshot.
    pub(super) fn describe(&self, handle: &str, now: Now, ready_after: Duration) -> Option<Snapshot> {
        let snapshot = self.snapshots.get(handle)?;
        let ready = now.mono >= snapshot.created.mono + ready_after;
        Some(Snapshot { handle: handle.to_owned(), created: snapshot.created.wall, size: snapshot.size, ready })
    }

    fn bury(&mut self, handle: &str, name: String, at: Timestamp, by: &str) {
        self.deletions.push(Deletion { handle: handle.to_owned(), name, at, by: by.to_owned() });
    }

    /// A handle as ceph-csi makes it: version, length and id of the cluster, the pool, the image.
    fn handle(&self, rng: &mut Rng) -> String {
        let image = format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            rng.u32(..),
            rng.u16(..),
            rng.u16(..0x1000),
            0x8000 | rng.u16(..0x4000),
            rng.u64(..1 << 48)
        );
        format!("0001-{:04x}-{}-{:016x}-{image}", self.cluster_id.len(), self.cluster_id, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_one_snapshot_and_a_deleted_one_is_remembered() {
        let mut pool = Pool::new("rook-ceph", 1);
        let mut rng = Rng::with_seed(1);
        let now = Now { wall: Timestamp::UNIX_EPOCH, mono: Duration::ZERO };
        assert_eq!(pool.snapshot(&mut rng, "snapshot-u", "nothing", now, "a"), None);
        pool.add_volume("v", Volume { name: "pvc-1".to_owned(), size: 7, snapshot: None });
        let handle = pool.snapshot(&mut rng, "snapshot-u", "v", now, "a").unwrap();
        assert_eq!(pool.snapshot(&mut rng, "snapshot-u", "v", now, "b").as_ref(), Some(&handle));
        assert!(handle.starts_with("0001-0009-rook-ceph-0000000000000001-"), "{handle}");
        assert_eq!(handle.len(), "0001-0009-rook-ceph-0000000000000001-".len() + 36);
        pool.delete_snapshot(&handle, now.wall, "b");
        pool.delete_snapshot(&handle, now.wall, "b");
        assert_eq!(pool.deletions().len(), 1);
        assert_eq!(pool.deletions()[0].by, "b");
        assert!(pool.snapshots().is_empty());
    }
}
