//! What is counted of the ledger: budgets, the breaker, and how a batch goes.
//!
//! Everything is counted from stored records, never from memory, so that a daemon in a crash loop does not get
//! a new budget with each start. Indexes keep each question cheap however long the ledger is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Phase, Record};
use crate::domain::finding::{Class, Finding, Subject};
use crate::domain::name::Uid;
use crate::domain::policy::{Breaker, Budgets, LONGEST_BUDGET};
use crate::domain::remedy::Step;

/// Records reach back so far at least: the breaker doubles from 30 min to 12 h within a good day.
pub const REACH: Duration = Duration::from_secs(48 * 3600);

const HOUR: Duration = Duration::from_secs(3600);

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Budget {
    /// Nudges.
    Nudges,
    /// Being-deleted annotations.
    Marks,
    /// Removed finalizers, and deletions by approval.
    Finalizers,
    /// Deleted leases.
    Leases,
    /// Restarted pods.
    Restarts,
}

impl Budget {
    /// Under which a step counts.
    #[must_use]
    pub fn of(step: Step) -> Self {
        match step {
            Step::Nudge => Self::Nudges,
            Step::MarkBeingDeleted => Self::Marks,
            Step::RestartLeader | Step::RestartCandidate => Self::Restarts,
            Step::ReleaseLease => Self::Leases,
            Step::RemoveContentFinalizer
            | Step::RemoveRetainedFinalizer
            | Step::RemoveProvisionerFinalizer
            | Step::RemoveIntoOrphanLedger
            | Step::DeleteAbandoned => Self::Finalizers,
        }
    }

    /// Over how long.
    #[must_use]
    pub fn window(self) -> Duration {
        match self {
            Self::Nudges | Self::Marks | Self::Finalizers | Self::Leases => HOUR,
            Self::Restarts => LONGEST_BUDGET,
        }
    }

    /// How many.
    #[must_use]
    pub fn limit(self, budgets: &Budgets) -> u32 {
        match self {
            Self::Nudges => budgets.nudges,
            Self::Marks => budgets.marks,
            Self::Finalizers => budgets.finalizers,
            Self::Leases => budgets.leases,
            Self::Restarts => budgets.restarts,
        }
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Nudges => "nudges an hour",
            Self::Marks => "being-deleted annotations an hour",
            Self::Finalizers => "removed finalizers an hour",
            Self::Leases => "deleted leases an hour",
            Self::Restarts => "restarts in six hours",
        }
    }
}

/// How much of a budget is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// So many.
    pub used: u32,
    /// When the oldest of them counts no more.
    pub frees: Option<Timestamp>,
}

/// How the repairs of one class go on one driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Being taken or verified, this subject's own not among them.
    pub in_flight: u32,
    /// Repaired since the newest failure, within the last six hours.
    pub repaired: u32,
    /// When the newest failure was, if nothing was repaired after it.
    pub failed: Option<Timestamp>,
}

/// How a driver's breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fuse {
    /// Closed: go on.
    Closed,
    /// Open until then.
    Open(Timestamp),
    /// One may be tried.
    HalfOpen,
}

/// Something of a record at a time; the name and the number tell two of the same moment apart.
type Spending = (Timestamp, Box<str>, u32);
/// How an episode ended, by time: whether it was repaired.
type Ending = (Timestamp, Box<str>, bool);

/// An object with what is wrong with it; one made anew under the same name is another.
type Patient = (Subject, Option<Uid>, Class);

fn patient(record: &Record) -> Patient {
    (record.subject.clone(), record.uid.clone(), record.class)
}

/// The indexes.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// What counts against a budget.
    spent: BTreeMap<(Arc<str>, Budget), BTreeSet<Spending>>,
    /// How ended episodes of a driver ended, by time.
    ended: BTreeMap<Arc<str>, BTreeSet<Ending>>,
    /// The same by class.
    ended_of: BTreeMap<(Arc<str>, Class), BTreeSet<Ending>>,
    /// The same by object and class.
    ended_on: BTreeMap<Patient, BTreeSet<Ending>>,
    /// Names of those in flight.
    flying: BTreeMap<(Arc<str>, Class), BTreeSet<Box<str>>>,
}

fn drop_from<K: Ord, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = map.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

impl Tally {
    pub(super) fn add(&mut self, record: &Record) {
        for (budget, entry) in spendings(record) {
            self.spent.entry((Arc::clone(&record.driver), budget)).or_default().insert(entry);
        }
        let class = (Arc::clone(&record.driver), record.class);
        if let Some(entry) = ending(record) {
            self.ended.entry(Arc::clone(&record.driver)).or_default().insert(entry.clone());
            self.ended_of.entry(class.clone()).or_default().insert(entry.clone());
            self.ended_on.entry(patient(record)).or_default().insert(entry);
        }
        if flies(record) {
            self.flying.entry(class).or_default().insert(record.name.clone());
        }
    }

