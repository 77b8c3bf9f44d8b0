//! Create, replace, patch: what is checked, what is filled in, and what a write may not change.
//!
//! Some of the rules here are the ones stuck objects are made of: a version that is not the last any more, a status
//! that only its subresource can write, an object that goes with its last finalizer.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::patch::Patch;
use super::refusal::Refusal;
use super::table::{self, Resource};
use super::{ChangeKind, Store, Writer, names, object, owners};

/// Which part of an object a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status, where that is a subresource.
    Object,
    /// The subresource `status`.
    Status,
}

/// What the server alone decides about an object's metadata.
const SERVERS_OWN: [&str; 7] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "namespace",
    "uid",
];
/// How long a pod has to end when it does not say so itself.
pub(super) const POD_GRACE: i64 = 30;

impl Store {
    /// Makes a new object.
    ///
    /// # Errors
    /// The name is taken or not valid, or the namespace is not there.
    pub fn create(
        &mut self,
        writer: Writer<'_>,
        resource: &'static Resource,
        namespace: &str,
        mut object: Value,
    ) -> Result<Arc<Value>, Refusal> {
        self.may_write(resource)?;
        if !object.is_object() {
            return Err(Refusal::bad_request("the object is no JSON object"));
        }
        check_place(resource, namespace, &object)?;
        if resource.namespaced {
            self.may_create_in(resource, namespace, object::name(&object))?;
        }
        if !object::text(&object, "/metadata/resourceVersion").is_empty() {
            return Err(Refusal::new(500, "", "resourceVersion should not be set on objects to be created"));
        }
        let base = object::text(&object, "/metadata/generateName").to_owned();
        if object::name(&object).is_empty() && !base.is_empty() {
            let name = names::generate(&mut self.rng, &base);
            object::set_metadata(&mut object, "name", name);
        }
        names::check(resource, object::name(&object))?;
        let name = object::name(&object);
        if self.get(resource, namespace, name).is_ok() {
            return Err(Refusal::already_exists(resource, name));
        }
        Ok(self.insert(writer, resource, namespace, object))
    }

    /// Enters a new object without asking.
    pub(super) fn insert(
        &mut self,
        writer: Writer<'_>,
        resource: &'static Resource,
        namespace: &str,
        mut object: Value,
    ) -> Arc<Value> {
        let uid = names::uid(&mut self.rng);
        if let Some(metadata) = object::metadata(&mut object) {
            for field in SERVERS_OWN {
                metadata.remove(field);
            }
            metadata.insert("uid".to_owned(), uid.into());
            metadata.insert("creationTimestamp".to_owned(), seconds(writer.at).into());
            if resource.generation {
                metadata.insert("generation".to_owned(), 1.into());
            }
            if resource.namespaced {
                metadata.insert("namespace".to_owned(), namespace.into());
            }
        }
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".to_owned(), resource.api_version().into());
            fields.insert("kind".to_owned(), resource.kind.into());
            // A definition's status is the server's own, and nobody else writes one.
            if resource.status && resource != table::DEFINITIONS {
                fields.remove("status");
            }
        }
        fill_in(resource, &mut object);
        owners::record(writer, resource, Part::Object, &Value::Null, &mut object);
        self.commit(resource, ChangeKind::Added, object)
    }

    /// Puts an object in the place of the one of this name.
    ///
    /// # Errors
    /// It is not there, has changed since it was read, or the new one is not valid.
    pub fn replace(
        &mut self,
        writer: Writer<'_>,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        part: Part,
        object: Value,
    ) -> Result<Arc<Value>, Refusal> {
        self.may_write(resource)?;
        check_part(resource, part)?;
        check_place(resource, namespace, &object)?;
        let said = object::name(&object);
        if said != name {
            let message = format!("the name of the object ({said}) does not match the name on the URL ({name})");
            return Err(Refusal::bad_request(message));
        }
        let old = self.get(resource, namespace, name)?;
        // Nobody may overwrite a custom resource blindly; Kubernetes' own kinds allow it, except leases.
        let unconditional = !resource.custom && resource != table::LEASES;
        if object::text(&object, "/metadata/resourceVersion").is_empty() && !unconditional {
            return Err(Refusal::without_version(resource, name));
        }
        let (said, stored) = (object::uid(&object), object::uid(&old));
        if !said.is_empty() && said != stored {
            let group = if resource.custom { format!("{}/", resource.group) } else { String::new() };
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: /registry/{group}{}/{}{name}, ResourceVersion: 0, \
                 AdditionalErrorMsg: Precondition failed: UID in precondition: {said}, UID in object meta: {stored}",
                resource.plural,
                if namespace.is_empty() { String::new() } else { format!("{namespace}/") },
            );
            return Err(Refusal::conflict(resource, name, &why));
        }
        self.update(writer, resource, part, &old, object)
    }

    /// Changes the object of this name.
    ///
    /// # Errors
    /// It is not there, the patch does not fit it, or the outcome is not valid.
    pub fn patch(
        &mut self,
        writer: Writer<'_>,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        part: Part,
        patch: &Patch,
    ) -> Result<Arc<Value>, Refusal> {
        self.may_write(resource)?;
        check_part(resource, part)?;
        let old = self.get(resource, namespace, name)?;
        let object = patch.apply(&old)?;
        if object::name(&object) != name {
            let message = format!(
                "the name of the object ({}) does not match the name on the URL ({name})",
                object::name(&object)
            );
            return Err(Refusal::bad_request(message));
        }
        check_place(resource, namespace, &object)?;
        self.update(writer, resource, part, &old, object)
    }

    /// The common end of replace and patch.
    fn update(
        &mut self,
        writer: Writer<'_>,
        resource: &'static Resource,
        part: Part,
        old: &Arc<Value>,
        mut object: Value,
    ) -> Result<Arc<Value>, Refusal> {
        let name = object::name(old);
        let version = object::text(&object, "/metadata/resourceVersion");
        if !version.is_empty() && version != object::text(old, "/metadata/resourceVersion") {
            return Err(Refusal::modified(resource, name));
        }
        let said = object::uid(&object);
        if !said.is_empty() && said != object::uid(old) {
            let complaint = format!("Invalid value: \"{said}\": field is immutable");
            return Err(Refusal::invalid_change(resource, name, "FieldValueInvalid", "metadata.uid", &complaint));
        }
        keep(resource, part, old, &mut object);
        check_new_finalizers(resource, old, &object)?;
        if object == **old {
            return Ok(Arc::clone(old));
        }
        if resource.generation && spec_differs(resource, old, &object) {
            bump_generation(&mut object);
        }
        owners::record(writer, resource, part, old, &mut object);
        if object::is_deleting(old) && released(resource, old, &object) {
            self.commit(resource, ChangeKind::Deleted, (**old).clone());
            return Ok(Arc::new(object));
        }
        Ok(self.commit(resource, ChangeKind::Modified, object))
    }

    pub(super) fn may_write(&self, resource: &'static Resource) -> Result<(), Refusal> {
        if !self.serves(resource) {
            return Err(Refusal::not_served());
        }
        if resource == table::DEFINITIONS { Err(Refusal::not_allowed()) } else { Ok(()) }
    }

    fn may_create_in(&self, resource: &'static Resource, namespace: &str, name: &str) -> Result<(), Refusal> {
        let home = self.get(table::NAMESPACES, "", namespace)?;
        if object::is_deleting(&home) {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            let cause = format!("namespace {namespace} is being terminated");
            let refusal = Refusal::forbidden(resource, name, &why);
            return Err(refusal.because("NamespaceTerminating", &cause, "metadata.namespace"));
        }
        Ok(())
    }
}

