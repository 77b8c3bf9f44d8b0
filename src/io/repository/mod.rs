//! KopiaRepositories: from the cluster to `domain::repository`, their Jobs, pods and Leases, and their status.
//!
//! Reading one never fails and never permits: what makes no sense is left alone, with the reason. What cannot be read of
//! a Job or a Lease is unknown, and then nothing goes on.

mod job;
mod lease;
mod replications;
mod rivals;
mod status;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use crate::api::kopia::{
    EpochParameters, Expire, ExpireApproval, ExpireMode, JobOutcome, JobTrigger, KopiaRepositorySpec,
    KopiaRepositoryStatus, OwnerSight, PodUser, Schedules, SecretRef, SettingsApproval, SettingsStatus, SixCounts,
    SourceSight, Takeover, TaskName, TaskStatus, VolumePoint,
};
use crate::api::period::Period;
use crate::api::{APPROVED, APPROVED_EXPIRY, APPROVED_SETTINGS, GROUP, REQUESTED, VERSION, check};
use crate::domain::digest::Hash;
use crate::domain::kopia::epochs::{Epochs, Parameter};
use crate::domain::kopia::settings::{Target, Wish};
use crate::domain::kopia::{Class, Identity};
use crate::domain::name::Key;
use crate::domain::repository::Task;
use crate::domain::repository::agenda::{Seen, TaskTold, Told, Trigger};
use crate::domain::repository::course::Going;
use crate::domain::repository::findings::{self, Again, Failing, Limits, Owner, Point, SourceSeen};
use crate::domain::repository::report::Ended;
use crate::domain::repository::rules::{Custody, Rules};
use crate::domain::retention::Policy;
use crate::io::ledger::cut;
use crate::io::policy::opened;
use crate::io::request::{self, JSON, Refusal, encode};

pub use job::{Mould, look, manifest, path as job_path, pods};
pub use lease::{Kept, Leased, held, kept, name as lease_name, path as lease_path, written};
pub use replications::candidates;
pub use rivals::{Rival, rivals};
pub use status::{begun, closed, found, held_by, made, patch, said};

/// The collection of our kind.
pub(super) const PLURAL: &str = "kopiarepositories";
/// Patience for one answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Most that is read of an answer, in bytes.
const LIMIT: usize = 64 * 1024 * 1024;
/// The longest request that is answered.
const REQUEST: usize = 128;

/// A KopiaRepository with what its object says.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its rules.
    pub custody: Custody,
    /// Its spec, if it could be read: what a Job is made from.
    pub spec: Option<KopiaRepositorySpec>,
    /// What its object says of itself.
    pub told: Told,
    /// Its status was written by a version that knows more than this one: nothing may be written over it.
    pub unreadable: bool,
    /// Its uid.
    pub uid: Box<str>,
    /// Its version.
    pub version: Box<str>,
    /// The Job under way.
    pub going: Option<Going>,
    /// Its status as it was read, or as it was written last.
    pub status: KopiaRepositoryStatus,
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
    namespace: Box<str>,
    #[serde(default)]
    uid: Box<str>,
    #[serde(default)]
    resource_version: Box<str>,
    #[serde(default)]
    generation: i64,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<Timestamp>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Reads one as the API server sends it; `None` if it is no object of an API server's.
