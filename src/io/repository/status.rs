//! The status of a KopiaRepository: the Job under way, what came of each task, and what holds it.
//!
//! Each function says one thing that has happened; [`patch`] makes the write of it, on the version that was read. A Job
//! is in the status before it is made.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Entry, task, task_name, trigger};
use crate::api::condition::{Condition, HEALTHY, READY, RECONCILING, STALLED};
use crate::api::kopia::{
    ExpireApproval, ExpireStatus, FindingStatus, HeldSource, JobOutcome, JobRecord, JobRun, OwnerSight, SettingChange,
    SettingsApproval, SettingsStatus, Sight, SourceSight, Stopped, TaskFailure, TaskStatus, VolumePoint,
};
use crate::api::{APPROVED_EXPIRY, APPROVED_SETTINGS};
use crate::domain::kopia::expire::Held;
use crate::domain::kopia::{Advice, Class, Identity};
use crate::domain::repository::Task;
use crate::domain::repository::agenda::{self, Agenda, Hold, Trigger};
use crate::domain::repository::course::{Conclusion, Going};
use crate::domain::repository::findings::{self, Finding, Owner, Point};
use crate::domain::repository::report::{self, Difference, Ended};
use crate::io::ledger::{clear, cut};

/// So many Jobs are remembered.
const HISTORY: usize = 25;
/// The longest message.
const TEXT: usize = 1024;
/// The longest reason for a hold.
const SHORT: usize = 512;

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A Job is decided on: this is stored before it is made.
pub fn begun(entry: &mut Entry, what: Task, why: Trigger, job: &str, now: Timestamp) {
    let slot = agenda::slot(&entry.custody, what, now);
    let request = entry.told.requested.as_deref().filter(|_| why == Trigger::Request);
    let approved = entry.told.approval(what);
    entry.status.run = Some(JobRun {
        task: task_name(what),
        trigger: trigger(why),
        request: request.map(str::to_owned),
        job: job.to_owned(),
        job_uid: None,
        started_at: now,
        generation: entry.told.generation,
        approved: approved.map(|plan| cut(plan.as_str(), 128)),
        held_by: None,
    });
    entry.going = Some(Going { task: what, uid: None, since: now });
    // Whatever comes of it, the time is served: what fails is tried again by its own rule.
    if let Some(slot) = slot {
        with(entry, what, |one| one.last_scheduled = Some(slot));
    }
}

/// Its Job is there.
pub fn made(entry: &mut Entry, uid: &str) {
    if let Some(run) = &mut entry.status.run {
        run.job_uid = Some(uid.to_owned());
    }
    if let Some(going) = &mut entry.going {
        going.uid = Some(uid.into());
    }
}

/// What keeps it from beginning; whether that is news.
pub fn held_by(entry: &mut Entry, why: Option<&str>) -> bool {
    let Some(run) = &mut entry.status.run else { return false };
    let before = std::mem::replace(&mut run.held_by, why.map(|why| cut(why, SHORT)));
    before != run.held_by
}

/// Changes the status of one task; they stand in one order.
fn with(entry: &mut Entry, what: Task, change: impl FnOnce(&mut TaskStatus)) {
    let all = &mut entry.status.tasks;
    let known = all.iter().position(|one| task(one.task) == what).map(|at| all.remove(at));
    let mut one = known.unwrap_or_else(|| TaskStatus {
        task: task_name(what),
        last_scheduled: None,
        last_success: None,
        freed_bytes: None,
        failures: 0,
        retry_at: None,
        failed_generation: None,
        failed_request: None,
        failure: None,
        next: None,
    });
    change(&mut one);
    all.push(one);
    all.sort_by_key(|one| task(one.task));
}

