//! The real watching edge over a scripted API server: what it asks, what it concludes, and when.
//!
//! Time is tokio's paused clock, so ten quiet minutes take no time. Every request is recorded, and all
//! have to be GETs.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy allows these in tests by itself, but not in what tests share"
)]
#![allow(clippy::match_bool, reason = "the two kinds of list side by side read as a table")]

mod wire {
    mod client;
    mod lists;
    mod probes;
    mod server;
    mod watches;
}
