//! Reading and writing the few fields that every object has.

use serde_json::{Map, Value};

/// The value at a JSON pointer without escapes. This is what most of a run's time goes to, and `Value::pointer`
/// makes two strings of each part of the way.
#[must_use]
pub fn at<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    let (mut value, mut rest) = (object, pointer);
    while let Some(path) = rest.strip_prefix('/') {
        // Keys are short: byte by byte is faster than a search that is made for long texts.
        let (key, after) = path.split_at_checked(path.bytes().take_while(|byte| *byte != b'/').count())?;
        value = match value {
            Value::Object(fields) => fields.get(key)?,
            Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
            _ => return None,
        };
        rest = after;
    }
    Some(value)
}

/// The text at a JSON pointer; empty where there is none.
#[must_use]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    at(object, pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a JSON pointer; empty where there is none.
#[must_use]
pub fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    at(object, pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A field of `metadata`.
fn meta<'a>(object: &'a Value, key: &str) -> Option<&'a Value> {
    object.get("metadata")?.get(key)
}

fn meta_text<'a>(object: &'a Value, key: &str) -> &'a str {
    meta(object, key).and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.name`.
#[must_use]
pub fn name(object: &Value) -> &str {
    meta_text(object, "name")
}

/// `metadata.namespace`; empty where the object is in none.
#[must_use]
pub fn namespace(object: &Value) -> &str {
    meta_text(object, "namespace")
}

/// `metadata.uid`.
#[must_use]
pub fn uid(object: &Value) -> &str {
    meta_text(object, "uid")
}

/// `metadata.resourceVersion`; 0 where there is none.
#[must_use]
pub fn version(object: &Value) -> u64 {
    meta_text(object, "resourceVersion").parse().unwrap_or_default()
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    meta(object, "finalizers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The object has this finalizer.
#[must_use]
pub fn has_finalizer(object: &Value, name: &str) -> bool {
    finalizers(object).any(|one| one == name)
}

/// The value of an annotation.
#[must_use]
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    meta(object, "annotations")?.get(key)?.as_str()
}

/// The value of a label.
#[must_use]
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    meta(object, "labels")?.get(key)?.as_str()
}

/// The object is being deleted.
#[must_use]
pub fn is_deleting(object: &Value) -> bool {
    meta(object, "deletionTimestamp").is_some()
}

/// The fields of `metadata`, made where they are missing; `None` if this is no object at all.
pub(crate) fn metadata(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let metadata = object.as_object_mut()?.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut()
}

/// Sets a field of `metadata`.
pub(crate) fn set_metadata(object: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(metadata) = metadata(object) {
        metadata.insert(key.to_owned(), value.into());
    }
}