/// The Job is over.
pub fn closed(entry: &mut Entry, us: &Identity, conclusion: &Conclusion, now: Timestamp) {
    let Some(run) = entry.status.run.take() else { return };
    entry.going = None;
    let what = task(run.task);
    let ran = conclusion.ended != Ended::NotRun;
    if run.request.is_some() && ran {
        entry.status.last_handled_request.clone_from(&run.request);
    }
    let freed = conclusion.report.as_ref().and_then(|report| report.freed_bytes).map(number);
    let happened = conclusion.ended == Ended::Happened;
    let class = conclusion.class.map(|class| class.to_string());
    let class = class.or_else(|| conclusion.report.as_ref().and_then(|report| report.class.clone()));
    let class = class.map(|class| cut(&class, 63));
    let outcome = outcome(conclusion.ended);
    with(entry, what, |one| {
        if happened {
            (one.last_success, one.freed_bytes, one.failures) = (Some(now), freed, 0);
            (one.retry_at, one.failed_generation, one.failed_request) = (None, None, None);
            one.failure = None;
        } else {
            one.failures = one.failures.saturating_add(1).min(u32::MAX >> 1);
            one.retry_at = Some(agenda::retry_at(one.failures, conclusion.class, now));
            one.failed_generation = Some(run.generation);
            one.failed_request = run.request.clone().filter(|_| !ran);
            let since = one.failure.as_ref().map_or(now, |failure| failure.since);
            let (class, said) = (class.clone(), cut(&conclusion.said, SHORT));
            one.failure = Some(TaskFailure { outcome, class, said, since, at: now });
        }
    });
    stop(entry, what, conclusion, now);
    if happened && what == Task::Own {
        entry.status.owned_since = Some(now);
    }
    if let Some(sight) = conclusion.report.as_ref().and_then(|report| report.sight.as_ref()) {
        looked(entry, us, sight, run.started_at, now);
    }
    if let Some(expired) = conclusion.report.as_ref().and_then(|report| report.expired.as_ref()) {
        let held = |one: &Held| HeldSource {
            source: cut(&one.source, SHORT),
            reason: cut(&one.reason, 63),
            said: cut(&one.said, SHORT),
        };
        let all = |sources: &[String]| sources.iter().take(64).map(|source| cut(source, SHORT)).collect();
        let approval = expired.approval.as_ref().map(|approval| ExpireApproval {
            plan: cut(&approval.plan, 128),
            given: approval.given,
            foreign: all(&approval.foreign),
            global_policy: all(&approval.global),
        });
        entry.status.expire = Some(ExpireStatus {
            at: Some(now),
            terms: cut(&expired.terms, 128),
            would: number(expired.would),
            deleted: number(expired.deleted),
            held: expired.held.iter().take(16).map(held).collect(),
            approval,
        });
    }
    if let Some(settings) = conclusion.report.as_ref().and_then(|report| report.settings.as_ref()) {
        let before = entry.status.settings.take().unwrap_or_default();
        entry.status.settings = Some(settled(before, settings, now));
    }
    // What it did with its approval before it failed cannot be told for sure: it may have been used, so it is.
    let failed = matches!(conclusion.ended, Ended::Failed | Ended::Unclear);
    if what == Task::Settings && failed && run.approved.is_some() {
        entry.status.settings.get_or_insert_default().approved_at = Some(now);
    }
    let record = JobRecord {
        task: run.task,
        trigger: run.trigger,
        job: run.job,
        started_at: run.started_at,
        finished_at: now,
        outcome,
        class,
        freed_bytes: freed,
        message: cut(&conclusion.said, TEXT),
    };
    entry.status.history.insert(0, record);
    entry.status.history.truncate(HISTORY);
    entry.retell();
}

/// What a run says of policies and epochs. What was set last, and when, stays until something is set again.
fn settled(before: SettingsStatus, told: &report::Settings, now: Timestamp) -> SettingsStatus {
    let change = |one: &Difference| SettingChange { target: cut(&one.target, SHORT), change: cut(&one.change, SHORT) };
    let changes = |all: &[Difference]| -> Vec<SettingChange> { all.iter().take(64).map(change).collect() };
    let known = |one: &SettingChange| Difference { target: one.target.clone(), change: one.change.clone() };
    let known: Vec<Difference> = before.set.iter().map(known).collect();
    let (set_at, set) = if told.set.is_empty() { (before.set_at, before.set) } else { (Some(now), changes(&told.set)) };
    let again: Vec<String> = report::again(&known, &told.set).into_iter().take(64).map(|one| cut(one, SHORT)).collect();
    let again_since = before.again_since.or(before.set_at).filter(|_| !again.is_empty());
    SettingsStatus {
        at: Some(now),
        kept: number(told.kept),
        set_at,
        set,
        again,
        again_since,
        approved_at: if told.by_approval { Some(now) } else { before.approved_at },
        approval: told
            .approval
            .as_ref()
            .map(|asked| SettingsApproval { plan: cut(&asked.plan, 128), changes: changes(&asked.changes) }),
    }
}

