//! The engine on a clock, in a cluster that the test changes and the engine sees through watches and reads.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::needless_for_each,
    clippy::unnecessary_wraps,
    clippy::unchecked_time_subtraction,
    clippy::single_match_else,
    reason = "a case that cannot be built may stop where it stands"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use volwarden::domain::engine::{Effect, Engine, Settings};
use volwarden::domain::fact::{Answer, Change, Fact, Live, LogTail, Now, Probe, Source, SourceChange};
use volwarden::domain::finding::{Class, Finding, Subject};
use volwarden::domain::name::{Key, Uid};
use volwarden::domain::record::{EventRecord, Kind};
use volwarden::domain::remedy::fresh::Looked;

use crate::cluster::{self, SOURCES};
use crate::lab;

/// What live reads answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// What is in the cluster.
    Truth,
    /// That nothing is there.
    Absent,
    /// That something else has the name.
    Other,
    /// An error.
    Unknown,
    /// Nothing, ever.
    Mute,
}

/// What the sidecars' logs hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    Forbidden,
    Failed,
    /// The failures that the cluster's events tell of.
    Truth,
    /// A lock on every content of the universe.
    Locked,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// An object changes, and the watch says so.
    Told(Fact),
    /// An object changes while the watch is cut.
    Missed(Fact),
    /// So many contents of one driver hang.
    Storm(usize, usize),
    /// The collection is listed anew; `true`: the list breaks off.
    Relist(Source, bool),
    Refused(Source),
    Failing(Source),
    Alive(Source),
    Reads(Reads),
    Log(Log),
    /// Time passes; `true`: leaders renew their leases.
    Pass(u64, bool),
    /// Our wall clock jumps.
    Jump(i64),
}

pub(crate) fn any_reads() -> impl Strategy<Value = Reads> {
    select(&[Reads::Truth, Reads::Truth, Reads::Absent, Reads::Other, Reads::Unknown, Reads::Mute][..])
}

pub(crate) fn any_log() -> impl Strategy<Value = Log> {
    select(&[Log::Truth, Log::Truth, Log::Forbidden, Log::Failed, Log::Locked][..])
}

pub(crate) fn source() -> impl Strategy<Value = Source> {
    select(&SOURCES[..])
}

pub(crate) fn pass() -> impl Strategy<Value = Op> {
    (select(&[1, 10, 31, 61, 125, 400, 1_000][..]), any::<bool>()).prop_map(|(seconds, beat)| Op::Pass(seconds, beat))
}

/// Anything that can happen but a jump of the clock.
pub(crate) fn op() -> impl Strategy<Value = Op> {
    with(cluster::object().boxed())
}

/// The same without a name that is used again.
pub(crate) fn op_once() -> impl Strategy<Value = Op> {
    with(cluster::object_once().boxed())
}

fn with(object: BoxedStrategy<Fact>) -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => object.clone().prop_map(Op::Told),
        2 => object.prop_map(Op::Missed),
        1 => (4..7_usize, 0..2_usize).prop_map(|(count, driver)| Op::Storm(count, driver)),
        2 => (source(), prop::bool::weighted(0.3)).prop_map(|(source, cut)| Op::Relist(source, cut)),
        1 => source().prop_map(Op::Refused),
        1 => source().prop_map(Op::Failing),
        1 => source().prop_map(Op::Alive),
        1 => any_reads().prop_map(Op::Reads),
        1 => any_log().prop_map(Op::Log),
        6 => pass(),
    ]
}

pub(crate) fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 0..most)
}

pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) cluster: BTreeMap<(Source, Key), Fact>,
    pub(crate) reads: Reads,
    pub(crate) log: Log,
    /// Everything the engine asked for, in order.
    pub(crate) effects: Vec<Effect>,
    /// What the Found and Cleared effects add up to.
    pub(crate) open: BTreeMap<Subject, Finding>,
    /// The first Found or Cleared that did not fit.
    pub(crate) misfit: Option<String>,
    /// snapshot-controller's lease stays what it is.
    steady: bool,
    /// Collections that the engine is not told anything of.
    pub(crate) dark: Vec<Source>,
    mono: Duration,
    skew: jiff::SignedDuration,
    beats: u32,
}

impl Rig {
    /// The daemon's engine, synced with an empty cluster.
    pub(crate) fn new() -> Self {
        let mut rig = Self::bare(Settings::default());
        for source in Source::ALL {
            rig.feed(Fact::Source(source, SourceChange::ListBegan));
            rig.feed(Fact::Source(source, SourceChange::ListEnded));
        }
        rig
    }

    /// The same with a snapshot-controller that has a lease. Without one it is judged by what waits for it, and
    /// that is looked at once a minute and not with every fact.
    pub(crate) fn steady() -> Self {
        let mut rig = Self::new();
        let lease = lab::lease("controller-0", 15, cluster::begin(), 0);
        rig.told(Fact::Lease(Change::Applied(Key::namespaced("system", lab::CONTROLLER_LEASE), lease)));
        rig.steady = true;
        rig
    }

