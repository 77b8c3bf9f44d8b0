//! One look at a claim: if it is this driver's to fill, the snapshot is held, the driver called, the volume made.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Provisioner, source, waits};
use crate::sim::actors::csi::{Request, Response, Secrets};
use crate::sim::actors::object;
use crate::sim::actors::snapshots::{PROVISIONER_FINALIZER, is_ready, points_to};
use crate::sim::recorder::Type;
use crate::sim::store::Part;
use crate::sim::store::table::{CLAIMS, CONTENTS, SECRETS, SNAPSHOTS, STORAGE_CLASSES, VOLUMES};
use crate::sim::task::Desk;

/// On a volume: who made it.
pub(super) const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On a volume: its storage must go before it.
pub(super) const VOLUME_FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";
/// On a claim: who is to make its volume. The volume controller writes it when the time has come.
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";

/// The claim's source is neither a snapshot nor a claim: somebody else fills it.
fn is_for_a_populator(claim: &Value) -> bool {
    let kinds = ["/spec/dataSource/kind", "/spec/dataSourceRef/kind"].map(|field| object::text(claim, field));
    kinds.iter().any(|kind| !["", SNAPSHOTS.kind, CLAIMS.kind].contains(kind))
}

impl Provisioner {
    pub(super) async fn sync_claim(&self, namespace: &str, name: &str, desk: &Desk) -> Result<(), String> {
        let Some(claim) = self.informers.with(|informers| informers.get(CLAIMS, namespace, name)) else {
            return Ok(());
        };
        let Some(class) = self.class_to_provision(&claim) else { return Ok(()) };
        let words = format!("External provisioner is provisioning volume for claim \"{namespace}/{name}\"");
        self.say(&claim, Type::Normal, "Provisioning", words, desk);
        if is_for_a_populator(&claim) {
            let words = "Assuming an external populator will provision the volume";
            self.say(&claim, Type::Normal, "Provisioning", words, desk);
            return Ok(());
        }
        match self.provision(&claim, &class, desk).await {
            Ok(()) => {
                let words = format!("Successfully provisioned volume {}", volume_name(&claim));
                self.say(&claim, Type::Normal, "ProvisioningSucceeded", words, desk);
                Ok(())
            }
            Err(words) => {
                let class = object::name(&class);
                let words = format!("failed to provision volume with StorageClass \"{class}\": {words}");
                self.say(&claim, Type::Warning, "ProvisioningFailed", words.clone(), desk);
                Err(words)
            }
        }
    }

    /// The class of a claim that waits for a volume of this driver.
    fn class_to_provision(&self, claim: &Value) -> Option<Arc<Value>> {
        let bound = !object::text(claim, "/spec/volumeName").is_empty();
        let ours = object::annotation(claim, PROVISIONER) == Some(self.driver.as_str());
        if bound || !ours || !waits(claim) || object::is_deleting(claim) {
            return None;
        }
        let (class, made) = self.informers.with(|informers| {
            let class = informers.get(STORAGE_CLASSES, "", object::text(claim, "/spec/storageClassName"));
            (class, informers.get(VOLUMES, "", &volume_name(claim)).is_some())
        });
        class.filter(|class| object::text(class, "/provisioner") == self.driver && !made)
    }

    async fn provision(&self, claim: &Arc<Value>, class: &Value, desk: &Desk) -> Result<(), String> {
        let secrets = secrets_of(class, desk).await?;
        let snapshot = match source(claim) {
            None => None,
            Some(key) => Some(self.hold_snapshot(&key, class, desk).await?),
        };
        let requested = object::text(claim, "/spec/resources/requests/storage");
        let request = Request::CreateVolume {
            name: volume_name(claim),
            size: object::bytes(requested).unwrap_or_default(),
            snapshot: snapshot.clone(),
            secrets,
        };
        let answer = desk.call(self.socket, request, self.timeout).await;
        let Response::Volume { handle, size } = answer.map_err(|status| status.to_string())? else {
            return Err("volume content source missing".to_owned());
        };
        if let Some(key) = source(claim) {
            self.let_go(&key, desk).await;
        }
        let volume = self.volume_for(claim, class, &handle, size);
        match desk.api(VOLUMES, move |ctx| ctx.create(VOLUMES, "", volume)).await {
            Err(refusal) if !refusal.is_already_exists() => Err(refusal.message),
            _ => Ok(()),
        }
    }

    /// The handle of a snapshot, which is held from now on.
    async fn hold_snapshot(&self, key: &object::Key, class: &Value, desk: &Desk) -> Result<String, String> {
        let name = &key.1;
        let prefix = format!("error getting handle for DataSource Type VolumeSnapshot by Name {name}: ");
        let handle = self.snapshot_handle(key, class, desk).await.map_err(|words| format!("{prefix}{words}"))?;
        let (namespace, wanted) = key.clone();
        let held = desk.api(SNAPSHOTS, move |ctx| ctx.get(SNAPSHOTS, &namespace, &wanted)).await;
        let held = held.map_err(|refusal| refusal.message)?;
        if !object::has_finalizer(&held, PROVISIONER_FINALIZER) {
            let all: Vec<&str> = object::finalizers(&held).chain([PROVISIONER_FINALIZER]).collect();
            let held = object::with_finalizers(&held, json!(all));
            let written = desk.api(SNAPSHOTS, move |ctx| ctx.replace(SNAPSHOTS, Part::Object, held)).await;
            written.map_err(|refusal| refusal.message)?;
        }
        Ok(handle)
    }

