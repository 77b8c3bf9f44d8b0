//! How far a Job is, and the next step: made suspended, given the Lease, let go, and believed only by its own report.
//!
//! A Job's uid is known only once it is there, and the Lease has to name it before anything of it runs. So a Job is made
//! suspended: one without the Lease never has a pod, whoever made it and whenever. The Lease is free again only when the
//! pods of the Job that it names have ended; how old it is says nothing, because a kopia that runs on while nobody renews
//! still writes.

use std::time::Duration;

use jiff::Timestamp;

use super::Task;
use super::report::{Ended, Report};
use crate::domain::kopia::Class;
use crate::domain::words;

/// A Job that cannot begin for so long is given up.
const PATIENCE: Duration = Duration::from_secs(3600);
/// One that was decided so long ago and is not there is not made any more.
const STALE: Duration = Duration::from_secs(600);

/// A run as the status has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Going {
    /// What it does.
    pub task: Task,
    /// Its Job's uid, once it was there.
    pub uid: Option<Box<str>>,
    /// When it was decided.
    pub since: Timestamp,
}

/// Pods of a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pods {
    /// They cannot be listed.
    Unknown(String),
    /// None has ended badly or well, or none is there.
    None,
    /// So many have not ended.
    Active(usize),
    /// All have ended; the newest of them.
    Ended(Last),
}

/// How the container of a pod ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// Its termination message.
    pub message: Option<String>,
    /// Its exit code.
    pub code: Option<i32>,
    /// The kubelet's word for it, such as `OOMKilled` or `Evicted`.
    pub reason: Option<String>,
}

/// A Job as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its uid.
    pub uid: Box<str>,
    /// Nothing of it runs.
    pub suspended: bool,
    /// It is over; the reason of its failure, if it failed.
    pub over: Option<Option<String>>,
}

/// What was seen of a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighted {
    /// It cannot be read.
    Unknown(String),
    /// It is not there.
    Absent,
    /// It is.
    There(Job),
}

/// The Lease of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lease {
    /// It cannot be read, or not who holds it.
    Unknown(String),
    /// Nobody holds it.
    Free,
    /// It names our Job.
    Ours,
    /// It names another Job, which has not ended.
    Held(String),
}

/// Whether the Lease that names a Job is free: that Job cannot begin any more, and nothing of it runs.
///
/// # Errors
/// Why it is not.
pub fn is_free(job: &Sighted, pods: &Pods) -> Result<(), String> {
    match job {
        Sighted::Unknown(why) => return Err(format!("its Job cannot be read: {why}")),
        Sighted::There(job) if job.over.is_none() => return Err("its Job is not over".to_owned()),
        Sighted::There(_) | Sighted::Absent => {}
    }
    match pods {
        Pods::Unknown(why) => Err(format!("its pods cannot be listed: {why}")),
        Pods::Active(count) => Err(format!("{} of its Job has not ended", words::count(*count, "pod"))),
        Pods::None | Pods::Ended(_) => Ok(()),
    }
}

/// A Job, by its uid, of which a step was decided: only [`next`] makes one, and nothing is written to a Job without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleared(Box<str>);

impl Cleared {
    /// The Job's uid.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.0
    }
}

/// The next step of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the Job, suspended.
    Create,
    /// Take the Lease for it.
    Take(Cleared),
    /// Let it go.
    Start(Cleared),
    /// Take the Job away, which has never run, and close the run with these words.
    GiveUp(Cleared, String),
    /// Wait; what for, if it is not simply running.
    Wait(Option<String>),
    /// The run is over.
    Close(Box<Conclusion>),
}

/// What a run is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// How it ended.
    pub ended: Ended,
    /// The failure's class, if this version knows it.
    pub class: Option<Class>,
    /// The same in words.
    pub said: String,
    /// The Job's own report.
    pub report: Option<Report>,
}

impl Conclusion {
    /// It did not run, or it cannot be told whether it did.
    #[must_use]
    pub fn without_report(ended: Ended, class: Option<Class>, said: impl Into<String>) -> Self {
        Self { ended, class, said: said.into(), report: None }
    }
}

