//! When a policy is due: by its schedule, a request, an approval; and what a run that broke off leaves to do.
//!
//! All of it is told from the object alone, so that any replica comes to the same answer and none needs a memory. A
//! time that was missed is made up for once, however many were missed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::policy::Pruning;
use crate::domain::digest::Hash;
use crate::domain::policy::Mode;

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
    /// The approval.
    pub approved: Option<Hash>,
    /// The plan that waits for one.
    pub planned: Option<Hash>,
    /// When a run by approval ended last.
    pub approved_run: Option<Timestamp>,
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

/// What is to be done about a policy of which this process runs nothing.
#[must_use]
pub fn due(pruning: &Pruning, told: &Told, now: Timestamp) -> Due {
    if told.running.is_some() {
        return Due::Close;
    }
    let look = if told.observed == Some(told.generation) { Due::Nothing } else { Due::Look };
    if pruning.rules().suspended || !pruning.problems().is_empty() {
        return look;
    }
    if told.requested.is_some() && told.requested != told.handled {
        return Due::Run(Trigger::Request);
    }
    if scheduled(pruning, told, now).is_some() {
        return Due::Run(Trigger::Schedule);
    }
    let again = |at: Timestamp| crate::domain::words::age(now, at) >= APPROVED_AGAIN;
    let approved = told.planned.is_some() && told.approved == told.planned;
    if pruning.mode() == Mode::Approve && approved && told.approved_run.is_none_or(again) {
        return Due::Run(Trigger::Approval);
    }
    look
}

/// The newest time of the schedule that nobody has run for.
#[must_use]
pub fn scheduled(pruning: &Pruning, told: &Told, now: Timestamp) -> Option<Timestamp> {
    let slot = pruning.timer()?.last(now)?;
    // A policy that was only just made was not due before it was there.
    let since = told.last_scheduled.or(told.created)?;
    (slot > since).then_some(slot)
}
