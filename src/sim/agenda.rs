//! What is going to happen, in order: by time, and at the same time by who asked first.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

/// Things that wait for their time.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    entries: BinaryHeap<Reverse<Entry<T>>>,
    asked: u64,
}

/// One of them; no two have the same place in the order.
#[derive(Debug)]
struct Entry<T> {
    place: (Duration, u64),
    thing: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place.cmp(&other.place)
    }
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { entries: BinaryHeap::new(), asked: 0 }
    }
}

impl<T> Agenda<T> {
    /// Plans something.
    pub(super) fn add(&mut self, at: Duration, thing: T) {
        self.asked += 1;
        self.entries.push(Reverse(Entry { place: (at, self.asked), thing }));
    }

    /// When the next thing happens.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.entries.peek().map(|Reverse(next)| next.place.0)
    }

    /// The next thing.
    pub(super) fn pop(&mut self) -> Option<(Duration, T)> {
        self.entries.pop().map(|Reverse(next)| (next.place.0, next.thing))
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
