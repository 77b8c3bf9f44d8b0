//! `OrphanedSnapshot`: the orphan ledger. What was left behind in a backend, and how it can be found there. Cluster-scoped.
//!
//! It is written before the object that held the handle goes, because afterwards nobody can list what was lost:
//! most drivers cannot list snapshots, and the handle stands nowhere else. Nothing removes an entry but a person.

#![expect(clippy::duplicated_attributes, reason = "each print column has a type, and most have the same")]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::Condition;

/// What was left behind, and all that is needed to find and delete it.
#[derive(Clone, Debug, PartialEq, Eq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "volwarden.dev",
    version = "v1alpha1",
    kind = "OrphanedSnapshot",
    plural = "orphanedsnapshots",
    shortname = "orphan",
    category = "volwarden",
    status = "OrphanedSnapshotStatus",
    derive = "PartialEq",
    doc = "A snapshot that a repair left behind in the storage backend, with what is needed to find and delete it.",
    selectable = ".spec.driver",
    selectable = ".spec.snapshotHandle",
    selectable = ".status.phase",
    printcolumn(name = "Driver", type_ = "string", json_path = ".spec.driver"),
    printcolumn(name = "Handle", type_ = "string", json_path = ".spec.snapshotHandle"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.origin.snapshot.namespace"),
    printcolumn(name = "Snapshot", type_ = "string", json_path = ".spec.origin.snapshot.name", priority = 1),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.ceph.clusterID", priority = 1),
    printcolumn(name = "Pool", type_ = "integer", json_path = ".spec.ceph.poolID", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = super::rule(
    "self == oldSelf",
    "what was left behind is recorded once and never changes",
)))]
pub struct OrphanedSnapshotSpec {
    /// The CSI driver.
    #[schemars(length(min = 1, max = 63))]
    pub driver: String,
    /// The driver's handle of the snapshot.
    #[schemars(length(min = 1, max = 1024))]
    pub snapshot_handle: String,
    /// The class the snapshot was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub volume_snapshot_class_name: Option<String>,
    /// The content's policy when it was removed.
    pub deletion_policy: DeletionPolicy,
    /// The secret the driver needs to delete it; its name only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_secret: Option<SecretRef>,
    /// The driver's handle of the volume it was cut from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub source_volume_handle: Option<String>,
    /// The name under which the driver was asked to make it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub csi_snapshot_name: Option<String>,
    /// Where it lies, where the handle is one of ceph-csi's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceph: Option<CephLocation>,
    /// The objects that stood for it.
    pub origin: Origin,
    /// Why it was left behind.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// What a storage administrator can run to find and delete it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub command: Option<String>,
    /// Name of the Remediation that left it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub remediation: Option<String>,
}

/// What a content's deletion does to its backend snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Deletes it.
    Delete,
    /// Leaves it.
    Retain,
}

/// A secret, by name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
}

/// Where a snapshot of ceph-csi lies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct CephLocation {
    /// ceph-csi's name of the Ceph cluster.
    #[serde(rename = "clusterID")]
    #[schemars(length(min = 1, max = 256))]
    pub cluster_id: String,
    /// The pool's number.
    #[serde(rename = "poolID")]
    #[schemars(range(min = 0))]
    pub pool_id: i64,
    /// The uuid in the names of the image and of its journal entry.
    #[serde(rename = "objectUUID")]
    #[schemars(length(min = 1, max = 64))]
    pub object_uuid: String,
}

/// The objects that stood for a backend snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The VolumeSnapshotContent.
    pub content: ContentOrigin,
    /// The VolumeSnapshot it was bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotOrigin>,
}

/// A VolumeSnapshotContent that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ContentOrigin {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// A VolumeSnapshot that is gone, or going.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct SnapshotOrigin {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid, where the content knew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub uid: Option<String>,
}

/// Where an orphan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OrphanPhase {
    /// Recorded; the content still holds the handle.
    Announced,
    /// The content is gone, and nothing in the cluster holds the handle.
    Orphaned,
    /// The content was not removed after all: nothing was left behind.
    Withdrawn,
    /// Imported again, and the driver is being asked to delete it.
    Reclaiming,
    /// The driver answered OK. Whether storage was freed, only the backend knows.
    Reclaimed,
}

/// What became of an orphan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OrphanedSnapshotStatus {
    /// The generation all this was said about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Where it stands; absent: it was only just written down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<OrphanPhase>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// Ready (reclaimed, or withdrawn), Reconciling, Stalled (a human is needed).
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
