//! The plan: what becomes of each snapshot under a policy, and in which order those that go are deleted.
//!
//! First each group is counted as kopia counts. Of what the counts let go, each is then asked for every reason to stay
//! ([`Hold`]), the last ready ones of each volume handle are put back, and groups are kept whole. At the end the
//! result is checked once more by other means ([`broken`]): a plan that breaks a rule of safety is refused whole and
//! not trimmed until it fits, because then its cause is not understood.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::field::{Cut, DriverSight, Field, Maker};
use super::hold::Hold;
use super::policy::Pruning;
use crate::domain::digest::{Encoding, Hash};
use crate::domain::name::{Key, Stamp};
use crate::domain::record::Owner;
use crate::domain::retention::{Reasons, Snapshot};
use crate::domain::words;

/// Clocks of drivers may be ahead of ours by so much; what is further ahead would push everything else out of reach.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// What becomes of one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The policy does not apply to it.
    Outside,
    /// Kept by the counts.
    Kept(Reasons),
    /// It would go, and this holds it; or it could not be counted.
    Held(Hold),
    /// It goes.
    Pruned,
}

/// What becomes of all snapshots, in the order of [`Field::cuts`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By place.
    pub fates: Vec<Fate>,
    /// Why the whole plan was refused.
    pub refused: Option<String>,
}

/// What a volume is known by: its handle, or where that is not known the group it is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volume {
    /// Fingerprint of driver and handle.
    Handle(u64),
    /// Number of the group.
    Group(usize),
}

/// The deletions of one volume, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The volume.
    pub volume: Volume,
    /// Places in [`Field::cuts`].
    pub cuts: Vec<usize>,
}

/// Snapshots that are counted together, by their place: those of one claim, and those of a namespace without one.
fn groups(field: &Field) -> Vec<Vec<usize>> {
    let mut numbers: BTreeMap<(&str, Option<&str>), usize> = BTreeMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (at, cut) in field.cuts.iter().enumerate() {
        let number = *numbers.entry((&cut.key.namespace, cut.claim.as_deref())).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(number) {
            group.push(at);
        }
    }
    groups
}

fn volumes(field: &Field, groups: &[Vec<usize>]) -> Vec<Volume> {
    let mut volumes = vec![Volume::Group(0); field.cuts.len()];
    for (number, group) in groups.iter().enumerate() {
        for at in group {
            let handle = field.cuts.get(*at).and_then(|cut| cut.volume);
            if let Some(place) = volumes.get_mut(*at) {
                *place = handle.map_or(Volume::Group(number), |handle| Volume::Handle(handle.get()));
            }
        }
    }
    volumes
}

/// Makes the plan. `others` are what other policies make of the same field: what one of them keeps or holds stays.
#[must_use]
pub fn plan(field: &Field, pruning: &Pruning, others: &[&Plan], now: Timestamp) -> Plan {
    let groups = groups(field);
    let mut fates = counted(field, pruning, &groups, now);
    let judge = Judge { field, now, min_age: pruning.rules().min_age };
    for (at, cut) in field.cuts.iter().enumerate() {
        let Some(fate) = fates.get_mut(at).filter(|fate| **fate == Fate::Pruned) else { continue };
        let stays = |other: &&Plan| matches!(other.fates.get(at), Some(Fate::Kept(_) | Fate::Held(_)));
        if let Some(hold) = judge.hold(cut) {
            *fate = Fate::Held(hold);
        } else if others.iter().any(stays) {
            *fate = Fate::Held(Hold::KeptByAnother);
        }
    }
    let volumes = volumes(field, &groups);
    keep_last_ready(field, pruning, &volumes, &mut fates);
    keep_groups_whole(field, &mut fates);
    let refused = broken(field, pruning, &volumes, &fates, now);
    if refused.is_some() {
        fates.iter_mut().filter(|fate| **fate == Fate::Pruned).for_each(|fate| *fate = Fate::Held(Hold::RefusedWhole));
    }
    Plan { fates, refused }
}

