//! One look at one content: is it to be deleted, cut, or asked about.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::Release;
use super::calls::quoted;
use crate::sim::actors::informer::{Informers, Versions};
use crate::sim::actors::object;
use crate::sim::actors::snapshots::{BEING_CREATED, BEING_DELETED, GROUP_HANDLE, deletes, is_ready};
use crate::sim::actors::workers::Outcome;
use crate::sim::process::{ProcessId, Written};
use crate::sim::recorder::{Recorder, Type};
use crate::sim::store::table::{CONTENTS, SNAPSHOT_CLASSES};
use crate::sim::store::{Part, Patch};
use crate::sim::task::{Desk, Shared};

/// What the workers share.
#[derive(Clone)]
pub(super) struct Sidecar {
    pub(super) release: Release,
    pub(super) driver: String,
    pub(super) timeout: Duration,
    pub(super) socket: ProcessId,
    pub(super) informers: Shared<Informers>,
    /// The newest versions it knows of, its own writes among them.
    pub(super) contents: Shared<Versions>,
    pub(super) recorder: Shared<Recorder>,
}

impl Sidecar {
    /// The work on one key.
    pub(super) async fn sync_key(self, name: String, desk: Desk) -> Outcome {
        let Some(content) = self.informers.with(|informers| informers.get(CONTENTS, "", &name)) else {
            self.contents.with(|contents| contents.remove("", &name));
            return Outcome::Done;
        };
        if !self.is_driver_match(&content) || !self.contents.with(|contents| contents.store(&content)) {
            return Outcome::Done;
        }
        match self.sync(&content, &desk).await {
            Ok(outcome) => outcome,
            Err(words) => {
                log_failure(&desk, &name, &words);
                Outcome::Again
            }
        }
    }

    async fn sync(&self, content: &Arc<Value>, desk: &Desk) -> Result<Outcome, String> {
        if should_delete(content) {
            return self.delete(content, desk).await.map(|()| Outcome::Done);
        }
        let dynamic = !object::text(content, "/spec/source/volumeHandle").is_empty();
        if dynamic && object::status(content).is_none() && !is_group_member(content) {
            return self.create(content, desk).await;
        }
        if is_ready(content) {
            self.forget_being_created(content, desk).await?;
            return Ok(Outcome::Done);
        }
        self.check(content, desk).await
    }

    /// It is this driver's, and nothing says otherwise. What is not is skipped without a word.
    fn is_driver_match(&self, content: &Value) -> bool {
        let has = |field: &str| !object::text(content, field).is_empty();
        if !has("/spec/source/volumeHandle") && !has("/spec/source/snapshotHandle") {
            return false;
        }
        if object::text(content, "/spec/driver") != self.driver {
            return false;
        }
        let class = object::text(content, "/spec/volumeSnapshotClassName");
        let class = self.informers.with(|informers| informers.get(SNAPSHOT_CLASSES, "", class));
        class.is_none_or(|class| object::text(&class, "/driver") == self.driver)
    }

    /// PATCH of a content, as the sidecar makes it: blind to the version.
    pub(super) async fn patch(&self, content: &Value, part: Part, operations: Value, desk: &Desk) -> Written {
        let patch = Patch::json(operations)?;
        let name = object::name(content).to_owned();
        desk.api(CONTENTS, move |ctx| ctx.patch(CONTENTS, "", &name, part, &patch)).await
    }

    /// The same, recorded as the newest version.
    pub(super) async fn patch_and_store(
        &self,
        content: &Value,
        operations: Value,
        desk: &Desk,
    ) -> Result<Arc<Value>, String> {
        let written = self.patch(content, Part::Object, operations, desk).await;
        let written = written.map_err(|refusal| update_failed(object::name(content), &refusal.message))?;
        self.contents.with(|contents| contents.store(&written));
        Ok(written)
    }

