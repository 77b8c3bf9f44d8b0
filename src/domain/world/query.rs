//! What rules may ask of the world: every question is answered by an index, never by a walk over all objects.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{WatchedLease, World};
use crate::domain::finding::Subject;
use crate::domain::name::{Key, Uid};
use crate::domain::record::{EventRecord, Kind};

impl World {
    /// There is nothing that a snapshot-controller would have to care for.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.snapshots.is_empty() && self.contents.is_empty()
    }

    /// The drivers that a snapshot of this class may wait for; without a class, those of the default ones.
    #[must_use]
    pub fn drivers_of(&self, class: Option<&Arc<str>>) -> Vec<&Arc<str>> {
        match class {
            Some(name) => self.classes.get(&Key::cluster(&**name)).map(|class| &class.driver).into_iter().collect(),
            None => self.classes.iter().filter(|(_, class)| class.default).map(|(_, class)| &class.driver).collect(),
        }
    }

    /// How many contents a driver has.
    #[must_use]
    pub fn content_count(&self, driver: &str) -> u32 {
        self.index.contents.get(driver).copied().unwrap_or(0)
    }

    /// Drivers that contents name.
    pub fn content_drivers(&self) -> impl Iterator<Item = &Arc<str>> {
        self.index.contents.keys()
    }

    /// How many contents carry this handle.
    #[must_use]
    pub fn handle_count(&self, print: u64) -> u32 {
        self.index.handles.get(&print).copied().unwrap_or(0)
    }

    /// Claims waiting to be restored from this snapshot.
    pub fn restores(&self, snapshot: &Key) -> impl Iterator<Item = &Key> {
        self.index.restores.get(snapshot).into_iter().flatten()
    }

    /// When a claim that waits for this snapshot was last seen to stop waiting.
    #[must_use]
    pub fn last_referred(&self, snapshot: &Key) -> Option<Duration> {
        self.index.last_referred.get(snapshot).copied()
    }

    /// Snapshots of this claim that are not ready.
    pub fn unready(&self, claim: &Key) -> impl Iterator<Item = &Key> {
        self.index.unready.get(claim).into_iter().flatten()
    }

    /// Every snapshot that is not ready.
    pub fn unready_snapshots(&self) -> impl Iterator<Item = &Key> {
        self.index.not_ready.iter()
    }

    /// Snapshots being deleted.
    pub fn deleting_snapshots(&self) -> impl Iterator<Item = &Key> {
        self.index.deleting.iter()
    }

    /// The lease of this name that moved last; component namespaces are not known beforehand.
    #[must_use]
    pub fn lease(&self, name: &str) -> Option<(&Key, &WatchedLease)> {
        self.index
            .leases
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|key| self.leases.get(key).map(|lease| (key, lease)))
            .max_by_key(|(_, lease)| (lease.changed, lease.lease.renewed))
    }

    /// Warning events about an object that lives under this uid, newest last.
    #[must_use]
    pub fn events(&self, kind: Kind, key: &Key, uid: &Uid) -> Vec<&EventRecord> {
        let events = if kind == Kind::VolumeSnapshotContent { &self.content_events } else { &self.snapshot_events };
        let about = Subject::new(kind, key.clone());
        let mut found: Vec<&EventRecord> = self
            .index
            .events
            .get(&about)
            .into_iter()
            .flatten()
            .filter_map(|key| events.get(key))
            .filter(|event| event.uid.as_ref() == Some(uid))
            .collect();
        found.sort_by_key(|event| event.last);
        found
    }

    /// When this component last wrote an event, by the event's own time.
    #[must_use]
    pub fn sign_of_life(&self, component: &str) -> Option<Timestamp> {
        self.index.alive.get(component).copied()
    }
}
