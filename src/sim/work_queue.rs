//! client-go's rate-limited work queue.
//!
//! Its three rules make most of the timing that people see: a key waits in the queue once however often it is
//! added; a key that changes while it is worked on is worked on again; and each failure doubles the wait of
//! that key, until somebody adds it directly.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How long a key waits after its n-th failure.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// After the first.
    pub start: Duration,
    /// At most.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { start: Duration::from_secs(1), max: Duration::from_secs(300) }
    }
}

/// Keys to work on.
#[derive(Debug)]
pub struct WorkQueue<K> {
    backoff: Backoff,
    ready: VecDeque<K>,
    dirty: BTreeSet<K>,
    processing: BTreeSet<K>,
    failures: BTreeMap<K, u32>,
}

impl<K: Ord + Clone> WorkQueue<K> {
    /// An empty queue.
    #[must_use]
    pub fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            ready: VecDeque::new(),
            dirty: BTreeSet::new(),
            processing: BTreeSet::new(),
            failures: BTreeMap::new(),
        }
    }

    /// Work on this key now, or once more when the present work on it is done.
    pub fn add(&mut self, key: K) {
        if self.dirty.insert(key.clone()) && !self.processing.contains(&key) {
            self.ready.push_back(key);
        }
    }

    /// The next key for a free worker, who must say [`WorkQueue::done`] in the end.
    pub fn get(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.dirty.remove(&key);
        self.processing.insert(key.clone());
        Some(key)
    }

    /// The worker is done with the key.
    pub fn done(&mut self, key: &K) {
        self.processing.remove(key);
        if self.dirty.contains(key) {
            self.ready.push_back(key.clone());
        }
    }

    /// A failure: the time after which the caller must add the key again.
    pub fn failed(&mut self, key: K) -> Duration {
        let failures = self.failures.entry(key).or_default();
        let factor = 2_u32.saturating_pow(*failures);
        *failures = failures.saturating_add(1);
        self.backoff.start.saturating_mul(factor).min(self.backoff.max)
    }

    /// A success: the next failure is the first.
    pub fn forget(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// Somebody could be working.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many keys are being worked on.
    #[must_use]
    pub fn working(&self) -> usize {
        self.processing.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> WorkQueue<&'static str> {
        WorkQueue::new(Backoff { start: Duration::from_secs(1), max: Duration::from_secs(10) })
    }

    #[test]
    fn a_key_waits_once_and_never_has_two_workers() {
        let mut queue = queue();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!((queue.get(), queue.get(), queue.get()), (Some("a"), Some("b"), None));
        queue.add("a");
        assert!(!queue.is_waiting(), "its worker is still at it");
        queue.done(&"a");
        assert_eq!(queue.get(), Some("a"));
        queue.done(&"a");
        queue.done(&"b");
        assert_eq!((queue.get(), queue.working()), (None, 0));
    }

    #[test]
    fn each_failure_doubles_the_wait_of_its_key_up_to_the_most() {
        let mut queue = queue();
        let waits: Vec<u64> = (0..6).map(|_| queue.failed("a").as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(queue.failed("b").as_secs(), 1);
        queue.forget(&"a");
        assert_eq!(queue.failed("a").as_secs(), 1);
    }
}
