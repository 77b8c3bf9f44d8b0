//! Edges: translate and bound time, never decide.

pub mod client;
pub mod http;
pub mod ledger;
pub mod look;
pub mod orphan;
pub mod policy;
pub mod probe;
mod request;
pub mod source;
pub mod translate;
pub mod watch;
