//! VolumeSnapshots: why one that is being deleted is still there, and why one was never cut.
//!
//! [`RULES`] is the order of evaluation; the first that matches decides. A VolumeSnapshot that hangs is nearly
//! always waiting for something else: the finding names that, because treating the snapshot itself (removing
//! its finalizers) is what orphans its content.

mod create;

pub use create::fails_in_driver;

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::components::View;
use crate::domain::diagnose::{Context, Diagnosis, Draft, Floor, deletion, finalizers};
use crate::domain::fact::{Live, Probe, Source};
use crate::domain::finding::{Class, Rung, Subject, Verdict};
use crate::domain::name::Key;
use crate::domain::record::{Content, Kind, Snapshot};
use crate::domain::timing::{SWEEPS, Timing};
use crate::domain::words;
use crate::domain::world::content_key;

/// snapshot-controller's finalizer on every live snapshot.
pub const AS_SOURCE: &str = "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection";
/// snapshot-controller's finalizer on a snapshot bound to a content with policy Delete.
pub const BOUND: &str = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection";
/// snapshot-controller's finalizer on the member of a group.
pub const IN_GROUP: &str = "snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection";
/// csi-provisioner's finalizer while it provisions from the snapshot.
pub const PROVISIONER: &str = "provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection";

/// The rules for a snapshot that is being deleted, in order.
const RULES: [fn(&Case<'_>) -> Option<Diagnosis>; 8] = [
    group_member,
    restore_in_progress,
    controller_down,
    waiting_for_content,
    provisioner_orphan,
    foreign_finalizer,
    missed_event,
    unexplained,
];

/// A snapshot being deleted, with everything its rules look at.
struct Case<'a> {
    ctx: &'a Context<'a>,
    subject: Subject,
    snapshot: &'a Snapshot,
    content_key: Key,
    content: Option<&'a Content>,
    controller: Option<&'a View>,
    timing: Timing,
    since: Timestamp,
    age: Duration,
}

/// Diagnoses one snapshot.
#[must_use]
pub fn diagnose(ctx: &Context<'_>, key: &Key) -> Diagnosis {
    let Some(snapshot) = ctx.world.snapshots.get(key) else { return Diagnosis::not_found() };
    let subject = Subject::new(Kind::VolumeSnapshot, key.clone());
    let content_key = content_key(snapshot);
    let content = ctx.world.contents.get(&content_key);
    let Some((since, age)) = deletion(&snapshot.meta, ctx.now) else {
        return create::live(ctx, &subject, snapshot, &content_key, content);
    };
    let controller = ctx.components.controller.as_ref();
    let timing = ctx.timing(content.and_then(|content| ctx.driver(&content.driver)).or(controller));
    let case = Case { ctx, subject, snapshot, content_key, content, controller, timing, since, age };
    RULES.iter().find_map(|rule| rule(&case)).unwrap_or_else(|| case.waiting())
}

