//! What is left over beside good VolumeSnapshots: contents that policy Retain kept, VolSync's temporary claims and Jobs.
//!
//! Records only; which of them may go is [`judge`](super::judge)'s. VolumeSnapshots that are left over - VolSync's
//! temporary ones, and failed ones - stand among [`Field::cuts`](super::field::Field::cuts), with what tells them apart.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::field::{Labels, Maker};
use super::part::Part;
use crate::domain::name::{Key, Stamp, Uid};
use crate::domain::record::Owner;

/// The kinds of objects that are pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// VolumeSnapshot.
    Snapshot,
    /// VolumeSnapshotContent.
    Content,
    /// PersistentVolumeClaim.
    Claim,
    /// Job.
    Job,
}

impl Thing {
    /// API version of the kind.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Snapshot | Self::Content => "snapshot.storage.k8s.io/v1",
            Self::Claim => "v1",
            Self::Job => "batch/v1",
        }
    }

    /// The Kubernetes kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "VolumeSnapshot",
            Self::Content => "VolumeSnapshotContent",
            Self::Claim => "PersistentVolumeClaim",
            Self::Job => "Job",
        }
    }
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What VolSync says of an object that it made for the time of one synchronisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Temporary {
    /// Uid of its owner: the value of `volsync.backube/cleanup`.
    pub owner: Uid,
    /// Name of its owner, as the object's own name has it.
    pub source: Box<str>,
    /// When the object was made; of a Job, when it finished.
    pub since: Option<Stamp>,
}

/// A VolumeSnapshot in error that never became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// When it was made.
    pub since: Option<Stamp>,
    /// It has no content at all.
    pub bare: bool,
    /// csi-snapshotter still waits for the answer to its creation.
    pub creating: bool,
    /// Its driver has told a time or a handle.
    pub told: bool,
}

/// Marks of an object, each there or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one mark of the object, there or not")]
pub struct RelicMarks {
    /// `metadata.deletionTimestamp`.
    pub deleting: bool,
    /// `volwarden.dev/ignore`.
    pub ignored: bool,
    /// `volwarden.dev/keep`.
    pub keep: bool,
    /// `volsync.backube/do-not-delete`.
    pub do_not_delete: bool,
    /// `volwarden.dev/reclaims`.
    pub reclaims: bool,
    /// A finalizer whose owner does not let go by itself.
    pub foreign_finalizer: bool,
    /// Somebody uses it: a pod, a clone, a snapshot that is being cut; or a Job's own pods still run.
    pub used: bool,
}

/// A content whose VolumeSnapshot is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one mark of the object, there or not")]
pub struct Kept {
    /// The VolumeSnapshot it names, with the uid that is gone.
    pub snapshot: Option<(Key, Uid)>,
    /// Fingerprint of its snapshot handle.
    pub handle: Option<u64>,
    /// Its deletion policy still is Retain; Delete: an earlier run has switched it and come no further.
    pub retained: bool,
    /// snapshot-controller put being-deleted on it when its VolumeSnapshot went.
    pub marked: bool,
    /// being-created is on it.
    pub creating: bool,
    /// csi-snapshotter's own finalizer is on it.
    pub protected: bool,
    /// Made from a volume by this cluster's snapshot-controller, for a VolumeSnapshot with a uid.
    pub here: bool,
    /// The backend snapshot is older than the object.
    pub copy: bool,
    /// A member of a group.
    pub grouped: bool,
    /// Another content, a group or the orphan ledger has its handle.
    pub shared: bool,
    /// A VolumeSnapshot refers to it.
    pub claimed: bool,
    /// Its volume has no ready VolumeSnapshot: it is the last copy.
    pub last: bool,
}

/// What is special about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A content kept by policy Retain.
    Content(Kept),
    /// A temporary claim of VolSync's.
    Claim(Temporary),
    /// A Job of VolSync's; `since` is absent while it has not finished.
    Job(Temporary),
}

/// One object that is left over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relic {
    /// Namespace and name.
    pub key: Key,
    /// Uid: a precondition of its deletion.
    pub uid: Uid,
    /// Version: a precondition of its deletion.
    pub version: Box<str>,
    /// Labels.
    pub labels: Labels,
    /// VolumeSnapshotClass of a content.
    pub class: Option<Arc<str>>,
    /// Its driver; a Job has none.
    pub driver: Option<Arc<str>>,
    /// Fingerprint of driver and source volume handle of a content.
    pub volume: Option<NonZeroU64>,
    /// What `olderThan` is measured from: when its VolumeSnapshot went, when it was made, when it finished.
    pub since: Option<Stamp>,
    /// Restore size in bytes; 0 where it is not known.
    pub size: u64,
    /// Its marks.
    pub marks: RelicMarks,
    /// Its controller.
    pub owner: Option<Owner>,
    /// The tool that made it.
    pub maker: Option<Maker>,
    /// What is special about it.
    pub detail: Detail,
}

impl Relic {
    /// Its kind.
    #[must_use]
    pub fn thing(&self) -> Thing {
        match self.detail {
            Detail::Content(_) => Thing::Content,
            Detail::Claim(_) => Thing::Claim,
            Detail::Job(_) => Thing::Job,
        }
    }

    /// The part of a policy that decides over it.
    #[must_use]
    pub fn part(&self) -> Part {
        match self.detail {
            Detail::Content(_) => Part::RetainedContents,
            Detail::Claim(_) | Detail::Job(_) => Part::VolsyncLeftovers,
        }
    }

    /// The namespace it belongs to: a content's is that of the VolumeSnapshot it names.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match &self.detail {
            Detail::Content(kept) => kept.snapshot.as_ref().map_or("", |(key, _)| &key.namespace),
            Detail::Claim(_) | Detail::Job(_) => &self.key.namespace,
        }
    }
}
