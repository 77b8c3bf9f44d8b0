//! The keys that a controller has to look at: soon after something changed, or later each time it failed.
//!
//! A key waits once however often it is added, and for the earliest of its times. This is client-go's queue for
//! controllers whose work takes no time of its own here; those whose requests take time have `workers`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::sim::process::Context;
use crate::sim::work_queue::Backoff;

/// How long it takes until a free worker has a key in its hands.
const PICKED_UP: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(2));

/// Keys that wait.
#[derive(Debug)]
pub(crate) struct Keys<K> {
    backoff: Backoff,
    /// When each key is due, and by which timer.
    due: BTreeMap<K, (Duration, u64)>,
    timers: BTreeMap<u64, K>,
    failures: BTreeMap<K, u32>,
}

impl<K: Ord + Clone> Keys<K> {
    /// No keys yet.
    #[must_use]
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, due: BTreeMap::new(), timers: BTreeMap::new(), failures: BTreeMap::new() }
    }

    /// Look at this key as soon as a worker is free.
    pub(crate) fn add(&mut self, ctx: &mut Context<'_>, key: K) {
        // The earliest time wins: a key that is due within a moment needs no second timer.
        let soon = ctx.now().mono + PICKED_UP.1;
        if self.due.get(&key).is_some_and(|(at, _)| *at <= soon) {
            return;
        }
        let after = ctx.between(PICKED_UP.0, PICKED_UP.1);
        self.add_after(ctx, key, after);
    }

    /// Look at this key after this time, unless it is due earlier anyway.
    pub(crate) fn add_after(&mut self, ctx: &mut Context<'_>, key: K, after: Duration) {
        let at = ctx.now().mono + after;
        if self.due.get(&key).is_some_and(|(due, _)| *due <= at) {
            return;
        }
        let timer = ctx.set_timer(after);
        if let Some((_, later)) = self.due.insert(key.clone(), (at, timer)) {
            self.timers.remove(&later);
        }
        self.timers.insert(timer, key);
    }

    /// The look failed: one more after a longer wait.
    pub(crate) fn failed(&mut self, ctx: &mut Context<'_>, key: K) {
        let failures = self.failures.entry(key.clone()).or_default();
        let after = self.backoff.start.saturating_mul(2_u32.saturating_pow(*failures)).min(self.backoff.max);
        *failures = failures.saturating_add(1);
        self.add_after(ctx, key, after);
    }

    /// The look was good: the next failure is the first.
    pub(crate) fn forget(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// The key whose time has come, if this timer is one of ours.
    pub(crate) fn timer(&mut self, timer: u64) -> Option<K> {
        let key = self.timers.remove(&timer)?;
        self.due.remove(&key);
        Some(key)
    }
}
