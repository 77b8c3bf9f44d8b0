//! Retention: kopia's own decisions as the oracle, and properties that hold for any series.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test")]

mod oracle;
mod properties;
