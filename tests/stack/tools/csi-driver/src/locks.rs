//! One operation at a time for each volume, snapshot and request name, as ceph-csi keeps it: a second one is turned
//! away with `Aborted` at once, and nothing but the end of the first one, or of the process, frees the lock.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tonic::Status;

/// The set of keys under way.
#[derive(Clone, Default)]
pub struct Locks(Arc<Mutex<HashSet<String>>>);

impl Locks {
    /// Takes the lock of `key`, or answers as ceph-csi's RBD driver does: it says "Volume ID" of a snapshot too.
    pub fn take(&self, key: &str) -> Result<Held, Status> {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned()) {
            return Ok(Held { locks: self.clone(), key: key.to_owned() });
        }
        Err(Status::aborted(format!("an operation with the given Volume ID {key} already exists")))
    }
}

/// A lock that is free again when this is dropped.
pub struct Held {
    locks: Locks,
    key: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.locks.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