// === Checks ===

fn check_part(resource: &'static Resource, part: Part) -> Result<(), Refusal> {
    if part == Part::Status && !resource.status { Err(Refusal::not_served()) } else { Ok(()) }
}

/// The object says of itself what the request says of it, or nothing.
fn check_place(resource: &'static Resource, namespace: &str, object: &Value) -> Result<(), Refusal> {
    let version = object::text(object, "/apiVersion");
    if !version.is_empty() && !resource.is_api_version(version) {
        let message = format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            resource.api_version()
        );
        return Err(Refusal::bad_request(message));
    }
    let kind = object::text(object, "/kind");
    if !kind.is_empty() && kind != resource.kind {
        if resource.custom {
            let complaint = format!("Invalid value: \"{kind}\": must be {}", resource.kind);
            return Err(Refusal::invalid(resource, object::name(object), "FieldValueInvalid", "kind", &complaint));
        }
        let message = format!("the object's kind is {kind}, and {} are {}", resource.qualified(), resource.kind);
        return Err(Refusal::bad_request(message));
    }
    let said = object::namespace(object);
    if !said.is_empty() && said != namespace {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Refusal::bad_request(message));
    }
    Ok(())
}

fn check_new_finalizers(resource: &'static Resource, old: &Value, object: &Value) -> Result<(), Refusal> {
    if !object::is_deleting(old) {
        return Ok(());
    }
    let mut new: Vec<String> = object::finalizers(object)
        .filter(|name| !object::has_finalizer(old, name))
        .map(|name| format!("\"{name}\""))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    new.sort();
    let complaint = format!(
        "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        new.join(", ")
    );
    Err(Refusal::invalid_change(resource, object::name(old), "FieldValueForbidden", "metadata.finalizers", &complaint))
}

// === What is filled in and kept ===

