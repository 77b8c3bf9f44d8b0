//! `SnapshotRetention`: which VolumeSnapshots are kept, how many, and what may be pruned when. Cluster-scoped.
//!
//! Like a RemediationPolicy, one that says nothing only observes, and one without counts keeps everything. Every
//! limit is finite. `status.run` is written before the first deletion of a run, so that a process that ends in the
//! middle of one neither repeats it nor lets the next exceed what a run may delete.

#![expect(clippy::duplicated_attributes, reason = "each print column has a type, and most have the same")]

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::period::Period;
use super::policy::{Approvals, Mode, Pause, Selector, Window, utc};
use super::within;

/// Which VolumeSnapshots are kept and which may be pruned.
#[derive(Clone, Debug, PartialEq, Eq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "volwarden.dev",
    version = "v1alpha1",
    kind = "SnapshotRetention",
    plural = "snapshotretentions",
    shortname = "sret",
    category = "volwarden",
    status = "SnapshotRetentionStatus",
    derive = "PartialEq",
    doc = "Which VolumeSnapshots are kept, how many, and what may be pruned when. It never takes the last ready one of a volume.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Kept", type_ = "integer", json_path = ".status.counts.kept"),
    printcolumn(name = "To prune", type_ = "integer", json_path = ".status.counts.toPrune"),
    printcolumn(name = "Held", type_ = "integer", json_path = ".status.counts.held"),
    printcolumn(name = "Last run", type_ = "date", json_path = ".status.history[0].startedAt"),
    printcolumn(name = "Next run", type_ = "string", json_path = ".status.nextRun"),
    printcolumn(name = "Plan", type_ = "string", json_path = ".status.plan.hash", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = super::rule(
    "size(self.drivers) > 0 || (self.mode != 'Enforce' && (!has(self.cleanup) || \
     ((!has(self.cleanup.volsyncLeftovers) || self.cleanup.volsyncLeftovers.mode != 'Enforce') && \
     (!has(self.cleanup.failedSnapshots) || self.cleanup.failedSnapshots.mode != 'Enforce'))))",
    "mode Enforce needs the drivers named in drivers",
)))]
pub struct SnapshotRetentionSpec {
    /// Observe: only say what would go. Approve: prune a plan that somebody approved. Enforce: prune.
    pub mode: Mode,
    /// True: no run is begun. One under way ends with the deletion that was sent.
    pub suspend: bool,
    /// Begin no run until then; `volwarden pause` and `resume` write it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Only VolumeSnapshots with such labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Only those in namespaces with such labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// Only those of these VolumeSnapshotClasses. Empty: of any.
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub classes: Vec<String>,
    /// Only those of these CSI drivers. Empty: of any, which Enforce does not accept.
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 63), regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub drivers: Vec<String>,
    /// How many of what are kept of each PersistentVolumeClaim. Without any count everything is kept.
    pub keep: Keep,
    /// Whose reading of weeks, months and cutoffs.
    pub calendar: Calendar,
    /// Where a day begins, by its IANA name.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z][A-Za-z0-9+_-]*(/[A-Za-z0-9+_-]+)*$"))]
    pub time_zone: String,
    /// So many ready ones of a volume, by its handle, are never pruned.
    #[schemars(with = "i32", range(min = 1, max = 1000))]
    pub min_ready: u32,
    /// Nothing younger is pruned.
    #[schemars(extend("x-kubernetes-validations" = within("0s", "8760h")))]
    pub min_age: Period,
    /// When it runs by itself; absent: only when asked by the annotation volwarden.dev/requestedAt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// A run deletes so many at most, the oldest of each volume first; the rest goes with the next run.
    #[schemars(with = "i32", range(min = 1, max = 10_000))]
    pub max_deletions_per_run: u32,
    /// And of one driver so many in a minute.
    #[schemars(with = "i32", range(min = 1, max = 600))]
    pub deletions_per_minute: u32,
    /// When deletions may begin: in any of these windows; always, if there is none.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub windows: Vec<Window>,
    /// How approvals are taken.
    pub approval: Approvals,
    /// What is left over beside good snapshots, and may go by its age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleanup: Option<Cleanup>,
}

impl Default for SnapshotRetentionSpec {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            suspend: false,
            pause: None,
            selector: None,
            namespace_selector: None,
            classes: Vec::new(),
            drivers: Vec::new(),
            keep: Keep::default(),
            calendar: Calendar::Kopia,
            time_zone: utc(),
            min_ready: 1,
            min_age: Period::hours(1),
            schedule: None,
            max_deletions_per_run: 100,
            deletions_per_minute: 10,
            windows: Vec::new(),
            approval: Approvals::default(),
            cleanup: None,
        }
    }
}