#[must_use]
pub fn read(json: &str) -> Option<Entry> {
    let View { metadata, spec, status } = serde_json::from_str(json).ok()?;
    let key = Key::namespaced(&*metadata.namespace, metadata.name.clone());
    let checked = check::kopia(&spec);
    let mut problems: Vec<String> = checked.flaws.iter().map(ToString::to_string).collect();
    if metadata.deletion_timestamp.is_some() {
        problems.push("it is being deleted".to_owned());
    }
    let (status, readable) = match status {
        // One that was just made has none.
        Value::Null => (KopiaRepositoryStatus::default(), true),
        status => serde_json::from_value(status)
            .map_or_else(|_| (KopiaRepositoryStatus::default(), false), |known| (known, true)),
    };
    if !readable {
        // In it may be a Job under way, and which repository it is.
        problems.push("its status cannot be read by this version; use the version that wrote it".to_owned());
    }
    let rules = checked.spec.as_ref().map(translated).unwrap_or_default();
    let annotation = |key: &str| metadata.annotations.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let told = Told {
        generation: metadata.generation,
        created: metadata.creation_timestamp,
        requested: annotation(REQUESTED).map(|value| cut(value, REQUEST).into()),
        approved: annotation(APPROVED).map(Hash::written),
        approved_expiry: annotation(APPROVED_EXPIRY).map(|value| Hash::written(&cut(value, REQUEST))),
        approved_settings: annotation(APPROVED_SETTINGS).map(|value| Hash::written(&cut(value, REQUEST))),
        ..Told::default()
    };
    if let (Some(wanted), Some(seen)) = (&rules.unique_id, &status.unique_id)
        && **wanted != **seen
    {
        problems.push(format!("spec.uniqueID is {wanted}, and what was seen is {seen}: make another KopiaRepository"));
    }
    let going = status.run.as_ref().map(|run| Going {
        task: task(run.task),
        uid: run.job_uid.as_deref().map(Into::into),
        since: run.started_at,
    });
    let custody = Custody::new(key, rules).objected(problems);
    let (uid, version) = (metadata.uid, metadata.resource_version);
    let mut entry = Entry { custody, spec: checked.spec, told, unreadable: !readable, uid, version, going, status };
    entry.retell();
    entry.news();
    Some(entry)
}

impl Entry {
    /// The findings of the status that were not there when it was read or stored before. Asked when it was stored: then
    /// they are news no longer.
    pub fn news(&mut self) -> Vec<(findings::Class, String)> {
        let known = |class: &str| findings::Class::from_name(class);
        let all = self.status.findings.iter().filter_map(|one| Some((known(&one.class)?, one)));
        let new = all.clone().filter(|(class, _)| !self.told.findings.contains_key(class));
        let new = new.map(|(class, one)| (class, one.message.clone())).collect();
        self.told.findings = all.map(|(class, one)| (class, one.since)).collect();
        new
    }

    /// What snapshots wait for that would go by approval, if nobody has given it.
    #[must_use]
    pub fn awaits(&self) -> Option<&ExpireApproval> {
        let enforced = |expire: &Expire| expire.mode == ExpireMode::Enforce;
        self.spec.as_ref()?.expire.as_ref().filter(|expire| enforced(expire))?;
        let approval = self.status.expire.as_ref()?.approval.as_ref()?;
        let given = self.told.approved_expiry.as_ref().is_some_and(|given| given.as_str() == approval.plan);
        (!given).then_some(approval)
    }

    /// What policies and epochs wait for that are set by approval only, if nobody has given it.
    #[must_use]
    pub fn awaits_settings(&self) -> Option<&SettingsApproval> {
        self.spec.as_ref().filter(|spec| spec.retention.is_some() || spec.epochs.is_some())?;
        let approval = self.status.settings.as_ref()?.approval.as_ref()?;
        let given = self.told.approved_settings.as_ref().is_some_and(|given| given.as_str() == approval.plan);
        (!given).then_some(approval)
    }

    /// The policies that its spec names.
    #[must_use]
    pub fn wishes(&self) -> Vec<Wish> {
        self.spec.as_ref().map(wishes).unwrap_or_default()
    }

    /// The parameters of epochs that its spec names.
    #[must_use]
    pub fn epochs(&self) -> Epochs {
        self.spec.as_ref().map(epochs).unwrap_or_default()
    }

