//! The embedded snapshot components behave as the real ones were seen to.

mod claims;
mod deletions;
mod lab;
mod leaders;
mod recordings;
