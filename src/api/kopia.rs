//! `KopiaRepository`: a kopia repository that Volwarden maintains and verifies on schedules. Namespaced, because its
//! Jobs use a Secret and claims of its namespace.
//!
//! One that has no schedules is only looked at. `status.run` is written before a Job is made, so that whoever leads next
//! finds the Job by its name instead of making a second one.

#![expect(clippy::duplicated_attributes, reason = "each print column has a type, and most have the same")]

mod status;

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::period::Period;
use super::policy::Window;
use super::retention::Schedule;
use super::{rule, within};

pub use status::{
    ExpireApproval, ExpireStatus, FindingStatus, HeldSource, JobOutcome, JobRecord, JobRun, JobTrigger,
    KopiaRepositoryStatus, OwnerSight, SettingChange, SettingsApproval, SettingsStatus, Sight, SourceSight, Stopped,
    TaskFailure, TaskName, TaskStatus, VolumePoint,
};

/// A kopia repository that is maintained and verified.
#[derive(Clone, Debug, PartialEq, Eq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "volwarden.dev",
    version = "v1alpha1",
    kind = "KopiaRepository",
    plural = "kopiarepositories",
    shortname = "krepo",
    category = "volwarden",
    namespaced,
    status = "KopiaRepositoryStatus",
    derive = "PartialEq",
    doc = "A kopia repository that is maintained and verified by Jobs, on schedules, with what truly happened in its status.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Healthy", type_ = "string", json_path = ".status.conditions[?(@.type==\"Healthy\")].status"),
    printcolumn(name = "Finding", type_ = "string", json_path = ".status.findings[0].class"),
    printcolumn(name = "Running", type_ = "string", json_path = ".status.run.task"),
    printcolumn(name = "Last task", type_ = "string", json_path = ".status.history[0].task"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.history[0].outcome"),
    printcolumn(name = "Last run", type_ = "date", json_path = ".status.history[0].finishedAt"),
    printcolumn(name = "Sources", type_ = "integer", json_path = ".status.repository.sources"),
    printcolumn(name = "Index blobs", type_ = "integer", json_path = ".status.repository.indexBlobs"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", priority = 1),
    printcolumn(name = "Owner", type_ = "string", json_path = ".status.repository.owner", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(oldSelf.uniqueID) || (has(self.uniqueID) && self.uniqueID == oldSelf.uniqueID)",
        "message": "uniqueID may not change: another repository is another KopiaRepository",
    },
    {
        "rule": "!has(self.schedules) || !has(self.schedules.expire) || has(self.expire)",
        "message": "schedules.expire needs expire, which says that snapshots may go",
    },
    {
        "rule": "!has(self.schedules) || !has(self.schedules.settings) || has(self.retention) || has(self.epochs)",
        "message": "schedules.settings needs retention or epochs, which say what is set",
    },
]))]
pub struct KopiaRepositorySpec {
    /// True: no Job is made. One that runs may end.
    #[serde(default)]
    pub suspend: bool,
    /// The Secret with KOPIA_PASSWORD and, unless path is set, KOPIA_REPOSITORY. Volwarden itself never reads it.
    pub secret_ref: SecretRef,
    /// The folder of the repository in the Job's pod, such as /mnt/repository; else KOPIA_REPOSITORY of the Secret, as
    /// filesystem:///mnt/repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = "^/[-A-Za-z0-9._/]*$"))]
    pub path: Option<String>,
    /// The repository's unique ID, if it is known; else the one that is seen first is kept to.
    #[serde(default, rename = "uniqueID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 64, max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub unique_id: Option<String>,
    /// What is mounted into the Job's pod, as in moverVolumes of VolSync.
    #[serde(default)]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["mountPath"])
    )]
    pub volumes: Vec<RepositoryVolume>,
    /// As whom the Job's pod works: kopia's files belong to whoever made them, and nobody else can read them.
    #[serde(default)]
    pub pod_security_context: PodUser,
    /// What the Job's container asks for and may use.
    #[serde(default)]
    pub resources: Resources,
    /// Kopia's cache and all that it writes beside the repository; it goes with the pod.
    #[serde(default)]
    pub cache: Cache,
    /// When what is done by itself.
    #[serde(default)]
    pub schedules: Schedules,
    /// Which sources may lose snapshots, and how many. Absent: none ever does. Empty: those of this cluster may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire: Option<Expire>,
    /// Retention policies that the repository is to have, set by the task settings. Absent: none is ever set. It deletes
    /// nothing itself: snapshots go by expire, and by whoever backs up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionPolicies>,
    /// Parameters of the index's epochs that the repository is to have, set by the task settings. They are everybody's who
    /// shares the repository: set by approval only (volwarden.dev/approved-settings).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<EpochParameters>,
    /// When maintenance may begin: in any of these windows; always, if there is none.
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub windows: Vec<Window>,
    /// Whether ownership of maintenance is taken without being asked, once, from an owner that is proved to be gone.
    #[serde(default)]
    pub takeover: Takeover,
    /// How long a Job may take.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// When something is a finding.
    #[serde(default)]
    pub findings: FindingLimits,
}

