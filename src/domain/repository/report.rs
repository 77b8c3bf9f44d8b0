//! What a Job says of its work: one line of JSON in its container's termination message.
//!
//! Kubernetes keeps 4096 bytes of it and cuts off the rest, which would be a result that nobody can read. So a report
//! fits by itself: long words are cut, and of many sources only the latest are named.

mod settings;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Task;
use crate::domain::kopia::expire::{self, Decision, Expiry, Held};
use crate::domain::kopia::{Check, Class, Failure, Maintenance, Repository, Size, Source, Verdict, Verified};
use crate::domain::words;

pub use settings::{Consent, Difference, Settings, again};

/// Kubernetes keeps so many bytes of a termination message.
pub const MOST: usize = 4096;
/// The longest words of a failure, in characters.
const WORDS: usize = 600;
/// So many sources are named.
const SOURCES: usize = 20;
/// So many may ask for one approval: whoever approves has to see all of them.
const ASKING: usize = 64;

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ended {
    /// It truly happened.
    Happened,
    /// It ran, and failed.
    Failed,
    /// It did not run.
    NotRun,
    /// It cannot be told.
    Unclear,
}

/// What a Job says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What it was to do.
    pub task: Task,
    /// How that ended.
    pub result: Ended,
    /// The class of the failure, by name: another version may know more of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
    /// Bytes that the storage got back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freed_bytes: Option<u64>,
    /// What became of its snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<Expired>,
    /// What became of policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
    /// The repository as it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sight: Option<Sight>,
}

/// What became of the snapshots of some sources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Expired {
    /// The policies and sources that it was decided by.
    pub terms: String,
    /// So many were to go.
    pub would: u64,
    /// So many went.
    pub deleted: u64,
    /// Sources of which none goes, and why.
    pub held: Vec<Held>,
    /// The sources that ask for an approval, if any does and all of them can be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

/// Sources of which snapshots go by approval only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Approval {
    /// What it has to be of.
    pub plan: String,
    /// It was given.
    pub given: bool,
    /// These are not shown to be this cluster's.
    pub foreign: Vec<String>,
    /// These have a count of the repository's global policy.
    pub global: Vec<String>,
}

/// A repository as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sight {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Which it is.
    #[serde(rename = "uniqueID", skip_serializing_if = "Option::is_none")]
    pub unique_id: Option<String>,
    /// Who may run maintenance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When anybody's maintenance last ended well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_maintenance: Option<Timestamp>,
    /// How often the owner would run the large cycle, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycle_seconds: Option<u64>,
    /// The version of its format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<u64>,
    /// The epoch that is written now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Index blobs in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_blobs: Option<u64>,
    /// Its blobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blobs: Option<u64>,
    /// Their bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Bytes of the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_capacity: Option<u64>,
    /// Free bytes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_available: Option<u64>,
    /// How many sources there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<u64>,
    /// Complete snapshots of all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<u64>,
    /// Those sources that are latest by their own period, latest first.
    pub stalest: Vec<Stale>,
}

/// One source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stale {
    /// `user@host:path`.
    pub source: String,
    /// When its newest complete snapshot began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Timestamp>,
    /// Complete snapshots.
    pub snapshots: u64,
    /// How far apart its newest snapshots are, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_seconds: Option<u64>,
}

/// Why there is nothing to approve, though something waits for it.
const UNNAMED: &str = "more sources ask for an approval than can be shown: name fewer in spec.expire.sources, or set all six counts \
                       on each, or on its user or host";

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// What asks for an approval, if it can be shown whole.
fn asked(Decision { expiries, approval, approved, .. }: &Decision) -> Option<Approval> {
    let named = |which: fn(&Expiry) -> bool| {
        let some = expiries.iter().filter(|one| which(one)).map(|one| one.source.clone());
        Some(some.collect::<Vec<_>>()).filter(|all| all.len() <= ASKING)
    };
    let plan = approval.as_ref()?.as_str().to_owned();
    Some(Approval { plan, given: *approved, foreign: named(|one| one.foreign)?, global: named(|one| one.global)? })
}

impl Sight {
    /// From what kopia said of itself.
    #[must_use]
    pub fn of(at: Timestamp, repository: &Repository, record: Option<&Maintenance>) -> Self {
        let good = |record: &Maintenance| record.newest().into_iter().filter_map(|task| task.success).max();
        Self {
            at: Some(at),
            unique_id: repository.unique_id.clone(),
            owner: record.and_then(|record| record.owner.clone()),
            last_maintenance: record.and_then(good),
            cycle_seconds: record.and_then(|record| record.full.interval).map(|cycle| cycle.as_secs()),
            format: repository.format,
            volume_capacity: repository.volume_capacity,
            volume_available: repository.volume_available,
            ..Self::default()
        }
    }

