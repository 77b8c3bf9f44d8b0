//! The engine's repairs: from findings to records, intents and actions, and back by what is seen.
//!
//! Each subject has one episode at a time. An action is let out only after the record with its intent is known
//! to be stored, and the record is changed only by facts: what the act path answered, what a fresh read showed,
//! what the world looks like. So a process may end between any two of them, and the next one reads the ledger,
//! looks at the world, and goes on; it never repeats blindly.

mod episode;
mod line;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Effect, Engine};
use crate::domain::fact::{Acted, Fact, Now, Probe};
use crate::domain::fence::{Fence, Heard};
use crate::domain::finding::{Finding, Subject};
use crate::domain::gate::{Gate, Gates};
use crate::domain::ledger::{Ledger, Outcome, Record};
use crate::domain::name::{Key, Uid};
use crate::domain::plan::{Course, Desk, Sighting, turn};
use crate::domain::policy::Policies;
use crate::domain::record::Kind;
use crate::domain::remedy::action::{ACT, TargetKind};
use crate::domain::remedy::fresh::Looked;
use crate::domain::remedy::ladder;
use line::Lines;
use store::Stored;

/// Whatever is under way is looked at again this often.
const AGAIN: Duration = Duration::from_secs(5);
/// What is held for a reason that tells no time is planned again this often.
const HELD: Duration = Duration::from_secs(60);
/// An action without an answer for so long beyond its time is lost.
const LOST: Duration = Duration::from_secs(15);
/// The lease that a single look is given to plan with.
const REHEARSED: Duration = Duration::from_secs(3600);
/// Whoever began to lead so long ago has found again what there is to be found.
const FOUND: Duration = Duration::from_secs(120);
/// Ended records are swept this often.
const SWEEP: Duration = Duration::from_secs(600);

/// Everything the engine knows for repairing.
#[derive(Debug)]
pub(super) struct Repair {
    /// Who we are in the ledger.
    identity: Arc<str>,
    policies: Policies,
    ledger: Ledger,
    store: Stored,
    orphans: BTreeSet<u64>,
    lease_until: Option<Duration>,
    /// Since when we have led without a break, on the monotonic clock.
    leads_since: Option<Duration>,
    gates: Gates,
    fence: Heard,
    looks: BTreeMap<(TargetKind, Key), (Looked, Duration)>,
    /// Which subjects wait for a look.
    lookers: BTreeMap<(TargetKind, Key), BTreeSet<Subject>>,
    sightings: BTreeMap<Subject, Sighting>,
    /// Actions that were let out and not answered: the attempt, and when.
    acting: BTreeMap<Box<str>, (u32, Duration)>,
    /// When this process learned that an attempt was applied.
    learned: BTreeMap<Box<str>, (u32, Duration)>,
    paced: BTreeMap<Box<str>, Duration>,
    /// A record's next try is not before this.
    rests: BTreeMap<Box<str>, Duration>,
    /// Subjects whose record could not be stored, and when.
    refused: BTreeMap<Subject, Duration>,
    /// Orphans that were announced and are not in the ledger yet, and when.
    announced: BTreeMap<Uid, Duration>,
    /// Subjects whose record was changed by an outcome and not sent yet.
    unsaved: BTreeSet<Subject>,
    touched: BTreeSet<Subject>,
    wakes: BTreeSet<(Duration, Subject)>,
    wake_of: BTreeMap<Subject, Duration>,
    lines: Lines,
    swept: Duration,
}

impl Repair {
    pub(super) fn new(identity: &Arc<str>) -> Self {
        Self {
            identity: Arc::clone(identity),
            policies: Policies::default(),
            ledger: Ledger::default(),
            store: Stored::default(),
            orphans: BTreeSet::new(),
            lease_until: None,
            leads_since: None,
            gates: Gates::default(),
            fence: Heard::default(),
            looks: BTreeMap::new(),
            lookers: BTreeMap::new(),
            sightings: BTreeMap::new(),
            acting: BTreeMap::new(),
            learned: BTreeMap::new(),
            paced: BTreeMap::new(),
            rests: BTreeMap::new(),
            refused: BTreeMap::new(),
            announced: BTreeMap::new(),
            unsaved: BTreeSet::new(),
            touched: BTreeSet::new(),
            wakes: BTreeSet::new(),
            wake_of: BTreeMap::new(),
            lines: Lines::default(),
            swept: Duration::ZERO,
        }
    }