    /// Takes over what the status says.
    fn retell(&mut self) {
        let Self { told, status, custody, spec, .. } = self;
        let unique_id = status.unique_id.as_deref().or(custody.rules().unique_id.as_deref());
        told.unique_id = unique_id.map(Into::into);
        told.handled = status.last_handled_request.as_deref().map(Into::into);
        told.owned_since = status.owned_since;
        let stopped = status.stopped.as_ref();
        told.stopped = stopped.map(|stopped| Class::from_name(&stopped.class).unwrap_or(Class::Unknown));
        told.stopped_since = stopped.map(|stopped| stopped.since);
        told.seen = seen(status);
        told.owners = status.owners.iter().map(owner).collect();
        told.trend = status.volume_trend.iter().map(point).collect();
        told.stranger = status.foreign_run;
        // What the spec does not name any more is not ours to set.
        let sets = spec.as_ref().is_some_and(|spec| spec.retention.is_some() || spec.epochs.is_some());
        told.again = status.settings.as_ref().filter(|_| sets).and_then(again);
        told.tasks = status.tasks.iter().map(|one| (task(one.task), told_of(one))).collect();
    }
}

fn seen(status: &KopiaRepositoryStatus) -> Option<Seen> {
    let sight = status.repository.as_ref()?;
    let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    let source = |one: &SourceSight| SourceSeen {
        source: one.source.as_str().into(),
        newest: one.newest,
        period: count(one.period_seconds).map(Duration::from_secs),
    };
    Some(Seen {
        at: sight.at,
        owner: sight.owner.as_deref().map(Into::into),
        last_maintenance: sight.last_maintenance,
        cycle: count(sight.cycle_seconds).map(Duration::from_secs),
        index_blobs: count(sight.index_blobs),
        capacity: count(sight.volume_capacity),
        available: count(sight.volume_available),
        skew: sight.skew_seconds.map(SignedDuration::from_secs),
        sources: sight.stalest.iter().map(source).collect(),
    })
}

fn owner(one: &OwnerSight) -> Owner {
    Owner { owner: one.owner.as_deref().map(Into::into), since: one.since }
}

fn point(one: &VolumePoint) -> Point {
    let count = |number: i64| u64::try_from(number).unwrap_or_default();
    Point { at: one.at, capacity: count(one.capacity), available: count(one.available) }
}

fn again(settings: &SettingsStatus) -> Option<Again> {
    let (at, since) = (settings.set_at?, settings.again_since?);
    (!settings.again.is_empty()).then(|| Again { targets: settings.again.clone(), since, at })
}

fn ended(outcome: JobOutcome) -> Ended {
    match outcome {
        JobOutcome::Happened => Ended::Happened,
        JobOutcome::Failed => Ended::Failed,
        JobOutcome::NotRun => Ended::NotRun,
        JobOutcome::Unclear => Ended::Unclear,
    }
}

fn told_of(one: &TaskStatus) -> TaskTold {
    let failing = one.failure.as_ref().map(|failure| Failing {
        ended: ended(failure.outcome),
        class: failure.class.as_deref().and_then(Class::from_name),
        said: failure.said.as_str().into(),
        since: failure.since,
        at: failure.at,
    });
    TaskTold {
        last_scheduled: one.last_scheduled,
        last_success: one.last_success,
        failures: one.failures,
        retry_at: one.retry_at,
        failed_generation: one.failed_generation,
        failed_request: one.failed_request.as_deref().map(Into::into),
        failure: failing,
    }
}

/// The policies that a spec names: the global one, then those of sources.
fn wishes(spec: &KopiaRepositorySpec) -> Vec<Wish> {
    let Some(retention) = &spec.retention else { return Vec::new() };
    let wish = |target, SixCounts { latest, hourly, daily, weekly, monthly, annual }| Wish {
        target,
        keep: Policy { latest, hourly, daily, weekly, monthly, annual },
    };
    let global = retention.global.map(|keep| wish(Target::Global, keep));
    let sources = retention.sources.iter().map(|one| wish(Target::Source(one.source.clone()), one.keep));
    global.into_iter().chain(sources).collect()
}

