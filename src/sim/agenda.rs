//! What is going to happen, in order: by time, and at the same time by who asked first.

use std::collections::BTreeMap;
use std::time::Duration;

/// Things that wait for their time.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    entries: BTreeMap<(Duration, u64), T>,
    asked: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), asked: 0 }
    }
}

impl<T> Agenda<T> {
    /// Plans something.
    pub(super) fn add(&mut self, at: Duration, thing: T) {
        self.asked += 1;
        self.entries.insert((at, self.asked), thing);
    }

    /// When the next thing happens.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next thing.
    pub(super) fn pop(&mut self) -> Option<(Duration, T)> {
        self.entries.pop_first().map(|((at, _), thing)| (at, thing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_time_keeps_the_order_of_asking() {
        let mut agenda = Agenda::default();
        let second = Duration::from_secs(1);
        for (at, thing) in [(second * 2, "c"), (second, "a"), (second * 2, "d"), (second, "b")] {
            agenda.add(at, thing);
        }
        assert_eq!(agenda.next_at(), Some(second));
        let order: Vec<_> = std::iter::from_fn(|| agenda.pop()).map(|(_, thing)| thing).collect();
        assert_eq!(order, ["a", "b", "c", "d"]);
        assert_eq!(agenda.next_at(), None);
    }
}