    /// A subject's finding may have changed.
    pub(super) fn touch(&mut self, subject: &Subject) {
        self.touched.insert(subject.clone());
    }

    /// Whether the subject has an open episode.
    pub(super) fn ledger_open(&self, subject: &Subject) -> bool {
        self.ledger.open(subject).is_some()
    }

    pub(super) fn next_wake(&self) -> Option<Duration> {
        let own = self.wakes.first().map(|(at, _)| *at);
        own.into_iter().chain(self.lines.next_wake()).min()
    }

    fn wake(&mut self, subject: &Subject, at: Duration) {
        if let Some(old) = self.wake_of.remove(subject) {
            self.wakes.remove(&(old, subject.clone()));
        }
        self.wake_of.insert(subject.clone(), at);
        self.wakes.insert((at, subject.clone()));
    }

    fn sleep(&mut self, subject: &Subject) {
        if let Some(old) = self.wake_of.remove(subject) {
            self.wakes.remove(&(old, subject.clone()));
        }
    }

    fn leads(&self, now: Now) -> bool {
        self.lease_until.is_some_and(|until| until > now.mono)
    }

    /// That there is no finding says something: after a start some have to be seen for a while first.
    fn has_found(&self, now: Now) -> bool {
        self.leads_since.is_some_and(|since| now.mono.saturating_sub(since) >= FOUND)
    }
}

// === Facts ===

impl Engine {
    /// Takes in what only repairs rest on.
    pub(super) fn repair_fact(&mut self, fact: Fact, now: Now, effects: &mut Vec<Effect>) {
        match fact {
            Fact::Leadership(until) => self.lead(until, now),
            // An answer like the last one opens nothing; that one grew old is seen when the record is looked at.
            Fact::Gate(gate, said) => {
                let news = self.repair.gates.hear(gate, said, now.mono);
                news.then(|| self.touch_all());
            }
            Fact::Fence(fence) => {
                let news = self.repair.fence.hear(fence, now.mono);
                news.then(|| self.touch_all());
            }
            Fact::Recorded(name, answer) => {
                let subject = self.repair.subject_of(&name);
                let refused = answer.is_err();
                self.repair.recorded(&name, answer);
                if let Some(subject) = subject {
                    if refused {
                        self.repair.refused.insert(subject.clone(), now.mono);
                    }
                    self.repair.touch(&subject);
                }
            }
            Fact::Acted(acted) => self.acted(&acted, now, effects),
            _ => {}
        }
    }

    fn lead(&mut self, until: Option<Duration>, now: Now) {
        let led = self.repair.leads(now);
        self.repair.lease_until = until;
        if until.is_none() {
            self.repair.leads_since = None;
            self.repair.fence.forget();
            // Whatever was let out has its own deadline; what came of it is read from the world.
            self.repair.acting.clear();
        } else if !led || self.repair.leads_since.is_none() {
            self.repair.leads_since = Some(now.mono);
            // Everything is read anew, in the order of its turn: what happens to have been read would be done first.
            self.repair.looks.clear();
            self.touch_all();
        }
    }

    fn acted(&mut self, acted: &Acted, now: Now, effects: &mut Vec<Effect>) {
        let expected = self.repair.acting.get(&acted.record).is_some_and(|(attempt, _)| *attempt == acted.attempt);
        if !expected {
            return;
        }
        self.repair.acting.remove(&acted.record);
        let Some(record) = self.repair.ledger.get(&acted.record) else { return };
        let subject = record.subject.clone();
        let target = record.intent.as_ref().map(|intent| (intent.target.kind, intent.target.key.clone()));
        // What was read before the write is no longer so.
        if let Some(target) = target {
            self.repair.looks.remove(&target);
        }
        self.close_intent(&subject, acted.outcome, &acted.message, now);
        self.flush(&subject, effects);
    }

    /// A look was answered: it counts as a sighting of whoever waited for it.
    pub(super) fn looked(&mut self, kind: TargetKind, key: Key, looked: Looked, now: Now) {
        let target = (kind, key);
        let waiting = self.repair.lookers.remove(&target).unwrap_or_default();
        if let Looked::There(look) = &looked {
            let uid = look.uid.clone();
            for subject in &waiting {
                if TargetKind::of(subject.kind) == Some(kind) && subject.key == target.1 {
                    self.sight(subject, Some(&uid), now);
                }
            }
        }
        self.repair.looks.insert(target, (looked, now.mono));
        self.repair.touched.extend(waiting);
    }

