//! What is wrong with a kopia repository, told from what its object has kept of looks and Jobs.
//!
//! Each class has a page under `docs/findings/`, and its name is public as those of the CSI findings are. A finding names
//! times and never ages: its words stay the same while nothing changes, and a status is written only for news. What this
//! exists to prevent is a backup that everybody believes in, and that stopped, filled up or rotted weeks ago.

mod classes;
mod trend;
mod upkeep;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Task;
use super::agenda::{Case, Seen, Told};
use super::report::Ended;
use crate::domain::kopia;
use crate::domain::words;

pub use classes::Class;
pub use trend::{Point, full_at, with_point};

/// Kopia bears clocks that are so far apart.
pub const SKEW: Duration = Duration::from_secs(300);
/// Owners that are remembered, and sources and reasons that one finding names.
pub const OWNERS: usize = 8;
const NAMED: usize = 3;
/// A source that is backed up more often than each 40 minutes is not late before this: a backup takes its time.
const LEAST_GAP: Duration = Duration::from_secs(2 * 3600);
/// A volume that will be full within this is a finding: time enough to buy a disk.
const AHEAD: Duration = Duration::from_secs(14 * 24 * 3600);

/// When something is a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A source is late after so many of its own periods.
    pub gap_periods: u32,
    /// A volume is full at so many of a hundred.
    pub volume_percent: u8,
    /// More index blobs are too many.
    pub index_blobs: u32,
    /// Sources that nobody backs up any more.
    pub retired: Vec<Box<str>>,
}

impl Default for Limits {
    /// One missed backup is a node that was drained, three are a fault. Kopia warns above 1000 index blobs. A volume has to
    /// keep what maintenance and the next backups need to begin.
    fn default() -> Self {
        Self { gap_periods: 3, volume_percent: 90, index_blobs: 1000, retired: Vec::new() }
    }
}

/// Why a task failed, last time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// How it ended.
    pub ended: Ended,
    /// The failure's class, if this version knows it.
    pub class: Option<kopia::Class>,
    /// The same in words.
    pub said: Box<str>,
    /// When the first of these failures in a row was seen.
    pub since: Timestamp,
    /// When the newest was.
    pub at: Timestamp,
}

/// A source as it was seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSeen {
    /// `user@host:path`.
    pub source: Box<str>,
    /// When its newest complete snapshot began.
    pub newest: Option<Timestamp>,
    /// How far apart its newest snapshots are.
    pub period: Option<Duration>,
}

/// An owner of maintenance, and the look that saw it first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `user@host`; none: maintenance had no owner.
    pub owner: Option<Box<str>>,
    /// When.
    pub since: Timestamp,
}

/// Policies and epochs that a run had to set just as one before it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// Which.
    pub targets: Vec<String>,
    /// The first of these runs.
    pub since: Timestamp,
    /// The newest.
    pub at: Timestamp,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// In one word.
    pub class: Class,
    /// Since when, as far as that can be told.
    pub since: Timestamp,
    /// Why, and what to do.
    pub said: String,
}

/// A finding before it is told since when it holds.
struct Draft {
    class: Class,
    since: Option<Timestamp>,
    said: String,
}

impl Draft {
    fn new(class: Class, since: impl Into<Option<Timestamp>>, said: impl Into<String>) -> Self {
        Self { class, since: since.into(), said: said.into() }
    }
}

/// Everything that is wrong with a repository, worst first, each class once.
#[must_use]
pub fn findings(case: Case<'_>) -> Vec<Finding> {
    let all = [
        changed(case.told),
        unreachable(case.told),
        verify_failed(case.told),
        volume_full(case),
        clock_skew(case.told),
        upkeep::owner_lost(case),
        upkeep::two_managers(case),
        upkeep::overdue(case),
        snapshot_gap(case),
        index_blobs(case),
    ];
    let told = |draft: Draft| {
        // What has held before has held since then, also when the evidence is newer.
        let known = case.told.findings.get(&draft.class).copied();
        let since = [known, draft.since].into_iter().flatten().min().unwrap_or(case.now);
        Finding { class: draft.class, since, said: draft.said }
    };
    let mut found: Vec<Finding> = all.into_iter().flatten().map(told).collect();
    found.sort_by_key(|finding| finding.class.severity());
    found
}

/// So much later; the end of time, if there is no such time.
fn later(at: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// `a, b, c and 4 more`.
fn named(all: &[String]) -> String {
    let first = all.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
    match all.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first}; and {more} more"),
    }
}

fn changed(told: &Told) -> Option<Draft> {
    let class =
        told.stopped.filter(|class| matches!(class, kopia::Class::RepositoryChanged | kopia::Class::NotInitialised))?;
    let what = match class {
        kopia::Class::NotInitialised => "there is no repository where this one was",
        _ => "another repository is where this one was",
    };
    let said = format!("{what}, and nothing is written to it; {}", class.remedy());
    Some(Draft::new(Class::RepositoryChanged, told.stopped_since, said))
}

