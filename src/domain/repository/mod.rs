//! A KopiaRepository: which task is due, what holds it, how far its Job is, and what that Job's result is worth.
//!
//! Everything is told from the object, its Job and the Lease, so that any replica comes to the same answer and a Job that
//! runs on while a process dies is found again. What this exists to prevent is two maintenance runs on one repository,
//! and a run that is believed because a Job ended with 0.

pub mod agenda;
pub mod course;
pub mod findings;
pub mod own;
pub mod report;
pub mod rules;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is done to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Task {
    /// A look.
    Stats,
    /// Becoming the owner of maintenance.
    Own,
    /// Quick maintenance.
    Quick,
    /// Full maintenance.
    Full,
    /// Verification of some files.
    Verify,
    /// Verification of all files.
    VerifyWhole,
    /// Deletion of snapshots that no count keeps.
    Expire,
    /// Setting the policies and epochs that the spec names and the repository has not.
    Settings,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Stats,
        Self::Own,
        Self::Quick,
        Self::Full,
        Self::Verify,
        Self::VerifyWhole,
        Self::Expire,
        Self::Settings,
    ];

    /// Its name on a command line, in a label and in a request.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stats => "stats",
            Self::Own => "own",
            Self::Quick => "quick",
            Self::Full => "full",
            Self::Verify => "verify",
            Self::VerifyWhole => "verify-whole",
            Self::Expire => "expire",
            Self::Settings => "settings",
        }
    }

    /// The task of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.as_str() == name)
    }

    /// Whether it writes to the repository: then nothing else of ours may, and the Lease keeps it so.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::Own | Self::Quick | Self::Full | Self::Expire | Self::Settings)
    }

    /// Whether it is done to sources, and so has to know which are this cluster's own.
    #[must_use]
    pub fn asks_whose(self) -> bool {
        matches!(self, Self::Expire | Self::Settings)
    }

    /// Whether it is maintenance, which has one owner.
    #[must_use]
    pub fn maintains(self) -> bool {
        matches!(self, Self::Quick | Self::Full)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
