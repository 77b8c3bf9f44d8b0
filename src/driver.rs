//! The loop that owns the [`Engine`]: the only writer of what Volwarden knows.
//!
//! Facts come in over one bounded channel, wanted reads go out over another, and questions are answered in
//! between, so that no HTTP request ever holds a lock on the world. Two failures it exists to prevent: a cycle
//! of full channels in which nobody moves any more (the loop therefore never waits for a free place alone),
//! and a wanted read that is dropped in silence (it waits in the [`Outbox`] instead).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::domain::engine::{Effect, Engine, Explanation, SourceView};
use crate::domain::fact::{Acted, Answer, Fact, Live, LogTail, Now, Probe, Source};
use crate::domain::fence::Fence;
use crate::domain::finding::{Cause, Finding, Subject};
use crate::domain::gate::Gate;
use crate::domain::guard::prune::GuardedPrune;
use crate::domain::guard::{Guard, Judgement};
use crate::domain::ledger::{Phase, Record};
use crate::domain::plan::Course;
use crate::domain::policy::{Policies, Policy, Standing};
use crate::domain::prune::field::DriverSight;
use crate::domain::prune::run::Ask;
use crate::domain::remedy::fresh::Looked;
use crate::domain::remedy::ladder;
use crate::telemetry;

/// The engine is told the time at least this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// And at most this often: a deadline that stays in the past must not spin the loop.
const SHORTEST_SLEEP: Duration = Duration::from_millis(20);

/// Facts that may wait before the watches are held back.
const FACTS: usize = 1024;

/// Reads that may wait for the prober; the rest waits in the outbox.
const PROBES: usize = 64;

/// Writes that may wait for the hands; the rest waits in the outbox.
const ERRANDS: usize = 64;

/// Questions that may wait.
const QUERIES: usize = 16;

/// Both clocks. The wall clock is read nowhere else.
#[derive(Clone, Debug)]
pub struct Clock(Time);

#[derive(Clone, Debug)]
enum Time {
    /// The system's, and since when the monotonic one runs.
    Real(Instant),
    /// Whatever somebody else says it is.
    Told(watch::Receiver<Now>),
}

impl Clock {
    /// Starts the monotonic clock at 0.
    #[must_use]
    pub fn start() -> Self {
        Self(Time::Real(Instant::now()))
    }

    /// The clock of a cluster whose time is not ours. It stands still between two words of the sender.
    #[must_use]
    pub fn told(now: watch::Receiver<Now>) -> Self {
        Self(Time::Told(now))
    }

    /// The present moment.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the shell reads the wall clock for the core")]
    pub fn now(&self) -> Now {
        match &self.0 {
            Time::Real(started) => Now { wall: jiff::Timestamp::now(), mono: started.elapsed() },
            Time::Told(now) => *now.borrow(),
        }
    }