/// The failures that nothing has happened since, newest first.
fn failing(told: &Told) -> Vec<(Task, &Failing, u32)> {
    let good = told.tasks.values().filter_map(|task| task.last_success).max();
    let failing = told.tasks.iter().filter_map(|(task, one)| Some((*task, one.failure.as_ref()?, one.failures)));
    let mut all: Vec<_> = failing.filter(|(_, one, _)| Some(one.at) > good).collect();
    all.sort_by_key(|(task, one, _)| (std::cmp::Reverse(one.at), *task));
    all
}

fn unreachable(told: &Told) -> Option<Draft> {
    use kopia::Class as Kopia;
    let closed = |class: Kopia| {
        matches!(
            class,
            Kopia::Unreachable
                | Kopia::StaleMount
                | Kopia::PermissionDenied
                | Kopia::WrongPassword
                | Kopia::NotConnected
                | Kopia::StorageErrors
        )
    };
    let failing = failing(told);
    let (task, newest, failures) = failing.first()?;
    let since = failing.iter().map(|(_, one, _)| one.since).min();
    match newest.class {
        Some(class) if closed(class) => {
            let said = format!("{task} could not reach it: {class}: {}", newest.said);
            Some(Draft::new(Class::RepositoryUnreachable, since, said))
        }
        // A share that cannot be mounted leaves a pod that never begins, and a Job without a word.
        None if newest.ended == Ended::Unclear && *failures > 1 => {
            let said = format!(
                "the last {failures} Jobs for {task} left no result, and nothing else has happened since: {}; see the \
                 events of their pods, a share that cannot be mounted looks like this",
                newest.said
            );
            Some(Draft::new(Class::RepositoryUnreachable, since, said))
        }
        _ => None,
    }
}

fn verify_failed(told: &Told) -> Option<Draft> {
    use kopia::Class as Kopia;
    if let Some(class) = told.stopped.filter(|class| matches!(class, Kopia::DataDamaged | Kopia::IndexDamaged)) {
        let said = format!("it is damaged ({class}), and nothing is written to it; {}", class.remedy());
        return Some(Draft::new(Class::VerifyFailed, told.stopped_since, said));
    }
    let verifies = [Task::Verify, Task::VerifyWhole].map(|task| told.tasks.get(&task));
    let good = verifies.iter().flatten().filter_map(|one| one.last_success).max();
    let failures = verifies.iter().flatten().filter_map(|one| one.failure.as_ref());
    let newest = failures.filter(|one| Some(one.at) > good).max_by_key(|one| one.at)?;
    let counts = newest.ended == Ended::Failed || newest.class == Some(Kopia::NothingToVerify);
    // What never got as far as the data says nothing of it.
    let elsewhere =
        matches!(newest.class, Some(Kopia::Unreachable | Kopia::StaleMount | Kopia::ClockSkew | Kopia::Killed));
    if !counts || elsewhere {
        return None;
    }
    let said = format!("the newest verification failed: {}; until one succeeds no backup in it is proved", newest.said);
    Some(Draft::new(Class::VerifyFailed, newest.since, said))
}

fn volume_full(case: Case<'_>) -> Option<Draft> {
    const REMEDY: &str = "free space beside the repository or enlarge the volume: maintenance and deleting snapshots both need \
                          some to begin, and give back bytes only days later";
    let draft = |since: Option<Timestamp>, what: String| {
        Some(Draft::new(Class::VolumeFull, since, format!("{what}; {REMEDY}")))
    };
    let full = failing(case.told).into_iter().find(|(_, one, _)| one.class == Some(kopia::Class::NoSpace));
    if let Some((task, one, _)) = full {
        return draft(Some(one.since), format!("{task} failed because its volume is full"));
    }
    let seen = case.told.seen.as_ref()?;
    let (capacity, available) = (seen.capacity.filter(|bytes| *bytes > 0)?, seen.available?);
    let limit = case.custody.rules().limits.volume_percent;
    let used = capacity.saturating_sub(available);
    // Rounded up: 89.1 % of use are 90.
    let percent = (u128::from(used) * 100).div_ceil(u128::from(capacity));
    let when = full_at(&case.told.trend);
    let forecast =
        when.map(|at| format!(", and by the trend of the last looks it will be full on {}", at.strftime("%F")));
    if percent >= u128::from(limit) {
        let what = format!(
            "{percent} % of its volume are in use, {} bytes are free (spec.findings.volumePercent: {limit}){}",
            available,
            forecast.unwrap_or_default()
        );
        return draft(None, what);
    }
    let soon = when.filter(|at| *at <= later(case.now, AHEAD))?;
    let what = format!(
        "its volume will be full on {} by the trend of the last looks; {percent} % of it are in use now",
        soon.strftime("%F")
    );
    draft(None, what)
}