/// What the counts say, for what can be counted at all.
fn counted(field: &Field, pruning: &Pruning, groups: &[Vec<usize>], now: Timestamp) -> Vec<Fate> {
    let mut fates = vec![Fate::Outside; field.cuts.len()];
    let retention = pruning.retention();
    let mut places = Vec::new();
    let mut snapshots = Vec::new();
    for group in groups {
        places.clear();
        snapshots.clear();
        for at in group {
            let (Some(cut), Some(fate)) = (field.cuts.get(*at), fates.get_mut(*at)) else { continue };
            if !pruning.covers(cut, field) {
                continue;
            }
            match countable(cut, now) {
                Ok(time) => {
                    places.push(*at);
                    snapshots.push(Snapshot { time, incomplete: false });
                }
                Err(hold) => *fate = Fate::Held(hold),
            }
        }
        for (at, reasons) in places.iter().zip(retention.plan(&snapshots)) {
            if let Some(fate) = fates.get_mut(*at) {
                *fate = if reasons.kept() { Fate::Kept(reasons) } else { Fate::Pruned };
            }
        }
    }
    fates
}

/// When it was taken, if it can be counted.
fn countable(cut: &Cut, now: Timestamp) -> Result<Timestamp, Hold> {
    if cut.marks.deleting {
        return Err(Hold::BeingDeleted);
    }
    if !cut.marks.ready {
        return Err(Hold::NotReady);
    }
    let time = cut.taken.map(Stamp::timestamp).ok_or(Hold::NoCreationTime)?;
    if time.duration_since(now) > AHEAD { Err(Hold::FromTheFuture) } else { Ok(time) }
}

/// What the single snapshot is judged by.
struct Judge<'a> {
    field: &'a Field,
    now: Timestamp,
    min_age: Duration,
}

impl Judge<'_> {
    /// The first reason of its own to stay.
    fn hold(&self, cut: &Cut) -> Option<Hold> {
        let Field { latest_images, used, drivers, .. } = self.field;
        let marks = cut.marks;
        let sight = cut.driver.as_ref().and_then(|driver| drivers.get(driver)).copied().unwrap_or_default();
        let DriverSight { degraded, failing } = sight;
        let reasons = [
            (marks.ignored || self.in_ignored_namespace(cut), Hold::Ignored),
            (marks.keep, Hold::Keep),
            (marks.do_not_delete, Hold::DoNotDelete),
            (marks.reclaims, Hold::Reclaims),
            (latest_images.contains(&cut.key), Hold::LatestImage),
            (marks.as_source || used.contains(&cut.key), Hold::InUse),
        ];
        let own = reasons.into_iter().find_map(|(applies, hold)| applies.then_some(hold));
        own.or_else(|| self.made_by(cut)).or_else(|| {
            let reasons = [
                (cut.owner().is_some_and(|owner| self.owner_may_live(cut, owner)), Hold::Owned),
                (!marks.bound || cut.driver.is_none(), Hold::NoContent),
                (marks.shared, Hold::SharedHandle),
                (!marks.deletes, Hold::Retained),
                (marks.foreign_finalizer, Hold::ForeignFinalizer),
                (words::stamp_age(self.now, cut.taken) < self.min_age, Hold::TooYoung),
                (degraded, Hold::DriverDegraded),
                (failing > 0, Hold::DeletionsHang),
            ];
            reasons.into_iter().find_map(|(applies, hold)| applies.then_some(hold))
        })
    }

    fn in_ignored_namespace(&self, cut: &Cut) -> bool {
        self.field.namespaces.get(&cut.key.namespace).is_some_and(|found| found.ignored)
    }

    /// A tool that prunes its own, while what it made the snapshot for may live.
    fn made_by(&self, cut: &Cut) -> Option<Hold> {
        let field = self.field;
        match cut.maker()? {
            Maker::Velero(Some(backup)) => {
                field.backups.may_live(&Key::cluster(backup.clone())).then_some(Hold::Velero)
            }
            Maker::Velero(None) => (field.backups != super::field::Owners::Absent).then_some(Hold::Velero),
            Maker::SnapScheduler(schedule) => {
                let key = Key::namespaced(Arc::clone(&cut.key.namespace), schedule.clone());
                field.schedules.may_live(&key).then_some(Hold::SnapScheduler)
            }
            Maker::Kopiur => (field.kopiur != super::field::Owners::Absent).then_some(Hold::Kopiur),
        }
    }

    /// Whether the controller may live: only of VolSync's is it known when it does not.
    fn owner_may_live(&self, cut: &Cut, owner: &Owner) -> bool {
        if !matches!(&*owner.kind, "ReplicationSource" | "ReplicationDestination") {
            return true;
        }
        let key = Key::namespaced(Arc::clone(&cut.key.namespace), &*owner.name);
        self.field.replications.may_live(&key)
    }
}

