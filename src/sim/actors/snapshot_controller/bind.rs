//! A snapshot that is not ready: its content is found, or made, and what it knows is copied.

use std::sync::Arc;

use serde_json::{Value, json};

use super::snapshots::is_group_member;
use super::{Controller, update_failed};
use crate::sim::actors::informer::not_shown;
use crate::sim::actors::object;
use crate::sim::actors::snapshots::{SECRET_NAME, SECRET_NAMESPACE, content_name, label, points_to};
use crate::sim::recorder::Type;
use crate::sim::store::Refusal;
use crate::sim::store::table::{CONTENTS, SNAPSHOT_CLASSES, SNAPSHOTS, VOLUMES};
use crate::sim::task::Desk;

const NAME_PARAMETER: &str = "csi.storage.k8s.io/snapshotter-secret-name";
const NAMESPACE_PARAMETER: &str = "csi.storage.k8s.io/snapshotter-secret-namespace";

impl Controller {
    pub(super) async fn sync_unready(&self, snapshot: &Arc<Value>, desk: &Desk) -> Result<(), String> {
        let wanted = object::text(snapshot, "/spec/source/volumeSnapshotContentName");
        if !wanted.is_empty() {
            return self.bind_prepared(snapshot, wanted, desk).await;
        }
        if is_group_member(snapshot) {
            return self.follow_group(snapshot, desk).await;
        }
        let content = match self.own_content(snapshot, desk).await? {
            Some(content) => content,
            None => match self.create_content(snapshot, desk).await {
                Ok(content) => content,
                Err(words) => {
                    let complaint = format!("Failed to create snapshot content with error {words}");
                    self.report(snapshot, true, "SnapshotContentCreationFailed", &complaint, desk).await;
                    return Err(words);
                }
            },
        };
        self.copy_status(snapshot, &content, desk).await
    }

    /// The content that a snapshot is to have, if it is there already and is the right one.
    pub(super) async fn own_content(&self, snapshot: &Arc<Value>, desk: &Desk) -> Result<Option<Arc<Value>>, String> {
        let named = object::text(snapshot, "/spec/source/volumeSnapshotContentName").to_owned();
        let prepared = !named.is_empty();
        let name = if prepared { named } else { content_name(snapshot) };
        let Some(content) = self.contents.with(|contents| contents.get("", &name)) else { return Ok(None) };
        let field = if prepared { "/spec/source/snapshotHandle" } else { "/spec/source/volumeHandle" };
        if object::text(&content, field).is_empty() {
            let words = if prepared {
                "VolumeSnapshotContent is dynamically provisioned while expecting a pre-provisioned one".to_owned()
            } else {
                format!("VolumeSnapshotContent {name} is pre-provisioned while expecting a dynamically provisioned one")
            };
            self.report(snapshot, true, "SnapshotContentMismatch", &words, desk).await;
            return Err(words);
        }
        if points_to(&content, snapshot) || (prepared && awaits(&content, snapshot)) {
            return Ok(Some(content));
        }
        let words = format!("VolumeSnapshotContent [{name}] is bound to a different snapshot");
        self.report(snapshot, true, "SnapshotContentMisbound", &words, desk).await;
        Err(words)
    }

    async fn bind_prepared(&self, snapshot: &Arc<Value>, wanted: &str, desk: &Desk) -> Result<(), String> {
        let Some(content) = self.own_content(snapshot, desk).await? else {
            self.report(snapshot, true, "SnapshotContentMissing", "VolumeSnapshotContent is missing", desk).await;
            return Err(format!("snapshot {} requests an non-existing content {wanted}", label(snapshot)));
        };
        match self.take_content(snapshot, &content, desk).await {
            Ok(content) => self.copy_status(snapshot, &content, desk).await,
            Err(refusal) => {
                let complaint = format!("Snapshot failed to bind VolumeSnapshotContent, {refusal}");
                self.report(snapshot, true, "SnapshotBindFailed", &complaint, desk).await;
                Err(format!(
                    "snapshot {} is bound, but VolumeSnapshotContent {wanted} is not bound to the VolumeSnapshot \
                     correctly, {refusal}",
                    label(snapshot)
                ))
            }
        }
    }