    /// Waits until the monotonic clock stands there.
    pub async fn sleep_until(&self, mono: Duration) {
        match &self.0 {
            Time::Real(started) => tokio::time::sleep_until(*started + mono).await,
            Time::Told(now) => {
                let mut now = now.clone();
                if now.wait_for(|now| now.mono >= mono).await.is_err() {
                    // Nobody moves this clock any more.
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

/// Everything known at one moment, as `doctor -o json` and `/api/v1/state` show it.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// Every watched collection.
    pub sources: Vec<SourceView>,
    /// Every finding, worst first, what hangs on a cause directly after it.
    pub findings: Vec<Finding>,
    /// When this was so.
    #[serde(skip)]
    pub at: jiff::Timestamp,
}

/// How far the engine is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Every source has synced or is known not to be there, refused or failing.
    pub settled: bool,
    /// Every source has synced or is known not to be installed.
    pub ready: bool,
    /// A longer look would make something surer.
    pub undecided: bool,
    /// How long a look has to be.
    pub longest_lease: Option<Duration>,
    /// Reads that are not answered yet.
    pub outstanding: usize,
    /// Every watched collection.
    pub sources: Vec<SourceView>,
}

/// What would be done about each finding that has a ladder, and when that was so.
#[derive(Clone, Debug)]
pub struct Planning {
    /// Worst first.
    pub courses: Vec<(Finding, Course)>,
    /// The open entries of the ledger.
    pub episodes: BTreeMap<Subject, Record>,
    /// Findings without a ladder: they are only reported.
    pub reported: Vec<Cause>,
    /// The policies that hold.
    pub policies: Policies,
    /// Every watched collection.
    pub sources: Vec<SourceView>,
    /// When this was so.
    pub now: Now,
}

/// What would be done about one subject.
#[derive(Clone, Debug)]
pub struct Aim {
    /// What its ladder comes to; nothing where there is no finding.
    pub course: Option<Course>,
    /// Its open entry of the ledger.
    pub episode: Option<Record>,
    /// When this was so.
    pub now: Now,
}

/// A question to the loop.
#[derive(Debug)]
enum Query {
    State(oneshot::Sender<State>),
    StateJson(oneshot::Sender<Result<Vec<u8>, serde_json::Error>>),
    Progress(oneshot::Sender<Progress>),
    Explain(Subject, oneshot::Sender<(Explanation, Now)>),
    Aim(Subject, oneshot::Sender<Aim>),
    Plan(oneshot::Sender<Planning>),
    Standings(oneshot::Sender<Vec<(Policy, Standing)>>),
    Gates(oneshot::Sender<BTreeSet<Gate>>),
    Drivers(oneshot::Sender<BTreeMap<Arc<str>, DriverSight>>),
    Prune(Box<Ask>, oneshot::Sender<(Judgement, Option<GuardedPrune>)>),
    RecordGauges(oneshot::Sender<()>),
}

/// Asks the loop. `None` means that the loop has ended.
#[derive(Clone, Debug)]
pub struct Handle {
    queries: mpsc::Sender<Query>,
}

impl Handle {
    /// Everything known now.
    pub async fn state(&self) -> Option<State> {
        self.ask(Query::State).await
    }

    /// The same as JSON, made inside the loop: no copy of 20,000 findings.
    pub async fn state_json(&self) -> Option<Vec<u8>> {
        self.ask(Query::StateJson).await?.ok()
    }

    /// How far the engine is.
    pub async fn progress(&self) -> Option<Progress> {
        self.ask(Query::Progress).await
    }

    /// Why an object is as it is, and when that was asked.
    pub async fn explain(&self, subject: Subject) -> Option<(Explanation, Now)> {
        self.ask(|answer| Query::Explain(subject, answer)).await
    }

    /// What would be done about a subject, and what holds it.
    pub async fn aim(&self, subject: Subject) -> Option<Aim> {
        self.ask(|answer| Query::Aim(subject, answer)).await
    }

    /// What would be done now, and what holds it.
    pub async fn plan(&self) -> Option<Planning> {
        self.ask(Query::Plan).await
    }

    /// Every policy, and how it stands.
    pub async fn standings(&self) -> Option<Vec<(Policy, Standing)>> {
        self.ask(Query::Standings).await
    }

    /// The gates of all policies.
    pub async fn gates(&self) -> Option<BTreeSet<Gate>> {
        self.ask(Query::Gates).await
    }

    /// How each driver's deletions go.
    pub async fn drivers(&self) -> Option<BTreeMap<Arc<str>, DriverSight>> {
        self.ask(Query::Drivers).await
    }

    /// What every guard says of a deletion; a pass, if none holds it.
    pub async fn prune(&self, ask: Ask) -> Option<(Judgement, Option<GuardedPrune>)> {
        self.ask(|answer| Query::Prune(Box::new(ask), answer)).await
    }

    /// Brings the gauges up to date, for a scrape.
    pub async fn record_gauges(&self) -> Option<()> {
        self.ask(Query::RecordGauges).await
    }

    async fn ask<T>(&self, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.queries.send(query(answer)).await.ok()?;
        answered.await.ok()
    }
}

/// The other ends of the loop's channels.
#[derive(Debug)]
pub struct Ends {
    /// For those who ask.
    pub handle: Handle,
    /// For the watches and the prober.
    pub facts: mpsc::Sender<Fact>,
    /// For the prober.
    pub probes: mpsc::Receiver<Probe>,
    /// For whoever carries writes out. Without a lease there never is one.
    pub errands: mpsc::Receiver<Effect>,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverEnd {
    /// Nobody can send a fact any more.
    #[error("every watch has ended")]
    NoFacts,
    /// The prober is gone, so that wanted reads would never be made.
    #[error("the prober has ended")]
    NoProber,
    /// Nobody carries writes out any more, and there is one.
    #[error("whoever carries writes out has ended")]
    NoHands,
}

/// The loop.
#[derive(Debug)]
pub struct Driver {
    engine: Engine,
    clock: Clock,
    facts: mpsc::Receiver<Fact>,
    queries: mpsc::Receiver<Query>,
    probes: mpsc::Sender<Probe>,
    errands: mpsc::Sender<Effect>,
    outbox: Outbox,
    /// Writes that are wanted and not handed over. The engine has only so many under way.
    wanted: VecDeque<Effect>,
    ticked: Duration,
    shown: BTreeSet<(String, String)>,
    step_seconds: metrics::Histogram,
}

impl Driver {
    /// A loop around `engine`, and the ends of its channels.
    #[must_use]
    pub fn new(engine: Engine, clock: Clock) -> (Self, Ends) {
        let (fact_sender, facts) = mpsc::channel(FACTS);
        let (probes, probe_receiver) = mpsc::channel(PROBES);
        let (errands, errand_receiver) = mpsc::channel(ERRANDS);
        let (query_sender, queries) = mpsc::channel(QUERIES);
        let driver = Self {
            engine,
            clock,
            facts,
            queries,
            probes,
            errands,
            outbox: Outbox::default(),
            wanted: VecDeque::new(),
            ticked: Duration::ZERO,
            shown: BTreeSet::new(),
            step_seconds: telemetry::step_histogram(),
        };
        let ends = Ends {
            handle: Handle { queries: query_sender },
            facts: fact_sender,
            probes: probe_receiver,
            errands: errand_receiver,
        };
        (driver, ends)
    }

    /// Runs until nobody can send facts any more, or reads cannot be made.
    pub async fn run(mut self) -> DriverEnd {
        loop {
            let wake = next_wake(self.engine.wake_at(), self.ticked);
            // Questions first and facts last: a flood of facts must not make the daemon look dead.
            tokio::select! {
                biased;
                Some(query) = self.queries.recv() => self.answer(query),
                () = self.clock.sleep_until(wake) => self.step(Fact::Tick),
                room = self.probes.clone().reserve_owned(), if self.outbox.waits() => match room {
                    Ok(room) => self.outbox.send_one(room),
                    Err(_) => return DriverEnd::NoProber,
                },
                room = self.errands.clone().reserve_owned(), if !self.wanted.is_empty() => match room {
                    Ok(room) => drop(self.wanted.pop_front().map(|errand| room.send(errand))),
                    Err(_) => return DriverEnd::NoHands,
                },
                fact = self.facts.recv() => match fact {
                    Some(fact) => self.step(fact),
                    None => return DriverEnd::NoFacts,
                },
            }
        }
    }

    fn step(&mut self, fact: Fact) {
        let now = self.clock.now();
        telemetry::count_fact(fact_kind(&fact));
        match &fact {
            Fact::Tick => self.ticked = now.mono,
            Fact::Leadership(until) => telemetry::set_leader(until.is_some()),
            Fact::Acted(acted) => self.count_act(acted),
            Fact::Answered(probe, answer) => {
                self.outbox.answered(probe);
                telemetry::count_probe(probe_kind(probe), answer_result(answer));
            }
            _ => {}
        }
        let effects = self.engine.step(fact, now);
        self.step_seconds.record(self.clock.now().mono.saturating_sub(now.mono).as_secs_f64());
        for effect in effects {
            match effect {
                Effect::Probe(probe) => self.outbox.push(probe),
                Effect::Found(finding) => log_found(&finding),
                Effect::Cleared(subject, class) => {
                    info!(class = class.as_str(), subject = %subject, "finding cleared");
                }
                errand @ (Effect::Record(_) | Effect::Announce(..) | Effect::Act(_) | Effect::Forget(_)) => {
                    self.wanted.push_back(errand);
                }
            }
        }
    }

    fn count_act(&self, acted: &Acted) {
        let intent = self.engine.ledger().get(&acted.record).and_then(|record| record.intent.as_ref());
        let rung = intent.map_or("", |intent| intent.step.as_str());
        telemetry::count_action(rung, acted.outcome.as_str());
    }

    /// Whoever gave up waiting has dropped its end; that is no error of ours.
    fn answer(&mut self, query: Query) {
        let now = self.clock.now();
        // A deadline that has just passed is part of the truth that is asked for.
        if self.engine.wake_at().is_some_and(|at| at <= now.mono) {
            self.step(Fact::Tick);
        }
        match query {
            Query::State(answer) => drop(answer.send(State {
                sources: self.engine.sources(now),
                findings: self.engine.findings().into_iter().cloned().collect(),
                at: now.wall,
            })),
            Query::StateJson(answer) => drop(answer.send(self.state_json(now))),
            Query::Progress(answer) => drop(answer.send(Progress {
                settled: self.engine.settled(),
                ready: self.engine.ready(),
                undecided: self.engine.undecided(now),
                longest_lease: self.engine.longest_lease(),
                outstanding: self.outbox.outstanding(),
                sources: self.engine.sources(now),
            })),
            Query::Explain(subject, answer) => drop(answer.send((self.engine.explain(&subject, now), now))),
            Query::Aim(subject, answer) => drop(answer.send(Aim {
                course: self.engine.course(&subject, now),
                episode: self.engine.ledger().open(&subject).cloned(),
                now,
            })),
            Query::Standings(answer) => {
                let all = self.engine.standings(now).into_iter();
                drop(answer.send(all.map(|(policy, standing)| (policy.clone(), standing)).collect()));
            }
            Query::Gates(answer) => drop(answer.send(self.engine.gates().cloned().collect())),
            Query::Plan(answer) => drop(answer.send(self.planning(now))),
            Query::Drivers(answer) => drop(answer.send(self.engine.sight_drivers(now))),
            Query::Prune(ask, answer) => drop(answer.send(self.engine.judge_prune(&ask, now))),
            Query::RecordGauges(answer) => {
                self.record_gauges(now);
                let _ = answer.send(());
            }
        }
    }

    fn planning(&self, now: Now) -> Planning {
        let ledger = self.engine.ledger();
        let open = ledger.open_subjects().filter_map(|subject| Some((subject.clone(), ledger.open(subject)?.clone())));
        let reported = self.engine.findings().into_iter().filter(|finding| ladder(finding.class).is_empty());
        Planning {
            courses: self.engine.plan(now),
            episodes: open.collect(),
            reported: reported.map(|one| Cause { class: one.class, subject: one.subject.clone() }).collect(),
            policies: self.engine.policies().clone(),
            sources: self.engine.sources(now),
            now,
        }
    }

    fn state_json(&self, now: Now) -> Result<Vec<u8>, serde_json::Error> {
        #[derive(Serialize)]
        struct View<'a> {
            sources: Vec<SourceView>,
            findings: Vec<&'a Finding>,
        }
        serde_json::to_vec(&View { sources: self.engine.sources(now), findings: self.engine.findings() })
    }

    /// Counted anew at every scrape: a gauge kept by increments drifts for ever after one missed effect.
    fn record_gauges(&mut self, now: Now) {
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut unverified = 0;
        for finding in self.engine.findings() {
            let series = (finding.class.label(), finding.driver.as_deref().unwrap_or_default().to_owned());
            *counts.entry(series).or_default() += 1;
            unverified += usize::from(finding.unverified);
        }
        for ended in self.shown.iter().filter(|series| !counts.contains_key(*series)) {
            telemetry::set_findings(ended.0.clone(), ended.1.clone(), 0);
        }
        for ((class, driver), count) in counts {
            self.shown.insert((class.clone(), driver.clone()));
            telemetry::set_findings(class, driver, count);
        }
        self.record_repairs();
        telemetry::set_fence(self.engine.fence().map(Fence::as_str), Fence::STATES);
        telemetry::set_unverified(unverified);
        telemetry::set_probes_waiting(self.outbox.queue.len());
        for source in self.engine.sources(now) {
            telemetry::set_source(source.kind, source.state, source.objects, source.silent_seconds);
        }
    }
}

impl Driver {
    /// Open entries of the ledger, by what they wait for.
    fn record_repairs(&self) {
        let mut phases: BTreeMap<&'static str, usize> = Phase::ALL.iter().map(|phase| (phase.as_str(), 0)).collect();
        let mut held: BTreeMap<&'static str, usize> = Guard::all().map(|guard| (guard.as_str(), 0)).collect();
        for record in self.engine.ledger().iter() {
            *phases.entry(record.phase.as_str()).or_default() += 1;
            let waits = matches!(record.phase, Phase::Held | Phase::AwaitingApproval);
            if let Some((guard, _)) = record.verdicts.iter().find(|(_, verdict)| waits && !verdict.allows()) {
                *held.entry(guard.as_str()).or_default() += 1;
            }
        }
        for (phase, count) in phases {
            telemetry::set_remediations(phase, count);
        }
        for (guard, count) in held {
            telemetry::set_held(guard, count);
        }
    }
}

/// When to wake: at the engine's deadline, but neither in a spin nor later than the longest sleep.
fn next_wake(deadline: Option<Duration>, ticked: Duration) -> Duration {
    let latest = ticked + LONGEST_SLEEP;
    deadline.map_or(latest, |at| at.min(latest)).max(ticked + SHORTEST_SLEEP)
}

fn log_found(finding: &Finding) {
    warn!(
        class = finding.class.as_str(),
        subject = %finding.subject,
        driver = finding.driver.as_deref().unwrap_or_default(),
        cause = finding.cause.as_ref().map(tracing::field::display),
        since = %finding.since,
        unverified = finding.unverified,
        summary = finding.summary,
        "finding"
    );
}

/// Reads that are wanted and not sent, and reads that are sent and not answered.
#[derive(Debug, Default)]
struct Outbox {
    queue: VecDeque<Probe>,
    queued: BTreeSet<Probe>,
    sent: BTreeSet<Probe>,
}

impl Outbox {
    /// A read that waits already is wanted once; one under way may be wanted anew, because it may be stale.
    fn push(&mut self, probe: Probe) {
        if self.queued.insert(probe.clone()) {
            self.queue.push_back(probe);
        }
    }

    fn waits(&self) -> bool {
        !self.queue.is_empty()
    }

    fn send_one(&mut self, room: mpsc::OwnedPermit<Probe>) {
        if let Some(probe) = self.queue.pop_front() {
            self.queued.remove(&probe);
            self.sent.insert(probe.clone());
            room.send(probe);
        }
    }

    fn answered(&mut self, probe: &Probe) {
        self.sent.remove(probe);
    }

    fn outstanding(&self) -> usize {
        self.queue.len() + self.sent.len()
    }
}

/// The label of `volwarden_facts_total`.
fn fact_kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::Answered(..) => "Answer",
        Fact::Leadership(_) => "Leadership",
        Fact::Gate(..) => "Gate",
        Fact::Fence(_) => "Fence",
        Fact::Recorded(..) => "Recorded",
        Fact::Acted(_) => "Outcome",
        Fact::Tick => "Tick",
        object => object.source().map_or("", Source::as_str),
    }
}

fn probe_kind(probe: &Probe) -> &'static str {
    match probe {
        Probe::Get { .. } => "get",
        Probe::Log { .. } => "log",
        Probe::ClaimEvents { .. } => "claim_events",
        Probe::Look { .. } => "look",
    }
}