    /// An Event about a content.
    pub(super) fn warn(&self, content: &Arc<Value>, reason: &'static str, message: impl Into<String>, desk: &Desk) {
        let (recorder, content, message) = (self.recorder.clone(), Arc::clone(content), message.into());
        desk.note(move |ctx| {
            recorder.with(|recorder| recorder.event(ctx, (CONTENTS, &content), Type::Warning, reason, &message));
        });
    }
}

/// The sidecar's one line about a failure; the driver's own code stands nowhere else.
pub(super) fn log_failure(desk: &Desk, content: &str, words: &str) {
    let line = format!("could not sync content {}: {words}", quoted(content));
    desk.note(move |ctx| ctx.klog('E', "snapshot_controller_base.go:359", &line));
}

/// What it says of a write that was refused.
pub(super) fn update_failed(content: &str, words: &str) -> String {
    format!("snapshot controller failed to update {content} on API server: {words}")
}

/// A member of a group snapshot is cut and deleted with its group.
pub(super) fn is_group_member(content: &Value) -> bool {
    object::annotation(content, GROUP_HANDLE).is_some()
}

/// The content is being deleted, and whoever must agree has agreed.
fn should_delete(content: &Value) -> bool {
    if !object::is_deleting(content) {
        return false;
    }
    let preprovisioned = !object::text(content, "/spec/source/snapshotHandle").is_empty();
    if preprovisioned && object::text(content, "/spec/volumeSnapshotRef/uid").is_empty() {
        return true;
    }
    // While the driver may still be cutting the snapshot, nobody knows its handle.
    object::annotation(content, BEING_CREATED).is_none() && object::annotation(content, BEING_DELETED).is_some()
}

/// The physical snapshot goes with the content, is there, and is not a group's.
pub(super) fn has_snapshot_to_delete(content: &Value) -> bool {
    deletes(content)
        && !object::text(content, "/status/snapshotHandle").is_empty()
        && object::text(content, "/status/volumeGroupSnapshotHandle").is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn content(annotations: &[&str], uid: &str, source: &str) -> Value {
        let annotations: serde_json::Map<_, _> =
            annotations.iter().map(|key| ((*key).to_owned(), json!("yes"))).collect();
        json!({
            "metadata": {"name": "c", "deletionTimestamp": "2026-01-01T00:00:00Z", "annotations": annotations},
            "spec": {"volumeSnapshotRef": {"uid": uid}, "source": {source: "x"}},
        })
    }

    #[test]
    fn a_content_is_deleted_when_all_that_must_agree_have() {
        for (annotations, uid, source, expected) in [
            (&[][..], "u", "volumeHandle", false),
            (&[BEING_DELETED][..], "u", "volumeHandle", true),
            (&[BEING_DELETED, BEING_CREATED][..], "u", "volumeHandle", false),
            (&[][..], "", "snapshotHandle", true),
            (&[][..], "u", "snapshotHandle", false),
        ] {
            assert_eq!(should_delete(&content(annotations, uid, source)), expected, "{annotations:?} {uid} {source}");
        }
        let mut alive = content(&[BEING_DELETED], "u", "volumeHandle");
        alive["metadata"].as_object_mut().unwrap().remove("deletionTimestamp");
        assert!(!should_delete(&alive));
    }

    #[test]
    fn the_driver_is_asked_to_delete_only_what_is_its_own_to_delete() {
        let with = |policy: &str, status: Value| json!({"spec": {"deletionPolicy": policy}, "status": status});
        assert!(has_snapshot_to_delete(&with("Delete", json!({"snapshotHandle": "h"}))));
        assert!(!has_snapshot_to_delete(&with("Retain", json!({"snapshotHandle": "h"}))));
        assert!(!has_snapshot_to_delete(&with("Delete", json!({}))));
        let member = json!({"snapshotHandle": "h", "volumeGroupSnapshotHandle": "g"});
        assert!(!has_snapshot_to_delete(&with("Delete", member)));
    }
}
