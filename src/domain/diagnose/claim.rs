//! PersistentVolumeClaims that cannot go because a snapshot of them never became ready.

use super::{Context, Diagnosis, Draft, Floor, deletion, finalizers};
use crate::domain::finding::{Class, Rung, Subject};
use crate::domain::name::Key;
use crate::domain::record::Kind;
use crate::domain::words;

/// snapshot-controller's finalizer on a claim that a snapshot is being cut from.
pub const SOURCE_FINALIZER: &str = "snapshot.storage.kubernetes.io/pvc-as-source-protection";

/// Diagnoses one claim.
#[must_use]
pub fn diagnose(ctx: &Context<'_>, key: &Key) -> Diagnosis {
    let Some(claim) = ctx.world.claims.get(key) else { return Diagnosis::not_found() };
    let subject = Subject::new(Kind::PersistentVolumeClaim, key.clone());
    let Some((since, age)) = deletion(&claim.meta, ctx.now) else {
        return Diagnosis::healthy("nothing asks for its deletion");
    };
    if !claim.meta.has_finalizer(SOURCE_FINALIZER) {
        let held = finalizers(&claim.meta);
        return Diagnosis::healthy(format!(
            "being deleted for {}; held by {held}, none of it a snapshot's",
            words::short(age)
        ));
    }
    let Some(snapshot) = ctx.world.unready(key).next() else {
        let words = format!(
            "being deleted for {}; no snapshot of it is un-ready, so snapshot-controller lets go",
            words::short(age)
        );
        return Diagnosis::healthy(words);
    };
    let others = ctx.world.unready(key).count().saturating_sub(1);
    let more = if others == 0 { String::new() } else { format!(" and {others} more") };
    let draft = Draft::new(
        Class::SourcePinned,
        since,
        format!("cannot be deleted: VolumeSnapshot {snapshot}{more} of it never became ready"),
    )
    .evidence([format!(
        "deletionTimestamp {since}, {} ago; finalizers: {}",
        words::short(age),
        finalizers(&claim.meta)
    )])
    .evidence(ctx.world.unready(key).map(|key| format!("VolumeSnapshot {key} is not ready")))
    .caused_by(ctx.cause(Kind::VolumeSnapshot, snapshot))
    .repair(
        Rung::Report,
        format!("mend or delete VolumeSnapshot {snapshot}; snapshot-controller then lets the claim go"),
    );
    ctx.settle(&subject, &claim.meta, None, Floor::age(ctx.timing(None).nudge_floor()), draft)
}
