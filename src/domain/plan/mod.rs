//! What would be done about a finding now, and what holds it: one function for the daemon, `plan` and `why`.
//!
//! diagnose -> remedy -> guard, for one subject: the rung its ladder stands at, the action that it comes to, and
//! every guard's verdict on it. The failure this exists to prevent is a dry run that shows something else than
//! what is then done: whoever asks, the same code answers on the same data.

mod gather;
mod prune;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::diagnose::Context;
use super::digest::Hash;
use super::fence::Heard;
use super::finding::{Finding, Subject};
use super::gate::Gates;
use super::guard::{self, Guarded, Judgement, Ticket};
use super::ledger::{Ledger, Position, Record};
use super::name::Key;
use super::policy::{Governing, Policies, Reach};
use super::record::Kind;
use super::remedy::action::{Action, TargetKind};
use super::remedy::fresh::Looked;
use super::remedy::prepare::{Bench, Unfit, prepare};
use super::remedy::{Rung, Step, Then, ladder};

/// How often a finding's subject was seen afresh, with one class and one uid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The class.
    pub class: super::finding::Class,
    /// The uid.
    pub uid: Option<super::name::Uid>,
    /// So often.
    pub times: u32,
    /// When last, on the monotonic clock.
    pub last: Duration,
}

/// Everything that a plan is made of.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// World, components, findings, the present.
    pub ctx: Context<'a>,
    /// Every policy.
    pub policies: &'a Policies,
    /// The ledger.
    pub ledger: &'a Ledger,
    /// Fresh reads, with when they were made.
    pub looks: &'a BTreeMap<(TargetKind, Key), (Looked, Duration)>,
    /// How often each finding was seen.
    pub sightings: &'a BTreeMap<Subject, Sighting>,
    /// Handles in the orphan ledger.
    pub orphans: &'a BTreeSet<u64>,
    /// Until when our own lease is ours.
    pub lease_until: Option<Duration>,
    /// What was heard of the policies' gates.
    pub gates: &'a Gates,
    /// What was heard of the fence.
    pub fence: &'a Heard,
    /// When the last leftover of each record was nudged, on the monotonic clock.
    pub paced: &'a BTreeMap<Box<str>, Duration>,
}

/// What a subject's ladder comes to now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Course {
    /// This step, with every guard's verdict.
    Step(Box<Planned>),
    /// The rung stands, and has no action yet.
    Standing {
        /// The rung.
        rung: Rung,
        /// Why.
        unfit: Unfit,
    },
    /// No rung is left that applies; why the last one does not.
    Exhausted(String),
    /// The ladder is at its end, repaired.
    Repaired,
}

/// One planned step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The rung.
    pub rung: Rung,
    /// The action.
    pub action: Action,
    /// Its hash.
    pub hash: Hash,
    /// What the policies come to.
    pub governing: Governing,
    /// What the guards say.
    pub judgement: Judgement,
    /// The pass, if every guard allows it.
    pub guarded: Option<Guarded>,
}

impl<'a> Desk<'a> {
    /// What the policies come to for a step on something of this driver.
    #[must_use]
    pub fn governing(&self, driver: &str, subject: &Subject, step: Option<Step>) -> Governing {
        let driver_wide = subject.kind == Kind::CsiDriver || step.is_some_and(Step::reaches_driver);
        if driver_wide {
            return self.policies.govern(driver, Reach::Driver);
        }
        let namespace = self.namespace(subject);
        let labels = self.ctx.world.namespaces.get(&Key::cluster(&*namespace)).map(|found| &found.labels);
        self.policies.govern(driver, Reach::Object { namespace: &namespace, labels })
    }

    /// The namespace a subject belongs to; a content to that of its VolumeSnapshot.
    fn namespace(&self, subject: &Subject) -> Arc<str> {
        let content = self.ctx.world.contents.get(&subject.key).filter(|_| subject.kind == Kind::VolumeSnapshotContent);
        Arc::clone(content.map_or(&subject.key.namespace, |content| &content.snapshot.key.namespace))
    }

