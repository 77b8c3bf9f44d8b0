//! Whether a step that was taken helped: told by what is seen, never by the write having been accepted.
//!
//! A pod that is Ready proves nothing about the lease, and an annotation that is there nothing about the driver.
//! Each step has its own proof; until it shows, the step's patience runs.

use std::time::Duration;

use super::action::TargetKind;
use super::{On, Rung, Step, settling};
use crate::domain::components::Health;
use crate::domain::diagnose::Context;
use crate::domain::fact::Source;
use crate::domain::finding::Subject;
use crate::domain::identity;
use crate::domain::lease;
use crate::domain::name::{Key, Uid};
use crate::domain::record::ContentStatus;

/// How long nothing has to be wrong with a live object.
const UNFOUND: Duration = Duration::from_secs(30);

/// A step that was taken, as far as its proof needs it.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// The rung.
    pub rung: &'a Rung,
    /// What was written to.
    pub target: (TargetKind, &'a Key, &'a Uid),
    /// The finding's subject.
    pub subject: &'a Subject,
    /// The driver.
    pub driver: &'a str,
    /// How long ago, on the monotonic clock; counted from when this process learned of it.
    pub ago: Duration,
}

/// What can be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It helped, by this.
    Helped(&'static str),
    /// Not yet; look again after this long at the latest.
    NotYet(Duration),
}

impl Taken<'_> {
    /// The collections that its proof is seen in.
    #[must_use]
    pub fn seen_in(&self) -> &'static [Source] {
        match (self.rung.step, self.target.0) {
            (Step::RestartLeader | Step::RestartCandidate | Step::ReleaseLease, _)
            | (_, TargetKind::Pod | TargetKind::Lease) => &[Source::Leases, Source::Pods],
            (_, TargetKind::Snapshot) => &[Source::Snapshots],
            (_, TargetKind::Content) => &[Source::Contents],
        }
    }
}

/// Looks for a step's proof.
#[must_use]
pub fn verify(ctx: &Context<'_>, taken: &Taken<'_>) -> Proof {
    let again = Duration::from_secs(5);
    match (taken.rung.step, taken.rung.on) {
        (Step::RestartLeader | Step::RestartCandidate | Step::ReleaseLease, _) => new_leader(ctx, taken),
        (Step::Nudge, On::Leftovers) => {
            if ctx.storm(taken.driver) {
                Proof::NotYet(again)
            } else {
                Proof::Helped("the storm is over")
            }
        }
        (Step::Nudge, On::Canary) => confirmed(ctx, taken),
        // One of a live object is a creation's: the finding about it is over when it is mended. Not at once: who
        // has only just started has no findings yet.
        (Step::Nudge, _) if alive(ctx, taken) => {
            if taken.ago >= UNFOUND && !ctx.findings.contains_key(taken.subject) {
                Proof::Helped("nothing is wrong with it any more")
            } else {
                Proof::NotYet(again)
            }
        }
        (Step::DeleteAbandoned, _) if being_deleted(ctx, taken) => Proof::Helped("it is being deleted"),
        _ => gone(ctx, taken),
    }
}

fn exists(ctx: &Context<'_>, taken: &Taken<'_>) -> bool {
    let (kind, key, uid) = taken.target;
    let world = ctx.world;
    match kind {
        TargetKind::Snapshot => world.snapshots.get(key).is_some_and(|found| found.meta.uid == *uid),
        TargetKind::Content => world.contents.get(key).is_some_and(|found| found.meta.uid == *uid),
        TargetKind::Pod => world.pods.get(key).is_some_and(|found| found.meta.uid == *uid),
        // A lease's record has no uid: whether another one took its place is told by its renewals.
        TargetKind::Lease => world.leases.get(key).is_some(),
    }
}

fn alive(ctx: &Context<'_>, taken: &Taken<'_>) -> bool {
    let (kind, key, uid) = taken.target;
    let meta = match kind {
        TargetKind::Snapshot => ctx.world.snapshots.get(key).map(|found| &found.meta),
        TargetKind::Content => ctx.world.contents.get(key).map(|found| &found.meta),
        TargetKind::Pod | TargetKind::Lease => None,
    };
    meta.is_some_and(|meta| meta.uid == *uid && meta.deleted.is_none())
}

fn being_deleted(ctx: &Context<'_>, taken: &Taken<'_>) -> bool {
    let (_, key, uid) = taken.target;
    ctx.world.contents.get(key).is_some_and(|found| found.meta.uid == *uid && found.meta.deleted.is_some())
}

fn gone(ctx: &Context<'_>, taken: &Taken<'_>) -> Proof {
    if exists(ctx, taken) { Proof::NotYet(Duration::from_secs(5)) } else { Proof::Helped("it is gone") }
}

/// The driver has answered: the status is emptied, or the object went after it.
fn confirmed(ctx: &Context<'_>, taken: &Taken<'_>) -> Proof {
    let (_, key, _) = taken.target;
    let emptied =
        ctx.world.contents.get(key).and_then(|content| content.status.as_ref()).is_some_and(ContentStatus::emptied);
    if emptied { Proof::Helped("the driver has confirmed the deletion") } else { gone(ctx, taken) }
}

/// The old pod is gone, the settling time has passed, and a leader was seen to renew since.
fn new_leader(ctx: &Context<'_>, taken: &Taken<'_>) -> Proof {
    let again = Duration::from_secs(5);
    let name = identity::snapshotter_lease(taken.driver);
    let found = ctx.world.lease(&name);
    let duration = found.map_or(Duration::ZERO, |(_, watched)| lease::duration(watched));
    let least = settling(&ctx.timing(ctx.driver(taken.driver)), duration);
    if taken.ago < least {
        return Proof::NotYet(least.saturating_sub(taken.ago).min(again));
    }
    if taken.target.0 == TargetKind::Pod && exists(ctx, taken) {
        return Proof::NotYet(again);
    }
    // Seen to renew within a lease's length: the present leader, not the memory of the old one.
    let renews =
        found.is_some_and(|(_, watched)| watched.moved && ctx.now.mono.saturating_sub(watched.changed) < duration);
    let alive = ctx.driver(taken.driver).is_some_and(|view| matches!(view.health, Health::Alive { seen: true }));
    if renews && alive { Proof::Helped("a new leader renews the lease") } else { Proof::NotYet(again) }
}
