//! The ledger: one [`Record`] an episode, from a finding to its end, as it stands in the cluster.
//!
//! An intent is in it before the effect, so that whoever comes after a crash looks whether it happened and never
//! guesses; budgets and the breaker are counted from it ([`count`]), so that a restart forgets nothing. The
//! engine changes a record only through the methods here, and a write follows only on one that is stored.

pub mod count;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::digest::Hash;
use super::finding::{Class, Finding, Subject};
use super::guard::{Guard, Verdict};
use super::name::{Key, Uid};
use super::remedy::action::{Action, Target};
use super::remedy::{On, Rung, Step, Then, ladder};
use count::Tally;

/// Where an episode stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A guard holds the next step.
    Held,
    /// The next step needs an approval.
    AwaitingApproval,
    /// The intent is written; the step is being taken, or was and nobody could tell yet.
    Acting,
    /// The step was taken; whether it helped is being looked at.
    Verifying,
    /// Repaired, and verified.
    Done,
    /// The ladder is at its end without success.
    Failed,
    /// It ended without us.
    Lapsed,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Held, Self::AwaitingApproval, Self::Acting, Self::Verifying, Self::Done, Self::Failed, Self::Lapsed];

    /// Nothing more will happen in this record.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Lapsed)
    }

    /// The public name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "Held",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Acting => "Acting",
            Self::Verifying => "Verifying",
            Self::Done => "Done",
            Self::Failed => "Failed",
            Self::Lapsed => "Lapsed",
        }
    }
}

/// What came of sending a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The API server took it, or its effect is there.
    Applied,
    /// Another writer was first: nothing was changed.
    Lost,
    /// Refused by rights, an admission policy or the schema: nothing was changed.
    Denied,
    /// No answer; it may have happened.
    Unreachable,
    /// The process ended between intent and answer; it may have happened.
    Interrupted,
}

/// What follows an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Look whether it helped.
    Verify,
    /// Plan the same rung again, after a pause; after so many in a row the episode has failed.
    Again {
        /// The pause.
        after: Duration,
        /// How many in a row.
        at_most: u32,
    },
}

impl Outcome {
    /// The one table of what follows what.
    #[must_use]
    pub fn follow(self) -> Follow {
        let again = |seconds, at_most| Follow::Again { after: Duration::from_secs(seconds), at_most };
        match self {
            Self::Applied => Follow::Verify,
            Self::Lost => again(10, 10),
            Self::Denied => again(600, 3),
            Self::Unreachable | Self::Interrupted => again(30, 5),
        }
    }

    /// Whether it counts against a budget: everything that may have had an effect.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(self, Self::Applied | Self::Unreachable | Self::Interrupted)
    }

    /// The public name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "Applied",
            Self::Lost => "Lost",
            Self::Denied => "Denied",
            Self::Unreachable => "Unreachable",
            Self::Interrupted => "Interrupted",
        }
    }
}

/// A step about to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The number of the attempt.
    pub number: u32,
    /// The step.
    pub step: Step,
    /// The hash of the plan it carries out.
    pub hash: Hash,
    /// What it writes to.
    pub target: Target,
    /// When it was written.
    pub at: Timestamp,
    /// The identity of the process that wrote it.
    pub by: Arc<str>,
    /// It leaves a backend snapshot behind.
    pub leaks: bool,
    /// It may destroy one that is another cluster's.
    pub destroys: bool,
}

/// One step that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Counted from 1.
    pub number: u32,
    /// The step.
    pub step: Step,
    /// What it was sent to.
    pub target: Target,
    /// When its intent was written.
    pub at: Timestamp,
    /// What came of sending it.
    pub outcome: Outcome,
    /// Whether it helped; `None`: not known yet.
    pub helped: Option<bool>,
    /// Either in words.
    pub message: String,
    /// When that was known.
    pub ended: Option<Timestamp>,
}

/// Somebody's consent to one plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The plan's hash.
    pub hash: Hash,
    /// When it was seen.
    pub at: Timestamp,
    /// Until when it is good.
    pub expires: Timestamp,
}

/// The plan as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its hash.
    pub hash: Hash,
    /// The step.
    pub step: Step,
    /// What it does.
    pub summary: String,
    /// The policies it was decided under.
    pub policies: Vec<Arc<str>>,
    /// What it writes to.
    pub target: Target,
    /// It leaves a backend snapshot behind.
    pub leaks: bool,
    /// It may destroy one that is another cluster's.
    pub destroys: bool,
    /// The backend's handle.
    pub handle: Option<Box<str>>,
}

impl Plan {
    /// What is shown of an action.
    #[must_use]
    pub fn of(action: &Action, hash: Hash, policies: &[Arc<str>]) -> Self {
        Self {
            hash,
            step: action.step,
            summary: action.summary.clone(),
            policies: policies.to_vec(),
            target: action.target.clone(),
            leaks: action.leaks,
            destroys: action.destroys,
            handle: action.handle.clone(),
        }
    }
}

