//! Snapshots that were never cut, and what keeps them from it.
//!
//! The commonest incident of all is a driver without a csi-snapshotter: every backup stops, silently.

use std::sync::Arc;

use crate::domain::components::View;
use crate::domain::diagnose::{Context, Diagnosis, Draft, Floor};
use crate::domain::fact::Source;
use crate::domain::finding::{Cause, Class, Rung, Subject, Verdict};
use crate::domain::logline;
use crate::domain::name::Key;
use crate::domain::record::{Content, Kind, Snapshot};
use crate::domain::words;
use crate::domain::world::{content_key, source_claim};

/// What keeps a snapshot from being cut.
struct Blocked {
    words: String,
    cause: Option<Cause>,
    /// There is positive evidence, and no need to wait for a resync.
    proven: bool,
    unverified: bool,
    remedy: String,
}

pub(super) fn live(
    ctx: &Context<'_>,
    subject: &Subject,
    snapshot: &Snapshot,
    content_key: &Key,
    content: Option<&Content>,
) -> Diagnosis {
    if snapshot.ready == Some(true) {
        return Diagnosis::healthy("ready to use");
    }
    let driver = content.map(|content| &content.driver).or_else(|| class_driver(ctx, subject, snapshot));
    let view = driver.and_then(|driver| ctx.driver(driver));
    let timing = ctx.timing(view);
    let created = snapshot.meta.created.map_or(ctx.now.wall, crate::domain::name::Stamp::timestamp);
    let age = words::age(ctx.now.wall, created);
    let blocked = blocked_by(ctx, subject, snapshot, content_key, content, driver.map(|driver| &**driver));
    let floor = if blocked.proven { timing.nudge_floor() } else { timing.general_floor() };
    let errors =
        [snapshot.error.as_ref(), content.and_then(|c| c.status.as_ref()).and_then(|status| status.error.as_ref())];
    let mut lines: Vec<String> =
        errors.into_iter().flatten().map(|error| format!("status.error: {}", error.message)).collect();
    lines.dedup();
    let ready = snapshot.ready.map_or("absent", |_| "false");
    let draft = Draft::new(Class::CreateStuck, created, format!("never became ready: {}", blocked.words))
        .evidence([
            format!("created {created}, {} ago; readyToUse {ready}", words::short(age)),
            content.map_or_else(
                || format!("VolumeSnapshotContent {content_key}: none"),
                |content| {
                    format!(
                        "VolumeSnapshotContent {content_key}: handle {}",
                        if content.handle().is_some() { "set" } else { "none" }
                    )
                },
            ),
        ])
        .evidence(lines)
        .evidence(view.filter(|view| view.down().is_some()).map(View::lines).unwrap_or_default())
        .caused_by(blocked.cause)
        .unverified(blocked.unverified)
        .repair(Rung::Report, blocked.remedy);
    // One that was cut once has lost its readiness since, and its age says nothing about when: often for a moment.
    // So has one that is bound to a content that is not there.
    let cut = content.map_or(snapshot.content.is_some(), |content| content.handle().is_some());
    let floor = if cut { Floor::seen_twice(floor) } else { Floor::age(floor) };
    let mut diagnosis = ctx.settle(subject, &snapshot.meta, driver, floor, draft);
    if let Verdict::Normal { summary, until } = &mut diagnosis.verdict {
        let due = until.map_or_else(String::new, |at| format!(" until {}", words::clock(at)));
        *summary = format!("being created for {}: normal{due}; if it lasts: {summary}", words::short(age));
    }
    diagnosis
}

/// The driver that the snapshot's class names; without one, that of the default class for its claim's volume.
fn class_driver<'a>(ctx: &Context<'a>, subject: &Subject, snapshot: &Snapshot) -> Option<&'a Arc<str>> {
    let world = ctx.world;
    if let Some(name) = &snapshot.class {
        return world.classes.get(&Key::cluster(&**name)).map(|class| &class.driver);
    }
    let driver = volume_driver(ctx, &source_claim(&subject.key, snapshot)?)?;
    world
        .classes
        .iter()
        .map(|(_, class)| class)
        .find(|class| class.default && class.driver == *driver)
        .map(|class| &class.driver)
}

/// The driver of a claim's volume.
fn volume_driver<'a>(ctx: &Context<'a>, claim: &Key) -> Option<&'a Arc<str>> {
    let name = ctx.world.claims.get(claim)?.volume.as_ref()?;
    ctx.world.volumes.get(&Key::cluster(name.clone()))?.driver.as_ref()
}