    /// Counts a fresh read of a finding's subject, if it is far enough from the last.
    fn sight(&mut self, subject: &Subject, uid: Option<&Uid>, now: Now) {
        let Some(finding) = self.findings.get(subject) else {
            self.repair.sightings.remove(subject);
            return;
        };
        if finding.uid.as_ref() != uid && finding.uid.is_some() {
            self.repair.sightings.remove(subject);
            return;
        }
        let interval = self.interval(finding);
        let fresh = || Sighting { class: finding.class, uid: finding.uid.clone(), times: 1, last: now.mono };
        let known = self.repair.sightings.entry(subject.clone()).or_insert_with(fresh);
        if known.class != finding.class || known.uid != finding.uid {
            *known = fresh();
        } else if now.mono.saturating_sub(known.last) >= interval {
            known.times = known.times.saturating_add(1);
            known.last = now.mono;
        }
    }

    fn interval(&self, finding: &Finding) -> Duration {
        let driver = finding.driver.as_deref().unwrap_or_default();
        self.repair_governing(driver, &finding.subject).observation_interval
    }

    fn repair_governing(&self, driver: &str, subject: &Subject) -> crate::domain::policy::Governing {
        let ctx = self.context(Now { wall: jiff::Timestamp::UNIX_EPOCH, mono: Duration::ZERO });
        self.desk(ctx).governing(driver, subject, None)
    }

    pub(super) fn desk<'a>(&'a self, ctx: crate::domain::diagnose::Context<'a>) -> Desk<'a> {
        let repair = &self.repair;
        Desk {
            ctx,
            policies: &repair.policies,
            ledger: &repair.ledger,
            looks: &repair.looks,
            sightings: &repair.sightings,
            orphans: &repair.orphans,
            // A single look never writes; it shows what the leader would do.
            lease_until: if self.settings.eager { Some(ctx.now.mono + REHEARSED) } else { repair.lease_until },
            gates: &repair.gates,
            fence: &repair.fence,
            paced: &repair.paced,
        }
    }

    /// What was last heard of the fence, while this replica leads.
    #[must_use]
    pub fn fence(&self) -> Option<&Fence> {
        self.repair.fence.last()
    }

    /// Policies, namespaces or the orphan ledger have changed.
    pub(super) fn reread_repairs(&mut self) {
        let mut policies = Policies::default();
        for (_, policy) in self.world.policies.iter() {
            policies.put((**policy).clone());
        }
        self.repair.policies = policies;
        self.repair.orphans = self.world.orphans.iter().map(|(_, left)| left.print).collect();
        self.touch_all();
    }

    /// Everything on which something is done, or might be.
    pub(super) fn touch_all(&mut self) {
        let with_ladder = self.findings.values().filter(|finding| !ladder(finding.class).is_empty());
        self.repair.touched.extend(with_ladder.map(|finding| finding.subject.clone()));
        self.repair.touched.extend(self.repair.ledger.open_subjects().cloned());
    }

    /// Does what is due: timers, lines, and everything that was touched.
    pub(super) fn repairs(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some((at, subject)) = self.repair.wakes.first().cloned() {
            if at > now.mono {
                break;
            }
            self.repair.sleep(&subject);
            self.repair.touched.insert(subject);
        }
        // What has no finding any more only comes to its end, and may leave a place free.
        let mut touched: Vec<Subject> = std::mem::take(&mut self.repair.touched).into_iter().collect();
        touched.sort_by_cached_key(|subject| self.findings.get(subject).map(turn));
        for subject in touched {
            self.advance(&subject, now, effects);
        }
        self.pump_lines(now, effects);
        if self.repair.leads(now) && now.mono.saturating_sub(self.repair.swept) >= SWEEP {
            self.sweep(now, effects);
        }
    }

    fn sweep(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.repair.swept = now.mono;
        let (keep, keep_for) = self.repair.policies.keep();
        for name in self.repair.ledger.expired(keep, keep_for, now.wall) {
            self.repair.ledger.remove(&name);
            effects.push(Effect::Forget(name));
        }
        let stale = crate::domain::plan::LOOK_VALID;
        self.repair.looks.retain(|_, (_, at)| now.mono.saturating_sub(*at) < stale);
        let ledger = &self.repair.ledger;
        self.repair.learned.retain(|name, _| ledger.get(name).is_some());
        self.repair.paced.retain(|name, _| ledger.get(name).is_some());
        self.repair.rests.retain(|name, _| ledger.get(name).is_some());
        self.repair.refused.retain(|_, at| now.mono.saturating_sub(*at) < stale);
        let findings = &self.findings;
        self.repair.sightings.retain(|subject, _| findings.contains_key(subject));
    }

