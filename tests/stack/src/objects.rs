//! The few objects that most scenarios begin with.

use serde_json::{Value, json};

use crate::DRIVER;
use crate::error::Error;
use crate::stack::Stack;

impl Stack {
    /// Makes a namespace.
    pub fn namespace(&self, name: &str) -> Result<(), Error> {
        self.apply_json(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).map(drop)
    }

    /// Makes a claim that is bound to a volume of the driver, and the PersistentVolume `pv-VOLUME` between them.
    ///
    /// No kube-controller-manager runs, so this binds them itself; and nobody removes the finalizer
    /// `kubernetes.io/pvc-protection` from a claim that is deleted ([`Self::release_pvc`] does).
    pub fn bound_pvc(&self, namespace: &str, name: &str, volume: &str) -> Result<(), Error> {
        let persistent = format!("pv-{volume}");
        let capacity = json!({"storage": "1Gi"});
        let modes = json!(["ReadWriteOnce"]);
        let claim = self.create(&json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "accessModes": modes, "resources": {"requests": capacity},
                "storageClassName": "", "volumeName": persistent,
            },
        }))?;
        self.create(&json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": persistent},
            "spec": {
                "accessModes": modes, "capacity": capacity, "persistentVolumeReclaimPolicy": "Retain",
                "csi": {"driver": DRIVER, "volumeHandle": volume},
                "claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": name, "namespace": namespace,
                    "uid": claim.pointer("/metadata/uid"),
                },
            },
        }))?;
        let bound = json!({"status": {"phase": "Bound", "accessModes": modes, "capacity": capacity}});
        self.patch("persistentvolumeclaim", Some(namespace), name, Some("status"), &bound)?;
        let bound = json!({"status": {"phase": "Bound"}});
        self.patch("persistentvolume", None, &persistent, Some("status"), &bound).map(drop)
    }

    /// Removes the finalizer that kube-controller-manager would remove from a claim that no pod uses.
    pub fn release_pvc(&self, namespace: &str, name: &str) -> Result<(), Error> {
        let Some(claim) = self.get("persistentvolumeclaim", Some(namespace), name)? else { return Ok(()) };
        let finalizers = claim.pointer("/metadata/finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
        let kept: Vec<_> =
            finalizers.into_iter().filter(|finalizer| finalizer != "kubernetes.io/pvc-protection").collect();
        let patch = json!({"metadata": {"finalizers": kept}});
        self.patch("persistentvolumeclaim", Some(namespace), name, None, &patch).map(drop)
    }

    /// Makes a VolumeSnapshotClass of the driver; `policy` is `Delete` or `Retain`.
    pub fn snapshot_class(&self, name: &str, policy: &str) -> Result<(), Error> {
        self.create(&json!({
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshotClass",
            "metadata": {"name": name},
            "driver": DRIVER,
            "deletionPolicy": policy,
        }))
        .map(drop)
    }

    /// Makes a VolumeSnapshot of a claim, and returns it as stored; it is not ready yet.
    pub fn snapshot(&self, namespace: &str, name: &str, claim: &str, class: &str) -> Result<Value, Error> {
        self.create(&json!({
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshot",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"volumeSnapshotClassName": class, "source": {"persistentVolumeClaimName": claim}},
        }))
    }
}
