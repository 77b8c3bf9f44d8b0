//! `Remediation`: the ledger. One entry is one episode, from a finding to its verified end. Cluster-scoped.
//!
//! The spec says whom and what it is about and never changes; everything else is status. `status.intent` is
//! written before a side effect and names what it will touch, so that after a crash the next leader can look
//! whether it happened, and never has to guess. Budgets and the breaker are counted from these entries.

#![expect(clippy::duplicated_attributes, reason = "each print column has a type, and most have the same")]

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::period::Period;

/// What an episode is about.
#[derive(Clone, Debug, PartialEq, Eq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "volwarden.dev",
    version = "v1alpha1",
    kind = "Remediation",
    plural = "remediations",
    shortname = "rem",
    category = "volwarden",
    status = "RemediationStatus",
    derive = "PartialEq",
    doc = "One episode of something stuck: what, why, the plan, what holds it, what was done, and how it ended.",
    selectable = ".spec.class",
    selectable = ".spec.driver",
    selectable = ".spec.subject.uid",
    selectable = ".status.phase",
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.class"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.subject.namespace"),
    printcolumn(name = "Subject", type_ = "string", json_path = ".spec.subject.name"),
    printcolumn(name = "Rung", type_ = "string", json_path = ".status.plan.rung"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Held by", type_ = "string", json_path = ".status.heldBy"),
    printcolumn(name = "Driver", type_ = "string", json_path = ".spec.driver", priority = 1),
    printcolumn(name = "Plan", type_ = "string", json_path = ".status.plan.hash", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = super::rule(
    "self == oldSelf",
    "an entry's spec never changes: another episode is another entry",
)))]
pub struct RemediationSpec {
    /// The object that is stuck.
    pub subject: ObjectRef,
    /// What is wrong with it: the finding's class.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Z][A-Za-z]*$"))]
    pub class: String,
    /// The CSI driver concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub driver: Option<String>,
    /// Since when it is so.
    pub since: Timestamp,
}

/// One object, as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Its kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its namespace, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid; a driver that has no CSIDriver object has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub uid: Option<String>,
}

/// The object that a step writes to, in the version that was decided on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Its kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its namespace, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid: a precondition of the write.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// Its version: a precondition of the write, and no part of the plan's hash.
    #[schemars(length(min = 1, max = 64))]
    pub resource_version: String,
}

/// Where an episode stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Phase {
    /// A guard holds the next step; `heldBy` names it.
    Held,
    /// The next step needs somebody's approval of `plan.hash`.
    AwaitingApproval,
    /// The intent is written; the step is being taken, or was and nobody could tell yet.
    Acting,
    /// The step was taken; whether it helped is being looked at.
    Verifying,
    /// Repaired, and verified.
    Done,
    /// The ladder is at its end without success; a human is needed.
    Failed,
    /// It ended without us: the subject went away, was healed by its owner, or is another object now.
    Lapsed,
}

impl Phase {
    /// Nothing more will happen in this entry.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Lapsed)
    }
}

/// Everything that is known of an episode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RemediationStatus {
    /// The generation all this was said about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Where it stands; absent: it was only just written down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// The first guard that holds the next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub held_by: Option<String>,
    /// What was observed, in words.
    #[schemars(length(max = 32), inner(length(max = 1024)), extend("x-kubernetes-list-type" = "atomic"))]
    pub evidence: Vec<String>,
    /// The next step, as it was last decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// What each guard says of the next step; while an intent stands, what they said of it.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["guard"]))]
    pub verdicts: Vec<GuardVerdict>,
    /// The approval in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The step that was decided on, written before it is taken; it stays until its outcome is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// What was tried, oldest first.
    #[schemars(length(max = 512), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["number"]))]
    pub attempts: Vec<Attempt>,
    /// Name of the OrphanedSnapshot that remembers what was left behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub orphaned_snapshot: Option<String>,
    /// How it ended, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub outcome: Option<String>,
    /// When the episode was opened; absent: when this object was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_at: Option<Timestamp>,
    /// When the first step was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Ready (over, and well), Reconciling, Stalled (a human is needed).
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// One step, as decided. An approval is one of exactly this.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Over all that makes the step what it is, except versions. The value that approves it.
    #[schemars(length(min = 8, max = 128), regex(pattern = "^[A-Za-z0-9]+$"))]
    pub hash: String,
    /// The step.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Z][A-Za-z]*$"))]
    pub rung: String,
    /// What it will do, in words.
    #[schemars(length(max = 1024))]
    pub summary: String,
    /// The policies it was decided under; `built-in` where there is none.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(max = 253)), extend("x-kubernetes-list-type" = "atomic"))]
    pub policies: Vec<String>,
    /// What it writes to.
    pub target: Target,
    /// It leaves a snapshot behind in the backend.
    pub leaks: bool,
    /// It may destroy a backend snapshot that is another cluster's.
    pub destroys: bool,
    /// The finalizer it removes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    pub finalizer: Option<String>,
    /// The backend's handle of the snapshot concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub handle: Option<String>,
}

/// What a guard says of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Verdict {
    /// Nothing against it.
    Allow,
    /// Not now.
    Wait,
    /// Not unless something changes.
    Refuse,
}

/// One guard's verdict.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuardVerdict {
    /// The guard's name.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z][a-z-]*$"))]
    pub guard: String,
    /// What it says.
    pub verdict: Verdict,
    /// Why, in words.
    #[schemars(length(max = 512))]
    pub reason: String,
    /// When it is worth asking again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Somebody's consent to one plan.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The plan's hash.
    #[schemars(length(max = 128))]
    pub hash: String,
    /// When it was seen.
    pub at: Timestamp,
    /// Until when it is good.
    pub expires: Timestamp,
}

/// A step about to be taken.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// The number of the attempt.
    #[schemars(with = "i32", range(min = 1))]
    pub attempt: u32,
    /// The step.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Z][A-Za-z]*$"))]
    pub rung: String,
    /// The hash of the plan it carries out.
    #[schemars(length(max = 128))]
    pub hash: String,
    /// What it writes to.
    pub target: Target,
    /// When this was written.
    pub at: Timestamp,
    /// The identity of the replica that wrote it.
    #[schemars(length(max = 253))]
    pub by: String,
    /// It leaves a snapshot behind in the backend.
    pub leaks: bool,
    /// It may destroy a backend snapshot that is another cluster's.
    pub destroys: bool,
}

/// What came of sending a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum AttemptOutcome {
    /// The API server took it.
    Applied,
    /// Another writer was first: a precondition did not hold any more.
    Lost,
    /// Refused: rights, an admission policy, or an invalid write.
    Denied,
    /// No answer in time; it may have happened.
    Unreachable,
    /// The replica ended between intent and answer; it may have happened.
    Interrupted,
}

/// Whether a step that was taken helped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Verification {
    /// It did what it was taken for.
    Succeeded,
    /// Its time was over without that.
    Failed,
}

/// One step that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Counted from 1.
    #[schemars(with = "i32", range(min = 1))]
    pub number: u32,
    /// The step.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Z][A-Za-z]*$"))]
    pub rung: String,
    /// What it wrote to.
    pub target: Target,
    /// When its intent was written.
    pub at: Timestamp,
    /// What came of sending it.
    pub outcome: AttemptOutcome,
    /// Whether it helped; absent: not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Either in words.
    #[schemars(length(max = 512))]
    pub message: String,
    /// When either was known for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How long that took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Period>,
}
