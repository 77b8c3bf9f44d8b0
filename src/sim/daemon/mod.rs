//! The daemon's shell in the model: the real engine, fed from the embedded cluster's store.
//!
//! It stands for `app`, `driver` and `io` on virtual time: feeds bring facts, reads are answered, a tick comes
//! when the engine asked for one, and what it wants written is written while it leads. Lines are read by the same
//! translator as a real server's. What lies between the API and the daemon is its [`Weather`], which a fault
//! script changes; what it wrote is in its journal.

mod feed;
pub mod journal;
pub mod leader;
mod line;
mod lists;
mod prune;
mod reads;
mod wire;
mod writes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use jiff::SignedDuration;

use crate::domain::engine::{Effect, Engine, Settings};
use crate::domain::fact::{Answer, Fact, Now, Probe, Source};
use crate::domain::finding::{Class, Finding, Subject};
use crate::sim::cluster::Cluster;
use crate::sim::store::Resource;
use feed::Feed;
use journal::Entry;
use leader::Leader;
use prune::Pruner;
use reads::Reads;
use writes::Writes;

pub(in crate::sim) use feed::{listed, read};
pub use line::Sent;
pub(in crate::sim) use reads::answer;
pub use wire::Writing;

/// The monotonic clock of a process does not begin at zero.
const STARTED: Duration = Duration::from_secs(1);
/// A deadline that stays in the past must not spin the loop.
const SHORTEST_SLEEP: Duration = Duration::from_millis(20);

/// What lies between the API server and one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sky {
    /// All is well.
    #[default]
    Fine,
    /// Every line takes seconds.
    Slow,
    /// The server answers 403.
    Refused,
    /// The server answers 500.
    Erring,
    /// Nothing comes back, not even a refusal.
    Unreachable,
    /// Objects arrive in a shape that cannot be read.
    Garbled,
}

impl Sky {
    fn trouble(self) -> Option<&'static str> {
        match self {
            Self::Fine | Self::Slow | Self::Garbled => None,
            Self::Refused => Some("403 Forbidden"),
            Self::Erring => Some("500 Internal Server Error"),
            Self::Unreachable => Some("timed out"),
        }
    }
}

/// How single reads fare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// They are answered at once.
    #[default]
    Fine,
    /// They are answered late.
    Slow,
    /// They are never answered.
    Hung,
    /// They are answered with an error.
    Failing,
}

/// Everything between the API server and the daemon.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    skies: BTreeMap<Source, Sky>,
    /// How single reads fare.
    pub reads: Reading,
    /// How writes fare.
    pub writes: Writing,
    /// RBAC refuses `pods/log`.
    pub logs_refused: bool,
    /// How far our wall clock is ahead of the cluster's.
    pub skew: SignedDuration,
}

impl Weather {
    /// Of one source.
    #[must_use]
    pub fn sky(&self, source: Source) -> Sky {
        self.skies.get(&source).copied().unwrap_or_default()
    }
}

/// A daemon that is wrong on purpose: what the invariants are worth is seen by whether they notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A watch that broke off is taken for the deletion of everything it had shown.
    GapIsDeletion,
    /// What is two hours too early counts as late enough.
    FloorsIgnored,
    /// The absence of a VolumeSnapshot is never asked for: it is taken for granted.
    NeverAsks,
    /// A new list adds and never takes away.
    RelistForgets,
    /// Whatever the driver answers is taken for a lock that is held.
    EveryErrorIsALock,
    /// The silence of leases is measured with the wall clock.
    WallForLeases,
    /// It acts on what it read minutes ago, and without a precondition on the version.
    StaleView,
    /// It takes itself for the leader.
    NoLease,
    /// It takes the finalizer of a live object.
    StripsLive,
    /// It forgets what is in the ledger.
    NoLedger,
    /// A content copied from another cluster looks to it like one that was made here.
    TrustsCopies,
    /// It takes a record for stored without storing it.
    NoIntent,
    /// It never hears of a change of the policy.
    OldPolicy,
    /// It takes what is left behind for entered without entering it.
    NoOrphans,
    /// A source that cannot be read looks to it like one in which nothing happens.
    FailuresUntold,
    /// It takes everybody to have agreed that the last ready snapshots of a volume go.
    PrunesLast,
}

impl Broken {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::GapIsDeletion,
        Self::FloorsIgnored,
        Self::NeverAsks,
        Self::RelistForgets,
        Self::EveryErrorIsALock,
        Self::WallForLeases,
        Self::StaleView,
        Self::NoLease,
        Self::StripsLive,
        Self::NoLedger,
        Self::TrustsCopies,
        Self::NoIntent,
        Self::OldPolicy,
        Self::NoOrphans,
        Self::FailuresUntold,
        Self::PrunesLast,
    ];
}