/// When something is a finding.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FindingLimits {
    /// SnapshotGap: no new snapshot of a source for so many of its own periods.
    #[schemars(with = "i32", range(min = 2, max = 100))]
    pub gap_periods: u32,
    /// VolumeFull: so many of a hundred bytes of the volume are in use.
    #[schemars(with = "i32", range(min = 1, max = 100))]
    pub volume_percent: u8,
    /// IndexBlobsHigh: more of them than this.
    #[schemars(with = "i32", range(min = 1, max = 1_000_000))]
    pub index_blobs: u32,
    /// `user@host:path` of sources that nobody backs up any more: no SnapshotGap.
    #[schemars(
        length(max = 64),
        inner(length(min = 5, max = 253), regex(pattern = "^[-A-Za-z0-9._]+@[-A-Za-z0-9._]+:/[-A-Za-z0-9._/]*$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub retired: Vec<String>,
}

impl Default for FindingLimits {
    fn default() -> Self {
        Self { gap_periods: 3, volume_percent: 90, index_blobs: 1000, retired: Vec::new() }
    }
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// A volume, and where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepositoryVolume {
    /// It is mounted at /mnt/ and this.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Za-z0-9][-A-Za-z0-9_.]*$"))]
    pub mount_path: String,
    /// What it is.
    pub volume_source: VolumeSource,
}

/// One of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rule(
    "has(self.nfs) != has(self.persistentVolumeClaim)",
    "a volume is either nfs or persistentVolumeClaim",
)))]
pub struct VolumeSource {
    /// A share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nfs: Option<Nfs>,
    /// A claim of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<Claim>,
}

/// A share.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Nfs {
    /// Its server: a name or an address.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9.:]*[A-Za-z0-9])?$"))]
    pub server: String,
    /// Its path there.
    #[schemars(length(min = 1, max = 512), regex(pattern = "^/[-A-Za-z0-9._/]*$"))]
    pub path: String,
}

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub claim_name: String,
}

/// As whom a pod works.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodUser {
    /// The user. 0 only if the files are root's: the namespace then has to allow such pods.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub run_as_user: i64,
    /// Its group.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub run_as_group: i64,
    /// The group that claims are made accessible to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub fs_group: Option<i64>,
}

impl Default for PodUser {
    fn default() -> Self {
        Self { run_as_user: 65_532, run_as_group: 65_532, fs_group: None }
    }
}

/// What a container asks for and may use: cpu, memory, ephemeral-storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// Asks for.
    #[schemars(extend("maxProperties" = 8))]
    pub requests: BTreeMap<String, Quantity>,
    /// May use. Without a limit of memory kopia takes what many index blobs need.
    #[schemars(extend("maxProperties" = 8))]
    pub limits: BTreeMap<String, Quantity>,
}

/// An amount as Kubernetes writes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Quantity(
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"))] pub String,
);

/// Where kopia writes beside the repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cache {
    /// A pod that writes more is evicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<Quantity>,
}

/// When what is done by itself. What has no schedule is done when asked by volwarden.dev/requestedAt alone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Schedules {
    /// A look: nothing is written. Each other task ends with one, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<Schedule>,
    /// The small cycle of maintenance, which keeps the index short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quick: Option<Schedule>,
    /// The large one, which frees space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<Schedule>,
    /// Deletion of snapshots that no count keeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire: Option<Schedule>,
    /// Setting the policies of retention and the epochs that the repository has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Schedule>,
    /// Every pack, every object, and some of the files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<Schedule>,
    /// So many of a hundred files are read whole by verify.
    #[schemars(with = "i32", range(min = 0, max = 100))]
    pub verify_percent: u8,
    /// The same with every file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_whole: Option<Schedule>,
}

impl Default for Schedules {
    fn default() -> Self {
        Self {
            stats: None,
            quick: None,
            full: None,
            expire: None,
            settings: None,
            verify: None,
            verify_percent: 1,
            verify_whole: None,
        }
    }
}

