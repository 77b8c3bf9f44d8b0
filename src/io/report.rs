//! What is told of repairs: Kubernetes Events on the object concerned and on the ledger's entry, and a trace at the end.
//! And of pruning: Events on the SnapshotRetention, and on what it deleted.
//!
//! Only who leads stores entries, and only what was stored is told, so that each step is told once. An Event that
//! cannot be written is no reason to stop a repair: it is logged and forgotten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tracing::debug;

use crate::domain::finding::Subject;
use crate::domain::ledger::{Outcome, Phase, Record};
use crate::domain::name::{Key, Uid};
use crate::domain::record::Kind;

use super::act::send::{Call, send};
use super::ledger::cut;
use super::trace::Traces;

/// Who reports.
const CONTROLLER: &str = "volwarden.dev/volwarden";
/// Where Events about objects without a namespace go.
const DEFAULT: &str = "default";
/// Longest note that the API takes, in characters.
const NOTE: usize = 1000;
/// Patience for one.
const PATIENCE: Duration = Duration::from_secs(5);
/// Entries whose last Event is remembered.
const REMEMBERED: usize = 4096;

/// What is told of an entry: where it stands, and how many steps were tried.
type Told = (Phase, usize);

/// Writes Events, and hands traces on.
pub struct Reporter {
    client: Client,
    identity: Arc<str>,
    events: bool,
    traces: Option<Traces>,
    told: Mutex<BTreeMap<Box<str>, Told>>,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// One Event in words.
#[derive(Debug, PartialEq, Eq)]
pub struct Word {
    /// Warning, or Normal.
    pub warning: bool,
    /// Its reason.
    pub reason: &'static str,
    /// What was done.
    pub action: &'static str,
    /// The rest.
    pub note: String,
}

/// What an Event is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// API version of its kind.
    pub version: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Namespace and name.
    pub key: &'a Key,
    /// Uid.
    pub uid: &'a Uid,
}

impl Reporter {
    /// Reports as `identity`: in Events or not, and in traces where somebody takes them.
    #[must_use]
    pub fn new(client: Client, identity: Arc<str>, events: bool, traces: Option<Traces>) -> Self {
        Self { client, identity, events, traces, told: Mutex::default() }
    }

    /// Tells what is new in an entry that was just stored.
    pub async fn tell(&self, record: &Record, now: Timestamp) {
        // First, because it waits for nobody.
        if let Some(traces) = &self.traces {
            traces.tell(record);
        }
        let Some(word) = self.news(record).filter(|_| self.events) else { return };
        for (regarding, namespace) in about(record).into_iter().chain([entry(record)]) {
            let event = self.event(&record.name, &word, &regarding, &namespace, now);
            let uri = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
            if let Err(refusal) = send(&self.client, Call::create(uri, event), PATIENCE).await {
                debug!(remediation = &*record.name, %refusal, "an Event could not be written");
            }
        }
    }

    /// Tells something of an object that is no entry of the ledger.
    pub async fn say(&self, about: About<'_>, word: &Word, now: Timestamp) {
        if !self.events {
            return;
        }
        let (regarding, namespace) = regarding(about);
        let event = self.event(&about.key.name, word, &regarding, &namespace, now);
        let uri = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
        if let Err(refusal) = send(&self.client, Call::create(uri, event), PATIENCE).await {
            debug!(object = %about.key, %refusal, "an Event could not be written");
        }
    }

    fn news(&self, record: &Record) -> Option<Word> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (record.phase, record.attempts.len());
        if told.get(&record.name) == Some(&now) {
            return None;
        }
        if record.phase.is_over() {
            told.remove(&record.name);
        } else {
            if told.len() >= REMEMBERED {
                told.pop_first();
            }
            told.insert(record.name.clone(), now);
        }
        word(record)
    }

    fn event(&self, of: &str, word: &Word, regarding: &Value, namespace: &str, now: Timestamp) -> Value {
        let kind = regarding.get("kind").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
        let name = format!("{}.{kind}.{:x}", cut(of, 180), now.as_nanosecond());
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": format!("{now:.6}"),
            "reportingController": CONTROLLER,
            "reportingInstance": cut(&self.identity, 128),
            "type": if word.warning { "Warning" } else { "Normal" },
            "reason": word.reason,
            "action": word.action,
            "note": cut(&word.note, NOTE),
            "regarding": regarding,
        })
    }
}

fn word(record: &Record) -> Option<Word> {
    let class = record.class;
    let rung = record.plan.as_ref().map(|plan| plan.step.as_str());
    let action = rung.unwrap_or("Repair");
    let word = |warning, reason, note: String| Some(Word { warning, reason, action, note });
    let message = &record.message;
    match record.phase {
        Phase::AwaitingApproval => {
            let hash = record.plan.as_ref().map(|plan| plan.hash.as_str()).unwrap_or_default();
            word(
                false,
                "ApprovalNeeded",
                format!("{class}: {message}; `volwarden approve {}` approves plan {hash}", record.name),
            )
        }
        Phase::Acting => word(false, "Repairing", format!("{class}: {message}")),
        Phase::Done => word(false, "Repaired", format!("{class}: {message}")),
        Phase::Failed => word(true, "RepairFailed", format!("{class}: {message}")),
        Phase::Lapsed => word(false, "RepairLapsed", format!("{class}: {message}")),
        Phase::Held => match record.attempts.last() {
            Some(attempt) if attempt.outcome != Outcome::Applied => word(
                true,
                "RepairNotApplied",
                format!("{class}: {} {}: {message}", attempt.step, attempt.outcome.as_str()),
            ),
            _ => word(false, "RepairHeld", format!("{class}: {message}")),
        },
        Phase::Verifying => None,
    }
}

/// The object concerned, and the namespace of Events about it.
fn about(record: &Record) -> Option<(Value, String)> {
    let uid = record.uid.as_ref()?;
    let api_version = match record.subject.kind {
        Kind::VolumeSnapshot | Kind::VolumeSnapshotContent => "snapshot.storage.k8s.io/v1",
        Kind::PersistentVolumeClaim => "v1",
        Kind::CsiDriver => "storage.k8s.io/v1",
        Kind::Lease => "coordination.k8s.io/v1",
    };
    let Subject { kind, key } = &record.subject;
    Some(regarding(About { version: api_version, kind: kind.as_str(), key, uid }))
}

fn regarding(about: About<'_>) -> (Value, String) {
    let About { version, kind, key, uid } = about;
    let namespace = if key.namespace.is_empty() { DEFAULT } else { &*key.namespace };
    let mut regarding = json!({"apiVersion": version, "kind": kind, "name": &*key.name, "uid": uid.to_string()});
    if let Some(map) = regarding.as_object_mut().filter(|_| !key.namespace.is_empty()) {
        map.insert("namespace".to_owned(), json!(&*key.namespace));
    }
    (regarding, namespace.to_owned())
}

fn entry(record: &Record) -> (Value, String) {
    let api_version = format!("{}/{}", crate::api::GROUP, crate::api::VERSION);
    let regarding = json!({"apiVersion": api_version, "kind": "Remediation", "name": &*record.name});
    (regarding, DEFAULT.to_owned())
}
