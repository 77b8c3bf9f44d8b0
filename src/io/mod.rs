//! Edges: translate and bound time, never decide.

pub mod client;
pub mod http;
pub mod probe;
pub mod watch;