/// When a process ends over a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It wanted to send it.
    Unsent,
    /// It has arrived, and is not answered.
    Unanswered,
}

/// The write at which a process ends: this many from now on, if at all.
#[derive(Clone, Copy, Debug, Default)]
struct Doom(Option<(u32, Moment)>);

impl Doom {
    /// Counts a write; whether it is the one at which the process ends.
    fn meets(&mut self, at: Moment) -> bool {
        let Some((skip, moment)) = &mut self.0 else { return false };
        let ends = *moment == at && *skip == 0;
        *skip = skip.saturating_sub(u32::from(*moment == at));
        ends
    }
}

/// The monotonic clock of a process.
#[derive(Clone, Copy, Debug)]
struct Clock {
    born: Duration,
}

impl Clock {
    /// A moment of it on the cluster's clock.
    fn time_of(self, mono: Duration) -> Duration {
        mono.saturating_sub(STARTED).saturating_add(self.born)
    }
}

/// What it said, and when by the true clock.
#[derive(Clone, Debug)]
pub struct Said {
    /// When.
    pub at: Duration,
    /// What.
    pub what: Word,
}

/// What a daemon says of a subject.
#[derive(Clone, Debug)]
pub enum Word {
    /// A finding appeared.
    Found(Box<Finding>),
    /// A finding is over.
    Cleared(Subject, Class),
}

/// The daemon; see the module.
#[derive(Debug)]
pub struct Daemon {
    engine: Engine,
    feeds: Vec<Feed>,
    /// When the first of the feeds has something to do.
    feeds_due: Duration,
    /// The places of the feeds of each resource.
    routes: BTreeMap<&'static Resource, Vec<usize>>,
    reads: Reads,
    leader: Leader,
    writes: Writes,
    pruner: Pruner,
    journal: Vec<Entry>,
    /// Who this process is in the ledger and in the lease: another one after each start.
    identity: Arc<str>,
    seed: u64,
    starts: u32,
    /// It stands still until then.
    frozen_until: Duration,
    /// It ends at a write to come: before that is sent, or before its answer comes.
    doom: Doom,
    /// What it has to live with. Skies are turned with [`Daemon::turn`].
    pub weather: Weather,
    born: Duration,
    /// The store's version up to which changes were handed to the feeds.
    seen: u64,
    ticked: Duration,
    /// When something happens here next.
    due: Duration,
    said: Vec<Said>,
    steps: u64,
    broken: Option<Broken>,
    rng: Rng,
}

impl Daemon {
    /// Starts one at the cluster's present.
    #[must_use]
    pub fn start(seed: u64, cluster: &Cluster, broken: Option<Broken>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let at = cluster.now().mono;
        let identity = identity(seed, 1);
        let mut daemon = Self {
            engine: engine(&identity),
            feeds: Vec::new(),
            feeds_due: at,
            routes: BTreeMap::new(),
            reads: Reads::new(broken, rng.fork()),
            leader: Leader::new(&identity, rng.fork()),
            writes: Writes::new(&identity, broken, rng.fork()),
            pruner: Pruner::new(&identity, at, broken, rng.fork()),
            journal: Vec::new(),
            identity,
            seed,
            starts: 1,
            frozen_until: Duration::ZERO,
            doom: Doom::default(),
            weather: Weather::default(),
            born: at,
            seen: cluster.store.version(),
            ticked: at,
            due: at,
            said: Vec::new(),
            steps: 0,
            broken,
            rng,
        };
        daemon.connect(at);
        daemon
    }

    /// The process ends and starts again: everything it knew is gone, the weather stays.
    pub fn crash(&mut self, cluster: &Cluster) {
        let at = cluster.now().mono;
        self.starts += 1;
        self.identity = identity(self.seed, self.starts);
        self.engine = engine(&self.identity);
        self.reads = Reads::new(self.broken, self.rng.fork());
        self.leader = Leader::new(&self.identity, self.rng.fork());
        self.writes.restart(&self.identity);
        self.pruner.restart(&self.identity, at);
        self.frozen_until = Duration::ZERO;
        self.doom = Doom::default();
        self.born = at;
        self.ticked = at;
        self.seen = cluster.store.version();
        self.connect(at);
        for (source, sky) in self.weather.skies.clone() {
            self.turn(source, sky, at);
        }
    }

    fn connect(&mut self, at: Duration) {
        let (broken, rng) = (self.broken, &mut self.rng);
        self.feeds = Source::ALL.into_iter().map(|source| Feed::new(source, at, broken, rng.fork())).collect();
        self.routes.clear();
        for (place, feed) in self.feeds.iter().enumerate() {
            if let Some(resource) = feed.resource {
                self.routes.entry(resource).or_default().push(place);
            }
        }
        self.feeds_changed();
    }