    /// Writes the snapshot's uid into a content that was prepared for it.
    async fn take_content(&self, snapshot: &Value, content: &Arc<Value>, desk: &Desk) -> Result<Arc<Value>, Refusal> {
        let has = |field: &str| !object::text(content, field).is_empty();
        if has("/spec/volumeSnapshotRef/uid") && has("/spec/volumeSnapshotClassName") {
            return Ok(Arc::clone(content));
        }
        let mut operations =
            vec![json!({"op": "add", "path": "/spec/volumeSnapshotRef/uid", "value": object::uid(snapshot)})];
        let class = object::text(snapshot, "/spec/volumeSnapshotClassName");
        if !class.is_empty() {
            operations.push(json!({"op": "add", "path": "/spec/volumeSnapshotClassName", "value": class}));
        }
        let written = self.patch_content(content, operations.into(), desk).await?;
        self.contents.with(|contents| contents.store(&written));
        Ok(written)
    }

    async fn follow_group(&self, snapshot: &Arc<Value>, desk: &Desk) -> Result<(), String> {
        let name = object::text(snapshot, "/status/boundVolumeSnapshotContentName");
        if name.is_empty() {
            return Err(format!("detected group snapshot member {} with no content, retrying", label(snapshot)));
        }
        let Some(content) = self.contents.with(|contents| contents.get("", name)) else {
            let member = label(snapshot);
            return Err(format!("group snapshot member {member} requests an non-existing content {name}"));
        };
        self.copy_status(snapshot, &content, desk).await
    }

    async fn create_content(&self, snapshot: &Arc<Value>, desk: &Desk) -> Result<Arc<Value>, String> {
        self.hold_claim(snapshot, desk).await?;
        let content = self.content_for(snapshot, desk).await.map_err(|words| {
            format!("failed to get input parameters to create snapshot {}: {words:?}", object::name(snapshot))
        })?;
        let body = content.clone();
        let created = match desk.api(CONTENTS, move |ctx| ctx.create(CONTENTS, "", body)).await {
            Ok(created) => created,
            Err(refusal) if refusal.is_already_exists() => Arc::new(content),
            Err(refusal) => {
                let (name, why) = (label(snapshot), refusal.message);
                let words = format!("Error creating volume snapshot content object for snapshot {name}: {why}.");
                self.say(snapshot, Type::Warning, "CreateSnapshotContentFailed", words, desk);
                return Err(update_failed(&name, &why));
            }
        };
        let words = format!("Waiting for a snapshot {} to be created by the CSI driver.", label(snapshot));
        self.say(snapshot, Type::Normal, "CreatingSnapshot", words, desk);
        self.contents.with(|contents| contents.store(&created));
        Ok(created)
    }

    async fn content_for(&self, snapshot: &Value, desk: &Desk) -> Result<Value, String> {
        let class = object::text(snapshot, "/spec/volumeSnapshotClassName");
        if class.is_empty() {
            return Err(format!("failed to take snapshot {} without a snapshot class", object::name(snapshot)));
        }
        let class = self.informers.with(|informers| informers.get(SNAPSHOT_CLASSES, "", class));
        let class = class
            .ok_or_else(|| not_shown(SNAPSHOT_CLASSES, object::text(snapshot, "/spec/volumeSnapshotClassName")))?;
        let volume = self.source_volume(snapshot, desk).await?;
        let handle = object::text(&volume, "/spec/csi/volumeHandle");
        if handle.is_empty() {
            let name = object::name(&volume);
            return Err(format!("cannot find CSI PersistentVolumeSource for volume {name}"));
        }
        let mut metadata = json!({"name": content_name(snapshot)});
        if let (Some(annotations), Some(fields)) = (secret_of(&class, snapshot), metadata.as_object_mut()) {
            fields.insert("annotations".to_owned(), annotations);
        }
        let mut content = json!({
            "apiVersion": CONTENTS.api_version(),
            "kind": CONTENTS.kind,
            "metadata": metadata,
            "spec": {
                "volumeSnapshotRef": object::reference(SNAPSHOTS, snapshot),
                "source": {"volumeHandle": handle},
                "volumeSnapshotClassName": object::name(&class),
                "deletionPolicy": object::text(&class, "/deletionPolicy"),
                "driver": object::text(&class, "/driver"),
            },
        });
        let mode = object::text(&volume, "/spec/volumeMode");
        if let (false, Some(spec)) = (mode.is_empty(), content.get_mut("spec").and_then(Value::as_object_mut)) {
            spec.insert("sourceVolumeMode".to_owned(), mode.into());
        }
        Ok(content)
    }

