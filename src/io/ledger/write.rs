//! From a record to what is sent: the object, and its status as one merge patch.
//!
//! A merge patch leaves alone what it does not name, so every field that may be absent is named, with a null. Times
//! of conditions come from the record itself: the same record always gives the same status.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ATTEMPTS, HASH, cut};
use crate::api::condition::{Condition, ConditionStatus, READY, RECONCILING, STALLED};
use crate::api::period::Period;
use crate::api::remediation::{
    self as api, AttemptOutcome, GuardVerdict, ObjectRef, RemediationSpec, RemediationStatus, Verification,
};
use crate::domain::guard::{Guard, Verdict};
use crate::domain::ledger::{Attempt, Outcome, Phase, Plan, Record};
use crate::domain::name::Key;
use crate::domain::remedy::action::{Target, Write};
use crate::domain::words;

/// Messages and summaries.
const TEXT: usize = 1024;
/// Reasons of guards, and messages of attempts.
const REASON: usize = 512;
/// Messages of attempts that are older than so many others: a storm's episode has hundreds.
const OLD: (usize, usize) = (64, 120);
/// The longest time that the schema can write.
const LONGEST: Period = Period::hours(9999);

/// Fields that may be absent, by the object they are in.
const STATUS: [&str; 12] = [
    "observedGeneration",
    "phase",
    "message",
    "heldBy",
    "plan",
    "approval",
    "intent",
    "orphanedSnapshot",
    "outcome",
    "openedAt",
    "startedAt",
    "finishedAt",
];
const PLAN: [&str; 2] = ["finalizer", "handle"];
const TARGET: [&str; 1] = ["namespace"];

/// What a POST sends. The status is no part of it: the server drops it there.
#[must_use]
pub fn created(record: &Record) -> Value {
    let Key { namespace, name } = &record.subject.key;
    let spec = RemediationSpec {
        subject: ObjectRef {
            kind: record.subject.kind.as_str().to_owned(),
            namespace: filled(namespace),
            name: name.to_string(),
            uid: record.uid.as_ref().map(ToString::to_string),
        },
        class: record.class.as_str().to_owned(),
        driver: filled(&record.driver),
        since: record.since,
    };
    json!({
        "apiVersion": format!("{}/{}", crate::api::GROUP, crate::api::VERSION),
        "kind": "Remediation",
        "metadata": {"name": &*record.name},
        "spec": serde_json::to_value(spec).unwrap_or_default(),
    })
}

/// The merge patch of the status subresource: the whole status, on the version that the record has.
#[must_use]
pub fn status(record: &Record, generation: i64) -> Value {
    let mut status = serde_json::to_value(shown(record, generation)).unwrap_or_default();
    clear(&mut status, "", &STATUS);
    clear(&mut status, "/plan", &PLAN);
    clear(&mut status, "/plan/target", &TARGET);
    clear(&mut status, "/intent/target", &TARGET);
    json!({"metadata": {"resourceVersion": &*record.version}, "status": status})
}

