//! A set of records that a watch keeps, with the relist rule in it.
//!
//! A watch stream never mentions objects that vanished while it was cut. Records are therefore marked with
//! the list they were last seen in, and what a completed list did not hold is handed out as an explicit
//! deletion. A list that broke off deletes nothing.

use std::borrow::Borrow;
use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::name::Key;

/// A record and its key in one allocation: the set itself holds pointers only, which is what it costs to have
/// 100,000 of them in order.
#[derive(Debug)]
struct Slot<T> {
    key: Key,
    seen_in: Cell<u32>,
    record: T,
}

/// Ordered and found by its key alone.
#[derive(Debug)]
struct Entry<T>(Box<Slot<T>>);

impl<T> Borrow<Key> for Entry<T> {
    fn borrow(&self) -> &Key {
        &self.0.key
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
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
        self.0.key.cmp(&other.0.key)
    }
}

/// Records of one kind by key, in order.
#[derive(Debug)]
pub struct Collection<T> {
    slots: BTreeSet<Entry<T>>,
    list: u32,
}

impl<T> Default for Collection<T> {
    fn default() -> Self {
        Self { slots: BTreeSet::new(), list: 0 }
    }
}

impl<T> Collection<T> {
    /// The record of this key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&T> {
        self.slots.get(key).map(|entry| &entry.0.record)
    }

    /// All records by key, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &T)> {
        self.slots.iter().map(|entry| (&entry.0.key, &entry.0.record))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Stores a record; gives back what it replaces.
    pub fn put(&mut self, key: Key, record: T) -> Option<T> {
        let fresh = Entry(Box::new(Slot { key, seen_in: Cell::new(self.list), record }));
        self.slots.replace(fresh).map(|old| old.0.record)
    }

    /// Takes a record out.
    pub fn remove(&mut self, key: &Key) -> Option<T> {
        self.slots.take(key).map(|old| old.0.record)
    }

    /// A complete list begins.
    pub fn begin_list(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// The object is there, although it could not be read: the list under way holds it. Whether an older state of it is
    /// known.
    pub fn mark_listed(&mut self, key: &Key) -> bool {
        let entry = self.slots.get(key);
        entry.inspect(|entry| entry.0.seen_in.set(self.list)).is_some()
    }

    /// The list is complete: the keys it did not hold.
    #[must_use]
    pub fn unlisted(&self) -> Vec<Key> {
        let missed = self.slots.iter().filter(|entry| entry.0.seen_in.get() != self.list);
        missed.map(|entry| entry.0.key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_completed_list_tells_what_is_gone() {
        let mut set = Collection::default();
        set.begin_list();
        for name in ["a", "b", "c"] {
            set.put(Key::cluster(name), 1);
        }
        assert!(set.unlisted().is_empty());
        // A list that breaks off after "a", and the one that follows it with "a" and "b".
        set.begin_list();
        set.put(Key::cluster("a"), 2);
        set.begin_list();
        assert_eq!(set.put(Key::cluster("a"), 3), Some(2));
        assert!(set.mark_listed(&Key::cluster("b")) && !set.mark_listed(&Key::cluster("z")));
        assert_eq!(set.unlisted(), [Key::cluster("c")]);
        assert_eq!((set.get(&Key::cluster("a")), set.len()), (Some(&3), 3));
    }
}