    /// The volume that a snapshot is cut from, if its claim is bound to it and it to its claim.
    pub(super) async fn source_volume(&self, snapshot: &Value, desk: &Desk) -> Result<Arc<Value>, String> {
        let name = object::text(snapshot, "/spec/source/persistentVolumeClaimName");
        let missing =
            || format!("failed to retrieve PVC {name} from the lister: \"persistentvolumeclaim {name:?} not found\"");
        let claim = self.source_claim(snapshot).ok_or_else(missing)?;
        if object::text(&claim, "/status/phase") != "Bound" {
            return Err(format!("the PVC {name} is not yet bound to a PV, will not attempt to take a snapshot"));
        }
        let wanted = object::text(&claim, "/spec/volumeName").to_owned();
        let volume = {
            let wanted = wanted.clone();
            desk.api(VOLUMES, move |ctx| ctx.get(VOLUMES, "", &wanted)).await
        };
        let volume = volume
            .map_err(|refusal| format!("failed to retrieve PV {wanted} from the API server: {:?}", refusal.message))?;
        let reference = |field: &str| object::text(&volume, &format!("/spec/claimRef/{field}")).to_owned();
        let same = (reference("namespace"), reference("name")) == object::key(&claim);
        let uid = reference("uid");
        if !same || (!uid.is_empty() && uid != object::uid(&claim)) {
            return Err("claim in dataSource not bound or invalid".to_owned());
        }
        Ok(volume)
    }
}

/// A content prepared for a snapshot of this name, whichever it is.
fn awaits(content: &Value, snapshot: &Value) -> bool {
    let reference = |field: &str| object::text(content, &format!("/spec/volumeSnapshotRef/{field}")).to_owned();
    reference("uid").is_empty() && (reference("namespace"), reference("name")) == object::key(snapshot)
}

/// The annotations that name the secret of a class, its templates filled in.
fn secret_of(class: &Value, snapshot: &Value) -> Option<Value> {
    let parameter = |key: &str| class.get("parameters")?.get(key)?.as_str();
    let filled = |template: &str| {
        template
            .replace("${volumesnapshotcontent.name}", &content_name(snapshot))
            .replace("${volumesnapshot.namespace}", object::namespace(snapshot))
            .replace("${volumesnapshot.name}", object::name(snapshot))
    };
    let (name, namespace) = (filled(parameter(NAME_PARAMETER)?), filled(parameter(NAMESPACE_PARAMETER)?));
    Some(json!({SECRET_NAME: name, SECRET_NAMESPACE: namespace}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_names_its_secret_by_template() {
        let snapshot = json!({"metadata": {"name": "s", "namespace": "n", "uid": "u"}});
        let class = json!({"parameters": {NAME_PARAMETER: "key-${volumesnapshot.name}", NAMESPACE_PARAMETER: "ceph"}});
        let expected = json!({SECRET_NAME: "key-s", SECRET_NAMESPACE: "ceph"});
        assert_eq!(secret_of(&class, &snapshot), Some(expected));
        assert_eq!(secret_of(&json!({}), &snapshot), None);
    }
}
