//! The pure core: facts in, findings and wanted reads out.
//!
//! No client, no clock, no randomness, no `await`: time enters as [`fact::Now`]. The same core runs in the
//! daemon, in `doctor` and in tests, so a diagnosis cannot depend on where it was made. `tests/layering.rs`
//! keeps it so.

pub mod ceph;
pub mod collection;
pub mod components;
pub mod diagnose;
pub mod digest;
pub mod election;
pub mod engine;
pub mod fact;
pub mod fence;
pub mod finding;
pub mod freshness;
pub mod gate;
pub mod guard;
pub mod identity;
pub mod kopia;
pub mod lease;
pub mod ledger;
pub mod logline;
pub mod memory;
pub mod name;
pub mod plan;
pub mod policy;
pub mod prune;
pub mod record;
pub mod remedy;
pub mod repository;
pub mod retention;
pub mod schedule;
pub mod timing;
pub mod trace;
pub mod words;
pub mod world;
