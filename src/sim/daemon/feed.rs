//! One watched source of the daemon: list, watch, silence, refusal, and what is told of each.
//!
//! It stands for `io::watch` on virtual time and keeps its manners one by one: a cut is silent, a failure is
//! said and resumed from the last version, only a complete list says what is gone. What a real watcher would
//! not tell the engine must not be told here either, or the simulation proves nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;

use super::line::{self, Line as Wire, Sent};
use super::{Broken, Sky};
use crate::domain::fact::{Fact, Source, SourceChange};
use crate::io::source::Place;
use crate::io::translate::{Line, Translator};
use crate::sim::store::{ChangeKind, Resource, Selector, Store, resource};

/// How long the server holds a watch open, and how much of that is jitter.
const WATCH: Duration = Duration::from_secs(280);
const WATCH_JITTER: Duration = Duration::from_secs(20);
/// A dead connection is given up so long after its last line, because it used to send bookmarks.
const DEAD: Duration = Duration::from_secs(150);
/// The server sends a bookmark this often.
const BOOKMARK: Duration = Duration::from_secs(60);
/// Silence after which the collection is asked on another connection.
const QUIET: Duration = Duration::from_secs(75);
/// Patience for that answer, and for the head of a watch's.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);
/// A resumed watch that has not been refused for so long goes on.
const CONFIRM: Duration = Duration::from_secs(1);
/// A watch cut sooner than this is resumed with a delay.
const SHORT: Duration = Duration::from_secs(5);
/// How often an absent kind and a refusal are looked at again; and how much of that is jitter.
const LOOK_AGAIN: Duration = Duration::from_secs(55);
const LOOK_AGAIN_JITTER: Duration = Duration::from_secs(10);
/// First delay after a failure, and the longest, before jitter doubles it at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(800), Duration::from_secs(15));
/// After a loss everything is taken in anew for so long.
const RECOVERING: Duration = Duration::from_secs(30);
/// How long a line is on its way.
const LATENCY: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(80));
/// The same when everything is slow.
const SLOWNESS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(20));

/// What the engine was last told of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Fine,
    Failing,
    Absent,
}

#[derive(Debug)]
enum Phase {
    /// The next request goes out then.
    Idle(Duration),
    /// A request goes unanswered until then.
    Hanging(Duration),
    Open(Watch),
}

/// An open watch.
#[derive(Debug)]
struct Watch {
    opened: Duration,
    closes: Duration,
    /// Last line, and last line or answer to a question about the silence.
    line: Duration,
    checked: Duration,
    bookmark: Duration,
    /// The connection is dead and nobody knows.
    stalled: bool,
    /// It was resumed, and has not been said to go on.
    unconfirmed: bool,
}

/// What travels to the daemon.
#[derive(Debug)]
enum Item {
    Began,
    Line(Wire),
    Ended(u64),
    Bookmark(u64),
}

/// One source; see the module.
#[derive(Debug)]
pub(super) struct Feed {
    source: Source,
    /// What is watched; `None` where the model has no such resource.
    pub(super) resource: Option<&'static Resource>,
    selector: Selector,
    translator: Translator,
    version: Option<u64>,
    listed: bool,
    told: Told,
    phase: Phase,
    queue: VecDeque<(Duration, Item)>,
    /// When something happens here next: asked for far more often than it changes.
    due: Duration,
    failures: u32,
    sky: Sky,
    /// Since when what is told of it may lag behind the cluster.
    lost: Option<Duration>,
    /// The last such time, and when it ended: what was said just then still rests on it.
    found: Option<(Duration, Duration)>,
    broken: Option<Broken>,
    rng: Rng,
}

impl Feed {
    pub(super) fn new(source: Source, at: Duration, broken: Option<Broken>, rng: Rng) -> Self {
        let place = Place::of(source);
        let resource = resource(place.group, place.plural);
        let selector = resource.and_then(|resource| selector(resource, place.selector)).unwrap_or_default();
        let mut feed = Self {
            source,
            resource,
            selector,
            translator: Translator::new(source),
            version: None,
            listed: false,
            told: Told::Fine,
            phase: Phase::Idle(at),
            queue: VecDeque::new(),
            due: at,
            failures: 0,
            sky: Sky::Fine,
            lost: None,
            found: None,
            broken,
            rng,
        };
        feed.phase = Phase::Idle(at + feed.draw(LATENCY));
        feed.reckon();
        feed
    }

    fn draw(&mut self, (least, most): (Duration, Duration)) -> Duration {
        crate::sim::process::draw(&mut self.rng, least, most)
    }