    pub(crate) fn bare(settings: Settings) -> Self {
        Self {
            engine: Engine::new(settings),
            cluster: BTreeMap::new(),
            reads: Reads::Truth,
            log: Log::Truth,
            effects: Vec::new(),
            open: BTreeMap::new(),
            misfit: None,
            steady: false,
            dark: Vec::new(),
            mono: Duration::from_secs(1000),
            skew: jiff::SignedDuration::ZERO,
            beats: 0,
        }
    }

    pub(crate) fn now(&self) -> Now {
        let since = jiff::SignedDuration::try_from(self.mono - Duration::from_secs(1000)).unwrap();
        let wall = cluster::begin().saturating_add(since).unwrap().saturating_add(self.skew).unwrap();
        Now { wall, mono: self.mono }
    }

    /// Tells the engine, and answers its reads at once.
    pub(crate) fn feed(&mut self, fact: Fact) {
        let mut queue = vec![fact];
        while let Some(fact) = queue.pop() {
            let effects = self.engine.step(fact, self.now());
            for effect in &effects {
                if let Effect::Probe(probe) = effect
                    && let Some(answer) = self.answer(probe)
                {
                    queue.push(Fact::Answered(probe.clone(), answer));
                }
                self.note(effect);
            }
            self.effects.extend(effects);
        }
    }

    fn note(&mut self, effect: &Effect) {
        let misfit = match effect {
            Effect::Probe(_) | Effect::Record(_) | Effect::Announce(..) | Effect::Act(_) | Effect::Forget(_) => None,
            Effect::Found(finding) => self
                .open
                .insert(finding.subject.clone(), (**finding).clone())
                .map(|old| format!("found {} of {} over {}", finding.class, finding.subject, old.class)),
            Effect::Cleared(subject, class) => match self.open.remove(subject) {
                Some(old) if old.class == *class => None,
                Some(old) => Some(format!("cleared {class} of {subject}, which was {}", old.class)),
                None => Some(format!("cleared {class} of {subject}, which had none")),
            },
        };
        self.misfit = self.misfit.take().or(misfit);
    }

    fn answer(&self, probe: &Probe) -> Option<Answer> {
        if self.reads == Reads::Mute {
            return None;
        }
        Some(match probe {
            Probe::Get { kind, key } => Answer::Get(match self.reads {
                Reads::Absent => Live::Absent,
                Reads::Other => Live::Present(Uid::parse("somebody-else")),
                Reads::Unknown | Reads::Mute => Live::Unknown("timed out".into()),
                Reads::Truth => self.live(*kind, key),
            }),
            Probe::Look { .. } => Answer::Look(Looked::Unknown("timed out".into())),
            Probe::Log { .. } => Answer::Log(self.tail()),
            Probe::ClaimEvents { .. } => Answer::ClaimEvents(Some("no space".into())),
        })
    }

    fn live(&self, kind: Kind, key: &Key) -> Live {
        let source = if kind == Kind::VolumeSnapshot { Source::Snapshots } else { Source::Contents };
        match self.cluster.get(&(source, key.clone())) {
            Some(Fact::Snapshot(Change::Applied(_, snapshot))) => Live::Present(snapshot.meta.uid.clone()),
            Some(Fact::Content(Change::Applied(_, content))) => Live::Present(content.meta.uid.clone()),
            _ => Live::Absent,
        }
    }

    fn tail(&self) -> LogTail {
        let line = |at: String, content: &str, rest: &str| {
            format!("{at} E could not sync content \"{content}\": failed to delete snapshot {rest}\n")
        };
        let text: String = match self.log {
            Log::Forbidden => return LogTail::Forbidden,
            Log::Failed => return LogTail::Failed("reset".into()),
            Log::Locked => self
                .cluster
                .keys()
                .filter(|(source, _)| *source == Source::Contents)
                .map(|(_, key)| {
                    let rest = format!("\"rpc error: code = Aborted desc = {}\"", cluster::LOCK);
                    line(self.now().wall.to_string(), &key.name, &rest)
                })
                .collect(),
            Log::Truth => self
                .cluster
                .values()
                .filter_map(|fact| match fact {
                    Fact::ContentEvent(Change::Applied(_, event)) => Some(event),
                    _ => None,
                })
                .filter_map(|event: &EventRecord| {
                    Some(line(event.last?.to_string(), &event.about.name, "\"cannot get credentials\""))
                })
                .collect(),
        };
        LogTail::Lines { text: text.into(), since: Some(jiff::Timestamp::UNIX_EPOCH) }
    }

    fn spared(&self, fact: &Fact) -> bool {
        self.steady && cluster::place(fact).is_some_and(|(_, key, _)| &*key.name == lab::CONTROLLER_LEASE)
    }

    /// The cluster changes; nobody is told.
    pub(crate) fn change(&mut self, fact: &Fact) {
        if self.spared(fact) {
            return;
        }
        if let Some((source, key, there)) = cluster::place(fact) {
            if there {
                self.cluster.insert((source, key), fact.clone());
            } else {
                self.cluster.remove(&(source, key));
            }
        }
    }

