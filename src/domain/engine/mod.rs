//! The engine: one fact at a time in, effects out.
//!
//! Owns the world, the findings and the timers, and is their only writer. A fact re-diagnoses only the
//! subjects it touches; timers are data, asked for with [`Engine::wake_at`]; every ten minutes everything is
//! derived anew, which heals whatever was lost. It never blocks and never reads a clock.

mod prune;
mod refresh;
mod repair;
mod standing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::domain::components::{Health, View};
use crate::domain::diagnose::{Components, Context, Diagnosis, driver as driver_rules, snapshot as snapshot_rules};
use crate::domain::fact::{Answer, Change, Fact, Now, Probe, Source, SourceChange};
use crate::domain::finding::{Cause, Class, Finding, Subject, Verdict};
use crate::domain::guard::Guarded;
use crate::domain::ledger::Record;
use crate::domain::memory::Memory;
use crate::domain::name::Key;
use crate::domain::record::{Content, Kind};
use crate::domain::remedy::action::Orphan;
use crate::domain::remedy::fresh::Looked;
use crate::domain::words;
use crate::domain::world::{Touch, World, content_key};
use repair::Repair;

/// Everything is derived anew this often.
const REDERIVE: Duration = Duration::from_secs(600);
/// Sources that have not answered by then no longer hold the first diagnosis back.
const PATIENCE: Duration = Duration::from_secs(20);
/// A one-shot command looks twice at what is not there, so far apart.
const SECOND_LOOK: Duration = Duration::from_secs(10);
/// Room for the timers and reads of a second look.
const GRACE: Duration = Duration::from_secs(2);
/// Whatever is not simply healthy is looked at again at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How the engine judges; the same for daemon and one-shot commands but for `eager`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Report what a longer look would be needed for, marked `unverified` (`doctor`); the daemon waits instead.
    pub eager: bool,
    /// Raises every floor to at least this; can never lower one.
    pub min_floor: Duration,
    /// Who this process is in the ledger: another one after each start.
    pub identity: Arc<str>,
    /// Nothing is repaired or pruned while the fence is not shown to stand.
    pub require_fence: bool,
}

/// What a step asks of the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make this read and bring the answer back as a fact.
    Probe(Probe),
    /// A finding appeared, or changed its class.
    Found(Box<Finding>),
    /// A finding is over.
    Cleared(Subject, Class),
    /// Store this record of the ledger, if its version is still the one it has; the answer is `Fact::Recorded`.
    Record(Box<Record>),
    /// Enter what is about to be left behind into the orphan ledger, for this record.
    Announce(Box<Orphan>, Box<str>),
    /// Carry this action out; the answer is `Fact::Acted`.
    Act(Box<Guarded>),
    /// Delete this record of the ledger: it is of no use any more.
    Forget(Box<str>),
}

/// A watched collection as a report shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    /// Public name of the collection.
    pub kind: &'static str,
    /// `Synced`, `Syncing`, `NotInstalled`, `Forbidden` or `Failing`.
    pub state: &'static str,
    /// Objects of the collection that are remembered (pods and events without a bearing are not).
    pub objects: u64,
    /// Seconds since the API server last said anything about it; absent where it never did.
    pub silent_seconds: Option<u64>,
    /// The API server's words when it is Forbidden or Failing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Arc<str>>,
}

/// Why one object is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The object.
    pub subject: Subject,
    /// What can be said of it.
    pub verdict: Verdict,
    /// Other findings it hangs on or that hang on it.
    pub related: Vec<Cause>,
}

/// World, findings and timers. The only writer of all three.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    world: World,
    memory: Memory,
    components: Components,
    findings: BTreeMap<Subject, Finding>,
    wakes: BTreeSet<(Duration, Subject)>,
    wake_of: BTreeMap<Subject, Duration>,
    /// Drivers by the name of their lease.
    leases: BTreeMap<String, BTreeSet<Arc<str>>>,
    /// First facts are taken in without a diagnosis: half a cluster would look broken.
    warm: bool,
    first_fact: Option<Duration>,
    rederived: Duration,
    repair: Repair,
}

