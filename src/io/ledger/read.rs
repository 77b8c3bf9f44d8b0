//! From a Remediation to a record.
//!
//! An entry without a status was only just written: an open episode in which nothing was tried. A word that this
//! version does not know is an error: a record without that class, step or guard would count as something else.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use super::HASH;
use crate::api::APPROVED;
use crate::api::remediation::{
    self as api, AttemptOutcome, GuardVerdict, RemediationSpec, RemediationStatus, Verification,
};
use crate::domain::digest::Hash;
use crate::domain::finding::{Class, Subject};
use crate::domain::guard::{Guard, Verdict};
use crate::domain::ledger::{Approval, Attempt, Intent, Outcome, Phase, Plan, Record};
use crate::domain::name::{Key, Uid};
use crate::domain::record::Kind;
use crate::domain::remedy::Step;
use crate::domain::remedy::action::{Target, TargetKind};

/// Why an entry cannot be read, in one line.
#[derive(Debug, thiserror::Error)]
pub enum NoRecord {
    /// It is no JSON, or not in this version's shape.
    #[error("{0}")]
    Shape(#[from] serde_json::Error),
    /// A word of another version.
    #[error("{field}: `{word}` is not known to this version")]
    Word {
        /// Where it stands.
        field: &'static str,
        /// The word.
        word: String,
    },
    /// What has to be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
}

/// The object, as far as it is read.
#[derive(Deserialize)]
struct View {
    metadata: Metadata,
    spec: RemediationSpec,
    status: Option<RemediationStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<Box<str>>,
    resource_version: Option<Box<str>>,
    creation_timestamp: Option<Timestamp>,
    annotations: Option<BTreeMap<Box<str>, String>>,
}

/// Reads an entry, as the API server sends it.
///
/// # Errors
/// It cannot be read: it is there, and nothing may rest on the ledger until somebody looked at it.
pub fn record(json: &str) -> Result<Record, NoRecord> {
    let View { metadata, spec, status } = serde_json::from_str(json)?;
    let name = metadata.name.filter(|name| !name.is_empty()).ok_or(NoRecord::Missing("metadata.name"))?;
    let made = metadata.creation_timestamp.ok_or(NoRecord::Missing("metadata.creationTimestamp"))?;
    let version = metadata.resource_version.ok_or(NoRecord::Missing("metadata.resourceVersion"))?;
    let status = status.unwrap_or_default();
    let phase = status.phase.map_or(Phase::Held, phase);
    // The breaker counts by when it ended.
    if phase.is_over() && status.finished_at.is_none() {
        return Err(NoRecord::Missing("status.finishedAt"));
    }
    let verdicts: Result<_, NoRecord> = status.verdicts.into_iter().map(verdict).collect();
    let attempts: Result<_, NoRecord> = status.attempts.into_iter().map(attempt).collect();
    Ok(Record {
        name,
        version,
        subject: Subject::new(
            known("spec.subject.kind", &spec.subject.kind, Kind::from_name)?,
            key(spec.subject.namespace, spec.subject.name),
        ),
        uid: spec.subject.uid.as_deref().map(Uid::parse),
        class: known("spec.class", &spec.class, Class::from_name)?,
        driver: spec.driver.unwrap_or_default().into(),
        since: spec.since,
        evidence: status.evidence,
        opened: status.opened_at.unwrap_or(made),
        phase,
        message: status.message.unwrap_or_default(),
        plan: status.plan.map(plan).transpose()?,
        verdicts: verdicts?,
        approved: metadata.annotations.as_ref().and_then(|map| map.get(APPROVED)).and_then(|text| hash(text)),
        approval: status.approval.map(|approval| Approval {
            hash: Hash::written(&approval.hash),
            at: approval.at,
            expires: approval.expires,
        }),
        intent: status.intent.map(intent).transpose()?,
        attempts: attempts?,
        orphan: status.orphaned_snapshot.map(Into::into),
        finished: status.finished_at,
    })
}

/// Reads a word of our vocabulary.
fn known<T>(field: &'static str, word: &str, read: fn(&str) -> Option<T>) -> Result<T, NoRecord> {
    read(word).ok_or_else(|| NoRecord::Word { field, word: word.chars().take(63).collect() })
}

fn key(namespace: Option<String>, name: String) -> Key {
    Key::namespaced(namespace.unwrap_or_default(), name)
}

/// What somebody wrote onto the object. It is only compared, and the status has no room for more of it.
fn hash(text: &str) -> Option<Hash> {
    let text: String = text.trim().chars().take(HASH).collect();
    (!text.is_empty()).then(|| Hash::written(&text))
}

fn phase(phase: api::Phase) -> Phase {
    match phase {
        api::Phase::Held => Phase::Held,
        api::Phase::AwaitingApproval => Phase::AwaitingApproval,
        api::Phase::Acting => Phase::Acting,
        api::Phase::Verifying => Phase::Verifying,
        api::Phase::Done => Phase::Done,
        api::Phase::Failed => Phase::Failed,
        api::Phase::Lapsed => Phase::Lapsed,
    }
}

fn plan(plan: api::Plan) -> Result<Plan, NoRecord> {
    Ok(Plan {
        hash: Hash::written(&plan.hash),
        step: known("status.plan.rung", &plan.rung, Step::from_name)?,
        summary: plan.summary,
        policies: plan.policies.into_iter().map(Arc::from).collect(),
        target: target(plan.target)?,
        leaks: plan.leaks,
        destroys: plan.destroys,
        handle: plan.handle.map(Into::into),
    })
}

fn target(target: api::Target) -> Result<Target, NoRecord> {
    Ok(Target {
        kind: known("target.kind", &target.kind, TargetKind::from_name)?,
        key: key(target.namespace, target.name),
        uid: Uid::parse(&target.uid),
        version: target.resource_version.into(),
    })
}

fn verdict(verdict: GuardVerdict) -> Result<(Guard, Verdict), NoRecord> {
    let GuardVerdict { guard, verdict, reason, until } = verdict;
    let verdict = match verdict {
        api::Verdict::Allow => Verdict::Allow,
        api::Verdict::Wait => Verdict::Wait { until, reason },
        api::Verdict::Refuse => Verdict::Refuse { reason },
    };
    Ok((known("status.verdicts.guard", &guard, Guard::from_name)?, verdict))
}

fn intent(intent: api::Intent) -> Result<Intent, NoRecord> {
    Ok(Intent {
        number: intent.attempt,
        step: known("status.intent.rung", &intent.rung, Step::from_name)?,
        hash: Hash::written(&intent.hash),
        target: target(intent.target)?,
        at: intent.at,
        by: intent.by.into(),
        leaks: intent.leaks,
        destroys: intent.destroys,
    })
}

fn attempt(attempt: api::Attempt) -> Result<Attempt, NoRecord> {
    Ok(Attempt {
        number: attempt.number,
        step: known("status.attempts.rung", &attempt.rung, Step::from_name)?,
        target: target(attempt.target)?,
        at: attempt.at,
        outcome: match attempt.outcome {
            AttemptOutcome::Applied => Outcome::Applied,
            AttemptOutcome::Lost => Outcome::Lost,
            AttemptOutcome::Denied => Outcome::Denied,
            AttemptOutcome::Unreachable => Outcome::Unreachable,
            AttemptOutcome::Interrupted => Outcome::Interrupted,
        },
        helped: attempt.verification.map(|verification| verification == Verification::Succeeded),
        message: attempt.message,
        ended: attempt.ended_at,
    })
}