    pub(crate) fn told(&mut self, fact: Fact) {
        if self.spared(&fact) {
            return;
        }
        self.change(&fact);
        let seen = cluster::place(&fact).is_none_or(|(source, ..)| !self.dark.contains(&source));
        if seen {
            self.feed(fact);
        }
    }

    pub(crate) fn objects(&self, source: Source) -> Vec<Fact> {
        self.cluster.iter().filter(|((of, _), _)| *of == source).map(|(_, fact)| fact.clone()).collect()
    }

    pub(crate) fn relist(&mut self, source: Source) {
        self.feed(Fact::Source(source, SourceChange::ListBegan));
        for fact in self.objects(source) {
            self.feed(fact);
        }
        self.feed(Fact::Source(source, SourceChange::ListEnded));
    }

    pub(crate) fn run(&mut self, op: Op) {
        match op {
            Op::Told(fact) => self.told(fact),
            Op::Missed(fact) => self.change(&fact),
            Op::Storm(count, driver) => {
                for number in 0..count {
                    self.told(cluster::storming(number, driver));
                }
            }
            Op::Relist(source, _) | Op::Refused(source) | Op::Failing(source) | Op::Alive(source)
                if self.dark.contains(&source) => {}
            Op::Relist(source, false) => self.relist(source),
            Op::Relist(source, true) => {
                self.feed(Fact::Source(source, SourceChange::ListBegan));
                let facts = self.objects(source);
                let half = facts.len() / 2;
                facts.into_iter().take(half).for_each(|fact| self.feed(fact));
                self.feed(Fact::Source(source, SourceChange::Failing("reset".into())));
            }
            Op::Refused(source) => self.feed(Fact::Source(source, SourceChange::Forbidden("no".into()))),
            Op::Failing(source) => self.feed(Fact::Source(source, SourceChange::Failing("500".into()))),
            Op::Alive(source) => self.feed(Fact::Source(source, SourceChange::Progress)),
            Op::Reads(reads) => self.reads = reads,
            Op::Log(log) => self.log = log,
            Op::Pass(seconds, beat) => self.pass(seconds, beat),
            Op::Jump(seconds) => self.skew = self.skew.saturating_add(jiff::SignedDuration::from_secs(seconds)),
        }
    }

    pub(crate) fn run_all(&mut self, ops: &[Op]) {
        for op in ops {
            self.run(op.clone());
        }
    }

    /// Lets time pass: due timers fire, and leaders renew their leases every twelve seconds if they `beat`.
    pub(crate) fn pass(&mut self, seconds: u64, beat: bool) {
        let end = self.mono + Duration::from_secs(seconds);
        while self.mono < end {
            let next = if beat { (self.mono + Duration::from_secs(12)).min(end) } else { end };
            while let Some(at) = self.engine.wake_at().filter(|at| *at <= next) {
                self.mono = self.mono.max(at);
                self.feed(Fact::Tick);
                assert!(self.engine.wake_at().is_none_or(|next| next > self.mono), "woken at {at:?} for nothing");
            }
            self.mono = next;
            if beat {
                self.beat();
            }
        }
        self.feed(Fact::Tick);
    }

    /// Every watch that works gives a sign of life: it has told everything up to now.
    pub(crate) fn signs_of_life(&mut self) {
        for source in SOURCES {
            if !self.dark.contains(&source) && self.engine.world().sources.known(source) {
                self.feed(Fact::Source(source, SourceChange::Progress));
            }
        }
    }

    /// Sleeps up to this instant.
    pub(crate) fn wait_until(&mut self, at: Duration) {
        self.mono = self.mono.max(at);
    }

    fn beat(&mut self) {
        self.beats += 1;
        for fact in self.objects(Source::Leases) {
            let Fact::Lease(Change::Applied(key, mut lease)) = fact else { continue };
            lease.renewed = Some(self.now().wall);
            lease.transitions = i32::try_from(self.beats).unwrap() + 10;
            let fact = Fact::Lease(Change::Applied(key.clone(), lease));
            self.cluster.insert((Source::Leases, key), fact.clone());
            if !self.dark.contains(&Source::Leases) {
                self.feed(fact);
            }
        }
    }

    /// Has everything derived anew at this instant: a list of what no rule looks at became complete.
    pub(crate) fn derive_anew(&mut self) {
        self.feed(Fact::Source(Source::Jobs, SourceChange::ListBegan));
        self.feed(Fact::Source(Source::Jobs, SourceChange::ListEnded));
    }

    /// What others act on of every finding: not its wording.
    pub(crate) fn verdicts(&self) -> Vec<String> {
        let mut verdicts: Vec<String> = self.engine.findings().into_iter().map(verdict).collect();
        verdicts.sort();
        verdicts
    }

    pub(crate) fn classes(&self) -> Vec<(Class, Subject)> {
        self.engine.findings().into_iter().map(|finding| (finding.class, finding.subject.clone())).collect()
    }
}

fn verdict(finding: &Finding) -> String {
    let cause = finding.cause.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    format!(
        "{} {}: by {cause}; leaks {}, destroys {}, unverified {}; {:?}",
        finding.subject, finding.class, finding.leaks, finding.destroys, finding.unverified, finding.repair.rung
    )
}