    async fn snapshot_handle(
        &self,
        (namespace, name): &object::Key,
        class: &Value,
        desk: &Desk,
    ) -> Result<String, String> {
        let key = (namespace.clone(), name.clone());
        let snapshot = desk.api(SNAPSHOTS, move |ctx| ctx.get(SNAPSHOTS, &key.0, &key.1)).await;
        let snapshot =
            snapshot.map_err(|refusal| format!("error getting snapshot {name} from api server: {refusal}"))?;
        // One that is deleted may be restored to the end, but not be begun.
        if object::is_deleting(&snapshot) && !object::has_finalizer(&snapshot, PROVISIONER_FINALIZER) {
            return Err(format!("snapshot {name} is being deleted"));
        }
        let bound = object::text(&snapshot, "/status/boundVolumeSnapshotContentName").to_owned();
        if bound.is_empty() {
            return Err(format!("snapshot {name} not bound"));
        }
        let wanted = bound.clone();
        let content = desk.api(CONTENTS, move |ctx| ctx.get(CONTENTS, "", &wanted)).await;
        let content = content.map_err(|_| format!("error getting snapshotcontent {bound} for snapshot {name}"))?;
        if !points_to(&content, &snapshot) {
            return Err(format!("snapshotcontent {bound} for snapshot {name} is bound to a different snapshot"));
        }
        if object::text(&content, "/spec/driver") != object::text(class, "/provisioner") {
            let class = object::name(class);
            return Err(format!(
                "snapshotcontent {bound} for snapshot {name} is handled by a different CSI driver than requested by \
                 StorageClass {class}"
            ));
        }
        if !is_ready(&snapshot) {
            return Err(format!("snapshot {name} is not Ready"));
        }
        let handle = object::text(&content, "/status/snapshotHandle");
        if handle.is_empty() {
            return Err(format!("snapshot handle {name} is not available"));
        }
        Ok(handle.to_owned())
    }

    /// Lets a restored snapshot go. What fails here is left to the sweep.
    async fn let_go(&self, key: &object::Key, desk: &Desk) {
        let (namespace, name) = key.clone();
        let Ok(snapshot) = desk.api(SNAPSHOTS, move |ctx| ctx.get(SNAPSHOTS, &namespace, &name)).await else { return };
        if object::has_finalizer(&snapshot, PROVISIONER_FINALIZER) {
            let left = object::without_finalizers(&snapshot, &[PROVISIONER_FINALIZER]);
            let freed = object::with_finalizers(&snapshot, left);
            let written = desk.api(SNAPSHOTS, move |ctx| ctx.replace(SNAPSHOTS, Part::Object, freed)).await;
            if let Err(refusal) = written {
                let line = format!("Failed to remove snapshot finalizer from {}/{}: {refusal}", key.0, key.1);
                desk.note(move |ctx| ctx.klog('W', "controller.go:1046", &line));
            }
        }
    }

    fn volume_for(&self, claim: &Value, class: &Value, handle: &str, size: i64) -> Value {
        let policy = match object::text(class, "/reclaimPolicy") {
            "" => "Delete",
            said => said,
        };
        let mode = match object::text(claim, "/spec/volumeMode") {
            "" => "Filesystem",
            said => said,
        };
        let mut finalizers = Map::new();
        if policy == "Delete" {
            finalizers.insert("finalizers".to_owned(), json!([VOLUME_FINALIZER]));
        }
        let mut metadata = json!({"name": volume_name(claim), "annotations": {PROVISIONED_BY: self.driver}});
        if let Some(fields) = metadata.as_object_mut() {
            fields.append(&mut finalizers);
        }
        json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": metadata,
            "spec": {
                "accessModes": claim.pointer("/spec/accessModes").cloned().unwrap_or_else(|| json!(["ReadWriteOnce"])),
                "capacity": {"storage": object::quantity(size)},
                "claimRef": object::reference(CLAIMS, claim),
                "csi": {"driver": self.driver, "volumeHandle": handle},
                "persistentVolumeReclaimPolicy": policy,
                "storageClassName": object::name(class),
                "volumeMode": mode,
            },
        })
    }
}

/// The name of the volume that is made for a claim.
fn volume_name(claim: &Value) -> String {
    format!("pvc-{}", object::uid(claim))
}

/// The credentials that a class names; none if it names none.
pub(super) async fn secrets_of(class: &Value, desk: &Desk) -> Result<Secrets, String> {
    let parameter = |key: &str| Some(class.get("parameters")?.get(key)?.as_str()?.to_owned());
    let name = parameter("csi.storage.k8s.io/provisioner-secret-name");
    let namespace = parameter("csi.storage.k8s.io/provisioner-secret-namespace");
    let (Some(name), Some(namespace)) = (name, namespace) else { return Ok(Secrets::new()) };
    let words = format!("error getting secret {name} in namespace {namespace}: ");
    let secret = desk.api(SECRETS, move |ctx| ctx.get(SECRETS, &namespace, &name)).await;
    secret.map(|secret| object::data(&secret)).map_err(|refusal| format!("{words}{refusal}"))
}