fn outcome(ended: Ended) -> JobOutcome {
    match ended {
        Ended::Happened => JobOutcome::Happened,
        Ended::Failed => JobOutcome::Failed,
        Ended::NotRun => JobOutcome::NotRun,
        Ended::Unclear => JobOutcome::Unclear,
    }
}

/// What a look saw, and what of it is remembered beyond the next one.
fn looked(entry: &mut Entry, us: &Identity, sight: &report::Sight, began: Timestamp, now: Timestamp) {
    let status = &mut entry.status;
    // The first one that is seen is kept to.
    if status.unique_id.is_none() {
        status.unique_id = sight.unique_id.as_deref().map(|id| cut(id, 128));
    }
    let skew = sight.at.and_then(|at| findings::skew(at, began, now));
    status.repository = Some(Sight { skew_seconds: skew.map(|skew| skew.as_secs()), ..shown(sight) });
    let owner = sight.owner.as_deref().map(|owner| cut(owner, SHORT));
    let owners = findings::with_owner(&entry.told.owners, owner.as_deref(), now);
    let owner = |one: Owner| OwnerSight { owner: one.owner.map(Into::into), since: one.since };
    status.owners = owners.into_iter().map(owner).collect();
    if let (Some(capacity), Some(available)) = (sight.volume_capacity, sight.volume_available) {
        let trend = findings::with_point(&entry.told.trend, Point { at: now, capacity, available });
        let point =
            |one: Point| VolumePoint { at: one.at, capacity: number(one.capacity), available: number(one.available) };
        status.volume_trend = trend.into_iter().map(point).collect();
    }
    // As the status has it now, with this run in it.
    entry.retell();
    let stranger = entry.told.seen.as_ref().and_then(|seen| findings::stranger(&entry.told, us, seen, now));
    entry.status.foreign_run = stranger.or(entry.status.foreign_run);
}

/// What is wrong with it.
pub fn found(entry: &mut Entry, all: &[Finding]) {
    let one = |finding: &Finding| FindingStatus {
        class: finding.class.to_string(),
        since: finding.since,
        message: cut(&finding.said, TEXT),
    };
    entry.status.findings = all.iter().map(one).collect();
}

/// Whether anything may be written to it from now on.
fn stop(entry: &mut Entry, what: Task, conclusion: &Conclusion, now: Timestamp) {
    if let Some(class) = conclusion.class.filter(|class| agenda::stops(*class)) {
        let since = entry.status.stopped.as_ref().filter(|stopped| stopped.class == class.to_string());
        let since = since.map_or(now, |stopped| stopped.since);
        entry.status.stopped = Some(Stopped { class: class.to_string(), said: cut(&conclusion.said, TEXT), since });
    } else if conclusion.ended == Ended::Happened {
        let known = |stopped: &Stopped| Class::from_name(&stopped.class).unwrap_or(Class::Unknown);
        entry.status.stopped = entry.status.stopped.take().filter(|stopped| !agenda::clears(what, known(stopped)));
    }
}

