//! The embedded cluster: a Kubernetes API with the controllers around it, on virtual time.
//!
//! ```text
//! http ──> store <── cluster ──> actors          store knows nobody; actors meet only in the store
//!                      └──< daemon <── swarm      the daemon reads and never writes; the swarm breaks things
//! ```
//!
//! Everything but `http` is pure and deterministic: no clock, no thread, no map with a random order, and one
//! seeded generator. The same seed gives the same run, byte for byte, which is what makes a failure found in a
//! million runs one that can be looked at.

// The API, and its face on loopback.
pub mod http;
pub mod store;

// Time, processes, and the programs of a cluster.
pub mod actors;
mod agenda;
pub mod cluster;
pub mod election;
pub mod process;
pub mod recorder;
pub mod refuse;
pub mod task;
pub mod throttle;
pub mod work_queue;

// Its incidents as stories, for people.
pub mod demo;
pub mod incidents;

// The real engine against it.
pub mod daemon;
pub mod swarm;
