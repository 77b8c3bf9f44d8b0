//! The real watching edge over a scripted API server: what it asks, what it concludes, and when.
//!
//! Time is tokio's paused clock, so ten quiet minutes take no time. Every request is recorded, and all
//! have to be GETs.

mod wire {
    mod client;
    mod lists;
    mod probes;
    mod server;
    mod watches;
}
