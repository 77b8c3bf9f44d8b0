//! The embedded snapshot components behave as the real ones were seen to.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test")]

mod claims;
mod deletions;
mod lab;
mod leaders;
mod recordings;
