//! The rules R0 to R8 as a judge has them: what may be written to which object, by the truth of the store, the
//! pool and the programs at that moment.

use serde_json::Value;

use super::audit::{Scene, removes_finalizer};
use super::home::{PLUGIN, SNAPSHOTTER};
use crate::domain::fact::Source;
use crate::domain::guard::Guarded;
use crate::domain::identity;
use crate::domain::name::Key;
use crate::domain::remedy::Step;
use crate::sim::store::{object, table};

const CONTENT_OWN: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
const PROVISIONER: &str = "provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection";
const BEING_DELETED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";
const BEING_CREATED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-created";
const NUDGE: &str = "volwarden.dev/nudge";
const LEAVE_BEHIND: &str = "volwarden.dev/leave-behind";

/// What a rule says: nothing, or why not.
type Rule = Result<(), String>;

fn rule(holds: bool, words: &str) -> Rule {
    if holds { Ok(()) } else { Err(words.to_owned()) }
}

/// The last handle a content had.
type Handle<'a> = dyn Fn(&Value) -> Option<&'a str> + 'a;

/// Whether the write was one that the rules let be made.
pub(super) fn fits(
    guarded: &Guarded,
    scene: &Scene<'_>,
    handle: &Handle<'_>,
    renewed: Option<std::time::Duration>,
) -> Rule {
    let entry = scene.entry;
    let Some(before) = entry.before.as_deref() else { return Err("there was nothing".to_owned()) };
    let Ok(after) = &entry.after else { return Ok(()) };
    let action = guarded.action();
    rule(object::uid(before) == action.target.uid.to_string(), "it is another object")?;
    changes_only_what_it_says(action.step, before, after)?;
    let deleting = object::is_deleting(before);
    if removes_finalizer(action.step) {
        rule(deleting, "it lives")?;
    }
    match action.step {
        Step::Nudge => Ok(()),
        Step::MarkBeingDeleted => mark(guarded, scene, before, handle),
        Step::RemoveContentFinalizer => confirmed(scene, before, handle),
        Step::RemoveRetainedFinalizer => {
            rule(object::text(before, "/spec/deletionPolicy") == "Retain", "its policy is not Retain")?;
            rule(object::annotation(before, BEING_CREATED).is_none(), "it is being created")
        }
        Step::RemoveProvisionerFinalizer => {
            rule(object::finalizers(before).eq([PROVISIONER]), "another finalizer is left")?;
            let key = Key::namespaced(object::namespace(before), object::name(before));
            rule(scene.was(&[Source::Claims], |moment| moment.restores(&key) == 0), "a claim is being restored from it")
        }
        Step::RemoveIntoOrphanLedger => {
            rule(object::annotation(before, LEAVE_BEHIND) == Some(object::uid(before)), "nobody consents")?;
            rule(scene.is_approved(guarded), "nobody has approved it")
        }
        Step::DeleteAbandoned => rule(scene.is_approved(guarded), "nobody has approved it"),
        Step::RestartLeader | Step::RestartCandidate => restart(guarded, scene, before),
        Step::ReleaseLease => lease(guarded, scene, before, renewed),
    }
}

/// R0: one thing is changed, and it is the one that was announced.
fn changes_only_what_it_says(step: Step, before: &Value, after: &Value) -> Rule {
    let plain = |one: &Value, annotation: Option<&str>| {
        let mut one = one.clone();
        if let Some(metadata) = one.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["resourceVersion", "managedFields"] {
                metadata.remove(field);
            }
            let marks = metadata.get_mut("annotations").and_then(Value::as_object_mut);
            let emptied = marks.is_some_and(|marks| {
                annotation.map(|key| marks.remove(key));
                marks.is_empty()
            });
            if emptied {
                metadata.remove("annotations");
            }
            if removes_finalizer(step) {
                metadata.remove("finalizers");
            }
        }
        one
    };
    let annotation = match step {
        Step::Nudge => Some(NUDGE),
        Step::MarkBeingDeleted => Some(BEING_DELETED),
        _ if removes_finalizer(step) => None,
        // A deletion changes nothing that its preconditions do not guard.
        _ => return Ok(()),
    };
    rule(plain(before, annotation) == plain(after, annotation), "more was changed than it says")?;
    if removes_finalizer(step) {
        let wanted = if step == Step::RemoveProvisionerFinalizer { PROVISIONER } else { CONTENT_OWN };
        let kept = object::finalizers(before).filter(|one| *one != wanted);
        rule(object::has_finalizer(before, wanted), "its finalizer was not there")?;
        rule(object::finalizers(after).eq(kept), "another finalizer was removed")?;
    }
    Ok(())
}

