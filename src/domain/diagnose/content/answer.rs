//! Rules that rest on what the driver answered, as Events and csi-snapshotter's log tell it - or on their silence.

use std::time::Duration;

use super::{Case, NOT_WRITTEN, SAME_TRY};
use crate::domain::components::Health;
use crate::domain::diagnose::{Diagnosis, Floor};
use crate::domain::fact::Source;
use crate::domain::finding::{Class, Rung};
use crate::domain::logline::Attempt;
use crate::domain::memory::Log;
use crate::domain::record::{DeletionPolicy, SecretName};
use crate::domain::words;

/// Message of the deletion error event when the secret could not be read.
const NO_CREDENTIALS: &str = "Failed to get snapshot credentials";

pub(super) fn secret_missing(case: &Case<'_>) -> Option<Diagnosis> {
    let event = case.error_event();
    let attempt = case.attempt();
    // The newest failure decides: a secret that is back leaves its old event behind for an hour.
    let attempt_is_newer = match (attempt.and_then(|attempt| attempt.at), event.and_then(|event| event.last)) {
        (Some(attempt), Some(event)) => words::age(attempt, event) > SAME_TRY,
        (Some(_), None) => true,
        _ => false,
    };
    let by_event = event.is_some_and(|event| event.message.starts_with(NO_CREDENTIALS));
    let missing = if attempt_is_newer { attempt.is_some_and(Attempt::is_secret) } else { by_event };
    if !missing {
        return None;
    }
    let (named, remedy) = secret_words(case.content.secret.as_deref());
    let draft = case.draft(Class::SecretMissing, named).evidence(case.failure_lines()).repair(Rung::Report, remedy);
    Some(case.settle(Floor::age(case.timing.short_floor()), draft))
}

fn secret_words(secret: Option<&SecretName>) -> (String, String) {
    match secret {
        Some(secret) => (
            format!("its deletion secret {}/{} cannot be read", secret.namespace, secret.name),
            format!(
                "restore Secret {} in namespace {}; csi-snapshotter retries by itself",
                secret.name, secret.namespace
            ),
        ),
        None => (
            "its deletion secret cannot be read, and its annotations do not name one".to_owned(),
            "restore the annotations deletion-secret-name and deletion-secret-namespace of the content".to_owned(),
        ),
    }
}

pub(super) fn operation_locked(case: &Case<'_>) -> Option<Diagnosis> {
    // Younger than that, a restore may hold the lock by right: then it merely retries.
    let old = case.age >= case.timing.nudge_floor();
    let attempt = case.answer().filter(|attempt| old && attempt.is_lock())?;
    let draft = case
        .draft(Class::OperationLocked, format!("driver {} refuses: an operation on this snapshot never ended", case.content.driver))
        .evidence(case.failure_lines())
        .evidence([format!("driver's words: {}", attempt.words)])
        .repair(
            Rung::RestartLeader,
            "restart the pod of the csi-snapshotter leader (its driver holds the lock in memory), wait for the new leader, \
             then nudge; removing the finalizer would leave the backend snapshot behind",
        );
    Some(case.settle(Floor::age(case.timing.nudge_floor()), draft))
}

pub(super) fn backend_error(case: &Case<'_>) -> Option<Diagnosis> {
    let attempt = case.answer().filter(|attempt| {
        !matches!(&*attempt.code, "" | "DeadlineExceeded" | "Canceled" | "Aborted" | "ResourceExhausted")
    })?;
    let draft = case
        .draft(
            Class::BackendError,
            format!("driver {} answers {}: {}", case.content.driver, attempt.code, attempt.words),
        )
        .evidence(case.failure_lines())
        .repair(Rung::Report, "mend the storage backend; csi-snapshotter retries by itself");
    Some(case.settle(Floor::age(case.timing.short_floor()), draft))
}

pub(super) fn retrying(case: &Case<'_>) -> Option<Diagnosis> {
    if !case.retries() {
        return None;
    }
    let code = case.attempt().filter(|attempt| !attempt.code.is_empty()).map(|attempt| format!(" ({})", attempt.code));
    let by_event = case.error_event().is_some_and(|event| event.message.starts_with(NOT_WRITTEN));
    let unwritten = case.attempt().map_or(by_event, |one| one.unwritten || (by_event && one.code.is_empty()));
    let fails = if unwritten && case.content.policy != DeletionPolicy::Delete {
        "csi-snapshotter's write of it is refused".to_owned()
    } else if unwritten {
        format!("driver {} has deleted it, but csi-snapshotter's write of that is refused", case.content.driver)
    } else {
        format!("driver {} fails to delete{}", case.content.driver, code.unwrap_or_default())
    };
    let summary =
        format!("{fails}; csi-snapshotter tries again, at most {} apart", words::short(case.timing.retry_max));
    let draft = case.draft(Class::Retrying, summary).evidence(case.failure_lines()).repair(
        Rung::Report,
        "wait: retries are automatic; if it lasts, look at the driver's log and at the storage backend",
    );
    Some(case.settle(Floor::age(case.timing.short_floor()), draft))
}

