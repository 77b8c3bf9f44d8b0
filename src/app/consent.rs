//! A person's hand on the cluster: one client, in that person's name, for what people decide.
//!
//! No engine and no lease: the daemon keeps acting meanwhile, and every write here has its precondition instead.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::{AppError, Settings, connect};
use crate::domain::digest::Hash;
use crate::domain::ledger::Record;
use crate::domain::policy::{Pause, Policy};
use crate::driver::Clock;
use crate::io::act::{consent, reclaim};
use crate::io::client::Client;
use crate::io::retention::Entry;

pub use crate::io::act::consent::Trouble;
pub use crate::io::act::reclaim::{NotReclaimed, Orphaned, Reclaimed, reclaimable};

/// A connection to a cluster.
pub struct Hand {
    pub(super) client: Client,
    clock: Clock,
}

/// Connects, and makes sure that an API server answers.
///
/// # Errors
/// When there is no usable kubeconfig or no API server behind it.
pub async fn reach(settings: &Settings) -> Result<Hand, AppError> {
    Ok(Hand { client: connect(settings).await?, clock: Clock::start() })
}

impl Hand {
    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    /// An entry of the ledger.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn remediation(&self, name: &str) -> Result<Record, Trouble> {
        consent::remediation(&self.client, name).await
    }

    /// Approves a plan by its hash, or takes an approval away; the entry as it is then.
    ///
    /// # Errors
    /// It was changed since it was read, or cannot be written.
    pub async fn approve(&self, record: &Record, hash: Option<&Hash>, dry: bool) -> Result<Record, Trouble> {
        consent::approve(&self.client, record, hash, dry).await
    }

    /// Every policy of the cluster.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn policies(&self) -> Result<Vec<Policy>, Trouble> {
        consent::policies(&self.client).await
    }

    /// Pauses a policy, or resumes it.
    ///
    /// # Errors
    /// It was changed since it was read, or cannot be written.
    pub async fn pause(&self, policy: &Policy, pause: Option<&Pause>, dry: bool) -> Result<(), Trouble> {
        consent::pause(&self.client, policy, pause, dry).await
    }

    /// A SnapshotRetention.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn retention(&self, name: &str) -> Result<Entry, Trouble> {
        consent::retention(&self.client, name).await
    }

    /// Every SnapshotRetention of the cluster.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn retentions(&self) -> Result<Vec<Entry>, Trouble> {
        consent::retentions(&self.client).await
    }

    /// Writes which plans of a SnapshotRetention are approved; the policy as it is then.
    ///
    /// # Errors
    /// It was changed since it was read, or cannot be written.
    pub async fn approve_retention(&self, entry: &Entry, all: &BTreeSet<Hash>, dry: bool) -> Result<Entry, Trouble> {
        consent::approve_retention(&self.client, entry, all, dry).await
    }

    /// Pauses a SnapshotRetention, or resumes it.
    ///
    /// # Errors
    /// It was changed since it was read, or cannot be written.
    pub async fn pause_retention(&self, entry: &Entry, pause: Option<&Pause>, dry: bool) -> Result<(), Trouble> {
        consent::pause_retention(&self.client, entry, pause, dry).await
    }

    /// Every entry of the orphan ledger, oldest first.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn orphans(&self) -> Result<Vec<Orphaned>, Trouble> {
        reclaim::orphans(&self.client).await
    }

    /// One entry of the orphan ledger.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn orphan(&self, name: &str) -> Result<Orphaned, Trouble> {
        reclaim::orphan(&self.client, name).await
    }

    /// Reclaims an orphan through a VolumeSnapshot in this namespace, or goes on where an earlier call ended.
    ///
    /// # Errors
    /// Why it must not be reclaimed, or how far it came.
    pub async fn reclaim(
        &self,
        name: &str,
        namespace: &str,
        patience: Duration,
        tell: &dyn Fn(&str),
    ) -> Result<Reclaimed, NotReclaimed> {
        let now = || self.now();
        reclaim::reclaim(&self.client, &reclaim::Asked { name, namespace, patience, tell, now: &now }).await
    }
}
