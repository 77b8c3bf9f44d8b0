//! Pruning VolumeSnapshots: which may go, in which order, and when.
//!
//! `retention` says which snapshots of a volume are kept by count. That is not yet a permission to delete the
//! others: one may be the last good one of its volume, be in use, belong to somebody, or not be a backup at all. This
//! is where those are told apart, each with its own named reason, and where a run's deletions are put in order and
//! followed until each is gone. Nothing here reads a clock or a cluster, so the plan that a person is shown is the
//! plan that is carried out.

pub mod agenda;
pub mod field;
pub mod hold;
mod judge;
pub mod part;
pub mod plan;
pub mod policy;
pub mod relic;
pub mod run;

#[cfg(test)]
mod cleanup_tests;
#[cfg(test)]
mod tests;
