//! What Volwarden makes of a KopiaRepository: the Job under way, what came of each task, what looks saw, and what is wrong.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::condition::Condition;

/// What Volwarden makes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KopiaRepositoryStatus {
    /// The generation all this was said about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Ready; Healthy, once it was seen; Reconciling while a Job runs; Stalled while only a person can help.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The repository that was seen first, or that the spec names: another one is never touched.
    #[serde(rename = "uniqueID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub unique_id: Option<String>,
    /// Who we are for kopia.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub identity: Option<String>,
    /// When we were made the owner of maintenance. It is done once, and never again by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owned_since: Option<Timestamp>,
    /// What an approval of ownership is of: the value of volwarden.dev/approved that approves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub owner_plan: Option<String>,
    /// What is wrong with the repository, worst first.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["class"]))]
    pub findings: Vec<FindingStatus>,
    /// Why nothing is written to the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// The repository as it was seen last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<Sight>,
    /// Owners of maintenance as looks saw them, oldest first.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub owners: Vec<OwnerSight>,
    /// The volume by one look a day, oldest first.
    #[schemars(length(max = 14), extend("x-kubernetes-list-type" = "atomic"))]
    pub volume_trend: Vec<VolumePoint>,
    /// When maintenance last ended well under our name that no Job of ours did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign_run: Option<Timestamp>,
    /// What became of snapshots, last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire: Option<ExpireStatus>,
    /// What the policies and epochs were that the spec names, last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<SettingsStatus>,
    /// What came of each task.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["task"]))]
    pub tasks: Vec<TaskStatus>,
    /// The value of volwarden.dev/requestedAt that a Job was last made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub last_handled_request: Option<String>,
    /// The Job under way: written before it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<JobRun>,
    /// The last ones, newest first.
    #[schemars(length(max = 25), extend("x-kubernetes-list-type" = "atomic"))]
    pub history: Vec<JobRecord>,
}

/// What is wrong with a repository.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingStatus {
    /// In one word; each has a page in docs/findings.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Z][A-Za-z]*$"))]
    pub class: String,
    /// Since when, as far as that can be told.
    pub since: Timestamp,
    /// Why, and what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// An owner of maintenance.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnerSight {
    /// `user@host`; absent: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub owner: Option<String>,
    /// The look that saw it first.
    pub since: Timestamp,
}

/// A volume at one time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumePoint {
    /// When.
    pub at: Timestamp,
    /// Its bytes.
    #[schemars(range(min = 0))]
    pub capacity: i64,
    /// Free ones.
    #[schemars(range(min = 0))]
    pub available: i64,
}

/// What became of snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExpireStatus {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The policies and sources that it was decided by: others are tried without deleting first.
    #[schemars(length(max = 128))]
    pub terms: String,
    /// So many were to go.
    #[schemars(range(min = 0))]
    pub would: i64,
    /// So many went.
    #[schemars(range(min = 0))]
    pub deleted: i64,
    /// Sources of which none goes, and why.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub held: Vec<HeldSource>,
    /// Sources of which snapshots go by approval only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ExpireApproval>,
}

/// Sources of which snapshots go by approval only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExpireApproval {
    /// What it is of: the value of volwarden.dev/approved-expiry that approves it.
    #[schemars(length(max = 128))]
    pub plan: String,
    /// It was given before that run.
    pub given: bool,
    /// These are not shown to be this cluster's.
    #[schemars(length(max = 64), inner(length(max = 512)), extend("x-kubernetes-list-type" = "atomic"))]
    pub foreign: Vec<String>,
    /// A count of these is the repository's global policy's, or nobody's.
    #[schemars(length(max = 64), inner(length(max = 512)), extend("x-kubernetes-list-type" = "atomic"))]
    pub global_policy: Vec<String>,
}

/// What policies and epochs were, and what was set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SettingsStatus {
    /// When they were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// So many were as the spec says.
    #[schemars(range(min = 0))]
    pub kept: i64,
    /// When any was last set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_at: Option<Timestamp>,
    /// What was set then.
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub set: Vec<SettingChange>,
    /// Those of them that the run before had changed just so: somebody sets them back.
    #[schemars(length(max = 64), inner(length(max = 512)), extend("x-kubernetes-list-type" = "atomic"))]
    pub again: Vec<String>,
    /// The first run that had changed these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again_since: Option<Timestamp>,
    /// When any was last set that asked for an approval: it was used then, and is none any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_at: Option<Timestamp>,
    /// What is set by approval only, and waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<SettingsApproval>,
}

/// Changes that are made by approval only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SettingsApproval {
    /// What it is of: the value of volwarden.dev/approved-settings that approves it.
    #[schemars(length(max = 128))]
    pub plan: String,
    /// What is set then.
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub changes: Vec<SettingChange>,
}

/// What is, or was, not as the spec says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SettingChange {
    /// What: the policy of global or of a source, or epochs.
    #[schemars(length(max = 512))]
    pub target: String,
    /// Which numbers, from what to what; what is unset is inherited.
    #[schemars(length(max = 512))]
    pub change: String,
}

/// A source of which no snapshot goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldSource {
    /// `user@host:path`.
    #[schemars(length(max = 512))]
    pub source: String,
    /// The reason's name.
    #[schemars(length(max = 63))]
    pub reason: String,
    /// In words.
    #[schemars(length(max = 512))]
    pub said: String,
}

