//! Kubernetes objects as Volwarden reads and writes them: slim views of other people's ([`foreign`]), and our own
//! kinds, one file a kind.
//!
//! Our kinds are Rust types from which the definitions are derived (kube's `CustomResource`, schemars): one text
//! is the type, its schema, its defaults and its documentation, so that what the API server lets in is what the
//! daemon can read. A schema written by hand beside the types was the alternative; it saves two crates and would
//! drift. The rules between fields are CEL, which only the server evaluates: whoever reads a policy from a file
//! checks the same again.
//!
//! Names in a stored object that are our vocabulary (class, rung, guard) are strings here, not enums. An entry that
//! another version wrote has to stay readable, because budgets are counted from these entries.

pub mod check;
pub mod condition;
pub mod foreign;
pub mod kopia;
pub mod orphan;
pub mod period;
pub mod policy;
pub mod remediation;
pub mod retention;

use kube::CustomResourceExt as _;
use serde_json::{Value, json};

/// The group of our kinds, and the prefix of our annotations and labels.
pub const GROUP: &str = "volwarden.dev";
/// The version of our kinds.
pub const VERSION: &str = "v1alpha1";

/// On any object: leave it alone. On a namespace: everything in it.
pub const IGNORE: &str = "volwarden.dev/ignore";
/// On a Remediation, a SnapshotRetention or a KopiaRepository (there: that we become the owner of maintenance): approves the
/// plan whose hash is the value.
pub const APPROVED: &str = "volwarden.dev/approved";
/// On a KopiaRepository: approves that snapshots go of the sources that ask for it; the value is the hash of that plan. A key
/// of its own, so that neither approval takes the other away.
pub const APPROVED_EXPIRY: &str = "volwarden.dev/approved-expiry";
/// On a KopiaRepository: approves that policies and epochs are set that ask for it; the value is the hash of that plan. A key of its own
/// for the same reason.
pub const APPROVED_SETTINGS: &str = "volwarden.dev/approved-settings";
/// On a VolumeSnapshot or a content: the one annotation a nudge touches; its value is a time.
pub const NUDGE: &str = "volwarden.dev/nudge";
/// On a content of a driver that is gone for good: its finalizer may be removed, and its backend snapshot be left
/// behind. The value is the content's own uid, so that a copied manifest does not carry the consent along.
pub const LEAVE_BEHIND: &str = "volwarden.dev/leave-behind";
/// Label of a VolumeSnapshot or a content that was made to reclaim an orphan; the value is the OrphanedSnapshot's name.
pub const RECLAIMS: &str = "volwarden.dev/reclaims";
/// On a VolumeSnapshot, as annotation or label: it is never pruned.
pub const KEEP: &str = "volwarden.dev/keep";
/// On a VolumeSnapshot: it may be pruned though it is one of the last ready ones of its volume. The value is its own
/// uid, so that a copied manifest does not carry the consent along.
pub const PRUNE_LAST: &str = "volwarden.dev/prune-last";
/// On a SnapshotRetention: run now. Any value that is another than the one handled last; a time by custom. On a
/// KopiaRepository the value begins with what is to be done, such as `full:` and a time.
pub const REQUESTED: &str = "volwarden.dev/requestedAt";
/// Label of a KopiaRepository's Jobs and their pods, as Kubernetes recommends it; the value is `volwarden`.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label of the same; the value is the uid of the KopiaRepository.
pub const REPOSITORY: &str = "volwarden.dev/repository";
/// Label of the same; the value is what the Job does.
pub const TASK: &str = "volwarden.dev/task";
/// On the Lease of a repository: namespace and name of the Job whose uid it names.
pub const JOB: &str = "volwarden.dev/job";

/// The definitions of our kinds, in the order in which they are explained.
///
/// # Errors
///
/// When a definition cannot be written as JSON, which its tests rule out.
pub fn crds() -> Result<Vec<Value>, serde_json::Error> {
    [
        policy::RemediationPolicy::crd(),
        remediation::Remediation::crd(),
        orphan::OrphanedSnapshot::crd(),
        retention::SnapshotRetention::crd(),
        kopia::KopiaRepository::crd(),
    ]
    .into_iter()
    .map(|crd| serde_json::to_value(crd).map(tidy))
    .collect()
}

/// Takes out what the derivation adds and the API server has no use for: `nullable` on what is merely optional
/// (absence is absence), and integer formats it warns about.
fn tidy(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            if map.get("nullable") == Some(&json!(true)) {
                map.remove("nullable");
            }
            if map.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
                map.remove("format");
            }
            for (_, inner) in map.iter_mut() {
                *inner = tidy(inner.take());
            }
        }
        Value::Array(items) => {
            for inner in items {
                *inner = tidy(inner.take());
            }
        }
        _ => {}
    }
    value
}

/// A CEL rule as the schema wants it.
pub(crate) fn rule(rule: &str, message: &str) -> Value {
    json!([{"rule": rule, "message": message}])
}

/// A CEL rule for a [`period::Period`]: both ends are allowed.
pub(crate) fn within(least: &str, most: &str) -> Value {
    rule(
        &format!("duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"),
        &format!("has to be from {least} to {most}"),
    )
}
