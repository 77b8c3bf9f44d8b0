//! Reads one object in full, as far as a repair has to know it: for a decision, and again right before a write.
//!
//! managedFields tell who made a content's spec. Only when snapshot-controller, and nobody else, owns fields of
//! it was the content made here; a copied manifest shows kubectl or a backup tool, and its handle may be another
//! cluster's.

use serde_json::Value;

use crate::domain::name::Uid;
use crate::domain::remedy::action::{BEING_CREATED, BEING_DELETED, LEAVE_BEHIND, NUDGE};
use crate::domain::remedy::fresh::Look;

/// The manager under which snapshot-controller writes.
const MAKER: &str = "snapshot-controller";

fn text<'a>(object: &'a Value, path: &str) -> Option<&'a str> {
    object.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// What an object shows; `None` if it is no object of an API server's.
#[must_use]
pub fn look(object: &Value) -> Option<Look> {
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
    let annotation = |key: &str| annotations.and_then(|map| map.get(key)).and_then(Value::as_str);
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    let status = object.get("status").filter(|status| status.is_object());
    let has = |field: &str| status.and_then(|status| status.get(field)).is_some_and(|value| !value.is_null());
    Some(Look {
        uid: Uid::parse(text(object, "/metadata/uid")?),
        version: text(object, "/metadata/resourceVersion")?.into(),
        deleting: text(object, "/metadata/deletionTimestamp").is_some(),
        finalizers: finalizers.into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect(),
        annotated: annotations.is_some(),
        nudge: annotation(NUDGE).map(Into::into),
        leave_behind: annotation(LEAVE_BEHIND).map(Into::into),
        marked: annotation(BEING_DELETED).is_some(),
        creating: annotation(BEING_CREATED).is_some(),
        emptied: status.is_some()
            && !["snapshotHandle", "readyToUse", "creationTime", "restoreSize"].into_iter().any(has),
        handle: text(object, "/status/snapshotHandle").map(Into::into),
        volume_handle: text(object, "/spec/source/volumeHandle").map(Into::into),
        made_by_controller: made_by_controller(object),
    })
}

/// Somebody owns fields of the spec, and nobody but snapshot-controller does.
fn made_by_controller(object: &Value) -> bool {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let of_spec = |entry: &&Value| entry.pointer("/fieldsV1/f:spec").is_some();
    let mut makers = entries.into_iter().flatten().filter(of_spec).map(|entry| text(entry, "/manager")).peekable();
    makers.peek().is_some() && makers.all(|maker| maker == Some(MAKER))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn content(managers: &[(&str, &str)]) -> Value {
        let managed: Vec<Value> = managers
            .iter()
            .map(|(manager, field)| json!({"manager": manager, "operation": "Update", "fieldsV1": {*field: {}}}))
            .collect();
        json!({
            "metadata": {
                "uid": "u", "resourceVersion": "7", "deletionTimestamp": "2026-11-22T20:00:00Z",
                "finalizers": ["a", "b"], "managedFields": managed,
                "annotations": {(BEING_DELETED): "yes", (NUDGE): "then"},
            },
            "spec": {"source": {"volumeHandle": "vol"}},
            "status": {"snapshotHandle": "h", "readyToUse": true},
        })
    }

    #[test]
    fn a_content_made_here_is_told_from_a_copied_one() {
        for (managers, ours) in [
            (&[("snapshot-controller", "f:spec"), ("csi-snapshotter", "f:status")] as &[_], true),
            (&[("snapshot-controller", "f:metadata"), ("kubectl-create", "f:spec")], false),
            (&[("snapshot-controller", "f:spec"), ("velero", "f:spec")], false),
            (&[], false),
        ] {
            assert_eq!(look(&content(managers)).unwrap().made_by_controller, ours, "{managers:?}");
        }
    }

    #[test]
    fn an_absent_status_is_not_an_emptied_one() {
        let mut object = content(&[]);
        assert!(!look(&object).unwrap().emptied);
        object["status"] = json!({});
        assert!(look(&object).unwrap().emptied);
        object["status"] = json!({"restoreSize": 0});
        assert!(!look(&object).unwrap().emptied);
        object["status"] = Value::Null;
        assert!(!look(&object).unwrap().emptied);
        object.as_object_mut().unwrap().remove("status");
        assert!(!look(&object).unwrap().emptied);
    }

    #[test]
    fn what_decides_is_read_and_nonsense_is_nothing() {
        let seen = look(&content(&[])).unwrap();
        assert!(seen.deleting && seen.marked && !seen.creating && seen.annotated);
        assert_eq!((seen.nudge.as_deref(), seen.handle.as_deref()), (Some("then"), Some("h")));
        assert_eq!(&*seen.finalizers.join(","), "a,b");
        assert_eq!(look(&json!({"metadata": {"uid": "u"}})), None);
        assert_eq!(look(&json!([])), None);
    }
}
