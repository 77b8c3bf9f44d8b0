//! The public names of what can be wrong with a repository.

use std::fmt;

use crate::domain::words;

/// What is wrong, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Another repository is there, or none.
    RepositoryChanged,
    /// It is damaged, or its newest verification failed.
    VerifyFailed,
    /// It cannot be opened.
    RepositoryUnreachable,
    /// Its volume is full, or will be soon.
    VolumeFull,
    /// A source has had no snapshot for longer than it should.
    SnapshotGap,
    /// Two clocks are too far apart.
    ClockSkew,
    /// Two maintain it.
    TwoManagers,
    /// Ownership of maintenance was ours, and is not any more.
    MaintenanceOwnerLost,
    /// Maintenance has not happened for too long.
    MaintenanceOverdue,
    /// Its index is in too many blobs.
    IndexBlobsHigh,
}

impl Class {
    /// Every class, worst first: the order of a report.
    pub const ALL: [Self; 10] = [
        Self::RepositoryChanged,
        Self::VerifyFailed,
        Self::RepositoryUnreachable,
        Self::VolumeFull,
        Self::SnapshotGap,
        Self::ClockSkew,
        Self::TwoManagers,
        Self::MaintenanceOwnerLost,
        Self::MaintenanceOverdue,
        Self::IndexBlobsHigh,
    ];

    /// The public name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RepositoryChanged => "RepositoryChanged",
            Self::VerifyFailed => "VerifyFailed",
            Self::RepositoryUnreachable => "RepositoryUnreachable",
            Self::VolumeFull => "VolumeFull",
            Self::SnapshotGap => "SnapshotGap",
            Self::ClockSkew => "ClockSkew",
            Self::TwoManagers => "TwoManagers",
            Self::MaintenanceOwnerLost => "MaintenanceOwnerLost",
            Self::MaintenanceOverdue => "MaintenanceOverdue",
            Self::IndexBlobsHigh => "IndexBlobsHigh",
        }
    }

    /// Reads a public name back.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// The name as a metric label value: snake_case.
    #[must_use]
    pub fn label(self) -> String {
        words::snake(self.as_str())
    }

    /// Its page in the documentation, relative to the repository.
    #[must_use]
    pub fn docs(self) -> String {
        format!("docs/findings/{}.md", self.as_str())
    }

    /// Place in a report: 0 is the worst.
    #[must_use]
    pub fn severity(self) -> usize {
        Self::ALL.iter().position(|class| *class == self).unwrap_or(Self::ALL.len())
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