impl Case<'_> {
    fn draft(&self, class: Class, summary: impl Into<String>) -> Draft {
        let content = match self.content {
            None => format!("VolumeSnapshotContent {}: none", self.content_key),
            Some(content) if content.meta.deleted.is_some() => {
                format!("VolumeSnapshotContent {}: being deleted", self.content_key)
            }
            Some(_) => format!("VolumeSnapshotContent {}: not marked for deletion", self.content_key),
        };
        Draft::new(class, self.since, summary).evidence([
            format!(
                "deletionTimestamp {}, {} ago; finalizers: {}",
                self.since,
                words::short(self.age),
                finalizers(&self.snapshot.meta)
            ),
            content,
        ])
    }

    fn settle(&self, floor: Floor, draft: Draft) -> Diagnosis {
        let driver = self.content.map(|content| &content.driver);
        let mut diagnosis = self.ctx.settle(&self.subject, &self.snapshot.meta, driver, floor, draft);
        if let Verdict::Normal { summary, until } = &mut diagnosis.verdict {
            let due = until.map_or_else(
                || "; a surer look is under way".to_owned(),
                |at| format!("; this is normal until {}", words::clock(at)),
            );
            *summary = format!("being deleted for {}{due}; if it lasts: {summary}", words::short(self.age));
        }
        diagnosis
    }

    fn waiting(&self) -> Diagnosis {
        let floor = self.timing.general_floor();
        let until = self.since.checked_add(floor).ok();
        let due = until.map_or_else(String::new, words::clock);
        let floors = [self.timing.short_floor(), self.timing.nudge_floor(), floor];
        let wait =
            floors.into_iter().filter_map(|floor| floor.checked_sub(self.age).filter(|wait| !wait.is_zero())).min();
        Diagnosis {
            verdict: Verdict::Normal {
                summary: format!(
                    "being deleted for {}: normal; the controllers have until {due}",
                    words::short(self.age)
                ),
                until,
            },
            shape: None,
            recheck: wait.map(|wait| self.ctx.now.mono + wait),
            wants: Vec::new(),
        }
    }

    fn has(&self, finalizer: &str) -> bool {
        self.snapshot.meta.has_finalizer(finalizer)
    }

    /// Finalizers that neither the snapshot controllers nor the provisioner put there.
    fn foreign(&self) -> Vec<&str> {
        self.snapshot
            .meta
            .finalizers
            .iter()
            .map(|finalizer| &**finalizer)
            .filter(|finalizer| ![AS_SOURCE, BOUND, IN_GROUP, PROVISIONER].contains(finalizer))
            .collect()
    }
}

fn group_member(case: &Case<'_>) -> Option<Diagnosis> {
    let group = case.snapshot.group.as_ref()?;
    let key = Key::namespaced(case.subject.key.namespace.clone(), group.clone());
    let sources = &case.ctx.world.sources;
    if sources.known(Source::Groups) && case.ctx.world.groups.get(&key).is_none() {
        return None;
    }
    let draft = case
        .draft(Class::GroupMember, format!("a member of VolumeGroupSnapshot {key}, which has to be deleted as a whole"))
        .repair(Rung::Report, format!("delete VolumeGroupSnapshot {key}, not the member"));
    Some(case.settle(Floor::age(case.timing.nudge_floor()), draft))
}

/// Rests on a live Pending claim, never on the event that speaks of one.
fn restore_in_progress(case: &Case<'_>) -> Option<Diagnosis> {
    if !case.has(AS_SOURCE) && !case.has(PROVISIONER) {
        return None;
    }
    let world = case.ctx.world;
    let claims: Vec<&Key> = world.restores(&case.subject.key).collect();
    let first = *claims.first()?;
    let more = claims.len() - 1;
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let warning = case.ctx.memory.claim_event(first);
    let probe =
        world.claims.get(first).map(|claim| Probe::ClaimEvents { claim: first.clone(), uid: claim.meta.uid.clone() });
    let waits = claims.iter().filter_map(|key| world.claims.get(key).map(|claim| (key, claim))).map(|(key, claim)| {
        let being_deleted = if claim.meta.deleted.is_some() { ", itself being deleted" } else { "" };
        format!("PersistentVolumeClaim {key} is Pending and restores from it{being_deleted}")
    });
    let draft = case
        .draft(Class::RestoreInProgress, format!("PersistentVolumeClaim {first}{more} is being restored from it"))
        .evidence(waits)
        .evidence(warning.map(|words| format!("newest warning about {first}: {words}")))
        .repair(
            Rung::Report,
            format!("wait for PersistentVolumeClaim {first}, or mend or delete it; the snapshot goes by itself then"),
        );
    // That the snapshot is deleted is told by one watch, that the claim still waits by another.
    Some(case.settle(Floor::age(case.timing.short_floor()).told_by(Source::Claims), draft).wanting(probe))
}

