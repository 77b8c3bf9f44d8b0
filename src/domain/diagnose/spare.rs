//! Contents that are alive and wrong: storage that nobody refers to any more, and creations that are locked.
//!
//! What stripping a VolumeSnapshot's finalizers by hand leaves behind looks perfectly healthy and is paid for
//! every month; it is found here, and never deleted without an approval.

use super::{Context, Diagnosis, Draft, Floor, SnapshotState, get_both};
use crate::domain::fact::Source;
use crate::domain::finding::{Class, Rung, Subject};
use crate::domain::logline;
use crate::domain::record::{Content, ContentSource, DeletionPolicy};
use crate::domain::words;

/// Diagnoses a content that is not being deleted.
#[must_use]
pub fn live_content(ctx: &Context<'_>, subject: &Subject, content: &Content) -> Diagnosis {
    if let Some(diagnosis) = locked_creation(ctx, subject, content) {
        return diagnosis;
    }
    let parked = content.policy != DeletionPolicy::Delete
        || content.source != ContentSource::Volume
        || content.velero
        || content.in_group;
    if parked {
        return Diagnosis::healthy("nothing asks for its deletion");
    }
    let reads = get_both(&subject.key, content);
    match ctx.snapshot_of(&subject.key, content) {
        SnapshotState::Lives(_) => Diagnosis::healthy(format!("bound to VolumeSnapshot {}", content.snapshot.key)),
        SnapshotState::Unbound => Diagnosis::healthy("not bound to a VolumeSnapshot yet"),
        SnapshotState::Unknown(doubt) => {
            Diagnosis::healthy(format!("whether its VolumeSnapshot lives cannot be told: {doubt}")).wanting(reads)
        }
        SnapshotState::Unconfirmed => {
            abandoned(ctx, subject, content, "a live GET has not confirmed it yet", true).wanting(reads)
        }
        // The answers that say so grow old: they are asked for again before they do.
        SnapshotState::Gone(how) => abandoned(ctx, subject, content, &how, false).wanting(reads),
    }
}

fn abandoned(ctx: &Context<'_>, subject: &Subject, content: &Content, how: &str, unverified: bool) -> Diagnosis {
    let timing = ctx.timing(ctx.driver(&content.driver));
    let created = content.meta.created.map_or(ctx.now.wall, crate::domain::name::Stamp::timestamp);
    let summary = format!(
        "alive, but its VolumeSnapshot {} is gone: its backend snapshot belongs to nobody",
        content.snapshot.key
    );
    let draft = Draft::new(Class::AbandonedContent, created, summary)
        .evidence([
            how.to_owned(),
            format!("created {created}; deletionPolicy Delete; not Velero's; made from a volume of this cluster"),
            "this is what removing a VolumeSnapshot's finalizers by hand leaves behind".to_owned(),
            "its deletion takes the backend's only copy of that moment".to_owned(),
        ])
        .destroys(true)
        .unverified(unverified)
        .repair(
            Rung::DeleteAbandoned,
            "if nobody needs the data: delete the content, by approval and once it is 24 h old; csi-snapshotter then has to \
             be told with the being-deleted annotation",
        );
    // Its age says nothing about when the VolumeSnapshot went: that must be seen twice. That it is gone is told by one
    // watch, that the content still lives by another.
    let floor = Floor::seen_twice(timing.nudge_floor()).told_by(Source::Contents);
    ctx.settle(subject, &content.meta, Some(&content.driver), floor, draft)
}

/// `status.error` of a live content names a lock: its creation waits for an operation that never ends.
fn locked_creation(ctx: &Context<'_>, subject: &Subject, content: &Content) -> Option<Diagnosis> {
    let error = content.status.as_ref()?.error.as_ref()?;
    if !error.message.contains("Aborted") || !logline::is_lock_text(&error.message) {
        return None;
    }
    let timing = ctx.timing(ctx.driver(&content.driver));
    let created = content.meta.created.map_or(ctx.now.wall, crate::domain::name::Stamp::timestamp);
    let summary = format!("driver {} refuses to create it: an operation on it never ended", content.driver);
    let seen = error
        .time
        .map_or_else(String::new, |at| format!(" at {at}, {} ago", words::short(words::age(ctx.now.wall, at))));
    let draft = Draft::new(Class::OperationLocked, created, summary)
        .evidence([format!("status.error{seen}: {}", error.message)])
        .caused_by(ctx.driver_cause(&content.driver))
        .repair(
            Rung::RestartLeader,
            "restart the pod of the csi-snapshotter leader (its driver holds the lock in memory)",
        );
    let floor = Floor::age(timing.nudge_floor());
    Some(ctx.settle(subject, &content.meta, Some(&content.driver), floor, draft))
}
