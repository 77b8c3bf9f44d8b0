//! One subject's episode: begun, carried on, verified, ended.
//!
//! [`Engine::advance`] is called whenever something about the subject may have changed, and whenever a timer of
//! it fires. It does at most one thing, and what it does is a record to be stored, an action to be let out, or a
//! read to be made.

use std::sync::Arc;
use std::time::Duration;

use super::{AGAIN, HELD, finding_of, is_open, overdue};
use crate::domain::engine::{Effect, Engine};
use crate::domain::fact::{Now, Source};
use crate::domain::finding::{Finding, Subject};
use crate::domain::guard::{Guard, Guarded};
use crate::domain::identity;
use crate::domain::ledger::{Follow, Intent, Outcome, Phase, Position, Record};
use crate::domain::name::{Key, fingerprint};
use crate::domain::plan::{Course, Planned};
use crate::domain::policy::Mode;
use crate::domain::record::Kind;
use crate::domain::remedy::fresh::{Looked, effect};
use crate::domain::remedy::prepare::Unfit;
use crate::domain::remedy::verify::{Proof, Taken, verify};
use crate::domain::remedy::{On, Step, ladder};
use crate::domain::{lease, words};

/// Guards behind which whole lines of subjects wait.
const QUEUES: [Guard; 2] = [Guard::Storm, Guard::Budget];
/// A hold by these alone opens a record: there is a plan, and somebody may want to see or approve it.
const SHOWN: [Guard; 9] = [
    Guard::Fence,
    Guard::Mode,
    Guard::Consequence,
    Guard::Window,
    Guard::Breaker,
    Guard::Alerts,
    Guard::Quiet,
    Guard::Controller,
    Guard::Backend,
];

impl Engine {
    /// Carries one subject's episode on.
    pub(super) fn advance(&mut self, subject: &Subject, now: Now, effects: &mut Vec<Effect>) {
        let finding = self.findings.get(subject).filter(|finding| !ladder(finding.class).is_empty()).cloned();
        if let Some(finding) = &finding {
            self.observe(finding, now, effects);
        } else {
            self.repair.sightings.remove(subject);
        }
        if !self.repair.leads(now) {
            if let Some(finding) = finding.filter(|_| self.settings.eager) {
                self.rehearse(&finding, now, effects);
            }
            return;
        }
        if self.is_refused(subject, now) {
            return;
        }
        let record = self.repair.ledger.open(subject).cloned();
        match (record, finding) {
            (None, None) => {
                self.repair.lines.leave(subject);
                self.repair.sleep(subject);
            }
            (None, Some(finding)) => self.begin(&finding, now, effects),
            (Some(record), _) if self.repair.saving(&record.name) => {}
            (Some(record), _) => self.carry_on(record, now, effects),
        }
    }

    /// Makes the reads that a plan lacks, and those it rests on anew before they are too old: a look may last longer
    /// than a read is good for.
    fn rehearse(&mut self, finding: &Finding, now: Now, effects: &mut Vec<Effect>) {
        let record = self.repair.ledger.open(&finding.subject);
        let (kind, key) = match self.desk(self.context(now)).course(finding, record) {
            Course::Standing { unfit: Unfit::Look(kind, key), .. } => (kind, key),
            Course::Step(planned) => (planned.action.target.kind, planned.action.target.key.clone()),
            Course::Standing { .. } | Course::Exhausted(_) | Course::Repaired => return,
        };
        let looked = self.repair.looks.get(&(kind, key.clone()));
        if looked.is_none_or(|(_, at)| now.mono.saturating_sub(*at) >= HELD / 2) {
            self.ask_look(kind, &key, &finding.subject, now, effects);
        }
        self.wake_repair_no_later(&finding.subject, now.mono + HELD);
    }

    /// A finding without an episode.
    fn begin(&mut self, finding: &Finding, now: Now, effects: &mut Vec<Effect>) {
        let course = self.desk(self.context(now)).course(finding, None);
        match course {
            Course::Step(planned) if planned.guarded.is_some() => {
                let mut record = Record::open(finding, &planned.action.driver, now.wall);
                record.verdicts = planned.judgement.verdicts().to_vec();
                record.intend(planned.shown(), &self.repair.identity, now.wall);
                record.orphan = planned.action.orphan.as_ref().map(|orphan| orphan.name().into());
                self.repair.lines.leave(&finding.subject);
                self.repair.save(record, effects);
            }
            Course::Step(planned) => {
                if planned.governing.mode > Mode::Observe && planned.judgement.only(&SHOWN) && is_wait(&planned) {
                    let mut record = Record::open(finding, &planned.action.driver, now.wall);
                    show(&mut record, &planned);
                    self.repair.save(record, effects);
                }
                self.wait_its_turn(finding, &planned, now);
            }
            Course::Standing { unfit, .. } => self.stand(&finding.subject, &unfit, now, effects),
            Course::Exhausted(_) | Course::Repaired => self.repair.sleep(&finding.subject),
        }
    }