    /// With its index.
    #[must_use]
    pub fn indexed(mut self, blobs: Option<usize>, epoch: Option<u64>) -> Self {
        self.index_blobs = blobs.map(number);
        self.epoch = epoch;
        self
    }

    /// With what it takes on its storage.
    #[must_use]
    pub fn stored(mut self, size: Option<Size>) -> Self {
        (self.blobs, self.bytes) = (size.map(|size| size.blobs), size.map(|size| size.bytes));
        self
    }

    /// With its sources.
    #[must_use]
    pub fn sourced(mut self, sources: &[Source]) -> Self {
        self.sources = Some(number(sources.len()));
        self.snapshots = Some(sources.iter().map(|source| number(source.snapshots)).fold(0, u64::saturating_add));
        // One that never had a complete snapshot comes first; one without a period is taken for a daily one.
        let late = |source: &Source| {
            let age = self.at.zip(source.newest).map(|(at, newest)| words::age(at, newest).as_millis());
            age.map(|age| age / u128::from(source.period_seconds.unwrap_or(86_400).max(1)))
        };
        let mut stalest: Vec<&Source> = sources.iter().collect();
        stalest.sort_by_cached_key(|source| {
            let late = late(source);
            (late.is_some(), std::cmp::Reverse(late), source.newest, source.source.clone())
        });
        let stale = |source: &Source| Stale {
            source: cut(&source.source, 200),
            newest: source.newest,
            snapshots: number(source.snapshots),
            period_seconds: source.period_seconds,
        };
        self.stalest = stalest.into_iter().take(SOURCES).map(stale).collect();
        self
    }
}

impl Report {
    /// A task that happened.
    #[must_use]
    pub fn happened(task: Task, said: impl Into<String>) -> Self {
        Self {
            task,
            result: Ended::Happened,
            class: None,
            said: said.into(),
            freed_bytes: None,
            expired: None,
            settings: None,
            sight: None,
        }
    }

    /// One that did not, with its failure.
    #[must_use]
    pub fn failed(task: Task, result: Ended, failure: &Failure) -> Self {
        let said = format!("{}; {}", failure.said, failure.remedy);
        Self { class: Some(failure.class.to_string()), result, ..Self::happened(task, said) }
    }

    /// One of which it cannot be told.
    #[must_use]
    pub fn unclear(task: Task, why: impl Into<String>) -> Self {
        Self { result: Ended::Unclear, ..Self::happened(task, why) }
    }