/// Why nothing is written to a repository.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stopped {
    /// The class of the failure.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Z][A-Za-z]*$"))]
    pub class: String,
    /// What was said.
    #[schemars(length(max = 1024))]
    pub said: String,
    /// Since when.
    pub since: Timestamp,
}

/// A repository as it was seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sight {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Who may run maintenance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub owner: Option<String>,
    /// When anybody's maintenance last ended well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_maintenance: Option<Timestamp>,
    /// How often the owner would run the large cycle, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cycle_seconds: Option<i64>,
    /// The version of its format.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub format: Option<i64>,
    /// The epoch of the index that is written now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub epoch: Option<i64>,
    /// Index blobs in use; kopia warns above 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub index_blobs: Option<i64>,
    /// Blobs on its storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub blobs: Option<i64>,
    /// Their bytes: everything in it, also what maintenance has yet to free.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub bytes: Option<i64>,
    /// Bytes of the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub volume_capacity: Option<i64>,
    /// Free bytes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub volume_available: Option<i64>,
    /// How many sources are backed up there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub sources: Option<i64>,
    /// Complete snapshots of all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub snapshots: Option<i64>,
    /// How far the clock of the node that looked is ahead of ours, in seconds, where that is more than 5 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1_000_000_000_000_i64, max = 1_000_000_000_000_i64))]
    pub skew_seconds: Option<i64>,
    /// Those sources that are latest by their own period, latest first.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub stalest: Vec<SourceSight>,
}

/// One source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceSight {
    /// `user@host:path`.
    #[schemars(length(max = 512))]
    pub source: String,
    /// When its newest complete snapshot began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Timestamp>,
    /// Complete snapshots.
    #[schemars(range(min = 0))]
    pub snapshots: i64,
    /// How far apart its newest snapshots are, in seconds, if there are enough to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub period_seconds: Option<i64>,
}

/// What is done to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TaskName {
    /// A look.
    Stats,
    /// Becoming the owner of maintenance.
    Own,
    /// Quick maintenance.
    Quick,
    /// Full maintenance.
    Full,
    /// Verification of some files.
    Verify,
    /// Verification of all files.
    VerifyWhole,
    /// Deletion of snapshots that no count keeps.
    Expire,
    /// Setting the policies and epochs that the spec names and the repository has not.
    Settings,
}

/// What came of a task.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// Which.
    pub task: TaskName,
    /// The time of its schedule that was last served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scheduled: Option<Timestamp>,
    /// When it last truly happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// Bytes that the storage got back then, where kopia tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub freed_bytes: Option<i64>,
    /// Failures in a row since.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 0))]
    pub failures: u32,
    /// After failures: not by itself before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// The generation that failed: another one is tried at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub failed_generation: Option<i64>,
    /// The request that it did not run for: it waits like the rest, and is not answered before it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub failed_request: Option<String>,
    /// Why it failed, last time, if it has not happened since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<TaskFailure>,
    /// When it is due next by its schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
}

/// Why a task failed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskFailure {
    /// How its newest Job ended.
    pub outcome: JobOutcome,
    /// The class of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub class: Option<String>,
    /// What was said.
    #[schemars(length(max = 512))]
    pub said: String,
    /// The first of these failures in a row.
    pub since: Timestamp,
    /// The newest.
    pub at: Timestamp,
}

/// Why a Job is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum JobTrigger {
    /// Its schedule.
    Schedule,
    /// The annotation volwarden.dev/requestedAt.
    Request,
    /// The annotation volwarden.dev/approved.
    Approval,
    /// The repository was never seen, or an owner is gone.
    Need,
    /// It failed before.
    Retry,
}

/// A Job under way.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobRun {
    /// What it does.
    pub task: TaskName,
    /// Why it is made.
    pub trigger: JobTrigger,
    /// The request that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub request: Option<String>,
    /// The Job's name.
    #[schemars(length(max = 253))]
    pub job: String,
    /// Its uid, once it is there.
    #[serde(default, rename = "jobUID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub job_uid: Option<String>,
    /// When it was decided.
    pub started_at: Timestamp,
    /// The generation it was decided on.
    #[schemars(range(min = 0))]
    pub generation: i64,
    /// The approval of an expiry or of settings that it takes along: if that is taken away before it begins, it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub approved: Option<String>,
    /// What keeps it from beginning, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub held_by: Option<String>,
}

/// How a Job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum JobOutcome {
    /// It truly happened.
    Happened,
    /// It ran, and failed.
    Failed,
    /// It did not run.
    NotRun,
    /// It cannot be told.
    Unclear,
}

/// A Job that is over.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobRecord {
    /// What it did.
    pub task: TaskName,
    /// Why it was made.
    pub trigger: JobTrigger,
    /// The Job's name: its pod's log is kept for a day.
    #[schemars(length(max = 253))]
    pub job: String,
    /// When it was decided.
    pub started_at: Timestamp,
    /// When its end was seen.
    pub finished_at: Timestamp,
    /// How it ended.
    pub outcome: JobOutcome,
    /// The class of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub class: Option<String>,
    /// Bytes that the storage got back, where kopia tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub freed_bytes: Option<i64>,
    /// The same in words.
    #[schemars(length(max = 1024))]
    pub message: String,
}