fn blocked_by(
    ctx: &Context<'_>,
    subject: &Subject,
    snapshot: &Snapshot,
    content_key: &Key,
    content: Option<&Content>,
    driver: Option<&str>,
) -> Blocked {
    class_trouble(ctx, subject, snapshot, driver)
        .or_else(|| controller_trouble(ctx, content))
        .or_else(|| driver_trouble(ctx, driver))
        .or_else(|| error_trouble(ctx, snapshot, content_key, content))
        .unwrap_or_else(|| Blocked {
            words: "nothing that can be seen from here says why".to_owned(),
            cause: None,
            proven: false,
            unverified: false,
            remedy: "look at the logs of snapshot-controller and of the driver's csi-snapshotter".to_owned(),
        })
}

fn class_trouble(ctx: &Context<'_>, subject: &Subject, snapshot: &Snapshot, driver: Option<&str>) -> Option<Blocked> {
    let proven =
        |words: String, remedy: String| Blocked { words, cause: None, proven: true, unverified: false, remedy };
    let world = ctx.world;
    if let Some(name) = &snapshot.class
        && world.sources.known(Source::SnapshotClasses)
        && world.classes.get(&Key::cluster(&**name)).is_none()
    {
        return Some(proven(
            format!("VolumeSnapshotClass {name} does not exist"),
            format!("create VolumeSnapshotClass {name}, or name another"),
        ));
    }
    let claim_key = source_claim(&subject.key, snapshot)?;
    if world.claims.get(&claim_key).is_none() {
        let known = world.sources.known(Source::Claims);
        return known.then(|| {
            proven(
                format!("its source PersistentVolumeClaim {claim_key} does not exist"),
                format!("create {claim_key}, or delete the snapshot"),
            )
        });
    }
    match (volume_driver(ctx, &claim_key).map(|driver| &**driver), driver) {
        (Some(has), Some(wants)) if has != wants => Some(proven(
            format!("its claim's volume belongs to driver {has}, its VolumeSnapshotClass names {wants}"),
            format!("use a VolumeSnapshotClass of driver {has}"),
        )),
        _ => None,
    }
}

fn controller_trouble(ctx: &Context<'_>, content: Option<&Content>) -> Option<Blocked> {
    let view = ctx.components.controller.as_ref().filter(|_| ctx.sees_leaders())?;
    let (_, unverified) = view.down().filter(|_| content.is_none())?;
    Some(Blocked {
        words: format!("snapshot-controller made no content for it: {}", view.why),
        cause: ctx.controller_cause(),
        proven: true,
        unverified,
        remedy: "bring snapshot-controller back".to_owned(),
    })
}

fn driver_trouble(ctx: &Context<'_>, driver: Option<&str>) -> Option<Blocked> {
    let driver = driver?;
    let view = ctx.driver(driver).filter(|_| ctx.sees_leaders())?;
    let (_, unverified) = view.down()?;
    Some(Blocked {
        words: format!("no csi-snapshotter of {driver} works: {}", view.why),
        cause: ctx.driver_cause(driver),
        proven: true,
        unverified,
        remedy: format!("bring the csi-snapshotter of {driver} back (with Rook: snapshotPolicy must not be none)"),
    })
}

fn error_trouble(
    ctx: &Context<'_>,
    snapshot: &Snapshot,
    content_key: &Key,
    content: Option<&Content>,
) -> Option<Blocked> {
    let of_content = content.and_then(|content| content.status.as_ref()).and_then(|status| status.error.as_ref());
    let error = of_content.or(snapshot.error.as_ref())?;
    let locked = logline::is_lock_text(&error.message);
    let words = if locked {
        "the driver refuses because an operation on it never ended"
    } else {
        "the driver answers with an error"
    };
    Some(Blocked {
        words: format!("{words}: {}", error.message),
        // A content that waits for this very snapshot is no cause of it.
        cause: ctx
            .cause(Kind::VolumeSnapshotContent, content_key)
            .filter(|cause| cause.class != Class::AwaitingSnapshot),
        proven: true,
        unverified: false,
        remedy: if locked {
            "restart the pod of the csi-snapshotter leader (its driver holds the lock in memory)".to_owned()
        } else {
            "mend what the error names; csi-snapshotter retries by itself".to_owned()
        },
    })
}

/// Whether the creation fails for the driver's own reason: counts towards a storm, unless its content does.
#[must_use]
pub fn fails_in_driver(ctx: &Context<'_>, snapshot: &Snapshot, cause: Option<&Cause>) -> bool {
    if let Some(cause) = cause {
        return cause.class.is_component() && cause.class != Class::ControllerDown;
    }
    let status = ctx.world.contents.get(&content_key(snapshot)).and_then(|content| content.status.as_ref());
    let error = status.and_then(|status| status.error.as_ref());
    error.is_some_and(|error| error.message.contains("rpc error: code = "))
}
