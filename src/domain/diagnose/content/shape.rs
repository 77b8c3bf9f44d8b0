//! Rules that rest on the shape of a content and its surroundings: annotations, finalizers, status, driver.

use std::time::Duration;

use super::Case;
use crate::domain::diagnose::{Diagnosis, Floor, SnapshotState, finalizers, get_both};
use crate::domain::fact::Source;
use crate::domain::finding::{Class, Rung};
use crate::domain::name::Key;
use crate::domain::record::{ContentSource, ContentStatus, DeletionPolicy, Kind};
use crate::domain::words;

pub(super) fn group_member(case: &Case<'_>) -> Option<Diagnosis> {
    if !case.content.in_group {
        return None;
    }
    let summary = "a member of a group snapshot: the driver deletes it with its VolumeGroupSnapshot only";
    let draft = case.draft(Class::GroupMember, summary).repair(
        Rung::Report,
        "delete the VolumeGroupSnapshot it belongs to (kubectl get volumegroupsnapshots -A), not the member",
    );
    Some(case.settle(Floor::age(case.timing.nudge_floor()), draft))
}

pub(super) fn foreign_finalizer(case: &Case<'_>) -> Option<Diagnosis> {
    if case.holds_own_finalizer() || case.content.meta.finalizers.is_empty() {
        return None;
    }
    let names = finalizers(&case.content.meta);
    let emptied = case.content.status.as_ref().is_some_and(ContentStatus::emptied);
    let backend = if emptied {
        "the backend snapshot is already gone (the driver emptied the status)"
    } else if case.content.handle().is_some() && case.content.policy == DeletionPolicy::Delete {
        "csi-snapshotter's own finalizer is gone while the status still has a handle: if somebody removed it by hand, \
         the backend snapshot is left behind"
    } else {
        "csi-snapshotter has let go of it"
    };
    let draft = case
        .draft(Class::ForeignFinalizer, format!("held only by finalizers of somebody else: {names}"))
        .evidence([backend.to_owned()])
        .caused_by(None)
        .repair(
            Rung::Report,
            format!("find the controller that owns {names} and let it finish; Volwarden never removes it"),
        );
    Some(case.settle(Floor::age(case.timing.short_floor()), draft))
}

pub(super) fn still_creating(case: &Case<'_>) -> Option<Diagnosis> {
    if !case.content.being_created {
        return None;
    }
    let error = case.content.status.as_ref().and_then(|status| status.error.as_ref());
    let draft = case
        .draft(
            Class::StillCreating,
            "the driver still owes the answer to its creation; until it answers nothing is deleted",
        )
        .evidence(error.map(|error| format!("status.error: {}", error.message)))
        .evidence(case.failure_lines())
        .repair(
            Rung::Nudge,
            "let csi-snapshotter learn the handle first: mend the driver, then nudge; removing the finalizer now would \
             leave a backend snapshot nobody knows",
        );
    // A creation that is refused has the mark for a moment at each try.
    Some(case.settle(Floor::standing(case.timing.nudge_floor()), draft))
}

/// Deleted, bound to a VolumeSnapshot, and nobody told the driver: the sidecar will not touch it.
pub(super) fn unmarked(case: &Case<'_>) -> Option<Diagnosis> {
    if case.content.being_deleted {
        return None;
    }
    let reads = get_both(&case.subject.key, case.content);
    match case.ctx.snapshot_of(&case.subject.key, case.content) {
        SnapshotState::Unbound => None,
        SnapshotState::Lives(_) => Some(match case.ctx.world.sources.outdated(Source::Snapshots) {
            None => awaiting_snapshot(case),
            Some(doubt) => untold(case, &doubt).wanting(reads),
        }),
        // The answers that say so grow old: they are asked for again before they do.
        SnapshotState::Gone(words) => Some(orphaned(case, words, false).wanting(reads)),
        SnapshotState::Unconfirmed => {
            let doubt =
                format!("VolumeSnapshot {} is not listed; a live GET has not confirmed it", case.content.snapshot.key);
            Some(orphaned(case, doubt, true).wanting(reads))
        }
        SnapshotState::Unknown(doubt) => Some(untold(case, &doubt).wanting(reads)),
    }
}