    /// When something happens here next.
    pub(super) fn due(&self) -> Duration {
        self.due
    }

    /// After whatever may have changed it.
    fn reckon(&mut self) {
        let timer = self.timer();
        self.due = self.queue.front().map_or(timer, |(at, _)| timer.min(*at));
    }

    fn timer(&self) -> Duration {
        match &self.phase {
            Phase::Idle(at) | Phase::Hanging(at) => *at,
            Phase::Open(watch) => {
                let ends = if watch.stalled { watch.line + DEAD } else { watch.closes.min(watch.bookmark) };
                let asked =
                    watch.checked + QUIET + if self.sky == Sky::Unreachable { PROBE_PATIENCE } else { Duration::ZERO };
                let confirmed = if watch.unconfirmed { watch.opened + CONFIRM } else { Duration::MAX };
                ends.min(asked).min(confirmed)
            }
        }
    }

    // === What happens to it ===

    /// The weather turns.
    pub(super) fn sky(&mut self, sky: Sky, at: Duration) {
        let was = std::mem::replace(&mut self.sky, sky);
        if was == sky {
            return;
        }
        // What could not be read is read again.
        if was == Sky::Garbled {
            self.relist(at);
        }
        match sky {
            Sky::Refused | Sky::Erring => self.cut(at),
            Sky::Unreachable => self.stall(at),
            Sky::Garbled => drop(self.lost.get_or_insert(at)),
            Sky::Fine | Sky::Slow => {}
        }
        self.reckon();
    }

    /// The connection dies without a word.
    pub(super) fn stall(&mut self, at: Duration) {
        if let Phase::Open(watch) = &mut self.phase {
            watch.stalled = true;
            self.queue.clear();
            self.lost.get_or_insert(at);
        }
        self.reckon();
    }

    /// The cluster as it was then is what is known of this source, give or take the way of a line.
    pub(super) fn known_up_to(&self, at: Duration) -> Duration {
        let recovering = self.found.filter(|(_, end)| at < *end + RECOVERING).map(|(begin, _)| begin);
        self.lost.or(recovering).unwrap_or(at)
    }

    fn is_found(&mut self, at: Duration) {
        // A watch that goes on tells nothing as long as its objects cannot be read.
        if self.sky == Sky::Garbled {
            return;
        }
        if let Some(begin) = self.lost.take() {
            self.found = Some((begin, at));
        }
    }

    /// The server closes the watch.
    pub(super) fn cut(&mut self, at: Duration) {
        if let Phase::Open(watch) = &self.phase {
            let lasted = at.saturating_sub(watch.opened);
            self.lose(at, if lasted >= SHORT { at } else { at + Duration::from_secs(1) });
        }
    }

    /// What was read is too old to go on from, or the stream can no longer be trusted: a new list.
    pub(super) fn relist(&mut self, at: Duration) {
        if matches!(self.phase, Phase::Open(_)) {
            self.version = None;
            self.lose(at, at);
        }
    }

    /// Breaks the watch off; the next request goes out at `next`.
    fn lose(&mut self, at: Duration, next: Duration) {
        // A list that breaks off has no version to go on from: it begins anew.
        self.queue.clear();
        self.lost.get_or_insert(at);
        self.phase = Phase::Idle(next);
        self.reckon();
    }

    /// A change in the cluster, on its way to whoever watches.
    pub(super) fn offer(&mut self, sent: &Sent<'_>, at: Duration) {
        let open = matches!(&self.phase, Phase::Open(watch) if !watch.stalled);
        if open && self.selector.matches(&sent.change.object) {
            self.send(Item::Line(sent.line().clone()), at);
            self.reckon();
        }
    }

    fn send(&mut self, item: Item, at: Duration) {
        let latency = if self.sky == Sky::Slow { SLOWNESS } else { LATENCY };
        let arrives = at + self.draw(latency);
        // A connection keeps its order.
        let arrives = self.queue.back().map_or(arrives, |(last, _)| arrives.max(*last));
        self.queue.push_back((arrives, item));
    }

    // === What it tells ===

    /// Does what is due.
    pub(super) fn advance(&mut self, at: Duration, store: &Store, facts: &mut Vec<Fact>) {
        loop {
            let timer = self.timer();
            if self.queue.front().is_some_and(|(arrives, _)| *arrives <= at && *arrives <= timer) {
                let Some((arrived, item)) = self.queue.pop_front() else { return self.reckon() };
                self.take(item, arrived, facts);
            } else if timer <= at {
                self.fire(timer, store, facts);
            } else {
                return self.reckon();
            }
        }
    }

