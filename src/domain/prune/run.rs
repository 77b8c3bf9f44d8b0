//! One run: which deletion may be sent next, and what became of those that were.
//!
//! One volume's deletions follow each other, oldest first, and each has to be verified gone before the next: a driver
//! that hangs on one snapshot of a volume hangs on the next, too, and what is piled up then has to be cleared by hand.
//! A deletion that hangs stops its volume and no other. The run lives in one process; when that ends, what is left
//! goes with the next run.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::field::Field;
use super::part::Part;
use super::plan::{Item, Line, Object, Plan};
use super::policy::Pruning;
use super::relic::{Detail, Kept, Temporary, Thing};
use crate::domain::fact::Now;
use crate::domain::ledger::Outcome;
use crate::domain::name::{Key, Uid};
use crate::domain::policy::Mode;

/// A deletion that is not verified after so long hangs.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// A run whose next deletion was held for so long ends.
pub const HELD: Duration = Duration::from_secs(1800);
/// So many are under way at the same time.
const IN_FLIGHT: usize = 16;
/// What the rate is counted over.
const MINUTE: Duration = Duration::from_secs(60);

/// One deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The part of the policy by which it goes.
    pub part: Part,
    /// The object's kind.
    pub thing: Thing,
    /// The object.
    pub key: Key,
    /// Its uid: a precondition.
    pub uid: Uid,
    /// Its version when the plan was made: a precondition. Whatever has changed since is planned anew.
    pub version: Box<str>,
    /// The content of a VolumeSnapshot: it goes with it.
    pub content: Option<Key>,
    /// Its driver, if it has one.
    pub driver: Option<Arc<str>>,
    /// Those of its volume that have to be there, and ready, when it goes.
    pub staying: Arc<[(Key, Uid)]>,
    /// What is known of a retained content: its policy is switched to Delete first.
    pub kept: Option<Kept>,
    /// What VolSync says of it.
    pub temporary: Option<Temporary>,
}

impl Order {
    fn of(object: Object<'_>, part: Part, staying: &Arc<[(Key, Uid)]>) -> Self {
        let (version, driver, content) = match object {
            Object::Cut(cut) => {
                let bare = cut.extra.as_ref().is_some_and(|extra| extra.failed.is_some_and(|failed| failed.bare));
                (&cut.version, &cut.driver, (!bare).then(|| Key::cluster(cut.content())))
            }
            Object::Relic(relic) => (&relic.version, &relic.driver, None),
        };
        let (kept, temporary) = match object {
            Object::Cut(cut) => (None, cut.extra.as_ref().and_then(|extra| extra.temporary.clone())),
            Object::Relic(relic) => match &relic.detail {
                Detail::Content(kept) => (Some(kept.clone()), None),
                Detail::Claim(temporary) | Detail::Job(temporary) => (None, Some(temporary.clone())),
            },
        };
        Self {
            part,
            thing: object.thing(),
            key: object.key().clone(),
            uid: object.uid().clone(),
            version: version.clone(),
            content,
            driver: driver.clone(),
            staying: if object.thing() == Thing::Snapshot { Arc::clone(staying) } else { Arc::default() },
            kept,
            temporary,
        }
    }

    fn driver(&self) -> Arc<str> {
        self.driver.clone().unwrap_or_default()
    }
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.thing, self.key)
    }
}

/// What a deletion is asked a pass for with, beside what the engine knows.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The deletion.
    pub order: Order,
    /// The policy's name.
    pub policy: Arc<str>,
    /// Its mode.
    pub mode: Mode,
    /// This very plan is approved.
    pub approved: bool,
    /// It is suspended, or paused.
    pub suspended: bool,
    /// The policy names this driver.
    pub in_scope: bool,
    /// So many were sent in this run ...
    pub sent: usize,
    /// ... of so many.
    pub limit: usize,
    /// So many of the driver in the last minute ...
    pub sent_in_minute: usize,
    /// ... of so many.
    pub per_minute: usize,
    /// So long ago the policy was read last.
    pub unread: Duration,
    /// Whether a window is open, else when one opens.
    pub window: Result<(), Option<Timestamp>>,
}

