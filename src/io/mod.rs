//! Edges: translate and bound time, never decide.

pub mod act;
pub mod client;
pub mod clock;
pub mod gate;
pub mod http;
pub mod kopia;
pub mod lease;
pub mod ledger;
pub mod look;
pub mod orphan;
pub mod policy;
pub mod probe;
pub mod report;
pub mod repository;
mod request;
pub mod retention;
pub mod source;
pub mod trace;
pub mod translate;
pub mod watch;
pub mod workers;

#[cfg(test)]
pub(crate) mod tests;
