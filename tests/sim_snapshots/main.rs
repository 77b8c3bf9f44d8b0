//! The embedded snapshot components behave as the real ones were seen to.

mod lab;
mod recordings;