    /// Waits where a guard said so: in a line, or by a timer.
    fn wait_its_turn(&mut self, finding: &Finding, planned: &Planned, now: Now) {
        let wait = planned.until().map(|until| words::age(until, now.wall).max(Duration::from_secs(1)));
        let queued = planned.judgement.held_by().is_some() && planned.judgement.only(&QUEUES);
        if queued {
            let line = (Arc::clone(&planned.action.driver), finding.class);
            self.repair.sleep(&finding.subject);
            self.repair.lines.join(line, finding.since, &finding.subject, now.mono + wait.unwrap_or(HELD));
        } else {
            self.repair.lines.leave(&finding.subject);
            // Our own lease is renewed every few seconds: what waits for that alone does not wait a minute.
            let again = if planned.judgement.holds(Guard::Leader) { AGAIN } else { HELD };
            self.wake_repair_no_later(&finding.subject, now.mono + wait.unwrap_or(again).min(again));
        }
    }

    fn stand(&mut self, subject: &Subject, unfit: &Unfit, now: Now, effects: &mut Vec<Effect>) {
        match unfit {
            Unfit::Look(kind, key) => {
                self.ask_look(*kind, key, subject, now, effects);
                self.wake_repair_no_later(subject, now.mono + HELD);
            }
            Unfit::NotBefore(at, _) => self.wake_repair_no_later(subject, *at),
            Unfit::Hold(_) | Unfit::Skip(_) => self.wake_repair_no_later(subject, now.mono + HELD),
        }
    }

    /// An open episode, stored as it is.
    fn carry_on(&mut self, mut record: Record, now: Now, effects: &mut Vec<Effect>) {
        let driver = Arc::clone(&record.driver);
        let valid = self.repair_governing(&driver, &record.subject).approval_valid;
        if record.notice_approval(valid, now.wall) {
            self.repair.save(record, effects);
        } else if record.intent.is_some() {
            self.intended(record, now, effects);
        } else if record.unverified().is_some() {
            self.verifying(record, now, effects);
        } else {
            self.next_step(record, now, effects);
        }
    }

    // === An intent is stored ===

    fn intended(&mut self, record: Record, now: Now, effects: &mut Vec<Effect>) {
        let Some(intent) = record.intent.clone() else { return };
        let subject = record.subject.clone();
        if let Some((_, sent)) = self.repair.acting.get(&record.name).copied() {
            if overdue(sent, now) {
                self.repair.acting.remove(&record.name);
                self.close_intent(&subject, Outcome::Unreachable, "no answer came", now);
                self.flush(&subject, effects);
            } else {
                self.repair
                    .wake(&subject, sent + crate::domain::remedy::action::ACT + super::LOST + Duration::from_secs(1));
            }
            return;
        }
        let ours = intent.by == self.repair.identity;
        if !ours {
            // Somebody else's, or ours before a restart: look whether it happened, and never guess.
            match self.happened(&intent, &subject, now, effects) {
                None => return,
                Some(true) => {
                    self.close_intent(&subject, Outcome::Applied, "its effect was found by the next leader", now);
                    self.flush(&subject, effects);
                    return;
                }
                Some(false) => {}
            }
        }
        let finding = self.finding_for(&record);
        let course = self.desk(self.context(now)).course(&finding, Some(&record));
        match course {
            Course::Step(planned) if planned.hash == intent.hash => match planned.guarded.clone() {
                Some(_) if !ours => {
                    let mut record = record;
                    if let Some(intent) = &mut record.intent {
                        intent.by = Arc::clone(&self.repair.identity);
                    }
                    self.repair.save(record, effects);
                }
                Some(guarded) => self.let_out(guarded, now, effects),
                // Held for good: no guard ever lets out what is about nothing.
                None if self.repair.has_found(now) && self.over(&record).is_some() => {
                    self.close_intent(&subject, Outcome::Lost, "it was over before it was carried out", now);
                    self.flush(&subject, effects);
                }
                None => self.repair.wake(&subject, now.mono + AGAIN),
            },
            Course::Standing { unfit: unfit @ (Unfit::Look(..) | Unfit::NotBefore(..)), .. } => {
                self.stand(&subject, &unfit, now, effects);
            }
            // What it was written for is no longer so: it was never carried out.
            Course::Step(_) | Course::Standing { .. } | Course::Exhausted(_) | Course::Repaired => {
                self.close_intent(&subject, Outcome::Lost, "something changed before it was carried out", now);
                self.flush(&subject, effects);
            }
        }
    }

