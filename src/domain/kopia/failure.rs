//! Why kopia did not do what it was told, and what helps: by the words it says, as a table.
//!
//! Kopia has one exit code for every failure. A password that is wrong must not be tried again each minute, and an
//! empty mount must never be taken for a repository that waits to be made.

use std::fmt;

use serde::Serialize;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Class {
    /// Maintenance belongs to somebody else.
    NotOwner,
    /// Another maintenance runs.
    LockHeld,
    /// The connection may only read.
    ReadOnlyConnection,
    /// The storage lets nothing be written.
    ReadOnlyStorage,
    /// No space is left.
    NoSpace,
    /// Clocks disagree.
    ClockSkew,
    /// An NFS mount has gone stale.
    StaleMount,
    /// The storage is not there.
    Unreachable,
    /// Files may not be read or written by this user.
    PermissionDenied,
    /// Nothing of a repository is there.
    NotInitialised,
    /// Another repository is there.
    RepositoryChanged,
    /// The password is wrong.
    WrongPassword,
    /// The configuration names no repository.
    NotConnected,
    /// The format is being changed.
    UpgradeInProgress,
    /// The record of maintenance is damaged.
    ScheduleDamaged,
    /// A session blob is damaged.
    SessionDamaged,
    /// An index blob is damaged.
    IndexDamaged,
    /// Data is missing or damaged.
    DataDamaged,
    /// There is nothing in it that could be verified.
    NothingToVerify,
    /// A read or write failed again and again.
    StorageErrors,
    /// The system ended kopia.
    Killed,
    /// It said that it ran, and left no record of it.
    NoTrace,
    /// None of these.
    Unknown,
}

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Advice {
    /// It may work by itself later.
    Retry,
    /// Nothing is gained by trying again before something is changed.
    Hold,
    /// Something is damaged or full: a person.
    Human,
}

/// The table: words of kopia's, in lower case, that tell a class; the first row that fits counts. The words of the general
/// failures (`despite N retries`) stand last, because kopia puts them around the special ones.
const WORDS: &[(Class, &[&str])] = &[
    (Class::NotOwner, &["maintenance must be run by designated user"]),
    (Class::ClockSkew, &["clock skew detected"]),
    (Class::ReadOnlyConnection, &["read-only repository connection"]),
    (Class::NoSpace, &["no space left on device", "disk quota exceeded"]),
    (Class::ReadOnlyStorage, &["read-only file system"]),
    (Class::StaleMount, &["stale nfs file handle", "stale file handle"]),
    (Class::PermissionDenied, &["permission denied", "operation not permitted"]),
    (Class::ScheduleDamaged, &["invalid schedule blob", "unable to decrypt schedule blob"]),
    (Class::SessionDamaged, &["error decrypting session", "unable to load active sessions"]),
    (Class::IndexDamaged, &["error loading index blob"]),
    (
        Class::DataDamaged,
        &[
            "backed by missing blob",
            "depends on missing blob",
            "out of bounds of its pack blob",
            "invalid checksum at",
            "unexpected content error",
            "the repository is corrupted",
        ],
    ),
    (Class::WrongPassword, &["invalid repository password"]),
    (Class::NotInitialised, &["repository not initialized", "error getting kopia.repository blob: blob not found"]),
    (Class::UpgradeInProgress, &["repository upgrade in progress"]),
    (Class::NotConnected, &["repository is not connected"]),
    (Class::Unreachable, &["cannot access storage path", "can't connect to storage", "cannot open storage"]),
    (Class::StorageErrors, &[" retries", "input/output error", "i/o timeout", "connection refused"]),
];

impl Class {
    /// All of them, as the table of `docs/kopia.md` has them.
    pub const ALL: [Self; 23] = [
        Self::NotOwner,
        Self::LockHeld,
        Self::ReadOnlyConnection,
        Self::ReadOnlyStorage,
        Self::NoSpace,
        Self::ClockSkew,
        Self::StaleMount,
        Self::Unreachable,
        Self::PermissionDenied,
        Self::NotInitialised,
        Self::RepositoryChanged,
        Self::WrongPassword,
        Self::NotConnected,
        Self::UpgradeInProgress,
        Self::ScheduleDamaged,
        Self::SessionDamaged,
        Self::IndexDamaged,
        Self::DataDamaged,
        Self::NothingToVerify,
        Self::StorageErrors,
        Self::Killed,
        Self::NoTrace,
        Self::Unknown,
    ];

