//! The plan: what becomes of each snapshot under a policy, and in which order those that go are deleted.
//!
//! First each group is counted as kopia counts; what is left over ([`Part`]) does not count, and is proposed by its age.
//! Of what would go, each is then asked for every reason to stay ([`Hold`]), the last ready ones of each volume handle
//! are put back, and groups are kept whole. At the end the result is checked once more by other means ([`broken`]): a
//! plan that breaks a rule of safety is refused whole and not trimmed until it fits, because then its cause is not
//! understood.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::field::{Cut, Field};
use super::hold::Hold;
use super::judge::{Judge, countable, part_of};
use super::part::Part;
use super::policy::{Pruning, Rules};
use super::relic::{Relic, Thing};
use crate::domain::digest::{Encoding, Hash};
use crate::domain::name::{Key, Stamp, Uid};
use crate::domain::retention::{Reasons, Snapshot};

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

/// What becomes of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Of snapshots, by their place in [`Field::cuts`].
    pub fates: Vec<Fate>,
    /// The part that decides over a snapshot, where that is not [`Part::Snapshots`].
    pub parts: BTreeMap<usize, Part>,
    /// Of what is left over beside them, by its place in [`Field::relics`].
    pub relics: Vec<Fate>,
    /// Why the whole plan was refused.
    pub refused: Option<String>,
}

/// One object of a plan, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// In [`Field::cuts`].
    Cut(usize),
    /// In [`Field::relics`].
    Relic(usize),
}

/// What an item is.
#[derive(Clone, Copy, Debug)]
pub enum Object<'a> {
    /// A VolumeSnapshot.
    Cut(&'a Cut),
    /// Something else.
    Relic(&'a Relic),
}

impl<'a> Object<'a> {
    /// Its kind.
    #[must_use]
    pub fn thing(self) -> Thing {
        match self {
            Self::Cut(_) => Thing::Snapshot,
            Self::Relic(relic) => relic.thing(),
        }
    }

    /// Namespace and name.
    #[must_use]
    pub fn key(self) -> &'a Key {
        match self {
            Self::Cut(cut) => &cut.key,
            Self::Relic(relic) => &relic.key,
        }
    }

    /// Uid.
    #[must_use]
    pub fn uid(self) -> &'a Uid {
        match self {
            Self::Cut(cut) => &cut.uid,
            Self::Relic(relic) => &relic.uid,
        }
    }

    /// What its age is measured from.
    #[must_use]
    pub fn since(self) -> Option<Stamp> {
        match self {
            Self::Cut(cut) => {
                let extra = cut.extra.as_ref();
                let made = extra.and_then(|extra| extra.failed.and_then(|failed| failed.since));
                cut.taken.or(made)
            }
            Self::Relic(relic) => relic.since,
        }
    }

    /// Restore size in bytes; 0 where it is not known, or nothing is freed.
    #[must_use]
    pub fn size(self) -> u64 {
        match self {
            Self::Cut(cut) => cut.size,
            Self::Relic(relic) => relic.size,
        }
    }
}

impl Field {
    /// What an item is.
    #[must_use]
    pub fn object(&self, item: Item) -> Option<Object<'_>> {
        match item {
            Item::Cut(at) => self.cuts.get(at).map(Object::Cut),
            Item::Relic(at) => self.relics.get(at).map(Object::Relic),
        }
    }
}

/// What a volume is known by: its handle, or where that is not known the group it is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volume {
    /// Fingerprint of driver and handle.
    Handle(u64),
    /// Number of the group.
    Group(usize),
    /// Of what has no volume, its own place.
    Alone(usize),
}

/// The deletions of one volume, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The volume.
    pub volume: Volume,
    /// What goes.
    pub items: Vec<Item>,
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
    let (mut fates, parts) = counted(field, pruning, &groups, now);
    let judge = Judge { field, pruning, now };
    for (at, cut) in field.cuts.iter().enumerate() {
        let Some(fate) = fates.get_mut(at).filter(|fate| **fate == Fate::Pruned) else { continue };
        let part = parts.get(&at).copied().unwrap_or(Part::Snapshots);
        // That it is not ready is no reason of another policy's: it says the same of itself.
        let stays = |other: &&Plan| match other.fates.get(at) {
            Some(Fate::Held(hold)) => *hold != Hold::NotReady,
            Some(Fate::Kept(_)) => true,
            _ => false,
        };
        if let Some(hold) = judge.cut(cut, part) {
            *fate = Fate::Held(hold);
        } else if others.iter().any(stays) {
            *fate = Fate::Held(Hold::KeptByAnother);
        }
    }
    let volumes = volumes(field, &groups);
    keep_last_ready(field, pruning, &volumes, &mut fates);
    keep_groups_whole(field, &mut fates);
    let mut relics = left_over(&judge, others);
    let refused = broken(field, pruning, &volumes, &fates, now).or_else(|| broken_relics(&judge, &relics));
    if refused.is_some() {
        let all = fates.iter_mut().chain(&mut relics);
        all.filter(|fate| **fate == Fate::Pruned).for_each(|fate| *fate = Fate::Held(Hold::RefusedWhole));
    }
    Plan { fates, parts, relics, refused }
}

