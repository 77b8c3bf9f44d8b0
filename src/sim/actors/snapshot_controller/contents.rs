//! One look at a content: its finalizer, its snapshot's status, and whether its snapshot is being deleted.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Controller, Work, update_failed};
use crate::sim::actors::object;
use crate::sim::actors::snapshots::{BEING_DELETED, CONTENT_FINALIZER, annotated};
use crate::sim::process::Written;
use crate::sim::recorder::Type;
use crate::sim::store::table::CONTENTS;
use crate::sim::store::{Part, Patch};
use crate::sim::task::Desk;

impl Controller {
    pub(super) async fn sync_content_key(&self, name: &str, desk: &Desk) -> Result<(), String> {
        let Some(content) = self.informers.with(|informers| informers.get(CONTENTS, "", name)) else {
            if let Some(gone) = self.contents.with(|contents| contents.remove("", name)) {
                self.want(Work::Snapshot(referenced(&gone)));
            }
            return Ok(());
        };
        if !self.contents.with(|contents| contents.store(&content)) {
            return Ok(());
        }
        self.sync_content(&content, desk).await
    }

    async fn sync_content(&self, content: &Arc<Value>, desk: &Desk) -> Result<(), String> {
        let has = |field: &str| !object::text(content, field).is_empty();
        if has("/spec/source/volumeHandle") == has("/spec/source/snapshotHandle") {
            return Err(self.complain(content, desk));
        }
        // Whoever prepared a content for a snapshot waits for that snapshot to take it.
        if !has("/spec/volumeSnapshotRef/uid") {
            return Ok(());
        }
        if !object::is_deleting(content) && !object::has_finalizer(content, CONTENT_FINALIZER) {
            return self.add_content_finalizer(content, desk).await;
        }
        let (namespace, name) = referenced(content);
        let snapshot = self.snapshots.with(|snapshots| snapshots.get(&namespace, &name));
        // A snapshot that is gone, or another one of its name, never starts a deletion: the content may be a
        // copy from another cluster, and its physical snapshot somebody else's.
        let of_this =
            |snapshot: &Arc<Value>| object::uid(snapshot) == object::text(content, "/spec/volumeSnapshotRef/uid");
        let Some(snapshot) = snapshot.filter(of_this) else { return Ok(()) };
        if is_behind(&snapshot, content) {
            self.want(Work::Snapshot(object::key(&snapshot)));
        }
        if super::delete::is_candidate(&snapshot) {
            self.mark_being_deleted(content, desk).await?;
        }
        Ok(())
    }

    fn complain(&self, content: &Arc<Value>, desk: &Desk) -> String {
        let words = "Exactly one of VolumeHandle and SnapshotHandle should be specified";
        let (recorder, content) = (self.recorder.clone(), Arc::clone(content));
        desk.note(move |ctx| {
            let about = (CONTENTS, &*content);
            recorder.with(|recorder| recorder.event(ctx, about, Type::Warning, "ContentValidationError", words));
        });
        words.to_owned()
    }

    async fn add_content_finalizer(&self, content: &Arc<Value>, desk: &Desk) -> Result<(), String> {
        let operation = if object::finalizers(content).next().is_none() {
            json!({"op": "add", "path": "/metadata/finalizers", "value": [CONTENT_FINALIZER]})
        } else {
            json!({"op": "add", "path": "/metadata/finalizers/-", "value": CONTENT_FINALIZER})
        };
        let written = self.patch_content(content, json!([operation]), desk).await;
        let written = written.map_err(|refusal| update_failed(object::name(content), &refusal.message))?;
        self.contents.with(|contents| contents.store(&written));
        Ok(())
    }

    /// Says on a content that its snapshot is being deleted; gives the content as it is then.
    ///
    /// The real controller sets the annotation on its cached object first. If the write is refused, it
    /// believes from then on that it succeeded, until the informer shows the content anew.
    pub(super) async fn mark_being_deleted(&self, content: &Arc<Value>, desk: &Desk) -> Result<Arc<Value>, String> {
        if object::annotation(content, BEING_DELETED).is_some() {
            return Ok(Arc::clone(content));
        }
        let annotations = annotated(content, BEING_DELETED);
        let operations = json!([{"op": "add", "path": "/metadata/annotations", "value": annotations}]);
        match self.patch_content(content, operations, desk).await {
            Ok(written) => {
                self.contents.with(|contents| contents.store(&written));
                Ok(written)
            }
            Err(refusal) => {
                let believed = Arc::new(object::with_annotations(content, annotations));
                self.contents.with(|contents| contents.store(&believed));
                self.informers.with(|informers| informers.believe(CONTENTS, believed));
                Err(update_failed(object::name(content), &refusal.message))
            }
        }
    }

    pub(super) async fn patch_content(&self, content: &Value, operations: Value, desk: &Desk) -> Written {
        let patch = Patch::json(operations)?;
        let name = object::name(content).to_owned();
        desk.api(CONTENTS, move |ctx| ctx.patch(CONTENTS, "", &name, Part::Object, &patch)).await
    }
}

fn referenced(content: &Value) -> object::Key {
    let reference = |field: &str| object::text(content, &format!("/spec/volumeSnapshotRef/{field}")).to_owned();
    (reference("namespace"), reference("name"))
}

/// The snapshot's status may have something to learn. The real one compares two pointers where it means two
/// values, so that a snapshot whose readiness is known is always worth a look.
fn is_behind(snapshot: &Value, content: &Value) -> bool {
    let has = |object: &Value, field: &str| object::at(object, field).is_some_and(|value| !value.is_null());
    if !has(content, "/status") {
        return false;
    }
    let newer = |field: &str| has(content, field) && !has(snapshot, field);
    !has(snapshot, "/status/boundVolumeSnapshotContentName")
        || newer("/status/creationTime")
        || newer("/status/restoreSize")
        || has(content, "/status/readyToUse")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_looked_at_when_its_content_may_know_more() {
        let bound = json!({"status": {"boundVolumeSnapshotContentName": "c"}});
        assert!(!is_behind(&bound, &json!({})), "nothing is known of the content");
        assert!(!is_behind(&bound, &json!({"status": {}})));
        assert!(is_behind(&json!({}), &json!({"status": {}})), "not bound");
        assert!(is_behind(&bound, &json!({"status": {"creationTime": 1}})));
        assert!(is_behind(&bound, &json!({"status": {"readyToUse": false}})));
    }
}
