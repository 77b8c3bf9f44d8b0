//! The few objects that most scenarios begin with.

use std::time::Duration;

use serde_json::{Value, json};

use crate::DRIVER;
use crate::error::Error;
use crate::stack::Stack;

/// How long a claim may take to be bound, on a machine that has much else to do.
const BOUND: Duration = Duration::from_secs(60);

impl Stack {
    /// Makes a namespace.
    pub fn namespace(&self, name: &str) -> Result<(), Error> {
        self.apply_json(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).map(drop)
    }

    /// Makes a claim that is bound to a volume of [`DRIVER`], and the PersistentVolume `pv-VOLUME` between them.
    pub fn bound_pvc(&self, namespace: &str, name: &str, volume: &str) -> Result<(), Error> {
        self.bound_pvc_of(DRIVER, namespace, name, volume)
    }

    /// As [`Self::bound_pvc`], for another driver.
    ///
    /// Without nodes there is no kube-controller-manager, so this binds them itself; and nobody then removes the
    /// finalizer `kubernetes.io/pvc-protection` from a claim that is deleted ([`Self::release_pvc`] does).
    pub fn bound_pvc_of(&self, driver: &str, namespace: &str, name: &str, volume: &str) -> Result<(), Error> {
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
                "csi": {"driver": driver, "volumeHandle": volume},
                "claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": name, "namespace": namespace,
                    "uid": claim.pointer("/metadata/uid"),
                },
            },
        }))?;
        if !self.nodes().is_empty() {
            return self.wait_bound(namespace, name);
        }
        let bound = json!({"status": {"phase": "Bound", "accessModes": modes, "capacity": capacity}});
        self.patch("persistentvolumeclaim", Some(namespace), name, Some("status"), &bound)?;
        let bound = json!({"status": {"phase": "Bound"}});
        self.patch("persistentvolume", None, &persistent, Some("status"), &bound).map(drop)
    }

    /// Makes a claim of a storage class, from a snapshot in its namespace if one is given. It is not bound yet.
    pub fn claim(&self, namespace: &str, name: &str, class: &str, snapshot: Option<&str>) -> Result<Value, Error> {
        let source = snapshot
            .map(|snapshot| json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": snapshot}));
        self.create(&json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": class, "dataSource": source,
            },
        }))
    }

    /// Waits until a claim is bound.
    pub fn wait_bound(&self, namespace: &str, name: &str) -> Result<(), Error> {
        self.wait(&format!("the claim {namespace}/{name} is bound"), BOUND, || {
            let claim = self.get("persistentvolumeclaim", Some(namespace), name).ok()??;
            claim.pointer("/status/phase").filter(|phase| *phase == "Bound").map(drop)
        })
    }

    /// Removes the finalizer that kube-controller-manager would remove from a claim that no pod uses. Where it runs, it
    /// does so itself, and nothing is left to do here.
    pub fn release_pvc(&self, namespace: &str, name: &str) -> Result<(), Error> {
        if !self.nodes().is_empty() {
            return Ok(());
        }
        let Some(claim) = self.get("persistentvolumeclaim", Some(namespace), name)? else { return Ok(()) };
        let finalizers = claim.pointer("/metadata/finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
        let kept: Vec<_> =
            finalizers.into_iter().filter(|finalizer| finalizer != "kubernetes.io/pvc-protection").collect();
        let patch = json!({"metadata": {"finalizers": kept}});
        self.patch("persistentvolumeclaim", Some(namespace), name, None, &patch).map(drop)
    }

    /// Makes a VolumeSnapshotClass of [`DRIVER`]; `policy` is `Delete` or `Retain`.
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
