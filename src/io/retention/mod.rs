//! SnapshotRetentions: from the cluster or a file to `domain::prune`, the lists a plan is made from, and their status.
//!
//! Reading a policy never fails and never permits, as with repairs. Reading the cluster for a plan does fail, and then
//! there is no plan: what cannot be listed may be what would have held a snapshot.

pub mod file;
pub(crate) mod gather;
mod status;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::policy as api;
use crate::api::retention::{Calendar, SnapshotRetentionSpec, SnapshotRetentionStatus, Trigger};
use crate::api::{APPROVED, GROUP, REQUESTED, VERSION, check};
use crate::domain::digest::Hash;
use crate::domain::policy::Mode;
use crate::domain::prune::agenda::{self, Told};
use crate::domain::prune::policy::{Pruning, Rules};
use crate::domain::prune::run::{Order, Seen};
use crate::domain::retention;
use crate::io::ledger::cut;
use crate::io::policy::{opened, requirements};
use crate::io::request::{self, JSON, METADATA, Refusal, encode};

pub use gather::gather;
pub use status::{begun, closed, ended, looked, patch, progressed, said};

/// The collection of our kind.
pub(super) const PLURAL: &str = "snapshotretentions";
/// Patience for one answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Most that is read of an answer, in bytes.
const LIMIT: usize = 64 * 1024 * 1024;
/// The longest request that is answered.
const REQUEST: usize = 128;

/// A policy with what its object says.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The policy.
    pub pruning: Pruning,
    /// What its object says of itself.
    pub told: Told,
    /// Its version.
    pub version: Box<str>,
    /// Its status as it was read, or as it was written last.
    pub status: SnapshotRetentionStatus,
}