fn answer_result(answer: &Answer) -> &'static str {
    match answer {
        Answer::Get(Live::Absent) | Answer::Look(Looked::Absent) => "absent",
        Answer::Get(Live::Present(_)) | Answer::Look(Looked::There(_)) => "present",
        Answer::Get(Live::Unknown(_)) | Answer::Look(Looked::Unknown(_)) => "unknown",
        Answer::Log(LogTail::Lines { .. }) => "lines",
        Answer::Log(LogTail::Forbidden) => "forbidden",
        Answer::Log(LogTail::Failed(_)) => "failed",
        Answer::ClaimEvents(Some(_)) => "found",
        Answer::ClaimEvents(None) => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::engine::Settings;
    use crate::domain::name::Key;
    use crate::domain::record::Kind;

    fn get(name: &str) -> Probe {
        Probe::Get { kind: Kind::VolumeSnapshotContent, key: Key::cluster(name) }
    }

    #[test]
    fn a_deadline_in_the_past_does_not_spin_and_none_still_ticks() {
        let ticked = Duration::from_secs(100);
        assert_eq!(next_wake(None, ticked), ticked + LONGEST_SLEEP);
        assert_eq!(next_wake(Some(Duration::ZERO), ticked), ticked + SHORTEST_SLEEP);
        assert_eq!(next_wake(Some(Duration::from_secs(103)), ticked), Duration::from_secs(103));
        assert_eq!(next_wake(Some(Duration::from_secs(1000)), ticked), ticked + LONGEST_SLEEP);
    }

    #[test]
    fn a_read_waits_once_and_is_outstanding_until_it_is_answered() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut outbox = Outbox::default();
        for probe in [get("a"), get("b"), get("a")] {
            outbox.push(probe);
        }
        assert_eq!((outbox.queue.len(), outbox.outstanding()), (2, 2));
        outbox.send_one(sender.clone().try_reserve_owned().unwrap());
        assert_eq!((outbox.queue.len(), outbox.outstanding()), (1, 2));
        assert!(sender.clone().try_reserve_owned().is_err(), "the prober's channel is full");
        assert_eq!(receiver.try_recv().unwrap(), get("a"));
        outbox.push(get("a"));
        outbox.answered(&get("a"));
        assert_eq!(outbox.outstanding(), 2, "b, and a wanted anew");
    }

    #[tokio::test(start_paused = true)]
    async fn questions_are_answered_while_facts_flood_in() {
        let (driver, ends) = Driver::new(Engine::new(Settings::default()), Clock::start());
        let task = tokio::spawn(driver.run());
        let flood = tokio::spawn(async move {
            for _ in 0..50_000 {
                if ends.facts.send(Fact::Tick).await.is_err() {
                    break;
                }
            }
            ends.probes
        });
        let progress = ends.handle.progress().await.unwrap();
        assert!(!flood.is_finished() && progress.outstanding == 0);
        assert!(ends.handle.state().await.is_some());
        let probes = flood.await.unwrap();
        assert_eq!(task.await.unwrap(), DriverEnd::NoFacts);
        drop(probes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_told_the_time_knows_no_other() {
        let at = |seconds| Now { wall: jiff::Timestamp::UNIX_EPOCH, mono: Duration::from_secs(seconds) };
        let (time, told) = watch::channel(at(5));
        let clock = Clock::told(told);
        clock.sleep_until(Duration::from_secs(5)).await;
        let waits = tokio::time::timeout(Duration::from_secs(3600), clock.sleep_until(Duration::from_secs(7)));
        assert!(waits.await.is_err(), "an hour of ours is nothing to it");
        time.send_replace(at(8));
        clock.sleep_until(Duration::from_secs(7)).await;
        assert_eq!(clock.now(), at(8));
        drop(time);
        let waits = tokio::time::timeout(Duration::from_secs(1), clock.sleep_until(Duration::from_secs(9)));
        assert!(waits.await.is_err(), "who stopped the clock does not wake anybody");
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_loop_answers_none() {
        let (driver, ends) = Driver::new(Engine::new(Settings::default()), Clock::start());
        drop(driver);
        assert!(ends.handle.progress().await.is_none());
        assert!(ends.handle.state_json().await.is_none());
    }
}
