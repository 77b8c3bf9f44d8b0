//! Somebody's kubectl: the hands that break a cluster, and those that put it right.

use std::sync::Arc;

use serde_json::{Value, json};

use super::governance;
use super::home::{CLASS, Home, SECRET};
use super::inject::Undo;
use super::script::{Fault, Kind};
use super::truth;
use crate::api;
use crate::domain::identity;
use crate::sim::store::{DeleteOptions, Part, Patch, Resource, object, table};

pub(super) const KUBECTL: &str = "kubectl";
const FOREIGN: &str = "example.com/inventory";
const PROVISIONER: &str = "provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection";

pub(super) fn begin(fault: &Fault, home: &mut Home) -> Vec<Undo> {
    let aim = fault.aim as usize;
    let (driver, namespace) = (home.parts.driver.clone(), home.parts.namespace.clone());
    match fault.kind {
        Kind::SecretDeleted => take_away(home, table::SECRETS, &namespace, SECRET),
        Kind::CsiDriverRemoved => take_away(home, table::CSI_DRIVERS, "", &driver),
        Kind::ClassRemade => class_remade(home),
        Kind::LeaseDeleted => {
            let lease = identity::snapshotter_lease(&driver);
            delete(home, table::LEASES, &namespace, &lease);
            Vec::new()
        }
        Kind::SnapshotStripped => strip(home, table::SNAPSHOTS, aim, true),
        Kind::ContentStripped => strip(home, table::CONTENTS, aim, true),
        Kind::LiveSnapshotStripped => {
            if let Some((namespace, name)) = pick(home, table::SNAPSHOTS, aim, false) {
                let found = home.cluster.store.get(table::SNAPSHOTS, &namespace, &name);
                set_finalizers(home, table::SNAPSHOTS, &namespace, &name, &[]);
                delete(home, table::SNAPSHOTS, &namespace, &name);
                // Every other time its content is deleted too, and hangs.
                if let Some(found) = found.ok().filter(|_| aim.is_multiple_of(2)) {
                    delete(home, table::CONTENTS, "", &truth::content_of(&found).name);
                }
            }
            Vec::new()
        }
        Kind::ContentDeleted => {
            if let Some((namespace, name)) = pick(home, table::CONTENTS, aim, false) {
                delete(home, table::CONTENTS, &namespace, &name);
            }
            Vec::new()
        }
        Kind::SnapshotPinned => pin(home, table::SNAPSHOTS, aim),
        Kind::ContentPinned => pin(home, table::CONTENTS, aim),
        Kind::RestorePending => restore(home, aim),
        Kind::ProvisionerOrphaned => {
            if let Some((namespace, name)) = pick(home, table::SNAPSHOTS, aim, false) {
                add_finalizer(home, table::SNAPSHOTS, &namespace, &name, PROVISIONER);
                delete(home, table::SNAPSHOTS, &namespace, &name);
            }
            Vec::new()
        }
        Kind::ContentCopied => copy(home, aim),
        Kind::ContentRetained => retain(home, aim),
        Kind::CutUnseen => cut(home, aim),
        kind if kind >= Kind::PolicyPaused => Arc::clone(&home.governance).change(fault, home),
        _ => home.trouble(fault),
    }
}

pub(super) fn undo(home: &mut Home, undo: Undo) {
    match undo {
        Undo::Resume(process) => home.cluster.resume(process),
        Undo::Create(resource, namespace, object) => {
            let writer = home.cluster.writer(KUBECTL);
            let _ = home.cluster.store.create(writer, resource, &namespace, object);
        }
        Undo::Delete(resource, namespace, name) => delete(home, resource, &namespace, &name),
        Undo::Unpin(resource, namespace, name) => {
            let Ok(found) = home.cluster.store.get(resource, &namespace, &name) else { return };
            let left: Vec<&str> = object::finalizers(&found).filter(|one| *one != FOREIGN).collect();
            set_finalizers(home, resource, &namespace, &name, &left);
        }
        Undo::DeleteContentOf(namespace, name) => {
            if let Ok(found) = home.cluster.store.get(table::SNAPSHOTS, &namespace, &name) {
                delete(home, table::CONTENTS, "", &truth::content_of(&found).name);
            }
        }
        Undo::Policy(spec) => governance::edit(home, &spec),
        Undo::PolicyBack => Arc::clone(&home.governance).restore(home),
        Undo::KindsBack => Arc::clone(&home.governance).install(home),
        Undo::Heed(namespace) => governance::annotate(home, (table::NAMESPACES, "", &namespace), api::IGNORE, None),
        Undo::Redeploy(_) | Undo::NodeBack(_) => home.put_right(undo),
    }
}