/// One episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Name of its object.
    pub name: Box<str>,
    /// The object's version as last stored; empty before it was.
    pub version: Box<str>,
    /// The object that is stuck.
    pub subject: Subject,
    /// Its uid; a driver without a CSIDriver object has none.
    pub uid: Option<Uid>,
    /// What is wrong with it.
    pub class: Class,
    /// The driver.
    pub driver: Arc<str>,
    /// Since when.
    pub since: Timestamp,
    /// What was observed.
    pub evidence: Vec<String>,
    /// When the record was opened.
    pub opened: Timestamp,
    /// Where it stands.
    pub phase: Phase,
    /// The same in words.
    pub message: String,
    /// The next step, as it was last decided.
    pub plan: Option<Plan>,
    /// What each guard said of it.
    pub verdicts: Vec<(Guard, Verdict)>,
    /// The hash that somebody wrote onto the object.
    pub approved: Option<Hash>,
    /// The approval that was made of it.
    pub approval: Option<Approval>,
    /// The step that was decided on.
    pub intent: Option<Intent>,
    /// What was tried, oldest first.
    pub attempts: Vec<Attempt>,
    /// Name of the orphan ledger's entry.
    pub orphan: Option<Box<str>>,
    /// When it was over.
    pub finished: Option<Timestamp>,
}

/// Where a record stands on its ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// At this rung.
    At(usize),
    /// At the end: repaired.
    Repaired,
    /// At the end: failed.
    Failed,
}

impl Record {
    /// Opens an episode.
    #[must_use]
    pub fn open(finding: &Finding, driver: &Arc<str>, now: Timestamp) -> Self {
        Self {
            name: record_name(finding, now),
            version: "".into(),
            subject: finding.subject.clone(),
            uid: finding.uid.clone(),
            class: finding.class,
            driver: Arc::clone(driver),
            since: finding.since,
            evidence: finding.evidence.clone(),
            opened: now,
            phase: Phase::Held,
            message: String::new(),
            plan: None,
            verdicts: Vec::new(),
            approved: None,
            approval: None,
            intent: None,
            attempts: Vec::new(),
            orphan: None,
            finished: None,
        }
    }

    /// The attempt whose success is being looked for.
    #[must_use]
    pub fn unverified(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|attempt| attempt.outcome == Outcome::Applied && attempt.helped.is_none())
    }

    /// The newest step helped, and the ladder goes on above it.
    #[must_use]
    pub fn climbed(&self) -> bool {
        self.attempts.last().is_some_and(|attempt| attempt.helped == Some(true))
    }

    /// How often in a row the newest attempts had no effect; and the newest one's outcome.
    #[must_use]
    pub fn in_vain(&self) -> Option<(Outcome, u32, Timestamp)> {
        let newest = self.attempts.last().filter(|attempt| attempt.outcome != Outcome::Applied)?;
        let same = self.attempts.iter().rev().take_while(|attempt| attempt.outcome == newest.outcome).count();
        Some((newest.outcome, u32::try_from(same).unwrap_or(u32::MAX), newest.ended.unwrap_or(newest.at)))
    }

    /// Where the ladder stands after what was tried. Steps that did not apply left no trace: the walk passes
    /// them over.
    #[must_use]
    pub fn position(&self) -> Position {
        let rungs = ladder(self.class);
        let mut at = 0;
        for attempt in &self.attempts {
            while rungs.get(at).is_some_and(|rung| rung.step != attempt.step) {
                at += 1;
            }
            let (Some(rung), Some(helped)) = (rungs.get(at).copied(), attempt.helped) else { continue };
            match after(rung, helped) {
                Then::Repaired => return Position::Repaired,
                Then::Stop => return Position::Failed,
                Then::Climb => at += 1,
            }
        }
        if at < rungs.len() { Position::At(at) } else { Position::Failed }
    }

    /// What was nudged of a storm's leftovers.
    #[must_use]
    pub fn nudged(&self) -> BTreeSet<Key> {
        let nudges = self.attempts.iter().filter(|attempt| attempt.step == Step::Nudge);
        nudges.map(|attempt| attempt.target.key.clone()).collect()
    }

    /// Whether this plan is approved now.
    #[must_use]
    pub fn approves(&self, hash: &Hash, now: Timestamp) -> Approved {
        match &self.approval {
            Some(approval) if approval.hash == *hash && now < approval.expires => Approved::Yes,
            Some(approval) if approval.hash == *hash => Approved::Expired(approval.expires),
            Some(_) => Approved::Another,
            None => Approved::No,
        }
    }

    /// Takes in what somebody wrote onto the object; whether that changed the approval.
    pub fn notice_approval(&mut self, valid: Duration, now: Timestamp) -> bool {
        let known = self.approval.as_ref().map(|approval| &approval.hash);
        if known == self.approved.as_ref() {
            return false;
        }
        self.approval = self.approved.clone().map(|hash| Approval {
            hash,
            at: now,
            expires: now.checked_add(valid).unwrap_or(Timestamp::MAX),
        });
        true
    }

    /// The number of the next attempt. Of a long episode the ledger does not keep every attempt, so they are not
    /// counted.
    #[must_use]
    pub fn next_number(&self) -> u32 {
        self.attempts.last().map_or(0, |attempt| attempt.number).saturating_add(1)
    }

    /// Writes the intent down.
    pub fn intend(&mut self, plan: Plan, by: &Arc<str>, now: Timestamp) {
        self.intent = Some(Intent {
            number: self.next_number(),
            step: plan.step,
            hash: plan.hash.clone(),
            target: plan.target.clone(),
            at: now,
            by: Arc::clone(by),
            leaks: plan.leaks,
            destroys: plan.destroys,
        });
        self.message.clone_from(&plan.summary);
        self.plan = Some(plan);
        self.phase = Phase::Acting;
    }

    /// Turns the intent into an attempt.
    pub fn tried(&mut self, outcome: Outcome, message: impl Into<String>, now: Timestamp) {
        let Some(intent) = self.intent.take() else { return };
        let message = message.into();
        self.message.clone_from(&message);
        self.phase = if outcome == Outcome::Applied { Phase::Verifying } else { Phase::Held };
        self.attempts.push(Attempt {
            number: intent.number,
            step: intent.step,
            target: intent.target,
            at: intent.at,
            outcome,
            helped: None,
            message,
            ended: (outcome != Outcome::Applied).then_some(now),
        });
    }

    /// The newest attempt helped, or did not in its time.
    pub fn verified(&mut self, helped: bool, message: impl Into<String>, now: Timestamp) {
        let message = message.into();
        self.message.clone_from(&message);
        self.phase = Phase::Held;
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.helped = Some(helped);
            attempt.message = message;
            attempt.ended = Some(now);
        }
    }

    /// The episode is over.
    pub fn finish(&mut self, phase: Phase, message: impl Into<String>, now: Timestamp) {
        self.phase = phase;
        self.message = message.into();
        self.finished = Some(now);
    }
}