/// The parameters of epochs that a spec names.
fn epochs(spec: &KopiaRepositorySpec) -> Epochs {
    let Some(epochs) = &spec.epochs else { return Epochs::new() };
    let EpochParameters { refresh_frequency, min_duration, cleanup_safety_margin, .. } = epochs;
    let seconds = |period: &Option<Period>| period.map(|period| period.duration().as_secs());
    let number = |number: Option<u32>| number.map(u64::from);
    let all = [
        (Parameter::RefreshFrequency, seconds(refresh_frequency)),
        (Parameter::MinDuration, seconds(min_duration)),
        (Parameter::CleanupSafetyMargin, seconds(cleanup_safety_margin)),
        (Parameter::AdvanceOnCount, number(epochs.advance_on_count)),
        (Parameter::AdvanceOnSizeMb, number(epochs.advance_on_size_mb)),
        (Parameter::DeleteParallelism, number(epochs.delete_parallelism)),
        (Parameter::CheckpointFrequency, number(epochs.checkpoint_frequency)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A spec in the core's terms.
#[must_use]
pub fn translated(spec: &KopiaRepositorySpec) -> Rules {
    let Schedules { stats, quick, full, expire, settings, verify, verify_percent, verify_whole } = &spec.schedules;
    let all = [
        (Task::Expire, expire),
        (Task::Settings, settings),
        (Task::Stats, stats),
        (Task::Quick, quick),
        (Task::Full, full),
        (Task::Verify, verify),
        (Task::VerifyWhole, verify_whole),
    ];
    let schedules = all.into_iter().filter_map(|(task, schedule)| {
        let schedule = schedule.as_ref()?;
        Some((task, (schedule.cron.as_str().into(), schedule.time_zone.as_str().into(), schedule.jitter.duration())))
    });
    let deadlines = &spec.deadlines;
    let deadline = |task| match task {
        Task::Stats | Task::Own => deadlines.stats,
        Task::Quick | Task::Expire | Task::Settings => deadlines.quick,
        Task::Full => deadlines.full,
        Task::Verify | Task::VerifyWhole => deadlines.verify,
    };
    Rules {
        suspended: spec.suspend,
        unique_id: spec.unique_id.as_deref().map(Into::into),
        schedules: schedules.collect(),
        percent: *verify_percent,
        windows: spec.windows.iter().map(opened).collect(),
        expires: spec.expire.is_some(),
        settings: spec.retention.is_some() || spec.epochs.is_some(),
        takeover: spec.takeover == Takeover::WhenOwnerGone,
        deadlines: Task::ALL.into_iter().map(|task| (task, deadline(task).duration())).collect(),
        limits: Limits {
            gap_periods: spec.findings.gap_periods,
            volume_percent: spec.findings.volume_percent,
            index_blobs: spec.findings.index_blobs,
            retired: spec.findings.retired.iter().map(|source| source.as_str().into()).collect(),
        },
    }
}

/// The task that a name in an object stands for.
#[must_use]
pub fn task(name: TaskName) -> Task {
    match name {
        TaskName::Stats => Task::Stats,
        TaskName::Own => Task::Own,
        TaskName::Quick => Task::Quick,
        TaskName::Full => Task::Full,
        TaskName::Verify => Task::Verify,
        TaskName::VerifyWhole => Task::VerifyWhole,
        TaskName::Expire => Task::Expire,
        TaskName::Settings => Task::Settings,
    }
}

/// The name that a task has in an object.
#[must_use]
pub fn task_name(task: Task) -> TaskName {
    match task {
        Task::Stats => TaskName::Stats,
        Task::Own => TaskName::Own,
        Task::Quick => TaskName::Quick,
        Task::Full => TaskName::Full,
        Task::Verify => TaskName::Verify,
        Task::VerifyWhole => TaskName::VerifyWhole,
        Task::Expire => TaskName::Expire,
        Task::Settings => TaskName::Settings,
    }
}

fn trigger(trigger: Trigger) -> JobTrigger {
    match trigger {
        Trigger::Schedule => JobTrigger::Schedule,
        Trigger::Request => JobTrigger::Request,
        Trigger::Approval => JobTrigger::Approval,
        Trigger::Need => JobTrigger::Need,
        Trigger::Retry => JobTrigger::Retry,
    }
}

/// Why the cluster could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {what}: {words}")]
pub struct Unread {
    /// What.
    what: String,
    /// The API server's words.
    words: String,
}

impl Unread {
    fn new(what: &str, refusal: &Refusal) -> Self {
        Self { what: what.to_owned(), words: refusal.words.to_string() }
    }
}

/// Every KopiaRepository of the cluster; none where the kind is not installed.
///
/// # Errors
/// They cannot be listed.
pub async fn list(client: &Client) -> Result<Vec<Entry>, Unread> {
    let path = format!("/apis/{GROUP}/{VERSION}/{PLURAL}");
    let items = request::objects(client, &path, LIMIT, PATIENCE).await;
    let items = items.map_err(|refusal| Unread::new("KopiaRepositories", &refusal))?;
    Ok(items.iter().filter_map(|item| read(item.get())).collect())
}

/// For each of these, when maintenance of the same repository by another of them last ended: two objects may be of one
/// repository, and what one of them runs is no stranger's to the other.
#[must_use]
pub fn siblings(entries: &[Entry], now: Timestamp) -> Vec<Option<Timestamp>> {
    let newest = |one: &Entry| {
        let running = one.going.as_ref().filter(|going| going.task.maintains()).map(|_| now);
        findings::maintained(&one.told).max(running)
    };
    let of = |one: &Entry| {
        let id = one.told.unique_id.as_deref()?;
        let others = entries.iter().filter(|other| other.uid != one.uid && other.told.unique_id.as_deref() == Some(id));
        others.filter_map(newest).max()
    };
    entries.iter().map(of).collect()
}

/// Who we are for kopia in this cluster: by the uid of the namespace kube-system, which no two clusters share.
///
/// # Errors
/// It cannot be read.
pub async fn identity(client: &Client) -> Result<Identity, Unread> {
    #[derive(Deserialize)]
    struct Bare {
        metadata: Uid,
    }
    #[derive(Deserialize)]
    struct Uid {
        uid: String,
    }
    let what = "the namespace kube-system";
    let bytes = request::fetch(client, "/api/v1/namespaces/kube-system", JSON, LIMIT, PATIENCE).await;
    let bytes = bytes.map_err(|refusal| Unread::new(what, &refusal))?;
    let bare: Bare = request::parse(&bytes).map_err(|refusal| Unread::new(what, &refusal))?;
    Identity::on(&bare.metadata.uid).map_err(|words| Unread { what: what.to_owned(), words })
}

/// The image of the pod that we are: its Jobs run the same.
///
/// # Errors
/// We are in no pod, or it cannot be read.
pub async fn own_image(client: &Client, namespace: &str, pod: &str) -> Result<String, Unread> {
    #[derive(Deserialize)]
    struct Pod {
        spec: Spec,
    }
    #[derive(Deserialize)]
    struct Spec {
        containers: Vec<Container>,
    }
    #[derive(Deserialize)]
    struct Container {
        name: String,
        image: String,
    }
    let what = format!("our own pod {namespace}/{pod}, whose image our Jobs run; name one with --job-image");
    let mut path = "/api/v1/namespaces/".to_owned();
    encode(&mut path, namespace);
    path.push_str("/pods/");
    encode(&mut path, pod);
    let bytes = request::fetch(client, &path, JSON, LIMIT, PATIENCE).await;
    let bytes = bytes.map_err(|refusal| Unread::new(&what, &refusal))?;
    let pod: Pod = request::parse(&bytes).map_err(|refusal| Unread::new(&what, &refusal))?;
    let ours = pod.spec.containers.into_iter().find(|one| one.name == "volwarden");
    ours.map(|one| one.image).ok_or_else(|| Unread { what, words: "it has no container volwarden".to_owned() })
}

#[cfg(test)]
mod tests;