/// What was there, as somebody would apply it again.
fn as_made(found: &Value) -> Value {
    let mut object = found.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "deletionTimestamp"]
        {
            metadata.remove(field);
        }
    }
    object
}

fn take_away(home: &mut Home, resource: &'static Resource, namespace: &str, name: &str) -> Vec<Undo> {
    let Ok(found) = home.cluster.store.get(resource, namespace, name) else { return Vec::new() };
    delete(home, resource, namespace, name);
    vec![Undo::Create(resource, namespace.to_owned(), as_made(&found))]
}

fn class_remade(home: &mut Home) -> Vec<Undo> {
    let back = take_away(home, table::SNAPSHOT_CLASSES, "", CLASS);
    let other = json!({"metadata": {"name": CLASS}, "driver": "other.csi.example.com", "deletionPolicy": "Delete"});
    home.create(table::SNAPSHOT_CLASSES, "", other);
    let mut undos = vec![Undo::Delete(table::SNAPSHOT_CLASSES, String::new(), CLASS.to_owned())];
    undos.extend(back);
    undos
}

pub(super) fn delete(home: &mut Home, resource: &'static Resource, namespace: &str, name: &str) {
    let writer = home.cluster.writer(KUBECTL);
    let _ = home.cluster.store.delete(writer, resource, namespace, name, &DeleteOptions::default());
}

/// One of the objects that are, or are not, being deleted.
fn pick(home: &Home, resource: &'static Resource, aim: usize, deleting: bool) -> Option<(String, String)> {
    let found: Vec<_> =
        home.cluster.store.list(resource, None).filter(|one| object::is_deleting(one) == deleting).collect();
    let one = found.get(aim.checked_rem(found.len())?)?;
    Some((object::namespace(one).to_owned(), object::name(one).to_owned()))
}

fn set_finalizers(home: &mut Home, resource: &'static Resource, namespace: &str, name: &str, finalizers: &[&str]) {
    let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    let writer = home.cluster.writer(KUBECTL);
    let _ = home.cluster.store.patch(writer, resource, namespace, name, Part::Object, &patch);
}

fn add_finalizer(home: &mut Home, resource: &'static Resource, namespace: &str, name: &str, finalizer: &str) {
    let Ok(found) = home.cluster.store.get(resource, namespace, name) else { return };
    let all: Vec<&str> = object::finalizers(&found).chain([finalizer]).collect();
    set_finalizers(home, resource, namespace, name, &all);
}

fn strip(home: &mut Home, resource: &'static Resource, aim: usize, deleting: bool) -> Vec<Undo> {
    if let Some((namespace, name)) = pick(home, resource, aim, deleting) {
        set_finalizers(home, resource, &namespace, &name, &[]);
    }
    Vec::new()
}

/// A finalizer of somebody who does not come for it; then the object is deleted.
fn pin(home: &mut Home, resource: &'static Resource, aim: usize) -> Vec<Undo> {
    let Some((namespace, name)) = pick(home, resource, aim, false) else { return Vec::new() };
    add_finalizer(home, resource, &namespace, &name, FOREIGN);
    if let Ok(found) = home.cluster.store.get(resource, &namespace, &name) {
        let about = |field: &str| object::text(&found, &format!("/spec/volumeSnapshotRef/{field}")).to_owned();
        if resource == table::SNAPSHOTS {
            delete(home, table::SNAPSHOTS, &namespace, &name);
        } else {
            delete(home, table::SNAPSHOTS, &about("namespace"), &about("name"));
        }
    }
    vec![Undo::Unpin(resource, namespace, name)]
}

