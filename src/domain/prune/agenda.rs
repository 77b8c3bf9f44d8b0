//! When a policy is due: by its schedule, a request, an approval; and what a run that broke off leaves to do.
//!
//! All of it is told from the object alone, so that any replica comes to the same answer and none needs a memory. A
//! time that was missed is made up for once, however many were missed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::part::Part;
use super::policy::Pruning;
use crate::domain::digest::Hash;
use crate::domain::policy::Mode;
use crate::domain::schedule::served;
use crate::domain::words;

/// An approval whose run could not delete all is taken up again only after this.
const APPROVED_AGAIN: Duration = Duration::from_secs(600);

/// Why a run is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Its schedule.
    Schedule,
    /// `volwarden.dev/requestedAt`.
    Request,
    /// `volwarden.dev/approved`.
    Approval,
}

/// An approval that was noticed. It is good for a while, and not made longer by standing there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// When.
    pub at: Timestamp,
    /// Until when it is good.
    pub expires: Timestamp,
    /// When a run by it ended last.
    pub run: Option<Timestamp>,
}

impl Trigger {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Request => "request",
            Self::Approval => "approval",
        }
    }
}

/// What the object says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed: Option<i64>,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// The request.
    pub requested: Option<Box<str>>,
    /// The request that a run was last made for.
    pub handled: Option<Box<str>>,
    /// The approvals, as somebody wrote them.
    pub approved: BTreeSet<Hash>,
    /// Those that were noticed.
    pub noticed: BTreeMap<Hash, Noticed>,
    /// What each part would let go.
    pub planned: BTreeMap<Part, Hash>,
    /// The time of the schedule that was last run for.
    pub last_scheduled: Option<Timestamp>,
    /// Who runs it, by its status.
    pub running: Option<Arc<str>>,
}

/// What is to be done about a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Say what it comes to; delete nothing.
    Look,
    /// Make a run.
    Run(Trigger),
    /// Close a run that broke off. It is not gone on with: what it had deleted is not known for certain, and with
    /// the rest it could exceed what a run may delete.
    Close,
}

impl Told {
    /// Whether this very plan is approved now.
    #[must_use]
    pub fn approves(&self, hash: &Hash, now: Timestamp) -> bool {
        self.approved.contains(hash) && self.noticed.get(hash).is_some_and(|noticed| now < noticed.expires)
    }

    /// Takes in what somebody wrote onto the object; whether that changed anything. An approval that is taken away is
    /// forgotten, and a new one under the same hash is another.
    pub fn notice(&mut self, valid: Duration, now: Timestamp) -> bool {
        let before = self.noticed.len();
        self.noticed.retain(|hash, _| self.approved.contains(hash));
        let mut changed = before != self.noticed.len();
        for hash in &self.approved {
            self.noticed.entry(hash.clone()).or_insert_with(|| {
                changed = true;
                Noticed { at: now, expires: now.checked_add(valid).unwrap_or(Timestamp::MAX), run: None }
            });
        }
        changed
    }

    /// A run by this approval is worth making now: it was not made, or long ago.
    fn wants_run(&self, hash: &Hash, now: Timestamp) -> bool {
        let again = |at: Timestamp| words::age(now, at) >= APPROVED_AGAIN;
        match self.noticed.get(hash) {
            // Not noticed before: the run notices it.
            None => self.approved.contains(hash),
            Some(noticed) => self.approves(hash, now) && noticed.run.is_none_or(again),
        }
    }

    /// Nothing that was written onto the object is unnoticed.
    fn all_noticed(&self) -> bool {
        self.approved.iter().eq(self.noticed.keys())
    }
}

/// What is to be done about a policy of which this process runs nothing.
#[must_use]
pub fn due(pruning: &Pruning, told: &Told, now: Timestamp) -> Due {
    if told.running.is_some() {
        return Due::Close;
    }
    let seen = told.observed == Some(told.generation) && told.all_noticed();
    let look = if seen { Due::Nothing } else { Due::Look };
    if pruning.rules().suspended || pruning.paused(now).is_some() || !pruning.problems().is_empty() {
        return look;
    }
    if told.requested.is_some() && told.requested != told.handled {
        return Due::Run(Trigger::Request);
    }
    if scheduled(pruning, told, now).is_some() {
        return Due::Run(Trigger::Schedule);
    }
    let approved =
        |(part, hash): (&Part, &Hash)| pruning.mode_of(*part) == Some(Mode::Approve) && told.wants_run(hash, now);
    if told.planned.iter().any(approved) { Due::Run(Trigger::Approval) } else { look }
}

/// The parts that a run carries out: what is enforced goes when the policy is due, what is approved at any time.
#[must_use]
pub fn parts(pruning: &Pruning, told: &Told, plans: &BTreeMap<Part, Hash>, why: Trigger, now: Timestamp) -> Vec<Part> {
    let goes = |part: Part, mode: Mode| match mode {
        Mode::Observe => false,
        Mode::Enforce => why != Trigger::Approval,
        Mode::Approve => plans.get(&part).is_some_and(|hash| told.approves(hash, now)),
    };
    pruning.parts().filter(|(part, mode)| goes(*part, *mode)).map(|(part, _)| part).collect()
}

/// The newest time of the schedule that nobody has run for.
#[must_use]
pub fn scheduled(pruning: &Pruning, told: &Told, now: Timestamp) -> Option<Timestamp> {
    let slot = pruning.timer()?.last(now)?;
    // A policy that was only just made was not due before it was there.
    let since = served(told.last_scheduled, now).or(told.created)?;
    (slot > since).then_some(slot)
}
