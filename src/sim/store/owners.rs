//! `metadata.managedFields`: who wrote what.
//!
//! Coarser than the real server's, two levels deep and without taking a field from its last owner: enough to
//! tell which program made an object's spec, which is what a repair asks before it trusts it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::write::Part;
use super::{Writer, object};

/// Adds what `writer` changed between `old` and `object` to its entry.
pub(super) fn record(writer: Writer<'_>, part: Part, old: &Value, object: &mut Value) {
    let changed = changed(old, object);
    let taken = object::metadata(object).and_then(|metadata| metadata.remove("managedFields"));
    let mut entries = match taken {
        Some(Value::Array(entries)) => entries,
        _ => Vec::new(),
    };
    let subresource = if part == Part::Status { "status" } else { "" };
    let own = |entry: &&mut Value| {
        object::text(entry, "/manager") == writer.name && object::text(entry, "/subresource") == subresource
    };
    let at = jiff::Timestamp::from_second(writer.at.as_second()).unwrap_or(writer.at).to_string();
    if let Some(entry) = entries.iter_mut().find(own) {
        if let Some(fields) = entry.as_object_mut() {
            fields.insert("time".to_owned(), at.into());
            json_patch::merge(fields.entry("fieldsV1").or_insert(Value::Null), &changed);
        }
    } else {
        let version = object.get("apiVersion").cloned().unwrap_or_default();
        let mut entry = json!({"manager": writer.name, "operation": "Update", "apiVersion": version, "time": at,
            "fieldsType": "FieldsV1", "fieldsV1": changed});
        if let Some(fields) = entry.as_object_mut().filter(|_| !subresource.is_empty()) {
            fields.insert("subresource".to_owned(), subresource.into());
        }
        entries.push(entry);
    }
    object::set_metadata(object, "managedFields", entries);
}

/// The fields that differ, as `fieldsV1` writes them.
fn changed(old: &Value, object: &Value) -> Value {
    let differing = |old: Option<&Value>, new: Option<&Value>| {
        let maps = [old, new].map(|value| value.and_then(Value::as_object));
        let differs = |key: &&String| maps[0].and_then(|map| map.get(*key)) != maps[1].and_then(|map| map.get(*key));
        // The few that differ are put in order, not the many that do not.
        maps.into_iter().flatten().flat_map(Map::keys).filter(differs).cloned().collect::<BTreeSet<_>>()
    };
    let mut fields = Map::new();
    for key in differing(Some(old), Some(object)) {
        if key == "apiVersion" || key == "kind" {
            continue;
        }
        let inner = differing(old.get(&key), object.get(&key));
        let inner = inner.into_iter().filter(|inner| key != "metadata" || is_written(inner));
        let inner: Map<String, Value> = inner.map(|inner| (format!("f:{inner}"), json!({}))).collect();
        if key != "metadata" || !inner.is_empty() {
            fields.insert(format!("f:{key}"), Value::Object(inner));
        }
    }
    Value::Object(fields)
}

/// A field of `metadata` that a client writes.
fn is_written(key: &str) -> bool {
    matches!(key, "annotations" | "finalizers" | "generateName" | "labels" | "ownerReferences")
}