/// What the counts say, for what can be counted at all; and what is left over, which does not count.
fn counted(
    field: &Field,
    pruning: &Pruning,
    groups: &[Vec<usize>],
    now: Timestamp,
) -> (Vec<Fate>, BTreeMap<usize, Part>) {
    let mut fates = vec![Fate::Outside; field.cuts.len()];
    let mut parts = BTreeMap::new();
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
            let part = part_of(cut, pruning);
            if part != Part::Snapshots {
                parts.insert(*at, part);
                *fate = Fate::Pruned;
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
    (fates, parts)
}

/// What becomes of what is left over beside snapshots.
fn left_over(judge: &Judge<'_>, others: &[&Plan]) -> Vec<Fate> {
    let fate = |(at, relic): (usize, &Relic)| {
        if !judge.pruning.covers_relic(relic, judge.field) {
            return Fate::Outside;
        }
        let elsewhere = |other: &&Plan| matches!(other.relics.get(at), Some(Fate::Held(_)));
        match judge.relic(relic) {
            Some(hold) => Fate::Held(hold),
            None if others.iter().any(elsewhere) => Fate::Held(Hold::KeptByAnother),
            None => Fate::Pruned,
        }
    };
    judge.field.relics.iter().enumerate().map(fate).collect()
}

/// Puts the newest of those that would go back, until each volume has enough ready ones left.
fn keep_last_ready(field: &Field, pruning: &Pruning, volumes: &[Volume], fates: &mut [Fate]) {
    let mut left: BTreeMap<Volume, usize> = BTreeMap::new();
    for ((cut, fate), volume) in field.cuts.iter().zip(&*fates).zip(volumes) {
        let stays = cut.is_good() && matches!(fate, Fate::Kept(_) | Fate::Held(_));
        *left.entry(*volume).or_default() += usize::from(stays);
    }
    left.retain(|_, ready| *ready < pruning.min_ready());
    if left.is_empty() {
        return;
    }
    let mut going: BTreeMap<Volume, Vec<usize>> = BTreeMap::new();
    for (at, ((cut, fate), volume)) in field.cuts.iter().zip(&*fates).zip(volumes).enumerate() {
        // A failed one would be no good one more.
        if *fate == Fate::Pruned && cut.marks.ready && left.contains_key(volume) {
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
    let judge = Judge { field, pruning, now };
    let mut ready: BTreeMap<Volume, (usize, usize)> = BTreeMap::new();
    for ((cut, fate), volume) in field.cuts.iter().zip(fates).zip(volumes) {
        let goes = *fate == Fate::Pruned;
        if goes {
            let part = part_of(cut, pruning);
            let uncounted = part == Part::Snapshots && countable(cut, now).is_err();
            if uncounted || judge.cut(cut, part).is_some() || cut.group().is_some() {
                return Some(format!("VolumeSnapshot {} would go although something holds it", cut.key));
            }
        }
        if *fate != Fate::Outside && cut.is_good() {
            let (before, after) = ready.entry(*volume).or_default();
            *before += 1;
            *after += usize::from(!goes || cut.marks.prune_last);
        }
    }
    let short = ready.values().any(|(before, after)| *after < pruning.min_ready().min(*before));
    short.then(|| format!("a volume would be left with fewer than {} ready snapshots", pruning.min_ready()))
}

/// The same for what is left over: nothing goes that something holds, and no backend snapshot twice.
fn broken_relics(judge: &Judge<'_>, fates: &[Fate]) -> Option<String> {
    let going = judge.field.relics.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Pruned);
    let held = |(relic, _): &(&Relic, &Fate)| judge.relic(relic).is_some();
    let found = going.into_iter().find(held)?.0;
    Some(format!("{} {} would go although something holds it", found.thing(), found.key))
}

impl Plan {
    /// Places of the snapshots that go by count.
    pub fn going(&self) -> impl Iterator<Item = usize> {
        self.fates
            .iter()
            .enumerate()
            .filter(|(at, fate)| **fate == Fate::Pruned && !self.parts.contains_key(at))
            .map(|(at, _)| at)
    }

    /// The part that decides over a snapshot.
    #[must_use]
    pub fn part(&self, at: usize) -> Part {
        self.parts.get(&at).copied().unwrap_or(Part::Snapshots)
    }

    /// Everything that a part decides over, with its fate.
    pub fn of<'a>(&'a self, part: Part, field: &'a Field) -> impl Iterator<Item = (Item, Fate)> + 'a {
        let cuts = self.fates.iter().enumerate().filter(move |(at, _)| self.part(*at) == part);
        let relics = field.relics.iter().zip(&self.relics).enumerate();
        let relics = relics.filter(move |(_, (relic, _))| relic.part() == part);
        cuts.map(|(at, fate)| (Item::Cut(at), *fate))
            .chain(relics.map(|(at, (_, fate))| (Item::Relic(at), *fate)))
            .filter(|(_, fate)| *fate != Fate::Outside)
    }

    /// What goes by a part.
    pub fn going_of<'a>(&'a self, part: Part, field: &'a Field) -> impl Iterator<Item = Item> + 'a {
        self.of(part, field).filter(|(_, fate)| *fate == Fate::Pruned).map(|(item, _)| item)
    }

    /// How many snapshots are covered, kept, held and go by count.
    #[must_use]
    pub fn counts(&self) -> Counts {
        counts(self.fates.iter().enumerate().filter(|(at, _)| !self.parts.contains_key(at)).map(|(_, fate)| *fate))
    }

    /// The same of a part.
    #[must_use]
    pub fn counts_of(&self, part: Part, field: &Field) -> Counts {
        counts(self.of(part, field).map(|(_, fate)| fate))
    }

    /// How many snapshots are held, by reason.
    #[must_use]
    pub fn held_by(&self) -> BTreeMap<Hold, usize> {
        held_by(self.fates.iter().enumerate().filter(|(at, _)| !self.parts.contains_key(at)).map(|(_, fate)| *fate))
    }

    /// The same of a part.
    #[must_use]
    pub fn held_by_of(&self, part: Part, field: &Field) -> BTreeMap<Hold, usize> {
        held_by(self.of(part, field).map(|(_, fate)| fate))
    }

    /// The restore sizes of the snapshots that go by count, together.
    #[must_use]
    pub fn reclaimable(&self, field: &Field) -> u64 {
        self.reclaimable_of(Part::Snapshots, field)
    }

    /// The restore sizes of what goes by a part, together.
    #[must_use]
    pub fn reclaimable_of(&self, part: Part, field: &Field) -> u64 {
        let going = self.going_of(part, field).filter_map(|item| field.object(item));
        going.map(Object::size).fold(0, u64::saturating_add)
    }

    /// What an approval of the pruning by count approves: all that go, and the rules under which.
    #[must_use]
    pub fn hash(&self, field: &Field, pruning: &Pruning) -> Hash {
        self.hash_of(Part::Snapshots, field, pruning)
    }

    /// What an approval of a part approves.
    #[must_use]
    pub fn hash_of(&self, part: Part, field: &Field, pruning: &Pruning) -> Hash {
        let mut encoding = Encoding::of("prune/2");
        encoding.field("policy", pruning.name());
        encoding.field("part", part);
        // A pause does not make it another plan.
        let rules = Rules { suspended: false, pause: None, ..pruning.rules().clone() };
        encoding.field("rules", format!("{rules:?}"));
        let going = self.going_of(part, field).filter_map(|item| field.object(item));
        let mut uids: Vec<String> = going.map(|object| object.uid().to_string()).collect();
        uids.sort();
        encoding.list("uids", uids);
        encoding.hash()
    }

    /// The deletions of these parts, by volume, oldest first; at most so many, the oldest of all.
    #[must_use]
    pub fn lines(&self, field: &Field, parts: &[Part], most: usize) -> Vec<Line> {
        let volumes = volumes(field, &groups(field));
        let mut going: Vec<Item> = parts.iter().flat_map(|part| self.going_of(*part, field)).collect();
        going.sort_by_key(|item| field.object(*item).map(|object| (object.since(), object.key(), *item)));
        going.truncate(most);
        let mut lines: BTreeMap<Volume, Vec<Item>> = BTreeMap::new();
        for item in going {
            let volume = match item {
                Item::Cut(at) => volumes.get(at).copied().unwrap_or(Volume::Group(0)),
                Item::Relic(at) => {
                    let handle = field.relics.get(at).and_then(|relic| relic.volume);
                    handle.map_or(Volume::Alone(at), |handle| Volume::Handle(handle.get()))
                }
            };
            lines.entry(volume).or_default().push(item);
        }
        lines.into_iter().map(|(volume, items)| Line { volume, items }).collect()
    }

    /// Of each of these volumes the newest ready ones that stay, as many as have to.
    pub(super) fn staying(&self, field: &Field, pruning: &Pruning, lines: &[Line]) -> BTreeMap<Volume, Vec<usize>> {
        let mut staying: BTreeMap<Volume, Vec<usize>> = lines.iter().map(|line| (line.volume, Vec::new())).collect();
        let volumes = volumes(field, &groups(field));
        for (at, ((cut, fate), volume)) in field.cuts.iter().zip(&self.fates).zip(&volumes).enumerate() {
            let stays = cut.is_good() && matches!(fate, Fate::Kept(_) | Fate::Held(_));
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

fn counts(fates: impl Iterator<Item = Fate>) -> Counts {
    let mut counts = Counts::default();
    for fate in fates {
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

fn held_by(fates: impl Iterator<Item = Fate>) -> BTreeMap<Hold, usize> {
    let mut held = BTreeMap::new();
    for fate in fates {
        if let Fate::Held(hold) = fate {
            *held.entry(hold).or_default() += 1;
        }
    }
    held
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
