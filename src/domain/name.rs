//! Names, uids, keys and second-precise times as the model stores them.
//!
//! The daemon holds a record for every snapshot of a cluster, so these types are small: a uid is 16 bytes
//! and not 36 characters, repeated strings are shared. They exist to keep 100,000 snapshots within the
//! memory budget without giving up readable names in evidence.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use jiff::Timestamp;

/// A Kubernetes uid. The API server makes UUIDs; anything else is kept as text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Uid {
    /// The 16 bytes of a UUID in canonical lower-case form.
    Uuid([u8; 16]),
    /// Any other identifier, as it came.
    Text(Box<str>),
}

impl Uid {
    /// Reads a uid; never fails, because text that is no canonical UUID is kept as it is.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        parse_uuid(text).map_or_else(|| Self::Text(text.into()), Self::Uuid)
    }
}

/// Only the canonical form (lower case, 8-4-4-4-12) may be packed, so that printing gives back the same text.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut bytes = [0_u8; 16];
    let mut nibble = 0_usize;
    for (at, c) in text.bytes().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if c != b'-' {
                return None;
            }
            continue;
        }
        let value = match c {
            b'0'..=b'9' => c - b'0',
            b'a'..=b'f' => c - b'a' + 10,
            _ => return None,
        };
        let slot = bytes.get_mut(nibble / 2)?;
        *slot = (*slot << 4) | value;
        nibble += 1;
    }
    Some(bytes)
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Uuid(bytes) => {
                for (at, byte) in bytes.iter().enumerate() {
                    if matches!(at, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid({self})")
    }
}

/// Namespace and name of an object; the namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace, or empty.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Box<str>,
}

impl Key {
    /// Key of a namespaced object.
    #[must_use]
    pub fn namespaced(namespace: impl Into<Arc<str>>, name: impl Into<Box<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Key of a cluster-scoped object.
    #[must_use]
    pub fn cluster(name: impl Into<Box<str>>) -> Self {
        Self { namespace: Arc::from(""), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// A shared list of strings: finalizers, arguments. Equal lists made by one [`Interner`] share their memory.
pub type Names = Arc<[Arc<str>]>;

/// Shares equal strings and equal lists, so that 100,000 records with the same namespace, class and
/// finalizers hold one copy of each.
#[derive(Debug, Default)]
pub struct Interner {
    strings: BTreeSet<Arc<str>>,
    lists: BTreeSet<Names>,
}

impl Interner {
    /// The shared copy of `text`.
    pub fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.strings.get(text) {
            return Arc::clone(known);
        }
        let fresh: Arc<str> = Arc::from(text);
        self.strings.insert(Arc::clone(&fresh));
        fresh
    }

    /// The shared copy of a list.
    pub fn list<S: AsRef<str>>(&mut self, items: &[S]) -> Names {
        let list: Vec<Arc<str>> = items.iter().map(|item| self.text(item.as_ref())).collect();
        if let Some(known) = self.lists.get(list.as_slice()) {
            return Arc::clone(known);
        }
        let fresh: Names = list.into();
        self.lists.insert(Arc::clone(&fresh));
        fresh
    }

    /// Forgets strings and lists that nobody else holds; called after a relist.
    pub fn shrink(&mut self) {
        self.lists.retain(|list| Arc::strong_count(list) > 1);
        self.strings.retain(|text| Arc::strong_count(text) > 1);
    }
}

/// A second-precise time, as Kubernetes metadata has it: seconds since 1970, from 1970 to 2106.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(NonZeroU32);

impl Stamp {
    /// Cuts a timestamp to seconds; `None` outside 1970..2106.
    #[must_use]
    pub fn from_timestamp(at: Timestamp) -> Option<Self> {
        Self::from_second(at.as_second())
    }

    /// From seconds since 1970; `None` outside 1970..2106.
    #[must_use]
    pub fn from_second(second: i64) -> Option<Self> {
        u32::try_from(second).ok().and_then(NonZeroU32::new).map(Self)
    }

    /// The same instant as a timestamp.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_second(i64::from(self.0.get())).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl From<Stamp> for Timestamp {
    fn from(stamp: Stamp) -> Self {
        stamp.timestamp()
    }
}

/// A fixed hash (FNV-1a, 64 bit): lets the model compare snapshot handles without storing them.
#[must_use]
pub fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_prints_as_it_was_read() {
        for text in ["5286d2fc-b692-4bc7-90b0-d76f2e38d0f7", "5286D2FC-B692-4BC7-90B0-D76F2E38D0F7", "", "vm-1"] {
            assert_eq!(Uid::parse(text).to_string(), text);
        }
        assert!(matches!(Uid::parse("5286d2fc-b692-4bc7-90b0-d76f2e38d0f7"), Uid::Uuid(_)));
        assert_ne!(
            Uid::parse("5286D2FC-B692-4BC7-90B0-D76F2E38D0F7"),
            Uid::parse("5286d2fc-b692-4bc7-90b0-d76f2e38d0f7")
        );
    }

    #[test]
    fn equal_lists_share_memory_until_nobody_holds_them() {
        let mut interner = Interner::default();
        let one = interner.list(&["a", "b"]);
        let two = interner.list(&["a".to_owned(), "b".to_owned()]);
        assert!(Arc::ptr_eq(&one, &two));
        drop((one, two));
        interner.shrink();
        assert!(interner.strings.is_empty() && interner.lists.is_empty());
    }

    #[test]
    fn a_stamp_keeps_seconds_and_refuses_what_it_cannot_hold() {
        let at: Timestamp = "2026-11-22T19:44:21.5Z".parse().unwrap();
        assert_eq!(Stamp::from_timestamp(at).unwrap().timestamp().to_string(), "2026-11-22T19:44:21Z");
        assert_eq!(Stamp::from_second(-1), None);
        assert_eq!(Stamp::from_second(1 << 33), None);
    }
}