    /// What would be done about every finding, and what holds it.
    #[must_use]
    pub fn plan(&self, now: Now) -> Vec<(Finding, Course)> {
        let findings: Vec<&Finding> = self.findings();
        let listed = self.desk(self.context(now)).list(&findings);
        listed.into_iter().map(|(finding, course)| (finding.clone(), course)).collect()
    }

    /// What would be done about one subject, and what holds it; `None` where there is no finding.
    #[must_use]
    pub fn course(&self, subject: &Subject, now: Now) -> Option<Course> {
        let finding = self.findings.get(subject)?;
        Some(self.desk(self.context(now)).course(finding, self.repair.ledger.open(subject)))
    }

    /// The ledger as the engine has it.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.repair.ledger
    }

    /// The gates of all policies.
    pub fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.repair.policies.iter().flat_map(|policy| &policy.spec().gates)
    }

    /// Each of them has been asked at least once.
    pub(super) fn gates_asked(&self) -> bool {
        self.repair.gates.asked(self.gates())
    }

    /// The policies that hold.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.repair.policies
    }

    /// Asks for a fresh read, unless one is under way or was answered just now.
    fn ask_look(&mut self, kind: TargetKind, key: &Key, subject: &Subject, now: Now, effects: &mut Vec<Effect>) {
        if let Some((_, at)) = self.repair.looks.get(&(kind, key.clone()))
            && now.mono.saturating_sub(*at) < AGAIN
        {
            let again = *at + AGAIN;
            return self.wake_repair_no_later(subject, again);
        }
        self.repair.lookers.entry((kind, key.clone())).or_default().insert(subject.clone());
        let probe = Probe::Look { kind, key: key.clone() };
        if self.memory.ask(&probe, subject, now) {
            effects.push(Effect::Probe(probe));
        }
    }

    /// The finding's own object is looked at until it was seen often enough.
    fn observe(&mut self, finding: &Finding, now: Now, effects: &mut Vec<Effect>) {
        let driver = finding.driver.as_deref().unwrap_or_default();
        let governing = self.repair_governing(driver, &finding.subject);
        let known = self.repair.sightings.get(&finding.subject);
        let known = known.filter(|one| one.class == finding.class && one.uid == finding.uid);
        let times = known.map_or(0, |one| one.times);
        let due = known.map_or(now.mono, |one| one.last + governing.observation_interval);
        if times >= governing.observations {
            return;
        }
        if due > now.mono {
            self.wake_repair_no_later(&finding.subject, due);
            return;
        }
        match TargetKind::of(finding.subject.kind) {
            Some(kind) => self.ask_look(kind, &finding.subject.key.clone(), &finding.subject, now, effects),
            // A driver has no object of its own: what its lease and pods show by a watch that is followed counts.
            None if finding.subject.kind == Kind::CsiDriver => {
                self.sight(&finding.subject, finding.uid.as_ref(), now);
                self.wake_repair_no_later(&finding.subject, now.mono + governing.observation_interval);
            }
            None => {}
        }
    }

    fn wake_repair_no_later(&mut self, subject: &Subject, at: Duration) {
        if self.repair.wake_of.get(subject).is_none_or(|old| *old > at) {
            self.repair.wake(subject, at);
        }
    }
}

/// How long an action that was let out may stay without an answer.
fn overdue(sent: Duration, now: Now) -> bool {
    now.mono.saturating_sub(sent) > ACT + LOST
}

/// Whether an outcome leaves open what happened.
fn is_open(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Unreachable | Outcome::Interrupted)
}

/// The finding under which a ladder goes on that has climbed past its class; what is doubtful about the object
/// now stays so.
fn finding_of(record: &Record, present: Option<&Finding>) -> Finding {
    use crate::domain::finding::{Repair as Remedy, Rung};
    Finding {
        class: record.class,
        subject: record.subject.clone(),
        uid: record.uid.clone(),
        driver: Some(Arc::clone(&record.driver)),
        cause: None,
        since: record.since,
        summary: record.message.clone(),
        evidence: present.map_or_else(|| record.evidence.clone(), |present| present.evidence.clone()),
        leaks: present.is_some_and(|present| present.leaks),
        destroys: present.is_some_and(|present| present.destroys),
        unverified: false,
        repair: Remedy { rung: Rung::Report, text: String::new() },
    }
}