fn clock_skew(told: &Told) -> Option<Draft> {
    const REMEDY: &str = "set the clocks of the nodes, of the file server and of whoever backs up by NTP: kopia bears 5 minutes, \
                          and a wrong clock makes maintenance delete too early";
    let told_so = failing(told).into_iter().find(|(_, one, _)| one.class == Some(kopia::Class::ClockSkew));
    if let Some((task, one, _)) = told_so {
        return Some(Draft::new(Class::ClockSkew, one.since, format!("{task} failed: {}; {REMEDY}", one.said)));
    }
    let seen = told.seen.as_ref()?;
    if let Some(skew) = seen.skew.filter(|skew| skew.unsigned_abs() > SKEW) {
        let way = if skew.is_negative() { "behind" } else { "ahead of" };
        let by = words::short(skew.unsigned_abs());
        let said = format!("the clock of the node that looked last is {by} {way} ours; {REMEDY}");
        return Some(Draft::new(Class::ClockSkew, None, said));
    }
    let at = later(seen.at?, SKEW);
    let ahead = |source: &SourceSeen| {
        let newest = source.newest.filter(|newest| *newest > at)?;
        Some(format!("the newest snapshot of {} says that it began at {newest}", source.source))
    };
    let mut ahead: Vec<String> = seen.sources.iter().filter_map(ahead).collect();
    ahead.sort();
    if ahead.is_empty() {
        return None;
    }
    Some(Draft::new(Class::ClockSkew, None, format!("a look saw snapshots of the future: {}; {REMEDY}", named(&ahead))))
}

/// Judged as of the look: what was backed up since then has not been seen.
fn snapshot_gap(case: Case<'_>) -> Option<Draft> {
    let seen = case.told.seen.as_ref()?;
    let (at, limits) = (seen.at?, &case.custody.rules().limits);
    let mut late: BTreeMap<(Timestamp, &str), String> = BTreeMap::new();
    for one in &seen.sources {
        let (Some(newest), Some(period)) = (one.newest, one.period) else { continue };
        let due = later(newest, period.saturating_mul(limits.gap_periods).max(LEAST_GAP));
        if due < at && !limits.retired.contains(&one.source) {
            let words = format!("{} has none since {newest} and had one each {}", one.source, words::short(period));
            late.insert((due, &one.source), words);
        }
    }
    let (since, _) = *late.keys().next()?;
    let count = words::count(late.len(), "source");
    let late: Vec<String> = late.into_values().collect();
    let said = format!(
        "{count} without a new complete snapshot for {} periods: {}; look at whoever backs it up, and name what is not \
         backed up any more in spec.findings.retired",
        limits.gap_periods,
        named(&late)
    );
    Some(Draft::new(Class::SnapshotGap, since, said))
}

fn index_blobs(case: Case<'_>) -> Option<Draft> {
    let blobs = case.told.seen.as_ref()?.index_blobs?;
    let limit = case.custody.rules().limits.index_blobs;
    let said = format!(
        "{blobs} index blobs are in use (spec.findings.indexBlobs: {limit}); maintenance that truly runs makes them fewer, \
         and until then every client needs more memory and time to connect"
    );
    (blobs > u64::from(limit)).then(|| Draft::new(Class::IndexBlobsHigh, None, said))
}

/// The owners that are remembered, with what a look saw. One that is the same as before is no news.
#[must_use]
pub fn with_owner(owners: &[Owner], owner: Option<&str>, at: Timestamp) -> Vec<Owner> {
    let mut all = owners.to_vec();
    if all.last().is_none_or(|last| last.owner.as_deref() != owner) {
        all.push(Owner { owner: owner.map(Into::into), since: at });
    }
    let surplus = all.len().saturating_sub(OWNERS);
    all.split_off(surplus)
}

/// How far the clock of a look lies outside the run that made it: before its beginning is negative.
#[must_use]
pub fn skew(seen: Timestamp, began: Timestamp, ended: Timestamp) -> Option<SignedDuration> {
    let off = if seen < began {
        seen.duration_since(began)
    } else if seen > ended {
        seen.duration_since(ended)
    } else {
        return None;
    };
    (off.unsigned_abs() > SKEW).then_some(off)
}

/// When our own maintenance last ended, well or not.
#[must_use]
pub fn maintained(told: &Told) -> Option<Timestamp> {
    let runs = [Task::Quick, Task::Full].into_iter().filter_map(|task| told.tasks.get(&task));
    runs.flat_map(|one| [one.last_success, one.failure.as_ref().map(|failure| failure.at)]).flatten().max()
}

/// Whether somebody else has run maintenance under our own name: a success of a look that is newer than all that we know of.
/// By a clock that is wrong nothing is told: neither the looking node's, nor that of a run that ends in the future.
#[must_use]
pub fn stranger(told: &Told, us: &kopia::Identity, seen: &Seen, now: Timestamp) -> Option<Timestamp> {
    let ours = seen.owner.as_deref().is_some_and(|owner| us.is(owner));
    let newest = seen.last_maintenance.filter(|at| ours && seen.skew.is_none() && *at <= later(now, SKEW))?;
    // Without one of these nobody knows since when it is ours.
    let known = [maintained(told), told.owned_since, told.sibling].into_iter().flatten().max()?;
    (newest > later(known, SKEW)).then_some(newest)
}
