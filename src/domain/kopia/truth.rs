//! What a run of kopia truly did. It counts as done only when three witnesses agree: the exit code, the line
//! `Running ... maintenance`, and newer entries in kopia's own record, all successful.
//!
//! Each of them alone has been seen to lie: exit code 0 when the lock was held, `Finished` beneath a failure, and a
//! record whose next date moved on although nothing was done.

use super::Identity;
use super::failure::{Class, Failure, plain};
use super::maintenance::{Done, Maintenance, Run};

/// How a child process ended, and what it said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why we ended it, if we did.
    pub cut: Option<String>,
    /// Its answer.
    pub stdout: String,
    /// What it said beside the answer.
    pub stderr: String,
}

/// Which cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// The small one.
    Quick,
    /// The large one.
    Full,
}

impl Round {
    /// Kopia's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
        }
    }
}

/// What came of a maintenance run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It ran, and these tasks succeeded.
    Happened(Vec<Done>),
    /// It ran, and failed.
    Failed(Failure),
    /// It did not run.
    NotRun(Failure),
    /// It cannot be told.
    Unclear(String),
}

impl Ended {
    /// The failure, if it is one.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        match (self.code, self.signal) {
            (Some(0), _) => None,
            (Some(137), _) | (None, Some(9)) => {
                Some(Failure::new(Class::Killed, "the system ended kopia with SIGKILL (exit code 137)"))
            }
            (None, Some(signal)) => Some(Failure::new(Class::Killed, format!("signal {signal} ended kopia"))),
            _ => Some(Failure::told(&self.stderr)),
        }
    }
}

/// Whether maintenance is ours to run. Kopia asks the same; asked first, a refusal leaves no trace in the repository.
///
/// # Errors
/// With the owner, and how ownership is set once.
pub fn may_maintain(identity: &Identity, maintenance: &Maintenance) -> Result<(), Failure> {
    let said = match maintenance.owner.as_deref() {
        Some(owner) if identity.is(owner) => return Ok(()),
        Some(owner) => format!("the owner of maintenance is {owner}, and we are {identity}"),
        None => format!("maintenance has no owner, and we are {identity}"),
    };
    let mut failure = Failure::new(Class::NotOwner, said);
    failure.remedy = format!("{}: kopia maintenance set --owner={identity}", failure.remedy);
    Err(failure)
}

/// Compares the three witnesses. `after` is the record as it is now, or why it could not be read.
#[must_use]
pub fn judge(round: Round, ended: &Ended, before: &Maintenance, after: Result<&Maintenance, &str>) -> Verdict {
    if let Some(cut) = &ended.cut {
        return Verdict::Unclear(cut.clone());
    }
    if let Some(failure) = ended.failure() {
        let never_began = matches!(failure.class, Class::NotOwner | Class::ReadOnlyConnection);
        return if never_began { Verdict::NotRun(failure) } else { Verdict::Failed(failure) };
    }
    let running = format!("Running {} maintenance", round.as_str());
    // Unbroken, too: words that are only there once control characters are taken out are not kopia's.
    if !ended.stderr.lines().any(|line| line.contains(&running) && plain(line).starts_with(&running)) {
        return Verdict::NotRun(Failure::new(
            Class::LockHeld,
            "kopia ended with exit code 0 and did nothing, as it does when another maintenance holds the lock",
        ));
    }
    let after = match after {
        Ok(after) => after,
        Err(why) => return Verdict::Unclear(format!("kopia ended well, but its record cannot be read: {why}")),
    };
    let new: Vec<(&str, &Run)> = after.since(before).collect();
    if let Some((task, run)) = new.iter().find(|(_, run)| !run.success) {
        let why = run.error.as_deref().unwrap_or("kopia gives no reason");
        let told = Failure::told(why);
        return Verdict::Failed(Failure::new(told.class, format!("{task} failed: {}", told.said)));
    }
    // Every full run collects garbage first; what follows depends on what there is to do.
    let proof = match round {
        Round::Quick => !new.is_empty(),
        Round::Full => new.iter().any(|(task, _)| *task == "snapshot-gc"),
    };
    if !proof {
        let said = format!("kopia said that it ran {} maintenance, and its record has no new entry", round.as_str());
        return Verdict::Failed(Failure::new(Class::NoTrace, said));
    }
    Verdict::Happened(new.iter().map(|(task, run)| Done { task: (*task).to_owned(), freed: run.freed }).collect())
}
