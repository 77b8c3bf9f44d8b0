//! A snapshot that is deleted: its content is told, then deleted, then waited for.
//!
//! The order is what protects the physical snapshot: the annotation on the content comes before its deletion,
//! and the snapshot's last finalizer goes only when the content is gone.

use std::sync::Arc;

use serde_json::Value;

use super::{Controller, update_failed};
use crate::sim::actors::object;
use crate::sim::actors::snapshots::{
    BOUND_FINALIZER, GROUP_FINALIZER, SOURCE_FINALIZER, content_name, deletes, label, points_to,
};
use crate::sim::recorder::Type;
use crate::sim::store::table::{CLAIMS, CONTENTS, GROUP_SNAPSHOTS, SNAPSHOT_GROUP, SNAPSHOTS};
use crate::sim::store::{DeleteOptions, Part};
use crate::sim::task::Desk;

/// It is being deleted and still carries one of the controller's finalizers. One without is never looked at.
pub(super) fn is_candidate(snapshot: &Value) -> bool {
    object::is_deleting(snapshot)
        && [SOURCE_FINALIZER, BOUND_FINALIZER].iter().any(|finalizer| object::has_finalizer(snapshot, finalizer))
}

impl Controller {
    pub(super) async fn sync_deleting(&self, snapshot: &Arc<Value>, desk: &Desk) -> Result<(), String> {
        if !is_candidate(snapshot) {
            return Ok(());
        }
        let content = self.content_of(snapshot);
        if content.is_some() && self.is_being_restored(snapshot) {
            let words = "Snapshot is being used to restore a PVC";
            self.say(snapshot, Type::Warning, "SnapshotDeletePending", words, desk);
            if !self.retries_after_restore {
                return Ok(());
            }
            let name = label(snapshot);
            return Err(format!("snapshot {name} is in use (being used to restore a PVC), will retry deletion"));
        }
        let mut gone = vec![SOURCE_FINALIZER];
        if self.leaves_group(snapshot, desk)? {
            gone.push(GROUP_FINALIZER);
        }
        let waits = self.start_deletion(snapshot, content, desk).await?;
        if !waits {
            gone.push(BOUND_FINALIZER);
        }
        self.remove_finalizers(snapshot, &gone, desk).await
    }

    /// Tells the content, and deletes it if its policy says so; true if the snapshot must wait for it.
    async fn start_deletion(
        &self,
        snapshot: &Arc<Value>,
        content: Option<Arc<Value>>,
        desk: &Desk,
    ) -> Result<bool, String> {
        let Some(content) = content else { return Ok(false) };
        let content = self.mark_being_deleted(&content, desk).await?;
        if !deletes(&content) {
            return Ok(false);
        }
        let name = object::name(&content).to_owned();
        let deleted = desk.api(CONTENTS, move |ctx| ctx.delete(CONTENTS, "", &name, &DeleteOptions::default())).await;
        match deleted {
            Err(refusal) if !refusal.is_not_found() => {
                let words = "Failed to delete snapshot content API object";
                self.say(snapshot, Type::Warning, "SnapshotContentObjectDeleteError", words, desk);
                let name = object::name(&content);
                Err(format!("failed to delete VolumeSnapshotContent {name} from API server: {:?}", refusal.message))
            }
            _ => Ok(true),
        }
    }

    /// The content that belongs to a snapshot, and says so itself.
    fn content_of(&self, snapshot: &Value) -> Option<Arc<Value>> {
        let bound = object::text(snapshot, "/status/boundVolumeSnapshotContentName");
        let dynamic = !object::text(snapshot, "/spec/source/persistentVolumeClaimName").is_empty();
        let name = if bound.is_empty() && dynamic { content_name(snapshot) } else { bound.to_owned() };
        let content = self.contents.with(|contents| contents.get("", &name))?;
        points_to(&content, snapshot).then_some(content)
    }

    /// A claim of the namespace is being filled from this snapshot.
    fn is_being_restored(&self, snapshot: &Value) -> bool {
        let restores = |claim: &Arc<Value>| {
            let source = |field: &str| object::text(claim, &format!("/spec/dataSource/{field}"));
            source("name") == object::name(snapshot)
                && source("kind") == SNAPSHOTS.kind
                && source("apiGroup") == SNAPSHOT_GROUP
                && object::text(claim, "/status/phase") == "Pending"
        };
        self.informers.with(|informers| informers.list_in(CLAIMS, object::namespace(snapshot)).any(restores))
    }

    /// A member goes with its group and not before; true if the group has gone.
    fn leaves_group(&self, snapshot: &Arc<Value>, desk: &Desk) -> Result<bool, String> {
        let group = object::text(snapshot, "/status/volumeGroupSnapshotName");
        if group.is_empty() {
            return Ok(false);
        }
        let namespace = object::namespace(snapshot);
        if self.informers.with(|informers| informers.get(GROUP_SNAPSHOTS, namespace, group)).is_none() {
            return Ok(true);
        }
        let words = format!(
            "deletion of the individual volume snapshot {} is not allowed as it belongs to group snapshot \
             {namespace}/{group}. Deleting the group snapshot will trigger the deletion of all the individual volume \
             snapshots that are part of the group.",
            label(snapshot)
        );
        self.say(snapshot, Type::Warning, "SnapshotDeletePending", words.clone(), desk);
        Err(words)
    }

    async fn remove_finalizers(&self, snapshot: &Arc<Value>, gone: &[&str], desk: &Desk) -> Result<(), String> {
        // Once the snapshot is gone, nothing would ever let its claim go.
        if let Err(words) = self.release_claim(snapshot, true, desk).await {
            let complaint = "Error check and remove PVC Finalizer for VolumeSnapshot";
            self.say(snapshot, Type::Warning, "ErrorPVCFinalizer", complaint, desk);
            return Err(update_failed(object::name(snapshot), &words));
        }
        let left = object::with_finalizers(snapshot, object::without_finalizers(snapshot, gone));
        let written = desk.api(SNAPSHOTS, move |ctx| ctx.replace(SNAPSHOTS, Part::Object, left)).await;
        let written = written.map_err(|refusal| update_failed(object::name(snapshot), &refusal.message))?;
        self.snapshots.with(|snapshots| snapshots.store(&written));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_deleted_snapshot_with_one_of_our_finalizers_is_ours_to_delete() {
        let snapshot = |finalizers: &[&str]| json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers}});
        assert!(is_candidate(&snapshot(&[SOURCE_FINALIZER])));
        assert!(is_candidate(&snapshot(&["example/hold", BOUND_FINALIZER])));
        assert!(!is_candidate(&snapshot(&[GROUP_FINALIZER, "example/hold"])));
        assert!(!is_candidate(&json!({"metadata": {"finalizers": [BOUND_FINALIZER]}})));
    }
}
