//! Deletion: preconditions, time to end, and what holds an object that somebody has deleted.
//!
//! A deleted object stays as long as a finalizer holds it; a pod also until its kubelet says that it has ended.
//! Everything that is ever stuck is stuck here.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::table::{self, Resource};
use super::write::{POD_GRACE, bump_generation, seconds};
use super::{ChangeKind, Store, Writer, object};

/// What happens to what an object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// It goes afterwards.
    Background,
    /// It goes first.
    Foreground,
    /// It stays.
    Orphan,
}

/// How to delete.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Only the object of this uid.
    pub uid: Option<String>,
    /// Only the object of this version.
    pub resource_version: Option<String>,
    /// Time for a pod to end, in seconds.
    pub grace_seconds: Option<i64>,
    /// What happens to what it owns; in the background if nothing is said.
    pub propagation: Option<Propagation>,
}

impl DeleteOptions {
    /// Only the object as it was read.
    #[must_use]
    pub fn exactly(read: &Value) -> Self {
        let resource_version = Some(object::text(read, "/metadata/resourceVersion").to_owned());
        Self { uid: Some(object::uid(read).to_owned()), resource_version, ..Self::default() }
    }
}

impl Store {
    /// Deletes the object of this name, or marks it to be deleted once nothing holds it any more.
    ///
    /// # Errors
    /// It is not there, or is not the one that is meant.
    pub fn delete(
        &mut self,
        writer: Writer<'_>,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Arc<Value>, Refusal> {
        self.may_write(resource)?;
        let old = self.get(resource, namespace, name)?;
        check_preconditions(resource, &old, options)?;
        let mut object = (*old).clone();
        add_propagation(&mut object, resource, options);
        let grace = grace(resource, &old, options);
        let held = object::finalizers(&object).next().is_some() || resource == table::NAMESPACES;
        let at_once = !held && grace == 0;
        // A pod is marked even if it goes at once: its kubelet and its controller see it go.
        if !at_once || resource == table::PODS {
            mark(writer, resource, &mut object, grace);
            if object != *old {
                self.commit(resource, ChangeKind::Modified, object.clone());
            }
        }
        if at_once {
            return Ok(self.commit(resource, ChangeKind::Deleted, object));
        }
        self.get(resource, namespace, name)
    }
}

/// Writes down that the object is to go, and when; a later deletion can only hasten it.
fn mark(writer: Writer<'_>, resource: &'static Resource, object: &mut Value, grace: i64) {
    let before = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    let marked = object::is_deleting(object);
    if marked && before.is_none_or(|before| before <= grace) {
        return;
    }
    let end = writer.at.saturating_add(SignedDuration::from_secs(grace)).unwrap_or(writer.at);
    object::set_metadata(object, "deletionTimestamp", seconds(end));
    if resource == table::NAMESPACES {
        // Its finalizers are in its spec, and nobody gives it a time.
        if let Some(fields) = object.as_object_mut() {
            fields.insert("status".to_owned(), json!({"phase": "Terminating"}));
        }
    } else {
        object::set_metadata(object, "deletionGracePeriodSeconds", grace);
    }
    if !marked {
        bump_generation(object);
    }
}

fn check_preconditions(resource: &'static Resource, old: &Value, options: &DeleteOptions) -> Result<(), Refusal> {
    let name = object::name(old);
    let stored = object::uid(old);
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != stored) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({stored}). The object might have \
             been deleted and then recreated"
        );
        return Err(Refusal::precondition(resource, name, &why));
    }
    let stored = object::text(old, "/metadata/resourceVersion");
    if let Some(version) = options.resource_version.as_deref().filter(|version| *version != stored) {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record \
             ({stored}). The object might have been modified"
        );
        return Err(Refusal::precondition(resource, name, &why));
    }
    Ok(())
}

/// Seconds until the object may go: only a pod that runs somewhere gets any.
fn grace(resource: &'static Resource, old: &Value, options: &DeleteOptions) -> i64 {
    let over = matches!(object::text(old, "/status/phase"), "Succeeded" | "Failed");
    if resource != table::PODS || over || object::text(old, "/spec/nodeName").is_empty() {
        return 0;
    }
    let own = old.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    options.grace_seconds.or(own).unwrap_or(POD_GRACE).max(0)
}

/// Finalizers of the garbage collector, which does the rest.
fn add_propagation(object: &mut Value, resource: &'static Resource, options: &DeleteOptions) {
    let finalizer = match options.propagation {
        Some(Propagation::Foreground) => "foregroundDeletion",
        Some(Propagation::Orphan) => "orphan",
        // Jobs are older than garbage collection: whoever says nothing leaves their pods behind.
        None if resource == table::JOBS => "orphan",
        Some(Propagation::Background) | None => return,
    };
    if !object::has_finalizer(object, finalizer) {
        let mut finalizers = object::items(object, "/metadata/finalizers").to_vec();
        finalizers.push(finalizer.into());
        object::set_metadata(object, "finalizers", finalizers);
    }
}
