//! One operation at a time for each handle and request name, as ceph-csi keeps it: a second one is turned away with
//! `Aborted` at once, and nothing but the end of the first one, or of the process, frees the lock.
//!
//! The set is this process's own. Another process on the same state folder knows nothing of it: that is why moving to
//! another replica, or a restart, gets a deletion going again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tonic::Status;

use crate::log::Call;

/// The keys under way, of volumes or of snapshots.
pub struct Locks {
    of: &'static str,
    keys: Arc<Mutex<HashSet<String>>>,
}

impl Locks {
    /// No lock is held yet; `of` is "Volume" or "Snapshot".
    pub fn new(of: &'static str) -> Self {
        Self { of, keys: Arc::default() }
    }

    /// Takes the lock of `key`, or fails as ceph-csi's RBD driver does: its answer says "Volume ID" of a snapshot too,
    /// only its log knows better.
    pub fn take(&self, call: &Call, key: &str) -> Result<Held, Status> {
        if self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned()) {
            return Ok(Held { keys: Arc::clone(&self.keys), key: key.to_owned() });
        }
        call.error(&format!("an operation with the given {} ID {key} already exists", self.of));
        Err(Status::aborted(format!("an operation with the given Volume ID {key} already exists")))
    }
}

/// A lock that is free again when this is dropped.
pub struct Held {
    keys: Arc<Mutex<HashSet<String>>>,
    key: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