fn controller_down(case: &Case<'_>) -> Option<Diagnosis> {
    let view = case.controller.filter(|_| case.ctx.sees_leaders())?;
    let (_, unverified) = view.down()?;
    // A content that cannot be seen may be with the driver.
    let drivers_turn = case.has(BOUND)
        && case.content.map_or(!case.ctx.world.sources.known(Source::Contents), |content| {
            content.being_deleted && content.meta.deleted.is_some()
        });
    let controllers_turn = case.has(AS_SOURCE) || case.has(BOUND) || case.has(IN_GROUP);
    if drivers_turn || !controllers_turn {
        return None;
    }
    let draft = case
        .draft(Class::ControllerDown, format!("waits for snapshot-controller: {}", view.why))
        .evidence(view.lines())
        .caused_by(case.ctx.controller_cause())
        .unverified(unverified)
        .repair(Rung::Report, "bring snapshot-controller back; it goes on by itself");
    Some(case.settle(Floor::age(case.timing.short_floor()), draft))
}

/// The content is with the driver: whatever holds that one holds this one.
fn waiting_for_content(case: &Case<'_>) -> Option<Diagnosis> {
    let content = case.content.filter(|content| content.being_deleted && case.has(BOUND))?;
    // A content that waits for this very snapshot is no cause of it.
    let reason = case.ctx.cause(Kind::VolumeSnapshotContent, &case.content_key);
    let reason = reason.filter(|cause| cause.class != Class::AwaitingSnapshot);
    // A storm swallows the findings of its contents: the driver's is the cause then.
    let folded =
        case.ctx.components.failing.get(&content.driver).is_some_and(|failing| {
            failing.contains(&Subject::new(Kind::VolumeSnapshotContent, case.content_key.clone()))
        });
    let blocked = reason.is_some() || folded;
    let floor = if blocked { case.timing.short_floor() } else { case.timing.general_floor() };
    let why = reason.as_ref().map_or_else(String::new, |found| format!(" ({})", found.class));
    let storm = folded && case.ctx.storm(&content.driver);
    let draft = case
        .draft(Class::WaitingForContent, format!("waits for VolumeSnapshotContent {}{why}", case.content_key))
        .caused_by(if storm { case.ctx.driver_cause(&content.driver).or(reason) } else { reason })
        .repair(
            Rung::Report,
            format!("what helps VolumeSnapshotContent {} helps here; never strip this object", case.content_key),
        );
    // Marked, deleted and gone within a moment is how it should be, however late it begins.
    Some(case.settle(Floor::standing(floor), draft))
}

fn provisioner_orphan(case: &Case<'_>) -> Option<Diagnosis> {
    if !case.has(PROVISIONER) || case.snapshot.meta.finalizers.len() != 1 {
        return None;
    }
    let sources = &case.ctx.world.sources;
    if let Some(doubt) = sources.doubt(Source::Claims) {
        let draft = case
            .draft(
                Class::Unexplained,
                format!("held by csi-provisioner; whether it still provisions cannot be told: {doubt}"),
            )
            .repair(Rung::Report, "let Volwarden read PersistentVolumeClaims");
        return Some(case.settle(Floor::age(SWEEPS.max(case.timing.raised_to)), draft));
    }
    // The sweeps count from the last claim that referred to it, if that was seen to go.
    let referred = case.ctx.world.last_referred(&case.subject.key);
    let quiet = referred.map_or(SWEEPS, |at| case.ctx.now.mono.saturating_sub(at));
    let floor = Floor::age(SWEEPS.max(case.age + SWEEPS.saturating_sub(quiet)).max(case.timing.raised_to));
    let draft = case
        .draft(
            Class::ProvisionerOrphan,
            "only csi-provisioner's finalizer is left, and no claim is being restored from it",
        )
        .evidence(["no Pending PersistentVolumeClaim refers to it, in any namespace, for two sweeps (10m)".to_owned()])
        .repair(
            Rung::RemoveProvisionerFinalizer,
            format!(
                "wait for csi-provisioner's own sweep (5m); if it does not come, remove the finalizer {PROVISIONER}"
            ),
        );
    Some(case.settle(floor, draft))
}

