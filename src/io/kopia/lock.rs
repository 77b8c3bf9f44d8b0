//! Kopia's lock beside the configuration, held while we let kopia maintain: one maintenance at a time by whoever uses that
//! configuration, kopia itself included.
//!
//! Kopia locks the configuration that it is given, which is our private copy: without this, two runs at once would both
//! go through, and that can damage a repository.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::Stdio;

use super::Trouble;
use crate::domain::kopia::{Lock, holders};

/// The lock, held until it is dropped and every child that has it in hand is gone.
#[derive(Debug)]
pub struct Held {
    file: File,
    path: String,
}

/// What came of taking it.
#[derive(Debug)]
pub enum Taken {
    /// It is ours.
    Ours(Held),
    /// Others hold it; whoever of them can be seen.
    Busy(Vec<Lock>),
}

impl Held {
    /// For a child's standard input: an open file keeps the lock, also when we are killed and the child goes on.
    pub(super) fn hand_over(&self) -> Result<Stdio, Trouble> {
        let copy = self.file.try_clone();
        copy.map(Stdio::from).map_err(|source| Trouble::Lock { path: self.path.clone(), source })
    }
}

/// Takes the lock if it is free.
///
/// # Errors
/// When the file cannot be made or locked.
pub fn take(path: &Path) -> Result<Taken, Trouble> {
    let trouble = |source| Trouble::Lock { path: path.display().to_string(), source };
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(trouble)?;
    match file.try_lock() {
        Ok(()) => Ok(Taken::Ours(Held { file, path: path.display().to_string() })),
        Err(TryLockError::WouldBlock) => Ok(Taken::Busy(look(path))),
        Err(TryLockError::Error(source)) => Err(trouble(source)),
    }
}

/// Who holds it. It is only looked at: taking it for a moment would make a kopia that comes just then do nothing.
#[must_use]
pub fn look(path: &Path) -> Vec<Lock> {
    let (Ok(file), Ok(locks)) = (fs::metadata(path), fs::read_to_string("/proc/locks")) else { return Vec::new() };
    let (major, minor) = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
    let program = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned());
    holders(&locks, major, minor, file.ino()).into_iter().map(|pid| Lock { pid, program: program(pid) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_and_the_other_is_told_who() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.mlock");
        assert_eq!(look(&path), []);
        let Taken::Ours(held) = take(&path).unwrap() else { panic!("it is free") };
        let Taken::Busy(holders) = take(&path).unwrap() else { panic!("it is held") };
        assert_eq!(holders.iter().map(|lock| lock.pid).collect::<Vec<_>>(), [std::process::id()]);
        // A child that has it in hand keeps it.
        let stdin = held.hand_over().unwrap();
        let mut child = std::process::Command::new("sleep").arg("30").stdin(stdin).spawn().unwrap();
        drop(held);
        assert!(matches!(take(&path).unwrap(), Taken::Busy(_)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(take(&path).unwrap(), Taken::Ours(_)));
        assert_eq!(look(&path), []);
    }
}
