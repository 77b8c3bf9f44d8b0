//! A set of records that a watch keeps, with the relist rule in it.
//!
//! A watch stream never mentions objects that vanished while it was cut. Records are therefore marked with
//! the list they were last seen in, and what a completed list did not hold is handed out as an explicit
//! deletion. A list that broke off deletes nothing.

use std::collections::BTreeMap;

use super::name::Key;

#[derive(Debug)]
struct Slot<T> {
    seen_in: u32,
    record: T,
}

/// Records of one kind by key. Boxed, so that growing the map moves pointers and not records.
#[derive(Debug)]
pub struct Collection<T> {
    slots: BTreeMap<Key, Box<Slot<T>>>,
    list: u32,
}

impl<T> Default for Collection<T> {
    fn default() -> Self {
        Self { slots: BTreeMap::new(), list: 0 }
    }
}

impl<T> Collection<T> {
    /// The record of this key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&T> {
        self.slots.get(key).map(|slot| &slot.record)
    }

    /// All records by key, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &T)> {
        self.slots.iter().map(|(key, slot)| (key, &slot.record))
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
        let fresh = Box::new(Slot { seen_in: self.list, record });
        self.slots.insert(key, fresh).map(|old| old.record)
    }

    /// Takes a record out.
    pub fn remove(&mut self, key: &Key) -> Option<T> {
        self.slots.remove(key).map(|old| old.record)
    }

    /// A complete list begins.
    pub fn begin_list(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// The object is there, although it could not be read: the list under way holds it.
    pub fn mark_listed(&mut self, key: &Key) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.seen_in = self.list;
        }
    }

    /// The list is complete: the keys it did not hold.
    #[must_use]
    pub fn unlisted(&self) -> Vec<Key> {
        self.slots.iter().filter(|(_, slot)| slot.seen_in != self.list).map(|(key, _)| key.clone()).collect()
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
        set.put(Key::cluster("a"), 2);
        set.put(Key::cluster("b"), 2);
        assert_eq!(set.unlisted(), [Key::cluster("c")]);
    }
}