    /// What the ladder of a finding comes to, from where its record stands. `intended` is the time of an intent
    /// that is written already.
    #[must_use]
    pub fn course(&self, finding: &Finding, record: Option<&Record>) -> Course {
        let start = match record.map_or(Position::At(0), Record::position) {
            Position::At(at) => at,
            Position::Repaired => return Course::Repaired,
            Position::Failed => return Course::Exhausted("the last step did not help".to_owned()),
        };
        let nudged = record.map(Record::nudged).unwrap_or_default();
        let paced = record.and_then(|record| self.paced.get(&record.name)).copied();
        let looks = |kind: TargetKind, key: &Key| self.look(kind, key);
        let bench = Bench { ctx: &self.ctx, looks: &looks, orphans: self.orphans, nudged: (&nudged, paced) };
        let mut why = "nothing is done about it: it is reported".to_owned();
        for rung in ladder(finding.class).iter().skip(start) {
            match prepare(&bench, finding, rung) {
                Ok(action) => return Course::Step(Box::new(self.judged(finding, record, *rung, action))),
                // As if it had been tried in vain.
                Err(Unfit::Skip(words)) => {
                    why = format!("{}: {words}", rung.step);
                    if rung.failed == Then::Stop {
                        break;
                    }
                }
                Err(unfit) => return Course::Standing { rung: *rung, unfit },
            }
        }
        Course::Exhausted(why)
    }

    fn judged(&self, finding: &Finding, record: Option<&Record>, rung: Rung, action: Action) -> Planned {
        let governing = self.governing(&action.driver, &action.subject, Some(action.step));
        let hash = action.hash(&governing);
        let intent = record.and_then(|record| record.intent.as_ref());
        let ticket = Ticket {
            record: record.map_or_else(|| Arc::from(""), |record| Arc::from(&*record.name)),
            attempt: intent.map_or_else(|| record.map_or(1, Record::next_number), |intent| intent.number),
            intended: intent.map_or(self.ctx.now.wall, |intent| intent.at),
            hash: hash.clone(),
        };
        let case = self.case(finding, record, &action, &hash, &governing);
        let (judgement, guarded) = guard::pass(&case, ticket);
        Planned { rung, action, hash, governing, judgement, guarded }
    }

    fn look(&self, kind: TargetKind, key: &Key) -> Option<&'a Looked> {
        let (looked, at) = self.looks.get(&(kind, key.clone()))?;
        let valid = if matches!(looked, Looked::Unknown(_)) { UNKNOWN_VALID } else { LOOK_VALID };
        (self.ctx.now.mono.saturating_sub(*at) < valid).then_some(looked)
    }

    /// Every finding with a ladder, in the order given, and what its ladder comes to; what would be done now counts as
    /// under way for those whose turn is later.
    #[must_use]
    pub fn list(&self, findings: &[&'a Finding]) -> Vec<(&'a Finding, Course)> {
        let mut ledger = self.ledger.clone();
        let by: Arc<str> = Arc::from("plan");
        let mut out = Vec::new();
        let with_ladder = findings.iter().copied().filter(|finding| !ladder(finding.class).is_empty());
        let mut turns: Vec<(usize, &Finding)> = with_ladder.enumerate().collect();
        turns.sort_by_key(|(_, finding)| (turn(finding), &finding.subject));
        for (place, finding) in turns {
            let desk = Desk { ledger: &ledger, ..*self };
            let record = ledger.open(&finding.subject).cloned();
            let course = desk.course(finding, record.as_ref());
            if let Course::Step(planned) = &course
                && planned.guarded.is_some()
            {
                let driver = &planned.action.driver;
                let mut record = record.unwrap_or_else(|| Record::open(finding, driver, self.ctx.now.wall));
                let plan = planned.shown();
                record.intend(plan, &by, self.ctx.now.wall);
                ledger.put(record);
            }
            out.push((place, finding, course));
        }
        out.sort_by_key(|(place, ..)| *place);
        out.into_iter().map(|(_, finding, course)| (finding, course)).collect()
    }
}

/// Whose turn is first where not all may be repaired at once: the worst, and of these what has lasted longest. A plan
/// and the daemon go by it alike, or they would choose differently.
#[must_use]
pub fn turn(finding: &Finding) -> (usize, Timestamp) {
    (finding.class.severity(), finding.since)
}

/// One that failed is made again after so long.
const UNKNOWN_VALID: Duration = Duration::from_secs(30);

/// A fresh read is good for deciding for so long; before a write there is another.
pub const LOOK_VALID: Duration = Duration::from_secs(120);

impl Planned {
    /// The plan as the ledger shows it.
    #[must_use]
    pub fn shown(&self) -> super::ledger::Plan {
        super::ledger::Plan::of(&self.action, self.hash.clone(), &self.governing.names)
    }

    /// When it is worth planning anew, on the wall clock.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.judgement.until()
    }
}
