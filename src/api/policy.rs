//! `RemediationPolicy`: what Volwarden may do, where, how often and when. Cluster-scoped.
//!
//! The default of everything is the careful one: a policy that says nothing only observes. Everything is finite,
//! and what the schema lets in is still refused by the daemon when it contradicts itself; a limit that could be set
//! to "none" is the one that is found set when something has gone wrong.

#![expect(clippy::duplicated_attributes, reason = "each print column has a type, and most have the same")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::period::Period;
use super::{rule, within};

/// What Volwarden may repair.
///
/// An unknown field is an error and not ignored: it may be a limit that a newer version knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "volwarden.dev",
    version = "v1alpha1",
    kind = "RemediationPolicy",
    plural = "remediationpolicies",
    shortname = "rpol",
    category = "volwarden",
    status = "RemediationPolicyStatus",
    derive = "PartialEq",
    doc = "What Volwarden may repair, where, how often and when. Without one it only observes.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Held", type_ = "integer", json_path = ".status.counts.held"),
    printcolumn(name = "Acting", type_ = "integer", json_path = ".status.counts.acting"),
    printcolumn(name = "Done", type_ = "integer", json_path = ".status.counts.done"),
    printcolumn(name = "Paused until", type_ = "string", json_path = ".status.paused.until", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.mode != 'Enforce' || size(self.scope.drivers) > 0",
        "message": "mode Enforce needs the drivers named in scope.drivers",
    },
    {
        "rule": "duration(self.ledger.keepFor) > duration('6h') && duration(self.ledger.keepFor) > duration(self.limits.breaker.maxOpenFor)",
        "message": "ledger.keepFor has to be longer than the longest budget (6h) and than limits.breaker.maxOpenFor: both are counted from the ledger",
    },
]))]
pub struct RemediationPolicySpec {
    /// Observe: only report. Approve: act on plans that somebody approved. Enforce: act on all that the rungs and
    /// guards allow; what leaks or destroys needs an approval still.
    pub mode: Mode,
    /// True: do nothing under this policy. What is under way is still verified.
    pub suspend: bool,
    /// Do nothing until then; `volwarden pause` and `resume` write it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// To what it applies.
    pub scope: Scope,
    /// Which steps of repair are on.
    pub rungs: Rungs,
    /// When something counts as stuck. It can only be raised, never lowered.
    pub thresholds: Thresholds,
    /// How much at most.
    pub limits: Limits,
    /// When repairs may begin: in any of these windows; always, if there is none. What is under way may finish.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub windows: Vec<Window>,
    /// While any of these queries gives a series, or its Prometheus cannot be asked, nothing begins.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub alerts: Vec<Gate>,
    /// What is known of the storage backend.
    pub backend: Backend,
    /// How approvals are taken.
    pub approval: Approvals,
    /// How long entries of the ledger are kept.
    pub ledger: Ledger,
}

/// What may be done without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Mode {
    /// Only report.
    #[default]
    Observe,
    /// Act on plans that somebody approved.
    Approve,
    /// Act on what rungs and guards allow.
    Enforce,
}

/// A pause. It always ends.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pause {
    /// Why, for whoever finds it.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// To what a policy applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Scope {
    /// CSI drivers, by name. Empty: every driver, which Enforce does not accept.
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 63), regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub drivers: Vec<String>,
    /// Only namespaces with such labels. A content belongs to the namespace of its volumeSnapshotRef.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// Not these namespaces, whatever the selector says.
    #[schemars(
        length(max = 256),
        inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub excluded_namespaces: Vec<String>,
}