/// Names what is absent in the object at this place, so that nothing old stays there.
pub(in crate::io) fn clear(status: &mut Value, place: &str, fields: &[&str]) {
    if let Some(map) = status.pointer_mut(place).and_then(Value::as_object_mut) {
        for field in fields {
            map.entry(*field).or_insert(Value::Null);
        }
    }
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn shown(record: &Record, generation: i64) -> RemediationStatus {
    let over = record.phase.is_over();
    let started = record.attempts.first().map(|attempt| attempt.at);
    let held = || record.verdicts.iter().find(|(_, verdict)| !verdict.allows());
    let waits = matches!(record.phase, Phase::Held | Phase::AwaitingApproval);
    RemediationStatus {
        observed_generation: Some(generation),
        phase: Some(phase(record.phase)),
        message: Some(cut(&record.message, TEXT)),
        held_by: held().filter(|_| waits).map(|(guard, _)| guard.as_str().to_owned()),
        evidence: record.evidence.iter().take(32).map(|line| cut(line, TEXT)).collect(),
        plan: record.plan.as_ref().map(plan),
        verdicts: record.verdicts.iter().map(verdict).collect(),
        approval: record.approval.as_ref().map(|approval| api::Approval {
            hash: cut(approval.hash.as_str(), HASH),
            at: approval.at,
            expires: approval.expires,
        }),
        intent: record.intent.as_ref().map(|intent| api::Intent {
            attempt: intent.number,
            rung: intent.step.as_str().to_owned(),
            hash: intent.hash.as_str().to_owned(),
            target: target(&intent.target),
            at: intent.at,
            by: cut(&intent.by, 253),
            leaks: intent.leaks,
            destroys: intent.destroys,
        }),
        attempts: attempts(&record.attempts),
        orphaned_snapshot: record.orphan.as_deref().map(ToOwned::to_owned),
        outcome: over.then(|| cut(&record.message, TEXT)),
        opened_at: Some(record.opened),
        started_at: started.or(record.intent.as_ref().map(|intent| intent.at)),
        finished_at: record.finished,
        conditions: conditions(record, generation),
    }
}

fn phase(phase: Phase) -> api::Phase {
    match phase {
        Phase::Held => api::Phase::Held,
        Phase::AwaitingApproval => api::Phase::AwaitingApproval,
        Phase::Acting => api::Phase::Acting,
        Phase::Verifying => api::Phase::Verifying,
        Phase::Done => api::Phase::Done,
        Phase::Failed => api::Phase::Failed,
        Phase::Lapsed => api::Phase::Lapsed,
    }
}

fn plan(plan: &Plan) -> api::Plan {
    let finalizer = match plan.step.write() {
        Write::RemoveFinalizer(name) => Some(name.to_owned()),
        Write::Annotate { .. } | Write::Delete => None,
    };
    api::Plan {
        hash: plan.hash.as_str().to_owned(),
        rung: plan.step.as_str().to_owned(),
        summary: cut(&plan.summary, TEXT),
        policies: plan.policies.iter().take(16).map(ToString::to_string).collect(),
        target: target(&plan.target),
        leaks: plan.leaks,
        destroys: plan.destroys,
        finalizer,
        handle: plan.handle.as_deref().map(|handle| cut(handle, TEXT)),
    }
}

fn target(target: &Target) -> api::Target {
    api::Target {
        kind: target.kind.as_str().to_owned(),
        namespace: filled(&target.key.namespace),
        name: target.key.name.to_string(),
        uid: target.uid.to_string(),
        resource_version: target.version.to_string(),
    }
}

fn verdict((guard, verdict): &(Guard, Verdict)) -> GuardVerdict {
    let (verdict, reason, until) = match verdict {
        Verdict::Allow => (api::Verdict::Allow, "", None),
        Verdict::Wait { until, reason } => (api::Verdict::Wait, reason.as_str(), *until),
        Verdict::Refuse { reason } => (api::Verdict::Refuse, reason.as_str(), None),
    };
    GuardVerdict { guard: guard.as_str().to_owned(), verdict, reason: cut(reason, REASON), until }
}

fn attempts(all: &[Attempt]) -> Vec<api::Attempt> {
    let kept = kept(all);
    let old = kept.len().saturating_sub(OLD.0);
    let numbered = kept.into_iter().enumerate();
    numbered.map(|(at, attempt)| one(attempt, if at < old { OLD.1 } else { REASON })).collect()
}

fn one(attempt: &Attempt, most: usize) -> api::Attempt {
    let took = |ended| Period::seconds(words::age(ended, attempt.at).as_secs()).min(LONGEST);
    api::Attempt {
        number: attempt.number,
        rung: attempt.step.as_str().to_owned(),
        target: target(&attempt.target),
        at: attempt.at,
        outcome: match attempt.outcome {
            Outcome::Applied => AttemptOutcome::Applied,
            Outcome::Lost => AttemptOutcome::Lost,
            Outcome::Denied => AttemptOutcome::Denied,
            Outcome::Unreachable => AttemptOutcome::Unreachable,
            Outcome::Interrupted => AttemptOutcome::Interrupted,
        },
        verification: attempt.helped.map(|helped| if helped { Verification::Succeeded } else { Verification::Failed }),
        message: cut(&attempt.message, most),
        ended_at: attempt.ended,
        duration: attempt.ended.map(took),
    }
}

/// Where there are too many: the first, those that say where the ladder stands, the newest, and of the others first
/// those that count against a budget, the newer before the older.
fn kept(all: &[Attempt]) -> Vec<&Attempt> {
    let surplus = all.len().saturating_sub(ATTEMPTS);
    let newest = all.len().saturating_sub(OLD.0);
    let rank = |at: usize, attempt: &Attempt| match attempt {
        _ if at == 0 || at >= newest || attempt.helped.is_some() => 2,
        attempt if attempt.outcome.counts() => 1,
        _ => 0,
    };
    let mut ranked: Vec<(i32, usize)> = all.iter().enumerate().map(|(at, one)| (rank(at, one), at)).collect();
    ranked.sort_unstable();
    let mut left: Vec<usize> = ranked.into_iter().skip(surplus).map(|(_, at)| at).collect();
    left.sort_unstable();
    left.into_iter().filter_map(|at| all.get(at)).collect()
}

fn conditions(record: &Record, generation: i64) -> Vec<Condition> {
    let condition = |about: &str, holds: bool, since: Timestamp| Condition {
        r#type: about.to_owned(),
        status: if holds { ConditionStatus::True } else { ConditionStatus::False },
        observed_generation: Some(generation),
        last_transition_time: since,
        reason: record.phase.as_str().to_owned(),
        message: cut(&record.message, TEXT),
    };
    let opened = record.opened;
    let finished = record.finished.unwrap_or(opened);
    let last = record.attempts.last().map_or(opened, |attempt| attempt.ended.unwrap_or(attempt.at));
    match record.phase {
        Phase::Held | Phase::Acting | Phase::Verifying => {
            vec![condition(READY, false, opened), condition(RECONCILING, true, opened)]
        }
        // Nothing goes on without a person: so it was since the last step, or from the beginning.
        Phase::AwaitingApproval => vec![condition(READY, false, opened), condition(STALLED, true, last)],
        Phase::Failed => vec![condition(READY, false, opened), condition(STALLED, true, finished)],
        Phase::Done | Phase::Lapsed => vec![condition(READY, true, finished)],
    }
}