/// Whether its VolumeSnapshot lives is not known: a list that is merely late comes soon; one that never comes
/// has to be said by the daemon too.
fn untold(case: &Case<'_>, doubt: &str) -> Diagnosis {
    let eager = case.ctx.settings.eager;
    let summary = format!("whether its VolumeSnapshot {} lives cannot be told: {doubt}", case.content.snapshot.key);
    let draft = case
        .draft(Class::Unexplained, summary)
        .unverified(eager)
        .repair(Rung::Report, "let Volwarden read VolumeSnapshots; nothing is done on a guess");
    let floor = if eager { case.timing.short_floor() } else { case.timing.general_floor() };
    case.settle(Floor::age(floor), draft)
}

fn awaiting_snapshot(case: &Case<'_>) -> Diagnosis {
    let key = &case.content.snapshot.key;
    let draft = case
        .draft(
            Class::AwaitingSnapshot,
            format!("deleted by hand while its VolumeSnapshot {key} lives; it waits for that by design"),
        )
        .caused_by(case.ctx.cause(Kind::VolumeSnapshot, key))
        .repair(
            Rung::Report,
            format!("delete VolumeSnapshot {key} if it is meant to go; otherwise nothing is wrong with the driver"),
        );
    // That it was deleted is told by one watch, that its snapshot lives by another.
    case.settle(Floor::age(case.timing.short_floor()).told_by(Source::Snapshots), draft)
}

fn orphaned(case: &Case<'_>, how: String, unverified: bool) -> Diagnosis {
    let content = case.content;
    let doubts = doubtful_shape(case);
    let kept = content.policy == DeletionPolicy::Retain;
    let text = if kept {
        "add the annotation being-deleted: the object goes, the backend snapshot is kept (deletionPolicy Retain)"
            .to_owned()
    } else if doubts.is_empty() {
        "add the annotation being-deleted: csi-snapshotter then really deletes the backend snapshot".to_owned()
    } else {
        "add the annotation being-deleted, by approval only: completing this deletion may destroy a snapshot that is not \
         this cluster's"
            .to_owned()
    };
    let draft = case
        .draft(
            Class::OrphanedContent,
            "its VolumeSnapshot is gone and nobody told the driver to delete; it would wait for ever",
        )
        .evidence([how])
        .evidence(doubts.iter().cloned())
        .evidence(kept.then(|| "verdict: backend kept".to_owned()))
        .destroys(!kept && !doubts.is_empty())
        .unverified(unverified)
        .repair(Rung::MarkBeingDeleted, text);
    case.settle(Floor::age(case.timing.short_floor()), draft)
}

/// What makes the deletion of this content doubtful: a copied YAML carries another cluster's handle (rule R3).
fn doubtful_shape(case: &Case<'_>) -> Vec<String> {
    let content = case.content;
    let mut doubts = Vec::new();
    if content.source != ContentSource::Volume {
        doubts
            .push("doubtful: not made from a volume of this cluster (spec.source.volumeHandle is not set)".to_owned());
    }
    if content.policy == DeletionPolicy::Unknown {
        doubts.push("doubtful: deletionPolicy is neither Delete nor Retain".to_owned());
    }
    match content.handle() {
        None => doubts.push(
            "doubtful: no snapshotHandle; csi-snapshotter would drop the object without asking the driver".to_owned(),
        ),
        Some(handle) if case.ctx.world.handle_count(handle.print) > 1 => {
            doubts.push("doubtful: another content carries the same snapshotHandle".to_owned());
        }
        Some(handle) if group_holds(case, handle.print) => {
            doubts.push("doubtful: a group snapshot carries the same snapshotHandle".to_owned());
        }
        Some(_) => {}
    }
    let cut = content.status.as_ref().and_then(|status| status.creation_time);
    if let (Some(cut), Some(created)) = (cut, content.meta.created)
        && words::age(created.timestamp(), cut.timestamp()) > Duration::from_secs(300)
    {
        doubts.push(format!(
            "doubtful: the snapshot was cut at {} and this object was made at {}: it may be a copy",
            cut.timestamp(),
            created.timestamp()
        ));
    }
    doubts
}