/// Puts the newest of those that would go back, until each volume has enough ready ones left.
fn keep_last_ready(field: &Field, pruning: &Pruning, volumes: &[Volume], fates: &mut [Fate]) {
    let mut left: BTreeMap<Volume, usize> = BTreeMap::new();
    for ((cut, fate), volume) in field.cuts.iter().zip(&*fates).zip(volumes) {
        let stays = cut.marks.ready && !cut.marks.deleting && matches!(fate, Fate::Kept(_) | Fate::Held(_));
        *left.entry(*volume).or_default() += usize::from(stays);
    }
    left.retain(|_, ready| *ready < pruning.min_ready());
    if left.is_empty() {
        return;
    }
    let mut going: BTreeMap<Volume, Vec<usize>> = BTreeMap::new();
    for (at, (fate, volume)) in fates.iter().zip(volumes).enumerate() {
        if *fate == Fate::Pruned && left.contains_key(volume) {
            going.entry(*volume).or_default().push(at);
        }
    }
    for (volume, mut cuts) in going {
        let missing = pruning.min_ready() - left.get(&volume).copied().unwrap_or_default();
        cuts.sort_by_key(|at| field.cuts.get(*at).map(|cut| (Reverse(cut.taken), &cut.key)));
        for at in cuts.into_iter().take(missing) {
            let consented = field.cuts.get(at).is_some_and(|cut| cut.marks.prune_last);
            if let Some(fate) = fates.get_mut(at).filter(|_| !consented) {
                *fate = Fate::Held(Hold::LastReady);
            }
        }
    }
}

/// A group of snapshots that were cut together is worth something only whole, and goes only by its own object.
fn keep_groups_whole(field: &Field, fates: &mut [Fate]) {
    let mut whole: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    for (cut, fate) in field.cuts.iter().zip(&*fates) {
        if let Some(group) = cut.group() {
            *whole.entry((&cut.key.namespace, group)).or_insert(true) &= *fate == Fate::Pruned;
        }
    }
    if whole.is_empty() {
        return;
    }
    for (cut, fate) in field.cuts.iter().zip(fates.iter_mut()).filter(|(_, fate)| **fate == Fate::Pruned) {
        let Some(group) = cut.group() else { continue };
        let all_go = whole.get(&(&*cut.key.namespace, group)).copied().unwrap_or_default();
        *fate = Fate::Held(if all_go { Hold::GroupMember } else { Hold::GroupKept });
    }
}

/// The rule of safety that a plan breaks, told from its result alone.
#[must_use]
pub fn broken(field: &Field, pruning: &Pruning, volumes: &[Volume], fates: &[Fate], now: Timestamp) -> Option<String> {
    let judge = Judge { field, now, min_age: pruning.rules().min_age };
    let mut ready: BTreeMap<Volume, (usize, usize)> = BTreeMap::new();
    for ((cut, fate), volume) in field.cuts.iter().zip(fates).zip(volumes) {
        let goes = *fate == Fate::Pruned;
        if goes && (countable(cut, now).is_err() || judge.hold(cut).is_some() || cut.group().is_some()) {
            return Some(format!("VolumeSnapshot {} would go although something holds it", cut.key));
        }
        if *fate != Fate::Outside && cut.marks.ready && !cut.marks.deleting {
            let (before, after) = ready.entry(*volume).or_default();
            *before += 1;
            *after += usize::from(!goes || cut.marks.prune_last);
        }
    }
    let short = ready.values().any(|(before, after)| *after < pruning.min_ready().min(*before));
    short.then(|| format!("a volume would be left with fewer than {} ready snapshots", pruning.min_ready()))
}