    /// Lets an action out, after what it leaves behind is in the orphan ledger.
    fn let_out(&mut self, guarded: Guarded, now: Now, effects: &mut Vec<Effect>) {
        let subject = guarded.action().subject.clone();
        if let Some(orphan) = &guarded.action().orphan {
            let print = fingerprint(&orphan.handle);
            let key = Key::cluster(orphan.name());
            let entered = self.world.orphans.get(&key);
            if entered.is_none_or(|entry| entry.print != print || entry.content != orphan.content.1) {
                let asked = self.repair.announced.get(&orphan.content.1).copied();
                if asked.is_none_or(|at| now.mono.saturating_sub(at) > HELD) {
                    self.repair.announced.insert(orphan.content.1.clone(), now.mono);
                    let record = guarded.record().as_ref().into();
                    effects.push(Effect::Announce(Box::new(orphan.clone()), record));
                }
                self.repair.wake(&subject, now.mono + AGAIN);
                return;
            }
            self.repair.announced.remove(&orphan.content.1);
        }
        let name: Box<str> = guarded.record().as_ref().into();
        if guarded.action().step == Step::Nudge {
            self.repair.paced.insert(name.clone(), now.mono);
        }
        self.repair.acting.insert(name, (guarded.attempt(), now.mono));
        self.repair
            .wake(&subject, now.mono + crate::domain::remedy::action::ACT + super::LOST + Duration::from_secs(1));
        effects.push(Effect::Act(Box::new(guarded)));
    }

    /// Whether an intent's effect is there, by a read that is younger than our leadership; `None`: not read yet.
    fn happened(&mut self, intent: &Intent, subject: &Subject, now: Now, effects: &mut Vec<Effect>) -> Option<bool> {
        let since = self.repair.leads_since.unwrap_or(now.mono);
        let target = (intent.target.kind, intent.target.key.clone());
        let looked = self.repair.looks.get(&target).filter(|(_, at)| *at >= since);
        let answer = match looked {
            Some((Looked::Absent, _)) => Some(true),
            Some((Looked::There(look), _)) => Some(effect(&intent.step.write(), &intent.target.uid, look, intent.at)),
            Some((Looked::Unknown(_), _)) | None => None,
        };
        if answer.is_none() {
            self.ask_look(target.0, &target.1, subject, now, effects);
            self.repair.wake(subject, now.mono + AGAIN);
        }
        answer
    }

    /// Turns the open intent of a subject into an attempt, in memory; [`flush`](Self::flush) stores it.
    pub(super) fn close_intent(&mut self, subject: &Subject, outcome: Outcome, message: &str, now: Now) {
        let Some(mut record) = self.repair.ledger.open(subject).cloned() else { return };
        record.tried(outcome, message, now.wall);
        if outcome == Outcome::Applied {
            let number = record.attempts.last().map_or(0, |attempt| attempt.number);
            self.repair.learned.insert(record.name.clone(), (number, now.mono));
        } else if let Follow::Again { after, .. } = outcome.follow() {
            self.repair.rests.insert(record.name.clone(), now.mono + after);
        }
        if is_open(outcome) {
            self.repair.sightings.remove(subject);
        }
        self.repair.ledger.put(record);
        self.repair.unsaved.insert(subject.clone());
    }

    /// Stores what [`close_intent`](Self::close_intent) changed.
    pub(super) fn flush(&mut self, subject: &Subject, effects: &mut Vec<Effect>) {
        if self.repair.unsaved.remove(subject)
            && let Some(record) = self.repair.ledger.open(subject).cloned()
        {
            self.repair.save(record, effects);
        }
    }

    // === A step was taken ===

