//! Objects in the shapes in which controllers leave them. Nobody acts on them here.

use serde_json::{Value, json};

use crate::{Ask, Server};

pub(crate) const CONTENTS: &str = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents";
pub(crate) const BOUND: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
pub(crate) const PROVISIONER: &str = "provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection";
pub(crate) const SNAPSHOT_BOUND: &str = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection";
pub(crate) const BEING_DELETED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";
pub(crate) const BEING_CREATED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-created";
pub(crate) const GROUP_HANDLE: &str = "groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle";

/// A VolumeSnapshotContent to be made.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) annotations: Value,
    pub(crate) finalizers: Vec<&'static str>,
    pub(crate) policy: &'static str,
    pub(crate) source: Value,
    pub(crate) reference_uid: Option<&'static str>,
    pub(crate) status: Value,
    pub(crate) deleting: bool,
}

/// Deleted by hand, its VolumeSnapshot gone, not marked: what OrphanedContent means.
pub(crate) fn orphaned() -> Content {
    Content {
        annotations: json!({}),
        finalizers: vec![BOUND],
        policy: "Delete",
        source: json!({"volumeHandle": "vol-1"}),
        reference_uid: Some("6d1b1b1c-0000-4000-8000-000000000001"),
        status: ready(),
        deleting: true,
    }
}

/// The driver confirmed the deletion, the finalizer stayed.
pub(crate) fn emptied() -> Content {
    Content { annotations: json!({BEING_DELETED: "yes"}), status: json!({}), ..orphaned() }
}

pub(crate) fn ready() -> Value {
    json!({"snapshotHandle": "snap-1", "readyToUse": true, "creationTime": 1_700_000_000_000_000_000_i64, "restoreSize": 1})
}

impl Server {
    /// Makes it, and gives its path.
    pub(crate) fn content(&self, name: &str, content: &Content) -> String {
        let mut reference = json!({"namespace": "default", "name": "gone"});
        if let Some(uid) = content.reference_uid {
            reference["uid"] = json!(uid);
        }
        let metadata = json!({
            "name": name, "annotations": content.annotations, "finalizers": content.finalizers,
            "labels": {"team": "storage"},
        });
        self.must(&Ask::create(
            CONTENTS,
            json!({
                "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent", "metadata": metadata,
                "spec": {
                    "driver": "csi.example.com", "deletionPolicy": content.policy, "source": content.source,
                    "volumeSnapshotRef": reference,
                },
            }),
        ));
        let path = format!("{CONTENTS}/{name}");
        if !content.status.is_null() {
            // As csi-snapshotter does it: filled first, emptied once the driver has answered.
            self.must(&Ask::merge(&format!("{path}/status"), json!({"status": ready()})));
            let filled = ready();
            let mut status = content.status.clone();
            for key in filled.as_object().unwrap().keys().filter(|key| content.status.get(key).is_none()) {
                status[key] = Value::Null;
            }
            self.must(&Ask::merge(&format!("{path}/status"), json!({"status": status})));
        }
        if content.deleting {
            self.must(&Ask::delete(&path, Value::Null));
        }
        path
    }

    /// A VolumeSnapshot with these finalizers, and its path.
    pub(crate) fn snapshot(&self, namespace: &str, name: &str, finalizers: &[&str], deleting: bool) -> String {
        let path = format!("/apis/snapshot.storage.k8s.io/v1/namespaces/{namespace}/volumesnapshots");
        self.must(&Ask::create(
            &path,
            json!({
                "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
                "metadata": {"name": name, "finalizers": finalizers},
                "spec": {"volumeSnapshotClassName": "fast", "source": {"persistentVolumeClaimName": "data"}},
            }),
        ));
        let path = format!("{path}/{name}");
        if deleting {
            self.must(&Ask::delete(&path, Value::Null));
        }
        path
    }

    /// A claim nobody provisions, and its path.
    pub(crate) fn claim(&self, namespace: &str, name: &str, metadata: &Value) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims");
        let mut claim = json!({
            "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        });
        claim["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        self.must(&Ask::create(&path, claim));
        format!("{path}/{name}")
    }

    /// A Job with this status, and its path.
    pub(crate) fn job(&self, namespace: &str, name: &str, metadata: &Value, status: &Value) -> String {
        let path = format!("/apis/batch/v1/namespaces/{namespace}/jobs");
        // As VolSync's mover has it: with the repository's secret, which a Job of ours must not have.
        let template = json!({"spec": {"containers": [{"name": "kopia", "image": "kopia"}], "restartPolicy": "Never",
            "volumes": [{"name": "secret", "secret": {"secretName": "kopia"}}]}});
        let mut job = json!({"metadata": {"name": name}, "spec": {"template": template}});
        job["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        self.must(&Ask::create(&path, job));
        let path = format!("{path}/{name}");
        if !status.is_null() {
            self.must(&Ask::merge(&format!("{path}/status"), json!({"status": status})));
        }
        path
    }

    /// A pod nobody runs, and its path.
    pub(crate) fn pod(&self, namespace: &str, name: &str, owner: Option<(&str, &str)>, containers: &Value) -> String {
        self.edited_pod(namespace, name, owner, containers, &Value::Null)
    }

    /// The same with some fields changed.
    pub(crate) fn edited_pod(
        &self,
        namespace: &str,
        name: &str,
        owner: Option<(&str, &str)>,
        containers: &Value,
        edit: &Value,
    ) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let owners: Vec<Value> = owner
            .iter()
            .map(|(version, kind)| {
                json!({"apiVersion": version, "kind": kind, "name": "owner", "uid": "o-1", "controller": true})
            })
            .collect();
        let mut pod = json!({
            "metadata": {"name": name, "labels": {"app": name}, "ownerReferences": owners},
            "spec": {"containers": containers, "nodeName": "node-a"},
        });
        for (part, fields) in edit.as_object().into_iter().flatten() {
            pod[part].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        }
        self.must(&Ask::create(&path, pod));
        format!("{path}/{name}")
    }

    pub(crate) fn lease(&self, namespace: &str, name: &str) -> String {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        self.must(&Ask::create(&path, json!({"metadata": {"name": name}, "spec": {"holderIdentity": "somebody"}})));
        format!("{path}/{name}")
    }

    pub(crate) fn namespace(&self, name: &str, annotations: &Value) {
        self.must(&Ask::create("/api/v1/namespaces", json!({"metadata": {"name": name, "annotations": annotations}})));
    }

    /// The uid and the version of the object at a path.
    pub(crate) fn identity(&self, path: &str) -> (String, String) {
        let object = self.must(&Ask::get(path));
        let text = |key: &str| object["metadata"][key].as_str().unwrap().to_owned();
        (text("uid"), text("resourceVersion"))
    }
}
