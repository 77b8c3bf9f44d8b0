//! The status of a SnapshotRetention: what it comes to, the run under way, and the last ones.
//!
//! Each function says one thing that has happened; [`patch`] makes the write of it, on the version that was read. What
//! a run will do is in the status before it does it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Entry, trigger};
use crate::api::condition::{Condition, READY, RECONCILING, STALLED};
use crate::api::retention::{
    Approved, CleanupStatus, Held, RetentionCounts, RetentionPlan, Run, RunOutcome, RunRecord,
};
use crate::domain::digest::Hash;
use crate::domain::prune::agenda::{Noticed, Trigger};
use crate::domain::prune::field::Field;
use crate::domain::prune::hold::Hold;
use crate::domain::prune::part::Part;
use crate::domain::prune::plan::Plan;
use crate::domain::prune::run::Tally;
use crate::io::ledger::{clear, cut};

/// So many runs are remembered.
const HISTORY: usize = 10;
/// The longest message.
const TEXT: usize = 1024;
/// The longest reason for a hold.
const SHORT: usize = 512;

fn number(count: usize) -> u32 {
    u32::try_from(count).ok().and_then(|count| i32::try_from(count).ok()).map_or(u32::MAX >> 1, i32::cast_unsigned)
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn held(by: BTreeMap<Hold, usize>) -> Vec<Held> {
    by.into_iter().map(|(hold, count)| Held { reason: hold.as_str().to_owned(), count: number(count) }).collect()
}

/// What it comes to now; the hash of what each of its parts would let go.
pub fn looked(entry: &mut Entry, plan: &Plan, field: &Field, now: Timestamp) -> BTreeMap<Part, Hash> {
    let counts = plan.counts();
    let pruning = &entry.pruning;
    let hashes: BTreeMap<Part, Hash> =
        pruning.parts().map(|(part, _)| (part, plan.hash_of(part, field, pruning))).collect();
    let status = &mut entry.status;
    status.counts = Some(RetentionCounts {
        snapshots: number(counts.covered),
        kept: number(counts.kept),
        to_prune: number(counts.going),
        held: number(counts.held),
    });
    status.held_by = held(plan.held_by());
    status.plan = hashes.get(&Part::Snapshots).map(|hash| RetentionPlan {
        hash: hash.as_str().to_owned(),
        at: now,
        to_prune: number(counts.going),
        reclaimable_bytes: bytes(plan.reclaimable(field)),
    });
    let cleanup = |(part, hash): (&Part, &Hash)| {
        let counts = plan.counts_of(*part, field);
        CleanupStatus {
            part: part.as_str().to_owned(),
            to_prune: number(counts.going),
            held: number(counts.held),
            held_by: held(plan.held_by_of(*part, field)),
            hash: hash.as_str().to_owned(),
            reclaimable_bytes: bytes(plan.reclaimable_of(*part, field)),
        }
    };
    status.cleanup = hashes.iter().filter(|(part, _)| **part != Part::Snapshots).map(cleanup).collect();
    entry.told.planned = super::planned(status);
    hashes
}

/// Takes in the approvals that somebody wrote onto the object; whether that is news.
pub fn notice(entry: &mut Entry, now: Timestamp) -> bool {
    let news = entry.told.notice(entry.pruning.rules().approval_valid, now);
    approvals(entry);
    news
}

/// Writes what was noticed into the status.
fn approvals(entry: &mut Entry) {
    let approved = |(hash, noticed): (&Hash, &Noticed)| Approved {
        hash: hash.as_str().to_owned(),
        at: noticed.at,
        expires: noticed.expires,
        last_run: noticed.run,
    };
    entry.status.approvals = entry.told.noticed.iter().map(approved).collect();
}

/// A run begins: this is stored before its first deletion.
pub fn begun(
    entry: &mut Entry,
    why: Trigger,
    slot: Option<Timestamp>,
    (hashes, planned): (&[&Hash], usize),
    by: &str,
    now: Timestamp,
) {
    if why == Trigger::Schedule {
        entry.status.last_scheduled = slot;
    }
    entry.status.run = Some(Run {
        trigger: trigger(why),
        request: entry.told.requested.as_deref().filter(|_| why == Trigger::Request).map(str::to_owned),
        started_at: now,
        hash: hashes.iter().map(|hash| hash.as_str()).collect::<Vec<_>>().join(" "),
        planned: number(planned),
        deleted: 0,
        by: cut(by, 253),
        held_by: None,
    });
}

/// How far the run is; whether that is news.
pub fn progressed(entry: &mut Entry, tally: &Tally, held: Option<&str>) -> bool {
    let Some(run) = &mut entry.status.run else { return false };
    let before = run.clone();
    run.deleted = number(tally.deleted);
    run.held_by = held.map(|words| cut(words, SHORT));
    *run != before
}

/// The run is over.
pub fn ended(entry: &mut Entry, outcome: RunOutcome, tally: &Tally, message: &str, now: Timestamp) {
    let Some(run) = entry.status.run.take() else { return };
    if run.request.is_some() {
        entry.status.last_handled_request.clone_from(&run.request);
    }
    for hash in run.hash.split(' ').map(Hash::written) {
        if let Some(noticed) = entry.told.noticed.get_mut(&hash) {
            noticed.run = Some(now);
        }
    }
    approvals(entry);
    let record = RunRecord {
        trigger: run.trigger,
        started_at: run.started_at,
        finished_at: now,
        outcome,
        planned: run.planned,
        deleted: number(tally.deleted),
        hanging: number(tally.hanging),
        message: cut(message, TEXT),
    };
    entry.status.history.insert(0, record);
    entry.status.history.truncate(HISTORY);
}

/// A run that broke off with its process.
pub fn closed(entry: &mut Entry, now: Timestamp) {
    let deleted = entry.status.run.as_ref().map_or(0, |run| run.deleted);
    let by = entry.status.run.as_ref().map(|run| run.by.clone()).unwrap_or_default();
    let tally = Tally { deleted: usize::try_from(deleted).unwrap_or_default(), ..Tally::default() };
    let message = format!(
        "replica {by} ended in the middle of it; at least {deleted} were deleted, the rest goes with the next run"
    );
    ended(entry, RunOutcome::Interrupted, &tally, &message, now);
}

/// Brings generation, next run and conditions up to date; `trouble` is why it could not do its work.
pub fn said(entry: &mut Entry, trouble: Option<&str>, now: Timestamp) {
    let pruning = &entry.pruning;
    let status = &mut entry.status;
    let generation = entry.told.generation;
    status.observed_generation = Some(generation);
    let runs = !pruning.rules().suspended && pruning.problems().is_empty();
    status.next_run = pruning.timer().filter(|_| runs).and_then(|timer| timer.next(now));
    let before = std::mem::take(&mut status.conditions);
    let condition = |about: &str, holds: bool, reason: &str, message: &str| {
        Condition::turned(&before, (about, holds), (reason, cut(message, TEXT)), generation, now)
    };
    let mut all = Vec::new();
    let last = status.history.first();
    let hangs = last.filter(|run| run.hanging > 0);
    if !pruning.problems().is_empty() {
        let message = format!("it only observes until this is mended: {}", pruning.problems().join("; "));
        all.push(condition(READY, false, "Invalid", &message));
        all.push(condition(STALLED, true, "Invalid", &message));
    } else if let Some(trouble) = trouble {
        all.push(condition(READY, false, "CannotPlan", trouble));
    } else if let Some(run) = &status.run {
        let message = format!("{} of {} are deleted", run.deleted, run.planned);
        all.push(condition(READY, false, "Running", &message));
        all.push(condition(RECONCILING, true, "Running", &message));
    } else if let Some(run) = hangs {
        all.push(condition(READY, false, "DeletionHangs", &run.message));
        all.push(condition(STALLED, true, "DeletionHangs", &run.message));
    } else if let Some(pause) = pruning.paused(now) {
        let message = format!("no run is begun until {}: {}", pause.until, pause.reason);
        all.push(condition(READY, true, "Paused", &message));
    } else if pruning.rules().suspended {
        all.push(condition(READY, true, "Suspended", "no run is begun: spec.suspend"));
    } else {
        let message = last.map_or_else(|| "it has not run yet".to_owned(), |run| run.message.clone());
        all.push(condition(READY, true, "InForce", &message));
    }
    status.conditions = all;
}

/// The merge patch of the status subresource.
#[must_use]
pub fn patch(entry: &Entry) -> Value {
    let mut status = serde_json::to_value(&entry.status).unwrap_or_default();
    clear(&mut status, "", &["lastHandledRequest", "lastScheduled", "nextRun", "counts", "plan", "run"]);
    clear(&mut status, "/run", &["request", "heldBy"]);
    json!({"metadata": {"resourceVersion": &*entry.version}, "status": status})
}