fn shown(sight: &report::Sight) -> Sight {
    let stale = |one: &report::Stale| SourceSight {
        source: cut(&one.source, SHORT),
        newest: one.newest,
        snapshots: number(one.snapshots),
        period_seconds: one.period_seconds.map(number),
    };
    Sight {
        at: sight.at,
        owner: sight.owner.as_deref().map(|owner| cut(owner, SHORT)),
        last_maintenance: sight.last_maintenance,
        cycle_seconds: sight.cycle_seconds.map(number),
        format: sight.format.map(number),
        epoch: sight.epoch.map(number),
        index_blobs: sight.index_blobs.map(number),
        blobs: sight.blobs.map(number),
        bytes: sight.bytes.map(number),
        volume_capacity: sight.volume_capacity.map(number),
        volume_available: sight.volume_available.map(number),
        sources: sight.sources.map(number),
        snapshots: sight.snapshots.map(number),
        skew_seconds: None,
        stalest: sight.stalest.iter().map(stale).collect(),
    }
}

/// Brings everything up to date that follows from the rest; `trouble` is why the daemon could not do its work.
pub fn said(entry: &mut Entry, agenda: &Agenda, us: &Identity, trouble: Option<&str>, now: Timestamp) {
    entry.status.observed_generation = Some(entry.told.generation);
    entry.status.identity = Some(us.to_string());
    entry.status.owner_plan = agenda::owner_plan(&entry.told, us).map(|plan| plan.as_str().to_owned());
    let rests = entry.custody.rules().suspended || !entry.custody.problems().is_empty();
    for what in Task::ALL {
        let next = entry.custody.timer(what).filter(|_| !rests).and_then(|timer| timer.next(now));
        if next.is_some() || entry.status.tasks.iter().any(|one| task(one.task) == what) {
            with(entry, what, |one| one.next = next);
        }
    }
    let before = std::mem::take(&mut entry.status.conditions);
    let generation = entry.told.generation;
    let condition = |about: &str, (holds, reason, message): (bool, &str, &str)| {
        Condition::turned(&before, (about, holds), (reason, cut(message, TEXT)), generation, now)
    };
    let word = verdict(entry, agenda, us, trouble);
    let mut all = vec![condition(READY, (word.ready, word.reason, &word.message))];
    let wrong = &entry.status.findings;
    if entry.status.repository.is_some() || !wrong.is_empty() {
        let said: Vec<String> = wrong.iter().map(|one| format!("{}: {}", one.class, one.message)).collect();
        let (reason, message) = match wrong.first() {
            Some(worst) => (worst.class.as_str(), said.join(". ")),
            None => ("NothingFound", "nothing is found wrong with it, as of the last look".to_owned()),
        };
        all.push(condition(HEALTHY, (wrong.is_empty(), reason, &message)));
    }
    if let Some(run) = &entry.status.run {
        let held = run.held_by.as_deref().map(|why| format!(", and waits: {why}")).unwrap_or_default();
        let message = format!("Job {} does {:?}{held}", run.job, run.task);
        all.push(condition(RECONCILING, (true, "JobRuns", &message)));
    }
    if word.stalled {
        all.push(condition(STALLED, (true, word.reason, &word.message)));
    }
    entry.status.conditions = all;
}

/// What the condition Ready says.
struct Word {
    ready: bool,
    stalled: bool,
    reason: &'static str,
    message: String,
}

