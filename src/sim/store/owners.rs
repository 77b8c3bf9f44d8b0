//! `metadata.managedFields`: who wrote what.
//!
//! Coarser than the real server's, two levels deep and without taking a field from its last owner: enough to
//! tell which program made an object's spec, which is what a repair asks before it trusts it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::write::Part;
use super::{Resource, Writer, object};

/// Adds what `writer` changed between `old` and `object` to its entry.
pub(super) fn record(writer: Writer<'_>, resource: &Resource, part: Part, old: &Value, object: &mut Value) {
    if !resource.owned {
        return;
    }
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

/// The fields of `metadata` that a client writes.
const METADATA: [&str; 5] = ["annotations", "finalizers", "generateName", "labels", "ownerReferences"];

/// The fields that differ, as `fieldsV1` writes them.
fn changed(old: &Value, object: &Value) -> Value {
    let mut fields = Map::new();
    let mut enter = |key: &str, inner: BTreeSet<&str>| {
        let inner: Map<String, Value> = inner.into_iter().map(|inner| (format!("f:{inner}"), json!({}))).collect();
        fields.insert(format!("f:{key}"), Value::Object(inner));
    };
    // The rest of it is the server's own, and costs more to compare than all else.
    let metadata = |object| Value::get(object, "metadata");
    let written: BTreeSet<&str> =
        METADATA.into_iter().filter(|key| field(metadata(old), key) != field(metadata(object), key)).collect();
    if !written.is_empty() {
        enter("metadata", written);
    }
    for key in differing(Some(old), Some(object), &["apiVersion", "kind", "metadata"]) {
        enter(key, differing(old.get(key), object.get(key), &[]));
    }
    Value::Object(fields)
}

fn differing<'a>(old: Option<&'a Value>, new: Option<&'a Value>, but: &[&str]) -> BTreeSet<&'a str> {
    let keys = [old, new].into_iter().flatten().filter_map(Value::as_object).flat_map(Map::keys).map(String::as_str);
    keys.filter(|key| !but.contains(key) && field(old, key) != field(new, key)).collect()
}

fn field<'a>(object: Option<&'a Value>, key: &str) -> Option<&'a Value> {
    object?.get(key)
}