    fn verifying(&mut self, mut record: Record, now: Now, effects: &mut Vec<Effect>) {
        let subject = record.subject.clone();
        let Some(attempt) = record.unverified().cloned() else { return };
        let Position::At(at) = record.position() else { return };
        // Steps that do not apply left no trace: the rung is the next one with this step.
        let Some(rung) = ladder(record.class).iter().skip(at).find(|rung| rung.step == attempt.step) else { return };
        let (_, learned) = *self
            .repair
            .learned
            .entry(record.name.clone())
            .and_modify(|known| {
                if known.0 != attempt.number {
                    *known = (attempt.number, now.mono);
                }
            })
            .or_insert((attempt.number, now.mono));
        let ago = now.mono.saturating_sub(learned);
        let ctx = self.context(now);
        let taken = Taken {
            rung,
            target: (attempt.target.kind, &attempt.target.key, &attempt.target.uid),
            subject: &subject,
            driver: &record.driver,
            ago,
        };
        let timing = ctx.timing(ctx.driver(&record.driver));
        let lease = ctx.world.lease(&identity::snapshotter_lease(&record.driver));
        let patience =
            attempt.step.patience(&timing, lease.map_or(Duration::ZERO, |(_, found)| lease::duration(found)));
        match verify(&ctx, &taken) {
            Proof::Helped(how) => {
                record.verified(true, how, now.wall);
                self.settle_position(record, how, now, effects);
            }
            Proof::NotYet(_) if ago >= patience && !self.told_up_to(taken.seen_in(), learned + patience, now) => {
                self.repair.wake(&subject, now.mono + AGAIN);
            }
            Proof::NotYet(_) if ago >= patience => {
                let why = format!("no success within {}", words::short(patience));
                record.verified(false, why.clone(), now.wall);
                self.settle_position(record, &why, now, effects);
            }
            Proof::NotYet(_) if rung.on == On::Leftovers => self.next_step(record, now, effects),
            Proof::NotYet(again) => {
                let wait = again.min(patience.saturating_sub(ago)).max(Duration::from_secs(1));
                self.repair.wake(&subject, now.mono + wait);
            }
        }
    }

    /// Whether these collections can be read and have told everything up to this moment. A success that nobody could
    /// see is no failure: the same rule gives a watch that comes back the time to tell what it missed.
    fn told_up_to(&self, sources: &[Source], moment: Duration, now: Now) -> bool {
        let desk = self.desk(self.context(now));
        let told = |source| self.world.sources.told_up_to(source, now).is_some_and(|told| told >= moment);
        sources.iter().all(|source| desk.doubt(*source).is_none() && told(*source))
    }

    /// Ends the record if its ladder is at an end, and stores it.
    fn settle_position(&mut self, mut record: Record, how: &str, now: Now, effects: &mut Vec<Effect>) {
        match record.position() {
            Position::Repaired => self.end(record, Phase::Done, how, now, effects),
            Position::Failed => self.end(record, Phase::Failed, how, now, effects),
            // Its end is written with the same stroke: in between, the next of its batch would begin.
            Position::At(_) => {
                if let Some((phase, why)) = self.over(&record).filter(|_| !self.may_be_found(&record, now)) {
                    return self.end(record, phase, why, now, effects);
                }
                let finding = self.finding_for(&record);
                if let Course::Exhausted(why) = self.desk(self.context(now)).course(&finding, Some(&record)) {
                    return self.end(record, Phase::Failed, &format!("{how}; {why}"), now, effects);
                }
                record.plan = None;
                record.verdicts.clear();
                self.repair.save(record, effects);
            }
        }
    }

    fn end(&mut self, mut record: Record, phase: Phase, how: &str, now: Now, effects: &mut Vec<Effect>) {
        let line = (Arc::clone(&record.driver), record.class);
        record.finish(phase, how, now.wall);
        self.repair.sleep(&record.subject);
        self.repair.sightings.remove(&record.subject);
        self.repair.lines.nudge(&line, now);
        self.repair.save(record, effects);
    }

    // === Between two steps ===

    fn next_step(&mut self, mut record: Record, now: Now, effects: &mut Vec<Effect>) {
        let subject = record.subject.clone();
        if let Some((outcome, times, _)) = record.in_vain()
            && let Follow::Again { at_most, .. } = outcome.follow()
        {
            if times >= at_most {
                let why = format!("{times} tries in a row came to nothing: {}", record.message);
                return self.end(record, Phase::Failed, &why, now, effects);
            }
            if let Some(rest) = self.repair.rests.get(&record.name).copied().filter(|rest| *rest > now.mono) {
                return self.repair.wake(&subject, rest);
            }
        }
        if self.may_be_found(&record, now) {
            return self.repair.wake(&subject, now.mono + AGAIN);
        }
        if let Some((phase, why)) = self.over(&record) {
            return self.end(record, phase, why, now, effects);
        }
        let finding = self.finding_for(&record);
        let course = self.desk(self.context(now)).course(&finding, Some(&record));
        match course {
            Course::Step(planned) if planned.guarded.is_some() => {
                record.verdicts = planned.judgement.verdicts().to_vec();
                record.orphan = planned.action.orphan.as_ref().map(|orphan| orphan.name().into());
                record.intend(planned.shown(), &self.repair.identity, now.wall);
                self.repair.lines.leave(&subject);
                self.repair.save(record, effects);
            }
            Course::Step(planned) => {
                self.wait_its_turn(&finding, &planned, now);
                if shape_of(&record) != (planned.judgement.shape(), Some(&planned.hash)) {
                    show(&mut record, &planned);
                    self.repair.save(record, effects);
                }
            }
            Course::Standing { unfit, .. } => self.stand(&subject, &unfit, now, effects),
            Course::Exhausted(why) => self.end(record, Phase::Failed, &why, now, effects),
            Course::Repaired => self.end(record, Phase::Done, "repaired", now, effects),
        }
    }

