//! What a daemon wrote, as the API server saw it: who, when, what, and the object right before.
//!
//! The invariants judge this and never what the daemon believes of itself. A request that never reached the
//! server is not in it; one whose answer was lost is.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::domain::guard::Guarded;
use crate::domain::ledger::Record;
use crate::domain::prune::run::Order;
use crate::sim::store::{Refusal, Resource};

/// What a write was for.
#[derive(Clone, Debug)]
pub enum What {
    /// Our own lease was taken, renewed or given up.
    Lease,
    /// A record of the ledger was stored.
    Record(Box<Record>),
    /// A backend snapshot was entered into the orphan ledger.
    Announce,
    /// A record of the ledger was deleted.
    Forget,
    /// The status of a SnapshotRetention was stored.
    Retention,
    /// A VolumeSnapshot was deleted by a SnapshotRetention.
    Prune(Box<Order>),
    /// An action was carried out.
    Act {
        /// The action and its pass.
        guarded: Box<Guarded>,
        /// The version of the target that the fresh read before it showed, and when that was.
        looked: Option<(Box<str>, Duration)>,
    },
}

/// One write.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When it reached the server, on the cluster's clock.
    pub at: Duration,
    /// The identity of the process that sent it.
    pub by: Arc<str>,
    /// What it was for.
    pub what: What,
    /// What it was sent to.
    pub resource: &'static Resource,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The object as it was right before.
    pub before: Option<Arc<Value>>,
    /// The object as it was right after, or why the write was refused.
    pub after: Result<Arc<Value>, Refusal>,
    /// The record of an action's intent, or the SnapshotRetention of a deletion, as it was stored at that moment.
    pub intent: Option<Arc<Value>>,
}

impl Entry {
    /// It changed something.
    #[must_use]
    pub fn took(&self) -> bool {
        match (&self.before, &self.after) {
            (_, Err(_)) => false,
            (None, Ok(_)) => true,
            (Some(before), Ok(after)) => before != after,
        }
    }
}
