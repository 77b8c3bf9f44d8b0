//! Edges: translate and bound time, never decide.

pub mod http;