/// The next step. `halt` is why a Job that has not begun is not to begin any more.
#[must_use]
pub fn next(going: &Going, job: &Sighted, pods: &Pods, lease: &Lease, halt: Option<&str>, now: Timestamp) -> Step {
    let late = words::age(now, going.since);
    let closed = |ended, said: &str| Step::Close(Box::new(Conclusion::without_report(ended, None, said)));
    let job = match job {
        Sighted::Unknown(why) => return Step::Wait(Some(format!("its Job cannot be read: {why}"))),
        Sighted::Absent => {
            return match (&going.uid, pods) {
                (None, _) if halt.is_some() => closed(Ended::NotRun, halt.unwrap_or_default()),
                (None, _) if late > STALE => {
                    closed(Ended::NotRun, "its Job was never made: whoever decided on it ended")
                }
                (None, _) => Step::Create,
                (Some(_), Pods::None | Pods::Ended(_)) => {
                    closed(Ended::Unclear, "its Job was taken away before its result was read")
                }
                (Some(_), pods) => Step::Wait(is_free(&Sighted::Absent, pods).err()),
            };
        }
        Sighted::There(job) => job,
    };
    if going.uid.as_ref().is_some_and(|uid| *uid != job.uid) {
        return closed(Ended::Unclear, "another Job has its name");
    }
    if let Some(failed) = &job.over {
        return match pods {
            Pods::Unknown(_) | Pods::Active(_) => Step::Wait(is_free(&Sighted::There(job.clone()), pods).err()),
            Pods::None => Step::Close(Box::new(concluded(going.task, failed.as_deref(), &Last::default()))),
            Pods::Ended(last) => Step::Close(Box::new(concluded(going.task, failed.as_deref(), last))),
        };
    }
    if !job.suspended {
        return Step::Wait(None);
    }
    if let Pods::Active(_) | Pods::Unknown(_) = pods {
        return Step::Wait(Some("somebody has suspended it, and its pod has not ended".to_owned()));
    }
    let cleared = Cleared(job.uid.clone());
    if let Some(why) = halt {
        return Step::GiveUp(cleared, why.to_owned());
    }
    match lease {
        _ if !going.task.writes() => Step::Start(cleared),
        Lease::Ours => Step::Start(cleared),
        Lease::Free => Step::Take(cleared),
        Lease::Held(by) if late > PATIENCE => {
            Step::GiveUp(cleared, format!("the Lease was held for {}: {by}", words::short(late)))
        }
        Lease::Held(by) => Step::Wait(Some(format!("the Lease is held: {by}"))),
        Lease::Unknown(why) => Step::Wait(Some(format!("the Lease cannot be read: {why}"))),
    }
}

/// What a Job's end is worth: its report says it, and a Job that left none is not believed.
#[must_use]
pub fn concluded(task: Task, failed: Option<&str>, last: &Last) -> Conclusion {
    let report = last.message.as_deref().and_then(|line| Report::parse(line, task));
    if let Some(report) = report {
        if report.result == Ended::Happened && last.code.unwrap_or_default() != 0 {
            let code = last.code.unwrap_or_default();
            let said = format!("its report says that it happened, and its container ended with exit code {code}");
            return Conclusion::without_report(Ended::Unclear, None, said);
        }
        let (ended, class, said) = (report.result, report.class(), report.said.clone());
        return Conclusion { ended, class, said, report: Some(report) };
    }
    let reason = last.reason.as_deref().or(failed).unwrap_or("no reason is given");
    match (failed, last.code) {
        (_, Some(137)) if last.reason.as_deref() != Some("Completed") => {
            let said = "the system ended the container with SIGKILL (exit code 137), nearly always for want of memory";
            Conclusion::without_report(Ended::Failed, Some(Class::Killed), said)
        }
        (Some("DeadlineExceeded"), _) => {
            let said = "it was ended because it took longer than its deadline; give it longer in spec.deadlines";
            Conclusion::without_report(Ended::Unclear, None, said)
        }
        (_, code) => {
            let code = code.map(|code| format!(" and ended with exit code {code}")).unwrap_or_default();
            let said = format!("its Job left no result{code} ({reason}); see the log of its pod");
            Conclusion::without_report(Ended::Unclear, None, said)
        }
    }
}