fn foreign_finalizer(case: &Case<'_>) -> Option<Diagnosis> {
    let foreign = case.foreign();
    if foreign.is_empty() || foreign.len() != case.snapshot.meta.finalizers.len() {
        return None;
    }
    let names = foreign.join(", ");
    let draft =
        case.draft(Class::ForeignFinalizer, format!("held only by finalizers of somebody else: {names}")).repair(
            Rung::Report,
            format!("find the controller that owns {names} and let it finish; Volwarden never removes it"),
        );
    Some(case.settle(Floor::age(case.timing.short_floor()), draft))
}

/// snapshot-controller did not notice that it can go on.
fn missed_event(case: &Case<'_>) -> Option<Diagnosis> {
    content_gone_unnoticed(case).or_else(|| restore_ended_unnoticed(case))
}

/// Up to 8.5 snapshot-controller does not look again when the claim it waited for is bound (es#1366).
fn restore_ended_unnoticed(case: &Case<'_>) -> Option<Diagnosis> {
    let untouched = case.has(AS_SOURCE) && case.content.is_some_and(|content| !content.being_deleted);
    let ended = case.ctx.world.last_referred(&case.subject.key)?;
    let view = case.controller.filter(|view| untouched && view.alive())?;
    let quiet = case.ctx.now.mono.saturating_sub(ended);
    let floor = case.timing.nudge_floor();
    let draft = case
        .draft(Class::MissedEvent, "the restore from it has ended and snapshot-controller did not notice")
        .evidence([format!("the last claim that was restored from it stopped waiting {} ago", words::short(quiet))])
        .evidence(view.lines())
        .repair(Rung::Nudge, "touch one annotation of the VolumeSnapshot: snapshot-controller looks again at once");
    let at_work = case.ctx.floor_at_work(view, floor, case.age);
    Some(case.settle(Floor::age(at_work.max(case.age + floor.saturating_sub(quiet))), draft))
}

fn content_gone_unnoticed(case: &Case<'_>) -> Option<Diagnosis> {
    if !case.has(BOUND) || case.content.is_some() || !case.ctx.world.sources.known(Source::Contents) {
        return None;
    }
    let view = case.controller.filter(|view| view.alive())?;
    let probe = Probe::Get { kind: Kind::VolumeSnapshotContent, key: case.content_key.clone() };
    let live = case.ctx.memory.live(Kind::VolumeSnapshotContent, &case.content_key, case.ctx.now);
    let unverified = match live {
        Some(Live::Absent) => false,
        None => true,
        Some(Live::Present(_) | Live::Unknown(_)) => return None,
    };
    let draft = case
        .draft(
            Class::MissedEvent,
            format!("its content {} is gone and snapshot-controller did not notice", case.content_key),
        )
        .evidence((!unverified).then(|| format!("VolumeSnapshotContent {}: a live GET answers 404", case.content_key)))
        .evidence(view.lines())
        .unverified(unverified)
        .repair(Rung::Nudge, "touch one annotation of the VolumeSnapshot: snapshot-controller looks again at once");
    // Its age says nothing about when the content went: between the two there is always a moment.
    let floor = case.ctx.floor_at_work(view, case.timing.nudge_floor(), case.age);
    Some(case.settle(Floor::seen_twice(floor).told_by(Source::Snapshots), draft).wanting([probe]))
}

fn unexplained(case: &Case<'_>) -> Option<Diagnosis> {
    if case.age < case.timing.general_floor() {
        return None;
    }
    let foreign = case.foreign();
    let draft = case
        .draft(Class::Unexplained, "stuck, and nothing that can be seen from here explains it")
        .evidence(
            (!foreign.is_empty()).then(|| format!("also held by somebody else's finalizers: {}", foreign.join(", "))),
        )
        .caused_by(case.ctx.controller_cause())
        .repair(Rung::Report, "look at snapshot-controller's log for this object; do not remove its finalizers");
    // It rests on its still being there: after a jump of the clock, of something that was seen a moment before.
    Some(case.settle(Floor::age(case.timing.general_floor()).told_by(Source::Snapshots), draft))
}
