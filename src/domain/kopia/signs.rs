//! What a folder shows of the repository in it to somebody without its password: little, but on the night on which the
//! Secret is lost, or on the file server itself, that is what there is.
//!
//! Kopia writes the time of its next maintenance before it does any of it: a young `kopia.maintenance` is a maintenance
//! that began. And no blob of kopia's is empty: one that is was torn when a machine or a mount went down.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{Class, Failure};
use crate::domain::words;

/// So many empty blobs are named of each kind.
const NAMED: usize = 5;

/// One blob, as its file shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its name, without what the folder adds.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// When its file was written, where the file system tells.
    pub modified: Option<Timestamp>,
}

/// All that can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Signs {
    /// How many blobs there are.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the newest of them was written.
    pub newest: Option<Timestamp>,
    /// When a maintenance began last; none: there is no record of any.
    pub maintenance: Option<Timestamp>,
    /// The blob that makes it a repository is there.
    pub is_repository: bool,
    /// How many blobs are empty.
    pub empty: u64,
    #[serde(skip)]
    torn: BTreeMap<Kind, Vec<String>>,
}

impl Signs {
    /// Takes one blob in.
    pub fn take(&mut self, blob: Blob) {
        let Blob { name, size, modified } = blob;
        self.blobs = self.blobs.saturating_add(1);
        self.bytes = self.bytes.saturating_add(size);
        self.newest = self.newest.max(modified);
        match name.as_str() {
            "kopia.repository" => self.is_repository = true,
            "kopia.maintenance" => self.maintenance = modified,
            _ => {}
        }
        if size == 0 {
            self.empty = self.empty.saturating_add(1);
            self.torn.entry(Kind::of(&name)).or_default().push(name);
        }
    }

    /// What is wrong, as far as that can be told.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        let missing = (!self.is_repository).then(|| {
            let said = format!("there is no kopia.repository among {}", self.counted());
            Failure::new(Class::NotInitialised, said)
        });
        let torn = self.torn.iter().map(|(kind, names)| {
            let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
            names.sort_unstable();
            let more = names.len().saturating_sub(NAMED);
            let count = names.len();
            names.truncate(NAMED);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let what = words::count(count, kind.noun());
            let verb = if count == 1 { "is" } else { "are" };
            Failure::new(kind.class(), format!("{what} {verb} empty: {}{more}", names.join(", ")))
        });
        missing.into_iter().chain(torn).collect()
    }

    fn counted(&self) -> String {
        words::count(usize::try_from(self.blobs).unwrap_or(usize::MAX), "blob")
    }
}

/// What a blob is for, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Format,
    Maintenance,
    Index,
    Session,
    Log,
    Data,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            "kopia.maintenance" => Self::Maintenance,
            _ if name.starts_with("kopia.") => Self::Format,
            _ if name.starts_with(['x', 'n']) => Self::Index,
            _ if name.starts_with('s') => Self::Session,
            _ if name.starts_with("_log") => Self::Log,
            _ => Self::Data,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Format => "blob of the format",
            Self::Maintenance => "record of maintenance",
            Self::Index => "index blob",
            Self::Session => "session blob",
            Self::Log => "log blob",
            Self::Data => "pack",
        }
    }

    fn class(self) -> Class {
        match self {
            Self::Maintenance => Class::ScheduleDamaged,
            Self::Index => Class::IndexDamaged,
            Self::Session => Class::SessionDamaged,
            Self::Format | Self::Log | Self::Data => Class::DataDamaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(name: &str, size: u64, at: i64) -> Blob {
        Blob { name: name.to_owned(), size, modified: Timestamp::from_second(at).ok() }
    }

    fn signs(blobs: &[Blob]) -> Signs {
        let mut signs = Signs::default();
        blobs.iter().cloned().for_each(|blob| signs.take(blob));
        signs
    }

    #[test]
    fn a_sound_repository_shows_when_maintenance_began_and_nothing_wrong() {
        let seen = signs(&[
            blob("kopia.repository", 1067, 10),
            blob("kopia.maintenance", 5000, 40),
            blob("p527", 20, 30),
            blob("xw17", 18, 90),
        ]);
        assert_eq!((seen.blobs, seen.bytes, seen.empty), (4, 6105, 0));
        assert_eq!(seen.maintenance.map(Timestamp::as_second), Some(40));
        assert_eq!(seen.newest.map(Timestamp::as_second), Some(90));
        assert_eq!(seen.failures(), []);
    }

    #[test]
    fn each_kind_of_empty_blob_has_its_class_and_an_empty_folder_is_a_missing_mount() {
        assert_eq!(signs(&[]).failures().iter().map(|one| one.class).collect::<Vec<_>>(), [Class::NotInitialised]);
        let torn = |name: &str| {
            let failures = signs(&[blob("kopia.repository", 1, 1), blob(name, 0, 1)]).failures();
            assert!(failures.iter().all(|one| one.said.ends_with(&format!(" is empty: {name}"))), "{failures:?}");
            failures.iter().map(|one| one.class).collect::<Vec<_>>()
        };
        for (name, class) in [
            ("xn0_1-c1", Class::IndexDamaged),
            ("n1", Class::IndexDamaged),
            ("s12-3", Class::SessionDamaged),
            ("kopia.maintenance", Class::ScheduleDamaged),
            ("p1", Class::DataDamaged),
            ("q1", Class::DataDamaged),
            ("_log_1", Class::DataDamaged),
            ("kopia.blobcfg", Class::DataDamaged),
        ] {
            assert_eq!(torn(name), [class], "{name}");
        }
    }

    #[test]
    fn of_many_only_some_are_named() {
        let many: Vec<Blob> = (0..7).map(|number| blob(&format!("p{number}"), 0, 1)).collect();
        let failures = signs(&[vec![blob("kopia.repository", 1, 1)], many].concat()).failures();
        assert_eq!(failures[0].said, "7 packs are empty: p0, p1, p2, p3, p4 and 2 more");
    }
}