/// What a look at something deleted showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is gone, and a VolumeSnapshot's content with it.
    Gone,
    /// One of them is.
    There,
    /// It cannot be told.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its next deletion may be sent.
    Free,
    /// The first of its line was sent then, and is not verified.
    Sent(Duration),
    /// The first of its line hangs.
    Hangs,
    /// It was refused: nothing more of this volume is sent.
    Stopped,
}

#[derive(Clone, Debug)]
struct Track {
    orders: VecDeque<Order>,
    state: State,
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Planned.
    pub planned: usize,
    /// Sent.
    pub sent: usize,
    /// Verified gone.
    pub deleted: usize,
    /// Sent, and hanging.
    pub hanging: usize,
    /// Changed since the plan, and left alone.
    pub changed: usize,
    /// The first words of a refusal.
    pub refused: Option<String>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    tracks: Vec<Track>,
    /// When deletions of each driver were sent, in the last minute.
    sent: BTreeMap<Arc<str>, VecDeque<Duration>>,
    per_minute: usize,
    limit: usize,
    tally: Tally,
    /// Since when a guard holds everything that could be sent, and why.
    held: Option<(Duration, String)>,
    ended: bool,
}

impl Run {
    /// The run that carries the pruning by count out.
    #[must_use]
    pub fn of(plan: &Plan, field: &Field, pruning: &Pruning) -> Self {
        Self::of_parts(plan, field, pruning, &[Part::Snapshots])
    }

    /// The run that carries these parts of a plan out.
    #[must_use]
    pub fn of_parts(plan: &Plan, field: &Field, pruning: &Pruning, parts: &[Part]) -> Self {
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let limit = number(pruning.rules().max_deletions);
        let lines = plan.lines(field, parts, limit);
        let mut staying = plan.staying(field, pruning, &lines);
        let part = |item: Item| match item {
            Item::Cut(at) => plan.part(at),
            Item::Relic(at) => field.relics.get(at).map_or(Part::Snapshots, super::relic::Relic::part),
        };
        let track = |line: Line| {
            let stay = staying.remove(&line.volume).unwrap_or_default().into_iter();
            let stay = stay.filter_map(|at| field.cuts.get(at)).map(|cut| (cut.key.clone(), cut.uid.clone())).collect();
            let order = |item: Item| Some(Order::of(field.object(item)?, part(item), &stay));
            Track { orders: line.items.into_iter().filter_map(order).collect(), state: State::Free }
        };
        let tracks: Vec<Track> = lines.into_iter().map(track).collect();
        let planned = tracks.iter().map(|track| track.orders.len()).sum();
        Self {
            tracks,
            sent: BTreeMap::new(),
            per_minute: number(pruning.rules().per_minute),
            limit,
            tally: Tally { planned, ..Tally::default() },
            held: None,
            ended: false,
        }
    }

    /// How far it is.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What holds it, in words.
    #[must_use]
    pub fn held(&self) -> Option<&str> {
        self.held.as_ref().map(|(_, why)| why.as_str())
    }

    /// Nothing more of it is sent: what is under way is verified, and then it is over.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Whether there is nothing left to do.
    #[must_use]
    pub fn over(&self) -> bool {
        let waits = |track: &Track| match track.state {
            State::Sent(_) => true,
            State::Free => !self.ended && !track.orders.is_empty(),
            State::Hangs | State::Stopped => false,
        };
        !self.tracks.iter().any(waits)
    }

    /// The deletions that may be asked a pass for now, by number.
    #[must_use]
    pub fn next(&self, now: Duration) -> Vec<(usize, &Order)> {
        let in_flight = self.tracks.iter().filter(|track| matches!(track.state, State::Sent(_))).count();
        if self.ended || self.tally.sent >= self.limit {
            return Vec::new();
        }
        let mut room: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        let mut next = Vec::new();
        for (number, track) in self.tracks.iter().enumerate().filter(|(_, track)| track.state == State::Free) {
            let Some(order) = track.orders.front() else { continue };
            let driver = order.driver();
            let sent = self.in_minute(&driver, now);
            let left = room.entry(driver).or_insert_with(|| self.per_minute.saturating_sub(sent));
            if *left > 0 && in_flight + next.len() < IN_FLIGHT && self.tally.sent + next.len() < self.limit {
                *left -= 1;
                next.push((number, order));
            }
        }
        next
    }