/// What is left over, each part with its own mode. An approval is of one part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cleanup {
    /// VolumeSnapshotContents that policy Retain kept and whose VolumeSnapshot is gone: they go with their backend
    /// snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retained_contents: Option<RetainedContents>,
    /// What VolSync made for the time of one synchronisation and whose owner is gone: `volsync-*-src` snapshots, temporary
    /// claims, finished Jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volsync_leftovers: Option<ByAge>,
    /// VolumeSnapshots in error that never became ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_snapshots: Option<ByAge>,
}

/// What goes by its age.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ByAge {
    /// Observe: only say what would go. Approve: prune a plan that somebody approved. Enforce: prune.
    pub mode: Mode,
    /// Nothing younger goes.
    #[schemars(extend("x-kubernetes-validations" = within("1m", "8760h")))]
    pub older_than: Period,
}

impl Default for ByAge {
    fn default() -> Self {
        Self { mode: Mode::Observe, older_than: Period::hours(168) }
    }
}

/// Contents kept by policy Retain.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetainedContents {
    /// Observe: only say what would go. Approve: prune a plan that somebody approved.
    pub mode: ConsentMode,
    /// Nothing goes whose VolumeSnapshot went less long ago.
    #[schemars(extend("x-kubernetes-validations" = within("1m", "8760h")))]
    pub older_than: Period,
}

impl Default for RetainedContents {
    fn default() -> Self {
        Self { mode: ConsentMode::Observe, older_than: Period::hours(168) }
    }
}

/// The modes of what no mode alone may destroy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ConsentMode {
    /// Only say what would go.
    #[default]
    Observe,
    /// Prune a plan that somebody approved.
    Approve,
}

/// How many of each period are kept; zero and "not set" are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Keep {
    /// The newest ones, whatever their time.
    #[schemars(with = "i32", range(min = 0, max = 100_000))]
    pub latest: u32,
    /// The newest one of an hour.
    #[schemars(with = "i32", range(min = 0, max = 100_000))]
    pub hourly: u32,
    /// The newest one of a day.
    #[schemars(with = "i32", range(min = 0, max = 100_000))]
    pub daily: u32,
    /// The newest one of an ISO week.
    #[schemars(with = "i32", range(min = 0, max = 100_000))]
    pub weekly: u32,
    /// The newest one of a month.
    #[schemars(with = "i32", range(min = 0, max = 100_000))]
    pub monthly: u32,
    /// The newest one of a year.
    #[schemars(with = "i32", range(min = 0, max = 100_000))]
    pub annual: u32,
}

/// Whose reading of weeks, months and cutoffs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Calendar {
    /// Kopia's, to the letter.
    #[default]
    Kopia,
    /// The same without its surprises.
    Strict,
}

/// When it runs by itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schedule {
    /// Minute, hour, day of month, month, day of week.
    #[schemars(length(max = 128), regex(pattern = "^[0-9A-Za-z*,/#-]+( [0-9A-Za-z*,/#-]+){4}$"))]
    pub cron: String,
    /// The zone of the schedule, by its IANA name.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z][A-Za-z0-9+_-]*(/[A-Za-z0-9+_-]+)*$"))]
    pub time_zone: String,
    /// Begin up to so much later, by the policy's name: not all at the same minute.
    #[serde(default = "none")]
    #[schemars(extend("x-kubernetes-validations" = within("0s", "24h")))]
    pub jitter: Period,
}

fn none() -> Period {
    Period::seconds(0)
}

/// What Volwarden makes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SnapshotRetentionStatus {
    /// The generation all this was said about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Ready; Reconciling during a run; Stalled while it makes no sense, or a deletion hangs.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The value of volwarden.dev/requestedAt that a run was last made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub last_handled_request: Option<String>,
    /// The time of the schedule that was last run for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scheduled: Option<Timestamp>,
    /// When it runs next by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run: Option<Timestamp>,
    /// What it comes to, as of the last look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<RetentionCounts>,
    /// What is held, by reason.
    #[schemars(length(max = 48), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["reason"]))]
    pub held_by: Vec<Held>,
    /// What would go, as of the last look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<RetentionPlan>,
    /// What each part of `cleanup` comes to, as of the last look.
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["part"]))]
    pub cleanup: Vec<CleanupStatus>,
    /// The approvals that were noticed.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["hash"]))]
    pub approvals: Vec<Approved>,
    /// The run under way, or broken off: written before its first deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The last runs, newest first.
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub history: Vec<RunRecord>,
}