    // === Faults ===

    fn feed(&mut self, source: Source) -> Option<&mut Feed> {
        Source::ALL.iter().position(|one| *one == source).and_then(|place| self.feeds.get_mut(place))
    }

    /// Turns the weather over one source.
    pub fn turn(&mut self, source: Source, sky: Sky, at: Duration) {
        self.weather.skies.insert(source, sky);
        if let Some(feed) = self.feed(source) {
            feed.sky(sky, at);
        }
        self.feeds_changed();
    }

    /// The process will end, and start again, at a write to come: `skip` others go well before.
    pub fn doom(&mut self, skip: u32, moment: Moment) {
        self.doom = Doom(Some((skip, moment)));
    }

    /// The process stands still until then, as one that gets no processor; what it had sent goes on.
    pub fn freeze(&mut self, until: Duration) {
        self.frozen_until = self.frozen_until.max(until);
        self.reckon();
    }

    /// The watch's connection dies without a word.
    pub fn stall(&mut self, source: Source, at: Duration) {
        if let Some(feed) = self.feed(source) {
            feed.stall(at);
        }
        self.feeds_changed();
    }

    /// The server closes the watch.
    pub fn cut(&mut self, source: Source, at: Duration) {
        if let Some(feed) = self.feed(source) {
            feed.cut(at);
        }
        self.feeds_changed();
    }

    /// The server no longer knows the version the watch had come to.
    pub fn expire(&mut self, source: Source, at: Duration) {
        if let Some(feed) = self.feed(source) {
            feed.relist(at);
        }
        self.feeds_changed();
    }

    // === Time ===

    /// The present as this process sees it.
    #[must_use]
    pub fn now(&self, cluster: &Cluster) -> Now {
        let now = cluster.now();
        let mut wall = now.wall.saturating_add(self.weather.skew).unwrap_or(now.wall);
        let mut mono = now.mono.saturating_sub(self.born) + STARTED;
        match self.broken {
            Some(Broken::FloorsIgnored) => wall = wall.saturating_add(SignedDuration::from_hours(2)).unwrap_or(wall),
            Some(Broken::WallForLeases) => {
                mono += Duration::try_from(self.weather.skew).unwrap_or_default();
            }
            _ => {}
        }
        Now { wall, mono }
    }

    /// When something happens here next, on the cluster's clock.
    #[must_use]
    pub fn due(&self) -> Duration {
        self.due
    }

    fn feeds_changed(&mut self) {
        self.feeds_due = self.feeds.iter().map(Feed::due).min().unwrap_or(Duration::MAX);
        self.reckon();
    }

    fn reckon(&mut self) {
        let leader = self.leader.due(self.clock());
        let next =
            [Some(self.feeds_due), self.reads.due(), leader, self.writes.due(), self.pruner.due(), self.tick_due()];
        let ours = next.into_iter().flatten().min().unwrap_or(Duration::MAX).max(self.frozen_until);
        self.due = [self.leader.arrives(), self.writes.arrives(), self.pruner.arrives()]
            .into_iter()
            .flatten()
            .fold(ours, Duration::min);
    }

    fn clock(&self) -> Clock {
        Clock { born: self.born }
    }

    fn tick_due(&self) -> Option<Duration> {
        let wake = (self.engine.wake_at()?.saturating_sub(STARTED)).saturating_add(self.born);
        Some(wake.max(self.ticked + SHORTEST_SLEEP))
    }

