//! A repository at one look: everything `volwarden kopia status` shows, and what of it could not be seen.

use jiff::Timestamp;
use serde::Serialize;

use super::{Cycle, Epochs, Failure, Identity, Lock, Maintenance, Newest, Repository, Size, Source};

/// A repository at one look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// When.
    pub at: Timestamp,
    /// The configuration it was reached by.
    pub config: String,
    /// Who we are.
    pub identity: Identity,
    /// What the repository is.
    pub repository: Option<Repository>,
    /// Who maintains, and what came of it.
    pub maintenance: Option<Upkeep>,
    /// How far the index has grown.
    pub epochs: Epochs,
    /// What it takes on its storage.
    pub size: Option<Size>,
    /// What is backed up.
    pub sources: Option<Vec<Source>>,
    /// Kopia's lock on this machine.
    pub lock: LockView,
    /// What kopia refused, and what to do.
    pub failures: Vec<Failure>,
    /// What could not be told.
    pub unclear: Vec<String>,
}

impl Standing {
    /// One of which nothing is known yet.
    #[must_use]
    pub fn empty(at: Timestamp, config: String, identity: Identity, lock: LockView) -> Self {
        Self {
            at,
            config,
            identity,
            repository: None,
            maintenance: None,
            epochs: Epochs::default(),
            size: None,
            sources: None,
            lock,
            failures: Vec::new(),
            unclear: Vec::new(),
        }
    }
}

/// Who maintains, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Upkeep {
    /// Who may run it.
    pub owner: Option<String>,
    /// Whether that is us.
    pub ours: bool,
    /// The small cycle.
    pub quick: Cycle,
    /// The large one.
    pub full: Cycle,
    /// The newest success of each task that ever ran.
    pub tasks: Vec<Newest>,
}

impl Upkeep {
    /// What a record says, as seen by us.
    #[must_use]
    pub fn seen(maintenance: &Maintenance, us: &Identity) -> Self {
        Self {
            owner: maintenance.owner.clone(),
            ours: maintenance.owner.as_deref().is_some_and(|owner| us.is(owner)),
            quick: maintenance.quick,
            full: maintenance.full,
            tasks: maintenance.newest(),
        }
    }
}

/// Kopia's lock on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LockView {
    /// The file.
    pub file: String,
    /// Who holds it.
    pub holders: Vec<Lock>,
}