#[derive(Deserialize)]
struct View {
    metadata: Metadata,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: Box<str>,
    #[serde(default)]
    resource_version: Box<str>,
    #[serde(default)]
    generation: i64,
    creation_timestamp: Option<Timestamp>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

/// Reads a policy as the API server sends it; `None` if it is no object of an API server's.
#[must_use]
pub fn read(json: &str) -> Option<Entry> {
    let View { metadata, spec, status } = serde_json::from_str(json).ok()?;
    // A status that cannot be read is one that is written anew; but a run in it must not be overlooked.
    let unread = status.get("run").is_some_and(|run| !run.is_null());
    let (status, broken) = match serde_json::from_value::<SnapshotRetentionStatus>(status) {
        Ok(status) => (status, false),
        Err(_) => (SnapshotRetentionStatus::default(), unread),
    };
    let annotation = |key: &str| metadata.annotations.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let by_approval = status.history.iter().find(|run| run.trigger == Trigger::Approval);
    let mut running: Option<Arc<str>> = status.run.as_ref().map(|run| run.by.as_str().into());
    if broken {
        running = Some("somebody".into());
    }
    let told = Told {
        generation: metadata.generation,
        observed: status.observed_generation,
        created: metadata.creation_timestamp,
        requested: annotation(REQUESTED).map(|value| cut(value, REQUEST).into()),
        handled: status.last_handled_request.as_deref().map(Into::into),
        approved: annotation(APPROVED).map(Hash::written),
        planned: status.plan.as_ref().filter(|plan| plan.to_prune > 0).map(|plan| Hash::written(&plan.hash)),
        approved_run: by_approval.map(|run| run.finished_at),
        last_scheduled: status.last_scheduled,
        running,
    };
    Some(Entry { pruning: judged(&metadata.name, &spec), told, version: metadata.resource_version, status })
}

/// A policy of this name with this spec.
#[must_use]
pub fn judged(name: &str, spec: &Value) -> Pruning {
    let checked = check::retention(spec);
    let flaws: Vec<String> = checked.flaws.iter().map(ToString::to_string).collect();
    match checked.spec {
        Some(spec) => Pruning::new(name, translated(&spec)).objected(flaws),
        None => Pruning::unreadable(name, &flaws.join("; ")),
    }
}

/// A spec in the core's terms.
#[must_use]
pub fn translated(spec: &SnapshotRetentionSpec) -> Rules {
    let names = |all: &[String]| all.iter().map(|name| Arc::from(name.as_str())).collect();
    let keep = &spec.keep;
    Rules {
        mode: match spec.mode {
            api::Mode::Observe => Mode::Observe,
            api::Mode::Approve => Mode::Approve,
            api::Mode::Enforce => Mode::Enforce,
        },
        suspended: spec.suspend,
        selector: spec.selector.as_ref().map(requirements).unwrap_or_default(),
        namespaces: spec.namespace_selector.as_ref().map(requirements),
        classes: names(&spec.classes),
        drivers: names(&spec.drivers),
        keep: retention::Policy {
            latest: keep.latest,
            hourly: keep.hourly,
            daily: keep.daily,
            weekly: keep.weekly,
            monthly: keep.monthly,
            annual: keep.annual,
        },
        calendar: match spec.calendar {
            Calendar::Kopia => retention::Calendar::Kopia,
            Calendar::Strict => retention::Calendar::Strict,
        },
        zone: spec.time_zone.as_str().into(),
        min_ready: spec.min_ready,
        min_age: spec.min_age.duration(),
        schedule: spec.schedule.as_ref().map(|schedule| {
            (schedule.cron.as_str().into(), schedule.time_zone.as_str().into(), schedule.jitter.duration())
        }),
        max_deletions: spec.max_deletions_per_run,
        per_minute: spec.deletions_per_minute,
        windows: spec.windows.iter().map(opened).collect(),
    }
}

/// Why the cluster could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot list {what}: {words}")]
pub struct Unlisted {
    /// What.
    what: String,
    /// The API server's words.
    words: String,
}

impl Unlisted {
    fn new(what: &str, refusal: &Refusal) -> Self {
        Self { what: what.to_owned(), words: refusal.words.to_string() }
    }
}

/// Every policy of the cluster, by name; none where the kind is not installed.
///
/// # Errors
/// They cannot be listed.
pub async fn list(client: &Client) -> Result<Vec<Entry>, Unlisted> {
    #[derive(Deserialize)]
    struct List {
        items: Option<Vec<Box<RawValue>>>,
    }
    let path = format!("/apis/{GROUP}/{VERSION}/{PLURAL}");
    let bytes = match request::fetch(client, &path, JSON, LIMIT, PATIENCE).await {
        Err(refusal) if refusal.is(StatusCode::NOT_FOUND) => return Ok(Vec::new()),
        answer => answer.map_err(|refusal| Unlisted::new("SnapshotRetentions", &refusal))?,
    };
    let list: List = request::parse(&bytes).map_err(|refusal| Unlisted::new("SnapshotRetentions", &refusal))?;
    Ok(list.items.unwrap_or_default().iter().filter_map(|item| read(item.get())).collect())
}

/// Whether a deletion is done: neither the VolumeSnapshot nor its content is there any more.
pub async fn seen(client: &Client, order: &Order) -> Seen {
    const SNAPSHOTS: &str = "/apis/snapshot.storage.k8s.io/v1";
    let mut snapshot = format!("{SNAPSHOTS}/namespaces/");
    encode(&mut snapshot, &order.key.namespace);
    snapshot.push_str("/volumesnapshots/");
    encode(&mut snapshot, &order.key.name);
    let mut content = format!("{SNAPSHOTS}/volumesnapshotcontents/");
    encode(&mut content, &order.content.name);
    match absent(client, &snapshot, Some(&order.uid.to_string())).await {
        Seen::Gone => absent(client, &content, None).await,
        other => other,
    }
}

async fn absent(client: &Client, path: &str, uid: Option<&str>) -> Seen {
    #[derive(Deserialize)]
    struct Bare {
        metadata: Identity,
    }
    #[derive(Deserialize)]
    struct Identity {
        #[serde(default)]
        uid: String,
    }
    match request::fetch(client, path, METADATA, LIMIT, PATIENCE).await {
        Err(refusal) if refusal.is(StatusCode::NOT_FOUND) => Seen::Gone,
        Err(_) => Seen::Unknown,
        Ok(bytes) => match (request::parse::<Bare>(&bytes), uid) {
            // Another object under the same name.
            (Ok(found), Some(uid)) if found.metadata.uid != uid && !found.metadata.uid.is_empty() => Seen::Gone,
            (Ok(_), _) => Seen::There,
            (Err(_), _) => Seen::Unknown,
        },
    }
}

fn trigger(trigger: agenda::Trigger) -> Trigger {
    match trigger {
        agenda::Trigger::Schedule => Trigger::Schedule,
        agenda::Trigger::Request => Trigger::Request,
        agenda::Trigger::Approval => Trigger::Approval,
    }
}

#[cfg(test)]
mod tests;