impl Plan {
    /// Places of those that go.
    pub fn going(&self) -> impl Iterator<Item = usize> {
        self.fates.iter().enumerate().filter(|(_, fate)| **fate == Fate::Pruned).map(|(at, _)| at)
    }

    /// How many are covered, kept, held and go.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for fate in &self.fates {
            match fate {
                Fate::Outside => continue,
                Fate::Kept(_) => counts.kept += 1,
                Fate::Held(_) => counts.held += 1,
                Fate::Pruned => counts.going += 1,
            }
            counts.covered += 1;
        }
        counts
    }

    /// How many are held, by reason.
    #[must_use]
    pub fn held_by(&self) -> BTreeMap<Hold, usize> {
        let mut held = BTreeMap::new();
        for fate in &self.fates {
            if let Fate::Held(hold) = fate {
                *held.entry(*hold).or_default() += 1;
            }
        }
        held
    }

    /// The restore sizes of those that go, together.
    #[must_use]
    pub fn reclaimable(&self, field: &Field) -> u64 {
        self.going().filter_map(|at| field.cuts.get(at)).map(|cut| cut.size).fold(0, u64::saturating_add)
    }

    /// What an approval approves: all that go, and the rules under which.
    #[must_use]
    pub fn hash(&self, field: &Field, pruning: &Pruning) -> Hash {
        let mut encoding = Encoding::of("prune/1");
        encoding.field("policy", pruning.name());
        encoding.field("rules", format!("{:?}", pruning.rules()));
        let mut uids: Vec<String> =
            self.going().filter_map(|at| field.cuts.get(at)).map(|cut| cut.uid.to_string()).collect();
        uids.sort();
        encoding.list("uids", uids);
        encoding.hash()
    }

    /// The deletions of each volume, oldest first; at most so many, the oldest of all.
    #[must_use]
    pub fn lines(&self, field: &Field, most: usize) -> Vec<Line> {
        let volumes = volumes(field, &groups(field));
        let mut going: Vec<usize> = self.going().collect();
        going.sort_by_key(|at| field.cuts.get(*at).map(|cut| (cut.taken, &cut.key)));
        going.truncate(most);
        let mut lines: BTreeMap<Volume, Vec<usize>> = BTreeMap::new();
        for at in going {
            let volume = volumes.get(at).copied().unwrap_or(Volume::Group(0));
            lines.entry(volume).or_default().push(at);
        }
        lines.into_iter().map(|(volume, cuts)| Line { volume, cuts }).collect()
    }
}

impl Plan {
    /// Of each of these volumes the newest ready ones that stay, as many as have to.
    pub(super) fn staying(&self, field: &Field, pruning: &Pruning, lines: &[Line]) -> BTreeMap<Volume, Vec<usize>> {
        let mut staying: BTreeMap<Volume, Vec<usize>> = lines.iter().map(|line| (line.volume, Vec::new())).collect();
        let volumes = volumes(field, &groups(field));
        for (at, ((cut, fate), volume)) in field.cuts.iter().zip(&self.fates).zip(&volumes).enumerate() {
            let stays = cut.marks.ready && !cut.marks.deleting && matches!(fate, Fate::Kept(_) | Fate::Held(_));
            if let Some(all) = staying.get_mut(volume).filter(|_| stays) {
                all.push(at);
            }
        }
        for all in staying.values_mut() {
            all.sort_by_key(|at| field.cuts.get(*at).map(|cut| (Reverse(cut.taken), &cut.key)));
            all.truncate(pruning.min_ready());
        }
        staying
    }
}

/// How many of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The policy applies to.
    pub covered: usize,
    /// Kept by the counts.
    pub kept: usize,
    /// Held.
    pub held: usize,
    /// Go.
    pub going: usize,
}
