//! What must hold of every deletion by a SnapshotRetention.
//!
//! It is judged by the policy, the snapshots and the contents as the cluster had them when the daemon could last see
//! them. What the daemon's plan said is not asked: the snapshots that are left are counted here once more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::audit::Scene;
use super::invariants::{Invariant, SLACK};
use super::moment::Moment;
use crate::api::period::Period;
use crate::domain::fact::Source;
use crate::domain::name::Key;
use crate::domain::prune::run::Order;
use crate::sim::store::{Change, ChangeKind, object, table};

/// Timestamps of the API have whole seconds.
const ROUNDING: Duration = Duration::from_millis(1500);
/// A policy is read at least so often while it deletes.
const READ: Duration = Duration::from_secs(60);
/// A run is closed by then, and another one made.
const LOOSE: Duration = Duration::from_secs(20 * 60);
const MINUTE: Duration = Duration::from_secs(60);
/// What the daemon sees of snapshots.
const SEEN: [Source; 2] = [Source::Snapshots, Source::Contents];

/// What does not hold, and why.
pub(super) type Flaw = (Invariant, String);

/// The policies of one run, and what they have let go.
#[derive(Debug, Default)]
pub(super) struct Pruned {
    policies: Vec<(Duration, Option<Arc<Value>>)>,
    gone: BTreeSet<String>,
    /// Deletions of each run, by process and its begin; and when.
    runs: BTreeMap<(String, String), Vec<Duration>>,
    /// How often a status was written since then.
    told: usize,
}

impl Pruned {
    /// A SnapshotRetention has changed.
    pub(super) fn changed(&mut self, change: &Change, at: Duration) {
        let there = change.kind != ChangeKind::Deleted;
        self.policies.push((at, there.then(|| Arc::clone(&change.object))));
    }

    /// The status of a SnapshotRetention was written in the quiet.
    pub(super) fn wrote(&mut self) {
        self.told += 1;
    }

    /// How often a status was written in the quiet.
    pub(super) fn told(&self) -> usize {
        self.told
    }

    /// What is left half-way at the end: a run that nobody closed, or none for long although it is due every few minutes.
    pub(super) fn loose(&self, now: Timestamp) -> Option<String> {
        let policy = self.policies.last()?.1.as_deref()?;
        let old = |at: &str| {
            let at: Option<Timestamp> = at.parse().ok();
            at.is_none_or(|at| Duration::try_from(now.duration_since(at)).unwrap_or_default() > LOOSE)
        };
        let run = object::text(policy, "/status/run/startedAt");
        if !run.is_empty() && old(run) {
            return Some(format!("a run goes on since {run}"));
        }
        let last = object::text(policy, "/status/history/0/finishedAt");
        let idle = run.is_empty() && old(last) && old(object::text(policy, "/metadata/creationTimestamp"));
        idle.then(|| format!("its last run ended at {last:?}"))
    }

    /// How the policy stood, as far as the daemon has to know.
    fn stood(&self, at: Duration) -> Vec<&Value> {
        let sight = at.saturating_sub(READ + SLACK);
        let first = self.policies.iter().rposition(|(then, _)| *then <= sight).unwrap_or_default();
        self.policies.iter().skip(first).filter_map(|(_, policy)| policy.as_deref()).collect()
    }

    /// What does not hold of this deletion, which has happened.
    pub(super) fn judge(&mut self, order: &Order, scene: &Scene<'_>) -> Vec<Flaw> {
        let entry = scene.entry;
        let Some(before) = entry.before.as_deref() else { return Vec::new() };
        let uid = object::uid(before);
        let mut flaws = Vec::new();
        let mut check = |holds: bool, invariant: Invariant, words: &str| {
            if !holds {
                flaws.push((invariant, format!("{} was pruned, and {words}", order.key)));
            }
        };
        let version = object::text(before, "/metadata/resourceVersion");
        check(
            uid == order.uid.to_string() && *order.version == *version,
            Invariant::Fresh,
            "had changed since the plan",
        );
        let stood = self.stood(entry.at);
        let runs = |policy: &&Value| object::text(policy, "/status/run/by") == &*entry.by;
        check(stood.iter().any(runs), Invariant::Intended, "no run of this process is in the policy's status");
        check(stood.iter().any(|policy| permits(policy)), Invariant::Permitted, "the policy does not let it");
        for words in unfit(before, order, scene, &stood) {
            check(false, Invariant::Fitting, &words);
        }
        let volume = volume_of(scene, before);
        let least = stood.iter().filter_map(|policy| number(policy, "/spec/minReady")).min().unwrap_or(1);
        let gone = &self.gone;
        let enough = |moment: &Moment| {
            let left = left(moment, &volume).into_iter().filter(|one| *one != uid && !gone.contains(*one));
            u64::try_from(left.count()).unwrap_or(u64::MAX) >= least
        };
        check(
            scene.was(&SEEN, enough),
            Invariant::MinReady,
            &format!("fewer than {least} ready ones of its volume are left"),
        );
        for words in self.spend(order, scene, &self.stood(entry.at)) {
            flaws.push((Invariant::WithinBudget, words));
        }
        let run = stood_run(&self.stood(entry.at), &entry.by);
        self.runs.entry(run).or_default().push(entry.at);
        self.gone.insert(uid.to_owned());
        flaws
    }