    fn in_minute(&self, driver: &str, now: Duration) -> usize {
        let sent = self.sent.get(driver);
        sent.map_or(0, |times| times.iter().filter(|at| now.saturating_sub(**at) < MINUTE).count())
    }

    /// What a pass is asked for with.
    #[must_use]
    pub fn ask(&self, order: &Order, pruning: &Pruning, approved: bool, read: Duration, now: Now) -> Ask {
        let drivers = &pruning.rules().drivers;
        Ask {
            order: order.clone(),
            policy: Arc::clone(pruning.name()),
            mode: pruning.mode_of(order.part).unwrap_or(Mode::Observe),
            approved,
            suspended: pruning.rules().suspended || pruning.paused(now.wall).is_some(),
            // A Job is no driver's.
            in_scope: drivers.is_empty()
                || order.thing == Thing::Job
                || order.driver.as_ref().is_some_and(|driver| drivers.contains(driver)),
            sent: self.tally.sent,
            limit: self.limit,
            sent_in_minute: self.in_minute(&order.driver(), now.mono),
            per_minute: self.per_minute,
            unread: now.mono.saturating_sub(read),
            window: pruning.may_begin(now.wall),
        }
    }

    /// A guard holds a deletion. When it has done so for long, the run ends.
    pub fn hold(&mut self, why: String, now: Duration) {
        let since = self.held.as_ref().map_or(now, |(since, _)| *since);
        self.held = Some((since, why));
        if now.saturating_sub(since) >= HELD {
            self.ended = true;
        }
    }

    /// Something holds this very snapshot: it is left alone, and the next of its volume has its turn.
    pub fn skip(&mut self, number: usize) {
        if let Some(track) = self.tracks.get_mut(number).filter(|track| track.state == State::Free)
            && track.orders.pop_front().is_some()
        {
            self.tally.changed += 1;
        }
    }

    /// A deletion was sent, with this outcome.
    pub fn sent(&mut self, number: usize, outcome: Outcome, words: &str, now: Duration) {
        let Some(track) = self.tracks.get_mut(number).filter(|track| track.state == State::Free) else { return };
        let Some(order) = track.orders.front() else { return };
        self.held = None;
        match outcome {
            // Without an answer it may have happened: that it is gone is waited for all the same.
            Outcome::Applied | Outcome::Unreachable | Outcome::Interrupted => {
                let times = self.sent.entry(order.driver()).or_default();
                times.retain(|at| now.saturating_sub(*at) < MINUTE);
                times.push_back(now);
                self.tally.sent += 1;
                track.state = State::Sent(now);
            }
            Outcome::Lost => {
                track.orders.pop_front();
                self.tally.changed += 1;
            }
            Outcome::Denied => {
                track.state = State::Stopped;
                self.tally.refused.get_or_insert_with(|| format!("{order}: {words}"));
            }
        }
    }

    /// Deletions that are to be looked at, by number.
    pub fn in_flight(&self) -> impl Iterator<Item = (usize, &Order)> {
        let sent = self.tracks.iter().enumerate();
        let sent = sent.filter(|(_, track)| matches!(track.state, State::Sent(_) | State::Hangs));
        sent.filter_map(|(number, track)| Some((number, track.orders.front()?)))
    }

    /// Those that hang.
    pub fn hanging(&self) -> impl Iterator<Item = &Order> {
        let hang = self.tracks.iter().filter(|track| track.state == State::Hangs);
        hang.filter_map(|track| track.orders.front())
    }

    /// What a look at one showed; the deletion that is verified by it.
    pub fn seen(&mut self, number: usize, seen: Seen, now: Duration) -> Option<Order> {
        let track = self.tracks.get_mut(number)?;
        match (track.state, seen) {
            (State::Sent(_) | State::Hangs, Seen::Gone) => {
                self.tally.hanging -= usize::from(track.state == State::Hangs);
                self.tally.deleted += 1;
                track.state = State::Free;
                return track.orders.pop_front();
            }
            (State::Sent(at), Seen::There | Seen::Unknown) if now.saturating_sub(at) >= PATIENCE => {
                self.tally.hanging += 1;
                track.state = State::Hangs;
            }
            _ => {}
        }
        None
    }
}
