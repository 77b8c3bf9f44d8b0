//! What a content knows of its physical snapshot is copied into the snapshot's status.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Controller, update_failed};
use crate::sim::actors::object;
use crate::sim::actors::snapshots::{is_ready, label};
use crate::sim::recorder::Type;
use crate::sim::store::Part;
use crate::sim::store::table::{GROUP_CONTENTS, SNAPSHOTS};
use crate::sim::task::Desk;

impl Controller {
    pub(super) async fn copy_status(&self, snapshot: &Arc<Value>, content: &Value, desk: &Desk) -> Result<(), String> {
        match self.write_status(snapshot, content, desk).await {
            Ok(written) => {
                self.snapshots.with(|snapshots| snapshots.store(&written));
                Ok(())
            }
            Err(words) => {
                let complaint = format!("Snapshot status update failed, {words}");
                self.report(snapshot, false, "SnapshotStatusUpdateFailed", &complaint, desk).await;
                Err(words)
            }
        }
    }

    async fn write_status(&self, snapshot: &Arc<Value>, content: &Value, desk: &Desk) -> Result<Arc<Value>, String> {
        let group = self.group_of(snapshot, content)?;
        let (namespace, name) = object::key(snapshot);
        let now = desk.api(SNAPSHOTS, move |ctx| ctx.get(SNAPSHOTS, &namespace, &name)).await;
        let now =
            now.map_err(|refusal| format!("error get snapshot {} from api server: {refusal}", label(snapshot)))?;
        let Some(status) = changed_status(&now, content, group) else { return Ok(now) };
        let wanted = object::with_status(&now, status.into());
        self.say_progress(snapshot, &now, &wanted, desk);
        let written = desk.api(SNAPSHOTS, move |ctx| ctx.replace(SNAPSHOTS, Part::Status, wanted)).await;
        written.map_err(|refusal| update_failed(&label(snapshot), &refusal.message))
    }

    fn say_progress(&self, snapshot: &Arc<Value>, before: &Value, after: &Value, desk: &Desk) {
        let is_cut = |snapshot: &Value| !object::text(snapshot, "/status/creationTime").is_empty();
        let name = label(snapshot);
        if !is_cut(before) && is_cut(after) {
            let words = format!("Snapshot {name} was successfully created by the CSI driver.");
            self.say(snapshot, Type::Normal, "SnapshotCreated", words, desk);
        }
        if !is_ready(before) && is_ready(after) {
            let words = format!("Snapshot {name} is ready to use.");
            self.say(snapshot, Type::Normal, "SnapshotReady", words, desk);
        }
    }

    /// The group that a content's physical snapshot belongs to.
    fn group_of(&self, snapshot: &Value, content: &Value) -> Result<Option<String>, String> {
        const HANDLE: &str = "/status/volumeGroupSnapshotHandle";
        let handle = object::text(content, HANDLE);
        if handle.is_empty() {
            return Ok(None);
        }
        let group = self.informers.with(|informers| {
            let found = informers.list(GROUP_CONTENTS).find(|group| object::text(group, HANDLE) == handle);
            found.map(|group| object::text(group, "/spec/volumeGroupSnapshotRef/name").to_owned())
        });
        group.map(Some).ok_or_else(|| {
            let name = label(snapshot);
            format!(
                "updateSnapshotStatus: cannot find the group snapshot for VolumeSnapshot [{name}], will not update \
                 snapshot status"
            )
        })
    }
}

/// The snapshot's status with what the content knows; `None` if it knows nothing new.
fn changed_status(snapshot: &Value, content: &Value, group: Option<String>) -> Option<Map<String, Value>> {
    let old = object::status(snapshot);
    let mut status = old.cloned().unwrap_or_default();
    let mut learn = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            status.entry(field).or_insert(value);
        }
    };
    let number = |field: &str| object::at(content, field).and_then(Value::as_i64);
    let created = number("/status/creationTime").and_then(|at| Timestamp::from_nanosecond(at.into()).ok());
    learn("boundVolumeSnapshotContentName", Some(object::name(content).into()));
    learn("creationTime", created.map(|at| object::seconds(at).into()));
    learn("restoreSize", number("/status/restoreSize").map(|bytes| object::quantity(bytes).into()));
    learn("volumeGroupSnapshotName", group.map(Value::from));
    status.insert("readyToUse".to_owned(), is_ready(content).into());
    match object::at(content, "/status/error") {
        Some(error) => status.insert("error".to_owned(), error.clone()),
        None => status.remove("error"),
    };
    (old != Some(&status)).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_snapshot_learns_what_its_content_knows_and_forgets_no_time() {
        let mut content = json!({"metadata": {"name": "c"}});
        let bound = changed_status(&json!({}), &content, None).unwrap();
        assert_eq!(Value::from(bound.clone()), json!({"boundVolumeSnapshotContentName": "c", "readyToUse": false}));
        let snapshot = json!({"status": bound});
        assert_eq!(changed_status(&snapshot, &content, None), None);
        content["status"] = json!({"readyToUse": true, "creationTime": 1_500_000_000, "restoreSize": 1 << 30});
        let ready = changed_status(&snapshot, &content, None).unwrap();
        assert_eq!(
            Value::from(ready.clone()),
            json!({"boundVolumeSnapshotContentName": "c", "readyToUse": true, "creationTime": "1970-01-01T00:00:01Z",
                   "restoreSize": "1Gi"})
        );
        content["status"] = json!({});
        let emptied = changed_status(&json!({"status": ready}), &content, None).unwrap();
        assert_eq!(emptied.get("creationTime"), Some(&json!("1970-01-01T00:00:01Z")));
        assert_eq!(emptied.get("readyToUse"), Some(&json!(false)));
    }
}