/// What a look came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RetentionCounts {
    /// VolumeSnapshots it applies to.
    #[schemars(with = "i32", range(min = 0))]
    pub snapshots: u32,
    /// Kept by a count.
    #[schemars(with = "i32", range(min = 0))]
    pub kept: u32,
    /// Would go.
    #[schemars(with = "i32", range(min = 0))]
    pub to_prune: u32,
    /// Would go by the counts, or could not be judged, and something holds it.
    #[schemars(with = "i32", range(min = 0))]
    pub held: u32,
}

/// So many are held for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The reason's name.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Z][A-Za-z]*$"))]
    pub reason: String,
    /// So many.
    #[schemars(with = "i32", range(min = 0))]
    pub count: u32,
}

/// What would go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionPlan {
    /// Over all that would go, and under which rules. As the value of volwarden.dev/approved it approves this plan.
    #[schemars(length(min = 8, max = 128), regex(pattern = "^[A-Za-z0-9]+$"))]
    pub hash: String,
    /// When it was made.
    pub at: Timestamp,
    /// So many would go.
    #[schemars(with = "i32", range(min = 0))]
    pub to_prune: u32,
    /// Their restore sizes together, in bytes, as far as they are known.
    #[schemars(range(min = 0))]
    pub reclaimable_bytes: i64,
}

/// What a part of `cleanup` comes to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CleanupStatus {
    /// RetainedContents, VolsyncLeftovers or FailedSnapshots.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Z][A-Za-z]*$"))]
    pub part: String,
    /// So many would go.
    #[schemars(with = "i32", range(min = 0))]
    pub to_prune: u32,
    /// So many are held.
    #[schemars(with = "i32", range(min = 0))]
    pub held: u32,
    /// The same by reason.
    #[serde(default)]
    #[schemars(length(max = 48), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["reason"]))]
    pub held_by: Vec<Held>,
    /// Over all that would go. As the value of volwarden.dev/approved it approves that.
    #[schemars(length(min = 8, max = 128), regex(pattern = "^[A-Za-z0-9]+$"))]
    pub hash: String,
    /// Restore sizes of what would go, in bytes, as far as they are known.
    #[schemars(range(min = 0))]
    pub reclaimable_bytes: i64,
}

/// An approval that was noticed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approved {
    /// What is approved.
    #[schemars(length(min = 1, max = 128))]
    pub hash: String,
    /// When it was noticed.
    pub at: Timestamp,
    /// Until when it is good. For longer, take the annotation away and set it anew.
    pub expires: Timestamp,
    /// When a run by it ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<Timestamp>,
}

/// Why a run was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Trigger {
    /// Its schedule.
    Schedule,
    /// The annotation volwarden.dev/requestedAt.
    Request,
    /// The annotation volwarden.dev/approved.
    Approval,
}

/// A run under way.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Why it is made.
    pub trigger: Trigger,
    /// The request that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub request: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// The hashes of the plans it carries out.
    #[schemars(length(max = 160))]
    pub hash: String,
    /// So many it will delete at most.
    #[schemars(with = "i32", range(min = 0))]
    pub planned: u32,
    /// So many were deleted and verified gone, when this was written.
    #[schemars(with = "i32", range(min = 0))]
    pub deleted: u32,
    /// The identity of the replica that runs it.
    #[schemars(length(max = 253))]
    pub by: String,
    /// What holds its next deletion, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub held_by: Option<String>,
}

impl Trigger {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "Schedule",
            Self::Request => "Request",
            Self::Approval => "Approval",
        }
    }
}

impl RunOutcome {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "Done",
            Self::Observed => "Observed",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Partly => "Partly",
            Self::Refused => "Refused",
            Self::Interrupted => "Interrupted",
            Self::Failed => "Failed",
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum RunOutcome {
    /// Everything that was planned was deleted and verified.
    Done,
    /// It only looked: mode Observe.
    Observed,
    /// Its plan needs an approval.
    AwaitingApproval,
    /// Some of it was left: a deletion hangs, a guard held it, or something had changed.
    Partly,
    /// The plan would have broken a rule of safety and was refused whole.
    Refused,
    /// The replica ended in the middle of it; what is left goes with the next run.
    Interrupted,
    /// It could not be made.
    Failed,
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    /// Why it was made.
    pub trigger: Trigger,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was over.
    pub finished_at: Timestamp,
    /// How it ended.
    pub outcome: RunOutcome,
    /// So many were to go.
    #[schemars(with = "i32", range(min = 0))]
    pub planned: u32,
    /// So many were deleted and verified gone.
    #[schemars(with = "i32", range(min = 0))]
    pub deleted: u32,
    /// So many deletions were sent and are not verified.
    #[schemars(with = "i32", range(min = 0))]
    pub hanging: u32,
    /// The same in words.
    #[schemars(length(max = 1024))]
    pub message: String,
}
