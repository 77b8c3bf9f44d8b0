//! One look at a snapshot: its class, its finalizers, and then what it still lacks.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Controller, Work, update_failed};
use crate::sim::actors::informer::not_shown;
use crate::sim::actors::object;
use crate::sim::actors::snapshots::{
    BOUND_FINALIZER, DEFAULT_CLASS, SOURCE_FINALIZER, deletes, error, is_bound, is_ready, label, points_to,
};
use crate::sim::recorder::Type;
use crate::sim::store::table::{SNAPSHOT_CLASSES, SNAPSHOTS};
use crate::sim::store::{Part, Patch, Refusal};
use crate::sim::task::Desk;

/// Why a snapshot has no class.
struct NoClass {
    words: String,
    /// The class that it names is not there: no reason to keep a snapshot from being deleted.
    is_missing: bool,
}

impl Controller {
    pub(super) async fn sync_snapshot_key(&self, namespace: &str, name: &str, desk: &Desk) -> Result<(), String> {
        let Some(shown) = self.informers.with(|informers| informers.get(SNAPSHOTS, namespace, name)) else {
            let gone = self.snapshots.with(|snapshots| snapshots.remove(namespace, name));
            let content = gone.as_deref().map(|gone| object::text(gone, "/status/boundVolumeSnapshotContentName"));
            if let Some(content) = content.filter(|content| !content.is_empty()) {
                self.want(Work::Content(content.to_owned()));
            }
            return Ok(());
        };
        let snapshot = match self.with_class(&shown, desk).await {
            Ok(snapshot) => snapshot,
            Err(NoClass { is_missing: true, .. }) if object::is_deleting(&shown) => shown,
            Err(NoClass { words, .. }) => return Err(words),
        };
        if !self.snapshots.with(|snapshots| snapshots.store(&snapshot)) {
            return Ok(());
        }
        self.sync_snapshot(&snapshot, desk).await
    }

    async fn sync_snapshot(&self, snapshot: &Arc<Value>, desk: &Desk) -> Result<(), String> {
        if self.release_claim(snapshot, false, desk).await.is_err() {
            let words = "Error check and remove PVC Finalizer for VolumeSnapshot";
            self.say(snapshot, Type::Warning, "ErrorPVCFinalizer", words, desk);
        }
        if object::is_deleting(snapshot) {
            return self.sync_deleting(snapshot, desk).await;
        }
        let has = |field: &str| !object::text(snapshot, field).is_empty();
        if has("/spec/source/persistentVolumeClaimName") == has("/spec/source/volumeSnapshotContentName") {
            let words = "Exactly one of PersistentVolumeClaimName and VolumeSnapshotContentName should be specified";
            self.report(snapshot, true, "SnapshotValidationError", words, desk).await;
            return Err(words.to_owned());
        }
        self.add_finalizers(snapshot, desk).await?;
        if is_ready(snapshot) && is_bound(snapshot) {
            self.sync_ready(snapshot, desk).await
        } else {
            self.sync_unready(snapshot, desk).await
        }
    }

    async fn sync_ready(&self, snapshot: &Arc<Value>, desk: &Desk) -> Result<(), String> {
        let name = object::text(snapshot, "/status/boundVolumeSnapshotContentName");
        match self.contents.with(|contents| contents.get("", name)) {
            None => {
                let words = "VolumeSnapshotContent is missing";
                self.report(snapshot, true, "SnapshotContentMissing", words, desk).await;
            }
            Some(content) if !points_to(&content, snapshot) => {
                let words = "VolumeSnapshotContent is not bound to the VolumeSnapshot correctly";
                self.report(snapshot, true, "SnapshotMisbound", words, desk).await;
            }
            Some(_) => {}
        }
        Ok(())
    }

    async fn add_finalizers(&self, snapshot: &Arc<Value>, desk: &Desk) -> Result<(), String> {
        let content = match self.own_content(snapshot, desk).await {
            Ok(content) => content,
            Err(words) => {
                let complaint = format!("Failed to check and update snapshot: {words}");
                self.say(snapshot, Type::Warning, "SnapshotFinalizerError", complaint, desk);
                return Err(words);
            }
        };
        let lacks = |finalizer: &str| !object::has_finalizer(snapshot, finalizer);
        let mut missing = Vec::new();
        if lacks(SOURCE_FINALIZER) {
            missing.push(SOURCE_FINALIZER);
        }
        if lacks(BOUND_FINALIZER) && is_bound(snapshot) && content.is_some_and(|content| deletes(&content)) {
            missing.push(BOUND_FINALIZER);
        }
        if missing.is_empty() {
            return Ok(());
        }
        let written = self.write_finalizers(snapshot, &missing, desk).await;
        let written = written.map_err(|refusal| update_failed(&label(snapshot), &refusal.message))?;
        self.snapshots.with(|snapshots| snapshots.store(&written));
        Ok(())
    }

