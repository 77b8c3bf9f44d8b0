//! The clock as the edges see it.
//!
//! A lease and an action's deadline are measured on the same monotonic clock as the engine's decisions, which a
//! demo may run faster than the machine's. Whoever starts the edges hands it in: an edge with a clock of its own
//! would send a write that the engine believes to be too late for.

use std::future::Future;
use std::time::Duration;

use crate::domain::fact::Now;

/// A source of the present.
pub trait Clock: Clone + Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Now;

    /// Waits until the monotonic clock stands there.
    fn sleep_until(&self, mono: Duration) -> impl Future<Output = ()> + Send;
}