    pub(super) fn take(&mut self, record: &Record) {
        for (budget, entry) in spendings(record) {
            drop_from(&mut self.spent, &(Arc::clone(&record.driver), budget), &entry);
        }
        let class = (Arc::clone(&record.driver), record.class);
        if let Some(entry) = ending(record) {
            drop_from(&mut self.ended, &record.driver, &entry);
            drop_from(&mut self.ended_of, &class, &entry);
            drop_from(&mut self.ended_on, &patient(record), &entry);
        }
        if flies(record) {
            drop_from(&mut self.flying, &class, &record.name);
        }
    }

    /// How much of a driver's budget is used; `but` is a record whose open intent is the one being asked about.
    #[must_use]
    pub fn spent(&self, driver: &str, budget: Budget, but: Option<(&str, u32)>, now: Timestamp) -> Spent {
        let from = back(now, budget.window());
        let all = self.spent.get(&(Arc::from(driver), budget));
        let all = all.into_iter().flat_map(|set| set.range((from, "".into(), 0)..));
        let mut counted = all.filter(|(at, name, number)| *at > from && but != Some((&**name, *number)));
        let oldest = counted.next();
        let used = u32::try_from(usize::from(oldest.is_some()) + counted.count()).unwrap_or(u32::MAX);
        Spent { used, frees: oldest.and_then(|(at, ..)| at.checked_add(budget.window()).ok()) }
    }

    /// How repairs of this class go on this driver; `but` is the record that is asked about.
    #[must_use]
    pub fn batch(&self, driver: &str, class: Class, but: Option<&str>, now: Timestamp) -> Batch {
        let key = (Arc::from(driver), class);
        let flying = self.flying.get(&key).into_iter().flatten().filter(|name| Some(&***name) != but).count();
        let from = back(now, LONGEST_BUDGET);
        let ended = self.ended_of.get(&key).into_iter().flatten().rev().take_while(|(at, ..)| *at > from);
        let mut batch = Batch { in_flight: u32::try_from(flying).unwrap_or(u32::MAX), ..Batch::default() };
        for (at, _, done) in ended {
            if !done {
                if batch.repaired == 0 {
                    batch.failed = Some(*at);
                }
                break;
            }
            batch.repaired += 1;
        }
        batch
    }

    /// How a driver's breaker stands.
    #[must_use]
    pub fn fuse(&self, driver: &str, breaker: &Breaker, now: Timestamp) -> Fuse {
        let ended = self.ended.get(driver).into_iter().flatten().rev();
        let failed: Vec<Timestamp> = ended.take_while(|(.., done)| !done).map(|(at, ..)| *at).collect();
        let count = u32::try_from(failed.len()).unwrap_or(u32::MAX);
        let Some(newest) = failed.first().filter(|_| count >= breaker.failures) else { return Fuse::Closed };
        match rest(*newest, count - breaker.failures, breaker) {
            until if until <= now => Fuse::HalfOpen,
            until => Fuse::Open(until),
        }
    }

    /// Until when an object on which this has failed is left alone: one that nothing helps must not keep its
    /// driver's breaker open for all others.
    #[must_use]
    pub fn rests(&self, finding: &Finding, breaker: &Breaker, now: Timestamp) -> Option<Timestamp> {
        let ended = self.ended_on.get(&(finding.subject.clone(), finding.uid.clone(), finding.class))?;
        let failed = ended.iter().rev().take_while(|(.., done)| !done).count();
        let (newest, ..) = ended.last().filter(|_| failed > 0)?;
        let until = rest(*newest, u32::try_from(failed).unwrap_or(u32::MAX) - 1, breaker);
        (until > now).then_some(until)
    }

    /// How many episodes of a driver are in flight, of whatever class; `but` is the record that is asked about.
    #[must_use]
    pub fn in_flight(&self, driver: &str, but: Option<&str>) -> usize {
        let from = (Arc::from(driver), Class::ControllerDown);
        let all = self.flying.range(from..).take_while(|((name, _), _)| &**name == driver);
        all.flat_map(|(_, names)| names).filter(|name| Some(&***name) != but).count()
    }
}

/// When a pause ends that doubles with each failure.
fn rest(from: Timestamp, doublings: u32, breaker: &Breaker) -> Timestamp {
    let length = breaker.half_open_after.saturating_mul(1 << doublings.min(16)).min(breaker.max_open_for);
    from.checked_add(length).unwrap_or(Timestamp::MAX)
}

/// The past; what is written with a clock that is ahead of ours counts as present.
fn back(now: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    now.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn spendings(record: &Record) -> impl Iterator<Item = (Budget, Spending)> {
    let tried = record.attempts.iter().filter(|attempt| attempt.outcome.counts());
    let tried = tried.map(|attempt| (attempt.step, attempt.at, attempt.number));
    let intended = record.intent.iter().map(|intent| (intent.step, intent.at, intent.number));
    tried.chain(intended).map(|(step, at, number)| (Budget::of(step), (at, record.name.clone(), number)))
}

fn ending(record: &Record) -> Option<Ending> {
    let done = match record.phase {
        Phase::Done => true,
        Phase::Failed => false,
        _ => return None,
    };
    Some((record.finished?, record.name.clone(), done))
}

fn flies(record: &Record) -> bool {
    matches!(record.phase, Phase::Acting | Phase::Verifying)
        || (!record.phase.is_over() && (record.intent.is_some() || record.unverified().is_some()))
}
