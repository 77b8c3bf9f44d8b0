//! Retention: kopia's own decisions as the oracle, properties that hold for any series, and the command.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test")]

mod command;
mod oracle;
mod properties;
mod pruning;