    /// What a run may delete, in all and in a minute.
    fn spend(&self, order: &Order, scene: &Scene<'_>, stood: &[&Value]) -> Vec<String> {
        let at = scene.entry.at;
        let sent = self.runs.get(&stood_run(stood, &scene.entry.by)).map_or(&[][..], Vec::as_slice);
        let most = |field: &str| stood.iter().filter_map(|policy| number(policy, field)).max().unwrap_or(u64::MAX);
        let count = |sent: usize| u64::try_from(sent).unwrap_or(u64::MAX);
        // A deletion counts from when it was sent, and may take a while to arrive.
        let recent = sent.iter().filter(|then| at.saturating_sub(**then) + SLACK / 6 < MINUTE).count();
        let mut flaws = Vec::new();
        if count(sent.len()) >= most("/spec/maxDeletionsPerRun") {
            flaws.push(format!("{} is one more than a run may delete", order.key));
        }
        if count(recent) >= most("/spec/deletionsPerMinute") {
            flaws.push(format!("{} is one more than may be deleted in a minute", order.key));
        }
        flaws
    }
}

/// The run of this process, by its begin.
fn stood_run(stood: &[&Value], by: &str) -> (String, String) {
    let run = stood.iter().rev().find(|policy| object::text(policy, "/status/run/by") == by);
    (by.to_owned(), run.map_or("", |policy| object::text(policy, "/status/run/startedAt")).to_owned())
}

fn number(policy: &Value, field: &str) -> Option<u64> {
    object::at(policy, field).and_then(Value::as_u64)
}

fn permits(policy: &Value) -> bool {
    let approved = object::annotation(policy, crate::api::APPROVED);
    let mut hashes = object::text(policy, "/status/run/hash").split([' ', ',']).filter(|hash| !hash.is_empty());
    let approved = approved.is_some_and(|approved| hashes.any(|hash| approved.contains(hash)));
    let mode = object::text(policy, "/spec/mode");
    object::at(policy, "/spec/suspend") != Some(&Value::Bool(true))
        && (mode == "Enforce" || (mode == "Approve" && approved))
}

/// Why this snapshot should have stayed.
fn unfit(before: &Value, order: &Order, scene: &Scene<'_>, stood: &[&Value]) -> Vec<String> {
    let mut flaws = Vec::new();
    let mut check = |holds: bool, words: &str| {
        if !holds {
            flaws.push(words.to_owned());
        }
    };
    check(!object::is_deleting(before), "was being deleted");
    check(object::at(before, "/status/readyToUse") == Some(&Value::Bool(true)), "was not ready");
    check(object::at(before, "/status/error").is_none_or(Value::is_null), "was in error");
    check(object::annotation(before, crate::api::KEEP).is_none(), "was to be kept");
    let key = Key::namespaced(object::namespace(before), object::name(before));
    check(scene.was(&[Source::Claims], |moment| moment.restores(&key) == 0), "a claim is being restored from it");
    let content = order.content.as_ref().map(|one| scene.home.cluster.store.get(table::CONTENTS, "", &one.name));
    let deletes =
        content.and_then(Result::ok).is_some_and(|content| object::text(&content, "/spec/deletionPolicy") == "Delete");
    let bound = |moment: &Moment| {
        let content = order.content.as_ref().and_then(|one| moment.get(table::CONTENTS, one));
        content.is_some_and(|content| object::text(content, "/spec/volumeSnapshotRef/uid") == object::uid(before))
    };
    check(deletes || scene.was(&SEEN, bound), "its content is not there to be deleted with it");
    let taken = object::text(before, "/status/creationTime").parse().ok();
    let wall = scene.home.cluster.now().wall;
    let age = taken.map(|taken| Duration::try_from(wall.duration_since(taken)).unwrap_or_default()).unwrap_or_default();
    let ahead = Duration::try_from(scene.daemon.weather.skew).unwrap_or_default();
    let least = |policy: &&Value| object::text(policy, "/spec/minAge").parse::<Period>().ok().map(Period::duration);
    let least = stood.iter().filter_map(least).min().unwrap_or_default();
    check(age + ahead + ROUNDING >= least, &format!("was {}s old", age.as_secs()));
    flaws
}

/// Driver and handle of the volume that a snapshot was cut of.
fn volume_of(scene: &Scene<'_>, snapshot: &Value) -> (String, String) {
    let name = object::text(snapshot, "/status/boundVolumeSnapshotContentName");
    let content = scene.home.cluster.store.get(table::CONTENTS, "", name).ok();
    content.map(|content| handle_of(&content)).unwrap_or_default()
}

fn handle_of(content: &Value) -> (String, String) {
    let text = |field: &str| object::text(content, field).to_owned();
    (text("/spec/driver"), text("/spec/source/volumeHandle"))
}

/// The uids of those that are ready and stay, of this volume.
fn left<'a>(moment: &'a Moment, volume: &(String, String)) -> Vec<&'a str> {
    let contents = moment.list(table::CONTENTS).iter();
    let of_volume: BTreeSet<&str> = contents
        .filter(|content| !object::is_deleting(content) && handle_of(content) == *volume)
        .map(|content| object::text(content, "/spec/volumeSnapshotRef/uid"))
        .collect();
    let ready = |one: &&Arc<Value>| {
        !object::is_deleting(one)
            && object::at(one, "/status/readyToUse") == Some(&Value::Bool(true))
            && object::at(one, "/status/error").is_none_or(Value::is_null)
    };
    let snapshots = moment.list(table::SNAPSHOTS).iter().filter(ready).map(|one| object::uid(one));
    snapshots.filter(|uid| of_volume.contains(uid)).collect()
}
