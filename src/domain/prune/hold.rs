//! Why something that the counts or its age would let go stays all the same, each reason under its own name.
//!
//! The names are public: in `status.heldBy`, in `volwarden retention plan`, in docs/retention.md. A snapshot shows one
//! reason, the first of [`Hold::ALL`] that applies: a person who takes that one away sees the next.

use std::fmt;

/// A reason to leave a snapshot alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// It is being deleted already.
    BeingDeleted,
    /// It is not ready: being made, or failed.
    NotReady,
    /// Nobody says when it was taken.
    NoCreationTime,
    /// It claims to have been taken in the future.
    FromTheFuture,
    /// It, or its namespace, is to be ignored.
    Ignored,
    /// `volwarden.dev/keep`.
    Keep,
    /// `volsync.backube/do-not-delete`.
    DoNotDelete,
    /// It was made to reclaim an orphan.
    Reclaims,
    /// A ReplicationDestination's `status.latestImage`.
    LatestImage,
    /// A claim is being restored from it, or was made from it, or csi-provisioner holds it.
    InUse,
    /// Velero's, whose Backup still lives.
    Velero,
    /// snapscheduler's, whose SnapshotSchedule still lives.
    SnapScheduler,
    /// kopiur's, while it is installed.
    Kopiur,
    /// It has a controller that is alive.
    Owned,
    /// Its content is missing, being deleted, or another's.
    NoContent,
    /// A VolumeSnapshot refers to the content.
    Claimed,
    /// Not made by this cluster's snapshot-controller from one of its volumes.
    NotMadeHere,
    /// The backend snapshot is older than the object.
    MayBeCopy,
    /// snapshot-controller has not seen its VolumeSnapshot go.
    Unmarked,
    /// csi-snapshotter still waits for the answer to its creation.
    BeingCreated,
    /// No snapshotHandle: the driver would not be asked.
    NoHandle,
    /// Its driver has told a time or a handle: a backend snapshot exists.
    MayHoldData,
    /// csi-snapshotter's finalizer is gone.
    Unprotected,
    /// Another content carries the same backend snapshot.
    SharedHandle,
    /// Deletion policy Retain: pruning would free nothing and leave a content behind.
    Retained,
    /// A finalizer of somebody else's would make its deletion hang.
    ForeignFinalizer,
    /// It is younger than the policy's minAge, or than its cleanup's olderThan.
    TooYoung,
    /// Its driver is degraded.
    DriverDegraded,
    /// Deletions of its driver hang already.
    DeletionsHang,
    /// Another SnapshotRetention keeps it.
    KeptByAnother,
    /// One of the last ready ones of its volume.
    LastReady,
    /// Another member of its group stays.
    GroupKept,
    /// A member of a group goes only with its VolumeGroupSnapshot.
    GroupMember,
    /// The plan as a whole would have broken a rule of safety.
    RefusedWhole,
}

impl Hold {
    /// All of them, the first that applies first.
    pub const ALL: [Self; 34] = [
        Self::BeingDeleted,
        Self::NotReady,
        Self::NoCreationTime,
        Self::FromTheFuture,
        Self::Ignored,
        Self::Keep,
        Self::DoNotDelete,
        Self::Reclaims,
        Self::LatestImage,
        Self::InUse,
        Self::Velero,
        Self::SnapScheduler,
        Self::Kopiur,
        Self::Owned,
        Self::NoContent,
        Self::Claimed,
        Self::NotMadeHere,
        Self::MayBeCopy,
        Self::Unmarked,
        Self::BeingCreated,
        Self::NoHandle,
        Self::MayHoldData,
        Self::Unprotected,
        Self::SharedHandle,
        Self::Retained,
        Self::ForeignFinalizer,
        Self::TooYoung,
        Self::DriverDegraded,
        Self::DeletionsHang,
        Self::KeptByAnother,
        Self::LastReady,
        Self::GroupKept,
        Self::GroupMember,
        Self::RefusedWhole,
    ];