/// Which sources may lose snapshots. What goes is decided by the policy that the repository has for each of them, and only
/// where kopia and Volwarden decide alike.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expire {
    /// Observe: only say what would go. Enforce: delete it, under policies and sources that were tried once before.
    #[serde(default)]
    pub mode: ExpireMode,
    /// `user@host:path` of each. Absent: those that are shown to be this cluster's, by its ReplicationSources and their last
    /// backups. Several clusters may share a repository: what is named and not shown to be this cluster's goes by approval
    /// only (volwarden.dev/approved-expiry).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 5, max = 253), regex(pattern = "^[-A-Za-z0-9._]+@[-A-Za-z0-9._]+:/[-A-Za-z0-9._/]*$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub sources: Option<Vec<String>>,
    /// A run deletes so many at most, the oldest of each source first; the rest goes with the next run.
    #[serde(default = "hundred")]
    #[schemars(with = "i32", range(min = 1, max = 10_000))]
    pub max_deletions_per_run: u32,
    /// Of these it is known and meant that their newest snapshot is much smaller than those before.
    #[serde(default)]
    #[schemars(
        length(max = 64),
        inner(length(min = 5, max = 253), regex(pattern = "^[-A-Za-z0-9._]+@[-A-Za-z0-9._]+:/[-A-Za-z0-9._/]*$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub accept_shrunk: Vec<String>,
}

fn hundred() -> u32 {
    100
}

/// Retention policies that are kept set, each with all six counts: one that nobody set would be inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = rule(
    "has(self.global) || (has(self.sources) && size(self.sources) > 0)",
    "retention needs global or sources",
)))]
pub struct RetentionPolicies {
    /// The repository's global policy. It is everybody's who shares the repository: set by approval only
    /// (volwarden.dev/approved-settings).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global: Option<SixCounts>,
    /// Policies of sources. Those that are shown to be this cluster's are set; others by approval only.
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["source"])
    )]
    pub sources: Vec<SourcePolicy>,
}

/// Parameters of epochs, as `kopia repository set-parameters` names them; those that are not named stay as they are. Kopia
/// refuses what does not fit together, such as a minDuration that is not three times refreshFrequency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1))]
pub struct EpochParameters {
    /// How often a client looks for a new epoch. Kopia's own: 20m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = within("5m", "24h")))]
    pub refresh_frequency: Option<Period>,
    /// An epoch lasts so long at least. Kopia's own: 24h; 6h keeps the index of hourly backups short.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = within("1h", "168h")))]
    pub min_duration: Option<Period>,
    /// Superseded index blobs are not deleted before. Kopia's own: 4h.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = within("1h", "168h")))]
    pub cleanup_safety_margin: Option<Period>,
    /// A new epoch from so many index blobs on. Kopia's own: 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 10, max = 100_000))]
    pub advance_on_count: Option<u32>,
    /// Or from so many MiB of them on. Kopia's own: 10.
    #[serde(rename = "advanceOnSizeMB", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 1, max = 100_000))]
    pub advance_on_size_mb: Option<u32>,
    /// So many blobs are deleted at a time. Kopia's own: 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 1, max = 100))]
    pub delete_parallelism: Option<u32>,
    /// So many epochs are made into one range. Kopia's own: 7.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 1, max = 1000))]
    pub checkpoint_frequency: Option<u32>,
}

/// The policy of one source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourcePolicy {
    /// `user@host:path`, as `volwarden kopia sources` shows it.
    #[schemars(
        length(min = 5, max = 253),
        regex(pattern = "^[A-Za-z0-9._][-A-Za-z0-9._]*@[-A-Za-z0-9._]+:/[-A-Za-z0-9._/]*$")
    )]
    pub source: String,
    /// Its counts.
    pub keep: SixCounts,
}

/// How many of what are kept, as kopia counts. Each has to be named, 0 for none of that kind; six zeros keep everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SixCounts {
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

/// What may be done to snapshots without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ExpireMode {
    /// Only say what would go.
    #[default]
    Observe,
    /// Delete it.
    Enforce,
}

/// Whether ownership is taken without being asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Takeover {
    /// Only by approval.
    #[default]
    Never,
    /// Once, from an owner under whom nothing has run for three of its own cycles and a week.
    WhenOwnerGone,
}

/// How long a Job may take before it is ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Deadlines {
    /// A look, or taking ownership.
    #[schemars(extend("x-kubernetes-validations" = within("1m", "24h")))]
    pub stats: Period,
    /// Quick maintenance.
    #[schemars(extend("x-kubernetes-validations" = within("1m", "24h")))]
    pub quick: Period,
    /// Full maintenance.
    #[schemars(extend("x-kubernetes-validations" = within("10m", "168h")))]
    pub full: Period,
    /// Verification.
    #[schemars(extend("x-kubernetes-validations" = within("10m", "168h")))]
    pub verify: Period,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { stats: Period::hours(1), quick: Period::hours(2), full: Period::hours(12), verify: Period::hours(48) }
    }
}
