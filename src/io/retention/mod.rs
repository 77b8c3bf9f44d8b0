//! SnapshotRetentions: from the cluster or a file to `domain::prune`, the lists a plan is made from, and their status.
//!
//! Reading a policy never fails and never permits, as with repairs. Reading the cluster for a plan does fail, and then
//! there is no plan: what cannot be listed may be what would have held a snapshot.

pub mod file;
pub(crate) mod gather;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use crate::api::policy as api;
use crate::api::retention::{
    Approved, ByAge, Calendar, ConsentMode, RetainedContents, SnapshotRetentionSpec, SnapshotRetentionStatus, Trigger,
};
use crate::api::{APPROVED, GROUP, REQUESTED, VERSION, check};
use crate::domain::digest::Hash;
use crate::domain::name::{Key, Uid};
use crate::domain::policy::{Mode, Pause};
use crate::domain::prune::agenda::{self, Noticed, Told};
use crate::domain::prune::part::Part;
use crate::domain::prune::policy::{Cleanup, Pruning, Rules};
use crate::domain::prune::relic::Thing;
use crate::domain::prune::run::{Order, Seen};
use crate::domain::retention;
use crate::io::ledger::cut;
use crate::io::policy::{opened, requirements};
use crate::io::request::{self, METADATA, Refusal, encode};

pub use gather::gather;
pub use status::{begun, closed, ended, looked, notice, patch, progressed, said};

/// The collection of our kind.
pub(super) const PLURAL: &str = "snapshotretentions";
/// Patience for one answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Most that is read of an answer, in bytes.
const LIMIT: usize = 64 * 1024 * 1024;
/// The longest request that is answered.
const REQUEST: usize = 128;
/// So many approvals of one policy are heeded, of so many characters.
const APPROVALS: usize = 8;
const HASH: usize = 128;

/// A policy with what its object says.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The policy.
    pub pruning: Pruning,
    /// What its object says of itself.
    pub told: Told,
    /// Its version.
    pub version: Box<str>,
    /// Its uid.
    pub uid: Uid,
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
    uid: Box<str>,
    #[serde(default)]
    generation: i64,
    creation_timestamp: Option<Timestamp>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
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
        approved: annotation(APPROVED).map(approvals).unwrap_or_default(),
        noticed: status.approvals.iter().map(noticed).collect(),
        planned: planned(&status),
        last_scheduled: status.last_scheduled,
        running,
    };
    let (pruning, uid) = (judged(&metadata.name, &spec), Uid::parse(&metadata.uid));
    Some(Entry { pruning, told, version: metadata.resource_version, uid, status })
}

/// The hashes in an annotation: one or several, with commas or spaces between.
#[must_use]
pub fn approvals(text: &str) -> BTreeSet<Hash> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    words.filter(|word| word.chars().count() <= HASH).take(APPROVALS).map(Hash::written).collect()
}

fn noticed(approved: &Approved) -> (Hash, Noticed) {
    let Approved { hash, at, expires, last_run } = approved;
    (Hash::written(hash), Noticed { at: *at, expires: *expires, run: *last_run })
}

/// What each part would let go, by the status.
fn planned(status: &SnapshotRetentionStatus) -> BTreeMap<Part, Hash> {
    let snapshots = status.plan.as_ref().filter(|plan| plan.to_prune > 0);
    let snapshots = snapshots.map(|plan| (Part::Snapshots, Hash::written(&plan.hash)));
    let parts = status.cleanup.iter().filter(|one| one.to_prune > 0);
    let parts = parts.filter_map(|one| Some((Part::from_name(&one.part)?, Hash::written(&one.hash))));
    snapshots.into_iter().chain(parts).collect()
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
        mode: mode(spec.mode),
        suspended: spec.suspend,
        pause: spec.pause.as_ref().map(|pause| Pause { reason: pause.reason.as_str().into(), until: pause.until }),
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
        cleanup: spec.cleanup.as_ref().map(cleanup).unwrap_or_default(),
        approval_valid: spec.approval.valid_for.duration(),
    }
}

fn mode(mode: api::Mode) -> Mode {
    match mode {
        api::Mode::Observe => Mode::Observe,
        api::Mode::Approve => Mode::Approve,
        api::Mode::Enforce => Mode::Enforce,
    }
}

fn cleanup(spec: &crate::api::retention::Cleanup) -> BTreeMap<Part, Cleanup> {
    let by_age = |one: &ByAge| Cleanup { mode: mode(one.mode), older_than: one.older_than.duration() };
    let retained = |one: &RetainedContents| Cleanup {
        mode: match one.mode {
            ConsentMode::Observe => Mode::Observe,
            ConsentMode::Approve => Mode::Approve,
        },
        older_than: one.older_than.duration(),
    };
    let parts = [
        (Part::RetainedContents, spec.retained_contents.as_ref().map(retained)),
        (Part::VolsyncLeftovers, spec.volsync_leftovers.as_ref().map(by_age)),
        (Part::FailedSnapshots, spec.failed_snapshots.as_ref().map(by_age)),
    ];
    parts.into_iter().filter_map(|(part, cleanup)| Some((part, cleanup?))).collect()
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
    let path = format!("/apis/{GROUP}/{VERSION}/{PLURAL}");
    let items = request::objects(client, &path, LIMIT, PATIENCE).await;
    let items = items.map_err(|refusal| Unlisted::new("SnapshotRetentions", &refusal))?;
    Ok(items.iter().filter_map(|item| read(item.get())).collect())
}

/// The path of an object that is pruned.
#[must_use]
pub fn path(thing: Thing, key: &Key) -> String {
    let (group, plural) = match thing {
        Thing::Snapshot => ("/apis/snapshot.storage.k8s.io/v1", "volumesnapshots"),
        Thing::Content => ("/apis/snapshot.storage.k8s.io/v1", "volumesnapshotcontents"),
        Thing::Claim => ("/api/v1", "persistentvolumeclaims"),
        Thing::Job => ("/apis/batch/v1", "jobs"),
    };
    let mut path = group.to_owned();
    if !key.namespace.is_empty() {
        path.push_str("/namespaces/");
        encode(&mut path, &key.namespace);
    }
    path.push('/');
    path.push_str(plural);
    path.push('/');
    encode(&mut path, &key.name);
    path
}

/// Whether a deletion is done: neither the object is there any more, nor the content of a VolumeSnapshot.
pub async fn seen(client: &Client, order: &Order) -> Seen {
    let own = path(order.thing, &order.key);
    match (absent(client, &own, Some(&order.uid)).await, &order.content) {
        (Seen::Gone, Some(content)) => absent(client, &path(Thing::Content, content), None).await,
        (seen, _) => seen,
    }
}

/// Whether an object is gone, or another has its name.
pub async fn absent(client: &Client, path: &str, uid: Option<&Uid>) -> Seen {
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
            (Ok(found), Some(uid)) if !found.metadata.uid.is_empty() && Uid::parse(&found.metadata.uid) != *uid => {
                Seen::Gone
            }
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
