//! Incidents of single objects: somebody's hand, or a race, and one snapshot that does not go.

use std::time::Duration;

use serde_json::json;

use super::stage::{Notes, Pair, Stage, pair};
use super::{Incident, Step, minutes};
use crate::domain::finding::Class;
use crate::sim::actors::ceph::{Fault, Trouble};
use crate::sim::actors::snapshots::{BEING_CREATED, BEING_DELETED, PROVISIONER_FINALIZER};
use crate::sim::store::{object, table};

const FOREIGN: &str = "backup.example.com/hold";

pub(super) const FOREIGN_FINALIZER: Incident = Incident {
    name: "foreign-finalizer",
    about: "a backup product holds a content by a finalizer of its own and never comes back",
    alone: false,
    patience: minutes(4),
    heals: false,
    breaks: &[
        Step::Do(|stage, notes| {
            let pair = stage.pick()?;
            stage.hold(table::CONTENTS, ("", &pair.content), FOREIGN);
            stage.delete(table::SNAPSHOTS, &pair.namespace, &pair.snapshot);
            let words = format!(
                "a backup product put its finalizer on the content of VolumeSnapshot {}; then the snapshot was deleted",
                label(&pair)
            );
            notes.pair = Some(pair);
            Some(words)
        }),
        Step::Found(Class::ForeignFinalizer),
    ],
    mends: &[],
};

pub(super) const FINALIZERS_STRIPPED: Incident = Incident {
    name: "finalizers-stripped",
    about: "a snapshot's finalizers are stripped by hand, its content stays; then that is deleted by hand too",
    alone: false,
    patience: minutes(12),
    heals: true,
    breaks: &[
        Step::Do(|stage, notes| {
            let pair = stage.pick()?;
            stage.set_finalizers(table::SNAPSHOTS, (&pair.namespace, &pair.snapshot), &[]);
            stage.delete(table::SNAPSHOTS, &pair.namespace, &pair.snapshot);
            let words = format!("somebody stripped VolumeSnapshot {} of its finalizers and deleted it", label(&pair));
            notes.pair = Some(pair);
            Some(words)
        }),
        Step::Found(Class::AbandonedContent),
        Step::Do(|stage, notes| {
            let pair = notes.pair.as_ref()?;
            stage.delete(table::CONTENTS, "", &pair.content);
            Some(format!("somebody deleted its VolumeSnapshotContent {} with kubectl alone", pair.content))
        }),
        Step::Found(Class::OrphanedContent),
    ],
    mends: &[|stage, notes| {
        let pair = notes.pair.as_ref()?;
        let mark = json!({"metadata": {"annotations": {BEING_DELETED: "yes"}}});
        stage.patch(table::CONTENTS, "", &pair.content, mark);
        Some(format!("{} was marked for the driver with the annotation being-deleted", pair.content))
    }],
};

pub(super) const MISSED_EVENT: Incident = Incident {
    name: "missed-event",
    about: "a snapshot is deleted while it is being cut, and an old csi-snapshotter does not notice",
    alone: false,
    patience: minutes(30),
    heals: true,
    breaks: &[Step::Do(miss), Step::Found(Class::MissedEvent)],
    mends: &[|stage, notes| {
        let pair = notes.pair.as_ref()?;
        let touch = json!({"metadata": {"annotations": {"example.com/touched": "yes"}}});
        stage.patch(table::CONTENTS, "", &pair.content, touch);
        Some(format!("one annotation of {} was touched, so that csi-snapshotter looks again", pair.content))
    }],
};

/// How long a cut takes that is hurried, and how long a deletion takes that is not overlooked.
const LONG_CUT: Duration = Duration::from_secs(6);
const NOTICED: Duration = Duration::from_secs(40);

/// The race is lost only now and then, so it is run again until it is.
fn miss(stage: &mut Stage, notes: &mut Notes) -> Option<String> {
    let now = stage.cluster.now().mono;
    let Some(pair) = notes.pair.clone() else {
        let app = stage.home.apps.first()?.clone();
        notes.tries += 1;
        let name = format!("hurried-{}", notes.tries);
        stage.cut(&app, &name);
        let made = stage.cluster.store.get(table::SNAPSHOTS, &app, &name).ok()?;
        let call = format!("snapshot-{}", object::uid(&made));
        let slow = Fault::of("CreateSnapshot", Trouble::Slow(LONG_CUT)).on(&call).times(1);
        stage.home.faults.with(|faults| faults.add(slow));
        notes.pair = Some(pair(&made));
        notes.until = Duration::ZERO;
        return None;
    };
    let being_cut = |stage: &Stage| {
        let content = stage.cluster.store.get(table::CONTENTS, "", &pair.content);
        content.is_ok_and(|content| object::annotation(&content, BEING_CREATED).is_some())
    };
    if notes.until.is_zero() {
        if being_cut(stage) {
            stage.delete(table::SNAPSHOTS, &pair.namespace, &pair.snapshot);
            notes.until = now + NOTICED;
        }
        return None;
    }
    if stage.snapshot(&pair).is_none() {
        notes.pair = None;
        return None;
    }
    let words = || format!("VolumeSnapshot {} was deleted while the driver was still cutting it", label(&pair));
    (now >= notes.until).then(words)
}

pub(super) const PROVISIONER_ORPHAN: Incident = Incident {
    name: "provisioner-orphan",
    about: "csi-provisioner's finalizer is left behind on a snapshot, and it cannot take it away",
    alone: false,
    patience: minutes(14),
    heals: true,
    breaks: &[
        Step::Do(|stage, notes| {
            let pair = stage.pick()?;
            stage.refuse_provisioner(&pair);
            stage.hold(table::SNAPSHOTS, (&pair.namespace, &pair.snapshot), PROVISIONER_FINALIZER);
            stage.delete(table::SNAPSHOTS, &pair.namespace, &pair.snapshot);
            let words = format!(
                "csi-provisioner lost a restore of VolumeSnapshot {}: its finalizer stayed when the snapshot was \
                 deleted, and a webhook refuses its sweep",
                label(&pair)
            );
            notes.pair = Some(pair);
            Some(words)
        }),
        Step::Found(Class::ProvisionerOrphan),
    ],
    mends: &[|stage, notes| {
        let pair = notes.pair.as_ref()?;
        let snapshot = stage.snapshot(pair)?;
        let left: Vec<String> =
            object::finalizers(snapshot).filter(|one| *one != PROVISIONER_FINALIZER).map(str::to_owned).collect();
        let left: Vec<&str> = left.iter().map(String::as_str).collect();
        stage.set_finalizers(table::SNAPSHOTS, (&pair.namespace, &pair.snapshot), &left);
        Some(format!("that one finalizer was removed from VolumeSnapshot {}", label(pair)))
    }],
};

/// `namespace/name`, as people say it.
pub(super) fn label(pair: &Pair) -> String {
    format!("{}/{}", pair.namespace, pair.snapshot)
}
