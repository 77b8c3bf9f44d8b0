//! When to try again, and how often to complain.
//!
//! Twenty-one sources meet the same outage at the same moment; delays that grow and differ keep them from
//! coming back at the same moment too. All clocks are tokio's, which tests can pause.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

/// First delay.
const MIN: Duration = Duration::from_millis(800);
/// Longest delay before jitter, which at most doubles it to 30 s.
const MAX: Duration = Duration::from_secs(15);
/// Health that makes the next failure a first one again.
const RESET: Duration = Duration::from_secs(120);
/// How often unreadable objects are complained about.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Delays from 0.8 s to 30 s, growing while failures follow each other within two minutes.
#[derive(Debug)]
pub(super) struct Backoff {
    delays: ExponentialBackoff,
    healthy: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { delays: delays(random()), healthy: None }
    }
}

impl Backoff {
    /// Things work; counts from the first time since the last failure.
    pub(super) fn healthy(&mut self) {
        self.healthy.get_or_insert_with(Instant::now);
    }

    /// Something failed: how long to wait.
    pub(super) fn after_failure(&mut self) -> Duration {
        if self.healthy.take().is_some_and(|since| since.elapsed() >= RESET) {
            self.delays = delays(random());
        }
        self.delays.next().unwrap_or(MAX)
    }
}

fn delays(seed: u64) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(MIN)
        .with_max_delay(MAX)
        .with_factor(2.0)
        .without_max_times()
        .with_jitter()
        // Without a seed of our own every process would draw the same numbers.
        .with_jitter_seed(seed)
        .build()
}

/// Rate limit for complaints.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    last: Option<Instant>,
    suppressed: u64,
}

impl Complaints {
    /// Whether to complain now; with how many were swallowed since the last time.
    pub(super) fn due(&mut self) -> Option<u64> {
        if self.last.is_some_and(|at| at.elapsed() < COMPLAIN_EVERY) {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// `base` and up to `spread` more.
pub(super) fn jittered(base: Duration, spread: Duration) -> Duration {
    let millis = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX).max(1);
    base.saturating_add(Duration::from_millis(random() % millis))
}

/// Randomness that decides nothing: the standard library seeds its hash maps from the system's.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn delays_grow_stay_within_bounds_and_start_over_after_two_healthy_minutes() {
        let mut backoff = Backoff::default();
        let mut floor = MIN;
        for _ in 0..20 {
            let delay = backoff.after_failure();
            assert!(delay >= floor && delay < floor * 2, "{delay:?} is not in {floor:?}..{:?}", floor * 2);
            assert!(delay <= Duration::from_secs(30));
            floor = (floor * 2).min(MAX);
        }
        let nearly = Duration::from_secs(119);
        backoff.healthy();
        tokio::time::sleep(nearly).await;
        assert!(backoff.after_failure() >= MAX, "health of less than two minutes changes nothing");
        backoff.healthy();
        tokio::time::sleep(nearly).await;
        backoff.healthy();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(backoff.after_failure() < MIN * 2, "two healthy minutes make it a first failure");
    }

    #[test]
    fn two_processes_do_not_draw_the_same_delays() {
        let draw = || (0..4).map(|_| Backoff::default().after_failure()).collect::<Vec<_>>();
        assert_ne!(draw(), draw());
    }

    #[tokio::test(start_paused = true)]
    async fn complaints_are_rate_limited_and_counted() {
        let mut complaints = Complaints::default();
        assert_eq!(complaints.due(), Some(0));
        assert_eq!((complaints.due(), complaints.due()), (None, None));
        tokio::time::sleep(COMPLAIN_EVERY).await;
        assert_eq!(complaints.due(), Some(2));
    }
}
