//! Entries of the two ledgers that are there and cannot be read: of another version, or edited by hand.
//!
//! Of any other object the last readable state is kept, and said to be outgrown. Of a ledger it is not enough: budgets, the breaker and what was
//! left behind are counted from its entries, and one that is passed over would be work nobody remembers. So as long
//! as one is there, nothing is repaired, and it is named.

use crate::domain::collection::Collection;
use crate::domain::fact::Source;
use crate::domain::name::Key;

/// The unreadable entries.
#[derive(Debug, Default)]
pub struct Unread {
    remediations: Collection<()>,
    orphans: Collection<()>,
}

impl Unread {
    fn of(&mut self, source: Source) -> Option<&mut Collection<()>> {
        match source {
            Source::Remediations => Some(&mut self.remediations),
            Source::Orphans => Some(&mut self.orphans),
            _ => None,
        }
    }

    /// This object cannot be read; whether that is news.
    pub(super) fn note(&mut self, source: Source, key: &Key) -> bool {
        self.of(source).is_some_and(|set| set.put(key.clone(), ()).is_none())
    }

    /// It can be read, or is gone; whether that is news.
    pub(super) fn forget(&mut self, source: Source, key: &Key) -> bool {
        self.of(source).is_some_and(|set| set.remove(key).is_some())
    }

    pub(super) fn begin_list(&mut self, source: Source) {
        if let Some(set) = self.of(source) {
            set.begin_list();
        }
    }

    pub(super) fn drop_unlisted(&mut self, source: Source) {
        if let Some(set) = self.of(source) {
            for key in set.unlisted() {
                set.remove(&key);
            }
        }
    }

    /// Why nothing may rest on this ledger, in words.
    #[must_use]
    pub fn doubt(&self, source: Source) -> Option<String> {
        let set = match source {
            Source::Remediations => &self.remediations,
            Source::Orphans => &self.orphans,
            _ => return None,
        };
        let (first, ()) = set.iter().next()?;
        let others = match set.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        Some(format!(
            "{source} {first}{others} cannot be read, and what it counts for is not known: run the version that wrote it, or \
             delete it"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::domain::fact::{Change, Fact, Now, SourceChange};
    use crate::domain::policy::{Policy, Spec, Told};
    use crate::domain::world::{Touch, World};

    fn doubt(unread: &Unread) -> String {
        unread.doubt(Source::Remediations).unwrap_or_default()
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_a_doubt_until_it_is_read_or_gone() {
        let mut unread = Unread::default();
        assert!(unread.note(Source::Remediations, &Key::cluster("b")));
        assert!(!unread.note(Source::Remediations, &Key::cluster("b")), "no news");
        assert!(unread.note(Source::Remediations, &Key::cluster("a")));
        assert!(doubt(&unread).starts_with("Remediation a (and 1 more) cannot be read"), "{}", doubt(&unread));
        assert_eq!(unread.doubt(Source::Orphans), None);
        assert!(unread.forget(Source::Remediations, &Key::cluster("a")));
        assert!(!unread.forget(Source::Remediations, &Key::cluster("a")));
        assert!(doubt(&unread).starts_with("Remediation b cannot"));
    }

    #[test]
    fn a_list_drops_what_it_did_not_hold() {
        let mut unread = Unread::default();
        unread.note(Source::Orphans, &Key::cluster("a"));
        unread.note(Source::Orphans, &Key::cluster("b"));
        unread.begin_list(Source::Orphans);
        unread.note(Source::Orphans, &Key::cluster("b"));
        assert!(unread.doubt(Source::Orphans).unwrap().contains("and 1 more"), "a list under way takes nothing back");
        unread.drop_unlisted(Source::Orphans);
        assert!(unread.doubt(Source::Orphans).unwrap().starts_with("OrphanedSnapshot b cannot"));
    }

    #[test]
    fn what_is_held_is_looked_at_again_when_an_entry_can_be_read_or_goes() {
        let now = Now { wall: Timestamp::UNIX_EPOCH, mono: Duration::from_secs(1) };
        let mut world = World::default();
        let odd = || Key::cluster("odd");
        let cannot = || Fact::Source(Source::Remediations, SourceChange::Unreadable(odd()));
        assert_eq!(world.apply(cannot(), now), [Touch::Repairs]);
        assert_eq!(world.apply(cannot(), now), []);
        let gone = world.apply(Fact::gone(Source::Remediations, odd()), now);
        assert_eq!(gone, [Touch::Record("odd".into()), Touch::Repairs]);
        assert_eq!(world.apply(Fact::gone(Source::Remediations, odd()), now), [Touch::Record("odd".into())]);
        world.apply(cannot(), now);
        world.apply(Fact::Source(Source::Remediations, SourceChange::NotInstalled), now);
        assert_eq!(world.unread.doubt(Source::Remediations), None, "the definition went, and the entries with it");
    }

    #[test]
    fn a_policy_whose_status_alone_was_written_is_no_news() {
        let now = Now { wall: Timestamp::UNIX_EPOCH, mono: Duration::from_secs(1) };
        let mut world = World::default();
        let mut apply = |policy: Policy| {
            world
                .apply(Fact::Policy(Change::Applied(Key::cluster("p"), Box::new(policy))), now)
                .contains(&Touch::Repairs)
        };
        let policy = Policy::new("p", Spec::default());
        assert!(apply(policy.clone()));
        assert!(!apply(policy.clone().as_told(Told { version: "8".into(), ..Told::default() })));
        assert!(apply(Policy::new("p", Spec { suspended: true, ..Spec::default() })));
        assert_eq!(world.policies.get(&Key::cluster("p")).unwrap().told(), &Told::default());
    }

    #[test]
    fn other_peoples_objects_are_no_ledger() {
        let mut unread = Unread::default();
        assert!(!unread.note(Source::Contents, &Key::cluster("a")));
        assert_eq!(unread.doubt(Source::Contents), None);
    }
}