    fn fire(&mut self, at: Duration, store: &Store, facts: &mut Vec<Fact>) {
        match &mut self.phase {
            Phase::Hanging(_) if self.sky == Sky::Unreachable => self.fail("the server does not answer", at, facts),
            Phase::Idle(_) | Phase::Hanging(_) => self.open(at, store, facts),
            Phase::Open(watch) if watch.stalled && at >= watch.line + DEAD => self.cut(at),
            Phase::Open(watch) if !watch.stalled && at >= watch.closes => self.cut(at),
            Phase::Open(watch) if !watch.stalled && at >= watch.bookmark => {
                watch.bookmark = at + BOOKMARK;
                self.send(Item::Bookmark(store.version()), at);
            }
            Phase::Open(watch) if watch.unconfirmed && at >= watch.opened + CONFIRM => {
                watch.unconfirmed = false;
                if !watch.stalled {
                    self.progress(facts);
                }
            }
            Phase::Open(watch) => {
                watch.checked = at;
                match self.sky {
                    Sky::Fine | Sky::Slow | Sky::Garbled => {
                        self.told = Told::Fine;
                        facts.push(Fact::Source(self.source, SourceChange::Answered));
                    }
                    Sky::Refused => self.refused(at, facts),
                    Sky::Erring | Sky::Unreachable => self.fail("the server does not answer", at, facts),
                }
            }
        }
    }

    fn open(&mut self, at: Duration, store: &Store, facts: &mut Vec<Fact>) {
        if self.broken == Some(Broken::GapIsDeletion) && self.listed {
            facts.push(Fact::Source(self.source, SourceChange::ListBegan));
            facts.push(Fact::Source(self.source, SourceChange::ListEnded));
        }
        match self.sky {
            Sky::Refused => return self.refused(at, facts),
            Sky::Erring => return self.fail("500 Internal Server Error", at, facts),
            Sky::Unreachable => return self.phase = Phase::Hanging(at + PATIENCE),
            Sky::Fine | Sky::Slow | Sky::Garbled => {}
        }
        let Some(resource) = self.resource.filter(|resource| store.serves(resource)) else {
            return self.not_installed(at, facts);
        };
        let closes = at + WATCH + self.draw((Duration::ZERO, WATCH_JITTER));
        let bookmark = at + BOOKMARK;
        let unconfirmed = self.version.is_some();
        match self.version.map(|version| store.changes_since(version)) {
            None => self.list(resource, at, store),
            Some(Ok(changes)) => {
                for change in changes.iter().filter(|change| change.resource == resource) {
                    if self.selector.matches(&change.object) {
                        self.send(Item::Line(line::of(change)), at);
                    }
                }
                self.is_found(at);
            }
            // Too old: a list comes next.
            Some(Err(_)) => {
                self.version = None;
                return self.phase = Phase::Idle(at);
            }
        }
        self.phase =
            Phase::Open(Watch { opened: at, closes, line: at, checked: at, bookmark, stalled: false, unconfirmed });
    }

    fn list(&mut self, resource: &'static Resource, at: Duration, store: &Store) {
        self.send(Item::Began, at);
        let objects: Vec<Wire> =
            store.list(resource, None).filter(|object| self.selector.matches(object)).map(|o| line::added(o)).collect();
        for object in objects {
            self.send(Item::Line(object), at);
        }
        self.send(Item::Ended(store.version()), at);
    }

    fn take(&mut self, item: Item, at: Duration, facts: &mut Vec<Fact>) {
        if let Phase::Open(watch) = &mut self.phase {
            watch.line = at;
            watch.checked = at;
        }
        let forgets = self.broken == Some(Broken::RelistForgets) && self.listed;
        match item {
            Item::Began => {
                self.translator.begin_list();
                if !forgets {
                    facts.push(Fact::Source(self.source, SourceChange::ListBegan));
                }
            }
            Item::Ended(version) => {
                if !forgets {
                    facts.push(Fact::Source(self.source, SourceChange::ListEnded));
                }
                self.version = Some(version);
                self.listed = true;
                self.is_found(at);
                self.failures = 0;
                self.told = Told::Fine;
            }
            Item::Bookmark(version) => {
                if self.version.is_some() {
                    self.version = Some(version);
                }
                self.progress(facts);
            }
            Item::Line(line) => self.line(&line, at, facts),
        }
    }