fn verdict(entry: &Entry, agenda: &Agenda, us: &Identity, trouble: Option<&str>) -> Word {
    let word = |ready, stalled, reason, message| Word { ready, stalled, reason, message };
    let status = &entry.status;
    if !entry.custody.problems().is_empty() {
        let message = format!("nothing is begun until this is mended: {}", entry.custody.problems().join("; "));
        return word(false, true, "Invalid", message);
    }
    if let Some(trouble) = trouble {
        return word(false, false, "CannotWork", trouble.to_owned());
    }
    if let Some(stopped) = &status.stopped {
        let message = format!("nothing is written to it: {}: {}", stopped.class, stopped.said);
        return word(false, true, "Stopped", message);
    }
    if entry.custody.rules().suspended {
        return word(true, false, "Suspended", "no Job is made: spec.suspend".to_owned());
    }
    let held = |name: &str| agenda.held.iter().find(|(_, hold)| hold.as_str() == name);
    if let Some((_, hold)) = held("Rival") {
        return word(false, true, "Rival", hold.to_string());
    }
    if let Some((_, hold @ Hold::NotOwner(_))) = held("NotOwner") {
        let plan = status.owner_plan.as_deref().unwrap_or_default();
        let key = entry.custody.key();
        let last = status.repository.as_ref().and_then(|sight| sight.last_maintenance);
        let last = last.map_or_else(|| "none has ever run".to_owned(), |at| format!("it last ended well at {at}"));
        let message = format!(
            "{hold}, and we are {us}; {last}; leave it to them, or approve once that we become the owner: kubectl -n {} annotate \
             kopiarepository {} volwarden.dev/approved={plan} --overwrite",
            key.namespace, key.name
        );
        return word(false, true, "NotOwner", message);
    }
    if status.unique_id.is_none() || status.repository.is_none() {
        let last = status.history.first();
        let message = last.map_or_else(|| "it has not been seen yet".to_owned(), |last| last.message.clone());
        return word(false, false, "Unseen", message);
    }
    let failing = status.tasks.iter().filter(|one| one.failures > 0).max_by_key(|one| one.failures);
    if let Some(failing) = failing {
        let last = status.history.iter().find(|one| one.task == failing.task);
        let class = last.and_then(|last| last.class.as_deref()).and_then(Class::from_name);
        let person = class.is_some_and(|class| class.advice() != Advice::Retry);
        let said = last.map(|last| last.message.as_str()).unwrap_or_default();
        let message = format!("{:?} failed {} times in a row: {said}", failing.task, failing.failures);
        return word(false, person, "TaskFails", message);
    }
    if let Some(message) = awaits(entry) {
        return word(true, false, "AwaitsApproval", message);
    }
    if let Some((what, hold)) = agenda.held.first() {
        return word(true, false, "InForce", format!("{what} waits: {hold}"));
    }
    let last = status.history.first();
    let message = last.map_or_else(String::new, |last| format!("{:?}: {}", last.task, last.message));
    word(true, false, "InForce", message)
}

/// What waits for an approval, and how it is given.
fn awaits(entry: &Entry) -> Option<String> {
    let key = entry.custody.key();
    let way = |annotation: &str, plan: &str| {
        format!("kubectl -n {} annotate kopiarepository {} {annotation}={plan} --overwrite", key.namespace, key.name)
    };
    let expiry = entry.awaits().map(|approval| {
        format!(
            "snapshots of some sources go only by approval: see in status.expire.approval which, and why; approve exactly these: {}",
            way(APPROVED_EXPIRY, &approval.plan)
        )
    });
    let settings = entry.awaits_settings().map(|approval| {
        format!(
            "some policies or epochs are set only by approval: see in status.settings.approval which, from what to what; approve exactly these: \
             {}",
            way(APPROVED_SETTINGS, &approval.plan)
        )
    });
    let all: Vec<String> = expiry.into_iter().chain(settings).collect();
    (!all.is_empty()).then(|| all.join(". "))
}

/// The merge patch of the status subresource.
#[must_use]
pub fn patch(entry: &Entry) -> Value {
    let mut status = serde_json::to_value(&entry.status).unwrap_or_default();
    let gone = [
        "uniqueID",
        "ownedSince",
        "ownerPlan",
        "stopped",
        "repository",
        "foreignRun",
        "expire",
        "settings",
        "lastHandledRequest",
        "run",
    ];
    clear(&mut status, "", &gone);
    clear(&mut status, "/run", &["request", "jobUID", "approved", "heldBy"]);
    clear(&mut status, "/expire", &["at", "approval"]);
    clear(&mut status, "/settings", &["at", "setAt", "againSince", "approvedAt", "approval"]);
    let sight = [
        "at",
        "owner",
        "lastMaintenance",
        "cycleSeconds",
        "format",
        "epoch",
        "indexBlobs",
        "blobs",
        "bytes",
        "volumeCapacity",
        "volumeAvailable",
        "sources",
        "snapshots",
        "skewSeconds",
    ];
    clear(&mut status, "/repository", &sight);
    json!({"metadata": {"resourceVersion": &*entry.version}, "status": status})
}