    /// The public name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeingDeleted => "BeingDeleted",
            Self::NotReady => "NotReady",
            Self::NoCreationTime => "NoCreationTime",
            Self::FromTheFuture => "FromTheFuture",
            Self::Ignored => "Ignored",
            Self::Keep => "Keep",
            Self::DoNotDelete => "DoNotDelete",
            Self::Reclaims => "Reclaims",
            Self::LatestImage => "LatestImage",
            Self::InUse => "InUse",
            Self::Velero => "Velero",
            Self::SnapScheduler => "SnapScheduler",
            Self::Kopiur => "Kopiur",
            Self::Owned => "Owned",
            Self::NoContent => "NoContent",
            Self::Claimed => "Claimed",
            Self::NotMadeHere => "NotMadeHere",
            Self::MayBeCopy => "MayBeCopy",
            Self::Unmarked => "Unmarked",
            Self::BeingCreated => "BeingCreated",
            Self::NoHandle => "NoHandle",
            Self::MayHoldData => "MayHoldData",
            Self::Unprotected => "Unprotected",
            Self::SharedHandle => "SharedHandle",
            Self::Retained => "Retained",
            Self::ForeignFinalizer => "ForeignFinalizer",
            Self::TooYoung => "TooYoung",
            Self::DriverDegraded => "DriverDegraded",
            Self::DeletionsHang => "DeletionsHang",
            Self::KeptByAnother => "KeptByAnother",
            Self::LastReady => "LastReady",
            Self::GroupKept => "GroupKept",
            Self::GroupMember => "GroupMember",
            Self::RefusedWhole => "RefusedWhole",
        }
    }

    /// The same in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::BeingDeleted => "it is being deleted already",
            Self::NotReady => "it is not ready, and counts for nothing",
            Self::NoCreationTime => "its status has no creationTime",
            Self::FromTheFuture => "its creationTime is in the future",
            Self::Ignored => "it, or its namespace, carries volwarden.dev/ignore",
            Self::Keep => "it carries volwarden.dev/keep",
            Self::DoNotDelete => "it carries volsync.backube/do-not-delete",
            Self::Reclaims => "it was made to reclaim an orphan",
            Self::LatestImage => "it is the latestImage of a ReplicationDestination",
            Self::InUse => "a PersistentVolumeClaim uses it",
            Self::Velero => "it is Velero's, whose Backup may live",
            Self::SnapScheduler => "it is snapscheduler's, whose SnapshotSchedule may live",
            Self::Kopiur => "it is kopiur's, which is installed",
            Self::Owned => "it is owned by a controller that may live",
            Self::NoContent => "its VolumeSnapshotContent is missing, being deleted, or another's",
            Self::Claimed => "a VolumeSnapshot refers to it",
            Self::NotMadeHere => "it was not made here from a volume: its handle may be another cluster's",
            Self::MayBeCopy => "its snapshot is older than the object itself: it may be a copy of another cluster's",
            Self::Unmarked => {
                "snapshot-controller did not mark it when its VolumeSnapshot went: it may be a copy, and its driver would not be asked"
            }
            Self::BeingCreated => "csi-snapshotter still waits for the answer to its creation",
            Self::NoHandle => "it has no snapshotHandle: its driver would not be asked",
            Self::MayHoldData => {
                "its driver has told a time or a handle: a backend snapshot exists and may become ready"
            }
            Self::Unprotected => {
                "csi-snapshotter's finalizer is gone from it: it would vanish without its driver being asked"
            }
            Self::SharedHandle => "another content, a group or the orphan ledger carries the same backend snapshot",
            Self::Retained => "its content is kept by policy Retain: nothing would be freed",
            Self::ForeignFinalizer => "a finalizer of somebody else's would make its deletion hang",
            Self::TooYoung => "it is younger than minAge, or than olderThan of its cleanup",
            Self::DriverDegraded => "its driver is degraded",
            Self::DeletionsHang => "deletions of its driver hang already",
            Self::KeptByAnother => "another SnapshotRetention keeps it",
            Self::LastReady => "it is one of the last ready ones of its volume",
            Self::GroupKept => "another member of its group stays",
            Self::GroupMember => "a member of a group goes only with its VolumeGroupSnapshot: delete that",
            Self::RefusedWhole => "the plan as a whole would break a rule of safety",
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
