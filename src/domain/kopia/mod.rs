//! What kopia says, read and judged: its answers as types, what a run of it truly did, and what to do when it failed.
//!
//! Kopia's exit code 0 can mean that nothing was done, and its "Finished" stands beneath runs that failed. Whoever
//! trusts one of the two finds out after months that no maintenance ever happened.

pub mod epochs;
pub mod expire;
mod failure;
mod locks;
mod maintenance;
pub mod origin;
mod progress;
mod repository;
pub mod settings;
pub mod signs;
mod sources;
mod standing;
mod truth;
mod verify;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use failure::{Advice, Class, Failure};
pub use locks::{Lock, holders};
pub use maintenance::{Cycle, Done, Maintenance, Newest, Run};
pub use progress::{Meter, Objects, Progress, progress};
pub use repository::{Epochs, Repository, Size, epoch, indexes, stored};
pub use sources::{Source, sources};
pub use standing::{LockView, Standing, Upkeep};
pub use truth::{Ended, Round, Verdict, judge, may_maintain};
pub use verify::{Check, Verified, verified};

/// An answer of kopia's that cannot be read. One line: what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "kopia's answer to `{what}` cannot be read: {problem}; run that command by hand and see what it prints, and use \
         a kopia from 0.21 to 0.23"
)]
pub struct Unreadable {
    /// The command.
    pub what: &'static str,
    /// Line, column and what is wrong there.
    pub problem: String,
}

fn read<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, Unreadable> {
    serde_json::from_str(text).map_err(|error| Unreadable { what, problem: error.to_string() })
}

/// Who somebody is for kopia: `user@host`. It is the name by which maintenance has one owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Identity {
    host: String,
}

impl Identity {
    /// The user part is always this: nobody backs up under it, so an owner of that name is one of us.
    pub const USER: &str = "volwarden";

    /// Our identity on a host, such as `nas`.
    ///
    /// # Errors
    /// When kopia could not tell where the host begins and ends.
    pub fn on(host: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || host.len() > 253 || !host.chars().all(fits) {
            return Err(format!("{host:?} is no host name; write letters, digits, dots and dashes, such as nas"));
        }
        Ok(Self { host: host.to_ascii_lowercase() })
    }

    /// The host part.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether kopia's owner is us.
    #[must_use]
    pub fn is(&self, owner: &str) -> bool {
        owner == self.to_string()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", Self::USER, self.host)
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}
