//! Cutting: the annotation that says so, the driver's call, the status, and the annotation gone again.
//!
//! While the annotation stands, the sidecar asks the driver again and again and deletes nothing: a call that
//! timed out may have cut a snapshot whose handle nobody knows yet.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::calls::{NotCut, quoted};
use super::sync::{Sidecar, is_group_member, update_failed};
use crate::sim::actors::csi::{Secrets, Snapshot};
use crate::sim::actors::informer::not_shown;
use crate::sim::actors::object;
use crate::sim::actors::snapshots::{BEING_CREATED, annotated, error, is_ready};
use crate::sim::actors::workers::Outcome;
use crate::sim::store::Part;
use crate::sim::store::table::{CONTENTS, SNAPSHOT_CLASSES};
use crate::sim::task::Desk;

/// What went wrong, and the content as it was last seen.
struct Failure {
    content: Arc<Value>,
    words: String,
}

impl Sidecar {
    /// Has a snapshot cut for the first time.
    pub(super) async fn create(&self, content: &Arc<Value>, desk: &Desk) -> Result<Outcome, String> {
        let cut = self.cut(content, desk).await;
        self.conclude(cut, ("SnapshotCreationFailed", "Failed to create snapshot"), desk).await
    }

    /// Asks how far a snapshot is; for one of its own that means to have it cut once more.
    pub(super) async fn check(&self, content: &Arc<Value>, desk: &Desk) -> Result<Outcome, String> {
        let has = |field: &str| !object::text(content, field).is_empty();
        let known = has("/status/volumeGroupSnapshotHandle") && has("/status/snapshotHandle");
        let checked = if has("/spec/source/snapshotHandle") || known {
            self.look(content, desk).await
        } else if is_group_member(content) {
            Ok(Arc::clone(content))
        } else {
            self.cut(content, desk).await
        };
        let failed = ("SnapshotContentCheckandUpdateFailed", "Failed to check and update snapshot content");
        self.conclude(checked, failed, desk).await
    }