    /// Takes in what was written in the cluster since the last time.
    pub fn hear(&mut self, sent: &[Sent<'_>], at: Duration) {
        for sent in sent {
            if sent.change.version <= self.seen {
                continue;
            }
            self.seen = sent.change.version;
            for place in self.routes.get(sent.change.resource).into_iter().flatten() {
                if let Some(feed) = self.feeds.get_mut(*place) {
                    feed.offer(sent, at);
                    self.feeds_due = self.feeds_due.min(feed.due());
                    self.due = self.due.min(self.feeds_due.max(self.frozen_until));
                }
            }
        }
    }

    /// Does everything that is due at the cluster's present.
    pub fn advance(&mut self, cluster: &mut Cluster) {
        let at = cluster.now().mono;
        self.leader.arrive(at, cluster, &mut self.journal);
        let known = self.journal.len();
        self.writes.arrive(at, &self.weather, cluster, &mut self.journal);
        self.pruner.arrive(at, cluster, &mut self.journal);
        let arrived = self.journal.len().saturating_sub(known);
        let ends = (0..arrived).fold(false, |ends, _| self.doom.meets(Moment::Unanswered) || ends);
        if ends || (at >= self.frozen_until && self.run(at, cluster)) {
            self.crash(cluster);
        }
        self.reckon();
    }

    /// Does what the process has to do; whether it ends over it.
    fn run(&mut self, at: Duration, cluster: &Cluster) -> bool {
        let mut facts = Vec::new();
        let now = self.now(cluster);
        if self.leader.advance(now, self.clock(), &self.weather) {
            facts.push(Fact::Leadership(self.leads_until()));
        }
        let sky = writes::Sky { now, clock: self.clock(), weather: &self.weather, leads_until: self.leads_until() };
        facts.extend(self.writes.advance(sky));
        if self.feeds_due <= at {
            for feed in self.feeds.iter_mut().filter(|feed| feed.due() <= at) {
                feed.advance(at, &cluster.store, &mut facts);
            }
            self.feeds_due = self.feeds.iter().map(Feed::due).min().unwrap_or(Duration::MAX);
        }
        facts.extend(self.reads.advance(at, &self.weather, cluster));
        for fact in facts {
            if let Fact::Answered(Probe::Look { kind, key }, Answer::Look(looked)) = &fact {
                self.writes.overhear(*kind, key, looked, at);
            }
            if self.step(fact, cluster) {
                return true;
            }
        }
        let ticks = self.tick_due().is_some_and(|due| due <= at);
        if ticks {
            self.ticked = at;
        }
        (ticks && self.step(Fact::Tick, cluster)) || self.prune(at, cluster)
    }

    /// Goes on with pruning; whether the process ends over it.
    fn prune(&mut self, at: Duration, cluster: &Cluster) -> bool {
        if self.pruner.due().is_none_or(|due| due > at) {
            return false;
        }
        let (now, leads_until) = (self.now(cluster), self.leads_until());
        let sky = writes::Sky { now, clock: self.clock(), weather: &self.weather, leads_until };
        self.pruner.advance(sky, &self.engine, cluster, &mut self.doom)
    }

    fn leads_until(&self) -> Option<Duration> {
        if self.broken == Some(Broken::NoLease) { Some(Duration::MAX) } else { self.leader.leads_until() }
    }

    /// Takes one fact in; whether the process ends over it.
    fn step(&mut self, fact: Fact, cluster: &Cluster) -> bool {
        self.steps += 1;
        let now = self.now(cluster);
        for effect in self.engine.step(fact, now) {
            let writes =
                matches!(effect, Effect::Record(_) | Effect::Announce(..) | Effect::Act(_) | Effect::Forget(_));
            if writes && self.doom.meets(Moment::Unsent) {
                return true;
            }
            self.obey(effect, now, cluster);
        }
        false
    }

    /// Does what the engine asks for. What asks for a write is carried out here and nowhere else.
    fn obey(&mut self, effect: Effect, now: Now, cluster: &Cluster) {
        let at = cluster.now().mono;
        let sky = writes::Sky { now, clock: self.clock(), weather: &self.weather, leads_until: self.leads_until() };
        match effect {
            Effect::Probe(probe) => self.reads.ask(probe, &self.weather, at),
            Effect::Found(finding) => self.said.push(Said { at, what: Word::Found(finding) }),
            Effect::Cleared(subject, class) => self.said.push(Said { at, what: Word::Cleared(subject, class) }),
            Effect::Record(record) => self.writes.record(record, sky),
            Effect::Announce(orphan, record) => self.writes.announce(orphan, record, sky),
            Effect::Act(guarded) => self.writes.act(guarded, sky),
            Effect::Forget(name) => self.writes.forget(name, sky),
        }
    }

    // === What it knows ===

    /// Its engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The cluster as it was then is what it can know by now of these sources, give or take the way of a line.
    #[must_use]
    pub fn known_up_to(&self, sources: &[Source], at: Duration) -> Duration {
        let known = Source::ALL.iter().zip(&self.feeds).filter(|(source, _)| sources.contains(source));
        known.map(|(_, feed)| feed.known_up_to(at)).min().unwrap_or(at)
    }

    /// What it has said since the last time this was asked.
    pub fn take_said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    /// What it has written since the last time this was asked.
    pub fn take_written(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.journal)
    }

    /// Who the process is in the ledger and in the lease.
    #[must_use]
    pub fn identity(&self) -> &Arc<str> {
        &self.identity
    }

    /// Facts it has taken in since it was first started.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// When the process began, on the cluster's clock.
    #[must_use]
    pub fn born(&self) -> Duration {
        self.born
    }
}

fn identity(seed: u64, start: u32) -> Arc<str> {
    format!("volwarden-{seed:x}-{start}").into()
}

fn engine(identity: &Arc<str>) -> Engine {
    Engine::new(Settings { identity: Arc::clone(identity), ..Settings::default() })
}