    /// Who has to act.
    #[must_use]
    pub fn advice(self) -> Advice {
        match self {
            Self::LockHeld | Self::StaleMount | Self::UpgradeInProgress | Self::StorageErrors | Self::Killed => {
                Advice::Retry
            }
            Self::NotOwner
            | Self::ReadOnlyConnection
            | Self::ReadOnlyStorage
            | Self::ClockSkew
            | Self::Unreachable
            | Self::PermissionDenied
            | Self::NotInitialised
            | Self::RepositoryChanged
            | Self::WrongPassword
            | Self::NotConnected
            | Self::NothingToVerify => Advice::Hold,
            Self::NoSpace
            | Self::ScheduleDamaged
            | Self::SessionDamaged
            | Self::IndexDamaged
            | Self::DataDamaged
            | Self::NoTrace
            | Self::Unknown => Advice::Human,
        }
    }

    /// The class of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.to_string() == name)
    }

    /// What to do, in one sentence.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NotOwner => {
                "leave it to that owner; if nobody runs maintenance under that name any more, make us the owner once"
            }
            Self::LockHeld => "wait until it ends; there is nothing to unlock",
            Self::ReadOnlyConnection => "connect a configuration that may write",
            Self::ReadOnlyStorage => "mount the storage writable for this machine",
            Self::NoSpace => {
                "free space outside the repository first: maintenance and deleting snapshots both need some to begin"
            }
            Self::ClockSkew => "set the clocks of this machine and of the file server by NTP; kopia bears 5 minutes",
            Self::StaleMount => "mount the share anew, then run it once more",
            Self::Unreachable => "mount the storage, or correct its path in the configuration",
            Self::PermissionDenied => {
                "run it as the user who owns the repository's files; for a KopiaRepository that is spec.podSecurityContext"
            }
            Self::NotInitialised => {
                "look whether the share is mounted: an empty folder here is nearly always a missing mount; do not make a \
                 new repository there, it would split everyone's history"
            }
            Self::RepositoryChanged => {
                "look whether another share is mounted there; if it was replaced on purpose, make a new KopiaRepository"
            }
            Self::WrongPassword => "correct the password; nothing is gained by trying again",
            Self::NotConnected => "name a configuration that kopia wrote when it connected",
            Self::UpgradeInProgress => "wait until the change of format ends; its begin and end are a person's work",
            Self::ScheduleDamaged => {
                "keep a copy of the blob kopia.maintenance, then let a person remove it: kopia makes it anew and only the \
                 history of runs is lost"
            }
            Self::SessionDamaged => {
                "let a person look at the session blob that is named; until then no pack is deleted"
            }
            Self::IndexDamaged => {
                "stop all writers and bring the named blob back from a copy of the storage; kopia cannot open the \
                 repository without it"
            }
            Self::DataDamaged => {
                "stop maintenance and look at the storage; blobs that are lost come back from a copy of the storage only"
            }
            Self::NothingToVerify => "look whether this is the right repository: no snapshot in it has a file",
            Self::StorageErrors => "run it again later; if it lasts, look at the storage and the network",
            Self::Killed => "look for want of memory (exit code 137): many index blobs need much; then run it again",
            Self::NoTrace => "look at kopia's own record: kopia maintenance info",
            Self::Unknown => "read what kopia said, and run the command by hand",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A failure: its class, and what was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What kind.
    pub class: Class,
    /// Kopia's own words, or ours.
    pub said: String,
    /// Who has to act.
    pub advice: Advice,
    /// What to do.
    pub remedy: String,
}

impl Failure {
    /// Of a class, with what was said.
    #[must_use]
    pub fn new(class: Class, said: impl Into<String>) -> Self {
        Self { class, said: said.into(), advice: class.advice(), remedy: class.remedy().to_owned() }
    }

    /// The class of what kopia said on stderr: its last line that tells one, because warnings stand before the error.
    #[must_use]
    pub fn told(stderr: &str) -> Self {
        let lines: Vec<String> = stderr.lines().map(plain).filter(|line| !line.is_empty()).collect();
        for line in lines.iter().rev() {
            let low = line.to_ascii_lowercase();
            let row = WORDS.iter().find(|(_, words)| words.iter().any(|word| low.contains(word)));
            if let Some((class, _)) = row {
                return Self::new(*class, line.as_str());
            }
        }
        let last = lines.iter().rev().find(|line| !line.starts_with("Finished"));
        Self::new(Class::Unknown, last.map_or("nothing", String::as_str))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.advice {
            Advice::Retry => "may be tried again",
            Advice::Hold => "not to be tried again before that",
            Advice::Human => "needs a person",
        };
        write!(f, "{}: {}; {} ({who})", self.class, self.said, self.remedy)
    }
}

/// A line without colours and without the `ERROR` that kopia 0.21 puts before each, terminal or not.
pub(super) fn plain(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // A colour ends with its letter.
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else if !c.is_control() || c == '\t' {
            out.push(c);
        }
    }
    let out = out.trim();
    out.strip_prefix("ERROR").map_or(out, str::trim_start).to_owned()
}