/// Rests on an absence: no try was ever made. So it needs a source that would have told of one.
pub(super) fn missed_event(case: &Case<'_>) -> Option<Diagnosis> {
    let content = case.content;
    let sources = &case.ctx.world.sources;
    let handled = content.being_deleted && content.handle().is_some() && case.holds_own_finalizer();
    // A node's own sidecar serves it: what is known of the driver's leader says nothing about that one.
    if content.managed_by.is_some()
        || !handled
        || case.error_event().is_some()
        || case.attempt().is_some()
        || case.ctx.storm(&content.driver)
    {
        return None;
    }
    let view = case.view?;
    let Health::Alive { seen } = view.health else { return None };
    // A release under Retain that fails leaves no Event, for no driver was asked.
    let told = content.policy == DeletionPolicy::Delete && sources.known(Source::ContentEvents);
    let events = told && sources.get(Source::ContentEvents).is_some_and(|f| f.ever_synced);
    let logged = match case.log() {
        // It speaks for the time from the deletion to the reading: that has to be as long as the floor.
        Some(Log::Read { since, read, .. }) => {
            let covered = words::age(*read, case.since) >= case.timing.nudge_floor();
            covered && since.is_some_and(|since| since <= case.since)
        }
        // Asked for and not answered yet: the answer may hold a try.
        None if view.log.is_some() => return None,
        Some(Log::Forbidden | Log::Failed(_)) | None => false,
    };
    // Without the Events nobody knows what it was that could not be written.
    let unclear = !events && case.newest_line().is_some_and(|line| line.unwritten);
    if (!events && !logged) || unclear {
        return None;
    }
    let witness = if logged { "csi-snapshotter's log since the deletion" } else { "the Events about it" };
    let draft = case
        .draft(Class::MissedEvent, "csi-snapshotter never tried to delete it: it missed the deletion")
        .evidence([format!("no try in {witness}; the leader is alive")])
        .evidence(view.lines())
        // A leader that has just died has renewed its lease a moment ago: until it is seen to do so again, wait.
        .unverified(!seen)
        .repair(Rung::Nudge, "touch one annotation of the content: csi-snapshotter looks again at once and deletes");
    let floor = case.timing.nudge_floor();
    // One that was marked late is csi-snapshotter's to delete only since then.
    let marked = case.ctx.world.marked_for(&case.subject.key, case.ctx.now);
    let late = marked.map_or(Duration::ZERO, |marked| case.age + floor.saturating_sub(marked));
    Some(case.settle(Floor::age(case.ctx.floor_at_work(view, floor, case.age).max(late)), draft))
}

pub(super) fn unexplained(case: &Case<'_>) -> Option<Diagnosis> {
    if case.age < case.timing.general_floor() {
        return None;
    }
    let health = match case.view.map(|view| &view.health) {
        Some(Health::Unknown(why)) => {
            Some(format!("whether a csi-snapshotter of {} works cannot be told: {why}", case.content.driver))
        }
        _ => None,
    };
    let (log, remedy) = match case.log() {
        Some(Log::Forbidden) => (
            Some("csi-snapshotter's log may not be read".to_owned()),
            "grant pods/log: only csi-snapshotter's log says what the driver answered".to_owned(),
        ),
        Some(Log::Failed(words)) => (
            Some(format!("csi-snapshotter's log could not be read: {words}")),
            "look at csi-snapshotter's log".to_owned(),
        ),
        Some(Log::Read { .. }) => (
            Some("csi-snapshotter's log does not mention it".to_owned()),
            "look at the logs of csi-snapshotter and of the driver".to_owned(),
        ),
        None => (None, format!("look at the log of the csi-snapshotter of {}", case.content.driver)),
    };
    let node = case
        .content
        .managed_by
        .as_ref()
        .map(|node| format!("served by the csi-snapshotter of node {node}, whose health is not judged"));
    let draft = case
        .draft(Class::Unexplained, "stuck, and nothing that can be seen from here explains it")
        .evidence(case.failure_lines())
        .evidence(node)
        .evidence(health)
        .evidence(log)
        .repair(Rung::Report, remedy);
    // It rests on its still being there: after a jump of the clock, of something that was seen a moment before.
    Some(case.settle(Floor::age(case.timing.general_floor()).told_by(Source::Contents), draft))
}
