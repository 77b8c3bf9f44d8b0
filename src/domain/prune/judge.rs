//! What a single object is judged by: the first of its own reasons to stay, whichever part of a policy asks.
//!
//! The counts and ages only ever propose. Here each proposal is met with everything that is known of the object, and
//! what cannot be told counts as a reason to stay. [`super::plan::broken`] asks the same again of the result.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::field::{Cut, DriverSight, Field, Maker, Owners};
use super::hold::Hold;
use super::part::Part;
use super::policy::Pruning;
use super::relic::{Detail, Failed, Kept, Relic, Temporary};
use crate::domain::name::{Key, Stamp};
use crate::domain::record::Owner;
use crate::domain::words;

/// Clocks of drivers may be ahead of ours by so much; what is further ahead would push everything else out of reach.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// When it was taken, if it can be counted.
pub(super) fn countable(cut: &Cut, now: Timestamp) -> Result<Timestamp, Hold> {
    if cut.marks.deleting {
        return Err(Hold::BeingDeleted);
    }
    if !cut.marks.ready {
        return Err(Hold::NotReady);
    }
    // Its content is gone or told to go, whatever its own status says: it must not push out a good one.
    if !cut.marks.bound {
        return Err(Hold::NoContent);
    }
    let time = cut.taken.map(Stamp::timestamp).ok_or(Hold::NoCreationTime)?;
    if time.duration_since(now) > AHEAD { Err(Hold::FromTheFuture) } else { Ok(time) }
}

/// The part that decides over a VolumeSnapshot. Each has one: what is temporary or failed does not even count.
pub(super) fn part_of(cut: &Cut, pruning: &Pruning) -> Part {
    let Some(extra) = cut.extra.as_ref() else { return Part::Snapshots };
    if extra.failed.is_some() && pruning.cleanup(Part::FailedSnapshots).is_some() {
        return Part::FailedSnapshots;
    }
    if extra.temporary.is_some() && pruning.cleanup(Part::VolsyncLeftovers).is_some() {
        return Part::VolsyncLeftovers;
    }
    Part::Snapshots
}

fn first(reasons: impl IntoIterator<Item = (bool, Hold)>) -> Option<Hold> {
    reasons.into_iter().find_map(|(applies, hold)| applies.then_some(hold))
}

/// What the single object is judged by.
pub(super) struct Judge<'a> {
    pub(super) field: &'a Field,
    pub(super) pruning: &'a Pruning,
    pub(super) now: Timestamp,
}