    /// What maintenance came to.
    #[must_use]
    pub fn maintained(task: Task, verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Happened(done) => {
                let tasks: Vec<&str> = done.iter().map(|done| done.task.as_str()).collect();
                let freed_bytes = done.iter().filter_map(|done| done.freed).reduce(u64::saturating_add);
                Self { freed_bytes, ..Self::happened(task, tasks.join(", ")) }
            }
            Verdict::Failed(failure) => Self::failed(task, Ended::Failed, failure),
            Verdict::NotRun(failure) => Self::failed(task, Ended::NotRun, failure),
            Verdict::Unclear(why) => Self::unclear(task, why),
        }
    }

    /// What a verification came to.
    #[must_use]
    pub fn verified(task: Task, check: &Check) -> Self {
        match check {
            Check::Sound(Verified { objects, files_read, files, .. }) => {
                Self::happened(task, format!("{objects} objects looked for, {files_read} of {files} files read"))
            }
            Check::Failed(failure) => Self::failed(task, Ended::Failed, failure),
            Check::Unclear(why) => Self::unclear(task, why),
        }
    }

    /// What became of snapshots.
    #[must_use]
    pub fn expired(decision: &Decision) -> Self {
        let Decision { expiries, apart, approved, deleted, .. } = decision;
        let going = |asks: bool| -> usize {
            let some = expiries.iter().filter(|one| (one.asks() && !approved) == asks);
            some.map(Expiry::count).sum()
        };
        let (would, waiting) = (going(false), going(true));
        let held: Vec<&Held> = expiries.iter().filter_map(|one| one.going.as_ref().err()).chain(apart).collect();
        let mut said = match deleted {
            Some(deleted) => format!("{deleted} of {would} were deleted"),
            None => format!("{would} would be deleted"),
        };
        if waiting > 0 {
            said = format!("{said}, {waiting} more by approval");
        }
        said = format!("{said}; {} held", words::count(held.len(), "source"));
        let approval = asked(decision);
        if approval.is_none() && decision.approval.is_some() {
            said = format!("{said}; {UNNAMED}");
        }
        let terms = expire::terms(expiries).as_str().to_owned();
        let (would, deleted) = (number(would), number(deleted.unwrap_or_default()));
        let short = |held: &&Held| Held { said: cut(&held.said, 240), ..(*held).clone() };
        let held = held.iter().take(SOURCES).map(short).collect();
        Self { expired: Some(Expired { terms, would, deleted, held, approval }), ..Self::happened(Task::Expire, said) }
    }

    /// The failure's class, if this version knows it.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        self.class.as_deref().and_then(Class::from_name)
    }

    /// The line, never longer than what is kept of it.
    #[must_use]
    pub fn line(&self) -> String {
        let mut report = self.clone();
        report.said = cut(&report.said, WORDS);
        loop {
            let line = serde_json::to_string(&report).unwrap_or_default();
            if line.len() <= MOST {
                return line;
            }
            // What is least missed goes first.
            let source = report.sight.as_mut().and_then(|sight| sight.stalest.pop()).is_some();
            if source || report.sight.take().is_some() {
                continue;
            }
            if report.expired.as_mut().and_then(|expired| expired.held.pop()).is_some() {
                continue;
            }
            if report.settings.as_mut().and_then(|settings| settings.set.pop()).is_some() {
                continue;
            }
            // What cannot be shown whole cannot be approved.
            if report.expired.as_mut().and_then(|expired| expired.approval.take()).is_some() {
                report.said = format!("{}; {UNNAMED}", report.said);
                continue;
            }
            if report.settings.as_mut().and_then(|settings| settings.approval.take()).is_some() {
                report.said = format!("{}; {}", settings::UNSHOWN, report.said);
                continue;
            }
            if report.said.is_empty() {
                return line;
            }
            report.said = cut(&report.said, report.said.chars().count() / 2);
        }
    }

    /// Reads the line of a Job that was to do this.
    #[must_use]
    pub fn parse(line: &str, task: Task) -> Option<Self> {
        serde_json::from_str::<Self>(line.trim()).ok().filter(|report| report.task == task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::retention::Policy;

    /// Two snapshots of a source go.
    fn going(source: &str) -> Expiry {
        let ids = Ok(vec!["1".to_owned(), "2".to_owned()]);
        Expiry { going: ids, ..expire::expiry(source, &[], Policy::default(), Some(0), false) }
    }

    fn decided(expiries: Vec<Expiry>, approved: bool) -> Report {
        let approval = expire::approval(&expiries, Some("id"));
        let apart = vec![Held::new("db@ns:/data", "NotShown", "x")];
        Report::expired(&Decision { expiries, apart, approval, approved, deleted: None })
    }

    #[test]
    fn what_waits_for_an_approval_is_counted_apart_and_named() {
        let foreign = || Expiry { foreign: true, ..going("web@x:/data") };
        let global = || Expiry { global: true, ..going("app@ns:/data") };
        let all = || vec![going("a@ns:/data"), foreign(), Expiry { global: true, ..foreign() }, global()];
        let report = decided(all(), false);
        assert_eq!(report.said, "2 would be deleted, 6 more by approval; 1 source held");
        let expired = report.expired.unwrap();
        assert_eq!((expired.would, expired.held.len()), (2, 1));
        let approval = expired.approval.unwrap();
        assert_eq!((approval.foreign.len(), approval.global.len(), approval.given), (2, 2, false));
        let given = decided(all(), true);
        assert_eq!(given.said, "8 would be deleted; 1 source held");
        assert!(given.expired.unwrap().approval.unwrap().given);
        assert_eq!(decided(vec![going("a@ns:/data")], false).expired.unwrap().approval, None);
    }

    #[test]
    fn what_cannot_be_shown_whole_cannot_be_approved() {
        let many = |count: usize, length: usize| {
            let one = |n: usize| Expiry { foreign: true, ..going(&format!("{}{n}@x:/data", "a".repeat(length))) };
            decided((0..count).map(one).collect(), false)
        };
        let approval = |report: &Report| report.expired.as_ref().unwrap().approval.clone();
        assert_eq!(approval(&many(64, 5)).unwrap().foreign.len(), 64);
        let read = |report: &Report| Report::parse(&report.line(), Task::Expire).unwrap();
        assert!(approval(&read(&many(64, 5))).is_some(), "so many fit");
        let more = many(65, 5);
        assert!(approval(&more).is_none() && more.said.contains("more sources ask for an approval"), "{}", more.said);
        let long = read(&many(64, 60));
        assert!(approval(&long).is_none() && long.said.contains("more sources ask for an approval"), "{}", long.said);
    }
}