    async fn write_finalizers(
        &self,
        snapshot: &Arc<Value>,
        missing: &[&str],
        desk: &Desk,
    ) -> Result<Arc<Value>, Refusal> {
        if object::finalizers(snapshot).next().is_none() {
            let first = object::with_finalizers(snapshot, json!(missing));
            return desk.api(SNAPSHOTS, move |ctx| ctx.replace(SNAPSHOTS, Part::Object, first)).await;
        }
        let add = |finalizer: &&str| json!({"op": "add", "path": "/metadata/finalizers/-", "value": finalizer});
        let operations: Vec<Value> = missing.iter().map(add).collect();
        self.patch_snapshot(snapshot, operations.into(), desk).await
    }

    async fn patch_snapshot(&self, snapshot: &Value, operations: Value, desk: &Desk) -> Result<Arc<Value>, Refusal> {
        let patch = Patch::json(operations)?;
        let (namespace, name) = object::key(snapshot);
        desk.api(SNAPSHOTS, move |ctx| ctx.patch(SNAPSHOTS, &namespace, &name, Part::Object, &patch)).await
    }

    /// The snapshot with a class that exists; the default of its driver is written into it.
    async fn with_class(&self, snapshot: &Arc<Value>, desk: &Desk) -> Result<Arc<Value>, NoClass> {
        let name = object::text(snapshot, "/spec/volumeSnapshotClassName");
        if !name.is_empty() {
            if self.informers.with(|informers| informers.get(SNAPSHOT_CLASSES, "", name)).is_some() {
                return Ok(Arc::clone(snapshot));
            }
            let words = not_shown(SNAPSHOT_CLASSES, name);
            let complaint = format!("Failed to get snapshot class with error {words}");
            self.report(snapshot, false, "GetSnapshotClassFailed", &complaint, desk).await;
            return Err(NoClass { words, is_missing: true });
        }
        let preprovisioned = !object::text(snapshot, "/spec/source/volumeSnapshotContentName").is_empty();
        if preprovisioned || is_group_member(snapshot) {
            return Ok(Arc::clone(snapshot));
        }
        match self.default_class(snapshot, desk).await {
            Ok(class) => {
                let operations = json!([{"op": "add", "path": "/spec/volumeSnapshotClassName", "value": class}]);
                let written = self.patch_snapshot(snapshot, operations, desk).await;
                let written = written.unwrap_or_else(|_| Arc::clone(snapshot));
                self.snapshots.with(|snapshots| snapshots.store(&written));
                Ok(written)
            }
            Err(words) => {
                let complaint = format!("Failed to set default snapshot class with error {words}");
                self.report(snapshot, false, "SetDefaultSnapshotClassFailed", &complaint, desk).await;
                Err(NoClass { words, is_missing: false })
            }
        }
    }

    async fn default_class(&self, snapshot: &Value, desk: &Desk) -> Result<String, String> {
        let volume = self.source_volume(snapshot, desk).await?;
        let driver = object::text(&volume, "/spec/csi/driver");
        if driver.is_empty() {
            return Err(format!("snapshotting non-CSI volumes is not supported, snapshot:{}", label(snapshot)));
        }
        let is_default = |class: &&Arc<Value>| {
            object::annotation(class, DEFAULT_CLASS) == Some("true") && object::text(class, "/driver") == driver
        };
        let defaults: Vec<String> = self.informers.with(|informers| {
            let classes = informers.list(SNAPSHOT_CLASSES).filter(is_default);
            classes.map(|class| object::name(class).to_owned()).collect()
        });
        match defaults.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err("cannot find default snapshot class".to_owned()),
            more => Err(format!("{} default snapshot classes were found", more.len())),
        }
    }

    /// An error in the snapshot's status, and an Event; the same error twice is said once.
    pub(super) async fn report(
        &self,
        snapshot: &Arc<Value>,
        unready: bool,
        reason: &'static str,
        words: &str,
        desk: &Desk,
    ) {
        if object::text(snapshot, "/status/error/message") == words {
            return;
        }
        let mut status = object::status(snapshot).cloned().unwrap_or_default();
        status.insert("error".to_owned(), error(desk.now().wall, words));
        if unready {
            status.insert("readyToUse".to_owned(), false.into());
        }
        let wanted = object::with_status(snapshot, status.into());
        let written = desk.api(SNAPSHOTS, move |ctx| ctx.replace(SNAPSHOTS, Part::Status, wanted)).await;
        self.say(written.as_ref().unwrap_or(snapshot), Type::Warning, reason, words, desk);
        if let Ok(written) = written {
            self.snapshots.with(|snapshots| snapshots.store(&written));
        }
    }
}

/// A VolumeGroupSnapshot owns it.
pub(super) fn is_group_member(snapshot: &Value) -> bool {
    let owners = snapshot.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| object::text(owner, "/kind") == "VolumeGroupSnapshot")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_known_by_its_owner() {
        let owned = |kind: &str| json!({"metadata": {"ownerReferences": [{"kind": kind}]}});
        assert!(is_group_member(&owned("VolumeGroupSnapshot")));
        assert!(!is_group_member(&owned("Backup")) && !is_group_member(&json!({})));
    }
}
