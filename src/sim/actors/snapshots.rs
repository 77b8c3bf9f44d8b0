//! The names that the snapshot controllers agree on, and what they read in each other's objects.

use serde_json::{Map, Value};

use super::object;

/// On a content: the physical snapshot must not be lost.
pub const CONTENT_FINALIZER: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
/// On a snapshot: its content is deleted with it.
pub const BOUND_FINALIZER: &str = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection";
/// On a snapshot: somebody may be restoring it.
pub const SOURCE_FINALIZER: &str = "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection";
/// On a snapshot: it belongs to a group.
pub const GROUP_FINALIZER: &str = "snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection";
/// On a claim: a snapshot of it is being cut.
pub const CLAIM_FINALIZER: &str = "snapshot.storage.kubernetes.io/pvc-as-source-protection";
/// On a snapshot: csi-provisioner is restoring it.
pub const PROVISIONER_FINALIZER: &str = "provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection";
/// On a content: its snapshot is being deleted.
pub const BEING_DELETED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";
/// On a content: CreateSnapshot has been sent and not answered for good.
pub const BEING_CREATED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-created";
/// On a content: the secret to delete it with.
pub const SECRET_NAME: &str = "snapshot.storage.kubernetes.io/deletion-secret-name";
/// On a content: the namespace of that secret.
pub const SECRET_NAMESPACE: &str = "snapshot.storage.kubernetes.io/deletion-secret-namespace";
/// On a content: it is a member of a group snapshot.
pub const GROUP_HANDLE: &str = "groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle";
/// On a class: it is the default of its driver.
pub const DEFAULT_CLASS: &str = "snapshot.storage.kubernetes.io/is-default-class";

/// The name of the content that is made for a snapshot.
#[must_use]
pub fn content_name(snapshot: &Value) -> String {
    format!("snapcontent-{}", object::uid(snapshot))
}

/// `namespace/name`, as the controllers' texts call a snapshot.
#[must_use]
pub fn label(snapshot: &Value) -> String {
    format!("{}/{}", object::namespace(snapshot), object::name(snapshot))
}

/// It can be restored.
#[must_use]
pub fn is_ready(object: &Value) -> bool {
    object::at(object, "/status/readyToUse").and_then(Value::as_bool).unwrap_or_default()
}

/// The snapshot knows its content.
#[must_use]
pub fn is_bound(snapshot: &Value) -> bool {
    !object::text(snapshot, "/status/boundVolumeSnapshotContentName").is_empty()
}

/// The content points back to this very snapshot.
#[must_use]
pub fn points_to(content: &Value, snapshot: &Value) -> bool {
    let reference = |field: &str| object::text(content, &format!("/spec/volumeSnapshotRef/{field}"));
    reference("name") == object::name(snapshot)
        && reference("namespace") == object::namespace(snapshot)
        && reference("uid") == object::uid(snapshot)
}

/// The content's physical snapshot goes with it.
#[must_use]
pub fn deletes(content: &Value) -> bool {
    object::text(content, "/spec/deletionPolicy") == "Delete"
}

/// The annotations of an object and one more.
#[must_use]
pub fn annotated(object: &Value, annotation: &str) -> Value {
    let mut all: Map<String, Value> = object::annotations(object);
    all.insert(annotation.to_owned(), "yes".into());
    Value::Object(all)
}

/// An error as it stands in a status.
#[must_use]
pub fn error(at: jiff::Timestamp, message: &str) -> Value {
    serde_json::json!({"message": message, "time": object::seconds(at)})
}