impl Engine {
    /// An engine that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            repair: Repair::new(&settings.identity),
            settings,
            world: World::default(),
            memory: Memory::default(),
            components: Components::default(),
            findings: BTreeMap::new(),
            wakes: BTreeSet::new(),
            wake_of: BTreeMap::new(),
            leases: BTreeMap::new(),
            warm: false,
            first_fact: None,
            rederived: Duration::ZERO,
        }
    }

    /// Takes one fact in and says what the shell should do.
    pub fn step(&mut self, fact: Fact, now: Now) -> Vec<Effect> {
        let first = *self.first_fact.get_or_insert(now.mono);
        let mut work = Work::default();
        let mut effects = Vec::new();
        let relisted = matches!(fact, Fact::Source(_, SourceChange::ListEnded | SourceChange::NotInstalled));
        match fact {
            Fact::Answered(Probe::Look { kind, key }, Answer::Look(looked)) => {
                self.memory.answer(Probe::Look { kind, key: key.clone() }, Answer::Look(Looked::Absent), now);
                self.looked(kind, key, looked, now);
            }
            Fact::Answered(probe, answer) => self.answered(probe, answer, now, &mut work),
            Fact::Leadership(_) | Fact::Gate(..) | Fact::Fence(_) | Fact::Recorded(..) | Fact::Acted(_) => {
                self.repair_fact(fact, now, &mut effects);
            }
            fact => {
                self.forget_absence(&fact);
                for touch in self.world.apply(fact, now) {
                    match touch {
                        Touch::Repairs => work.repairs = true,
                        Touch::Record(name) => self.reread_record(&name),
                        touch => work.touch(touch),
                    }
                }
            }
        }
        if relisted {
            self.reread_ledger();
            work.repairs = true;
        }
        if std::mem::take(&mut work.repairs) {
            self.reread_repairs();
        }
        if !self.warm {
            if !self.world.sources.settled() && now.mono.saturating_sub(first) < PATIENCE {
                return effects;
            }
            self.warm = true;
            work.everything = true;
        }
        if now.mono.saturating_sub(self.rederived) >= REDERIVE {
            work.everything = true;
        }
        self.due(now, &mut work);
        effects.extend(self.settle(work, now));
        self.repairs(now, &mut effects);
        effects
    }

    /// When to call [`step`](Self::step) with [`Fact::Tick`] at the latest, on the monotonic clock.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        if !self.warm {
            return self.first_fact.map(|first| first + PATIENCE);
        }
        let next = self.wakes.first().map_or(Duration::MAX, |(at, _)| *at);
        let next = self.repair.next_wake().map_or(next, |at| at.min(next));
        Some(next.min(self.rederived + REDERIVE))
    }

    /// All findings, worst first, what hangs on a cause directly after it. What a storm swallowed is left out.
    #[must_use]
    pub fn findings(&self) -> Vec<&Finding> {
        let shown: Vec<&Finding> = self.findings.values().filter(|finding| !self.folded(finding)).collect();
        let known: BTreeSet<(Class, &Subject)> =
            shown.iter().map(|finding| (finding.class, &finding.subject)).collect();
        let mut beneath: BTreeMap<(Class, &Subject), Vec<&Finding>> = BTreeMap::new();
        let mut roots = Vec::new();
        for finding in &shown {
            let cause = finding.cause.as_ref().map(|cause| (cause.class, &cause.subject));
            match cause.filter(|cause| known.contains(cause)) {
                Some(cause) => beneath.entry(cause).or_default().push(finding),
                None => roots.push(*finding),
            }
        }
        let rank = |finding: &&Finding| (finding.class.severity(), finding.since);
        roots.sort_by_key(rank);
        let mut out = Vec::with_capacity(shown.len());
        let mut stack: Vec<&Finding> = roots.into_iter().rev().collect();
        loop {
            while let Some(finding) = stack.pop() {
                out.push(finding);
                if let Some(mut children) = beneath.remove(&(finding.class, &finding.subject)) {
                    children.sort_by_key(rank);
                    stack.extend(children.into_iter().rev());
                }
            }
            // Two that name each other as the cause hang on no root: they must not vanish for it.
            let Some((_, children)) = beneath.pop_first() else { break };
            stack = children;
        }
        out
    }

    /// Every source, in the order of [`Source::ALL`].
    #[must_use]
    pub fn sources(&self, now: Now) -> Vec<SourceView> {
        Source::ALL
            .into_iter()
            .filter_map(|source| {
                let entry = self.world.sources.get(source)?;
                let message = match &entry.state {
                    crate::domain::freshness::State::Forbidden(words)
                    | crate::domain::freshness::State::Failing(words) => Some(Arc::clone(words)),
                    _ => None,
                };
                Some(SourceView {
                    kind: source.as_str(),
                    state: entry.state.as_str(),
                    objects: u64::try_from(self.world.count(source)).unwrap_or(u64::MAX),
                    silent_seconds: entry.heard.map(|at| now.mono.saturating_sub(at).as_secs()),
                    message,
                })
            })
            .collect()
    }

    /// Every source has either synced or is known not to be there, refused or failing.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.world.sources.settled() && self.gates_asked()
    }

    /// Every source has either synced or is known not to be installed: what `/readyz` answers.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.world.sources.ready()
    }

    /// Something would become surer with a longer look: a lease not yet seen to renew, a read under way, a
    /// shape seen once.
    #[must_use]
    pub fn undecided(&self, now: Now) -> bool {
        let views = self.components.drivers.values().chain(self.components.controller.as_ref());
        let unsure = |view: &View| {
            matches!(
                view.health,
                Health::Undecided | Health::Alive { seen: false } | Health::Down { unverified: true, .. }
            )
        };
        !self.warm
            || self.memory.waiting(now)
            || views.into_iter().any(unsure)
            || self.findings.values().any(|finding| finding.unverified)
    }

    /// How long a look has to be: the longest `leaseDurationSeconds` among the leases that matter, and long
    /// enough to look twice at what was seen once.
    #[must_use]
    pub fn longest_lease(&self) -> Option<Duration> {
        let views = self.components.drivers.values().chain(self.components.controller.as_ref());
        let leases = views.filter_map(|view| view.lease.as_ref()).filter_map(|key| self.world.leases.get(key));
        let once = self.findings.values().any(|finding| finding.unverified).then_some(SECOND_LOOK + GRACE);
        leases.map(crate::domain::lease::duration).max().max(once)
    }

    /// Why this object is as it is, healthy ones too.
    #[must_use]
    pub fn explain(&self, subject: &Subject, now: Now) -> Explanation {
        let diagnosis = self.context(now).diagnose(subject);
        let mut related: Vec<Cause> = self
            .findings
            .values()
            .filter(|finding| finding.cause.as_ref().is_some_and(|cause| cause.subject == *subject))
            .map(|finding| Cause { class: finding.class, subject: finding.subject.clone() })
            .collect();
        if let Some(finding) = diagnosis.finding()
            && self.folded(finding)
            && let Some(cause) = self.context(now).driver_cause(finding.driver.as_deref().unwrap_or_default())
        {
            related.insert(0, cause);
        }
        Explanation { subject: subject.clone(), verdict: diagnosis.verdict, related }
    }

    /// What the engine knows of the cluster; for tests and reports.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }
}