    async fn conclude(
        &self,
        result: Result<Arc<Value>, Failure>,
        (reason, prefix): (&'static str, &str),
        desk: &Desk,
    ) -> Result<Outcome, String> {
        match result {
            Ok(content) => {
                self.contents.with(|contents| contents.store(&content));
                Ok(if is_ready(&content) { Outcome::Done } else { Outcome::Again })
            }
            Err(Failure { content, words }) => {
                self.report(&content, reason, format!("{prefix}: {words}"), desk).await;
                Err(words)
            }
        }
    }

    /// Writes an error into the status, and says so; the same error twice is said once.
    async fn report(&self, content: &Arc<Value>, reason: &'static str, message: String, desk: &Desk) {
        if object::text(content, "/status/error/message") == message {
            return;
        }
        let error = error(desk.now().wall, &message);
        let operations = if object::status(content).is_none() {
            json!([{"op": "add", "path": "/status", "value": {"readyToUse": false, "error": error}}])
        } else {
            json!([
                {"op": "add", "path": "/status/error", "value": error},
                {"op": "add", "path": "/status/readyToUse", "value": false},
            ])
        };
        let written = self.patch(content, Part::Status, operations, desk).await;
        self.warn(written.as_ref().unwrap_or(content), reason, message, desk);
        if let Ok(written) = written {
            self.contents.with(|contents| contents.store(&written));
        }
    }

    async fn look(&self, content: &Arc<Value>, desk: &Desk) -> Result<Arc<Value>, Failure> {
        let failure = |words| Failure { content: Arc::clone(content), words };
        let snapshot = self.call_status(content, desk).await.map_err(failure)?;
        self.write_status(content, &snapshot, desk).await.map_err(failure)
    }

    async fn cut(&self, content: &Arc<Value>, desk: &Desk) -> Result<Arc<Value>, Failure> {
        let name = object::name(content);
        let secrets = self.input(content, desk).await.map_err(|words| {
            let words = quoted(&words);
            let words = format!("failed to get input parameters to create snapshot for content {name}: {words}");
            Failure { content: Arc::clone(content), words }
        })?;
        let content = self.announce(content, desk).await?;
        let snapshot = match self.call_create(&content, secrets, desk).await {
            Ok(snapshot) => snapshot,
            Err(why) => return Err(self.not_cut(content, why, desk).await),
        };
        let written = self.write_status(&content, &snapshot, desk).await.map_err(|words| Failure {
            content: Arc::clone(&content),
            words: format!("error updating status for volume snapshot content {name}: {words}"),
        })?;
        self.forget_being_created(&written, desk).await.map_err(|words| {
            let words = quoted(&words);
            let words =
                format!("failed to remove VolumeSnapshotBeingCreated annotation on the content {name}: {words}");
            Failure { content: Arc::clone(&written), words }
        })
    }

    async fn not_cut(&self, content: Arc<Value>, why: NotCut, desk: &Desk) -> Failure {
        let volume = object::text(&content, "/spec/source/volumeHandle").to_owned();
        let (words, is_final) = match why {
            NotCut::ByDriver(status) => (status.to_string(), status.is_final()),
            NotCut::Before(words) => (words, false),
        };
        let words = format!("failed to take snapshot of the volume {volume}: {}", quoted(&words));
        if !is_final {
            return Failure { content, words };
        }
        match self.forget_being_created(&content, desk).await {
            Ok(content) => Failure { content, words },
            Err(refused) => {
                let name = object::name(&content);
                let words = format!(
                    "failed to remove VolumeSnapshotBeingCreated annotation from the content {name}: {refused}"
                );
                Failure { content, words }
            }
        }
    }

    /// The class must be there, and the secret.
    async fn input(&self, content: &Value, desk: &Desk) -> Result<Secrets, String> {
        let class = object::text(content, "/spec/volumeSnapshotClassName");
        if class.is_empty() {
            return Err(format!("failed to take snapshot {} without a snapshot class", object::name(content)));
        }
        if self.informers.with(|informers| informers.get(SNAPSHOT_CLASSES, "", class)).is_none() {
            return Err(not_shown(SNAPSHOT_CLASSES, class));
        }
        self.credentials(content, desk).await
    }

    async fn announce(&self, content: &Arc<Value>, desk: &Desk) -> Result<Arc<Value>, Failure> {
        if object::annotation(content, BEING_CREATED).is_some() {
            return Ok(Arc::clone(content));
        }
        // All annotations are written, as they were when the content was last seen.
        let annotations = annotated(content, BEING_CREATED);
        let operations = json!([{"op": "add", "path": "/metadata/annotations", "value": annotations}]);
        self.patch_and_store(content, operations, desk).await.map_err(|words| {
            let (name, words) = (object::name(content), quoted(&words));
            let words = format!("failed to add VolumeSnapshotBeingCreated annotation on the content {name}: {words}");
            Failure { content: Arc::clone(content), words }
        })
    }

    /// Takes the annotation away that says that a snapshot is being cut.
    pub(super) async fn forget_being_created(&self, content: &Arc<Value>, desk: &Desk) -> Result<Arc<Value>, String> {
        if object::annotation(content, BEING_CREATED).is_none() {
            return Ok(Arc::clone(content));
        }
        let path = format!("/metadata/annotations/{}", BEING_CREATED.replace('/', "~1"));
        self.patch_and_store(content, json!([{"op": "remove", "path": path}]), desk).await
    }

    /// Writes what the driver said into the status, where it says something new.
    async fn write_status(&self, content: &Value, snapshot: &Snapshot, desk: &Desk) -> Result<Arc<Value>, String> {
        let name = object::name(content).to_owned();
        let wanted = name.clone();
        let now = desk.api(CONTENTS, move |ctx| ctx.get(CONTENTS, "", &wanted)).await;
        let now = now.map_err(|refusal| format!("error get snapshot content {name} from api server: {refusal}"))?;
        let Some(status) = changed_status(object::status(&now), snapshot) else { return Ok(now) };
        let operations = json!([{"op": "add", "path": "/status", "value": status}]);
        let written = self.patch(&now, Part::Status, operations, desk).await;
        written.map_err(|refusal| update_failed(&name, &refusal.message))
    }
}

/// The status with what the driver said; `None` if it says nothing new.
fn changed_status(old: Option<&Map<String, Value>>, snapshot: &Snapshot) -> Option<Value> {
    let mut status = old.cloned().unwrap_or_default();
    if status.get("readyToUse") != Some(&snapshot.ready.into()) {
        status.insert("readyToUse".to_owned(), snapshot.ready.into());
        if snapshot.ready {
            status.remove("error");
        }
    }
    status.entry("snapshotHandle").or_insert_with(|| snapshot.handle.clone().into());
    let nanoseconds = i64::try_from(snapshot.created.as_nanosecond()).unwrap_or(i64::MAX);
    status.entry("creationTime").or_insert_with(|| nanoseconds.into());
    if snapshot.size > 0 {
        status.entry("restoreSize").or_insert_with(|| snapshot.size.into());
    }
    if old == Some(&status) { None } else { Some(Value::Object(status)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_once_and_a_ready_snapshot_has_no_error() {
        let snapshot =
            Snapshot { handle: "h".to_owned(), created: "1970-01-01T00:00:01Z".parse().unwrap(), size: 5, ready: true };
        let first = changed_status(None, &snapshot).unwrap();
        let expected =
            json!({"snapshotHandle": "h", "creationTime": 1_000_000_000, "restoreSize": 5, "readyToUse": true});
        assert_eq!(first, expected);
        assert_eq!(changed_status(first.as_object(), &snapshot), None);
        let failed = json!({"readyToUse": false, "error": {"message": "x"}});
        assert_eq!(changed_status(failed.as_object(), &snapshot), Some(expected));
    }
}