fn group_holds(case: &Case<'_>, print: u64) -> bool {
    case.ctx.world.group_contents.iter().any(|(_, group)| group.handles.contains(&print))
}

pub(super) fn driver_mismatch(case: &Case<'_>) -> Option<Diagnosis> {
    let name = case.content.class.as_ref()?;
    let class = case.ctx.world.classes.get(&Key::cluster(&**name))?;
    // A class that cannot be read any more may long name the right driver again.
    if class.driver == case.content.driver || case.ctx.world.sources.outdated(Source::SnapshotClasses).is_some() {
        return None;
    }
    let summary = format!(
        "VolumeSnapshotClass {name} now names driver {}, the content {}: csi-snapshotter skips it without a word",
        class.driver, case.content.driver
    );
    let draft = case.draft(Class::DriverMismatch, summary).repair(
        Rung::Report,
        format!("make VolumeSnapshotClass {name} name {} again until the content is gone", case.content.driver),
    );
    // What the class names is told by one watch, that the content is still there by another.
    Some(case.settle(Floor::age(case.timing.short_floor()).told_by(Source::Contents), draft))
}

pub(super) fn driver_unknown(case: &Case<'_>) -> Option<Diagnosis> {
    let view = case.view?;
    let (class, unverified) = view.down()?;
    if class != Class::DriverUnknown {
        return None;
    }
    let leaks = case.content.policy != DeletionPolicy::Retain && case.content.handle().is_some();
    let text = if leaks {
        format!(
            "install {} again and it deletes by itself; without it, removing the finalizer leaves the backend snapshot \
             behind: only by opt-in on this object, and into the orphan ledger",
            case.content.driver
        )
    } else {
        format!("install {} again and it lets go by itself; removal only by opt-in on this object", case.content.driver)
    };
    let draft = case
        .draft(Class::DriverUnknown, format!("nothing of driver {} exists here: {}", case.content.driver, view.why))
        .evidence(view.lines())
        .leaks(leaks)
        .unverified(unverified)
        .repair(Rung::RemoveIntoOrphanLedger, text);
    Some(case.settle(Floor::age(case.timing.short_floor()), draft))
}

pub(super) fn deleted_not_released(case: &Case<'_>) -> Option<Diagnosis> {
    let content = case.content;
    let emptied = content.status.as_ref().is_some_and(ContentStatus::emptied);
    if !emptied || !content.being_deleted || !case.holds_own_finalizer() || content.source != ContentSource::Volume {
        return None;
    }
    let draft = case
        .draft(Class::DeletedNotReleased, "the driver confirmed the deletion, but csi-snapshotter left its finalizer")
        .repair(
            Rung::Nudge,
            "nudge; if that fails, remove csi-snapshotter's finalizer: nothing is lost, the backend snapshot is gone",
        );
    Some(case.settle(Floor::seen_twice(case.timing.nudge_floor()), draft))
}

pub(super) fn driver_gone(case: &Case<'_>) -> Option<Diagnosis> {
    let view = case.view.filter(|_| case.ctx.sees_leaders())?;
    let (class, unverified) = view.down()?;
    if !matches!(class, Class::DriverGone | Class::StaleLeader) {
        return None;
    }
    let draft = case
        .draft(Class::DriverGone, format!("no csi-snapshotter of {} works: {}", case.content.driver, view.why))
        .evidence(view.lines())
        .unverified(unverified)
        .repair(
            Rung::Report,
            format!("bring the csi-snapshotter of {} back; it deletes by itself then", case.content.driver),
        );
    Some(case.settle(Floor::age(case.timing.short_floor()), draft))
}
