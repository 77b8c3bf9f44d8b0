//! Unit tables of the repairs: the engine with a cluster's hands around it. Each scenario says which writes are
//! made, in which order, and that nothing is written without its intent being stored before (the hands check it
//! at every single action).

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test")]

mod lab;

#[path = "repair/crash.rs"]
mod crash;
#[path = "repair/creation.rs"]
mod creation;
#[path = "repair/deaths.rs"]
mod deaths;
#[path = "repair/guards.rs"]
mod guards;
#[path = "repair/ladders.rs"]
mod ladders;
#[path = "repair/pruning.rs"]
mod pruning;