impl Judge<'_> {
    /// How old it has to be.
    fn least_age(&self, part: Part) -> Duration {
        match self.pruning.cleanup(part) {
            Some(cleanup) => cleanup.older_than,
            None => self.pruning.rules().min_age,
        }
    }

    /// The first reason of its own that a VolumeSnapshot has to stay, where it can be counted or need not be.
    pub(super) fn cut(&self, cut: &Cut, part: Part) -> Option<Hold> {
        let extra = cut.extra.as_deref();
        match part {
            Part::FailedSnapshots => {
                let failed = extra.and_then(|extra| extra.failed)?;
                self.failed(cut, failed)
            }
            Part::VolsyncLeftovers => {
                let temporary = extra.and_then(|extra| extra.temporary.as_ref())?;
                let own = countable(cut, self.now).err();
                own.or_else(|| self.temporary(&cut.key, temporary))
                    .or_else(|| self.marks(cut))
                    .or_else(|| self.content(cut, part, temporary.since))
            }
            Part::Snapshots | Part::RetainedContents => self.marks(cut).or_else(|| self.content(cut, part, cut.taken)),
        }
    }

    /// What marks on it, uses of it and owners of it say.
    fn marks(&self, cut: &Cut) -> Option<Hold> {
        let Field { latest_images, used, .. } = self.field;
        let marks = cut.marks;
        let own = first([
            (marks.ignored || self.ignores(&cut.key.namespace), Hold::Ignored),
            (marks.keep, Hold::Keep),
            (marks.do_not_delete, Hold::DoNotDelete),
            (marks.reclaims, Hold::Reclaims),
            (latest_images.contains(&cut.key), Hold::LatestImage),
            (marks.as_source || used.contains(&cut.key), Hold::InUse),
        ]);
        own.or_else(|| self.made_by(&cut.key.namespace, cut.maker()?)).or_else(|| self.owned(&cut.key, cut.owner()))
    }

    /// What its content, its age and its driver say.
    fn content(&self, cut: &Cut, part: Part, since: Option<Stamp>) -> Option<Hold> {
        let marks = cut.marks;
        let DriverSight { degraded, failing, .. } = self.sight(cut.driver.as_ref());
        first([
            (!marks.bound || cut.driver.is_none(), Hold::NoContent),
            (marks.shared, Hold::SharedHandle),
            (!marks.deletes, Hold::Retained),
            (marks.foreign_finalizer, Hold::ForeignFinalizer),
            (self.too_young(part, since), Hold::TooYoung),
            (degraded, Hold::DriverDegraded),
            (failing > 0, Hold::DeletionsHang),
        ])
    }

    /// One that failed: its own failure must not hold it, and a creation without an answer must.
    fn failed(&self, cut: &Cut, failed: Failed) -> Option<Hold> {
        let marks = cut.marks;
        let DriverSight { degraded, stuck, .. } = self.sight(cut.driver.as_ref());
        let temporary = cut.extra.as_deref().and_then(|extra| extra.temporary.as_ref());
        let own = marks.deleting.then_some(Hold::BeingDeleted);
        own.or_else(|| self.marks(cut)).or_else(|| self.temporary(&cut.key, temporary?)).or_else(|| {
            first([
                (failed.creating, Hold::BeingCreated),
                (failed.told, Hold::MayHoldData),
                (!failed.bare && !marks.bound, Hold::NoContent),
                (marks.shared, Hold::SharedHandle),
                (!failed.bare && !marks.deletes, Hold::Retained),
                (marks.foreign_finalizer, Hold::ForeignFinalizer),
                (self.too_young(Part::FailedSnapshots, failed.since), Hold::TooYoung),
                (degraded, Hold::DriverDegraded),
                (stuck > 0, Hold::DeletionsHang),
            ])
        })
    }

    /// The first reason that something left over has to stay.
    pub(super) fn relic(&self, relic: &Relic) -> Option<Hold> {
        let marks = relic.marks;
        let own = first([
            (marks.deleting, Hold::BeingDeleted),
            (marks.ignored || self.ignores(relic.namespace()), Hold::Ignored),
            (marks.keep, Hold::Keep),
            (marks.do_not_delete, Hold::DoNotDelete),
            (marks.reclaims, Hold::Reclaims),
        ]);
        own.or_else(|| self.made_by(relic.namespace(), relic.maker.as_ref()?))
            .or_else(|| self.owned(&relic.key, relic.owner.as_ref()))
            .or_else(|| match &relic.detail {
                Detail::Content(kept) => self.kept(kept, relic),
                Detail::Claim(temporary) => self.temporary(&relic.key, temporary),
                Detail::Job(temporary) => self.owner_may_live(&relic.key, temporary).then_some(Hold::Owned),
            })
            .or_else(|| {
                let DriverSight { degraded, stuck, .. } = self.sight(relic.driver.as_ref());
                first([
                    (marks.used, Hold::InUse),
                    (marks.foreign_finalizer, Hold::ForeignFinalizer),
                    (self.too_young(relic.part(), relic.since), Hold::TooYoung),
                    (degraded, Hold::DriverDegraded),
                    (stuck > 0, Hold::DeletionsHang),
                ])
            })
    }

    /// A retained content: whether this cluster's driver would really delete, and nothing of anybody else's.
    fn kept(&self, kept: &Kept, relic: &Relic) -> Option<Hold> {
        let used = kept.snapshot.as_ref().is_some_and(|(key, _)| self.field.used.contains(key));
        first([
            (kept.claimed, Hold::Claimed),
            (used, Hold::InUse),
            (kept.grouped, Hold::GroupMember),
            (kept.creating, Hold::BeingCreated),
            (kept.handle.is_none(), Hold::NoHandle),
            (kept.shared, Hold::SharedHandle),
            (!kept.here || relic.driver.is_none(), Hold::NotMadeHere),
            (kept.copy, Hold::MayBeCopy),
            (!kept.marked, Hold::Unmarked),
            (!kept.protected, Hold::Unprotected),
        ])
    }

    fn temporary(&self, key: &Key, temporary: &Temporary) -> Option<Hold> {
        let mover = |direction: &str| {
            let name = format!("volsync-{direction}-{}", temporary.source);
            self.field.movers.contains(&Key::namespaced(Arc::clone(&key.namespace), name))
        };
        first([
            (self.owner_may_live(key, temporary), Hold::Owned),
            (mover("src") || mover("dst") || self.field.moving.contains(&temporary.owner), Hold::InUse),
        ])
    }

    /// Whether the ReplicationSource or ReplicationDestination may live: under its uid, or anew under its name.
    fn owner_may_live(&self, key: &Key, temporary: &Temporary) -> bool {
        let name = Key::namespaced(Arc::clone(&key.namespace), temporary.source.clone());
        let Field { replications, replicating, .. } = self.field;
        replications.may_live(&name) || replicating.contains(&temporary.owner)
    }

    /// Nobody says since when: it may be new.
    fn too_young(&self, part: Part, since: Option<Stamp>) -> bool {
        since.is_none() || words::stamp_age(self.now, since) < self.least_age(part)
    }

    fn sight(&self, driver: Option<&Arc<str>>) -> DriverSight {
        driver.and_then(|driver| self.field.drivers.get(driver)).copied().unwrap_or_default()
    }

    fn ignores(&self, namespace: &str) -> bool {
        self.field.namespaces.get(namespace).is_some_and(|found| found.ignored)
    }

    /// A tool that prunes its own, while what it made the object for may live.
    fn made_by(&self, namespace: &str, maker: &Maker) -> Option<Hold> {
        let field = self.field;
        match maker {
            Maker::Velero(Some(backup)) => {
                field.backups.may_live(&Key::cluster(backup.clone())).then_some(Hold::Velero)
            }
            Maker::Velero(None) => (field.backups != Owners::Absent).then_some(Hold::Velero),
            Maker::SnapScheduler(schedule) => {
                let key = Key::namespaced(namespace, schedule.clone());
                field.schedules.may_live(&key).then_some(Hold::SnapScheduler)
            }
            Maker::Kopiur => (field.kopiur != Owners::Absent).then_some(Hold::Kopiur),
        }
    }

    /// Whether the controller may live: only of VolSync's is it known when it does not.
    fn owned(&self, key: &Key, owner: Option<&Owner>) -> Option<Hold> {
        let owner = owner?;
        if !matches!(&*owner.kind, "ReplicationSource" | "ReplicationDestination") {
            return Some(Hold::Owned);
        }
        let key = Key::namespaced(Arc::clone(&key.namespace), &*owner.name);
        self.field.replications.may_live(&key).then_some(Hold::Owned)
    }
}