    /// Its object is there, and what is wrong with it is not found, or called by another name: by who has not led for
    /// long enough to say that this is so.
    fn may_be_found(&self, record: &Record, now: Now) -> bool {
        let goes_on_without = record.climbed() && record.subject.kind != Kind::CsiDriver;
        let found = self.findings.get(&record.subject).is_some_and(|finding| finding.class == record.class);
        let unfound = !goes_on_without && !found;
        unfound && self.there(record) && !self.repair.has_found(now)
    }

    /// Whether an episode has come to its end by itself.
    fn over(&self, record: &Record) -> Option<(Phase, &'static str)> {
        let acted = record.attempts.iter().any(|attempt| attempt.outcome == Outcome::Applied);
        let by_itself = if acted { Phase::Done } else { Phase::Lapsed };
        if !self.there(record) {
            return Some((by_itself, "the object is gone"));
        }
        match self.findings.get(&record.subject) {
            // After a restart the lock is gone and the deletion still waits for its next try.
            _ if record.climbed() && record.subject.kind != Kind::CsiDriver => None,
            None => Some((by_itself, "nothing is wrong with it any more")),
            Some(finding) if finding.class == record.class && finding.uid == record.uid => None,
            // A step in vain is a failure all the same: it has to stop its batch.
            Some(_) if record.attempts.last().is_some_and(|attempt| attempt.helped == Some(false)) => {
                Some((Phase::Failed, "the last step did not help, and something else is wrong with it now"))
            }
            Some(_) => Some((Phase::Lapsed, "something else is wrong with it now")),
        }
    }

    fn there(&self, record: &Record) -> bool {
        let (key, world) = (&record.subject.key, &self.world);
        let uid = match record.subject.kind {
            Kind::VolumeSnapshot => world.snapshots.get(key).map(|found| &found.meta.uid),
            Kind::VolumeSnapshotContent => world.contents.get(key).map(|found| &found.meta.uid),
            Kind::PersistentVolumeClaim | Kind::CsiDriver | Kind::Lease => return true,
        };
        uid == record.uid.as_ref()
    }

    /// The finding under which a record goes on: its own, or what is left of it after a step that helped.
    fn finding_for(&self, record: &Record) -> Finding {
        match self.findings.get(&record.subject) {
            Some(own) if own.class == record.class => own.clone(),
            own => finding_of(record, own),
        }
    }
}

/// Nothing that holds it is a refusal.
fn is_wait(planned: &Planned) -> bool {
    planned.judgement.verdicts().iter().all(|(_, verdict)| verdict.as_str() != "Refuse")
}

/// Shows a held plan in its record.
fn show(record: &mut Record, planned: &Planned) {
    let held = planned.judgement.held_by();
    let by_approval = planned.judgement.only(&[Guard::Mode, Guard::Consequence]);
    record.phase = if by_approval && held.is_some() { Phase::AwaitingApproval } else { Phase::Held };
    record.message = match held {
        Some((guard, verdict)) => format!("held by {guard}: {}", reason(verdict)),
        None => planned.action.summary.clone(),
    };
    record.plan = Some(planned.shown());
    record.verdicts = planned.judgement.verdicts().to_vec();
}

fn reason(verdict: &crate::domain::guard::Verdict) -> &str {
    use crate::domain::guard::Verdict;
    match verdict {
        Verdict::Allow => "",
        Verdict::Wait { reason, .. } | Verdict::Refuse { reason } => reason,
    }
}

fn shape_of(record: &Record) -> (Vec<(Guard, &'static str)>, Option<&crate::domain::digest::Hash>) {
    let verdicts = record.verdicts.iter().map(|(guard, verdict)| (*guard, verdict.as_str())).collect();
    (verdicts, record.plan.as_ref().map(|plan| &plan.hash))
}