/// What one step has to look at again.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing to look at")]
struct Work {
    subjects: VecDeque<Subject>,
    queued: BTreeSet<Subject>,
    drivers: BTreeSet<Arc<str>>,
    leases: BTreeSet<Box<str>>,
    controller: bool,
    components: bool,
    everything: bool,
    repairs: bool,
}

impl Work {
    fn touch(&mut self, touch: Touch) {
        match touch {
            Touch::Subject(subject) => self.subject(subject),
            Touch::Driver(driver) => {
                self.drivers.insert(driver);
            }
            Touch::Lease(name) => {
                self.leases.insert(name);
            }
            Touch::Record(_) | Touch::Repairs => self.repairs = true,
            Touch::Components => self.components = true,
            Touch::Everything => self.everything = true,
        }
    }

    fn subject(&mut self, subject: Subject) {
        if self.queued.insert(subject.clone()) {
            self.subjects.push_back(subject);
        }
    }
}

// === impl Engine: one step ===

impl Engine {
    fn context(&self, now: Now) -> Context<'_> {
        Context {
            world: &self.world,
            settings: &self.settings,
            components: &self.components,
            memory: &self.memory,
            findings: &self.findings,
            now,
        }
    }

    /// What a storm swallowed: the driver's one finding speaks for it.
    fn folded(&self, finding: &Finding) -> bool {
        if finding.class.is_component() && finding.subject.kind == Kind::CsiDriver {
            return false;
        }
        let Some(driver) = &finding.driver else { return false };
        let incident = self.findings.get(&Subject::driver(driver));
        if incident.is_none_or(|cause| cause.class != Class::DriverDegraded) {
            return false;
        }
        let Some(failing) = self.components.failing.get(driver) else { return false };
        let waits_for_it = matches!(finding.class, Class::WaitingForContent | Class::CreateStuck)
            && self.world.snapshots.get(&finding.subject.key).is_some_and(|snapshot| {
                failing.contains(&Subject::new(Kind::VolumeSnapshotContent, content_key(snapshot)))
            });
        waits_for_it || failing.contains(&finding.subject)
    }

    fn answered(&mut self, probe: Probe, answer: Answer, now: Now, work: &mut Work) {
        for subject in self.memory.answer(probe, answer, now) {
            work.subject(subject);
        }
    }

    /// An object that arrives is not absent, whatever an earlier read said.
    fn forget_absence(&mut self, fact: &Fact) {
        match fact {
            // Told again as it is known, it is no news.
            Fact::Snapshot(Change::Applied(key, snapshot)) if self.world.snapshots.get(key) != Some(snapshot) => {
                self.memory.forget_absence(Kind::VolumeSnapshot, key, &snapshot.meta.uid);
            }
            Fact::Content(Change::Applied(key, content)) if self.world.contents.get(key) != Some(content) => {
                self.memory.forget_absence(Kind::VolumeSnapshotContent, key, &content.meta.uid);
            }
            // Which one it is cannot be told: it is asked for anew.
            Fact::Source(Source::Snapshots, SourceChange::Unreadable(key)) => {
                self.memory.forget_live(Kind::VolumeSnapshot, key);
            }
            Fact::Source(Source::Contents, SourceChange::Unreadable(key)) => {
                self.memory.forget_live(Kind::VolumeSnapshotContent, key);
            }
            _ => {}
        }
    }

    fn due(&mut self, now: Now, work: &mut Work) {
        while let Some((at, subject)) = self.wakes.first().cloned() {
            if at > now.mono {
                break;
            }
            self.wakes.remove(&(at, subject.clone()));
            self.wake_of.remove(&subject);
            match subject.kind {
                Kind::CsiDriver => drop(work.drivers.insert(Arc::from(&*subject.key.name))),
                Kind::Lease => work.controller = true,
                _ => work.subject(subject),
            }
        }
    }

    fn settle(&mut self, mut work: Work, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        if work.everything {
            self.rederived = now.mono;
            self.memory.shrink(now);
            self.queue_everything(&mut work);
        }
        self.refresh_components(&mut work, now, &mut effects);
        // A finding changes what hangs on it; each subject is looked at again at most a few times.
        let mut rounds: BTreeMap<Subject, u8> = BTreeMap::new();
        while let Some(subject) = work.subjects.pop_front() {
            work.queued.remove(&subject);
            self.meet_driver(&subject, now, &mut effects);
            let round = rounds.entry(subject.clone()).or_default();
            *round += 1;
            if *round > 3 {
                continue;
            }
            if self.rediagnose(&subject, now, &mut effects) {
                self.queue_dependents(&subject, &mut work);
            }
            if work.subjects.is_empty() {
                self.refresh_components(&mut work, now, &mut effects);
            }
        }
        effects
    }

    /// Every object on which a finding is or could be: the healthy majority is settled by one look each.
    fn queue_everything(&mut self, work: &mut Work) {
        work.components = true;
        for (key, content) in self.world.contents.iter() {
            if !self.plainly_healthy(content) {
                work.subject(Subject::new(Kind::VolumeSnapshotContent, key.clone()));
            }
        }
        let snapshots: BTreeSet<&Key> = self.world.deleting_snapshots().chain(self.world.unready_snapshots()).collect();
        for key in snapshots {
            work.subject(Subject::new(Kind::VolumeSnapshot, key.clone()));
        }
        for (key, claim) in self.world.claims.iter() {
            if claim.meta.deleted.is_some() {
                work.subject(Subject::new(Kind::PersistentVolumeClaim, key.clone()));
            }
        }
        // Components are refreshed by their own way: `rediagnose` would forget for how long they have been missing.
        let component = |kind| matches!(kind, Kind::CsiDriver | Kind::Lease);
        for subject in self.findings.keys().filter(|subject| !component(subject.kind)) {
            work.subject(subject.clone());
        }
    }

    /// Alive, bound to a VolumeSnapshot that lives, and without an error: no rule can match. Queueing a whole
    /// cluster only to find that out would cost more memory than the world itself.
    fn plainly_healthy(&self, content: &Content) -> bool {
        let alive =
            content.meta.deleted.is_none() && content.status.as_ref().is_some_and(|status| status.error.is_none());
        let bound = self.world.snapshots.get(&content.snapshot.key);
        alive && bound.is_some_and(|snapshot| Some(&snapshot.meta.uid) == content.snapshot.uid.as_ref())
    }

    /// While its collection or its newest state cannot be read, what is known of an object stands still: what others do
    /// meanwhile would be laid at the door of something that may be long gone. Nothing new is said of it, nothing is
    /// taken back.
    fn stands_still(&self, subject: &Subject) -> bool {
        let key = &subject.key;
        let (source, is_there) = match subject.kind {
            Kind::VolumeSnapshot => (Source::Snapshots, self.world.snapshots.get(key).is_some()),
            Kind::VolumeSnapshotContent => (Source::Contents, self.world.contents.get(key).is_some()),
            Kind::PersistentVolumeClaim => (Source::Claims, self.world.claims.get(key).is_some()),
            Kind::CsiDriver | Kind::Lease => return false,
        };
        let outdated = || self.world.sources.outdated(source).is_some() || self.world.is_outgrown(source, key);
        // A one-shot command says what it saw, and shows the source that failed beside it.
        is_there && !self.settings.eager && outdated()
    }

    /// Looks at one subject; whether its finding changed in a way that others can see.
    fn rediagnose(&mut self, subject: &Subject, now: Now, effects: &mut Vec<Effect>) -> bool {
        if self.stands_still(subject) {
            self.wake_no_later(subject, now.mono + LOOK_AGAIN);
            return false;
        }
        let diagnosis = self.context(now).diagnose(subject);
        self.memory.note_shape(subject, diagnosis.shape, now);
        self.wake(subject, diagnosis.recheck);
        for probe in &diagnosis.wants {
            if self.memory.ask(probe, subject, now) {
                effects.push(Effect::Probe(probe.clone()));
            }
        }
        // Tries go on and windows close without a fact that says so; an answer may never come.
        if diagnosis.shape.is_some() || !diagnosis.wants.is_empty() {
            self.wake_no_later(subject, now.mono + LOOK_AGAIN);
        }
        let storm_changed = self.count_failure(subject, &diagnosis, now);
        self.publish(subject, diagnosis, effects) || storm_changed
    }

    fn publish(&mut self, subject: &Subject, diagnosis: Diagnosis, effects: &mut Vec<Effect>) -> bool {
        let before = self.findings.get(subject).map(|finding| finding.class);
        if before.is_some() || diagnosis.finding().is_some() || self.repair.ledger_open(subject) {
            self.repair.touch(subject);
        }
        let Verdict::Finding(finding) = diagnosis.verdict else {
            if let Some(class) = before {
                self.findings.remove(subject);
                effects.push(Effect::Cleared(subject.clone(), class));
            }
            return before.is_some();
        };
        let mut finding = *finding;
        // A finding keeps its own beginning while it lasts, where the object has none.
        if let Some(old) = self.findings.get(subject).filter(|old| old.class == finding.class) {
            finding.since = finding.since.min(old.since);
        }
        let changed = before != Some(finding.class);
        if changed {
            if let Some(class) = before {
                effects.push(Effect::Cleared(subject.clone(), class));
            }
            effects.push(Effect::Found(Box::new(finding.clone())));
        }
        self.findings.insert(subject.clone(), finding);
        changed
    }

    /// Keeps the count of a driver's failing contents; whether a storm began or ended by it.
    fn count_failure(&mut self, subject: &Subject, diagnosis: &Diagnosis, now: Now) -> bool {
        let driver = match subject.kind {
            Kind::VolumeSnapshotContent => {
                self.world.contents.get(&subject.key).map(|content| Arc::clone(&content.driver))
            }
            Kind::VolumeSnapshot => diagnosis.finding().and_then(|finding| finding.driver.clone()),
            _ => None,
        };
        let fails = diagnosis.finding().is_some_and(|finding| self.drivers_fault(finding, now));
        let mut changed = BTreeSet::new();
        // A subject may have been counted under a driver that it no longer names, or is gone.
        for (name, failing) in &mut self.components.failing {
            if (!fails || driver.as_ref() != Some(name)) && failing.remove(subject) {
                changed.insert(Arc::clone(name));
            }
        }
        if let (true, Some(driver)) = (fails, driver)
            && self.components.failing.entry(Arc::clone(&driver)).or_default().insert(subject.clone())
        {
            changed.insert(driver);
        }
        let mut storm = false;
        for name in changed {
            let failing = self.components.failing.get(&name).map_or(0, BTreeSet::len);
            let was = self
                .findings
                .get(&Subject::driver(&name))
                .is_some_and(|finding| finding.class == Class::DriverDegraded);
            storm |= was || driver_rules::is_storm(failing, self.world.content_count(&name));
            if failing == 0 {
                self.components.failing.remove(&name);
            }
        }
        storm
    }

    /// Whether a finding counts towards its driver's storm.
    fn drivers_fault(&self, finding: &Finding, now: Now) -> bool {
        match finding.class {
            Class::DriverGone | Class::OperationLocked | Class::BackendError => {
                finding.subject.kind == Kind::VolumeSnapshotContent
            }
            Class::Retrying => {
                let view = finding.driver.as_deref().and_then(|driver| self.components.drivers.get(driver));
                let floor = self.context(now).timing(view).nudge_floor();
                words::age(now.wall, finding.since) >= floor
            }
            Class::CreateStuck => self.world.snapshots.get(&finding.subject.key).is_some_and(|snapshot| {
                snapshot_rules::fails_in_driver(&self.context(now), snapshot, finding.cause.as_ref())
            }),
            _ => false,
        }
    }

    fn queue_dependents(&self, subject: &Subject, work: &mut Work) {
        match subject.kind {
            Kind::VolumeSnapshotContent => {
                if let Some(content) = self.world.contents.get(&subject.key) {
                    work.subject(Subject::new(Kind::VolumeSnapshot, content.snapshot.key.clone()));
                    work.drivers.insert(Arc::clone(&content.driver));
                }
            }
            Kind::VolumeSnapshot => {
                if let Some(snapshot) = self.world.snapshots.get(&subject.key) {
                    work.subject(Subject::new(Kind::VolumeSnapshotContent, content_key(snapshot)));
                    if let Some(claim) = crate::domain::world::source_claim(&subject.key, snapshot) {
                        work.subject(Subject::new(Kind::PersistentVolumeClaim, claim));
                    }
                }
                if let Some(driver) = self.findings.get(subject).and_then(|finding| finding.driver.clone()) {
                    work.drivers.insert(driver);
                }
            }
            Kind::CsiDriver | Kind::Lease | Kind::PersistentVolumeClaim => {}
        }
    }

    fn wake(&mut self, subject: &Subject, at: Option<Duration>) {
        if let Some(old) = self.wake_of.remove(subject) {
            self.wakes.remove(&(old, subject.clone()));
        }
        if let Some(at) = at {
            self.wake_of.insert(subject.clone(), at);
            self.wakes.insert((at, subject.clone()));
        }
    }

    fn wake_no_later(&mut self, subject: &Subject, at: Duration) {
        if self.wake_of.get(subject).is_none_or(|old| *old > at) {
            self.wake(subject, Some(at));
        }
    }
}
