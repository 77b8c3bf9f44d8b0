//! What is told: events as they happen, and the end of the story.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::domain::finding::{Class, Finding, Subject};
use crate::sim::incidents::{Incident, Stage};
use crate::sim::store::{object, table};

/// What somebody did to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Something broke.
    Broke,
    /// Something was put right.
    Mended,
}

/// Something that happened. Times are the cluster's.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// Something broke.
    Broke {
        /// When.
        at: Timestamp,
        /// In which incident.
        incident: &'static str,
        /// What.
        words: String,
    },
    /// Something was put right.
    Mended {
        /// When.
        at: Timestamp,
        /// In which incident.
        incident: &'static str,
        /// How.
        words: String,
    },
    /// The daemon says that something is wrong.
    Found {
        /// When.
        at: Timestamp,
        /// The incident it belongs to, if it is what that one is worth.
        incident: Option<&'static str>,
        /// How long that had stood, in seconds.
        after_seconds: Option<u64>,
        /// What it says.
        finding: Box<Finding>,
    },
    /// An entry of the daemon's ledger came to another phase.
    Repair {
        /// When.
        at: Timestamp,
        /// What is wrong.
        class: String,
        /// With what.
        subject: String,
        /// Where the repair stands.
        phase: String,
        /// Its step, where there is one.
        rung: Option<String>,
        /// What the ledger says.
        message: String,
    },
    /// The daemon says it no more.
    Cleared {
        /// When.
        at: Timestamp,
        /// What it said.
        class: Class,
        /// Of what.
        #[serde(serialize_with = "in_words")]
        subject: Subject,
    },
}

fn in_words<S: serde::Serializer>(subject: &Subject, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(subject)
}

impl Event {
    pub(super) fn deed(deed: Deed, at: Timestamp, incident: &'static str, words: String) -> Self {
        match deed {
            Deed::Broke => Self::Broke { at, incident, words },
            Deed::Mended => Self::Mended { at, incident, words },
        }
    }

    pub(super) fn found(at: Timestamp, finding: &Finding, told: Option<(&'static str, Duration)>) -> Self {
        let (incident, after) = told.unzip();
        let after_seconds = after.map(|after| after.as_secs());
        Self::Found { at, incident, after_seconds, finding: Box::new(finding.clone()) }
    }

    /// What an entry of the ledger says, as the API serves it.
    pub(super) fn repair(at: Timestamp, entry: &Value) -> Self {
        let text = |place: &str| object::text(entry, place).to_owned();
        let (namespace, name) = (text("/spec/subject/namespace"), text("/spec/subject/name"));
        let name = if namespace.is_empty() { name } else { format!("{namespace}/{name}") };
        Self::Repair {
            at,
            class: text("/spec/class"),
            subject: format!("{} {name}", text("/spec/subject/kind")),
            phase: text("/status/phase"),
            rung: Some(text("/status/plan/rung")).filter(|rung| !rung.is_empty()),
            message: text("/status/message"),
        }
    }

    pub(super) fn cleared(at: Timestamp, finding: &Finding) -> Self {
        Self::Cleared { at, class: finding.class, subject: finding.subject.clone() }
    }
}

/// How an incident went.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// There was time for it.
    pub begun: bool,
    /// The classes that it is worth.
    pub expected: Vec<Class>,
    /// Those that the daemon named, each with the seconds from the beginning of the incident.
    pub found: BTreeMap<Class, u64>,
    /// Whether the daemon's findings went after it was mended; nothing if it was not mended.
    pub cleared: Option<bool>,
    /// Whether Volwarden put it right by itself; nothing where that is not its part.
    pub healed: Option<bool>,
}

impl Outcome {
    pub(super) fn of(incident: &Incident) -> Self {
        let expected = incident.expects().collect();
        Self { name: incident.name, begun: false, expected, found: BTreeMap::new(), cleared: None, healed: None }
    }

    /// The daemon named all that the incident is worth.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.expected.iter().all(|class| self.found.contains_key(class))
    }
}

/// The driver's own pool: what is really there.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pool {
    /// Snapshots in it.
    pub snapshots: usize,
    /// Those that no content in the cluster stands for: nobody will ever delete them.
    pub leaked: usize,
    /// Contents that stand for a snapshot that is not there.
    pub lost: usize,
}

impl Pool {
    pub(super) fn look(stage: &Stage) -> Self {
        let contents: Vec<_> = stage.cluster.store.list(table::CONTENTS, None).collect();
        let handle = |content: &serde_json::Value| object::text(content, "/status/snapshotHandle").to_owned();
        let handles: BTreeSet<String> =
            contents.iter().map(|content| handle(content)).filter(|handle| !handle.is_empty()).collect();
        // One that is being cut has no handle yet, but a name.
        let names: BTreeSet<&str> =
            contents.iter().filter_map(|content| object::name(content).strip_prefix(CONTENT)).collect();
        stage.home.pool.with(|pool| {
            let is_known = |handle: &String, name: &str| {
                handles.contains(handle) || name.strip_prefix("snapshot-").is_some_and(|uid| names.contains(uid))
            };
            let leaked = pool.snapshots().iter().filter(|(handle, one)| !is_known(handle, &one.name));
            let lost = handles.iter().filter(|handle| !pool.snapshots().contains_key(*handle));
            Self { snapshots: pool.snapshots().len(), leaked: leaked.count(), lost: lost.count() }
        })
    }
}

/// What the name of a content made for a snapshot begins with; the snapshot's uid follows.
const CONTENT: &str = "snapcontent-";

/// The end of the story.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename = "summary", rename_all = "camelCase")]
pub struct Summary {
    /// When, in the cluster's time.
    pub at: Timestamp,
    /// How long it lasted there.
    pub virtual_seconds: u64,
    /// How each incident went.
    pub incidents: Vec<Outcome>,
    /// How often each class was found.
    pub findings: BTreeMap<Class, u32>,
    /// Findings that stand at the end.
    pub standing: usize,
    /// The driver's own pool.
    pub pool: Pool,
}

impl Summary {
    /// Incidents that began, and the number of those that were found.
    #[must_use]
    pub fn found(&self) -> (usize, usize) {
        let begun = self.incidents.iter().filter(|one| one.begun);
        let (found, missed): (Vec<_>, Vec<_>) = begun.partition(|one| one.is_found());
        (found.len(), found.len() + missed.len())
    }
}
