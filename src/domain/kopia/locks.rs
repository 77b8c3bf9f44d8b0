//! Who holds kopia's one lock on this machine: `<configuration>.mlock`, held while maintenance runs.
//!
//! People look for a command that unlocks a repository. There is none, because there is nothing to unlock: the lock
//! is one of the operating system's and goes with the process that holds it; the file that stays behind means nothing.

use std::fmt;

use serde::Serialize;

/// A process that holds the lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// Its number; 0 is a process in another container, which is not shown its number here.
    pub pid: u32,
    /// Its program, where that may be read.
    pub program: Option<String>,
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.program, self.pid) {
            (_, 0) => f.write_str("a process of another container"),
            (Some(program), pid) => write!(f, "process {pid} ({program})"),
            (None, pid) => write!(f, "process {pid}"),
        }
    }
}

/// The processes that hold an exclusive lock on a file, in the text of `/proc/locks`. Waiting ones (`->`) hold nothing.
/// The device is compared unless no line names it: some file systems show another number there than the file has.
#[must_use]
pub fn holders(text: &str, major: u32, minor: u32, inode: u64) -> Vec<u32> {
    let lines: Vec<(u32, bool)> = text
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, "FLOCK", _, "WRITE", pid, place, ..] = words.as_slice() else { return None };
            let mut parts = place.split(':');
            let at_major = u32::from_str_radix(parts.next()?, 16).ok()?;
            let at_minor = u32::from_str_radix(parts.next()?, 16).ok()?;
            let same = parts.next()?.parse::<u64>().ok()? == inode;
            // A process of another container has a number below 1 here.
            let pid = pid.parse::<i64>().ok().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
            same.then_some((pid, (at_major, at_minor) == (major, minor)))
        })
        .collect();
    let exact = lines.iter().any(|(_, exact)| *exact);
    lines.into_iter().filter(|(_, same)| *same || !exact).map(|(pid, _)| pid).collect()
}