/// What the server adds to a new object of these kinds before anybody sees it.
fn fill_in(resource: &'static Resource, object: &mut Value) {
    let (protection, defaults) = if resource == table::PODS {
        let spec = json!({"restartPolicy": "Always", "terminationGracePeriodSeconds": POD_GRACE,
            "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "securityContext": {}});
        (None, json!({"spec": spec, "status": {"phase": "Pending", "qosClass": "BestEffort"}}))
    } else if resource == table::CLAIMS {
        let defaults = json!({"spec": {"volumeMode": "Filesystem"}, "status": {"phase": "Pending"}});
        (Some("kubernetes.io/pvc-protection"), defaults)
    } else if resource == table::VOLUMES {
        let spec = json!({"volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Retain"});
        (Some("kubernetes.io/pv-protection"), json!({"spec": spec, "status": {"phase": "Pending"}}))
    } else if resource == table::NAMESPACES {
        let labels = json!({"kubernetes.io/metadata.name": object::name(object)});
        let spec = json!({"finalizers": ["kubernetes"]});
        (None, json!({"metadata": {"labels": labels}, "spec": spec, "status": {"phase": "Active"}}))
    } else {
        return;
    };
    add_missing(object, &defaults);
    if let Some(protection) = protection.filter(|name| !object::has_finalizer(object, name)) {
        let finalizers: Vec<Value> = object::items(object, "/metadata/finalizers").to_vec();
        object::set_metadata(object, "finalizers", [finalizers, vec![protection.into()]].concat());
    }
}

/// Sets what `object` does not say.
fn add_missing(object: &mut Value, defaults: &Value) {
    let (Some(fields), Some(defaults)) = (object.as_object_mut(), defaults.as_object()) else { return };
    for (key, default) in defaults {
        match fields.get_mut(key) {
            Some(value) => add_missing(value, default),
            None => drop(fields.insert(key.clone(), default.clone())),
        }
    }
}

/// Undoes what this write may not change.
fn keep(resource: &'static Resource, part: Part, old: &Value, object: &mut Value) {
    let (Some(fields), Some(stored)) = (object.as_object_mut(), old.as_object()) else { return };
    restore(stored, fields, "apiVersion");
    restore(stored, fields, "kind");
    match part {
        Part::Object if resource.status => restore(stored, fields, "status"),
        Part::Object => {}
        Part::Status => {
            let keys: BTreeSet<String> = stored.keys().chain(fields.keys()).cloned().collect();
            // The status of Kubernetes' own kinds may bring labels and annotations with it.
            for key in keys.iter().filter(|key| *key != "status" && (resource.custom || *key != "metadata")) {
                restore(stored, fields, key);
            }
        }
    }
    let stored = old.get("metadata").and_then(Value::as_object);
    let Some((metadata, stored)) = object::metadata(object).zip(stored) else { return };
    // Most writes leave it as it is.
    if metadata == stored {
        return;
    }
    for key in SERVERS_OWN.into_iter().chain(["name", "resourceVersion"]) {
        restore(stored, metadata, key);
    }
    for key in ["annotations", "labels", "finalizers", "ownerReferences"] {
        let empty = |value: &Value| match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        if metadata.get(key).is_some_and(empty) {
            metadata.remove(key);
        }
    }
}

/// Puts a field back to what is stored. Most are there unchanged, and comparing costs less than copying.
fn restore(stored: &Map<String, Value>, fields: &mut Map<String, Value>, key: &str) {
    match stored.get(key) {
        Some(value) if fields.get(key) != Some(value) => drop(fields.insert(key.to_owned(), value.clone())),
        Some(_) => {}
        None => drop(fields.remove(key)),
    }
}

/// The part that `metadata.generation` counts is different.
fn spec_differs(resource: &'static Resource, old: &Value, object: &Value) -> bool {
    if resource == table::PODS {
        // Binding a pod to its node is no change of anybody's wish.
        let spec = |object: &Value| {
            let mut spec = object.get("spec").and_then(Value::as_object).cloned();
            spec.as_mut().map(|spec| spec.remove("nodeName"));
            spec
        };
        return old.get("spec") != object.get("spec") && spec(old) != spec(object);
    }
    if !resource.custom {
        return old.get("spec") != object.get("spec");
    }
    let mut keys = [old, object].into_iter().filter_map(Value::as_object).flat_map(Map::keys);
    keys.any(|key| key != "metadata" && key != "status" && old.get(key) != object.get(key))
}

pub(super) fn bump_generation(object: &mut Value) {
    if let Some(generation) = object::at(object, "/metadata/generation").and_then(Value::as_i64) {
        object::set_metadata(object, "generation", generation.saturating_add(1));
    }
}

/// The last finalizer has just gone, and no time to end is left.
fn released(resource: &'static Resource, old: &Value, object: &Value) -> bool {
    // A namespace has finalizers of a second kind, which the namespace controller takes off.
    let held = |object: &Value| {
        let inner = resource == table::NAMESPACES && !object::items(object, "/spec/finalizers").is_empty();
        object::finalizers(object).next().is_some() || inner
    };
    let (had, has) = (held(old), held(object));
    let grace = object::at(old, "/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    had && !has && grace.unwrap_or(0) == 0
}

/// As `metadata` has times: whole seconds.
pub(super) fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}