/// A restore that nobody provisions, from a snapshot that is then deleted.
fn restore(home: &mut Home, aim: usize) -> Vec<Undo> {
    let Some((namespace, name)) = pick(home, table::SNAPSHOTS, aim, false) else { return Vec::new() };
    let claim = format!("restore-{}", aim % 1000);
    let source = json!({"apiGroup": table::SNAPSHOT_GROUP, "kind": "VolumeSnapshot", "name": name});
    let wanted = json!({"metadata": {"name": claim, "namespace": namespace}, "spec": {"storageClassName": "nobody",
        "accessModes": ["ReadWriteOnce"], "dataSource": source, "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Pending"}});
    home.create(table::CLAIMS, &namespace, wanted);
    delete(home, table::SNAPSHOTS, &namespace, &name);
    vec![Undo::Delete(table::CLAIMS, namespace, claim)]
}

/// The YAML of another cluster, applied here: its snapshot lives there, its handle is the same.
fn copy(home: &mut Home, aim: usize) -> Vec<Undo> {
    let Some((_, name)) = pick(home, table::CONTENTS, aim, false) else { return Vec::new() };
    let Ok(found) = home.cluster.store.get(table::CONTENTS, "", &name) else { return Vec::new() };
    let mut copy = as_made(&found);
    let uid = format!("5eb63bbb-0000-4000-8000-{:012x}", aim % (1 << 20));
    let status = copy.get("status").cloned().unwrap_or_default();
    if let Some(metadata) = copy.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("name".to_owned(), format!("snapcontent-{uid}").into());
    }
    if let Some(reference) = copy.pointer_mut("/spec/volumeSnapshotRef").and_then(Value::as_object_mut) {
        reference.insert("uid".to_owned(), uid.clone().into());
        reference.insert("name".to_owned(), "elsewhere".into());
    }
    home.create(table::CONTENTS, "", copy);
    let writer = home.cluster.writer(KUBECTL);
    let patch = Patch::Merge(json!({"status": status}));
    let name = format!("snapcontent-{uid}");
    let _ = home.cluster.store.patch(writer, table::CONTENTS, "", &name, Part::Status, &patch);
    // Every other time somebody sees the mistake, and deletes it.
    if aim.is_multiple_of(2) {
        delete(home, table::CONTENTS, "", &name);
    }
    Vec::new()
}

/// A snapshot by hand, and its content deleted by mistake.
fn cut(home: &mut Home, aim: usize) -> Vec<Undo> {
    let apps = home.parts.apps.len();
    let Some(app) = aim.checked_rem(apps).and_then(|at| home.parts.apps.get(at)).cloned() else { return Vec::new() };
    let name = format!("by-hand-{}", aim % 100_000);
    let snapshot = json!({"metadata": {"name": name, "namespace": app},
        "spec": {"volumeSnapshotClassName": CLASS, "source": {"persistentVolumeClaimName": app}}});
    home.create(table::SNAPSHOTS, &app, snapshot);
    vec![Undo::DeleteContentOf(app, name)]
}

/// A backend snapshot that is to be kept, and objects that are not; the content is left to nobody.
fn retain(home: &mut Home, aim: usize) -> Vec<Undo> {
    let Some((_, content)) = pick(home, table::CONTENTS, aim, false) else { return Vec::new() };
    let writer = home.cluster.writer(KUBECTL);
    let patch = Patch::Merge(json!({"spec": {"deletionPolicy": "Retain"}}));
    let Ok(found) = home.cluster.store.patch(writer, table::CONTENTS, "", &content, Part::Object, &patch) else {
        return Vec::new();
    };
    let namespace = object::text(&found, "/spec/volumeSnapshotRef/namespace");
    let name = object::text(&found, "/spec/volumeSnapshotRef/name");
    set_finalizers(home, table::SNAPSHOTS, namespace, name, &[]);
    delete(home, table::SNAPSHOTS, namespace, name);
    delete(home, table::CONTENTS, "", &content);
    Vec::new()
}
