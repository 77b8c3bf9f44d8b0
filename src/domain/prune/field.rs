//! Everything a plan is made from: the VolumeSnapshots as they were listed for it, and what stands around them.
//!
//! A plan rests on complete lists that were read for it, and not on what a watch last said: labels and owners of
//! every VolumeSnapshot would cost the daemon more memory than all that it remembers, for a plan a day. The records
//! are slim all the same, for a plan may hold a million of them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::Arc;

use super::relic::{Failed, Relic, Temporary};
use crate::domain::name::{Key, Stamp, Uid};
use crate::domain::record::{Namespace, Owner};

/// Labels of an object; equal ones are shared.
pub type Labels = Arc<BTreeMap<Box<str>, Box<str>>>;

/// Marks of a VolumeSnapshot, each there or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one mark of the object, there or not")]
pub struct Marks {
    /// `metadata.deletionTimestamp`.
    pub deleting: bool,
    /// `status.readyToUse` is true, and `status.error` absent.
    pub ready: bool,
    /// `volwarden.dev/ignore`.
    pub ignored: bool,
    /// `volwarden.dev/keep`.
    pub keep: bool,
    /// `volsync.backube/do-not-delete`.
    pub do_not_delete: bool,
    /// `volwarden.dev/reclaims`.
    pub reclaims: bool,
    /// `volwarden.dev/prune-last` with its own uid.
    pub prune_last: bool,
    /// A claim is being made from it, by its finalizer or by VolSync's label.
    pub as_source: bool,
    /// A finalizer that is none of the snapshot controllers'.
    pub foreign_finalizer: bool,
    /// Its content is there, alive, and points back to it.
    pub bound: bool,
    /// The content's deletion policy is Delete.
    pub deletes: bool,
    /// Another content has the same handle.
    pub shared: bool,
}

/// A tool that makes VolumeSnapshots and prunes its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Velero, for the Backup of this name; `None`: it does not say which.
    Velero(Option<Box<str>>),
    /// snapscheduler, by the SnapshotSchedule of this name in the same namespace.
    SnapScheduler(Box<str>),
    /// kopiur.
    Kopiur,
}

/// What few snapshots have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// Its controller.
    pub owner: Option<Owner>,
    /// `status.volumeGroupSnapshotName`, or what its content says of a group.
    pub group: Option<Box<str>>,
    /// The tool that made it.
    pub maker: Option<Maker>,
    /// Name of its content, where that is not the one snapshot-controller gives.
    pub content: Option<Box<str>>,
    /// VolSync made it for the time of one synchronisation.
    pub temporary: Option<Temporary>,
    /// It failed, and was never ready.
    pub failed: Option<Failed>,
}

/// One VolumeSnapshot with what its content says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Namespace and name.
    pub key: Key,
    /// Uid.
    pub uid: Uid,
    /// Version: a precondition of its deletion.
    pub version: Box<str>,
    /// Labels.
    pub labels: Labels,
    /// VolumeSnapshotClass.
    pub class: Option<Arc<str>>,
    /// The content's driver.
    pub driver: Option<Arc<str>>,
    /// The PersistentVolumeClaim it was cut from.
    pub claim: Option<Arc<str>>,
    /// Fingerprint of driver and source volume handle.
    pub volume: Option<NonZeroU64>,
    /// `status.creationTime`.
    pub taken: Option<Stamp>,
    /// Restore size in bytes; 0 where it is not known.
    pub size: u64,
    /// Its marks.
    pub marks: Marks,
    /// What few have.
    pub extra: Option<Box<Extra>>,
}

impl Cut {
    /// It is ready, stays, and so does its content. What says "ready" beside a content that is gone, or told to go, is
    /// nothing to rely on.
    pub(super) fn is_good(&self) -> bool {
        self.marks.ready && !self.marks.deleting && self.marks.bound
    }

    pub(super) fn group(&self) -> Option<&str> {
        self.extra.as_ref()?.group.as_deref()
    }

    pub(super) fn owner(&self) -> Option<&Owner> {
        self.extra.as_ref()?.owner.as_ref()
    }

    pub(super) fn maker(&self) -> Option<&Maker> {
        self.extra.as_ref()?.maker.as_ref()
    }

    /// The name of its content.
    #[must_use]
    pub fn content(&self) -> Box<str> {
        let other = self.extra.as_ref().and_then(|extra| extra.content.clone());
        other.unwrap_or_else(|| format!("snapcontent-{}", self.uid).into())
    }
}

/// What is known of the owners of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Owners {
    /// The kind is not installed: none lives.
    Absent,
    /// These live.
    Living(BTreeSet<Key>),
    /// It cannot be told: each may live.
    #[default]
    Unknown,
}

impl Owners {
    pub(super) fn may_live(&self, key: &Key) -> bool {
        match self {
            Self::Absent => false,
            Self::Living(all) => all.contains(key),
            Self::Unknown => true,
        }
    }
}

/// What the engine says of a driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverSight {
    /// It is degraded: a storm.
    pub degraded: bool,
    /// So many of its deletions or creations fail in the driver.
    pub failing: usize,
    /// Of these, so many are deletions.
    pub stuck: usize,
}

/// Everything a plan is made from.
#[derive(Clone, Debug, Default)]
pub struct Field {
    /// Every VolumeSnapshot of the cluster.
    pub cuts: Vec<Cut>,
    /// What is left over beside them, where a policy asks for it.
    pub relics: Vec<Relic>,
    /// `latestImage` of every ReplicationDestination.
    pub latest_images: BTreeSet<Key>,
    /// Snapshots that a claim names as its source.
    pub used: BTreeSet<Key>,
    /// Namespaces.
    pub namespaces: BTreeMap<Arc<str>, Namespace>,
    /// Velero's Backups, by name alone.
    pub backups: Owners,
    /// SnapshotSchedules.
    pub schedules: Owners,
    /// Whether kopiur is installed.
    pub kopiur: Owners,
    /// ReplicationSources and ReplicationDestinations, by name.
    pub replications: Owners,
    /// The same by uid.
    pub replicating: BTreeSet<Uid>,
    /// Jobs of VolSync's that have not finished.
    pub movers: BTreeSet<Key>,
    /// The uids of those that these work for.
    pub moving: BTreeSet<Uid>,
    /// Drivers, as the engine sees them.
    pub drivers: BTreeMap<Arc<str>, DriverSight>,
}