/// R3: only what snapshot-controller made here, and never on the word of a copy.
fn mark(guarded: &Guarded, scene: &Scene<'_>, before: &Value, handle: &Handle<'_>) -> Rule {
    let store = &scene.home.cluster.store;
    rule(object::is_deleting(before), "it lives")?;
    rule(object::annotation(before, BEING_DELETED).is_none(), "it was marked")?;
    rule(object::annotation(before, BEING_CREATED).is_none(), "it is being created")?;
    let named = |field: &str| object::text(before, &format!("/spec/volumeSnapshotRef/{field}"));
    let snapshot = store.get(table::SNAPSHOTS, named("namespace"), named("name"));
    rule(snapshot.is_err() || snapshot.is_ok_and(|one| object::uid(&one) != named("uid")), "its snapshot lives")?;
    if object::text(before, "/spec/deletionPolicy") == "Retain" {
        return Ok(());
    }
    rule(!object::text(before, "/spec/source/volumeHandle").is_empty(), "it was not made from a volume")?;
    let handle = handle(before).filter(|_| !object::text(before, "/status/snapshotHandle").is_empty());
    let Some(handle) = handle else { return Err("it has no handle".to_owned()) };
    let approved = scene.is_approved(guarded);
    let others = store.list(table::CONTENTS, None).filter(|one| object::uid(one) != object::uid(before));
    let shared = others.into_iter().any(|one| object::text(one, "/status/snapshotHandle") == handle);
    rule(approved || !shared, "another content has its handle")?;
    // The pool knows for whose VolumeSnapshot it was cut.
    let cut_for = scene.home.parts.pool.with(|pool| pool.snapshots().get(handle).map(|one| one.name.clone()));
    let own = cut_for.is_none_or(|name| name == format!("snapshot-{}", named("uid")));
    rule(approved || own, "its handle is of a snapshot that was cut for another")
}

/// R1: the driver no longer has it.
fn confirmed(scene: &Scene<'_>, before: &Value, handle: &Handle<'_>) -> Rule {
    rule(object::text(before, "/spec/deletionPolicy") == "Delete", "its policy is not Delete")?;
    rule(object::annotation(before, BEING_DELETED).is_some(), "it was not marked")?;
    rule(object::annotation(before, BEING_CREATED).is_none(), "it is being created")?;
    let status = before.get("status");
    let fields = ["snapshotHandle", "readyToUse", "creationTime", "restoreSize"];
    let emptied = status.is_some_and(|status| fields.iter().all(|field| status.get(field).is_none()));
    rule(emptied, "its status is not emptied")?;
    let there = handle(before).is_some_and(|handle| holds(scene, handle));
    rule(!there, "the backend still has it")
}

fn holds(scene: &Scene<'_>, handle: &str) -> bool {
    scene.home.parts.pool.with(|pool| pool.snapshots().contains_key(handle))
}

/// Restarts hit a pod of the driver's Deployment and no other: the leader's, or one that did not take over.
fn restart(guarded: &Guarded, scene: &Scene<'_>, before: &Value) -> Rule {
    let action = guarded.action();
    let owners = object::items(before, "/metadata/ownerReferences");
    let owned = owners.iter().any(|one| matches!(object::text(one, "/kind"), "ReplicaSet" | "StatefulSet"));
    rule(owned, "it is no pod of a Deployment or a StatefulSet")?;
    let has = |container| super::moment::has_container(before, container);
    rule(has(SNAPSHOTTER) && has(PLUGIN), "it is no controller of a driver")?;
    rule(!object::is_deleting(before), "it is being deleted already")?;
    let driver = &*action.driver;
    let lease = identity::snapshotter_lease(driver);
    let sources = [Source::Leases, Source::Pods];
    if action.step == Step::RestartLeader {
        let holder = identity::sanitize(object::name(before));
        return rule(scene.was(&sources, |moment| moment.holder(&lease) == holder), "it did not lead");
    }
    rule(scene.was(&sources, |moment| !moment.sidecar_works(driver)), "a leader worked")
}

/// R7: nobody has renewed it for twice its length, and its holder is gone.
fn lease(guarded: &Guarded, scene: &Scene<'_>, before: &Value, renewed: Option<std::time::Duration>) -> Rule {
    let lease = identity::snapshotter_lease(&guarded.action().driver);
    rule(object::name(before) == lease, "it is not the driver's")?;
    let length = object::at(before, "/spec/leaseDurationSeconds").and_then(Value::as_u64).unwrap_or_default();
    let still = scene.entry.at.saturating_sub(renewed.unwrap_or_default());
    rule(still.as_secs() >= 2 * length, "it was renewed not long ago")?;
    let holder = object::text(before, "/spec/holderIdentity");
    let mut pods = scene.home.cluster.store.list(table::PODS, None);
    rule(!pods.any(|pod| identity::sanitize(object::name(pod)) == holder), "its holder is there")
}

/// What stays behind in the backend stands in the orphan ledger before.
pub(super) fn leaks_nothing(guarded: &Guarded, scene: &Scene<'_>, handle: &Handle<'_>) -> Rule {
    let Some(before) = scene.entry.before.as_deref().filter(|_| scene.entry.resource == table::CONTENTS) else {
        return Ok(());
    };
    let retained = object::text(before, "/spec/deletionPolicy") == "Retain";
    let lets_go =
        removes_finalizer(guarded.action().step) || guarded.action().step == Step::MarkBeingDeleted && retained;
    let Some(handle) = handle(before).filter(|handle| lets_go && holds(scene, handle)) else { return Ok(()) };
    let store = &scene.home.cluster.store;
    let mut orphans = store.list(table::ORPHANS, None);
    let announced = orphans.any(|one| object::text(one, "/spec/snapshotHandle") == handle);
    rule(announced, &format!("{handle} is left behind, and stands in no orphan ledger"))
}
