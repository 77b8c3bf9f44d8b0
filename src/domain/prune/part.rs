//! The parts of a SnapshotRetention: good snapshots, which go by count, and what is left over, which goes by age.
//!
//! Each part has its own mode and its own plan, and so its own hash: whoever approves the nightly pruning has not
//! thereby agreed that retained contents are destroyed.

use std::fmt;

/// One part of a policy. Its name is public: in `status.cleanup`, in `volwarden retention plan`, in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// VolumeSnapshots, by the counts.
    Snapshots,
    /// VolumeSnapshotContents kept by policy Retain whose VolumeSnapshot is gone.
    RetainedContents,
    /// What VolSync made for the time of one synchronisation, and whose owner is gone.
    VolsyncLeftovers,
    /// VolumeSnapshots in error that never became ready.
    FailedSnapshots,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Snapshots, Self::RetainedContents, Self::VolsyncLeftovers, Self::FailedSnapshots];

    /// Those that a policy has only when it says so.
    pub const CLEANUP: [Self; 3] = [Self::RetainedContents, Self::VolsyncLeftovers, Self::FailedSnapshots];

    /// The public name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshots => "Snapshots",
            Self::RetainedContents => "RetainedContents",
            Self::VolsyncLeftovers => "VolsyncLeftovers",
            Self::FailedSnapshots => "FailedSnapshots",
        }
    }

    /// The field of a policy that switches it on.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Snapshots => "keep",
            Self::RetainedContents => "cleanup.retainedContents",
            Self::VolsyncLeftovers => "cleanup.volsyncLeftovers",
            Self::FailedSnapshots => "cleanup.failedSnapshots",
        }
    }

    /// Reads a public name back.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.as_str() == name)
    }

    /// It destroys what nobody can make again and what may be another cluster's: no mode alone permits it.
    #[must_use]
    pub fn only_by_approval(self) -> bool {
        self == Self::RetainedContents
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