/// A label selector; all of it has to match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selector {
    /// Labels with their values.
    #[schemars(length(max = 16), extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on labels.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<Requirement>,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rule(
    "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
    "In and NotIn need values, Exists and DoesNotExist take none",
)))]
pub struct Requirement {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Operator {
    /// Its value is one of these.
    In,
    /// It is absent, or its value is none of these.
    NotIn,
    /// It is there.
    Exists,
    /// It is not.
    DoesNotExist,
}

/// Which steps of repair are on. Removal into the orphan ledger is not here: it needs consent on the object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "a switch a rung, and nothing else")]
pub struct Rungs {
    /// Touch one annotation of ours, so that the controller looks again.
    pub nudge: bool,
    /// Add the being-deleted annotation to an orphaned content, so that the driver really deletes.
    pub mark_being_deleted: bool,
    /// Restart the pod of the csi-snapshotter leader, or of the candidate that failed to take over.
    pub restart_leader: bool,
    /// Delete a csi-snapshotter's lease that nobody renews, when restarting the candidate did not help.
    pub release_lease: bool,
    /// Remove a content's own finalizer once the driver has confirmed the deletion.
    pub remove_content_finalizer: bool,
    /// Remove a content's own finalizer under policy Retain.
    pub remove_retained_finalizer: bool,
    /// Remove the provisioner's finalizer from a VolumeSnapshot that nobody provisions from.
    pub remove_provisioner_finalizer: bool,
}

impl Default for Rungs {
    fn default() -> Self {
        Self {
            nudge: true,
            mark_being_deleted: true,
            restart_leader: false,
            release_lease: false,
            remove_content_finalizer: true,
            remove_retained_finalizer: false,
            remove_provisioner_finalizer: true,
        }
    }
}

/// When something counts as stuck, on top of what the running sidecars' own arguments ask for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Thresholds {
    /// No floor is lower than this.
    #[schemars(extend("x-kubernetes-validations" = within("0s", "168h")))]
    pub min_floor: Period,
    /// So many fresh reads have to agree before an action.
    #[schemars(with = "i32", range(min = 3, max = 20))]
    pub observations: u32,
    /// So far apart at least.
    #[schemars(extend("x-kubernetes-validations" = within("30s", "10m")))]
    pub observation_interval: Period,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { min_floor: Period::seconds(0), observations: 3, observation_interval: Period::seconds(30) }
    }
}

/// How much at most.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Per driver, counted from the ledger.
    pub budgets: Budgets,
    /// Of one class and driver, so many are repaired one at a time and each is verified before the next.
    #[schemars(with = "i32", range(min = 1, max = 100))]
    pub first_singly: u32,
    /// After that, so many at once.
    #[schemars(with = "i32", range(min = 1, max = 64))]
    pub max_in_flight: u32,
    /// When a driver is left alone after failures.
    pub breaker: Breaker,
}

impl Default for Limits {
    fn default() -> Self {
        Self { budgets: Budgets::default(), first_singly: 3, max_in_flight: 4, breaker: Breaker::default() }
    }
}

/// So many a driver; 0 is none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Budgets {
    /// Nudges in an hour.
    #[schemars(with = "i32", range(min = 0, max = 100_000))]
    pub nudges_per_hour: u32,
    /// Being-deleted annotations in an hour.
    #[schemars(with = "i32", range(min = 0, max = 100_000))]
    pub marks_per_hour: u32,
    /// Removed finalizers in an hour.
    #[schemars(with = "i32", range(min = 0, max = 1_000))]
    pub finalizers_per_hour: u32,
    /// Deleted leases in an hour.
    #[schemars(with = "i32", range(min = 0, max = 6))]
    pub leases_per_hour: u32,
    /// Restarted pods in six hours.
    #[schemars(with = "i32", range(min = 0, max = 12))]
    pub restarts_per_six_hours: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            nudges_per_hour: 60,
            marks_per_hour: 60,
            finalizers_per_hour: 10,
            leases_per_hour: 1,
            restarts_per_six_hours: 1,
        }
    }
}

/// When a driver is left alone: after so many failed episodes in a row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = rule(
    "duration(self.halfOpenAfter) <= duration(self.maxOpenFor)",
    "halfOpenAfter may not be longer than maxOpenFor",
)))]
pub struct Breaker {
    /// Failed episodes in a row.
    #[schemars(with = "i32", range(min = 1, max = 10))]
    pub failures: u32,
    /// After this long one is tried; it doubles with each failure.
    #[schemars(extend("x-kubernetes-validations" = within("5m", "168h")))]
    pub half_open_after: Period,
    /// Until it is this long.
    #[schemars(extend("x-kubernetes-validations" = within("5m", "168h")))]
    pub max_open_for: Period,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 3, half_open_after: Period::minutes(30), max_open_for: Period::hours(12) }
    }
}