/// Whether a plan is approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approved {
    /// Nobody approved anything.
    No,
    /// What was approved is another plan.
    Another,
    /// It was, until then.
    Expired(Timestamp),
    /// It is.
    Yes,
}

/// What follows a rung's result. A nudge of leftovers that is one of several only paces the next.
fn after(rung: Rung, helped: bool) -> Then {
    if rung.on == On::Leftovers && !helped {
        return Then::Stop;
    }
    if helped { rung.helped } else { rung.failed }
}

/// A name that no other episode has: class, object, and when it was opened.
fn record_name(finding: &Finding, now: Timestamp) -> Box<str> {
    let object = match &finding.uid {
        Some(uid) => uid.to_string(),
        None => finding.subject.key.name.to_string(),
    };
    let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let object: String = object.chars().map(fit).take(120).collect();
    let class = finding.class.label().replace('_', "-");
    format!("{class}-{object}-{:x}", now.as_second()).into()
}

/// All records, and what is counted of them.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    records: BTreeMap<Box<str>, Record>,
    /// The open record of each subject.
    open: BTreeMap<Subject, BTreeSet<Box<str>>>,
    tally: Tally,
}

impl Ledger {
    /// Adds or replaces a record.
    pub fn put(&mut self, record: Record) {
        self.remove(&record.name);
        if !record.phase.is_over() {
            self.open.entry(record.subject.clone()).or_default().insert(record.name.clone());
        }
        self.tally.add(&record);
        self.records.insert(record.name.clone(), record);
    }

    /// Takes one out.
    pub fn remove(&mut self, name: &str) -> Option<Record> {
        let record = self.records.remove(name)?;
        self.tally.take(&record);
        if let Some(names) = self.open.get_mut(&record.subject) {
            names.remove(name);
            if names.is_empty() {
                self.open.remove(&record.subject);
            }
        }
        Some(record)
    }

    /// One record.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Record> {
        self.records.get(name)
    }

    /// The open record of a subject. Two would be a mistake of somebody else's; the older one counts, because
    /// it may have an intent in it.
    #[must_use]
    pub fn open(&self, subject: &Subject) -> Option<&Record> {
        let names = self.open.get(subject)?;
        names.iter().filter_map(|name| self.records.get(name)).min_by_key(|record| (record.opened, &record.name))
    }

    /// Subjects with an open record.
    pub fn open_subjects(&self) -> impl Iterator<Item = &Subject> {
        self.open.keys()
    }

    /// All records by name.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// What is counted of them.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Names of ended records that need not be kept: older than `keep_for`, or beyond `keep` newer ones and out
    /// of the reach of every budget and breaker.
    #[must_use]
    pub fn expired(&self, keep: u32, keep_for: Duration, now: Timestamp) -> Vec<Box<str>> {
        let age = |at: Timestamp| super::words::age(now, at);
        let mut ended: Vec<(Timestamp, &Box<str>)> = self
            .records
            .values()
            .filter_map(|record| Some((record.finished.filter(|_| record.phase.is_over())?, &record.name)))
            .collect();
        ended.sort_by(|one, two| two.cmp(one));
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let spare = |at: usize, finished: Timestamp| {
            let age = age(finished);
            age > keep_for.max(count::REACH) || (at >= keep && age > count::REACH)
        };
        let numbered = ended.into_iter().enumerate();
        numbered.filter(|(at, (finished, _))| spare(*at, *finished)).map(|(_, (_, name))| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