    fn line(&mut self, line: &Wire, at: Duration, facts: &mut Vec<Fact>) {
        let trusts = self.broken == Some(Broken::TrustsCopies) && self.source == Source::Contents;
        let other = match self.sky {
            Sky::Garbled => Some(line::garbled(line)),
            _ => trusts.then(|| line::made_here(line)),
        };
        let text: &Arc<str> = other.as_ref().unwrap_or(&line.text);
        let watching = self.version.is_some();
        match self.translator.line(text) {
            Ok(Line::Object(object)) => {
                facts.extend(object.fact.filter(|_| !self.is_deaf()));
                if watching && self.told == Told::Failing {
                    self.progress(facts);
                }
            }
            Ok(Line::Unreadable(unreadable)) => match unreadable.key {
                Some(key) => facts.push(Fact::Source(self.source, SourceChange::Unreadable(key))),
                None => return self.distrust(&unreadable.to_string(), at, facts),
            },
            Ok(Line::Bookmark { .. } | Line::Error(_)) => {}
            Err(garbage) => return self.distrust(&garbage.to_string(), at, facts),
        }
        // The objects of a list do not come in the order of their versions.
        if watching {
            self.version = Some(line.version);
        }
    }

    /// A broken daemon does not take it in.
    fn is_deaf(&self) -> bool {
        match self.broken {
            Some(Broken::NoLedger) => self.source == Source::Remediations,
            Some(Broken::OldPolicy) => self.source == Source::Policies && self.listed,
            _ => false,
        }
    }

    fn distrust(&mut self, words: &str, at: Duration, facts: &mut Vec<Fact>) {
        self.version = None;
        self.fail(words, at, facts);
    }

    fn progress(&mut self, facts: &mut Vec<Fact>) {
        self.told = Told::Fine;
        facts.push(Fact::Source(self.source, SourceChange::Progress));
    }

    fn fail(&mut self, words: &str, at: Duration, facts: &mut Vec<Fact>) {
        self.told = Told::Failing;
        let change = match self.broken {
            Some(Broken::FailuresUntold) => SourceChange::Progress,
            _ => SourceChange::Failing(words.into()),
        };
        facts.push(Fact::Source(self.source, change));
        let (least, most) = BACKOFF;
        let base = least.saturating_mul(1 << self.failures.min(6)).min(most);
        self.failures += 1;
        let pause = self.draw((base, base * 2));
        self.lose(at, at + pause);
    }

    fn refused(&mut self, at: Duration, facts: &mut Vec<Fact>) {
        facts.push(Fact::Source(self.source, SourceChange::Forbidden("403 Forbidden".into())));
        self.version = None;
        self.told = Told::Fine;
        self.look_again(at);
    }

    fn not_installed(&mut self, at: Duration, facts: &mut Vec<Fact>) {
        let known = self.told == Told::Absent;
        let change = if known { SourceChange::Progress } else { SourceChange::NotInstalled };
        facts.push(Fact::Source(self.source, change));
        self.version = None;
        self.told = Told::Absent;
        self.look_again(at);
    }

    fn look_again(&mut self, at: Duration) {
        let pause = self.draw((LOOK_AGAIN, LOOK_AGAIN + LOOK_AGAIN_JITTER));
        self.lose(at, at + pause);
    }
}

/// Everything of a source that a list tells.
pub(in crate::sim) fn listed(source: Source, store: &Store) -> Vec<Fact> {
    let place = Place::of(source);
    let Some(resource) = resource(place.group, place.plural).filter(|resource| store.serves(resource)) else {
        return Vec::new();
    };
    let selector = selector(resource, place.selector).unwrap_or_default();
    let selected = store.list(resource, None).filter(|object| selector.matches(object));
    selected.filter_map(|object| read(source, object)).collect()
}

/// What an object of a source tells.
pub(in crate::sim) fn read(source: Source, object: &Value) -> Option<Fact> {
    match Translator::new(source).line(&line::added(object).text) {
        Ok(Line::Object(object)) => object.fact,
        _ => None,
    }
}

/// What the daemon's query selects, in the store's terms.
fn selector(resource: &'static Resource, query: &str) -> Option<Selector> {
    let (key, value) = query.split_once('=')?;
    let value = value.replace("%21", "!").replace("%3D", "=").replace("%2F", "/");
    match key {
        "labelSelector" => Selector::parse(resource, &value, "").ok(),
        "fieldSelector" => Selector::parse(resource, "", &value).ok(),
        _ => None,
    }
}

/// The verb of a watch line.
pub(super) fn verb(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Added => "ADDED",
        ChangeKind::Modified => "MODIFIED",
        ChangeKind::Deleted => "DELETED",
    }
}
