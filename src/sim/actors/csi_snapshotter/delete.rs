//! Deleting: the driver's call, then the emptied status, then the finalizer.
//!
//! The status is emptied in a write of its own before the finalizer goes. A content that stands with an empty
//! status is one whose snapshot the driver has confirmed gone.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Release;
use super::calls::quoted;
use super::sync::{Sidecar, has_snapshot_to_delete, log_failure, update_failed};
use crate::sim::actors::object;
use crate::sim::actors::snapshots::CONTENT_FINALIZER;
use crate::sim::store::Part;
use crate::sim::store::table::CONTENTS;
use crate::sim::task::Desk;

const REASON: &str = "SnapshotDeleteError";

impl Sidecar {
    /// Deletes what a content stands for, and lets the content go.
    pub(super) async fn delete(&self, content: &Arc<Value>, desk: &Desk) -> Result<(), String> {
        if !has_snapshot_to_delete(content) {
            return self.remove_finalizer(content, desk).await;
        }
        let emptied = self.delete_snapshot(content, desk).await?;
        if self.release >= Release::V8_3 {
            return self.remove_finalizer(&emptied, desk).await;
        }
        // Up to 8.2 a failure here is logged and forgotten: nothing comes back to the content.
        self.contents.with(|contents| contents.store(&emptied));
        if let Err(words) = self.remove_finalizer(&emptied, desk).await {
            log_failure(desk, object::name(content), &words);
        }
        Ok(())
    }

    async fn delete_snapshot(&self, content: &Arc<Value>, desk: &Desk) -> Result<Arc<Value>, String> {
        let name = object::name(content);
        let secrets = match self.credentials(content, desk).await {
            Ok(secrets) => secrets,
            Err(words) => {
                self.warn(content, REASON, "Failed to get snapshot credentials", desk);
                let words = quoted(&words);
                return Err(format!("failed to get input parameters to delete snapshot for content {name}: {words}"));
            }
        };
        if let Err(words) = self.call_delete(content, secrets, desk).await {
            self.warn(content, REASON, "Failed to delete snapshot", desk);
            return Err(format!("failed to delete snapshot {}, err: {words}", quoted(name)));
        }
        let emptied = self.empty_status(name, desk).await;
        if emptied.is_err() {
            self.warn(content, REASON, "Failed to clear content status", desk);
        }
        emptied
    }

    async fn empty_status(&self, name: &str, desk: &Desk) -> Result<Arc<Value>, String> {
        let wanted = name.to_owned();
        let content = desk.api(CONTENTS, move |ctx| ctx.get(CONTENTS, "", &wanted)).await;
        let content =
            content.map_err(|refusal| format!("error get snapshot content {name} from api server: {refusal}"))?;
        let mut emptied = Value::clone(&content);
        if let Some(status) = emptied.get_mut("status").and_then(Value::as_object_mut) {
            for field in ["snapshotHandle", "readyToUse", "creationTime", "restoreSize"] {
                status.remove(field);
            }
        }
        let written = desk.api(CONTENTS, move |ctx| ctx.replace(CONTENTS, Part::Status, emptied)).await;
        written.map_err(|refusal| update_failed(name, &refusal.message))
    }

    async fn remove_finalizer(&self, content: &Arc<Value>, desk: &Desk) -> Result<(), String> {
        if !object::has_finalizer(content, CONTENT_FINALIZER) {
            return Ok(());
        }
        let left = object::without_finalizers(content, &[CONTENT_FINALIZER]);
        let operations = json!([{"op": "replace", "path": "/metadata/finalizers", "value": left}]);
        self.patch_and_store(content, operations, desk).await.map(drop)
    }
}
