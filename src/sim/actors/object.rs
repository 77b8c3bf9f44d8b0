//! What controllers do to Kubernetes objects as JSON, beyond reading the fields that all have.
//!
//! The embedded cluster keeps objects as the wire has them, so that nothing is lost between a writer and a
//! reader. What is absent reads as empty here, as a Go client would see it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use crate::sim::store::object::{
    annotation, at, finalizers, has_finalizer, is_deleting, items, label, name, namespace, text, uid, version,
};
use crate::sim::store::table::Resource;

/// Namespace and name.
pub type Key = (String, String);

/// Namespace and name of an object.
#[must_use]
pub fn key(object: &Value) -> Key {
    (namespace(object).to_owned(), name(object).to_owned())
}

/// All annotations.
#[must_use]
pub fn annotations(object: &Value) -> Map<String, Value> {
    at(object, "/metadata/annotations").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// The list without these finalizers: what a controller that removes its own writes back.
#[must_use]
pub fn without_finalizers(object: &Value, gone: &[&str]) -> Value {
    finalizers(object).filter(|have| !gone.contains(have)).collect::<Vec<_>>().into()
}

/// A copy whose finalizers are these.
#[must_use]
pub fn with_finalizers(object: &Value, finalizers: Value) -> Value {
    let mut copy = object.clone();
    if let Some(metadata) = copy.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("finalizers".to_owned(), finalizers);
    }
    copy
}

/// A copy whose annotations are these.
#[must_use]
pub fn with_annotations(object: &Value, annotations: Value) -> Value {
    let mut copy = object.clone();
    if let Some(metadata) = copy.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("annotations".to_owned(), annotations);
    }
    copy
}

/// A copy whose status is this.
#[must_use]
pub fn with_status(object: &Value, status: Value) -> Value {
    let mut copy = object.clone();
    if let Some(fields) = copy.as_object_mut() {
        fields.insert("status".to_owned(), status);
    }
    copy
}

/// The status as fields; `None` if there is none, which is not the same as an empty one.
#[must_use]
pub fn status(object: &Value) -> Option<&Map<String, Value>> {
    object.get("status").and_then(Value::as_object)
}

/// A reference to an object, as client-go's `GetReference` builds it.
#[must_use]
pub fn reference(resource: &Resource, object: &Value) -> Value {
    let mut reference = json!({
        "kind": resource.kind,
        "apiVersion": resource.api_version(),
        "name": name(object),
        "uid": uid(object),
        "resourceVersion": text(object, "/metadata/resourceVersion"),
    });
    if resource.namespaced
        && let Some(fields) = reference.as_object_mut()
    {
        fields.insert("namespace".to_owned(), namespace(object).into());
    }
    reference
}

/// A time as `metav1.Time` writes it: whole seconds.
#[must_use]
pub fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time as `metav1.MicroTime` writes it.
#[must_use]
pub fn micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// A quantity of bytes as a binary `resource.Quantity` writes it.
#[must_use]
pub fn quantity(bytes: i64) -> String {
    let mut value = bytes;
    for suffix in ["", "Ki", "Mi", "Gi", "Ti", "Pi"] {
        if value == 0 || value % 1024 != 0 || suffix == "Pi" {
            return format!("{value}{suffix}");
        }
        value /= 1024;
    }
    value.to_string()
}

/// The bytes of a `resource.Quantity`, as far as volumes are written: a whole number and a suffix.
#[must_use]
pub fn bytes(quantity: &str) -> Option<i64> {
    let digits = quantity.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: i64 = digits.parse().ok()?;
    let factor: i64 = match quantity.get(digits.len()..)? {
        "" => 1,
        "k" => 1000,
        "M" => 1000_i64.pow(2),
        "G" => 1000_i64.pow(3),
        "T" => 1000_i64.pow(4),
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// What a Secret holds, as it is written.
#[must_use]
pub fn data(secret: &Value) -> std::collections::BTreeMap<String, String> {
    let fields = secret.get("data").and_then(Value::as_object);
    let pair = |(key, value): (&String, &Value)| (key.clone(), value.as_str().unwrap_or_default().to_owned());
    fields.into_iter().flatten().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_with_the_largest_suffix_that_loses_nothing() {
        for (bytes, written) in [
            (0, "0"),
            (1, "1"),
            (1024, "1Ki"),
            (1_073_741_824, "1Gi"),
            (5 << 30, "5Gi"),
            (1500, "1500"),
            (3 << 19, "1536Ki"),
        ] {
            assert_eq!(quantity(bytes), written);
        }
    }

    #[test]
    fn bytes_are_read_as_they_are_written() {
        for (written, read) in [("1Gi", Some(1 << 30)), ("5G", Some(5_000_000_000)), ("7", Some(7)), ("1e3", None)] {
            assert_eq!(bytes(written), read, "{written}");
        }
    }

    #[test]
    fn what_is_absent_reads_as_empty() {
        let object = json!({"metadata": {"name": "a", "finalizers": ["x", "y"], "labels": {}}});
        assert_eq!((name(&object), namespace(&object), version(&object)), ("a", "", 0));
        assert!(!is_deleting(&object) && status(&object).is_none() && annotation(&object, "k").is_none());
        assert_eq!(without_finalizers(&object, &["x"]), json!(["y"]));
        assert_eq!(finalizers(&with_finalizers(&object, json!([]))).count(), 0);
        assert_eq!(with_status(&object, json!({})).get("status"), Some(&json!({})));
    }
}