/// A maintenance window. It belongs to the day it opens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// When it opens: minute, hour, day of month, month, day of week.
    #[schemars(length(max = 128), regex(pattern = "^[0-9A-Za-z*,/#-]+( [0-9A-Za-z*,/#-]+){4}$"))]
    pub schedule: String,
    /// How long it is open.
    #[schemars(extend("x-kubernetes-validations" = within("1m", "168h")))]
    pub duration: Period,
    /// The zone of the schedule, by its IANA name.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z][A-Za-z0-9+_-]*(/[A-Za-z0-9+_-]+)*$"))]
    pub time_zone: String,
}

pub(super) fn utc() -> String {
    "UTC".to_owned()
}

/// A query that says hold, as an alerting rule fires: while it gives any series.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gate {
    /// Its name in what holds.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The Prometheus that is asked, such as `http://prometheus-operated.monitoring.svc:9090`; a path before
    /// `/api/v1/query` may follow. It is asked without credentials.
    #[schemars(length(min = 1, max = 256), regex(pattern = "^https?://[^ ?#@]+$"))]
    pub prometheus: String,
    /// PromQL; a firing alert is `ALERTS{alertname="CephHealthError",alertstate="firing"}`. What Volwarden and VolSync
    /// tell of themselves is the incident, and is refused here.
    #[schemars(length(min = 1, max = 1024), extend("x-kubernetes-validations" = rule(
        "!self.lowerAscii().contains('volwarden') && !self.lowerAscii().contains('volsync')",
        "alerts of Volwarden and VolSync are the incident that is to be repaired: they may not hold it",
    )))]
    pub query: String,
}

/// What is known of the storage backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Backend {
    /// Take it for healthy where no CephCluster tells. Without it no pod is restarted there.
    pub assume_healthy: bool,
}

/// How approvals are taken.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Approvals {
    /// An approval is good for this long, and for that one plan.
    #[schemars(extend("x-kubernetes-validations" = within("1m", "24h")))]
    pub valid_for: Period,
}

impl Default for Approvals {
    fn default() -> Self {
        Self { valid_for: Period::hours(1) }
    }
}

/// How long entries of the ledger are kept: one goes when it is older than `keepFor`, or when more than `keep` newer
/// ones exist and no budget or breaker counts it any more.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ledger {
    /// So many ended entries at most.
    #[schemars(with = "i32", range(min = 100, max = 10_000))]
    pub keep: u32,
    /// So long at most.
    #[schemars(extend("x-kubernetes-validations" = within("7h", "2160h")))]
    pub keep_for: Period,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { keep: 1000, keep_for: Period::hours(168) }
    }
}

/// What Volwarden makes of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RemediationPolicyStatus {
    /// The generation all this was said about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Ready; Stalled while it makes no sense; Conflict while it differs from another policy over the same objects, of
    /// which the least permissive wins.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How many remediations it governs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// The floor that holds for each driver, and where it comes from.
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["driver"]))]
    pub floors: Vec<Floor>,
    /// It does nothing now, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
}

/// How many remediations a policy governs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    /// Held by a guard, those that wait for an approval among them.
    #[schemars(with = "i32", range(min = 0))]
    pub held: u32,
    /// Acting or verifying.
    #[schemars(with = "i32", range(min = 0))]
    pub acting: u32,
    /// Ended well, and still in the ledger.
    #[schemars(with = "i32", range(min = 0))]
    pub done: u32,
    /// Ended in failure, and still in the ledger.
    #[schemars(with = "i32", range(min = 0))]
    pub failed: u32,
}

/// The floor that holds for a driver.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Floor {
    /// The driver.
    #[schemars(length(max = 63))]
    pub driver: String,
    /// Its floors and where they come from, in words.
    #[schemars(length(max = 512))]
    pub text: String,
    /// This policy raised it.
    #[serde(default)]
    pub raised: bool,
}

/// Why a policy does nothing now.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Paused {
    /// Why.
    #[schemars(length(max = 512))]
    pub reason: String,
    /// Until when; absent: until somebody resumes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}
